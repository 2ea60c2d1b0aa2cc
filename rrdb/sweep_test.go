package rrdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/time/rate"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
)

func (h *harness) sweep() SweepStats {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := h.store.Sweep(ctx, 10*time.Second, 1<<40, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return st
}

// physical counts the rows that are in the store, expired or not.
func (h *harness) physical() (n int) {
	h.t.Helper()
	it, err := h.store.db.NewIter(&pebble.IterOptions{UpperBound: metaPrefix})
	if err != nil {
		h.t.Fatal(err)
	}
	for valid := it.First(); valid; valid = it.Next() {
		n++
	}
	if err := it.Close(); err != nil {
		h.t.Fatal(err)
	}
	return n
}

func (h *harness) tableBytes() (n int64) {
	m := h.store.Metrics()
	for i := range m.Levels {
		n += m.Levels[i].TablesSize
	}
	return n
}

// fill puts rows of a random kilobyte each, which no codec makes smaller, with the expiry
// that f says.
func (h *harness) fill(n int, f func(i int) uint32) {
	r := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 1000)
	for i := range n {
		for j := range buf {
			buf[j] = byte(r.Uint32())
		}
		h.payload = appendRowOp(h.payload, fmt.Appendf(nil, "h%06d", i), []byte("s"), Op{Value: buf, ExpireTS: f(i)})
		if len(h.payload) > 64<<10 {
			h.propose()
			h.apply()
		}
	}
	h.propose()
	h.apply()
}

func TestSweepGivesSpaceBack(t *testing.T) {
	rows := 20000
	if raceEnabled {
		rows = 8000
	}
	for _, c := range []struct {
		name   string
		expiry func(i int) uint32
		live   int
	}{
		{"all expire", func(int) uint32 { return 1100 }, 0},
		{"every second", func(i int) uint32 { return 1100 * uint32(i%2) }, rows / 2},
		{"the first half", func(i int) uint32 { return 1100 * uint32(1-i*2/rows) }, rows / 2},
		{"nine of ten at other times", func(i int) uint32 { return 1060 + uint32(i%10)*20 }, rows / 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, nil)
			h.fill(rows, c.expiry)
			h.flush()
			if st := h.sweep(); st.Rows != 0 || st.Bytes != 0 {
				t.Errorf("before anything expired: %+v", st)
			}
			full := h.tableBytes()
			h.clock.set(1160)
			before, err := h.store.Digest(t.Context(), 1160)
			if err != nil {
				t.Fatal(err)
			}
			st := h.sweep()
			want := int64(rows - c.live)
			// What expired within the delay, or within the step of times, may be left.
			if slack := want / 3; st.Rows > want || st.Rows < want-slack {
				t.Errorf("deleted %d rows of %d: %+v", st.Rows, want, st)
			}
			goal := full * (int64(rows) - st.Rows) / int64(rows)
			waitFor(t, fmt.Sprintf("%d bytes of tables become %d", full, goal), func() bool { return h.tableBytes() <= goal+full/20 })
			after, err := h.store.Digest(t.Context(), 1160)
			if err != nil || after != before {
				t.Errorf("the live rows were %+v, and are %+v, %v", before, after, err)
			}
			h.clock.set(1161)
			if again := h.sweep(); again.Rows > want-st.Rows {
				t.Errorf("again: %+v", again)
			}
		})
	}
}

// Rows written over with another expiry, removed, or written while a sweep is at it, are what
// they would be without it; also after a crash.
func TestSweepChangesNoLiveRow(t *testing.T) {
	for seed := range uint64(4) {
		h, plain := newHarness(t, nil), newHarness(t, nil)
		r := rand.New(rand.NewPCG(seed, 7))
		clock := uint32(1000)
		for step := range 60 {
			for range 1 + r.IntN(300) {
				k := fmt.Appendf(nil, "%03d", r.IntN(700))
				op := Op{Value: fmt.Append(nil, step), ExpireTS: uint32(r.IntN(2)) * (clock + uint32(r.IntN(120)))}
				if r.IntN(8) == 0 {
					op = Op{Delete: true}
				}
				h.payload = appendRowOp(h.payload, k, k, op)
			}
			plain.payload = append(plain.payload, h.payload...)
			for _, x := range []*harness{h, plain} {
				x.propose()
				x.apply()
				x.clock.set(clock)
			}
			switch r.IntN(5) {
			case 0:
				h.flush()
			case 1, 2:
				h.sweep()
			case 3:
				h.flush()
				h.sweep()
				h.crash()
			}
			a, err := h.store.Digest(t.Context(), clock)
			b, err2 := plain.store.Digest(t.Context(), clock)
			if err != nil || err2 != nil || a != b {
				t.Fatalf("seed %d, step %d: %+v %v, without sweeps %+v %v", seed, step, a, err, b, err2)
			}
			clock += uint32(r.IntN(30))
		}
		if a, b := h.physical(), plain.physical(); a >= b {
			t.Errorf("seed %d: %d rows with sweeps, %d without", seed, a, b)
		}
	}
}

// Rows that are written anew between a chunk's look and its deletion stay.
func TestSweepMeetsWrites(t *testing.T) {
	h := newHarness(t, nil)
	const rows = 3000
	h.fill(rows, func(i int) uint32 { return 1100 })
	h.clock.set(1200)
	sp := span{}
	// The pace has the chunk wait in its midst, and the test does the writing meanwhile.
	pace := rate.NewLimiter(rate.Every(time.Hour), sweepStep)
	pace.AllowN(time.Now(), sweepStep)
	ctx, cancel := context.WithCancel(t.Context())
	type outcome struct {
		st  SweepStats
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		st, _, err := h.store.sweepChunk(ctx, sp, 1190, ExpiryTime(h.clock.now()), pace)
		done <- outcome{st, err}
	}()
	waitFor(t, "the chunk is being read", func() bool {
		h.store.applyMu.Lock()
		defer h.store.applyMu.Unlock()
		return h.store.recent != nil
	})
	for _, i := range []int{0, 1, 1499, 1500, 2999} {
		h.put(fmt.Sprintf("h%06d", i), "s", "new", 0)
	}
	h.put("h0015001", "s", "between", 5000)
	pace.SetLimit(rate.Inf)
	cancel()
	if o := <-done; o.err == nil {
		t.Fatalf("a sweep that was ended: %+v", o)
	}
	// Without an end this time, and with the same writes while it reads.
	slow := rate.NewLimiter(4<<20, sweepStep)
	go func() {
		st, _, err := h.store.sweepChunk(t.Context(), sp, 1190, ExpiryTime(h.clock.now()), slow)
		done <- outcome{st, err}
	}()
	waitFor(t, "the chunk is being read", func() bool {
		h.store.applyMu.Lock()
		defer h.store.applyMu.Unlock()
		return h.store.recent != nil
	})
	for _, i := range []int{2, 700, 701, 2998} {
		h.put(fmt.Sprintf("h%06d", i), "s", "newer", 0)
	}
	o := <-done
	if o.err != nil || o.st.Ranges == 0 {
		t.Fatalf("%+v", o)
	}
	if n := h.physical(); n != 10 {
		t.Errorf("%d rows are left, want 10", n)
	}
	for k, want := range map[string]string{"h000000": "new", "h001499": "new", "h002999": "new", "h000700": "newer", "h002998": "newer", "h0015001": "between"} {
		var res idl.ReadResponse
		arg := value.Blob(rowKey(k, "s"))
		if _, err := h.read(base.RPCGet, &arg, &res); err != nil || string(res.Value) != want {
			t.Errorf("%s: %q, %v, want %q", k, res.Value, err, want)
		}
	}
}

// A chunk that meets more writes than it keeps track of deletes nothing.
func TestSweepOverflow(t *testing.T) {
	h := newHarness(t, nil)
	h.fill(10, func(int) uint32 { return 1100 })
	h.store.applyMu.Lock()
	h.store.recent = &recentWrites{keys: make([]recentWrite, sweepRecent)}
	h.store.countPut(&Op{Key: rowKey("x", "y"), ExpireTS: 1100}, 1000)
	over := h.store.recent.overflow
	h.store.recent = nil
	h.store.applyMu.Unlock()
	if !over {
		t.Error("no overflow")
	}
}

// After a restart nothing is known of what is in the store: it is read once, within what may
// be read for that.
func TestSweepAfterRestart(t *testing.T) {
	h := newHarness(t, nil)
	h.fill(3000, func(i int) uint32 { return 1100 + 4000*uint32(i%2) })
	h.flush()
	h.close()
	h.open(false)
	h.clock.set(1200)
	if st, err := h.store.Sweep(t.Context(), time.Second, 0, nil); err != nil || st.Bytes != 0 {
		t.Errorf("nothing may be read: %+v, %v", st, err)
	}
	if st := h.sweep(); st.Rows != 1500 {
		t.Errorf("%+v", st)
	}
	if st := h.sweep(); st.Bytes != 0 {
		t.Errorf("nothing is due: %+v", st)
	}
	h.clock.set(6000)
	if st := h.sweep(); st.Rows != 1500 || h.physical() != 0 {
		t.Errorf("%+v", st)
	}
}

func TestCompact(t *testing.T) {
	h := newHarness(t, nil)
	h.fill(3000, func(i int) uint32 { return uint32(min(i%30, 1)) * 1100 }) // every 30th lives on
	h.put("one", "s", "more", 1150)
	h.flush()
	h.clock.set(1200)
	if err := h.store.Compact(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if n := h.physical(); n != 100 {
		t.Errorf("%d rows are left", n)
	}
	m := h.store.Metrics()
	for l := range 6 {
		if n := m.Levels[l].TablesCount; n != 0 {
			t.Errorf("%d tables in level %d", n, l)
		}
	}
	h.store.applyMu.Lock()
	defer h.store.applyMu.Unlock()
	if h.store.expiries.segs[0].unknown {
		t.Error("what was looked at is unknown")
	}
}

// A table may be dropped while it is compacted: the store closes without waiting for that.
func TestCompactMeetsClose(t *testing.T) {
	h := newHarness(t, nil)
	defer takeSlots(h)() // so that no compaction can begin
	h.fill(3000, func(int) uint32 { return 0 })
	h.flush()
	done := make(chan error, 1)
	store := h.store
	go func() { done <- store.Compact(context.Background(), time.Second) }()
	waitFor(t, "the compaction has begun", func() bool { return store.refs.Load() > 0 })
	began := time.Now()
	h.close()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("closing took %v", took)
	}
	if err := <-done; err == nil {
		t.Error("the compaction says that it is done")
	}
}

func TestSweepLoop(t *testing.T) {
	h := newHarness(t, func(c *testConfig) {
		c.Sweep.Interval, c.Sweep.BytesPerSecond = 20*time.Millisecond, 64<<20
		c.Sweep.Delay = time.Second // also how far the machine's own clock may move
	})
	h.put("a", "s", "old", 1100)
	h.put("b", "s", "new", 0)
	h.clock.set(1000 + sweepMaxAge + 1200)
	waitFor(t, "the expired row is gone", func() bool { return h.physical() == 1 })
	waitFor(t, "it is counted", func() bool { return h.shared.Metrics().SweptRows == 1 })
}

func TestClockGuard(t *testing.T) {
	at := time.Unix(1700000000, 0)
	g := clockGuard{wall: at, tolerance: 30 * time.Second}
	for _, c := range []struct {
		wall, elapsed time.Duration
		step          time.Duration
		paused        bool
	}{
		{time.Minute, time.Minute, 0, false},
		{2*time.Minute + 20*time.Second, 2 * time.Minute, 0, false},
		{time.Minute, 3 * time.Minute, 0, false}, // put back: what is expired stays so
		{24 * time.Hour, 4 * time.Minute, 24*time.Hour - 2*time.Minute, true},
		{24*time.Hour + 50*time.Minute, 54 * time.Minute, 0, true},
		{24*time.Hour + 61*time.Minute, 65 * time.Minute, 0, false},
	} {
		if step := g.check(at.Add(c.wall), c.elapsed); step != c.step || g.paused() != c.paused {
			t.Errorf("after %v the clock says %v: put forward by %v, paused %t", c.elapsed, c.wall, step, g.paused())
		}
	}
}

func TestExpiryMap(t *testing.T) {
	m := newExpiryMap(true)
	key := func(s string) []byte { return base.AppendKey(nil, []byte(s), nil) }
	m.add(key("a"), 100, 50, 10)
	m.add(key("a"), 0, 50, 10)
	m.add(key("b"), 101, 50, 10)
	m.add(key("c"), 400, 50, 10)
	m.add(key("d"), 1<<32-1, 50, 10)
	if n, since := m.segs[0].expired(112); n != 20 || since != 112 || len(m.segs[0].due) != 3 {
		t.Errorf("%d bytes since %d: %+v", n, since, m.segs)
	}
	m.replace(nil, key("c"), []segment{{end: key("b"), bytes: 1}, {end: key("c"), bytes: 2}})
	if len(m.segs) != 3 || m.find(key("a")) != 0 || m.find(key("b")) != 1 || m.find(key("c")) != 2 || m.find(key("z")) != 2 || m.segs[2].end != nil {
		t.Fatalf("%+v", m.segs)
	}
	m.replace(key("b"), nil, []segment{{bytes: 7}})
	if len(m.segs) != 2 || m.segs[1].bytes != 7 || m.segs[0].bytes != 1 {
		t.Errorf("%+v", m.segs)
	}
	// One that begins and ends within a segment leaves the parts beside it as they were.
	m.segs[1].unknown = true
	m.replace(key("m"), key("p"), []segment{{end: key("p")}})
	if len(m.segs) != 4 || !m.segs[1].unknown || m.segs[2].unknown || !m.segs[3].unknown || m.segs[3].end != nil {
		t.Errorf("%+v", m.segs)
	}
	if sp := m.toSweep(0, 600); len(sp) != 2 || sp[1].end != nil || string(sp[1].start) != string(key("p")) {
		t.Errorf("%+v", sp)
	}
	for now := uint32(0); now < 1<<27; now = now*2 + 12345 {
		for ts := now/2 + 1; ts < 1<<29; ts = ts*2 + 77 {
			if up := roundExpiry(ts, now); up < ts || up-ts >= 1<<17 {
				t.Fatalf("%d at %d becomes %d", ts, now, up)
			}
		}
	}
	if up := roundExpiry(1<<32-1, 0); up != 1<<32-1 {
		t.Errorf("the last time becomes %d", up)
	}
}
