package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/pause"
	"pegasus/gen/rrdb"
	"pegasus/gen/value"
)

// learn measures what clients feel of a copy: one server of three loses its disk and learns
// everything anew from the two others, under a steady load of gets and puts. The figures are
// taken before, with two members and no copy, during the copy, and after.
func learn(ctx context.Context, o Options) error {
	o.Replicas = 3
	w, err := newWorld(ctx, o, func(c *config.Config) {
		if o.LearnRate > 0 {
			c.Replica.LearnRate, c.Replica.LearnMinRate = o.LearnRate, o.LearnRate
		}
	})
	if err != nil {
		return err
	}
	defer w.close()
	f := &foreground{w: w, ca: newCaller(w.cl, table, 5*time.Second), rows: int(o.Fill / fillValue)}
	defer f.ca.close()
	t := newTasks(ctx)
	defer t.stop()
	t.run(f.ca.follow)
	if err := f.fill(ctx); err != nil {
		return err
	}
	w.tell("%d rows of %d bytes are there", f.rows, fillValue)
	t.run(f.run)
	pause.For(ctx, 15*time.Second) // what was filled is compacted
	before := f.window(ctx, o.Duration)
	w.tell("before:             %v", before)

	s := w.c.of("replica")[2]
	kill(s)
	if err := w.awaitMembers(ctx, 2); err != nil {
		return err
	}
	pause.For(ctx, 3*time.Second)
	fewer := f.window(ctx, o.Duration/2)
	w.tell("with two members:   %v", fewer)

	es, err := os.ReadDir(s.data())
	if err != nil {
		return err
	}
	for _, e := range es {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.data(), e.Name())))
	}
	if err = errors.Join(err, s.Start()); err != nil {
		return err
	}
	began := now()
	f.begin()
	if err := poll(ctx, func() error { return w.whole(ctx) }); err != nil {
		return fmt.Errorf("the copy: %w", err)
	}
	took := now() - began
	during := f.end()
	size := dirSize(s.data())
	w.tell("during the copy:    %v; %d MB in %.1fs", during, size>>20, seconds(took))
	pause.For(ctx, 5*time.Second)
	after := f.window(ctx, o.Duration/2)
	w.tell("after:              %v", after)
	if err := w.awaitWhole(ctx, wholePatience); err != nil {
		return err
	}
	quiet := merged(before, fewer, after)
	w.tell("typical p99s:       gets %v without a copy, %v with: %.2f; puts %v, %v: %.2f", quiet.get.typical(), during.get.typical(),
		ratio(during.get.typical(), quiet.get.typical()), quiet.put.typical(), during.put.typical(), ratio(during.put.typical(), quiet.put.typical()))
	fmt.Fprintf(o.Out, "learn: mb=%d seconds=%.1f mb_per_second=%.0f get_p99_before=%v get_p99_during=%v get_p99_after=%v get_ratio=%.2f put_p99_before=%v put_p99_during=%v put_p99_after=%v put_ratio=%.2f failed=%d\n",
		size>>20, seconds(took), float64(size>>20)/seconds(took), before.get.quantile(0.99), during.get.quantile(0.99), after.get.quantile(0.99),
		ratio(during.get.quantile(0.99), before.get.quantile(0.99)), before.put.quantile(0.99), during.put.quantile(0.99), after.put.quantile(0.99),
		ratio(during.put.quantile(0.99), before.put.quantile(0.99)), before.failed+during.failed+after.failed)
	return nil
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }

func dirSize(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if st, err := d.Info(); err == nil {
				n += st.Size()
			}
		}
		return nil
	})
	return n
}

// awaitMembers waits until every partition has so many members.
func (w *world) awaitMembers(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return poll(ctx, func() error {
		cfg, err := w.cl.Admin().QueryConfig(ctx, table)
		if err != nil {
			return err
		}
		for i := range cfg.Partitions {
			if p := &cfg.Partitions[i]; p.Primary.IsZero() || len(p.Secondaries)+1 != n {
				return fmt.Errorf("partition %v has primary %v, secondaries %v", p.Pid, p.Primary, p.Secondaries)
			}
		}
		return nil
	})
}

// fillValue is the size of a row's value.
const fillValue = 4096

// foreground is a steady load of gets and puts. What an operation takes counts from when it
// was due, not from when a client was free for it.
type foreground struct {
	w    *world
	ca   *caller
	rows int

	mu  sync.Mutex
	cur *latencies
}

type latencies struct {
	get, put samples
	failed   int
}

// samples are what operations took, and when they ended.
type samples struct {
	took []time.Duration
	at   []int64 // Unix seconds
}

func (s *samples) add(d time.Duration) {
	s.took, s.at = append(s.took, d), append(s.at, time.Now().Unix())
}

func (s *samples) quantile(q float64) time.Duration {
	return quantileExact(s.took, q).Round(10 * time.Microsecond)
}

// typical is the median of the p99s of single seconds: what others do to the machine now and
// then has no part in it.
func (s *samples) typical() time.Duration {
	seconds := map[int64][]time.Duration{}
	for i, at := range s.at {
		seconds[at] = append(seconds[at], s.took[i])
	}
	var p99s []time.Duration
	for _, d := range seconds {
		if len(d) >= 100 {
			p99s = append(p99s, quantileExact(d, 0.99))
		}
	}
	return quantileExact(p99s, 0.5).Round(10 * time.Microsecond)
}

func merged(ls ...*latencies) *latencies {
	all := new(latencies)
	for _, l := range ls {
		all.get.took, all.get.at = append(all.get.took, l.get.took...), append(all.get.at, l.get.at...)
		all.put.took, all.put.at = append(all.put.took, l.put.took...), append(all.put.at, l.put.at...)
		all.failed += l.failed
	}
	return all
}

// String implements fmt.Stringer.
func (l *latencies) String() string {
	return fmt.Sprintf("%d gets p50 %v p99 %v, %d puts p50 %v p99 %v, %d failed", len(l.get.took), l.get.quantile(0.5), l.get.quantile(0.99),
		len(l.put.took), l.put.quantile(0.5), l.put.quantile(0.99), l.failed)
}

func (f *foreground) key(i int) []byte {
	return base.AppendKey(nil, []byte("f"+strconv.Itoa(i)), nil)
}

func (f *foreground) put(i int, r *rand.Rand) error {
	v := make([]byte, fillValue)
	for k := 0; k+8 <= len(v); k += 8 { // nothing that compresses
		x := r.Uint64()
		for n := range 8 {
			v[k+n] = byte(x >> (8 * n))
		}
	}
	var res rrdb.UpdateResponse
	key := f.key(i)
	_, err := f.ca.call("", base.HashOfKey(key), base.RPCPut, &rrdb.UpdateRequest{Key: key, Value: v}, &res)
	if err == nil && res.Error != 0 {
		err = errStore
	}
	return err
}

func (f *foreground) get(i int) error {
	var res rrdb.ReadResponse
	key := value.Blob(f.key(i))
	_, err := f.ca.call("", base.HashOfKey(key), base.RPCGet, &key, &res)
	if err == nil && (res.Error != 0 || len(res.Value) != fillValue) {
		err = errStore
	}
	return err
}

// fill writes all rows.
func (f *foreground) fill(ctx context.Context) error {
	var next atomic.Int64
	errs := make([]error, 32)
	var wg sync.WaitGroup
	for n := range errs {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(f.w.opts.Seed, uint64(n)))
			for i := int(next.Add(1)) - 1; i < f.rows && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				tctx, cancel := context.WithTimeout(ctx, 30*time.Second)
				err := poll(tctx, func() error { return f.put(i, r) })
				cancel()
				if err != nil {
					errs[n] = fmt.Errorf("row %d: %w", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// run is the load until ctx ends.
func (f *foreground) run(ctx context.Context) {
	n := f.w.opts.Workers
	every := time.Duration(n) * time.Second / time.Duration(f.w.opts.Rate)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(f.w.opts.Seed, uint64(1000+i)))
			due := time.Now().Add(time.Duration(r.Int64N(int64(every))))
			for pause.For(ctx, max(0, time.Until(due))) {
				put := r.IntN(2) == 0
				var err error
				if row := r.IntN(f.rows); put {
					err = f.put(row, r)
				} else {
					err = f.get(row)
				}
				f.note(put, err, time.Since(due))
				due = due.Add(every)
			}
		})
	}
	wg.Wait()
}

func (f *foreground) note(put bool, err error, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.cur == nil:
	case err != nil:
		f.cur.failed++
	case put:
		f.cur.put.add(d)
	default:
		f.cur.get.add(d)
	}
}

func (f *foreground) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cur = new(latencies)
}

func (f *foreground) end() *latencies {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.cur
	f.cur = nil
	return l
}

func (f *foreground) window(ctx context.Context, d time.Duration) *latencies {
	f.begin()
	pause.For(ctx, d)
	return f.end()
}
