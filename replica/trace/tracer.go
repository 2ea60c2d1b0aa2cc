package trace

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"pegasus/remotecmd"
	"pegasus/remotecmd/answer"
	"pegasus/replica/part"
)

const (
	// keptLast and keptSlow are how many traces a server keeps.
	keptLast, keptSlow = 512, 512
	// shown is how many are shown unless more are asked for.
	shown = 20
	// Look is after how many writes of a partition the sampling is looked at, at most.
	look = 1000
)

// Tracer keeps the traces of a server.
type Tracer struct {
	part.Quiet
	every atomic.Int64

	mu   sync.Mutex
	last []*Trace // a ring, from next on
	next int
	slow []*Trace // the slowest ones, in no order
	bar  int      // the fastest of slow, once it is full
}

// New returns a Tracer that samples each so many writes of a partition; 0: none.
func New(every int) *Tracer {
	t := &Tracer{}
	t.every.Store(int64(every))
	return t
}

// Next tells whether a write is sampled whose turn it is, and after how many more it is the next one's turn.
func (t *Tracer) Next() (sample bool, more int32) {
	n := t.every.Load()
	if n <= 0 {
		return false, look
	}
	return true, int32(min(n-1, 1<<30))
}

// NewID returns an id for a request that has none.
func NewID() uint64 { return rand.Uint64() | 1 }

// Keep keeps a trace that has ended.
func (t *Tracer) Keep(x *Trace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.last) < keptLast {
		t.last = append(t.last, x)
	} else {
		t.last[t.next] = x
		t.next = (t.next + 1) % keptLast
	}
	switch {
	case len(t.slow) < keptSlow:
		t.slow = append(t.slow, x)
	case x.Took() <= t.slow[t.bar].Took():
		return
	default:
		t.slow[t.bar] = x
	}
	if len(t.slow) == keptSlow {
		t.bar = 0
		for i, s := range t.slow {
			if s.Took() < t.slow[t.bar].Took() {
				t.bar = i
			}
		}
	}
}

// Last returns the last n traces, the newest first.
func (t *Tracer) Last(n int) []answer.Trace {
	return t.show(n, func(x *Trace) bool { return true })
}

// Find returns the traces of an id, the newest first: those that are kept.
func (t *Tracer) Find(id uint64) []answer.Trace {
	list := t.show(keptLast, func(x *Trace) bool { return x.ID == id })
	if len(list) == 0 {
		for _, a := range t.Slowest(keptSlow) {
			if a.ID == FormatID(id) {
				list = append(list, a)
			}
		}
	}
	return list
}

func (t *Tracer) show(n int, of func(*Trace) bool) []answer.Trace {
	t.mu.Lock()
	var list []*Trace
	for i := range t.last {
		if x := t.last[(t.next+len(t.last)-1-i)%len(t.last)]; len(list) < n && of(x) {
			list = append(list, x)
		}
	}
	t.mu.Unlock()
	return showAll(list)
}

// Slowest returns the n slowest traces since they were forgotten, the slowest first.
func (t *Tracer) Slowest(n int) []answer.Trace {
	t.mu.Lock()
	list := slices.Clone(t.slow)
	t.mu.Unlock()
	slices.SortFunc(list, func(x, y *Trace) int { return cmp.Compare(y.Took(), x.Took()) })
	return showAll(list[:min(n, len(list))])
}

func showAll(list []*Trace) []answer.Trace {
	out := make([]answer.Trace, len(list))
	for i, x := range list {
		out[i] = x.Show()
	}
	return out
}

// Forget forgets the traces that are kept.
func (t *Tracer) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last, t.next, t.slow, t.bar = nil, 0, nil, 0
}

// Register implements part.Part.
func (t *Tracer) Register(r *part.Routes) {
	part.Live(r, "replica.trace_every", func(n int) { t.every.Store(int64(n)) })
	r.Command(remotecmd.Command{Name: "replica.traces", Args: "[last [count] | slowest [count] | id ID]", Shows: remotecmd.Always,
		Help: "Show when requests that were traced reached their stages, as JSON", Run: t.command},
		remotecmd.Command{Name: "replica.forget-traces", Help: "Forget the traces that are kept", Run: func([]string) string {
			t.Forget()
			return "OK"
		}})
}

func (t *Tracer) command(args []string) string {
	n, what, bad := shown, "last", len(args) > 2
	if len(args) > 0 {
		what = args[0]
	}
	var id uint64
	if len(args) == 2 {
		var err error
		if what == "id" {
			id, err = ParseID(args[1])
		} else {
			n, err = strconv.Atoi(args[1])
		}
		bad = err != nil || n < 1
	}
	switch {
	case bad:
	case what == "last":
		return remotecmd.JSON(answer.Traces{Traces: t.Last(n)})
	case what == "slowest":
		return remotecmd.JSON(answer.Traces{Traces: t.Slowest(n)})
	case what == "id" && len(args) == 2:
		return remotecmd.JSON(answer.Traces{Traces: t.Find(id)})
	}
	return remotecmd.JSON(answer.Traces{Error: "use: replica.traces [last [count] | slowest [count] | id ID]"})
}

var _ part.Part = (*Tracer)(nil)
