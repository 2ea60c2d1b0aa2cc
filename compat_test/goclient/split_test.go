package goclient

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/incubator-pegasus/go-client/pegasus"
)

// TestSplit: the table is split while this client reads and writes. It goes on by itself: what fails, fails once, with the code
// on which the client asks the metas; afterwards the same client reads, writes and scans everything.
func TestSplit(t *testing.T) {
	if os.Getenv("PEGASUS_SPLIT") == "" {
		t.Skip("TestGoClientThroughSplit in the directory above runs this")
	}
	w := newWalk(t)
	const rows = 300
	row := func(i int) []byte { return []byte(fmt.Sprintf("split.%d", i)) }
	for i := range rows {
		noError(t, "set", w.tb.Set(ctx(t), row(i), []byte("s"), []byte("0")))
	}
	stop := make(chan struct{})
	var mu sync.Mutex
	failed, done := map[string]int{}, 0
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := g; ; i = (i + 4) % rows {
				select {
				case <-stop:
					return
				default:
				}
				c, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				err := w.tb.Set(c, row(i), []byte("s"), []byte("1"))
				if err == nil {
					_, err = w.tb.Get(c, row(i), []byte("s"))
				}
				cancel()
				mu.Lock()
				if done++; err != nil {
					what := err.Error()
					if j := strings.Index(what, "ERR_"); j >= 0 {
						what = strings.TrimRight(strings.Fields(what[j:])[0], "]:,")
					}
					failed[what]++
				}
				mu.Unlock()
			}
		}()
	}
	old := oldScanner(t, w)
	scans := 0
	wg.Add(1)
	go func() {
		defer wg.Done()
		for { // scans that begin before, while and after partitions switch
			select {
			case <-stop:
				return
			default:
			}
			if met, err := scanAll(t, w); err == nil {
				if scans++; len(met) != rows {
					t.Errorf("a scan while the table is split meets %d rows of %d", len(met), rows)
				}
			}
		}
	}()
	t.Logf("split: %s", w.do(t, "split", nil))
	close(stop)
	wg.Wait()
	t.Logf("%d writes and reads while the table was split; failed: %v", done, failed)
	for code := range failed {
		if code != "ERR_PARENT_PARTITION_MISUSED" {
			t.Errorf("an operation failed with %s", code)
		}
	}
	// Without a restart.
	for i, until := 0, time.Now().Add(30*time.Second); i < rows; {
		v, err := w.tb.Get(ctx(t), row(i), []byte("s"))
		if err == nil && v != nil {
			i++
		} else if time.Now().After(until) {
			t.Fatalf("row %d: %q, %v", i, v, err)
		} else {
			time.Sleep(20 * time.Millisecond)
		}
	}
	began := time.Now()
	for {
		met, err := scanAll(t, w)
		if err == nil {
			if len(met) != rows {
				t.Errorf("a scan meets %d rows of %d", len(met), rows)
			}
			break
		}
		if time.Since(began) > 60*time.Second {
			t.Fatalf("scan: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("%d scans succeeded while the table was split; scans succeed %v after it", scans, time.Since(began).Round(100*time.Millisecond))
	old(rows)
}

// scanAll scans the whole table, and returns the rows that it met, or the first error.
func scanAll(t *testing.T, w *walk) (map[string]bool, error) {
	met := map[string]bool{}
	ss, err := w.tb.GetUnorderedScanners(ctx(t), 1, pegasus.NewScanOptions())
	if err != nil {
		return nil, err
	}
	for _, s := range ss {
		for {
			done, h, _, _, err := s.Next(ctx(t))
			if err != nil {
				return nil, err
			}
			if done {
				break
			}
			if met[string(h)] {
				t.Errorf("row %q is met twice", h)
			}
			met[string(h)] = true
		}
		if err := s.Close(); err != nil {
			return nil, err
		}
	}
	return met, nil
}

// oldScanner begins a scan, and returns what goes on with it after the table was split: whatever the errors, it must not come to its end
// without each row, nor meet one twice.
func oldScanner(t *testing.T, w *walk) func(rows int) {
	t.Helper()
	o := pegasus.NewScanOptions()
	o.BatchSize = 5
	ss, err := w.tb.GetUnorderedScanners(ctx(t), 1, o)
	noError(t, "scanners", err)
	met := map[string]bool{}
	next := func() (done bool, err error) {
		done, h, _, _, err := ss[0].Next(ctx(t))
		if err == nil && !done {
			if met[string(h)] {
				t.Errorf("row %q is met twice by a scanner from before the split", h)
			}
			met[string(h)] = true
		}
		return done, err
	}
	for range 12 {
		_, err := next()
		noError(t, "a scan before the split", err)
	}
	return func(rows int) {
		for failed := 0; failed < 20; {
			done, err := next()
			if err != nil {
				failed++
			} else if done {
				if len(met) != rows {
					t.Errorf("a scanner from before the split comes to its end with %d rows of %d", len(met), rows)
				}
				return
			}
		}
		t.Logf("a scanner from before the split met %d rows, and fails for good", len(met))
	}
}
