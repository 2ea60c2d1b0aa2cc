package rrdb

import (
	"bytes"
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

const setDir = "data/1.2/load.7"

// takeOf is a mutation that takes the set in setDir.
func takeOf(t testing.TB, s *Store) []byte {
	t.Helper()
	info, err := s.ReadSet(setDir)
	if err != nil {
		t.Fatal(err)
	}
	return AppendTake(nil, Take{Load: info.Load, Digest: info.Digest, Partitions: info.Partitions, TimetagUS: info.TimetagUS})
}

// makeSet makes a set of rows, and returns them as a payload that has the same effect.
func makeSet(t testing.TB, s *Store, rows int, value string) (payload []byte) {
	t.Helper()
	b, err := s.BuildSet(setDir, SetOf{Load: 7, Partitions: 8, TimetagUS: 3})
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
		take := takeOf(t, h.store)
		if IsServerWrite(take) || !IsTake(take) || IsTake(hist[at-1]) {
			t.Error("a take isn't known as one")
		}
		if err := h.store.Apply(at, at, take); err != nil {
			t.Fatal(err)
		}
		want, err := ParseTake(take)
		taken := Taken{want, at, at}
		if err != nil || h.store.Taken() != taken || want.Load != 7 || want.Partitions != 8 {
			t.Fatalf("%+v, %+v: %v", h.store.Taken(), want, err)
		}
		if h.store.LastApplied() != at || h.store.LastFlushed() != at || h.store.LastTimestamp() != at {
			t.Fatalf("applied %d, flushed %d, of %d", h.store.LastApplied(), h.store.LastFlushed(), at)
		}
		compareContent(t, h.store, hist.at(at))
		if _, err := h.store.ReadSet(setDir); err != nil {
			t.Fatal(err)
		}
		if _, err := h.fs.Stat("data/1.2/rdb" + takenSuffix); err == nil {
			t.Error("its files are left")
		}
		h.crash()
		if got := h.store.LastApplied(); got != at {
			t.Fatalf("after a crash the store is at decree %d, not %d", got, at)
		}
		compareContent(t, h.store, hist.at(at))
		// A second time it has no effect, whether the set is there or not, unless it is of another load.
		if err := h.store.Apply(at, at, take); !errors.Is(err, base.ErrInvalidState) {
			t.Fatalf("decree %d a second time: %v", at, err)
		}
		change := AppendOp(nil, Op{Key: rowKey("h1", "s00000"), Value: []byte("changed")})
		next := AppendTake(nil, Take{Load: 8, Digest: want.Digest, Partitions: 8})
		h.fs.RemoveAll(setDir)
		err = h.store.ApplyAll([]Mutation{{at + 1, at + 1, change}, {at + 2, at + 2, take}, {at + 3, at + 3, nil}, {at + 4, at + 4, next}, {at + 5, at + 5, change}})
		if hist = append(hist, change, nil, nil); !errors.Is(err, ErrNoSet) || h.store.LastApplied() != at+3 || h.store.Taken() != taken || h.store.Failed() != nil {
			t.Fatalf("applied %d, %+v: %v", h.store.LastApplied(), h.store.Taken(), err)
		}
		compareContent(t, h.store, hist.at(at+3))
		// Later mutations replace its rows.
		apply(AppendOp(nil, Op{Key: rowKey("h1", "s00000"), Value: []byte("newer")}))
		compareContent(t, h.store, hist.at(int64(len(hist))))
	}
}

// Wherever a crash comes while a set is taken, the store has all of it or nothing, and says which; the set is there for another attempt.
func TestTakeSetCrash(t *testing.T) {
	var before, after int
	for n := int64(0); ; n++ { // 0: when all is done but to remove what it needed
		var left atomic.Int64
		left.Store(1 << 40)
		var clone *vfs.MemFS
		h := newHarness(t, nil)
		mem := h.fs
		h.close()
		o := h.options()
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		o.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && left.Add(-1) == 0 || n == 0 && op.Kind == errorfs.OpRemoveAll && strings.HasSuffix(op.Path, takenSuffix) {
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
		take := takeOf(t, s)
		if n > 0 {
			left.Store(n)
		}
		if err := s.Apply(2, 2, take); err != nil {
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
		if taken := h.store.Taken(); (got == 2) != (taken.Load == 7) || taken.Decree > got {
			t.Fatalf("write %d: after the crash applied %d, %+v", n, got, taken)
		}
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
		if err := h.store.Apply(2, 2, take); err != nil {
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
		"other rows": func(SetInfo) { makeSet(t, h.store, 100, "other") },
		"another load": func(SetInfo) {
			b, err := h.store.BuildSet(setDir, SetOf{Load: 6, Partitions: 8})
			if _, e := b.Finish(); err != nil || e != nil {
				t.Fatal(err, e)
			}
		},
		"a file is missing": func(i SetInfo) { h.fs.Remove(setDir + "/" + i.Tables[0].Name) },
		"a file is cut off": func(i SetInfo) { writeDurable(h.fs, setDir, i.Tables[0].Name, []byte("x")) },
	} {
		makeSet(t, h.store, 100, "new")
		info, err := h.store.ReadSet(setDir)
		if err != nil {
			t.Fatal(err)
		}
		take := takeOf(t, h.store)
		damage(info)
		if err := h.store.Apply(at+1, at+1, take); !errors.Is(err, ErrNoSet) {
			t.Errorf("%s: %v", name, err)
		}
	}
	makeSet(t, h.store, 100, "new")
	info, _ := h.store.ReadSet(setDir)
	take := takeOf(t, h.store)
	writeDurable(h.fs, setDir, info.Tables[0].Name, []byte(strings.Repeat("x", int(info.Tables[0].Size))))
	if err := h.store.Apply(at+1, at+1, take); !errors.Is(err, ErrNoSet) {
		t.Errorf("a table that is none: %v", err)
	}
	if h.store.LastApplied() != at || h.store.Failed() != nil {
		t.Fatalf("applied %d of %d, %v", h.store.LastApplied(), at, h.store.Failed())
	}
	h.put("h1", "s", "w", 0)
	b, err := h.store.BuildSet(setDir, SetOf{Load: 7, Partitions: 8})
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
	take := takeOf(t, s)
	full.Store(true)
	if err := s.Apply(1, 1, take); errors.Is(err, ErrNoSet) || !base.Passing(err) || s.LastApplied() != 0 {
		t.Fatalf("applied %d: %v", s.LastApplied(), err)
	}
	full.Store(false)
	if err := s.Apply(1, 1, take); err != nil {
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
	if err := h.store.Apply(1, h.timestamp(1), takeOf(t, h.store)); err != nil {
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

// The rows say what the digest is, each part of them.
func TestSetDigest(t *testing.T) {
	h := newHarness(t, nil)
	type row struct {
		key, data string
		expire    uint32
		timetag   uint64
	}
	seen := map[string]int{}
	for i, rows := range [][]row{nil, {{"a", "v", 1, 2}}, {{"a", "v", 1, 2}}, {{"b", "v", 1, 2}}, {{"a", "w", 1, 2}}, {{"a", "v", 2, 2}}, {{"a", "v", 1, 3}}, {{"a", "v", 1, 2}, {"b", "", 0, 0}}} {
		b, err := h.store.BuildSet(setDir, SetOf{Load: int64(i + 1), Partitions: 8})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if err := b.Add(rowKey(r.key, ""), r.expire, r.timetag, []byte(r.data)); err != nil {
				t.Fatal(err)
			}
		}
		info, err := b.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if seen[info.Digest]++; seen[info.Digest] > 1 != (i == 2) {
			t.Errorf("set %d has digest %s of another", i, info.Digest)
		}
	}
}

// A mutation that takes a set, and one that is no such, is an error for who doesn't know it, and is read for what it is or not at all.
func TestTakeBad(t *testing.T) {
	h := newHarness(t, nil)
	makeSet(t, h.store, 10, "new")
	take := takeOf(t, h.store)
	// What a program does that doesn't know the op: it is none of the ops that it has, and its key is no row's.
	if err := h.store.applier.Apply(1, 1, take); !errors.Is(err, base.ErrInvalidData) {
		t.Errorf("by an older program: %v", err)
	}
	put := AppendOp(nil, Op{Key: rowKey("h", "s"), Value: []byte("v")})
	newer := bytes.Clone(take)
	newer[bytes.Index(newer, []byte("take"))+5]++
	for name, p := range map[string][]byte{"before a put": append(bytes.Clone(take), put...), "behind a put": append(bytes.Clone(put), take...), "twice": append(bytes.Clone(take), take...), "cut off": take[:len(take)-1], "a newer version": newer,
		"no load": AppendTake(nil, Take{Digest: "x", Partitions: 8}), "no digest": AppendTake(nil, Take{Load: 7, Partitions: 8}), "no partitions": AppendTake(nil, Take{Load: 7, Digest: "x"}),
		"a remove": AppendOp(nil, Op{Key: takeKey, Delete: true})} {
		want := base.ErrInvalidData
		if err := h.store.Apply(1, 1, p); name != "cut off" && !errors.Is(err, want) || err == nil || h.store.LastApplied() != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzTake: a payload is no take, is refused, or is one that encodes to itself.
func FuzzTake(f *testing.F) {
	f.Add(AppendTake(nil, Take{Load: 7, Digest: "2-abcd", Partitions: 8, TimetagUS: 5}))
	f.Add(AppendOp(nil, Op{Key: takeKey, Value: []byte{1, 0}}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		take, err := ParseTake(payload)
		if err != nil {
			if !errors.Is(err, base.ErrInvalidData) {
				t.Fatal(err)
			}
			return
		}
		if !IsTake(payload) || IsServerWrite(payload) || take.Load <= 0 || take.Digest == "" || take.Partitions <= 0 {
			t.Fatalf("%+v", take)
		}
		if again, err := ParseTake(AppendTake(nil, take)); err != nil || again != take {
			t.Fatalf("%+v is %+v: %v", take, again, err)
		}
	})
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
