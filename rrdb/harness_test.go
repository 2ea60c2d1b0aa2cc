package rrdb

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/rrdb/engine"
)

// testConfig is what tests set of Options and SharedOptions.
type testConfig struct {
	Engine         engine.Options
	Sweep          SweepOptions
	MemtableBytes  int64
	SeparateValues int64
	Limits         Limits
}

// smallConfig has small bounds, so that limits and flushes come into play.
func smallConfig() testConfig {
	return testConfig{
		Engine:        engine.Options{BlockCacheBytes: 8 << 20, MemtablesBytes: 64 << 20, OpenFiles: 256, Compactions: 2},
		MemtableBytes: 1 << 20,
		Limits:        Limits{IterationTime: 30 * time.Second},
	}
}

// shared makes what stores share; o has what isn't in the configuration.
func (c *testConfig) shared(t testing.TB, o SharedOptions) *Shared {
	t.Helper()
	o.Engine, o.Sweep = c.Engine, c.Sweep
	s, err := NewShared(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// store adds the configuration to the options of a store.
func (c *testConfig) store(o Options) Options {
	o.MemtableBytes, o.SeparateValues, o.Limits = c.MemtableBytes, c.SeparateValues, c.Limits
	return o
}

// manualClock is a clock that stands still unless told.
type manualClock struct {
	mu sync.Mutex
	t  time.Time
	// step is how far each reading moves it.
	step time.Duration
}

func newClock() *manualClock {
	return &manualClock{t: time.Unix(base.EpochBegin+1000, 0)}
}

func (c *manualClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(c.step)
	return c.t
}

func (c *manualClock) set(seconds uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = time.Unix(base.EpochBegin+int64(seconds), 0)
}

func (c *manualClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// harness is a store with a primary's write path around it, without a log.
type harness struct {
	t      testing.TB
	fs     *vfs.MemFS
	config testConfig
	clock  *manualClock
	// deletes is SharedOptions.DeleteTime, if it is set before the stores are shared.
	deletes func() (time.Time, error)
	// remembers is what Options.Remembers returns.
	remembers bool
	shared    *Shared
	store     *Store
	ov        *Overlay
	payload   []byte
	flights   []flight
	decree    int64
	errs      chan error
}

func newHarness(t testing.TB, change func(*testConfig)) *harness {
	return newHarnessThat(t, change, nil)
}

// newHarnessThat is newHarness with a time up to which may be deleted.
func newHarnessThat(t testing.TB, change func(*testConfig), deletes func() (time.Time, error)) *harness {
	h := &harness{t: t, deletes: deletes, fs: vfs.NewCrashableMem(), config: smallConfig(), clock: newClock(), errs: make(chan error, 100)}
	if change != nil {
		change(&h.config)
	}
	h.shared = h.newShared()
	t.Cleanup(func() {
		h.close()
		h.shared.Close()
	})
	h.open(true)
	return h
}

func (h *harness) newShared() *Shared {
	return h.config.shared(h.t, SharedOptions{Now: h.clock.now, MaxScanSessions: 8, DeleteTime: h.deletes})
}

func (h *harness) options() Options {
	return h.config.store(Options{
		Dir: "data/1.2/rdb", FS: h.fs, Shared: h.shared, Gpid: base.Gpid{AppID: 1, PartitionIndex: 2},
		Server: "node:34801", Now: h.clock.now, Remembers: func() bool { return h.remembers },
		OnError: func(err error) {
			select {
			case h.errs <- err:
			default:
			}
		},
	})
}

func (h *harness) open(create bool) {
	h.t.Helper()
	o := h.options()
	o.Create = create
	s, err := Open(o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.store, h.ov, h.payload, h.flights = s, NewOverlay(), nil, nil
	h.decree = s.LastApplied()
}

func (h *harness) close() {
	if h.store == nil {
		return
	}
	if err := h.store.Close(); err != nil {
		h.t.Errorf("close: %v", err)
	}
	h.store = nil
}

// crash loses what was not synced, and opens what is left.
func (h *harness) crash() {
	clone := h.fs.CrashClone(vfs.CrashCloneCfg{})
	h.close()
	h.fs = clone
	h.open(false)
}

func argReader(arg tbin.Encoder) tbin.Reader {
	return *tbin.NewReader(arg.AppendThrift(nil))
}

// read sends a read and decodes the answer; it reports false when there is none.
func (h *harness) read(code string, arg tbin.Encoder, answer tbin.Decoder) (bool, error) {
	h.t.Helper()
	res, err := h.store.Read(&ReadRequest{Code: code, Arg: argReader(arg)})
	if err != nil || res == nil {
		return false, err
	}
	defer res.Release()
	h.decode(res, answer)
	return true, nil
}

// decode checks that nothing is left over.
func (h *harness) decode(e tbin.Encoder, answer tbin.Decoder) {
	h.t.Helper()
	rd := tbin.NewReader(e.AppendThrift(nil))
	answer.ReadThrift(rd)
	if rd.Err() != nil || rd.Len() != 0 {
		h.t.Fatalf("answer %T: %v, %d bytes left", answer, rd.Err(), rd.Len())
	}
}

// evaluate evaluates a write into the payload being filled.
func (h *harness) evaluate(code string, arg tbin.Encoder) (Reply, error) {
	h.t.Helper()
	payload, reply, _, err := h.store.Evaluate(&WriteRequest{Code: code, Arg: argReader(arg)}, h.ov, h.payload)
	if err == nil && reply.Refused() && len(payload) != len(h.payload) {
		h.t.Fatalf("%s: refused and yet wrote", code)
	}
	h.payload = payload
	return reply, err
}

// propose gives the payload being filled a decree.
func (h *harness) propose() int64 {
	h.decree++
	h.ov.Add(h.decree, h.timestamp(h.decree), h.payload)
	h.flights = append(h.flights, flight{decree: h.decree, payload: h.payload})
	h.payload = nil
	return h.decree
}

// apply applies everything proposed.
func (h *harness) apply() {
	h.t.Helper()
	for _, f := range h.flights {
		if err := h.store.Apply(f.decree, h.timestamp(f.decree), f.payload); err != nil {
			h.t.Fatal(err)
		}
		h.ov.Remove(f.decree)
	}
	h.flights = nil
}

// timestamp is what the mutation of a decree carries.
func (h *harness) timestamp(decree int64) int64 {
	return 1_700_000_000_000_000 + decree
}

// write evaluates a write, applies it at once, and decodes the answer.
func (h *harness) write(code string, arg tbin.Encoder, answer tbin.Decoder) error {
	h.t.Helper()
	reply, err := h.evaluate(code, arg)
	if err != nil {
		return err
	}
	if !reply.Refused() {
		reply.SetDecree(h.propose())
		h.apply()
	}
	h.decode(&reply, answer)
	return nil
}

// put is a short way to a row.
func (h *harness) put(hashKey, sortKey, value string, expireTS uint32) {
	h.t.Helper()
	h.payload = appendRowOp(h.payload, []byte(hashKey), []byte(sortKey), Op{Value: []byte(value), ExpireTS: expireTS})
	h.propose()
	h.apply()
}

func (h *harness) flush() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.store.Flush(ctx); err != nil {
		h.t.Fatal(err)
	}
}

// otherStore takes the compaction slots of a server.
type otherStore struct{ closing chan struct{} }

func (otherStore) Metrics() *pebble.Metrics         { return nil }
func (otherStore) FlushEarly() error                { return nil }
func (s otherStore) Closing() <-chan struct{}       { return s.closing }
func (otherStore) GetAllowedWithoutPermission() int { return math.MaxInt }
func (otherStore) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	return false, pebble.WaitingCompaction{}
}
func (otherStore) Schedule(pebble.CompactionGrantHandle) (accepted bool) { return false }

// takeSlots takes all compaction slots of the server, until the function that it returns is
// called.
func takeSlots(h *harness) (free func()) {
	h.t.Helper()
	other := otherStore{make(chan struct{})}
	m := h.shared.Engine.Join(other, engine.MemberOptions{FS: h.fs})
	var o pebble.Options
	m.Configure(&o)
	s := o.Experimental.CompactionScheduler
	s.Register(h.config.Engine.Compactions, other)
	var slots []pebble.CompactionGrantHandle
	for range h.config.Engine.Compactions {
		ok, slot := s.TrySchedule()
		if !ok {
			h.t.Fatal("a compaction slot is taken already")
		}
		slots = append(slots, slot)
	}
	return func() {
		for _, slot := range slots {
			slot.Done()
		}
		s.Unregister()
	}
}

// waitLimit is enough for a busy machine that checks for races, too.
const waitLimit = 3 * time.Minute

// waitFor waits for a condition that comes about by itself.
func waitFor(t testing.TB, what string, f func() bool) {
	t.Helper()
	if f() {
		return
	}
	deadline := time.NewTimer(waitLimit)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline.C:
			t.Fatalf("waited %v for: %s", waitLimit, what)
		case <-tick.C:
		}
	}
}

func rowKey(hashKey, sortKey string) []byte {
	return base.AppendKey(nil, []byte(hashKey), []byte(sortKey))
}
