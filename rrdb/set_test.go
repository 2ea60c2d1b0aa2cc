package rrdb

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pegasus/base"
)

const setDir = "data/1.2/set"

// makeSet makes a set of rows, and returns them as a payload that has the same effect.
func makeSet(t testing.TB, s *Store, rows int, value string) (payload []byte) {
	t.Helper()
	b, err := s.BuildSet(setDir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		op := Op{Key: rowKey("h1", fmt.Sprintf("s%05d", i)), Value: []byte(value + strings.Repeat("x", i%300)), Timetag: uint64(i+1) << 8, ExpireTS: uint32(i%2) * 5000}
		if err := b.Add(op.Key, op.ExpireTS, op.Timetag, op.Value); err != nil {
			t.Fatal(err)
		}
		payload = AppendOp(payload, op)
	}
	info, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if info.Rows != int64(rows) || info.Bytes < int64(rows) || info.Expires != (rows > 1) || len(info.Tables) == 0 != (rows == 0) {
		t.Fatalf("%+v", info)
	}
	return payload
}

// A set has the effect of a mutation with its rows, replaces older rows, is durable at once, and is left as it was.
func TestTakeSet(t *testing.T) {
	for _, rows := range []int{0, 1, 2000} {
		h := newHarness(t, nil)
		var hist history
		apply := func(p []byte) {
			t.Helper()
			hist = append(hist, p)
			if err := h.store.Apply(int64(len(hist)), int64(len(hist)), p); err != nil {
				t.Fatal(err)
			}
		}
		rng := rand.New(rand.NewPCG(uint64(rows), 1))
		for i := range 60 {
			if apply(randomPayload(rng)); i == 30 {
				h.flush()
			}
		}
		apply(AppendOp(AppendOp(nil, Op{Key: rowKey("h1", "s00000"), Value: []byte("old")}), Op{Key: rowKey("h1", "s00001"), Delete: true}))
		hist = append(hist, makeSet(t, h.store, rows, "new"))
		at := int64(len(hist))
		if err := h.store.TakeSet(t.Context(), at, at, setDir); err != nil {
			t.Fatal(err)
		}
		if h.store.LastApplied() != at || h.store.LastFlushed() != at || h.store.LastTimestamp() != at {
			t.Fatalf("applied %d, flushed %d, of %d", h.store.LastApplied(), h.store.LastFlushed(), at)
		}
		compareContent(t, h.store, hist.at(at))
		if _, err := h.store.ReadSet(setDir); err != nil {
			t.Fatal(err)
		}
		h.crash()
		if got := h.store.LastApplied(); got != at {
			t.Fatalf("after a crash the store is at decree %d, not %d", got, at)
		}
		compareContent(t, h.store, hist.at(at))
		// A second time it is the mutation of a later decree, and no earlier one.
		if err := h.store.TakeSet(t.Context(), at, at, setDir); !errors.Is(err, base.ErrInvalidState) {
			t.Fatalf("decree %d a second time: %v", at, err)
		}
		hist = append(hist, hist[at-1])
		if err := h.store.TakeSet(t.Context(), at+1, at+1, setDir); err != nil {
			t.Fatal(err)
		}
		// Later mutations replace its rows.
		apply(AppendOp(nil, Op{Key: rowKey("h1", "s00000"), Value: []byte("newer")}))
		compareContent(t, h.store, hist.at(int64(len(hist))))
		if _, err := h.fs.Stat("data/1.2/rdb" + takenSuffix); err == nil {
			t.Error("its files are left")
		}
	}
}

// Wherever a crash comes while a set is taken, the store has all of it or nothing, and says which; the set is there for another attempt.
func TestTakeSetCrash(t *testing.T) {
	var before, after int
	for n := int64(1); ; n++ {
		var left atomic.Int64
		left.Store(1 << 40)
		var clone *vfs.MemFS
		h := newHarness(t, nil)
		mem := h.fs
		h.close()
		o := h.options()
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		o.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && left.Add(-1) == 0 {
				clone = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(2) * 50, RNG: rng})
			}
			return nil
		}))
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		hist := history{AppendOp(nil, Op{Key: rowKey("h1", "s00000"), Value: []byte("old")})}
		if err := s.Apply(1, 1, hist[0]); err != nil {
			t.Fatal(err)
		}
		hist = append(hist, makeSet(t, s, 50, "new"))
		left.Store(n)
		if err := s.TakeSet(t.Context(), 2, 2, setDir); err != nil {
			t.Fatal(err)
		}
		left.Store(1 << 40)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if clone == nil {
			break // it was over before
		}
		h.fs = clone
		h.open(false)
		got := h.store.LastApplied()
		if got != h.store.LastFlushed() || got > 2 {
			t.Fatalf("write %d: after the crash applied %d, flushed %d", n, got, h.store.LastFlushed())
		}
		compareContent(t, h.store, hist.at(got))
		if got == 2 {
			after++
			continue
		}
		before++
		if got == 0 {
			if err := h.store.Apply(1, 1, hist[0]); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.store.TakeSet(t.Context(), 2, 2, setDir); err != nil {
			t.Fatalf("write %d: another attempt: %v", n, err)
		}
		compareContent(t, h.store, hist.at(2))
	}
	if before < 5 || after < 1 {
		t.Errorf("%d crashes before and %d after the rows were there", before, after)
	}
}

// What isn't a complete set is refused, and nothing is applied.
func TestTakeSetBad(t *testing.T) {
	h := newHarness(t, nil)
	h.put("h1", "s", "v", 0)
	at := h.decree
	for name, damage := range map[string]func(info SetInfo){
		"no directory":      func(SetInfo) { h.fs.RemoveAll(setDir) },
		"no document":       func(SetInfo) { h.fs.Remove(setDir + "/" + setFile) },
		"another document":  func(SetInfo) { writeDurable(h.fs, setDir, setFile, []byte("{")) },
		"a newer format":    func(SetInfo) { writeDurable(h.fs, setDir, setFile, []byte(`{"format":2}`)) },
		"another partition": func(SetInfo) { writeDurable(h.fs, setDir, setFile, []byte(`{"format":1,"partition":"1.3"}`)) },
		"a file elsewhere": func(SetInfo) {
			writeDurable(h.fs, setDir, setFile, []byte(`{"format":1,"partition":"1.2","tables":[{"name":"../x","size":1}]}`))
		},
		"a file is missing": func(i SetInfo) { h.fs.Remove(setDir + "/" + i.Tables[0].Name) },
		"a file is cut off": func(i SetInfo) { writeDurable(h.fs, setDir, i.Tables[0].Name, []byte("x")) },
	} {
		makeSet(t, h.store, 100, "new")
		info, err := h.store.ReadSet(setDir)
		if err != nil {
			t.Fatal(err)
		}
		damage(info)
		if err := h.store.TakeSet(t.Context(), at+1, at+1, setDir); !errors.Is(err, ErrNoSet) {
			t.Errorf("%s: %v", name, err)
		}
	}
	makeSet(t, h.store, 100, "new")
	info, _ := h.store.ReadSet(setDir)
	writeDurable(h.fs, setDir, info.Tables[0].Name, []byte(strings.Repeat("x", int(info.Tables[0].Size))))
	if err := h.store.TakeSet(t.Context(), at+1, at+1, setDir); err == nil {
		t.Error("a table that is none is taken")
	}
	if h.store.LastApplied() != at || h.store.Failed() != nil {
		t.Fatalf("applied %d of %d, %v", h.store.LastApplied(), at, h.store.Failed())
	}
	h.put("h1", "s", "w", 0)
	b, err := h.store.BuildSet(setDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Add(rowKey("h", "b"), 0, 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(rowKey("h", "a"), 0, 1, nil); !errors.Is(err, base.ErrInvalidData) {
		t.Errorf("keys that fall: %v", err)
	}
	if err := b.Abort(); err != nil {
		t.Error(err)
	}
	if _, err := h.fs.Stat(setDir); err == nil {
		t.Error("Abort leaves files")
	}
}

// On a full disk nothing is applied, and the store goes on when there is room.
func TestTakeSetDiskFull(t *testing.T) {
	h := newHarness(t, nil)
	mem := h.fs
	h.close()
	var full atomic.Bool
	o := h.options()
	o.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && strings.Contains(op.Path, takenSuffix) && op.Kind == errorfs.OpFileWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	makeSet(t, s, 100, "new")
	full.Store(true)
	if err := s.TakeSet(t.Context(), 1, 1, setDir); !base.Passing(err) || s.LastApplied() != 0 {
		t.Fatalf("applied %d: %v", s.LastApplied(), err)
	}
	full.Store(false)
	if err := s.TakeSet(t.Context(), 1, 1, setDir); err != nil {
		t.Fatal(err)
	}
}

// The next sweep finds what expires of a set, and one that read rows before the set took their place deletes none.
func TestSweepAndSet(t *testing.T) {
	h := newHarness(t, nil)
	makeSet(t, h.store, 2000, "new")
	h.clock.set(1_700_000_000 - base.EpochBegin)
	h.store.applyMu.Lock()
	recent := &recentWrites{} // as while a sweep reads
	h.store.recent = recent
	h.store.applyMu.Unlock()
	if err := h.store.TakeSet(t.Context(), 1, h.timestamp(1), setDir); err != nil {
		t.Fatal(err)
	}
	if !recent.overflow {
		t.Error("the sweep isn't told")
	}
	h.store.applyMu.Lock()
	h.store.recent = nil
	h.store.applyMu.Unlock()
	if st := h.sweep(); st.Rows != 1000 || h.physical() != 1000 {
		t.Errorf("%+v, %d rows are left", st, h.physical())
	}
}

func FuzzSet(f *testing.F) {
	f.Add([]byte(`{"format":1,"partition":"1.2","rows":1,"tables":[{"name":"0.sst","size":100}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := parseSet(b)
		if err != nil {
			return
		}
		for _, table := range info.Tables {
			if strings.ContainsAny(table.Name, `/\`) || strings.HasPrefix(table.Name, ".") || table.Size <= 0 {
				t.Fatalf("%q names %+v", b, table)
			}
		}
	})
}
