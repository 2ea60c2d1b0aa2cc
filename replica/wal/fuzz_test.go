package wal

import (
	"encoding/binary"
	"slices"
	"testing"
)

// repair gives the records in b valid checksums, so that the fuzzer gets behind them.
func repair(b []byte, seq uint64) {
	h, err := parseHeader(b)
	if err != nil {
		return
	}
	s := seedOf(h.id, seq)
	for off := int64(headerSize); ; {
		size := recordSize(b[min(off, int64(len(b))):])
		if size == 0 || off+size > int64(len(b)) {
			return
		}
		r := b[off : off+size]
		binary.LittleEndian.PutUint32(r[8:], uint32(seq))
		binary.LittleEndian.PutUint32(r, s.sum(off, r[4:]))
		off += size
	}
}

// FuzzSegment opens a log of one segment of any bytes, alone or between two good ones: it
// may be refused, but what opens can be read, written, and opened again without change.
func FuzzSegment(f *testing.F) {
	// The workers of the fuzzer must agree on the identity.
	m := smallLog(f, 4711)
	names := segmentNames(m)
	for _, n := range names {
		f.Add(m[n], true, true)
		f.Add(m[n], false, false)
		f.Add(m[n][:len(m[n])/2], false, true)
	}
	scenario := newScenario(f, false)
	for _, n := range segmentNames(scenario.files) {
		f.Add(scenario.files[n], true, false)
	}
	f.Add([]byte{}, false, false)
	f.Add(make([]byte, 200), false, true)
	f.Fuzz(func(t *testing.T, b []byte, fix, alone bool) {
		seq := uint64(2)
		in := map[string][]byte{names[0]: m[names[0]], names[2]: m[names[2]]}
		if alone {
			seq, in = 1, make(map[string][]byte)
		}
		b = slices.Clone(b)
		if fix {
			repair(b, seq)
		}
		in[segmentName(seq)] = b
		o := testOptions(memFS(t, in))
		o.KeepBytes = 1 << 30
		o.id = 4711
		l, err := Open(o)
		if err != nil {
			return
		}
		read := func(l *Log) map[State]int {
			seen := make(map[State]int)
			for _, x := range l.Replicas() {
				s := l.State(x)
				n := 0
				for _, d := range present(l, x) {
					es, err := l.Read(x, d, 1<<20)
					if err != nil || len(es) == 0 || es[0].Decree != d {
						t.Fatalf("%s: read %d: %v, %v", x, d, es, err)
					}
					n++
				}
				if s.First > 0 && n == 0 || s.First > s.Last {
					t.Fatalf("%s: %+v, and %d entries", x, s, n)
				}
				seen[s] += n
			}
			return seen
		}
		seen, damaged := read(l), l.Damaged()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = mustOpen(t, o)
		if again := read(l); len(again) != len(seen) || len(l.Damaged()) != len(damaged) {
			t.Fatalf("opened again: %v, damaged %v; before: %v, %v", again, l.Damaged(), seen, damaged)
		}
		x := g(77)
		d := l.State(x).Last + 1
		if d < maxDecree {
			if err := appendEntries(l, entry(x, 1, d, 10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = mustOpen(t, o)
		if d < maxDecree && l.State(x).Last != d {
			t.Fatalf("last is %d, want %d", l.State(x).Last, d)
		}
		mustClose(t, l)
	})
}
