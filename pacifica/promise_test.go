package pacifica

import "testing"

// TestIdleSecondariesHearOfCommits: with the default times (a tick of 100 ms, a heartbeat each
// 5) a commit that no later write carries is told within a second; also if the first message
// that tells it is lost.
func TestIdleSecondariesHearOfCommits(t *testing.T) {
	for _, lost := range []bool{false, true} {
		a, b, c := group(t)
		a.Core.opt.HeartbeatTicks = 5
		tick(20, a, b, c)
		a.propose("x")
		settle(a, b, c)
		if a.Committed() != 1 || b.Committed() != 0 {
			t.Fatalf("committed %d and %d", a.Committed(), b.Committed())
		}
		ticks := 0
		for ; b.Committed() < 1 || c.Committed() < 1; ticks++ {
			if ticks == 10 {
				t.Fatalf("lost %v: after %d ticks secondaries know of %d and %d", lost, ticks, b.Committed(), c.Committed())
			}
			a.Tick()
			a.work(true)
			if lost && len(a.out) > 0 {
				lost = false
				a.out = nil
			}
			settle(a, b, c)
		}
		b.wantApplied("x")
		c.wantApplied("x")
	}
}

// TestSlowMemberIsRemoved: a member that answers, and never gets further, is removed before
// clients give up.
func TestSlowMemberIsRemoved(t *testing.T) {
	a, b, c := group(t)
	a.propose("x")
	for i := 0; a.Pending() == nil; i++ {
		if i > a.Core.opt.EjectTicks {
			t.Fatalf("nothing is done about it within %d ticks", i)
		}
		a.Tick()
		a.work(true)
		for _, m := range a.take(2) {
			b.Step(m)
		}
		for _, m := range a.take(3) {
			c.Step(m)
		}
		b.work(true)
		c.work(false) // its disk stands still
		for _, n := range []*node{b, c} {
			for _, m := range n.take(1) {
				a.Step(m)
			}
		}
	}
	ch := a.wantChange(ChangeRemove, 3)
	a.wantApplied("")
	a.Configure(ch.Config)
	settle(a, b)
	a.wantApplied("x")
}

// TestServesDuringAddition: a primary answers reads, and takes writes, at each moment of an
// addition of a member.
func TestServesDuringAddition(t *testing.T) {
	a, b, c := group(t)
	a.propose("x")
	tick(4, a, b, c)
	d := newNode(t, 4)
	serves := func(when string) {
		t.Helper()
		if !a.Serving() {
			t.Fatalf("%s: the primary does not serve: %v", when, a.Core)
		}
		a.propose("w")
	}
	serves("before")
	if err := a.AddLearner(4); err != nil {
		t.Fatal(err)
	}
	serves("after the request")
	settle(a, b, c, d)
	ch := a.wantChange(ChangeAdd, 4)
	serves("while the meta is asked")
	a.Configure(ch.Config)
	serves("under the new ballot, of which nobody knows yet")
	settle(a, b, c, d)
	serves("afterwards")
	tick(4, a, b, c, d)
	if d.Status() != Secondary || d.Committed() != a.Last() {
		t.Errorf("%v of %v", d.Core, a.Core)
	}
}

// TestStrangersAreIgnored: what a node sends that has no part in the configuration, or had
// one under another ballot or signature, changes nothing on the members.
func TestStrangersAreIgnored(t *testing.T) {
	a, b, c := group(t)
	a.propose("x")
	tick(4, a, b, c)
	d := newNode(t, 4)
	learn(a, d, b, c)
	sig := d.Core.signature
	a.propose("y")
	settle(a, b, c, d)
	want := []State{a.State(), b.State(), c.State(), d.State()}
	for i, n := range []*node{a, b, c, d} {
		id := n.Core.opt.Self
		for ballot := range int64(2) { // 0 and 1, the group's
			e := []Entry{{Ballot: ballot, Decree: 3, Payload: []byte("bad")}}
			for _, from := range []NodeID{9, 4, 3, 2} {
				if from == id {
					continue
				}
				for _, role := range []Status{Inactive, Primary, Secondary, Learner, 77} {
					if role == Learner && id == 4 && from != 9 {
						continue // its primary might say so
					}
					n.Step(Message{Type: MsgPrepare, From: from, To: id, Ballot: ballot, Role: role, Signature: sig - 1, Prev: 2, Commit: 3, Last: 3, Entries: e})
					n.Step(Message{Type: MsgSnapshot, From: from, To: id, Ballot: ballot, Role: role, Signature: sig - 1, Prev: 2, Last: 9})
				}
				if from == 9 || from == 4 { // a learner's acknowledgement needs its signature
					n.Step(Message{Type: MsgAck, From: from, To: id, Ballot: ballot, Role: Secondary, Signature: sig - 1, Prepared: 3})
				}
			}
		}
		n.work(true)
		n.out = nil
		got := n.State()
		if got.Status != want[i].Status || got.Ballot != want[i].Ballot || got.Last != want[i].Last || got.Committed != want[i].Committed || n.fetch != nil {
			t.Errorf("node %d: %+v, was %+v", id, got, want[i])
		}
	}
}

// budget is a Pacer with so much left.
type budget struct{ left, sent int64 }

func (b *budget) Ready() bool  { return b.left > 0 }
func (b *budget) Sent(n int64) { b.left -= n; b.sent += n }

// TestLearnerIsPaced: a learner that is far behind gets no more than the pacer lets it, and
// hears of its primary meanwhile; a member that is as far behind is not slowed down.
func TestLearnerIsPaced(t *testing.T) {
	a, b, c := group(t)
	pace := new(budget)
	a.Core.opt.Pacer = pace
	a.Core.opt.MaxSendBytes = 300
	big := string(make([]byte, 200))
	for range 90 {
		a.propose(big)
		settle(a, b, c)
	}
	tick(4, a, b, c)
	if c.Committed() != 90 || pace.sent != 0 {
		t.Fatalf("a member is slowed down: %v, %d bytes", c.Core, pace.sent)
	}
	d := newNode(t, 4)
	if err := a.AddLearner(4); err != nil {
		t.Fatal(err)
	}
	tick(a.Core.opt.LearnTicks*2, a, b, c, d)
	if d.Status() != Learner || d.Last() != 0 || pace.sent != 0 {
		t.Fatalf("without a budget: %v, %d bytes", d.Core, pace.sent)
	}
	for last := int64(0); d.Status() != Secondary; last = d.Last() {
		pace.left = 1000
		tick(1, a, b, c, d)
		if got := d.Last() - last; got > 8 && d.Last() < 60 {
			t.Fatalf("%d entries in a tick for 1000 bytes", got)
		}
		if p := a.Pending(); p != nil {
			a.Configure(p.Config)
			settle(a, b, c, d)
		} else if d.Last() == last {
			t.Fatalf("no progress from %d: %v", last, d.Core)
		}
	}
	if d.Last() != 90 || pace.sent < 5000 {
		t.Errorf("%v; %d bytes were paced", d.Core, pace.sent)
	}
}
