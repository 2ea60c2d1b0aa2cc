package pacifica

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// node is a core with its log, without a network: a test carries the messages.
type node struct {
	*Core
	t       *testing.T
	log     []Entry // all appended, in order; durable up to synced
	synced  int
	applied []Entry
	out     []Message
	changes []Change
	fetch   *Fetch
	// cut: the log no longer has what is at or below.
	cut int64
}

func (n *node) Entries(from, to, _ int64) ([]Entry, error) {
	var es []Entry
	for _, e := range n.view() {
		if e.Decree >= from && e.Decree <= to {
			es = append(es, e)
		}
	}
	if from <= n.cut || len(es) == 0 || es[0].Decree != from {
		return nil, errors.New("not in the log")
	}
	return es, nil
}

// view returns the log's entries in decree order, each in its latest version, without those
// that are void.
func (n *node) view() []Entry {
	var es []Entry
	for _, e := range n.log[:n.synced] {
		i := len(es)
		for i > 0 && es[i-1].Decree >= e.Decree {
			i--
		}
		if i < len(es) && es[i].Decree == e.Decree && es[i].Ballot == e.Ballot {
			continue
		}
		es = append(es[:i], e)
	}
	return es
}

func (n *node) opt(id NodeID) Options {
	return Options{Self: id, Log: n, MaxInFlight: 100, MaxSendBytes: 1 << 20, HeartbeatTicks: 2, ResendTicks: 3, EjectTicks: 10, LearnTicks: 20}
}

func newNode(t *testing.T, id NodeID) *node {
	n := &node{t: t}
	n.Core = New(n.opt(id), 0, 0, nil)
	return n
}

// restart loses what isn't synced; the store is as old as applied says.
func (n *node) restart(applied int64) {
	n.log = n.log[:n.synced]
	var prepared []Entry
	for _, e := range n.view() {
		if e.Decree > applied {
			prepared = append(prepared, e)
		}
	}
	n.applied = n.applied[:applied]
	n.Core = New(n.opt(n.Core.opt.Self), n.Core.ballot, applied, prepared)
	n.out, n.changes, n.fetch = nil, nil, nil
}

// work drains Ready; sync makes the log durable and reports it.
func (n *node) work(sync bool) {
	for {
		r := n.Ready()
		if r.Empty() {
			return
		}
		n.log = append(n.log, r.Append...)
		n.out = append(n.out, r.Messages...)
		for _, e := range r.Commit {
			if e.Decree != int64(len(n.applied))+1 {
				n.t.Fatalf("node %d commits %d after %d", n.Core.opt.Self, e.Decree, len(n.applied))
			}
			n.applied = append(n.applied, e)
		}
		n.changes = append(n.changes, r.Changes...)
		if r.Fetch != nil {
			n.fetch = r.Fetch
		}
		if sync {
			n.sync()
		}
	}
}

func (n *node) sync() {
	for _, e := range n.log[n.synced:] {
		n.Persisted(e.Ballot, e.Decree)
	}
	n.synced = len(n.log)
}

// take returns and forgets the messages to id.
func (n *node) take(id NodeID) []Message {
	var got, rest []Message
	for _, m := range n.out {
		if m.To == id {
			got = append(got, m)
		} else {
			rest = append(rest, m)
		}
	}
	n.out = rest
	return got
}

// settle delivers everything between ns until nothing moves.
func settle(ns ...*node) {
	for moved := true; moved; {
		moved = false
		for _, n := range ns {
			n.work(true)
		}
		for _, from := range ns {
			for _, to := range ns {
				for _, m := range from.take(to.Core.opt.Self) {
					moved = true
					to.Step(m)
				}
			}
		}
	}
}

func tick(k int, ns ...*node) {
	for range k {
		for _, n := range ns {
			n.Tick()
		}
		settle(ns...)
	}
}

func (n *node) propose(payloads ...string) {
	n.t.Helper()
	for _, p := range payloads {
		if _, err := n.Propose(0, []byte(p)); err != nil {
			n.t.Fatal(err)
		}
	}
}

func (n *node) wantApplied(want string) {
	n.t.Helper()
	var s []string
	for _, e := range n.applied {
		s = append(s, string(e.Payload))
	}
	if got := strings.Join(s, " "); got != want {
		n.t.Fatalf("node %d applied %q, want %q (%v)", n.Core.opt.Self, got, want, n.Core)
	}
}

func (n *node) wantChange(kind ChangeKind, who NodeID) Change {
	n.t.Helper()
	if p := n.Pending(); p == nil || p.Kind != kind || p.Node != who {
		n.t.Fatalf("node %d wants %+v of the meta, not to %v %d", n.Core.opt.Self, p, kind, who)
	}
	return *n.Pending()
}

func config(ballot int64, primary NodeID, secondaries ...NodeID) Config {
	return Config{Ballot: ballot, Primary: primary, Secondaries: secondaries}
}

// group returns three members at ballot 1, node 1 the primary.
func group(t *testing.T) (a, b, c *node) {
	a, b, c = newNode(t, 1), newNode(t, 2), newNode(t, 3)
	for _, n := range []*node{a, b, c} {
		n.Configure(config(1, 1, 2, 3))
	}
	settle(a, b, c)
	return a, b, c
}

func TestCommit(t *testing.T) {
	a, b, c := group(t)
	a.propose("x", "y")
	a.work(false)
	for _, m := range append(a.take(2), a.take(3)...) {
		if m.To == 2 {
			b.Step(m)
		} else {
			c.Step(m)
		}
	}
	b.work(true)
	for _, m := range b.take(1) {
		a.Step(m)
	}
	a.sync()
	c.work(false)
	for _, m := range c.take(1) {
		a.Step(m)
	}
	a.work(true)
	a.wantApplied("") // node 3 has it, but not durably
	c.sync()
	settle(a, b, c)
	a.wantApplied("x y")
	b.wantApplied("")
	tick(2, a, b, c) // the heartbeat tells the commit point
	b.wantApplied("x y")
	c.wantApplied("x y")
	a.propose("z")
	settle(a, b, c)
	c.wantApplied("x y")
	a.Announce() // before the heartbeat
	settle(a, b, c)
	c.wantApplied("x y z")
	b.Announce() // it isn't the primary
	if !a.Serving() || b.Serving() {
		t.Error("who serves")
	}
}

func TestProposeRefused(t *testing.T) {
	a, b, _ := group(t)
	if _, err := b.Propose(0, nil); !errors.Is(err, ErrNotPrimary) {
		t.Errorf("secondary: %v", err)
	}
	for i := range 100 {
		if _, err := a.Propose(7, []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Propose(7, nil); !errors.Is(err, ErrWindowFull) || a.Room() != 0 {
		t.Errorf("full window: %v, room %d", err, a.Room())
	}
	if got := a.entries[99].Timestamp; got != 7+99 {
		t.Errorf("timestamp %d", got)
	}
}

// A new primary dies while it prepares again what the old one had committed: the other
// member, which has got only the beginning of it, must still hold all.
func TestInterruptedReconciliationKeepsCommitted(t *testing.T) {
	for _, crash := range []bool{false, true} {
		a, b, c := group(t)
		a.propose("x", "y", "z")
		settle(a, b, c)
		a.wantApplied("x y z") // acknowledged; b and c don't know that it is committed
		b.Configure(config(2, 2, 3))
		b.work(false)
		m := b.take(3)[0]
		if len(m.Entries) != 3 {
			t.Fatalf("%d entries in %+v", len(m.Entries), m)
		}
		m.Entries = m.Entries[:1]
		c.Step(m)
		c.work(true)
		who := c
		if crash {
			who = b
			b.restart(0)
			b.Configure(config(2, 2, 3))
			b.wantChange(ChangeForceBallot, 2)
		}
		who.Configure(config(3, who.Core.opt.Self))
		settle(who)
		who.wantApplied("x y z")
	}
}

// Entries that a new primary doesn't have vanish from the log of a secondary with the first
// that it has in their place, and not before.
func TestConflictVoidsWhatFollows(t *testing.T) {
	a, b, c := group(t)
	a.propose("x", "lost1", "lost2")
	a.work(true)
	for _, m := range a.take(2) {
		if m.Prev == 0 {
			b.Step(m)
		}
	}
	for _, m := range a.take(3) {
		c.Step(m)
	}
	b.work(true)
	c.work(true)
	b.Configure(config(2, 2, 3))
	settle(b, c)
	b.wantApplied("x")
	if c.Last() != 3 || c.verified != 1 {
		t.Errorf("%v verified %d", c.Core, c.verified)
	}
	b.propose("new")
	settle(b, c)
	if c.Last() != 2 {
		t.Errorf("%v", c.Core)
	}
	c.restart(0)
	if c.Last() != 2 || string(c.at(2).Payload) != "new" {
		t.Errorf("restarted: %v", c.Core)
	}
}

func TestNewPrimaryServesWhenAllIsCommitted(t *testing.T) {
	a, b, c := group(t)
	a.propose("x")
	settle(a, b, c)
	b.Configure(config(2, 2, 3))
	b.work(true)
	if b.Serving() {
		t.Error("serves before it committed what it holds")
	}
	settle(b, c)
	if !b.Serving() {
		t.Errorf("%v", b.Core)
	}
	b.wantApplied("x")
	a.Step(Message{Type: MsgAck, From: 2, To: 1, Ballot: 2, Reject: true})
	if r := a.Ready(); len(r.Changes) != 1 || r.Changes[0].Kind != ChangeRefresh {
		t.Errorf("fenced primary: %+v", r)
	}
}

// A restarted secondary forgot what it had verified; its primary begins below what was
// acknowledged, and doesn't need the log for it.
func TestRestartedSecondaryCatchesUp(t *testing.T) {
	a, b, c := group(t)
	a.propose("x", "y")
	tick(4, a, b, c)
	a.cut = 2
	for i := range 3 {
		a.propose(fmt.Sprint(i))
	}
	settle(a, b) // not committed: c is silent
	b.out = nil
	b.restart(0)
	a.take(2)
	tick(3, a, b)
	b.wantApplied("x y")
	if b.verified != 5 || a.Pending() != nil {
		t.Errorf("%v verified %d, asked %+v", b.Core, b.verified, a.Pending())
	}
	settle(a, b, c)
	tick(9, a, b, c)
	a.wantApplied("x y 0 1 2")
	c.wantApplied("x y 0 1 2")
}

func TestRemoveSilentMember(t *testing.T) {
	a, b, c := group(t)
	a.propose("x")
	tick(9, a, b)
	if a.Pending() != nil {
		t.Fatalf("removed early: %+v", a.Pending())
	}
	tick(1, a, b)
	ch := a.wantChange(ChangeRemove, 3)
	a.Configure(ch.Config)
	settle(a, b)
	a.wantApplied("x")
	c.Step(Message{Type: MsgPrepare, From: 1, To: 3, Ballot: 2, Role: Learner, Signature: 1, Prev: 1, Last: 1})
	if c.Status() != Learner || c.Ballot() != 2 {
		t.Errorf("%v", c.Core)
	}
}

func TestUnreachableMemberIsRemovedEarlier(t *testing.T) {
	a, b, _ := group(t)
	a.Unreachable(3)
	tick(4, a, b)
	a.wantChange(ChangeRemove, 3)
	if err := a.RemoveMember(2); err != nil {
		t.Fatal(err)
	}
	a.wantChange(ChangeRemove, 3) // one at a time
	a.Refused()
	if a.Pending() != nil {
		t.Errorf("%+v", a.Pending())
	}
	tick(1, a, b)
	a.wantChange(ChangeRemove, 3)
}

func TestBallotFences(t *testing.T) {
	a, b, c := group(t)
	b.Configure(config(2, 2, 1, 3))
	a.propose("late")
	settle(a, c)
	a.work(true)
	for _, m := range a.take(2) {
		b.Step(m)
	}
	r := b.Ready()
	if len(r.Append) != 0 || len(r.Messages) == 0 || !r.Messages[len(r.Messages)-1].Reject {
		t.Errorf("%+v", r)
	}
	b.out = append(b.out, r.Messages...)
	b.Configure(config(1, 1, 2, 3))
	if b.Status() != Primary || b.Ballot() != 2 {
		t.Errorf("%v", b.Core)
	}
	settle(a, b, c)
	tick(4, a, b, c)
	if a.Status() != Secondary || a.Ballot() != 2 {
		t.Errorf("the old primary: %v", a.Core)
	}
	b.propose("x")
	tick(2, a, b, c)
	a.wantApplied("x")
	b.wantApplied("x")
	c.wantApplied("x")
}

func TestRetire(t *testing.T) {
	a, b, c := group(t)
	a.propose("x")
	a.Retire()
	settle(a, b, c)
	if a.Serving() || a.Committed() != 0 {
		t.Errorf("%v", a.Core)
	}
	a.Configure(config(1, 1, 2, 3))
	ch := a.wantChange(ChangeForceBallot, 1)
	a.Configure(ch.Config)
	tick(4, a, b, c)
	a.wantApplied("x")
	b.wantApplied("x")
}
