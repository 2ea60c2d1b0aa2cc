package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/client"
	"pegasus/rpc"
)

// run is what all clients of a run share.
type run struct {
	o       Options
	w       workload
	rows    rows
	start   time.Time
	end     time.Time // no operation is begun after it; zero: none
	seq     atomic.Int64
	last    atomic.Int64 // highest row there is
	halt    atomic.Bool
	acked   *acked
	pending []int64 // rows to read, for verify
	errs    firstErrors

	mu     sync.Mutex
	wrongs int64
	lost   []string // the first few rows that weren't as they must be
}

// loader is one client: a table, slots, and when they may start.
type loader struct {
	*run
	c     *client.Client
	table *client.Table
	tally *tally
	slots sync.WaitGroup

	// With a rate, operations become due one after the other; idle slots wait for that.
	mu     sync.Mutex
	idle   []*slot
	issued int64
	gap    time.Duration // between two of this client's operations; 0: no rate
}

// Run loads a table as told and reports. The report is valid also if there is an error,
// as far as the run came; rows that aren't as they must be are an error.
func Run(ctx context.Context, o Options) (*Report, error) {
	w, err := o.complete()
	if err != nil {
		return nil, err
	}
	r := &run{o: o, w: w}
	if err := r.prepare(); err != nil {
		return nil, err
	}
	if r.acked != nil {
		defer r.acked.close()
	}
	loaders := make([]*loader, o.Clients)
	for i := range loaders {
		l := &loader{run: r, tally: newTally(), c: r.o.newClient()}
		defer l.c.Close()
		if l.table, err = l.c.Table(ctx, o.Table); err != nil {
			return nil, err
		}
		loaders[i] = l
	}
	before := usage(o.Pids)
	r.start = time.Now()
	if r.o.Duration > 0 {
		r.end = r.start.Add(r.o.Duration)
	}
	for i, l := range loaders {
		l.begin(i)
	}
	if r.o.Rate > 0 {
		defer r.pace(loaders)()
	}
	total, err := r.watch(ctx, loaders)
	rep := r.report(total, time.Since(r.start), before, usage(o.Pids))
	if err == nil {
		err = r.verdict(total)
	}
	return rep, err
}

func (r *run) prepare() error {
	o := &r.o
	if o.Op != Verify {
		r.rows = rows{o.Seed, int64(o.RowsPerHash), o.ValueSize}
		r.last.Store(o.Keys - 1)
		if o.Acked != "" {
			var err error
			r.acked, err = createAcked(o.Acked, o)
			return err
		}
		return nil
	}
	a, err := openAcked(o.Acked)
	if err != nil {
		return err
	}
	defer a.close()
	r.rows = rows{a.head.Seed, int64(a.head.PerHash), int(a.head.ValueSize)}
	for i := range int64(a.head.Keys) {
		if a.has(i) {
			r.pending = append(r.pending, i)
		}
	}
	o.Check, o.Count, o.Duration, o.Dist = true, int64(len(r.pending)), 0, "sequential"
	o.Keys = max(o.Count, 1)
	r.w = workload{mix: []share{{kindGet, 100}}}
	if len(r.pending) == 0 {
		return fmt.Errorf("%s contains no acknowledged rows", o.Acked)
	}
	return nil
}

func (r *run) kindFor(p float64) kind {
	for _, s := range r.w.mix {
		if p -= s.percent; p < 0 {
			return s.kind
		}
	}
	return r.w.mix[len(r.w.mix)-1].kind
}

// begin makes the client's slots and starts them.
func (l *loader) begin(index int) {
	n := l.o.Outstanding
	if l.o.Rate > 0 {
		l.gap = time.Duration(float64(l.o.Clients) / l.o.Rate * float64(time.Second))
		l.gap = max(l.gap, 1)
	}
	l.slots.Add(n)
	all := make([]*slot, n)
	for i := range all {
		all[i] = newSlot(l, uint64(index*n+i))
	}
	if l.gap > 0 {
		l.mu.Lock()
		l.idle = all
		l.mu.Unlock()
		return
	}
	for _, s := range all {
		l.next(s)
	}
}

// next starts the slot's next operation, or ends it; where there is a rate it leaves the slot to
// the pace: what is due on one connection then leaves in one write.
func (l *loader) next(s *slot) {
	if l.gap == 0 {
		now := time.Now()
		seq, ok := l.draw(now)
		if !ok {
			l.slots.Done()
			return
		}
		s.begin(seq, now, nil)
		return
	}
	l.mu.Lock()
	l.idle = append(l.idle, s)
	l.mu.Unlock()
}

// dispatch starts the operations that are due on idle slots, and tells when the next one is. They
// leave with b. An operation that no slot was there for in time begins late, and its wait counts.
// When no operation may begin any more it ends the slots.
func (l *loader) dispatch(b *rpc.Burst, ready []*slot) (time.Time, []*slot) {
	l.mu.Lock()
	now := time.Now()
	over, first := l.over(now), l.issued
	due := func(i int64) time.Time { return l.start.Add(time.Duration(i) * l.gap) }
	for len(l.idle) > 0 && (over || !due(l.issued).After(now)) {
		ready = append(ready, l.idle[len(l.idle)-1])
		l.idle = l.idle[:len(l.idle)-1]
		l.issued++
	}
	next := due(l.issued)
	l.mu.Unlock()
	for i, s := range ready {
		at := due(first + int64(i))
		if seq, ok := l.draw(at); ok {
			s.begin(seq, at, b)
		} else {
			l.slots.Done()
		}
		ready[i] = nil
	}
	return next, ready[:0]
}

// over tells that no operation may begin any more.
func (r *run) over(at time.Time) bool {
	return r.halt.Load() || !r.end.IsZero() && !at.Before(r.end) || r.o.Count > 0 && r.seq.Load() >= r.o.Count
}

// draw takes the next operation's number.
func (r *run) draw(at time.Time) (int64, bool) {
	if r.halt.Load() || !r.end.IsZero() && !at.Before(r.end) {
		return 0, false
	}
	seq := r.seq.Add(1) - 1
	return seq, r.o.Count == 0 || seq < r.o.Count
}

// fail notes an error and goes on, after a pause so that a dead cluster isn't hammered.
func (l *loader) fail(s *slot, err error) {
	l.tally.failed(err)
	l.errs.add(err)
	time.AfterFunc(time.Millisecond+rand.N(10*time.Millisecond), func() { l.next(s) })
}

// wrong notes a row that isn't as it must be.
func (r *run) wrong(row int64, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrongs++
	if len(r.lost) < 10 {
		r.lost = append(r.lost, fmt.Sprintf("row %d (%s : %s): %s", row, r.rows.appendHashKey(nil, row), r.rows.appendSortKey(nil, row), what))
	}
}

// firstErrors keeps some errors' texts, for the report.
type firstErrors struct {
	mu   sync.Mutex
	text []string
}

func (f *firstErrors) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.text) < 5 && !slices.Contains(f.text, err.Error()) {
		f.text = append(f.text, err.Error())
	}
}

// watch waits for the end, telling how it goes each second.
func (r *run) watch(ctx context.Context, loaders []*loader) (*sum, error) {
	finished := make(chan struct{})
	go func() {
		for _, l := range loaders {
			l.slots.Wait()
		}
		close(finished)
	}()
	total := newSum()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var err error
	lastOK, lastTick := time.Now(), time.Now()
	for done := false; !done; {
		select {
		case <-finished:
			done = true
		case <-ctx.Done():
			r.halt.Store(true)
			if err == nil {
				err = fmt.Errorf("interrupted: %w", context.Cause(ctx))
			}
			ctx = context.Background() // the operations in flight are waited for, bounded by their timeout
		case <-tick.C:
		}
		now := newSum()
		for _, l := range loaders {
			now.take(l.tally)
		}
		total.add(now)
		since := time.Since(lastTick)
		lastTick = time.Now()
		if now.ops > 0 {
			lastOK = lastTick
		} else if !done && time.Since(lastOK) > r.o.GiveUp && err == nil {
			r.halt.Store(true)
			err = fmt.Errorf("stopped: no operation succeeded for %v", r.o.GiveUp)
		}
		if r.o.Progress != nil && !done {
			h := now.all()
			fmt.Fprintf(r.o.Progress, "%6.0fs %9.0f op/s %9d done %6d errors   p50 %s p99 %s max %s\n", time.Since(r.start).Seconds(),
				float64(now.ops)/since.Seconds(), total.ops, total.nErrs, us(h.ValueAtQuantile(50)), us(h.ValueAtQuantile(99)), us(h.Max()))
		}
	}
	return total, err
}

// verdict is the run's error, if rows are wrong or operations failed.
func (r *run) verdict(total *sum) error {
	switch {
	case r.wrongs > 0 && r.o.Op == Verify:
		return fmt.Errorf("%d of %d acknowledged rows are lost or wrong, the first: %s", r.wrongs, len(r.pending), r.lost[0])
	case r.wrongs > 0:
		return fmt.Errorf("%d rows are missing or wrong, the first: %s", r.wrongs, r.lost[0])
	case total.nErrs > 0:
		return fmt.Errorf("%d operations failed, the first: %s", total.nErrs, r.errs.text[0])
	}
	return nil
}
