package ship

import (
	"slices"
	"testing"
)

var testOptions = Options{Window: 1000, Read: 300, Batch: 300, Timeout: 10, Linger: 5, RetryMin: 2, RetryMax: 8}

// led returns a core that leads from decree 0 on and may send.
func led(t *testing.T, m Mode, committed int64) *Core {
	t.Helper()
	c := New(testOptions, 0)
	c.Configure(m)
	c.Lead(committed, committed)
	c.Persisted(0, true)
	for range 15 {
		c.Tick()
	}
	return c
}

// load answers the read that c asks for.
func load(t *testing.T, c *Core, es ...Entry) {
	t.Helper()
	r := c.Ready()
	if r.Read == nil {
		t.Fatalf("asks for nothing: %+v", c.Status())
	}
	c.Loaded(r.Read.ID, es)
}

func entry(d int64, lanes ...int32) Entry {
	e := Entry{Decree: d}
	for _, l := range lanes {
		e.Ops = append(e.Ops, Op{Decree: d, Lane: l, Data: make([]byte, 36)})
	}
	return e
}

func decrees(b Batch) (ds []int64) {
	for _, o := range b.Ops {
		ds = append(ds, o.Decree)
	}
	return ds
}

func TestDecreesStayTogether(t *testing.T) {
	c := led(t, Mode{}, 3)
	load(t, c, entry(1, 0), entry(2, 0), entry(3, 0, 0)) // 100 bytes each, 300 in a batch
	r := c.Ready()
	if len(r.Send) != 1 || !slices.Equal(decrees(r.Send[0]), []int64{1, 2}) {
		t.Fatalf("%+v", r.Send)
	}
	if again := c.Ready(); len(again.Send) != 0 {
		t.Errorf("two batches of a lane: %+v", again.Send)
	}
	c.Answer(r.Send[0].ID, Done)
	if c.Status().Acked != 2 {
		t.Errorf("%+v", c.Status())
	}
	if d, ok := c.Confirm(); d != 2 || !ok || c.Hold() != 1 {
		t.Errorf("confirm %d %v, hold %d", d, ok, c.Hold())
	}
	c.Persisted(2, true)
	if _, ok := c.Confirm(); ok || c.Hold() != 3 {
		t.Errorf("hold %d", c.Hold())
	}
}

// One operation that the remote will never take is found among those sent with it; nothing is left
// out unless the mode says so.
func TestRefusedOperation(t *testing.T) {
	for _, skip := range []bool{false, true} {
		c := led(t, Mode{Skip: skip}, 3)
		load(t, c, entry(1, 0), entry(2, 0), entry(3, 0))
		sent := map[int64]bool{}
		for range 200 {
			for _, b := range c.Ready().Send {
				ds := decrees(b)
				if slices.Contains(ds, 2) {
					c.Answer(b.ID, Refused)
					continue
				}
				c.Answer(b.ID, Done)
				for _, d := range ds {
					sent[d] = true
				}
			}
			c.Tick()
		}
		st := c.Status()
		want := Status{Reason: Refusing, Acked: 1, Persisted: 0, Committed: 3, Bytes: 200, Booted: Unknown}
		if skip {
			want = Status{Reason: UpToDate, Acked: 3, Persisted: 0, Committed: 3, SkippedOps: 1, Booted: Unknown}
		}
		if st.Flying = 0; st != want || !sent[1] || sent[3] != skip {
			t.Errorf("skip %v: %+v, sent %v", skip, st, sent)
		}
	}
}

// A batch without an answer is sent again when it can't be applied any more.
func TestLostBatch(t *testing.T) {
	c := led(t, Mode{}, 1)
	load(t, c, entry(1, 0))
	first := c.Ready().Send[0]
	for i := range 15 {
		if r := c.Ready(); len(r.Send) != 0 {
			t.Fatalf("sent again after %d ticks", i)
		}
		c.Tick()
	}
	again := c.Ready().Send
	if len(again) != 1 || again[0].Try != 2 {
		t.Fatalf("%+v", again)
	}
	c.Answer(first.ID, Done) // nobody waits for it
	if c.Status().Acked != 0 {
		t.Errorf("%+v", c.Status())
	}
	c.Answer(again[0].ID, Done)
	if c.Status().Acked != 1 {
		t.Errorf("%+v", c.Status())
	}
}

// Without a persisted decree nothing is sent before the meta has been asked where it begins.
func TestBeginning(t *testing.T) {
	c := New(testOptions, Unknown)
	c.Lead(7, 9)
	for range 30 {
		c.Tick()
	}
	if _, ok := c.Confirm(); ok || c.Hold() != Unknown || c.Status().Reason != Starting {
		t.Errorf("%+v", c.Status())
	}
	c.Commit(9)
	c.Persisted(Unknown, true)
	if d, ok := c.Confirm(); d != 9 || !ok || c.Hold() != 10 {
		t.Errorf("confirm %d %v, hold %d", d, ok, c.Hold())
	}
	c.Commit(10)
	if r := c.Ready(); r.Read != nil {
		t.Errorf("reads %+v", r.Read)
	}
	c.Persisted(9, true)
	if r := c.Ready(); r.Read == nil || r.Read.From != 10 || r.Read.To != 10 {
		t.Errorf("%+v", r)
	}
}

// The log is let go while the remote lacks what is in it: a bootstrap closes the gap, and nothing of the log is held until it
// begins. What is in memory needs no log.
func TestLogYields(t *testing.T) {
	c := led(t, Mode{}, 10)
	load(t, c, entry(1, 0), entry(2, 0), entry(3, 0))
	if c.Yielded(4); c.Status().Gaps != 0 || c.Status().Reason != Shipping {
		t.Errorf("what is in memory: %+v", c.Status())
	}
	c.Yielded(11)
	r := c.Ready()
	if s := c.Status(); r.Bootstrap == 0 || r.Read != nil || len(r.Send) != 0 || s.Gaps != 1 || s.Bytes != 0 || c.Hold() != 11 {
		t.Fatalf("%+v, hold %d, %+v", r, c.Hold(), s)
	}
	c.BootBegun(r.Bootstrap, 8)
	c.BootBegun(r.Bootstrap, 9)
	if c.Hold() != 10 {
		t.Errorf("hold %d", c.Hold())
	}
	// Another one: what the first says counts no more, and what it sent is waited out.
	c.Reshape()
	for c.BootDone(r.Bootstrap); c.Ready().Bootstrap == 0; c.Tick() {
		if c.BootLives(r.Bootstrap) || c.Status().Acked != 0 {
			t.Fatalf("%+v", c.Status())
		}
	}
	if c.now < 15+testOptions.Timeout+testOptions.Linger {
		t.Errorf("begun at %d", c.now)
	}
	id := c.boot.id
	c.BootBegun(id, 10)
	c.Yielded(20) // it goes on
	c.BootDone(id)
	if s := c.Status(); s.Acked != 10 || s.Bootstraps != 2 || s.Reason != UpToDate {
		t.Errorf("%+v", s)
	}
	// In mode skip it is left out.
	c.Configure(Mode{Skip: true})
	c.Commit(30)
	c.Yielded(31)
	if s := c.Status(); s.SkippedDecrees != 20 || s.Gaps != 2 || s.Acked != 30 {
		t.Errorf("%+v", s)
	}
}

func TestPauseEndsBootstrap(t *testing.T) {
	c := led(t, Mode{}, 10)
	c.Yielded(11)
	id := c.Ready().Bootstrap
	c.BootBegun(id, 10)
	c.Configure(Mode{Paused: true})
	if c.BootDone(id); c.BootLives(id) || c.Status().Acked != 0 || c.Status().Reason != Paused {
		t.Errorf("%+v", c.Status())
	}
}

// A primary sends nothing before it has heard what is persisted since it leads: what it has heard before may be behind a
// cut, whose child sends already.
func TestHearsFirst(t *testing.T) {
	c := led(t, Mode{}, 10)
	c.Lead(12, 12)
	for range 30 {
		c.Tick()
	}
	c.Persisted(4, false) // an answer to an earlier question
	if r := c.Ready(); r.Read != nil || c.Status().Reason != Starting || c.Hold() != 5 {
		t.Errorf("%+v, %+v", r, c.Status())
	}
	c.Persisted(8, true)
	if r := c.Ready(); r.Read == nil || r.Read.From != 9 {
		t.Errorf("%+v, %+v", r.Read, c.Status())
	}
}

// A primary that hadn't what is persisted when it began to lead has lost writes. Nothing that is written since stands for them.
func TestRewound(t *testing.T) {
	for _, known := range []int64{Unknown, 20} {
		c := New(testOptions, known)
		c.Lead(10, 12)
		c.Commit(25) // clients were quicker than the meta
		for range 30 {
			c.Tick()
		}
		c.Persisted(20, false) // of no use: who led is not known
		if r := c.Ready(); r.Read != nil || c.Status().Reason != Starting || c.Status().Lost != 0 {
			t.Errorf("%+v, %+v", r, c.Status())
		}
		c.Persisted(20, true)
		c.Persisted(20, true)
		_, confirms := c.Confirm()
		if r := c.Ready(); r.Read != nil || r.Bootstrap != 0 || confirms || c.Hold() != 21 || c.Status().Reason != Rewound || c.Status().Lost != 20 || c.Status().Had != 12 {
			t.Errorf("%+v, %+v", r, c.Status())
		}
		c.Yielded(26)
		if r := c.Ready(); r.Bootstrap != 0 || c.Status().Gaps != 0 {
			t.Errorf("%+v, %+v", r, c.Status())
		}
		c.Resign()
		if c.Status().Reason != NotLeading || c.Status().Lost != 0 {
			t.Errorf("%+v", c.Status())
		}
		// Its lease was over for a while, and no other one has led.
		c.Persisted(20, false)
		c.LeadAgain(25)
		for range 30 {
			c.Tick()
		}
		c.Persisted(20, true)
		if r := c.Ready(); r.Read != nil || r.Bootstrap != 0 || c.Status().Reason != Rewound || c.Status().Lost != 20 || c.Status().Had != 12 {
			t.Errorf("%+v, %+v", r, c.Status())
		}
		c.Resign()
		// One that has it leads.
		c.Lead(20, 20)
		c.Persisted(20, true)
		if c.Status().Reason != UpToDate {
			t.Errorf("%+v", c.Status())
		}
	}
}

// A primary whose lease was over for a while before the meta has told it anything doesn't count what was written since it leads as what
// it had. What it has acknowledged itself it has.
func TestLeadsAgain(t *testing.T) {
	c := New(testOptions, 20)
	c.Lead(10, 12)
	c.Commit(25)
	c.LeadAgain(25)
	c.Persisted(20, true)
	if c.Status().Lost != 20 || c.Status().Had != 12 {
		t.Errorf("%+v", c.Status())
	}
	c = led(t, Mode{}, 2)
	c.Commit(3)
	load(t, c, entry(1), entry(2), entry(3))
	if d, ok := c.Confirm(); d != 3 || !ok {
		t.Fatalf("confirms %d, %v", d, ok)
	}
	c.LeadAgain(4)
	c.Persisted(3, true)
	if s := c.Status(); s.Lost != 0 || s.Acked != 3 {
		t.Errorf("%+v", s)
	}
}

// What a primary acknowledges itself it has, also what it hadn't when it began to lead.
func TestOwnProgressIsNoLoss(t *testing.T) {
	c := New(testOptions, Unknown)
	c.Lead(5, 5)
	c.Commit(9)
	c.Persisted(Unknown, true)
	if c.Persisted(9, true); c.Status().Reason != UpToDate {
		t.Errorf("%+v", c.Status())
	}
	c = led(t, Mode{}, 1)
	c.Commit(8)
	for range 30 {
		c.Tick()
	}
	c.Loaded(c.Ready().Read.ID, []Entry{{Decree: 1}, {Decree: 2}, {Decree: 3}})
	if c.Persisted(3, true); c.Status().Lost != 0 || c.Status().Acked != 3 {
		t.Errorf("%+v", c.Status())
	}
	c = led(t, Mode{Copies: true}, 1)
	c.Commit(8)
	id := c.Ready().Bootstrap
	c.BootBegun(id, 8)
	c.BootDone(id)
	if c.Persisted(8, true); c.Status().Lost != 0 || c.Status().Acked != 8 {
		t.Errorf("%+v", c.Status())
	}
}

// A child of a split keeps its log and sends nothing, not even a bootstrap, until its parent has sent the cut.
func TestChildWaits(t *testing.T) {
	c := led(t, Mode{Waits: true}, 10)
	if r := c.Ready(); r.Read != nil || c.Status().Reason != WaitsForParent || c.Hold() != 1 {
		t.Errorf("%+v, %+v", r, c.Status())
	}
	c.Yielded(5)
	if r := c.Ready(); r.Bootstrap != 0 || c.Status().Acked != 0 {
		t.Errorf("%+v", r)
	}
	c.Configure(Mode{})
	if r := c.Ready().Read; r == nil {
		t.Error("nothing is read")
	} else if c.Cut(r.ID, 5); c.Ready().Bootstrap == 0 {
		t.Errorf("%+v", c.Status())
	}
	c = led(t, Mode{Waits: true}, 10)
	c.Configure(Mode{})
	c.Persisted(6, true)
	if r := c.Ready(); r.Read == nil || r.Read.From != 7 {
		t.Errorf("%+v, %+v", r.Read, c.Status())
	}
}

// A child whose parent was copied behind the cut is copied once, also where gaps are skipped.
func TestChildCopies(t *testing.T) {
	c := led(t, Mode{Copies: true, Skip: true}, 10)
	id := c.Ready().Bootstrap
	if id == 0 {
		t.Fatalf("%+v", c.Status())
	}
	if d, ok := c.Confirm(); ok {
		t.Errorf("confirms %d", d)
	}
	c.BootBegun(id, 10)
	c.BootDone(id)
	if r := c.Ready(); r.Bootstrap != 0 || c.Status().Booted != 10 {
		t.Errorf("%+v, %+v", r, c.Status())
	}
	if d, ok := c.Confirm(); d != 10 || !ok {
		t.Errorf("confirms %d, %v", d, ok)
	}
	c.Lead(11, 11) // and again, as nobody has persisted it
	c.Persisted(0, true)
	for range 30 {
		c.Tick()
	}
	if c.Status().Booted != Unknown || c.Ready().Bootstrap == 0 {
		t.Errorf("%+v", c.Status())
	}
}

// A smaller window is read less of, but one entry always is.
func TestResize(t *testing.T) {
	c := led(t, Mode{}, 10)
	c.Resize(100)
	r := c.Ready()
	if r.Read == nil || r.Read.Bytes != 100 {
		t.Fatalf("%+v", r.Read)
	}
	c.Loaded(r.Read.ID, []Entry{entry(1, 0)})
	if r := c.Ready(); r.Read != nil {
		t.Errorf("%+v", r.Read)
	}
}

func TestLeftover(t *testing.T) {
	for _, c := range []struct {
		o    Origin
		want bool
	}{{Origin{9, 1}, true}, {Origin{10, 1}, true}, {Origin{11, 1}, false}, {Origin{9, 2}, false}, {Origin{9, 0}, false}} {
		if got := Leftover(c.o, 1, 10); got != c.want {
			t.Errorf("%+v: %v", c.o, got)
		}
	}
}
