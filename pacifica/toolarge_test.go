package pacifica

import (
	"bytes"
	"errors"
	"testing"
)

// bounded is a node that knows how large an entry may be; it was restarted from a log of before.
func (n *node) bounded(most int64, applied int64) {
	n.restart(applied)
	o := n.opt(n.Core.opt.Self)
	o.MaxEntryBytes = most
	n.Core = New(o, n.Core.ballot, applied, n.Core.entries)
}

func TestProposeTooLarge(t *testing.T) {
	n := newNode(t, 1)
	n.bounded(100, 0)
	n.Configure(Config{Ballot: 1, Primary: 1})
	if _, err := n.Propose(1, make([]byte, 101)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("101 bytes: %v", err)
	}
	if _, err := n.Propose(1, make([]byte, 100)); err != nil {
		t.Errorf("100 bytes: %v", err)
	}
	if n.Last() != 1 {
		t.Errorf("prepared %d", n.Last())
	}
}

// primaryWithLarge is alone, with 40 decrees, of which the 20th is too large by now.
func primaryWithLarge(t *testing.T) *node {
	n := newNode(t, 1)
	n.Configure(Config{Ballot: 1, Primary: 1})
	for d := 1; d <= 40; d++ {
		payload := []byte("x")
		if d == 20 {
			payload = bytes.Repeat(payload, 1000)
		}
		if _, err := n.Propose(1, payload); err != nil {
			t.Fatal(err)
		}
	}
	n.work(true)
	n.bounded(100, 30)
	n.Configure(Config{Ballot: 2, Primary: 1})
	n.work(true)
	n.out = nil
	return n
}

// A learner that lacks an entry which is too large gets what is before it, then a checkpoint.
func TestLearnerOfTooLargeEntry(t *testing.T) {
	n := primaryWithLarge(t)
	if err := n.AddLearner(2); err != nil {
		t.Fatal(err)
	}
	n.work(true)
	p := n.peers[0]
	ack := Message{Type: MsgAck, From: 2, To: 1, Ballot: 2, Role: Learner, Signature: p.signature, Gap: true}
	n.Step(ack)
	n.work(true)
	ack.Gap, ack.Prepared = false, 19
	n.Step(ack)
	n.work(true)
	for _, m := range n.out {
		for i := range m.Entries {
			if len(m.Entries[i].Payload) > 100 {
				t.Errorf("decree %d was sent", m.Entries[i].Decree)
			}
		}
	}
	last := n.out[len(n.out)-1]
	if last.Type != MsgSnapshot || last.Prev != 19 {
		t.Fatalf("the learner is told %+v, not to fetch a checkpoint after decree 19", last)
	}
	if p.joining {
		t.Error("writes wait for a checkpoint")
	}
	// With the checkpoint it goes on behind it.
	ack.Prepared = 40
	n.Step(ack)
	n.work(true)
	if len(n.changes) == 0 || n.changes[len(n.changes)-1].Kind != ChangeAdd {
		t.Errorf("the meta isn't asked for it: %+v", n.changes)
	}
}

// A learner that never acknowledges what it is sent is offered a checkpoint, whatever the cause.
func TestLearnerThatTakesNothing(t *testing.T) {
	n := newNode(t, 1)
	n.Configure(Config{Ballot: 1, Primary: 1})
	for range 40 {
		if _, err := n.Propose(1, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	n.work(true)
	if err := n.AddLearner(2); err != nil {
		t.Fatal(err)
	}
	ack := Message{Type: MsgAck, From: 2, To: 1, Ballot: 1, Role: Learner, Signature: n.peers[0].signature, Gap: true}
	for tick := range 2 * n.Core.opt.LearnTicks {
		n.Step(ack)
		n.Tick()
		n.work(true)
		for _, m := range n.out {
			if m.Type == MsgSnapshot {
				if 2*tick < n.Core.opt.LearnTicks-2 {
					t.Errorf("a checkpoint after %d ticks already", tick)
				}
				return
			}
		}
		n.out = nil
	}
	t.Error("it is sent the same for ever")
}

// A write is acknowledged only by as many members as must hold it.
func TestAcknowledge(t *testing.T) {
	n := newNode(t, 1)
	n.SetMinMembers(2)
	n.Configure(Config{Ballot: 1, Primary: 1, Secondaries: []NodeID{2}})
	if _, err := n.Propose(1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	n.Ready()
	n.Persisted(1, 1)
	// The secondary is ejected before it acknowledges anything.
	n.Configure(Config{Ballot: 2, Primary: 1})
	rd := n.Ready()
	if len(rd.Commit) != 1 || rd.Acknowledge {
		t.Errorf("%d committed, acknowledged: %v", len(rd.Commit), rd.Acknowledge)
	}
	n.Configure(Config{Ballot: 3, Primary: 1, Secondaries: []NodeID{2}})
	if rd = n.Ready(); !rd.Acknowledge {
		t.Error("two members are enough")
	}
	// Nothing that another primary commits is an answer to a client of this one.
	n.Step(Message{Type: MsgPrepare, From: 2, To: 1, Ballot: 4, Role: Secondary, Base: 1, Prev: 1, Commit: 2, Last: 2,
		Entries: []Entry{{Ballot: 4, Decree: 2, Timestamp: 9, Payload: []byte("y")}}})
	if rd = n.Ready(); len(rd.Commit) != 1 || rd.Acknowledge {
		t.Errorf("%d committed by another primary, acknowledged: %v", len(rd.Commit), rd.Acknowledge)
	}
}
