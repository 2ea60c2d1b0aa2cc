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
	c.Lead(committed)
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
	c.Persisted(2)
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
		want := Status{Reason: Refusing, Acked: 1, Persisted: 0, Committed: 3, Bytes: 200}
		if skip {
			want = Status{Reason: UpToDate, Acked: 3, Persisted: 0, Committed: 3, SkippedOps: 1}
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
	c.Lead(7)
	for range 30 {
		c.Tick()
	}
	if _, ok := c.Confirm(); ok || c.Hold() != Unknown || c.Status().Reason != Starting {
		t.Errorf("%+v", c.Status())
	}
	c.Commit(9)
	c.Persisted(Unknown)
	if d, ok := c.Confirm(); d != 9 || !ok || c.Hold() != 10 {
		t.Errorf("confirm %d %v, hold %d", d, ok, c.Hold())
	}
	c.Commit(10)
	if r := c.Ready(); r.Read != nil {
		t.Errorf("reads %+v", r.Read)
	}
	c.Persisted(9)
	if r := c.Ready(); r.Read == nil || r.Read.From != 10 || r.Read.To != 10 {
		t.Errorf("%+v", r)
	}
}
