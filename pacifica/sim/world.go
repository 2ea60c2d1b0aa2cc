package sim

import (
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"strings"
)

// Times of the model, in units of virtual time.
const (
	tickTime     = 20
	beaconTime   = 60
	leaseTime    = 400
	graceTime    = 460
	syncTime     = 150
	metaTime     = 20
	resendTime   = 60
	settleTime   = 12000
	calmTime     = 500
	maxRateShift = 50 // clocks run between 0.95 and 1.05 of real time
	keys         = 4
	maxEvents    = 400_000
)

// Options choose a run.
type Options struct {
	Seed uint64
	// Servers is how many there are, Replicas how many the meta wants in the group; 0 leaves
	// both to the seed.
	Servers, Replicas int
	// Duration is how long faults go on; 0 is the default.
	Duration int64
	// Bug is the name of a bug to plant, "" for none.
	Bug string
	// Trace receives a line an event; nil for none.
	Trace io.Writer
	// noSplit: the run is of a child, or of a script.
	noSplit bool
}

// Violation is a broken invariant.
type Violation struct {
	Rule string
	Text string
}

func (v *Violation) Error() string { return v.Rule + ": " + v.Text }

// Brief is the violated rule, and for a panic what it said.
func (v *Violation) Brief() string {
	if v.Rule != "panic" {
		return v.Rule
	}
	text, _, _ := strings.Cut(v.Text, "\n")
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "pacifica invariant broken: "), ":")
	return text
}

// Stats count what happened in a run, to see what runs cover.
type Stats struct {
	Events, Messages, Proposed, Acked, Reads, Crashes, Configs, Promotions, Moves, Joins, Removals, Fetches, Installs, Wipes, Splits int
}

// Add adds what another run counted.
func (s *Stats) Add(o Stats) {
	s.Events += o.Events
	s.Messages += o.Messages
	s.Proposed += o.Proposed
	s.Acked += o.Acked
	s.Reads += o.Reads
	s.Crashes += o.Crashes
	s.Configs += o.Configs
	s.Promotions += o.Promotions
	s.Moves += o.Moves
	s.Joins += o.Joins
	s.Removals += o.Removals
	s.Fetches += o.Fetches
	s.Installs += o.Installs
	s.Wipes += o.Wipes
	s.Splits += o.Splits
}

// world is one run.
type world struct {
	opt     Options
	prof    profile
	rng     *rand.Rand
	now     int64
	seq     uint64
	queue   events
	net     network
	meta    *meta
	servers []*server // [0] is nil: 0 is the meta's place in the network
	hist    history
	split   splitting
	stats   Stats
	healed  bool
	// calm is until when a group that became complete after the last fault is watched.
	calm int64
	// quietUntil: no client does anything until then.
	quietUntil int64
	done       bool
	// manual: a script decides; nothing is left to chance.
	manual bool
	nextID uint64
}

// Run performs one run and returns the first violation, nil if there was none.
func Run(opt Options) (stats Stats, v *Violation) {
	if err := plantCore(opt.Bug); err != nil {
		return stats, &Violation{"set-up", err.Error()}
	}
	defer unplantCore()
	w := newWorld(opt, randomProfile)
	if opt.splits() {
		w.addChild()
	}
	v = w.guard(w.run)
	if w.split.child != nil {
		w.stats.Add(w.split.child.stats)
	}
	return w.stats, v
}

func newWorld(opt Options, prof func(*world) profile) *world {
	w := &world{opt: opt, rng: rand.New(rand.NewPCG(opt.Seed, 0x706163))}
	w.prof = prof(w)
	w.net.cut = make([][]bool, w.prof.servers+1)
	for i := range w.net.cut {
		w.net.cut[i] = make([]bool, w.prof.servers+1)
	}
	w.hist.init()
	w.meta = newMeta(w)
	w.servers = make([]*server, w.prof.servers+1)
	for i := 1; i <= w.prof.servers; i++ {
		w.servers[i] = newServer(w, i)
	}
	return w
}

// guard calls f and returns what it panicked with as a Violation.
func (w *world) guard(f func()) (v *Violation) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *Violation:
			v = p
		default:
			v = &Violation{"panic", fmt.Sprint(p)}
			if w.opt.Trace != nil {
				v.Text += "\n" + string(debug.Stack())
			}
		}
		if v != nil {
			w.tracef("VIOLATION %v", v)
		}
	}()
	f()
	return nil
}

// fail ends the run.
func (w *world) fail(rule, format string, args ...any) {
	panic(&Violation{rule, fmt.Sprintf(format, args...)})
}

// tracef writes a line of the trace.
func (w *world) tracef(format string, args ...any) {
	if w.opt.Trace != nil {
		of := ""
		if w.split.parent != nil {
			of = "child: "
		}
		fmt.Fprintf(w.opt.Trace, "%7d  %s%s\n", w.now, of, fmt.Sprintf(format, args...))
	}
}

// run is one random run: faults, then peace, in which all must become well.
func (w *world) run() {
	for i := 1; i < len(w.servers); i++ {
		w.servers[i].start()
		w.at(w.rand(100), w.servers[i].housekeep)
	}
	w.meta.start()
	w.at(w.rand(50), w.client)
	w.at(w.rand(100), w.nemesis)
	w.at(w.prof.duration, w.heal)
	w.startChild()
	for !w.done || !w.splitDone() {
		if len(w.queue) == 0 || w.stats.Events >= w.limit() {
			w.fail("liveness", "%d events, %d in the queue", w.stats.Events, len(w.queue))
		}
		w.step()
	}
}

// step performs the next event and checks the invariants.
func (w *world) step() {
	e := heap.Pop(&w.queue).(*event)
	w.now = e.at
	if c := w.split.child; c != nil {
		c.now = e.at
	}
	w.stats.Events++
	e.do()
	w.check()
	if c := w.split.child; c != nil {
		c.check()
	}
}

// runTo performs events until time t.
func (w *world) runTo(t int64) {
	for len(w.queue) > 0 && w.queue[0].at <= t {
		w.step()
	}
	w.now = t
}

// at has f called after a delay.
func (w *world) at(delay int64, f func()) {
	if w.split.parent != nil {
		w.split.parent.at(delay, f)
		return
	}
	w.seq++
	heap.Push(&w.queue, &event{w.now + max(0, delay), w.seq, f})
}

// rand returns a number in 0..n-1, 0 in a script.
func (w *world) rand(n int64) int64 {
	if n <= 0 || w.manual {
		return 0
	}
	return w.rng.Int64N(n)
}

// chance is true with a probability in thousandths.
func (w *world) chance(permille int) bool {
	return permille > 0 && !w.manual && w.rng.IntN(1000) < permille
}

// bug tells whether a bug of the model's server or meta is planted.
func (w *world) bug(name string) bool { return w.opt.Bug == name }

// limit is how many events there may be in a run.
func (w *world) limit() int {
	if w.split.child != nil {
		return 3 * maxEvents
	}
	return maxEvents
}

type event struct {
	at  int64
	seq uint64
	do  func()
}

type events []*event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(*event)) }
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}

// clock is a monotonic clock that drifts.
type clock struct {
	since, local int64
	shift        int64 // thousandths by which it is fast
}

func (c *clock) at(now int64) int64 { return c.local + (now-c.since)*(1000+c.shift)/1000 }

func (c *clock) set(now, shift int64) {
	c.local, c.since, c.shift = c.at(now), now, shift
}

// real returns how much real time passes in d of the clock.
func (c *clock) real(d int64) int64 { return max(1, d*1000/(1000+c.shift)) }
