package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"pegasus/base/pause"
	"sync"
	"sync/atomic"
	"time"
)

// load is the clients of a run.
type load struct {
	seed    uint64
	c       *caller
	h       *history
	l       *ledger
	servers []string // replica servers' addresses
	rate    int      // operations a second, of all workers together
	workers int
	most    int // rows that the ledger keeps
	say     func(format string, args ...any)

	slots  []*slot
	gate   sync.RWMutex // held for reading by an operation, for writing while there shall be none
	keys   atomic.Int32
	values atomic.Int64

	tried, acked, refusedN, unknownN atomic.Int64
	scans, scanFailures              atomic.Int64
	perSecond                        sync.Map // second of the run -> *atomic.Int64: acknowledged writes

	mu   sync.Mutex
	lost []string
	odd  []string
}

// slot is a place for a key. A key is given up after a while, so that its history stays
// short enough to be checked.
type slot struct {
	mu    sync.Mutex
	key   int32
	ops   int
	stays int
	born  time.Time
	seen  [rows]int64 // some value that was read, for check_and_set
}

// When a key is given up: operations, unknown outcomes, age.
const (
	slotOps   = 250
	slotStays = 4
	slotAge   = 40 * time.Second
)

func (l *load) take(s *slot) (key int32, seen [rows]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key == 0 || s.ops >= slotOps || s.stays >= slotStays || time.Since(s.born) > slotAge {
		s.key, s.ops, s.stays, s.born, s.seen = l.keys.Add(1), 0, 0, time.Now(), [rows]int64{}
	}
	s.ops++
	return s.key, s.seen
}

func (s *slot) ended(op *Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key != op.Key {
		return
	}
	if op.stays() {
		s.stays++
	}
	if op.Unknown {
		return
	}
	switch op.Kind {
	case Get:
		s.seen[op.Row] = op.Got
	case MultiGet, Scan:
		s.seen = op.All
	}
}

// run puts the cluster under load until ctx ends.
func (l *load) run(ctx context.Context) {
	for range max(1, l.workers/2) {
		l.slots = append(l.slots, new(slot))
	}
	between := time.Duration(l.workers) * time.Second / time.Duration(l.rate)
	var wg sync.WaitGroup
	for w := range l.workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(l.seed, uint64(w)+1000))
			for pause.For(ctx, time.Duration(float64(between)*(0.5+r.Float64()))) {
				l.gate.RLock()
				if w%4 == 0 { // a quarter of the load
					l.keepLedger(r)
				} else {
					l.operate(w, r)
				}
				l.gate.RUnlock()
			}
		})
	}
	wg.Go(func() { l.scan(ctx, rand.New(rand.NewPCG(l.seed, 999))) })
	wg.Wait()
}

// prefill writes rows as fast as they go, so that there is something on the disks.
func (l *load) prefill(n int) error {
	var wg sync.WaitGroup
	var left, failed atomic.Int64
	left.Store(int64(n))
	for range l.workers {
		wg.Go(func() {
			for left.Add(-1) >= 0 && failed.Load() < int64(n/10) {
				out, _ := l.l.write(l.c)
				if l.tried.Add(1); out != done {
					failed.Add(1)
				}
				l.count(out, true)
			}
		})
	}
	wg.Wait()
	if f := failed.Load(); f > int64(n/10) {
		return fmt.Errorf("%d of %d first writes failed", f, n)
	}
	return nil
}

func (l *load) keepLedger(r *rand.Rand) {
	l.tried.Add(1)
	var out outcome
	tried := false
	if r.IntN(2) == 0 {
		tried, out = l.l.remove(l.c, l.most)
	}
	if !tried {
		out, _ = l.l.write(l.c)
	}
	l.count(out, true)
}

func (l *load) count(out outcome, write bool) {
	switch out {
	case done:
		if write {
			l.acked.Add(1)
			n, _ := l.perSecond.LoadOrStore(now()/1e9, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
		}
	case refused:
		l.refusedN.Add(1)
	case unknown:
		l.unknownN.Add(1)
	}
}

func (l *load) operate(w int, r *rand.Rand) {
	s := l.slots[r.IntN(len(l.slots))]
	op := &Op{Worker: int32(w)}
	op.Key, op.All = l.take(s)
	l.choose(op, r)
	addr := ""
	if !op.Kind.writes() && r.IntN(20) == 0 {
		// Only the primary may answer. One that doesn't know that it no longer is would.
		addr = l.servers[r.IntN(len(l.servers))]
	}
	l.tried.Add(1)
	out, err := l.c.do(op, addr)
	if err != nil {
		l.trouble(&l.odd, err.Error())
		return
	}
	l.count(out, op.Kind.writes())
	if out == refused {
		return
	}
	s.ended(op)
	l.h.add(op)
}

// choose makes an operation; op.All holds what was seen of the key lately.
func (l *load) choose(op *Op, r *rand.Rand) {
	seen := op.All
	op.All = [rows]int64{}
	op.Row = uint8(r.IntN(counter))
	switch n := r.IntN(100); {
	case n < 20:
		op.Kind, op.Row = Get, uint8(r.IntN(rows))
	case n < 28:
		op.Kind = MultiGet
	case n < 34:
		op.Kind = Scan
	case n < 54:
		op.Kind, op.Value = Set, l.values.Add(1)
		if r.IntN(20) == 0 {
			op.Row, op.Value = counter, op.Value<<20
		}
	case n < 58:
		op.Kind, op.Row = Del, uint8(r.IntN(rows))
	case n < 72:
		op.Kind, op.Row, op.Value = Incr, counter, 1+r.Int64N(3)
	case n < 90:
		op.Kind, op.Value, op.CheckRow, op.Check = CheckAndSet, l.values.Add(1), uint8(r.IntN(rows)), uint8(r.IntN(3))
		op.Operand = seen[op.CheckRow]
	case n < 98:
		op.Kind, op.Value, op.Mask = MultiSet, l.values.Add(1), uint8(1+r.IntN(1<<counter-1))
	default:
		op.Kind, op.Mask = MultiDel, uint8(1+r.IntN(1<<counter-1))
	}
}

// scan walks one partition after the other, in pages of different sizes.
func (l *load) scan(ctx context.Context, r *rand.Rand) {
	for pause.For(ctx, time.Second) {
		p := r.IntN(l.l.partitions)
		sctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		res, err := l.l.scan(sctx, l.c.cl, l.c.table, p, []int{10, 100, 1000}[r.IntN(3)])
		cancel()
		if err != nil {
			l.scanFailures.Add(1)
			continue
		}
		l.scans.Add(1)
		for _, s := range res.lost {
			l.trouble(&l.lost, s)
		}
		for _, s := range res.odd {
			l.trouble(&l.odd, s)
		}
	}
}

const maxTrouble = 20 // how many of a kind are said at once

func (l *load) trouble(list *[]string, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*list = append(*list, text)
	if len(*list) <= maxTrouble {
		l.say("WRONG: %s", text)
	}
}

// finish reads every key once more, into its history: what was acknowledged must still be
// there. It fails if a key can't be read until ctx ends.
func (l *load) finish(ctx context.Context) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs error
		next atomic.Int32
		last = l.keys.Load()
	)
	for w := range 8 {
		wg.Go(func() {
			for key := next.Add(1); key <= last; key = next.Add(1) {
				err := poll(ctx, func() error {
					op := &Op{Worker: int32(l.workers + w), Key: key, Kind: MultiGet}
					out, err := l.c.do(op, "")
					if err != nil {
						l.trouble(&l.odd, err.Error())
						return nil
					}
					if out != done {
						return fmt.Errorf("key %d can't be read at %s", key, op.Server)
					}
					l.h.add(op)
					return nil
				})
				if err != nil {
					mu.Lock()
					errs = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return errs
}

// longestSilence returns the longest time, in whole seconds, in which no write was
// acknowledged anywhere.
func (l *load) longestSilence(from, to int64) (longest, at int64) {
	run := int64(0)
	for s := from / 1e9; s < to/1e9; s++ {
		if _, ok := l.perSecond.Load(s); ok {
			run = 0
			continue
		}
		if run++; run > longest {
			longest, at = run, s-run+1
		}
	}
	return longest, at
}
