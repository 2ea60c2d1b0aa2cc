package wal

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// dumped is what Dump or DumpDir finds, each file from its first byte to its last without a gap.
func dumped(t testing.TB, fsys vfs.FS, run func(fn func(*Found) error) error) (all []Found) {
	t.Helper()
	at := map[string]int64{}
	err := run(func(x *Found) error {
		if x.Size == 0 {
			all = append(all, *x) // a file that isn't there, or is empty
			return nil
		}
		if x.Offset != at[x.File] || x.Size < 0 {
			t.Fatalf("%+v, and %d bytes were told before", x, at[x.File])
		}
		at[x.File] += x.Size
		y := *x
		y.Payload = slices.Clone(x.Payload)
		all = append(all, y)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, end := range at {
		st, err := fsys.Stat(fsys.PathJoin(testDir, name))
		if err != nil || st.Size() != end {
			t.Fatalf("%s: %d bytes were told of %v, %v", name, end, st, err)
		}
	}
	return all
}

func dumpOf(t testing.TB, m map[string][]byte) []Found {
	t.Helper()
	fsys := memFS(t, m)
	return dumped(t, fsys, func(fn func(*Found) error) error { return DumpDir(fsys, testDir, fn) })
}

// found returns the entries among all, and fails where one isn't what was written.
func found(t testing.TB, all []Found) (decrees map[int64]bool) {
	t.Helper()
	decrees = map[int64]bool{}
	for _, x := range all {
		if x.Kind != FoundMutation {
			continue
		}
		if want := entry(x.Gpid, x.Ballot, x.Decree, len(x.Payload)); !sameEntry(x.Entry, want) {
			t.Fatalf("%+v, want %+v", x, want)
		}
		decrees[x.Decree] = true
	}
	return decrees
}

func kinds(all []Found, k FoundKind) (n int) {
	for _, x := range all {
		if x.Kind == k {
			n++
		}
	}
	return n
}

// A log is told whole, in order, also when its name doesn't say which segment a file is, and a missing segment is told.
func TestDump(t *testing.T) {
	m := smallLog(t, 0)
	all := dumpOf(t, m)
	if n := len(found(t, all)); n != 60 || kinds(all, FoundDamage) != 0 || kinds(all, FoundHeader) != len(segmentNames(m)) || kinds(all, FoundTable) < len(segmentNames(m)) {
		t.Fatalf("%d entries, %+v", n, all)
	}
	names := segmentNames(m)
	other := map[string][]byte{"copy": m[names[1]]}
	fsys := memFS(t, other)
	one := dumped(t, fsys, func(fn func(*Found) error) error { return Dump(fsys, fsys.PathJoin(testDir, "copy"), 0, fn) })
	if one[0].Kind != FoundHeader || kinds(one, FoundDamage) != 0 || len(found(t, one)) == 0 {
		t.Errorf("%+v", one)
	}
	lacks := map[string][]byte{names[0]: m[names[0]], names[2]: m[names[2]]}
	if all := dumpOf(t, lacks); kinds(all, FoundDamage) != 1 {
		t.Errorf("%+v", all)
	}
	s := newScenario(t, true)
	all = dumpOf(t, s.files)
	for _, k := range []FoundKind{FoundTruncate, FoundReset, FoundDrop} {
		if kinds(all, k) == 0 {
			t.Errorf("the scenario has no %s", k)
		}
	}
	if kinds(all, FoundDamage) != 0 {
		t.Errorf("%+v", all)
	}
}

// Of a segment in which any byte is another one, all is told but what the byte is in, and its place is.
func TestDumpFlipped(t *testing.T) {
	m := smallLog(t, 0)
	names := segmentNames(m)
	name := names[1]
	whole := found(t, dumpOf(t, map[string][]byte{names[0]: m[names[0]], name: m[name], names[2]: m[names[2]]}))
	for at := 0; at < len(m[name]); at += 3 {
		b := slices.Clone(m[name])
		b[at] ^= 1 << (at % 8)
		for _, file := range []string{name, "copy"} {
			c := map[string][]byte{names[0]: m[names[0]], file: b, names[2]: m[names[2]]}
			fsys := memFS(t, c)
			all := dumped(t, fsys, func(fn func(*Found) error) error {
				if file == name {
					return DumpDir(fsys, testDir, fn)
				}
				return Dump(fsys, fsys.PathJoin(testDir, file), 0, fn)
			})
			got := found(t, all)
			told := false
			for _, x := range all {
				told = told || x.File == file && (x.Kind == FoundDamage || x.Kind == FoundRest) && x.Offset <= int64(at) && int64(at) < x.Offset+x.Size
			}
			if !told && at < headerCRCAt+4 || !told && at >= headerSize {
				t.Fatalf("byte %d of %s: not told", at, file)
			}
			if file == name && len(got) < len(whole)-2 {
				t.Fatalf("byte %d: %d entries of %d", at, len(got), len(whole))
			}
		}
	}
}

// Of a segment that is cut off all before the cut is told.
func TestDumpCut(t *testing.T) {
	m := smallLog(t, 0)
	name := segmentNames(m)[1]
	fsys := memFS(t, map[string][]byte{name: m[name]})
	all := dumped(t, fsys, func(fn func(*Found) error) error { return Dump(fsys, fsys.PathJoin(testDir, name), 0, fn) })
	for n := range m[name] {
		fsys := memFS(t, map[string][]byte{name: m[name][:n]})
		got := dumped(t, fsys, func(fn func(*Found) error) error { return Dump(fsys, fsys.PathJoin(testDir, name), 0, fn) })
		for i, x := range all {
			if x.Offset+x.Size > int64(n) {
				break
			}
			if x.Kind != FoundRest && (len(got) <= i || fmt.Sprint(got[i]) != fmt.Sprint(x)) {
				t.Fatalf("cut at %d: %+v is missing", n, x)
			}
		}
	}
}

// A file of any bytes is told from its first byte to its last.
func FuzzDump(f *testing.F) {
	m := smallLog(f, 4711)
	for _, n := range segmentNames(m) {
		f.Add(m[n], true, uint16(0))
		f.Add(m[n], false, uint16(500))
	}
	scenario := newScenario(f, false)
	for _, n := range segmentNames(scenario.files) {
		f.Add(scenario.files[n], false, uint16(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, fix bool, end uint16) {
		b = slices.Clone(b)
		if fix {
			repair(b, 2)
		}
		for _, name := range []string{segmentName(2), "copy"} {
			fsys := memFS(t, map[string][]byte{name: b})
			at := int64(0)
			err := Dump(fsys, fsys.PathJoin(testDir, name), int64(end), func(x *Found) error {
				if x.Offset != at || x.Size < 0 {
					t.Fatalf("%+v at %d", x, at)
				}
				at += x.Size
				return nil
			})
			if err == nil && at != int64(len(b)) {
				t.Fatalf("%d bytes of %d are told", at, len(b))
			}
		}
	})
}
