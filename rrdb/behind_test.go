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

// makeBehind makes a set that is taken behind, of several tables, and returns the op of each row.
func makeBehind(t testing.TB, s *Store, rows int) (ops []Op) {
	t.Helper()
	b, err := s.BuildSet(setDir, SetOf{Load: 7, Partitions: 8, TimetagUS: 3, Behind: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		op := Op{Key: rowKey(fmt.Sprint("h", i*5/rows), fmt.Sprintf("s%05d", i)), Value: []byte(fmt.Sprint("loaded", i)), Timetag: 3 << 8}
		if i%20 == 0 && b.w != nil {
			if err := b.endTable(); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Add(op.Key, op.ExpireTS, op.Timetag, op.Value); err != nil {
			t.Fatal(err)
		}
		ops = append(ops, op)
	}
	info, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if !info.Behind || len(info.Tables) != (rows+19)/20 {
		t.Fatalf("%+v", info)
	}
	return ops
}

func takeBehindOf(t testing.TB, s *Store) []byte {
	t.Helper()
	take, err := ParseTake(takeOf(t, s))
	if err != nil {
		t.Fatal(err)
	}
	take.Behind = true
	return AppendTake(nil, take)
}

// notThere is a payload with the rows that aren't there.
func notThere(m model, ops []Op) (payload []byte) {
	for _, op := range ops {
		if _, there := m[string(op.Key)]; !there {
			payload = AppendOp(payload, op)
		}
	}
	return payload
}

// Rows that are there stay, in memtables or table files, others are loaded; a crash at each write leaves all or nothing, and another attempt comes to the same.
func TestTakeBehind(t *testing.T) {
	before, after := 0, 0
	for n := int64(0); ; n++ { // 0: no crash
		var left atomic.Int64
		left.Store(1 << 40)
		var clone *vfs.MemFS
		h := newHarness(t, nil)
		mem := h.fs
		h.close()
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		o := h.options()
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
		var hist history
		apply := func(s *Store, p []byte, at int64) {
			t.Helper()
			if err := s.Apply(at, at, p); err != nil {
				t.Fatal(err)
			}
		}
		// The first table has nothing that is there, the second is there wholly, others in part: put, removed, or both.
		ops := makeBehind(t, s, 100)
		var p []byte
		for i, op := range ops[20:] {
			if i < 20 || rng.IntN(3) == 0 {
				p = AppendOp(p, Op{Key: op.Key, Value: []byte("there")})
			}
		}
		hist = append(hist, p)
		apply(s, p, 1)
		if n%2 == 0 {
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		p = AppendOp(AppendOp(AppendOp(nil, Op{Key: ops[45].Key, Delete: true}), Op{Key: ops[46].Key, Value: []byte("later")}), Op{Key: rowKey("h1", "between"), Value: []byte("other")})
		hist = append(hist, p)
		apply(s, p, 2)
		hist = append(hist, notThere(hist.at(2), ops))
		take := takeBehindOf(t, s)
		if n > 0 {
			left.Store(n)
		}
		apply(s, take, 3)
		left.Store(1 << 40)
		compareContent(t, s, hist.at(3))
		if taken := s.Taken(); !taken.Behind || taken.Load != 7 || s.LastFlushed() != 3 {
			t.Fatalf("%+v, flushed %d", taken, s.LastFlushed())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			continue
		}
		if clone == nil {
			break
		}
		h.fs = clone
		h.open(false)
		got := h.store.LastApplied()
		if got > 3 {
			t.Fatalf("write %d: after the crash applied %d", n, got)
		}
		compareContent(t, h.store, hist.at(got))
		if got == 3 {
			after++
			h.close()
			continue
		}
		before++
		for at := got + 1; at < 3; at++ {
			apply(h.store, hist[at-1], at)
		}
		apply(h.store, take, 3)
		compareContent(t, h.store, hist.at(3))
		h.close()
	}
	if before < 5 || after < 1 {
		t.Errorf("%d crashes before and %d after the rows were there", before, after)
	}
}

// What expired before the mutation isn't there, what expires after it is, although it has expired by the clock of who applies it late: it isn't swept
// as long as the set waits, also after a restart.
func TestTakeBehindExpired(t *testing.T) {
	for _, swept := range []bool{false, true} {
		h := newHarness(t, nil)
		now := uint32(1_700_000_000 - base.EpochBegin)
		h.clock.set(now)
		ops := makeBehind(t, h.store, 40)
		at := func(s uint32) int64 { return (int64(s) + base.EpochBegin) * 1e6 }
		p := AppendOp(nil, Op{Key: ops[3].Key, Value: []byte("expired"), ExpireTS: now - 5})
		p = AppendOp(p, Op{Key: ops[4].Key, Value: []byte("expires"), ExpireTS: now + 5})
		if err := h.store.Apply(1, at(now-100), p); err != nil {
			t.Fatal(err)
		}
		take := takeBehindOf(t, h.store)
		if swept {
			h.flush()
			h.close()
			h.open(false)
			h.clock.set(now + 100_000)
			if st := h.sweep(); st.Rows != 0 {
				t.Fatalf("%+v", st)
			}
		}
		if err := h.store.Apply(2, at(now), take); err != nil {
			t.Fatal(err)
		}
		get := func(i int) string {
			v, closer, err := h.store.db.Get(ops[i].Key)
			if err != nil {
				t.Fatal(err)
			}
			defer closer.Close()
			_, _, data, _ := splitValue(v)
			return string(data)
		}
		if get(3) != "loaded3" || get(4) != "expires" || get(5) != "loaded5" {
			t.Errorf("%q, %q, %q", get(3), get(4), get(5))
		}
		// Once it is taken there are sweeps again.
		h.clock.set(now + 200_000)
		if st := h.sweep(); st.Rows != 1 {
			t.Errorf("%+v", st)
		}
		h.close()
	}
}

// A set that is damaged, or for the other way, and a full disk: nothing is applied, and the store goes on.
func TestTakeBehindBad(t *testing.T) {
	h := newHarness(t, nil)
	var full atomic.Bool
	mem := h.fs
	h.close()
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
	ops := makeBehind(t, s, 40)
	hist := history{AppendOp(nil, Op{Key: ops[5].Key, Value: []byte("there")})}
	if err := s.Apply(1, 1, hist[0]); err != nil {
		t.Fatal(err)
	}
	take := takeBehindOf(t, s)
	full.Store(true)
	if err := s.Apply(2, 2, take); errors.Is(err, ErrNoSet) || !base.Passing(err) || s.LastApplied() != 1 {
		t.Errorf("a full disk: applied %d: %v", s.LastApplied(), err)
	}
	full.Store(false)
	if err := s.Apply(2, 2, takeOf(t, s)); !errors.Is(err, ErrNoSet) {
		t.Errorf("not behind: %v", err)
	}
	info, err := s.ReadSet(setDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range info.Tables {
		if err := writeDurable(mem, setDir, table.Name, []byte(strings.Repeat("x", int(table.Size)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Apply(2, 2, take); !errors.Is(err, ErrNoSet) || s.LastApplied() != 1 || s.Failed() != nil {
		t.Errorf("tables that are none: %v", err)
	}
	ops = makeBehind(t, s, 40)
	if err := s.Apply(2, 2, take); err != nil {
		t.Fatal(err)
	}
	hist = append(hist, notThere(hist.at(1), ops))
	compareContent(t, s, hist.at(2))
}
