package sim

import (
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"

	"pegasus/duplication/ship"
)

// Options of Run.
type Options struct {
	Seed  uint64
	Bug   string    // one of the model's, "" none
	Trace io.Writer // nil: none
}

// Stats counts what happened, to show that the model isn't idle.
type Stats struct {
	Events, Writes, Batches, Lost, Failed, Refused, Doubled, Leads, Crashes, Cuts, Yields, Boots, Swept, Pauses, Removals, Reshapes, SkippedOps, SkippedDecrees, Cuttings, Children, ChildrenCopied, Stills, Losses int
}

// Add adds another run.
func (s *Stats) Add(o Stats) {
	s.Events += o.Events
	s.Writes += o.Writes
	s.Batches += o.Batches
	s.Lost += o.Lost
	s.Failed += o.Failed
	s.Refused += o.Refused
	s.Doubled += o.Doubled
	s.Leads += o.Leads
	s.Crashes += o.Crashes
	s.Cuts += o.Cuts
	s.Yields += o.Yields
	s.Boots += o.Boots
	s.Swept += o.Swept
	s.Pauses += o.Pauses
	s.Removals += o.Removals
	s.Reshapes += o.Reshapes
	s.SkippedOps += o.SkippedOps
	s.SkippedDecrees += o.SkippedDecrees
	s.Cuttings += o.Cuttings
	s.Children += o.Children
	s.ChildrenCopied += o.ChildrenCopied
	s.Stills += o.Stills
	s.Losses += o.Losses
}

// Violation is a broken invariant.
type Violation struct {
	At   int64
	What string
}

// Brief is what it is, in a line.
func (v *Violation) Brief() string { return fmt.Sprintf("at %d: %s", v.At, v.What) }

const (
	keys    = 12
	theirs  = 3  // keys behind those, which only the remote's clients write
	room    = 25 // entries in a log; with more it yields
	servers = 3
	rounds  = 1500 // ticks with faults
	calm    = 3000 // ticks without, in which everything must come to rest
)

var options = ship.Options{Window: 2000, Read: 700, Batch: 400, Timeout: 30, Linger: 20, RetryMin: 2, RetryMax: 40}

// late is within what time a request is applied, answered or not.
const late = 49 // options.Timeout + options.Linger - 1

// row is the last that happened to a key.
type row struct {
	tag     uint64 // see tagOf
	deleted bool
	decree  int64 // of the source
	child   bool  // the decree is of the child's log
}

// absent tells whether there is no row.
func (r row) absent() bool { return r.tag == 0 || r.deleted }

// The numbers of the clusters.
const own, other = 1, 2

// tagOf packs a timetag as package rrdb does.
func tagOf(ts uint64, cluster uint8, deleted bool) uint64 {
	t := ts<<8 | uint64(cluster)<<1
	if deleted {
		t |= 1
	}
	return t
}

func originOf(tag uint64) ship.Origin {
	return ship.Origin{TimestampUS: int64(tag >> 8), Cluster: uint8(tag >> 1 & 127)}
}

// op is a write of the source.
type op struct {
	key int
	row
	size int
}

// event is a thing to come.
type event struct {
	at  int64
	seq uint64
	f   func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any     { o := *q; e := o[len(o)-1]; *q = o[:len(o)-1]; return e }

// world is the model.
type world struct {
	opt   Options
	rnd   *rand.Rand
	now   int64
	seq   uint64
	queue queue
	calm  bool
	stats Stats
	bad   *Violation

	source  *part
	child   *part // of source, once it is registered
	lastTag uint64

	meta   meta
	remote remote
	skips  bool         // the mode is, or was, to skip
	spoilt map[int]bool // keys whose last state may be missing, since something was skipped
}

// Run runs a seed.
func Run(opt Options) (Stats, *Violation) {
	w := &world{opt: opt, rnd: rand.New(rand.NewPCG(opt.Seed, 77)), spoilt: map[int]bool{}}
	w.remote = remote{byTag: opt.Seed%2 == 0, lanes: 1 + w.rnd.IntN(4), rows: map[int]row{}, poison: -1}
	w.remote.theirs = map[int]uint64{}
	w.meta = meta{skip: w.rnd.IntN(4) == 0, boot: w.rnd.IntN(3) == 0}
	w.skips = w.meta.skip
	p := newPart(w, ship.Unknown)
	w.source = p
	for range w.rnd.IntN(20) {
		p.write()
		p.committed = p.last()
	}
	for _, s := range p.servers {
		s.begin()
	}
	p.lead(0)
	for w.now < rounds && w.bad == nil {
		w.nemesis()
		w.step()
	}
	w.heal()
	for end := w.now + calm; w.now < end && w.bad == nil && !w.rested(); {
		w.step()
	}
	w.atRest()
	for _, p := range w.parts() {
		for _, s := range p.servers {
			w.stats.SkippedOps += int(s.skippedOps)
			w.stats.SkippedDecrees += int(s.skippedDecrees)
		}
	}
	return w.stats, w.bad
}

// parts are the partitions that there are.
func (w *world) parts() []*part {
	if w.child == nil {
		return []*part{w.source}
	}
	return []*part{w.source, w.child}
}

func (w *world) tracef(format string, args ...any) {
	if w.opt.Trace != nil {
		fmt.Fprintf(w.opt.Trace, "%5d %s\n", w.now, fmt.Sprintf(format, args...))
	}
}

func (w *world) violate(format string, args ...any) {
	if w.bad == nil {
		w.bad = &Violation{w.now, fmt.Sprintf(format, args...)}
		w.tracef("VIOLATION: %s", w.bad.What)
	}
}

// chance is true in one of n cases.
func (w *world) chance(n int) bool { return w.rnd.IntN(n) == 0 }

func (w *world) after(d int64, f func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now + d, w.seq, f})
}

// delay is how long a message takes.
func (w *world) delay() int64 { return 1 + int64(w.rnd.IntN(4)) }

// step passes a tick.
func (w *world) step() {
	w.now++
	for len(w.queue) > 0 && w.queue[0].at <= w.now && w.bad == nil {
		w.stats.Events++
		heap.Pop(&w.queue).(event).f()
	}
	for _, p := range w.parts() {
		for _, s := range p.servers {
			if s.up {
				s.tick()
			}
			p.checkServer(s)
		}
		p.nudge()
	}
}
