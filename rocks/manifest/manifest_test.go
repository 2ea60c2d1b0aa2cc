package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"pegasus/rocks/damage"
	"pegasus/rocks/table"
)

func key(user string, seq uint64) table.Key {
	return table.Key{User: []byte(user), Sequence: seq, Type: table.Value}
}

func file(number uint64, level int, smallest, largest string) File {
	return File{Number: number, Size: 100 * number, Level: level, Smallest: key(smallest, 1), Largest: key(largest, 1),
		SmallestSequence: 1, LargestSequence: number}
}

func write(t testing.TB, edits ...*Edit) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, e := range edits {
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func begin() *Edit {
	return &Edit{Comparator: ptr(Comparator), LogNumber: ptr(uint64(3)), NextFile: ptr(uint64(50)), LastSequence: ptr(uint64(77))}
}

// Edits give the version that they say: added, deleted and moved tables, families that come and go, records over many blocks.
func TestVersion(t *testing.T) {
	var many []File
	for i := range 2000 {
		many = append(many, file(uint64(1000+i), 3, fmt.Sprintf("m%05d", 2*i), fmt.Sprintf("m%05d", 2*i+1)))
	}
	b := write(t, begin(),
		&Edit{Family: 1, AddFamily: ptr("other"), LogNumber: ptr(uint64(4))},
		&Edit{Family: 2, AddFamily: ptr("gone")},
		&Edit{Added: []File{file(5, 0, "a", "z"), file(6, 0, "c", "d")}},
		&Edit{Family: 2, Added: []File{file(7, 0, "a", "b")}},
		&Edit{Deleted: []DeletedFile{{0, 5}}, Added: []File{file(5, 1, "a", "z")}},
		&Edit{Family: 2, DropFamily: true},
		&Edit{Family: 1, Added: many},
		&Edit{Added: []File{file(8, 0, "b", "b")}, InGroup: true, GroupLeft: 1},
		&Edit{Family: 1, Added: []File{file(9, 5, "a", "b")}, LastSequence: ptr(uint64(80)), InGroup: true},
	)
	v, err := Read("M", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if v.NextFile != 50 || v.LastSequence != 80 || v.LogNumber != 3 || len(v.Families) != 2 {
		t.Fatalf("%+v", v)
	}
	d := v.Family("default")
	if !reflect.DeepEqual(d.Levels, [][]File{{file(8, 0, "b", "b"), file(6, 0, "c", "d")}, {file(5, 1, "a", "z")}}) {
		t.Errorf("default: %+v", d.Levels)
	}
	o := v.Family("other")
	if o.ID != 1 || len(o.Levels) != 6 || !reflect.DeepEqual(o.Levels[3], many) || len(o.Levels[5]) != 1 {
		t.Errorf("other: %d levels", len(o.Levels))
	}
	if len(v.Files()) != 2004 || v.Family("gone") != nil {
		t.Errorf("%d files", len(v.Files()))
	}
}

// A cut manifest never reads as a shorter one: but for cuts between records, which leave what was true once.
func TestCut(t *testing.T) {
	edits := []*Edit{begin(), {Added: []File{file(5, 0, "a", "z")}}, {Added: []File{file(8, 0, "b", strings.Repeat("x", 40000))}, InGroup: true, GroupLeft: 1}, {InGroup: true}}
	b := write(t, edits...)
	whole := map[int]bool{}
	for i := 1; i <= len(edits); i++ {
		whole[len(write(t, edits[:i]...))] = i != 3 // the third waits for the fourth
	}
	for n := range b {
		if n > 300 && n < len(b)-300 && n%97 != 0 {
			continue
		}
		_, err := Read("M", bytes.NewReader(b[:n]))
		var d *damage.Error
		if good := whole[n]; good != (err == nil) || err != nil && !errors.As(err, &d) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	for n := 0; n < len(b); n += 31 {
		c := bytes.Clone(b)
		c[n] ^= 1 << (n % 8)
		if _, err := Read("M", bytes.NewReader(c)); err == nil {
			t.Fatalf("a flip at %d isn't found", n)
		}
	}
}

func TestRefusedEdits(t *testing.T) {
	for want, edits := range map[string][]*Edit{
		"isn't there":                    {begin(), {Deleted: []DeletedFile{{0, 5}}}},
		"column family 7":                {begin(), {Family: 7}},
		"added twice":                    {begin(), {Added: []File{file(5, 0, "a", "z")}}, {Added: []File{file(5, 0, "a", "z")}}},
		"overlap":                        {begin(), {Added: []File{file(5, 2, "a", "m"), file(6, 2, "k", "z")}}},
		"begins after its end":           {begin(), {Added: []File{file(5, 2, "m", "a")}}},
		"is there already":               {begin(), {Family: 0, AddFamily: ptr("x")}},
		"RocksDB leaves out":             {begin(), {Family: 1, AddFamily: ptr("x"), Added: []File{file(5, 0, "a", "z")}}},
		`order "rev"`:                    {{Comparator: ptr("rev")}},
		"two column families":            {begin(), {Family: 1, AddFamily: ptr("default")}},
		"in the middle of a group":       {begin(), {InGroup: true, GroupLeft: 3}, {}},
		"2 edits of a group are left":    {begin(), {InGroup: true, GroupLeft: 4}, {InGroup: true, GroupLeft: 2}},
		"wait for the rest of their gro": {begin(), {InGroup: true, GroupLeft: 1}},
		"empty":                          nil,
	} {
		if _, err := Read("M-1", bytes.NewReader(write(t, edits...))); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "M-1") {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func manifests(t testing.TB) [][]byte {
	var all [][]byte
	for _, dir := range []string{"mixed", "range", "blob", "log"} {
		b, err := os.ReadFile("../testdata/" + dir + "/MANIFEST-000005")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// A file of any bytes is a version or an error; checksums aren't compared, so that what lies behind them is reached.
func FuzzManifest(f *testing.F) {
	for _, b := range manifests(f) {
		f.Add(b)
	}
	f.Add(write(f, begin(), &Edit{Added: []File{file(5, 0, "a", "z")}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		rs := newRecords("M", bytes.NewReader(b))
		rs.trust = true
		v, err := read(rs)
		if err != nil {
			return
		}
		for _, f := range v.Families {
			for l, files := range f.Levels {
				for i := 1; i < len(files); i++ {
					if l > 0 && files[i-1].Largest.Compare(files[i].Smallest) >= 0 {
						t.Fatalf("tables of level %d overlap", l)
					}
				}
			}
		}
	})
}

// An edit of any bytes is an error, or is the same after it was written and read again; edits of any kind apply or are refused.
func FuzzEdit(f *testing.F) {
	for _, b := range manifests(f) {
		rs := newRecords("M", bytes.NewReader(b))
		for {
			rec, _, err := rs.next(nil)
			if err != nil {
				break
			}
			f.Add(rec)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEdit(b)
		if err != nil {
			return
		}
		again, err := decodeEdit(e.append(nil))
		if err != nil || !reflect.DeepEqual(e, again) {
			t.Fatalf("%+v is %+v when it was written and read: %v", e, again, err)
		}
		bu := builder{families: map[uint32]*building{0: {Family: Family{Name: "default"}, files: map[uint64]File{}}}}
		if bu.take(e) == nil {
			bu.version()
		}
	})
}

func FuzzCurrent(f *testing.F) {
	f.Add([]byte("MANIFEST-000005\n"))
	f.Add([]byte("MANIFEST-../../x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		name, err := ParseCurrent("CURRENT", b)
		if err == nil && (name+"\n" != string(b) || strings.ContainsAny(name, "/\\")) {
			t.Fatalf("%q is %q", b, name)
		}
	})
}
