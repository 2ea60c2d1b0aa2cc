package compat

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pegasus/client"
	"pegasus/compat_test/cluster"
	"pegasus/gen/rrdb"
)

// wideLoad is what runs of TestSplit with kills have beside the load of the others: all operations, on
// rows whose history is checked while it is made.
type wideLoad struct {
	filled int // rows that are there from the start

	mu    sync.Mutex
	regs  map[string]*register
	took  []sample
	parts []part   // of the run, by when they began
	found []string // what isn't linearizable
}

// sample is an operation that ended.
type sample struct {
	began time.Time
	took  time.Duration
}

// part is a part of a run, whose operations are looked at by themselves.
type part struct {
	name  string
	began time.Time
	split bool // a split is under way
}

// register is a counter that only grows, by increments and by atomic operations. What was answered bounds what may be
// answered later: that is what a linearizable counter is.
type register struct {
	floor int64 // what some operation that has ended was answered
	seen  map[int64]bool
	tries int64 // that may have taken effect
}

const (
	fillRows  = 20 // of one hash key
	fillValue = 64
)

// scan scans the whole table again and again until ctx ends, in small pages, so that scans are open when partitions switch. The
// rows of fill are met once each.
func (w *splitWorld) scan(ctx context.Context) {
	scans := 0
	for ; ctx.Err() == nil && !w.Failed(); scans++ {
		met := make(map[string]bool, w.wide.filled)
		s := w.table.ScanAll(client.ScanOptions{Batch: max(10, w.wide.filled/400), NoValue: true, HashFilter: client.Filter{Type: rrdb.FT_MATCH_PREFIX, Pattern: []byte("p")}})
		for s.Next(context.Background()) {
			key := string(s.Row().HashKey) + " " + string(s.Row().SortKey)
			if met[key] {
				w.Errorf("row %s is met twice in a scan", key)
			}
			met[key] = true
		}
		s.Close()
		if err := s.Err(); err != nil {
			w.Logf("scan %d: %v", scans, err)
			continue
		}
		if len(met) != w.wide.filled {
			w.Errorf("scan %d meets %d of %d rows", scans, len(met), w.wide.filled)
		}
	}
	w.Logf("%d scans of the whole table", scans)
}

// fill writes n rows to begin with.
func (w *splitWorld) fill(n int) {
	w.wide.regs = map[string]*register{}
	w.wide.filled = n / fillRows * fillRows
	ctx := runContext(w.T, 10*time.Minute)
	var wg sync.WaitGroup
	const by = 16
	for i := range by {
		wg.Go(func() {
			for k := i; k < n/fillRows; k += by {
				var rows []client.KV
				for s := range fillRows {
					rows = append(rows, client.KV{SortKey: fmt.Append(nil, "s", s), Value: bytes.Repeat([]byte{byte(k)}, fillValue)})
				}
				err := w.table.MultiSet(ctx, fmt.Append(nil, "p", k), rows, 0)
				for err != nil && ctx.Err() == nil { // a slow machine
					err = w.table.MultiSet(ctx, fmt.Append(nil, "p", k), rows, 0)
				}
				if err != nil {
					w.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// op makes one operation, and notes how long it took.
func (w *splitWorld) op(f func(ctx context.Context) error) error {
	c, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	began := time.Now()
	err := f(c)
	w.note(began)
	return err
}

// note notes how long an operation took that ends now.
func (w *splitWorld) note(began time.Time) {
	s := sample{began, time.Since(began)}
	w.wide.mu.Lock()
	w.wide.took = append(w.wide.took, s)
	w.wide.mu.Unlock()
}

// begins says which part of the run begins now.
func (w *splitWorld) begins(name string, split bool) {
	w.wide.mu.Lock()
	w.wide.parts = append(w.wide.parts, part{name, time.Now(), split})
	w.wide.mu.Unlock()
}

// begin returns what an operation on a counter can't be answered less than.
func (w *splitWorld) beginOn(key string, write bool) int64 {
	w.wide.mu.Lock()
	defer w.wide.mu.Unlock()
	g := w.wide.regs[key]
	if g == nil {
		g = &register{seen: map[int64]bool{}}
		w.wide.regs[key] = g
	}
	if write {
		g.tries++
	}
	return g.floor
}

// answered notes what an operation on a counter that began at floor was answered.
func (w *splitWorld) answered(what, key string, floor, n int64, write bool) {
	w.wide.mu.Lock()
	defer w.wide.mu.Unlock()
	g := w.wide.regs[key]
	if n < floor || write && (n == floor || g.seen[n]) || n > g.tries {
		w.wide.found = append(w.wide.found, fmt.Sprintf("%s of counter %s is answered %d, after %d was; %d tries, twice: %v", what, key, n, floor, g.tries, g.seen[n]))
	}
	if write {
		g.seen[n] = true
	}
	g.floor = max(g.floor, n)
}

// loadWide makes all operations until ctx ends.
func (w *splitWorld) loadWide(ctx context.Context, who int) {
	r := rand.New(rand.NewPCG(uint64(who), 11))
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprint("x", r.IntN(60))
		h, sort := []byte(key), []byte("n")
		var floor int64
		switch i % 8 {
		case 0:
			floor = w.beginOn(key, true)
			var n int64
			if w.op(func(c context.Context) (err error) { n, err = w.table.Incr(c, h, sort, 1, 0); return err }) == nil {
				w.answered("an increment", key, floor, n, true)
			}
		case 1, 2:
			var v []byte
			floor = w.beginOn(key, false)
			if w.op(func(c context.Context) (err error) { v, _, err = w.table.Get(c, h, sort); return err }) == nil {
				w.answered("a get", key, floor, countOf(v), false)
			}
		case 3, 4: // what was read is raised by one, if it is that still
			var v []byte
			var found bool
			if w.op(func(c context.Context) (err error) { v, found, err = w.table.Get(c, h, sort); return err }) != nil || !found {
				continue
			}
			check := client.Check{SortKey: sort, Type: rrdb.CT_VALUE_BYTES_EQUAL, Operand: v}
			next := strconv.AppendInt(nil, countOf(v)+1, 10)
			floor = w.beginOn(key, true)
			var got client.Checked
			err := w.op(func(c context.Context) (err error) {
				if i%8 == 3 {
					got, err = w.table.CheckAndSet(c, h, check, sort, next, 0)
				} else {
					got, err = w.table.CheckAndMutate(c, h, check, []client.Mutation{{SortKey: sort, Value: next}})
				}
				return err
			})
			if err == nil && got.Applied {
				w.answered("a check", key, floor, countOf(next), true)
			}
		case 5:
			floor = w.beginOn(key, false)
			var rows []client.KV
			if w.op(func(c context.Context) (err error) {
				rows, _, err = w.table.MultiGet(c, h, client.MultiGetOptions{SortKeys: [][]byte{sort}})
				return err
			}) == nil {
				n := int64(0)
				if len(rows) > 0 {
					n = countOf(rows[0].Value)
				}
				w.answered("a multi_get", key, floor, n, false)
			}
		case 6: // a row of the filled ones, as a whole
			k := r.IntN(max(w.wide.filled/fillRows, 1))
			if w.wide.filled == 0 {
				continue
			}
			var n int64
			if w.op(func(c context.Context) (err error) {
				n, err = w.table.SortKeyCount(c, fmt.Append(nil, "p", k))
				return err
			}) == nil && n != fillRows {
				w.Errorf("hash key p%d has %d rows", k, n)
			}
		case 7:
			keys := []client.FullRow{{HashKey: h, SortKey: sort}, {HashKey: h, SortKey: []byte("none")}}
			floor = w.beginOn(key, false)
			var rows []client.FullRow
			if w.op(func(c context.Context) (err error) { rows, err = w.table.BatchGet(c, keys); return err }) == nil {
				n := int64(0)
				for _, row := range rows {
					n += countOf(row.Value)
				}
				w.answered("a batch_get", key, floor, n, false)
			}
			mine := fmt.Append(nil, "x-", who)
			_ = w.op(func(c context.Context) error {
				return w.table.MultiSet(c, mine, []client.KV{{SortKey: []byte("a"), Value: []byte("1")}, {SortKey: []byte("b"), Value: []byte("2")}}, 0)
			})
			_ = w.op(func(c context.Context) error { return w.table.MultiDel(c, mine, [][]byte{[]byte("a"), []byte("b")}) })
			_ = w.op(func(c context.Context) error { _, _, err := w.table.TTL(c, mine, []byte("a")); return err })
		}
	}
}

func countOf(v []byte) int64 {
	n, _ := strconv.ParseInt(string(v), 10, 64)
	return n
}

// checkWide tells what was not linearizable, and how slow the worst second was.
func (w *splitWorld) checkWide() {
	w.Helper()
	if w.wide.regs == nil {
		return
	}
	for _, f := range w.wide.found[:min(len(w.wide.found), 20)] {
		w.Error(f)
	}
	ctx := runContext(w.T, 10*time.Minute)
	for key := range w.wide.regs {
		floor := w.beginOn(key, false)
		v, _, err := w.table.Get(ctx, []byte(key), []byte("n"))
		if err != nil {
			w.Fatal(err)
		}
		w.answered("the last get", key, floor, countOf(v), false)
	}
	if len(w.wide.found) > 0 {
		w.Errorf("%d answers aren't linearizable", len(w.wide.found))
	}
	n, err := w.table.ScanAll(client.ScanOptions{HashFilter: client.Filter{Type: rrdb.FT_MATCH_PREFIX, Pattern: []byte("p")}}).Count(ctx)
	if err != nil || int(n) != w.wide.filled {
		w.Errorf("%d rows are counted of %d, %v", n, w.wide.filled, err)
	}
	w.tellTimes()
}

// tellTimes tells how slow the worst second of each part of the run was, of those operations that were under way in it. The
// second in which an operation began counts.
func (w *splitWorld) tellTimes() {
	load, _ := os.ReadFile("/proc/loadavg")
	w.Logf("load of the machine %s", strings.TrimSpace(string(load)))
	for _, name := range w.c.Servers() {
		for line := range strings.Lines(w.c.Log(name)) {
			if strings.Contains(line, "made of its parent") || strings.Contains(line, "is registered;") {
				w.Log(name, strings.TrimSpace(line))
			}
		}
	}
	for i, p := range w.wide.parts {
		end := time.Now()
		if i+1 < len(w.wide.parts) {
			end = w.wide.parts[i+1].began
		}
		seconds, ops := map[int64][]time.Duration{}, 0
		for _, s := range w.wide.took {
			if s.began.Before(end) && s.began.Add(s.took).After(p.began) {
				at := int64(s.began.Sub(p.began) / time.Second)
				seconds[at] = append(seconds[at], s.took)
				ops++
			}
		}
		var worst, longest time.Duration
		of := 0
		for _, ds := range seconds {
			slices.Sort(ds)
			if p99 := ds[len(ds)*99/100]; p99 > worst {
				worst, of = p99, len(ds)
			}
			longest = max(longest, ds[len(ds)-1])
		}
		w.Logf("%s: %d operations in %v; p99 of the worst second %v (of %d operations), the longest took %v",
			p.name, ops, end.Sub(p.began).Round(time.Millisecond), worst.Round(time.Millisecond), of, longest.Round(time.Millisecond))
		if *splitP99 > 0 && p.split && worst > *splitP99 {
			w.Errorf("%s: p99 of the worst second is %v", p.name, worst)
		}
	}
}

// used returns the bytes of the stores' files. A file with several names counts as often: what parent and child share at first, each
// must have rid itself of half.
func (w *splitWorld) used() (n int64) {
	_ = filepath.WalkDir(w.c.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".sst") {
			return nil
		}
		if i, err := d.Info(); err == nil {
			if s, ok := i.Sys().(*syscall.Stat_t); ok {
				n += s.Blocks * 512
			}
		}
		return nil
	})
	return n
}

// spaceIsBack waits until the stores take about as much as before.
func (w *splitWorld) spaceIsBack(before int64) {
	if w.wide.filled == 0 || w.Failed() {
		return
	}
	began, most := time.Now(), int64(0)
	err := cluster.Poll(10*time.Minute, func() error {
		n := w.used()
		most = max(most, n)
		if n > before*5/4+32<<20 {
			return fmt.Errorf("the stores take %d MB, %d before the split", n>>20, before>>20)
		}
		return nil
	})
	w.Logf("the stores took %d MB before the split, %d after it; as much as before after %v", before>>20, most>>20, time.Since(began).Round(time.Second))
	if err != nil {
		w.Error(err)
	}
}
