package pacifica

import "testing"

// learn makes d a learner of a that is asked for; the answer of the meta is still out.
func learn(a, d *node, others ...*node) Change {
	a.t.Helper()
	if err := a.AddLearner(d.Core.opt.Self); err != nil {
		a.t.Fatal(err)
	}
	settle(append(others, a, d)...)
	return a.wantChange(ChangeAdd, d.Core.opt.Self)
}

func TestLearnerJoins(t *testing.T) {
	a, b, c := group(t)
	a.propose("x", "y")
	tick(4, a, b, c)
	d := newNode(t, 4)
	ch := learn(a, d, b, c)
	a.propose("z") // waits for the learner
	settle(a, b, c)
	a.wantApplied("x y")
	settle(a, d)
	a.wantApplied("x y z")
	a.Configure(ch.Config)
	tick(4, a, b, c, d)
	d.wantApplied("x y z")
	if d.Status() != Secondary {
		t.Errorf("%v", d.Core)
	}
}

// A learner that acknowledged all and restarts is perhaps a member by now: messages of its
// time as a learner must not make it drop anything.
func TestRestartedLearnerKeepsWhatItAcknowledged(t *testing.T) {
	a, b, c := group(t)
	a.propose("x")
	settle(a, b, c)
	d := newNode(t, 4)
	learn(a, d, b, c)
	a.propose("y")
	settle(a, b, c, d)
	a.wantApplied("x y")
	d.restart(0)
	for _, m := range []Message{
		{Type: MsgPrepare, From: 1, To: 4, Ballot: 1, Role: Learner, Signature: a.nextSig, Prev: 2, Last: 2},
		{Type: MsgPrepare, From: 1, To: 4, Ballot: 1, Role: Learner, Signature: a.nextSig, Prev: 0, Last: 2, Entries: []Entry{{Ballot: 1, Decree: 1}}},
		{Type: MsgSnapshot, From: 1, To: 4, Ballot: 1, Role: Learner, Signature: a.nextSig, Prev: 0, Last: 2},
	} {
		d.Step(m)
		d.work(true)
		if got := d.take(1); len(got) != 1 || !got[0].Reject {
			t.Errorf("%+v", got)
		}
	}
	if d.fetch != nil || d.Last() != 2 {
		t.Errorf("%v, fetches %+v", d.Core, d.fetch)
	}
	d.Configure(config(3, 4))
	settle(d)
	d.wantApplied("x y")
}

// One that was not asked for goes on under the next ballot.
func TestRestartedLearnerNeedsNewBallot(t *testing.T) {
	a, b, c := group(t)
	a.propose("x")
	settle(a, b, c)
	d := newNode(t, 4)
	if err := a.AddLearner(4); err != nil {
		t.Fatal(err)
	}
	a.work(true)
	d.Step(a.take(4)[0])
	d.work(true)
	d.out = nil
	d.Core.entries = []Entry{{Ballot: 1, Decree: 1, Timestamp: 1, Payload: []byte("x")}}
	d.log, d.synced = d.entries, 1
	d.restart(0)
	tick(3, a, b, c, d)
	ch := a.wantChange(ChangeForceBallot, 1)
	a.Configure(ch.Config)
	tick(3, a, b, c, d)
	a.wantChange(ChangeAdd, 4)
}

// Late messages have an older end; only the first of a ballot can tell that the group lost
// what this replica has.
func TestLateMessageIsNoDivergence(t *testing.T) {
	a, b, c := group(t)
	a.propose("x")
	settle(a, b, c)
	d := newNode(t, 4)
	learn(a, d, b, c)
	a.propose("y", "z")
	settle(a, b, c, d)
	tick(2, a, b, c, d)
	d.wantApplied("x y z")
	d.Step(Message{Type: MsgPrepare, From: 1, To: 4, Ballot: 1, Role: Learner, Signature: a.nextSig, Prev: 1, Last: 1})
	d.work(true)
	if d.fetch != nil {
		t.Fatalf("%+v", d.fetch)
	}

	// This group was rebuilt from older data.
	e := newNode(t, 5)
	e.Configure(config(9, 5))
	e.propose("other")
	settle(e)
	if err := e.AddLearner(4); err != nil {
		t.Fatal(err)
	}
	settle(e, d)
	if d.fetch == nil || !d.fetch.Divergent {
		t.Fatalf("no fetch: %v", d.Core)
	}
	tick(2, e, d)
	if e.Pending() != nil {
		t.Fatalf("a learner without a store is asked for: %+v", e.Pending())
	}
	d.applied = e.applied[:1:1]
	d.Installed(1, true)
	settle(e, d)
	e.wantChange(ChangeAdd, 4)
}

// What a new primary holds beyond its own commit point may be committed: a learner that
// lacks it is not asked for.
func TestLearnerWaitsForReconciliation(t *testing.T) {
	a, b, c := group(t)
	a.propose("x")
	settle(a, b, c)
	a.wantApplied("x")
	b.Configure(config(2, 2, 3))
	d := newNode(t, 4)
	if err := b.AddLearner(4); err != nil {
		t.Fatal(err)
	}
	b.work(true)
	for _, m := range b.take(4) {
		if len(m.Entries) == 0 {
			d.Step(m)
		}
	}
	d.work(true)
	for _, m := range d.take(2) {
		m.Gap = false
		b.Step(m)
	}
	if b.Pending() != nil {
		t.Fatalf("asks for a learner that has nothing: %+v", b.Pending())
	}
	settle(b, c, d)
	tick(3, b, c, d)
	b.wantChange(ChangeAdd, 4)
	b.wantApplied("x")
}

// Not even of an empty partition anybody becomes a member who has not been heard of.
func TestSilentLearnerIsNotAskedFor(t *testing.T) {
	a := newNode(t, 1)
	a.Configure(config(1, 1))
	settle(a)
	if err := a.AddLearner(2); err != nil {
		t.Fatal(err)
	}
	tick(3, a)
	if a.Pending() != nil {
		t.Errorf("%+v", a.Pending())
	}
}

func TestLearnerFetchesWhatTheLogLacks(t *testing.T) {
	a, b, c := group(t)
	a.propose("x", "y", "z")
	settle(a, b, c)
	a.cut = 3
	d := newNode(t, 4)
	if err := a.AddLearner(4); err != nil {
		t.Fatal(err)
	}
	settle(a, d)
	if d.fetch == nil || a.Pending() != nil || a.Retain() != 4 {
		t.Fatalf("fetch %+v, asked %+v, retain %d", d.fetch, a.Pending(), a.Retain())
	}
	d.fetch = nil
	d.Installed(0, false)
	settle(a, d)
	tick(2, a, d)
	if d.fetch == nil {
		t.Fatal("a failed fetch isn't repeated")
	}
	d.applied = append(d.applied, a.applied[:2]...)
	a.cut = 2
	d.Installed(2, true)
	settle(a, d)
	a.wantChange(ChangeAdd, 4)
	tick(2, a, d)
	d.wantApplied("x y z")
}

// A refusal may belong to an older request than the one that the meta is about to grant, so
// the learner is waited for until the ballot is taken by something else.
func TestRefusedLearnerIsWaitedFor(t *testing.T) {
	a, b, c := group(t)
	d := newNode(t, 4)
	learn(a, d, b, c)
	a.Refused()
	ch := a.wantChange(ChangeForceBallot, 1)
	a.propose("x")
	settle(a, b, c)
	tick(9, a, b, c)
	a.wantApplied("")
	a.Configure(ch.Config)
	settle(a, b, c)
	a.wantApplied("x")
	if l := a.State().Learners; len(l) != 0 {
		t.Errorf("still learns: %+v", l)
	}
}

// A learner that nobody speaks to any more is none after a while, also in the middle of a fetch;
// when its primary speaks again it goes on with all that it acknowledged.
func TestForgottenLearnerRetires(t *testing.T) {
	a, b, c := group(t)
	a.propose("x")
	settle(a, b, c)
	d := newNode(t, 4)
	if err := a.AddLearner(4); err != nil {
		t.Fatal(err)
	}
	settle(a, d)
	if d.Status() != Learner || d.Last() != 1 {
		t.Fatalf("%v", d.Core)
	}
	d.changes = nil
	for n := range 2 * d.Core.opt.LearnTicks {
		d.Tick()
		d.work(true)
		if silent := n + 1; (d.Status() == Learner) != (silent < d.Core.opt.LearnTicks) {
			t.Fatalf("%v after %d ticks", d.Core, silent)
		}
	}
	if len(d.changes) == 0 || d.changes[0].Kind != ChangeRefresh {
		t.Errorf("the meta is asked for %+v", d.changes)
	}
	a.propose("y")
	tick(4, a, b, c, d)
	if d.Status() == Inactive || d.Last() != 2 {
		t.Errorf("%v", d.Core)
	}
	e := newNode(t, 5)
	e.Step(Message{Type: MsgSnapshot, From: 1, To: 5, Ballot: a.ballot, Role: Learner, Signature: 9 << 32, Prev: 1, Last: 2})
	e.work(true)
	if e.fetch == nil {
		t.Fatal("no fetch")
	}
	for range e.Core.opt.LearnTicks {
		e.Tick()
	}
	if e.Status() != Inactive {
		t.Errorf("%v", e.Core)
	}
	e.Installed(0, false)
	e.work(true)
	if len(e.out) != 0 {
		t.Errorf("says %+v", e.out)
	}
}

// An administrator had the group begin anew with a replica that lacked some of what was
// committed, and it has gone on since: a replica with the old end isn't continued, however far
// the group is by now, whatever of its log is left in memory.
func TestOldEndIsReplaced(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		d := newNode(t, 4)
		d.Configure(config(1, 4))
		d.propose("x", "old", "old")
		settle(d)
		e := newNode(t, 5)
		e.Configure(config(9, 5))
		e.log = []Entry{d.applied[0]}
		e.synced = 1
		e.restart(0)
		e.Configure(config(9, 5))
		e.Configure(config(10, 5))
		settle(e)
		for range 10 {
			e.Propose(1000, []byte("new"))
			settle(e)
		}
		if restarted {
			ts := d.applied[2].Timestamp
			d.restart(3)
			d.Witness(ts)
			ts = e.applied[10].Timestamp
			e.restart(11)
			e.Witness(ts)
			e.Configure(config(11, 5))
			settle(e)
		}
		if err := e.AddLearner(4); err != nil {
			t.Fatal(err)
		}
		settle(e, d)
		tick(3, e, d)
		if d.fetch == nil || !d.fetch.Divergent {
			t.Fatalf("restarted %v: no fetch, %v, asked %+v", restarted, d.Core, e.Pending())
		}
		if e.Pending() != nil {
			t.Fatalf("asked for: %+v", e.Pending())
		}
		d.applied = append([]Entry(nil), e.applied[:5]...)
		d.Installed(5, true)
		settle(e, d)
		tick(3, e, d)
		e.wantChange(ChangeAdd, 4)
		for i := range d.applied {
			if string(d.applied[i].Payload) != string(e.applied[i].Payload) {
				t.Errorf("decree %d: %q and %q", i+1, d.applied[i].Payload, e.applied[i].Payload)
			}
		}
	}
}

// Who has the beginning of the group's history is sent the rest, and no checkpoint.
func TestOwnEndIsContinued(t *testing.T) {
	a, b, c := group(t)
	a.propose("x", "y")
	settle(a, b, c)
	tick(2, a, b, c)
	d := newNode(t, 4)
	d.applied = append([]Entry(nil), a.applied[:1]...)
	d.Core = New(d.opt(4), 1, 1, nil)
	d.Witness(a.applied[0].Timestamp)
	a.propose("z")
	settle(a, b, c)
	a.Configure(config(2, 1, 2, 3))
	settle(a, b, c)
	if err := a.AddLearner(4); err != nil {
		t.Fatal(err)
	}
	settle(a, b, c, d)
	tick(2, a, b, c, d)
	if d.fetch != nil {
		t.Fatalf("%+v", d.fetch)
	}
	a.wantChange(ChangeAdd, 4)
}

// A mutation that isn't all in its payload reaches a learner by a checkpoint alone, whether it is in memory, in the log or under way, and
// what follows it by the log.
func TestApartIsLearnedByCheckpoint(t *testing.T) {
	for _, where := range []string{"memory", "log", "under way"} {
		a, b, c := group(t)
		a.Core.opt.Apart = func(p []byte) bool { return string(p) == "apart" }
		a.propose("x")
		settle(a, b, c)
		d := newNode(t, 4)
		if where == "under way" {
			if err := a.AddLearner(4); err != nil {
				t.Fatal(err)
			}
		}
		a.propose("apart")
		if where == "under way" {
			settle(a, d) // the others don't answer yet
			tick(2, a, d)
			if d.Last() != 1 || d.fetch != nil || a.Pending() != nil {
				t.Fatalf("%v, fetch %+v, asked %+v", d.Core, d.fetch, a.Pending())
			}
		}
		settle(a, b, c)
		a.wantApplied("x apart")
		b.wantApplied("x")
		if where == "log" {
			a.propose("y")
			settle(a, b, c)
			tick(3, a, b, c)
		}
		if err := a.AddLearner(4); err != nil {
			t.Fatal(err)
		}
		settle(a, b, c, d)
		tick(3, a, d, b, c)
		if d.fetch == nil || a.Pending() != nil {
			t.Fatalf("%s: fetch %+v, %v, asked %+v", where, d.fetch, d.Core, a.Pending())
		}
		for _, e := range d.log {
			if string(e.Payload) == "apart" {
				t.Fatalf("%s: the learner was sent decree %d", where, e.Decree)
			}
		}
		d.fetch = nil
		d.applied = append([]Entry(nil), a.applied[:2]...)
		d.Installed(2, true)
		settle(a, d)
		a.propose("z")
		settle(a, b, c, d)
		tick(3, a, d, b, c)
		a.Configure(a.wantChange(ChangeAdd, 4).Config)
		tick(4, a, b, c, d)
		want := "x apart z"
		if where == "log" {
			want = "x apart y z"
		}
		d.wantApplied(want)
		// A member is sent it.
		a.propose("apart")
		settle(a, b, c, d)
		tick(3, a, b, c, d)
		d.wantApplied(want + " apart")
	}
}
