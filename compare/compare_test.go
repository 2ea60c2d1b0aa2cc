package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/client/clienttest"
	"pegasus/rows"
)

// fake is a table in memory.
type fake struct {
	n       int
	mu      sync.Mutex
	rows    map[string]client.Row
	onGet   func(key string) error
	scanErr error
	other   error // it isn't the same table any more
}

func newFake(n int, keys ...string) *fake {
	f := &fake{n: n, rows: map[string]client.Row{}}
	for _, k := range keys {
		f.put(k, "v", 0)
	}
	return f
}

// put writes a row "hash/sort".
func (f *fake) put(key, value string, expire uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, s, _ := strings.Cut(key, "/")
	f.rows[key] = client.Row{HashKey: []byte(h), SortKey: []byte(s), Value: []byte(value), ExpireTS: expire}
}

func (f *fake) del(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.rows, key)
}

func (f *fake) Partitions() int { return f.n }

func (f *fake) Still(context.Context) error { return f.other }

func (f *fake) Scan(partition int, o client.ScanOptions) rows.Rows {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &walk{at: -1, err: f.scanErr}
	for _, r := range f.rows {
		if int(base.HashOf(r.HashKey, r.SortKey)%uint64(f.n)) == partition {
			if o.NoValue {
				r.Value = nil
			}
			w.rows = append(w.rows, r)
		}
	}
	slices.SortFunc(w.rows, func(a, b client.Row) int {
		return strings.Compare(string(base.AppendKey(nil, a.HashKey, a.SortKey)), string(base.AppendKey(nil, b.HashKey, b.SortKey)))
	})
	return w
}

func (f *fake) Get(_ context.Context, h, s []byte) (client.Row, bool, error) {
	key := string(h) + "/" + string(s)
	if f.onGet != nil {
		if err := f.onGet(key); err != nil {
			return client.Row{}, false, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.rows[key]
	return r, ok, nil
}

type walk struct {
	rows []client.Row
	at   int
	err  error
}

func (w *walk) Next(ctx context.Context) bool {
	if w.err == nil {
		w.err = ctx.Err()
	}
	w.at++
	return w.err == nil && w.at < len(w.rows)
}
func (w *walk) Row() client.Row { return w.rows[w.at] }
func (w *walk) Err() error      { return w.err }
func (w *walk) Close()          {}

func mustCompare(t *testing.T, a, b Side, o Options) Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := Tables(ctx, a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Each kind of difference is found once, whatever the partition counts are, and nothing else is.
func TestDifferences(t *testing.T) {
	for _, n := range [][2]int{{4, 4}, {4, 8}, {8, 2}, {3, 4}, {6, 4}, {1, 7}} {
		a, b := newFake(n[0]), newFake(n[1])
		for i := range 2000 {
			// Hash keys of several lengths, and more than one row of a hash key.
			k := fmt.Sprintf("%s%d/%d", strings.Repeat("x", i%7), i/3, i%3)
			a.put(k, "v", uint32(i%5))
			b.put(k, "v", uint32(i%5))
		}
		a.put("only here/1", "v", 0)
		b.put("only there/1", "v", 0)
		b.put("another/1", "v", 0)
		a.put("value/", "1", 0)
		b.put("value/", "2", 0)
		a.put("ttl/", "1", 1000)
		b.put("ttl/", "1", 2000)
		a.put("close/", "1", 1000)
		b.put("close/", "1", 1001)
		r := mustCompare(t, a, b, Options{Limit: 3})
		if r.From != 2004 || r.To != 2005 || r.Missing != 1 || r.Extra != 2 || r.Values != 1 || r.Expiries != 1 || r.Changing != 0 || r.Stopped || len(r.Differences) != 3 || r.Different() != 5 {
			t.Errorf("%v: %+v", n, r)
		}
	}
	a, b := newFake(2, "a/1"), newFake(3, "b/1")
	r := mustCompare(t, a, b, Options{Limit: 9})
	if d := r.Differences; len(d) != 2 || d[0].Kind != Missing || string(d[0].HashKey) != "a" || string(d[0].SortKey) != "1" || d[0].To != nil || string(d[0].From.Value) != "v" || d[1].Kind != Extra || d[1].From != nil {
		t.Errorf("%+v", r)
	}
}

// What is still on its way is no difference, and a row that is written again and again isn't one either.
func TestInFlight(t *testing.T) {
	a, b := newFake(4), newFake(4)
	a.put("late/", "2", 0)
	b.put("late/", "1", 0)
	a.put("new/", "1", 0)
	b.put("gone/", "1", 0)
	a.put("hot/", "0", 0)
	b.put("hot/", "", 0)
	a.put("lost/", "1", 0)
	n := 0
	var mu sync.Mutex
	a.onGet = func(key string) error {
		mu.Lock()
		defer mu.Unlock()
		if n++; n == 1 { // when the first one is looked at again, the others have arrived
			b.put("late/", "2", 0)
			b.put("new/", "1", 0)
			b.del("gone/")
		}
		if key == "hot/" {
			a.put("hot/", fmt.Sprint(n), 0)
		}
		return nil
	}
	began := time.Now()
	r := mustCompare(t, a, b, Options{Tolerance: 30 * time.Millisecond, Limit: 9})
	if r.Different() != 1 || r.Missing != 1 || r.Changing != 1 || string(r.Differences[0].HashKey) != "lost" {
		t.Errorf("%+v", r)
	}
	if took := time.Since(began); took < looks*30*time.Millisecond {
		t.Errorf("a row that changes was looked at %d times in %v", looks, took)
	}
}

// A sample reads values of the share that it is to, and knows of each row whether it is there.
func TestSample(t *testing.T) {
	a, b := newFake(4), newFake(8)
	for i := range 4000 {
		a.put(fmt.Sprintf("k%d/", i), "1", 0)
		b.put(fmt.Sprintf("k%d/", i), "2", 0)
	}
	a.put("missing/", "1", 0)
	r := mustCompare(t, a, b, Options{Sample: 0.1})
	if r.Sampled < 250 || r.Sampled > 550 || r.Values != r.Sampled || r.Missing != 1 || r.From != 4001 {
		t.Errorf("%+v", r)
	}
}

// Tables that have nothing in common end it early.
func TestEnough(t *testing.T) {
	a, b := newFake(4), newFake(4)
	for i := range 3 * enough {
		a.put(fmt.Sprintf("k%d/", i), "1", 0)
	}
	r := mustCompare(t, a, b, Options{Limit: 5})
	if !r.Stopped || r.Missing < enough || r.Missing > enough+lookers || len(r.Differences) != 5 {
		t.Errorf("%d of %d are missing, %+v", r.Missing, r.From, r.Differences)
	}
}

// Errors and the end of the context end it, with the side that failed.
func TestErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, x := range []struct {
		a, b *fake
		want string
	}{
		{&fake{n: 2, scanErr: broken}, newFake(2, "a/1"), "copied from: broken"},
		{newFake(2, "a/1"), &fake{n: 2, scanErr: broken}, "other table: broken"},
		{newFake(2, "a/1"), &fake{n: 2, onGet: func(string) error { return broken }}, "other table: broken"},
		{&fake{n: 2, onGet: func(string) error { return broken }}, newFake(2, "a/1"), "copied from: broken"},
		{newFake(0), newFake(2), "0 and 2 partitions"},
	} {
		if _, err := Tables(context.Background(), x.a, x.b, Options{}); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%q: %v", x.want, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	a := newFake(2)
	for i := range 2 * maxSuspects {
		a.put(fmt.Sprintf("k%d/", i), "1", 0)
	}
	go func() {
		_, err := Tables(ctx, a, newFake(2), Options{Tolerance: time.Hour})
		done <- err
	}()
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on after its context ended")
	}
}

func TestProgress(t *testing.T) {
	a := newFake(4)
	for i := range 2 * tellEvery {
		a.put(fmt.Sprintf("k%d/", i), "1", 0)
	}
	var told []int64
	mustCompare(t, a, a, Options{Progress: func(r Report) { told = append(told, r.From) }})
	if len(told) != 2 || told[1] != 2*tellEvery {
		t.Errorf("%v", told)
	}
}

// A table that was split, or dropped and made anew, while it was read isn't called equal: neither by the walk, nor by a
// table of a cluster, which notices it.
func TestTableThatChanges(t *testing.T) {
	for _, from := range []bool{true, false} {
		a, b := newFake(2, "a/x"), newFake(2, "a/x")
		if from {
			a.other = base.ErrInvalidState
		} else {
			b.other = base.ErrInvalidState
		}
		if _, err := Tables(t.Context(), a, b, Options{}); !errors.Is(err, base.ErrInvalidState) {
			t.Errorf("from %v: %v", from, err)
		}
	}
	for _, partitions := range []int{4, 8} {
		k := clienttest.Start(t, 1)
		k.CreateTable("t", 4, 1)
		c := client.New([]string{k.Meta}, client.Options{})
		defer c.Close()
		tb, err := c.Table(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		s := Of(tb)
		if err := s.Still(t.Context()); err != nil {
			t.Error(err)
		}
		k.CreateTable("t", partitions, 1)
		if err := s.Still(t.Context()); !errors.Is(err, base.ErrInvalidState) || s.Partitions() != 4 {
			t.Errorf("%d partitions: %v", partitions, err)
		}
	}
}
