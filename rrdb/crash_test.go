package rrdb

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pegasus/base"
	"pegasus/base/tbin"
)

// history is what was applied, by decree from 1.
type history [][]byte

// at is the content after a decree.
func (h history) at(decree int64) model {
	m := model{}
	for _, p := range h[:decree] {
		m.apply(p)
	}
	return m
}

func randomPayload(rng *rand.Rand) []byte {
	var p []byte
	for range rng.IntN(4) { // also none
		key := rowKey(fmt.Sprint("h", rng.IntN(5)), fmt.Sprint("s", rng.IntN(50)))
		if rng.IntN(5) == 0 {
			p = AppendOp(p, Op{Key: key, Delete: true})
			continue
		}
		v := make([]byte, rng.IntN(6000))
		for i := range v {
			v[i] = byte(rng.Uint32())
		}
		p = AppendOp(p, Op{Key: key, Value: v})
	}
	return p
}

// TestCrash crashes a store again and again at random moments of its background work.
// Whatever the file system keeps of what was not synced, what LastFlushed counted is
// there, and the content is exactly that of the decree the store says it has.
func TestCrash(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			h := newHarness(t, func(c *testConfig) { c.MemtableBytes = 256 << 10 })
			var hist history
			flushes := 0
			for range 8 {
				for range 50 + rng.IntN(150) {
					p := randomPayload(rng)
					hist = append(hist, p)
					if err := h.store.Apply(int64(len(hist)), int64(len(hist)), p); err != nil {
						t.Fatal(err)
					}
					if rng.IntN(100) == 0 {
						h.flush()
					}
				}
				flushed, applied := h.store.LastFlushed(), h.store.LastApplied()
				if flushed > 0 {
					flushes++
				}
				clone := h.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(2) * 50, RNG: rng})
				h.close()
				h.fs = clone
				h.open(false)

				got := h.store.LastApplied()
				if got < flushed || got > applied {
					t.Fatalf("flushed %d, applied %d, and after the crash there is %d", flushed, applied, got)
				}
				if h.store.LastFlushed() != got || got > 0 && h.store.LastTimestamp() != got {
					t.Fatalf("after the crash: applied %d, flushed %d, timestamp %d", got, h.store.LastFlushed(), h.store.LastTimestamp())
				}
				compareContent(t, h.store, hist.at(got))
				// The log has the rest.
				for i := got; i < int64(len(hist)); i++ {
					if err := h.store.Apply(i+1, i+1, hist[i]); err != nil {
						t.Fatal(err)
					}
				}
			}
			compareContent(t, h.store, hist.at(int64(len(hist))))
			if flushes == 0 {
				t.Error("nothing was ever flushed: the test tested nothing")
			}
		})
	}
}

// markerFS tells when a marker was created.
type markerFS struct {
	vfs.FS
	created func()
}

func (m markerFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := m.FS.Create(name, c)
	if err == nil && strings.HasPrefix(m.PathBase(name), "marker.") {
		m.created()
	}
	return f, err
}

// TestCrashAtMarker crashes between the moment that a marker says which manifest holds and the
// sync of the directory. Whatever of the names is kept, the store can be opened.
func TestCrashAtMarker(t *testing.T) {
	h := newHarness(t, nil)
	h.put("h", "s", "v", 0)
	h.close()
	var clones []*vfs.MemFS
	mem := h.fs
	o := h.options()
	o.FS = markerFS{mem, func() {
		for seed := range uint64(24) {
			clones = append(clones, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 9))}))
		}
	}}
	for i := range 3 {
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		p := AppendOp(nil, Op{Key: rowKey("h", fmt.Sprint(i)), Value: []byte("v")})
		if err := errors.Join(s.Apply(s.LastApplied()+1, 1, p), s.Flush(t.Context()), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if len(clones) == 0 {
		t.Fatal("no marker was created: the test tests nothing")
	}
	for i, c := range clones {
		h.fs = c
		s, err := Open(h.options())
		if err != nil {
			t.Fatalf("crash %d of %d: %v", i, len(clones), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	h.fs = mem
	h.open(false)
}

// faulty opens the harness' store anew on a file system that fails when told.
func (h *harness) faulty(inject func(errorfs.Op) error) (on *atomic.Bool) {
	h.t.Helper()
	h.close()
	on = new(atomic.Bool)
	o := h.options()
	o.FS = errorfs.Wrap(h.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !on.Load() {
			return nil
		}
		return inject(op)
	}))
	s, err := Open(o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.store, h.ov, h.decree = s, NewOverlay(), s.LastApplied()
	return on
}

func TestManifestFailure(t *testing.T) {
	h := newHarness(t, nil)
	on := h.faulty(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync && strings.Contains(op.Path, "MANIFEST") {
			return syscall.EIO
		}
		return nil
	})
	h.put("h", "durable", "1", 0)
	h.flush()
	h.put("h", "lost", "1", 0)
	on.Store(true)
	if err := h.store.Flush(t.Context()); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("flush: %v", err)
	}
	if got := h.store.LastFlushed(); got != 1 {
		t.Errorf("flushed decree is %d", got)
	}
	waitFor(t, "the error to be told", func() bool {
		select {
		case err := <-h.errs:
			return errors.Is(err, ErrFailed)
		default:
			return false
		}
	})
	on.Store(false) // the disk is well again, the store isn't
	if err := h.store.Apply(3, 3, nil); !errors.Is(err, ErrFailed) {
		t.Errorf("apply: %v", err)
	}
	arg := rowArg("h", "durable")
	if _, err := h.store.Read(&ReadRequest{Code: base.RPCGet, Arg: argReader(arg)}); !errors.Is(err, ErrFailed) {
		t.Errorf("read: %v", err)
	}
	if _, _, _, err := h.store.Evaluate(&WriteRequest{Code: base.RPCRemove, Arg: argReader(arg)}, nil, nil); !errors.Is(err, ErrFailed) {
		t.Errorf("evaluate: %v", err)
	}
	if _, err := h.store.Checkpoint("data/copy"); !errors.Is(err, ErrFailed) {
		t.Errorf("checkpoint: %v", err)
	}
	waitFor(t, "the engine to have tried again", func() bool { return h.store.LastFlushed() == 1 && h.store.Failed() != nil })
	clone := h.fs.CrashClone(vfs.CrashCloneCfg{})
	h.close()
	for name, fs := range map[string]*vfs.MemFS{"crashed": clone, "closed": h.fs} {
		h.fs = fs
		h.open(false)
		if got := h.store.LastApplied(); got != 1 && got != 2 {
			t.Errorf("%s: %d decrees are there", name, got)
		}
		// A flush that Pebble tried again would have left the same row twice.
		if err := h.store.db.Compact(t.Context(), []byte{0}, []byte{0xff, 0xff, 0xff}, false); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		compareContent(t, h.store, history{AppendOp(nil, Op{Key: rowKey("h", "durable"), Value: []byte("1")}),
			AppendOp(nil, Op{Key: rowKey("h", "lost"), Value: []byte("1")})}.at(h.store.LastApplied()))
		h.close()
	}
}

// TestDirectoryFailure: when the store's directory can't be synced any more the store fails, the process doesn't, and
// what was flushed before is there after a crash.
func TestDirectoryFailure(t *testing.T) {
	for nth := int64(1); ; nth++ {
		h := newHarness(t, nil)
		var syncs atomic.Int64
		dir := h.options().Dir
		on := h.faulty(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSync && op.Path == dir && syncs.Add(1) == nth {
				return syscall.EIO
			}
			return nil
		})
		on.Store(true)
		var err error
		flushed := int64(0)
		puts := 0
		for ; puts < 4 && err == nil; puts++ {
			h.put("h", fmt.Sprint(puts), "1", 0)
			if err = h.store.Flush(t.Context()); err == nil {
				flushed = h.decree
			}
		}
		if err == nil { // there are no more syncs than that
			if nth < 4 {
				t.Errorf("the directory was synced %d times", syncs.Load())
			}
			return
		}
		if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) || !errors.Is(h.store.Failed(), ErrFailed) {
			t.Fatalf("sync %d: flush: %v, the store: %v", nth, err, h.store.Failed())
		}
		if got := h.store.LastFlushed(); got != flushed {
			t.Errorf("sync %d: flushed %d, want %d", nth, got, flushed)
		}
		told := make(chan struct{})
		go func() { h.store.db.Metrics(); close(told) }()
		waitFor(t, "Pebble's figures: nothing waits with its locks held", func() bool {
			select {
			case <-told:
				return true
			default:
				return false
			}
		})
		clone := h.fs.CrashClone(vfs.CrashCloneCfg{})
		h.close()
		for name, fs := range map[string]*vfs.MemFS{"crashed": clone, "closed": h.fs} {
			h.fs = fs
			h.open(false)
			if got := h.store.LastApplied(); got < flushed || got > int64(puts) {
				t.Errorf("sync %d, %s: decree %d is there, %d were flushed", nth, name, got, flushed)
			}
			if err := h.store.db.Compact(t.Context(), []byte{0}, []byte{0xff, 0xff, 0xff}, false); err != nil {
				t.Errorf("sync %d, %s: %v", nth, name, err)
			}
			h.close()
		}
	}
}

func TestFlushFailsForAWhile(t *testing.T) {
	h := newHarness(t, nil)
	on := h.faulty(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			return syscall.ENOSPC
		}
		return nil
	})
	h.put("h", "s", "1", 0)
	on.Store(true)
	done := make(chan error, 1)
	go func() { done <- h.store.Flush(t.Context()) }()
	waitFor(t, "the error to be told", func() bool {
		select {
		case err := <-h.errs:
			return errors.Is(err, syscall.ENOSPC) && !errors.Is(err, ErrFailed) && !errors.Is(err, ErrCorrupt)
		default:
			return false
		}
	})
	if h.store.LastFlushed() != 0 || h.store.Failed() != nil {
		t.Errorf("flushed %d, failed %v", h.store.LastFlushed(), h.store.Failed())
	}
	h.put("h", "t", "1", 0)
	on.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := h.store.LastFlushed(); got < 1 {
		t.Errorf("flushed decree is %d", got)
	}
}

func rowArg(hashKey, sortKey string) tbin.Encoder { return blobArg(rowKey(hashKey, sortKey)) }

type blobArg []byte

func (b blobArg) AppendThrift(to []byte) []byte { return tbin.AppendBytes(to, b) }

// TestCloseWhileStalled: writes hang in Pebble for want of space. Close gives up on
// them, and what they hold stays open.
func TestCloseWhileStalled(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for Close's patience")
	}
	h := newHarness(t, func(c *testConfig) { c.MemtableBytes = 256 << 10 })
	on := h.faulty(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") {
			return syscall.ENOSPC
		}
		return nil
	})
	on.Store(true)
	s := h.store
	h.store = nil
	written := make(chan error, 1)
	go func() {
		p := AppendOp(nil, Op{Key: rowKey("h", "s"), Value: make([]byte, 64<<10)})
		for d := int64(1); ; d++ {
			if err := s.Apply(d, d, p); err != nil {
				written <- err
				return
			}
		}
	}()
	last, since := int64(0), time.Now()
	waitFor(t, "writes to hang", func() bool {
		if d := s.LastApplied(); d != last {
			last, since = d, time.Now()
		}
		return last > 0 && s.db.Metrics().MemTable.Count > 2 && time.Since(since) > 300*time.Millisecond
	})
	s.fail(errors.New("told so by the test")) // for Close's patience to be short
	if err := s.Close(); !errors.Is(err, ErrFailed) {
		t.Errorf("close: %v", err)
	}
	select {
	case err := <-written:
		t.Errorf("the write came back: %v", err)
	default:
	}
	if _, err := Open(h.options()); err == nil || errors.Is(err, ErrCorrupt) {
		t.Errorf("opening it while it is open: %v", err)
	}
}
