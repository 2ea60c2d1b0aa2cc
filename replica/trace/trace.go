package trace

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/remotecmd/answer"
)

// maxStages bounds the stages of a trace: a mutation that is sent again and again has many.
const maxStages = 64

// Stages, in the order in which a write reaches them.
const (
	Received  = "received"  // the primary has read the request
	Taken     = "taken"     // a round of the replica has taken it from the queue
	Proposed  = "proposed"  // it is in a mutation
	Sent      = "sent"      // the prepare left for a secondary
	Logged    = "logged"    // it is durable in the log
	Answered  = "answered"  // the answer left: the secondary's acknowledgement, the primary's answer to the client
	Heard     = "heard"     // a secondary's acknowledgement is here
	Committed = "committed" // every member has it
	Applied   = "applied"   // it is in the store
	Read      = "read"      // of a read: the store has given its rows
)

// Trace is a request on its way through a server. It is safe for use by several goroutines.
type Trace struct {
	ID    uint64
	began time.Time

	mu     sync.Mutex
	about  answer.Trace
	stages []stage
	took   time.Duration
}

type stage struct {
	what string
	node base.RPCAddress // 0: the server itself
	at   time.Duration
}

// Begin returns a Trace of a request that was received at began. about says what it is.
func Begin(id uint64, began time.Time, about answer.Trace) *Trace {
	return &Trace{ID: id, began: began, about: about, stages: append(make([]stage, 0, 16), stage{Received, 0, 0})}
}

// Reach notes that a stage is reached now, on that server; 0: on this one.
func (t *Trace) Reach(what string, node base.RPCAddress) { t.ReachAt(what, node, time.Now()) }

// ReachAt is Reach at a time.
func (t *Trace) ReachAt(what string, node base.RPCAddress, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note(what, node, at.Sub(t.began))
}

func (t *Trace) note(what string, node base.RPCAddress, at time.Duration) {
	if len(t.stages) < maxStages {
		t.stages = append(t.stages, stage{what, node, at})
	}
	t.took = max(t.took, at)
}

// Describe changes what the trace says of its request.
func (t *Trace) Describe(f func(*answer.Trace)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.about)
}

// Hear notes that a secondary's acknowledgement came at a time, with the spans that it tells.
func (t *Trace) Hear(node base.RPCAddress, at time.Time, s Spans) {
	t.mu.Lock()
	defer t.mu.Unlock()
	heard, sent := at.Sub(t.began), time.Duration(-1)
	for i := range t.stages {
		if x := &t.stages[i]; x.what == Sent && x.node == node {
			sent = x.at
		}
	}
	if sent >= 0 && s.Answered <= heard-sent {
		had := sent + (heard-sent-s.Answered)/2
		t.note(Received, node, had)
		t.note(Logged, node, had+s.Logged)
		t.note(Answered, node, had+s.Answered)
	}
	t.note(Heard, node, heard)
}

// Since returns the spans of a secondary that acknowledges now.
func (t *Trace) Since(now time.Time) (s Spans) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.stages {
		if t.stages[i].what == Logged {
			s.Logged = t.stages[i].at
		}
	}
	s.Answered = now.Sub(t.began)
	return s
}

// Took returns the time until the last stage.
func (t *Trace) Took() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.took
}

// Show returns the trace as it is shown, its stages in the order of time.
func (t *Trace) Show() answer.Trace {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.about
	a.ID, a.Time, a.Took = FormatID(t.ID), t.began, t.took.Seconds()
	list := slices.Clone(t.stages)
	slices.SortStableFunc(list, func(x, y stage) int { return cmp.Compare(x.at, y.at) })
	a.Stages = make([]answer.Stage, len(list))
	for i, s := range list {
		a.Stages[i] = answer.Stage{What: s.what, At: s.at.Seconds()}
		if s.node != 0 {
			a.Stages[i].Server = s.node.String()
		}
	}
	return a
}

// FormatID writes an id as it is shown and asked for.
func FormatID(id uint64) string { return strconv.FormatUint(id, 16) }

// ParseID reads what FormatID wrote.
func ParseID(s string) (uint64, error) { return strconv.ParseUint(s, 16, 64) }
