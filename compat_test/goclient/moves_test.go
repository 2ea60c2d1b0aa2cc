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

// TestWriteWhileServersMove writes until the file is there that PEGASUS_WRITE_UNTIL names, while the names of servers move to other
// addresses. What was acknowledged is there afterwards.
func TestWriteWhileServersMove(t *testing.T) {
	stop := os.Getenv("PEGASUS_WRITE_UNTIL")
	if stop == "" {
		t.Skip("TestAddresses in the directory above runs this")
	}
	metas := strings.Split(os.Getenv("PEGASUS_META"), ",")
	c := pegasus.NewClient(pegasus.Config{MetaServers: metas})
	defer c.Close()
	tb, err := c.OpenTable(ctx(t), table)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acked := map[string]bool{}
	last, gap := time.Now(), time.Duration(0)
	var wg sync.WaitGroup
	for g := 0; g < 4; g++ {
		wg.Add(1)
		go func(g int) {
			defer wg.Done()
			for i := 0; ; i++ {
				if _, err := os.Stat(stop); err == nil {
					return
				}
				key := fmt.Sprintf("go-%d-%d", g, i)
				c, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				err := tb.Set(c, []byte(key), []byte("s"), []byte(key))
				cancel()
				if err != nil {
					continue
				}
				mu.Lock()
				acked[key] = true
				if d := time.Since(last); d > gap {
					gap = d
				}
				last = time.Now()
				mu.Unlock()
				time.Sleep(2 * time.Millisecond) // a load, not a flood
			}
		}(g)
	}
	wg.Wait()
	// What it knows of the metas is where they were when it was made, or still answered.
	fresh := pegasus.NewClient(pegasus.Config{MetaServers: metas})
	defer fresh.Close()
	if tb, err = fresh.OpenTable(ctx(t), table); err != nil {
		t.Fatal(err)
	}
	for key := range acked {
		v, err := tb.Get(ctx(t), []byte(key), []byte("s"))
		if err != nil || string(v) != key {
			t.Errorf("%s was acknowledged, and is %q: %v", key, v, err)
		}
	}
	t.Logf("%d writes were acknowledged, no one for at most %.1f s", len(acked), gap.Seconds())
	if len(acked) < 100 || gap > time.Minute {
		t.Errorf("%d writes were acknowledged, with a gap of %v", len(acked), gap)
	}
}
