package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"pegasus/rocks/damage"
)

// Comparator is the only order of keys that is known: bytes.Compare.
const Comparator = "leveldb.BytewiseComparator"

// Version is what the tables of a database are.
type Version struct {
	Families     []*Family // by id; dropped ones are left out
	NextFile     uint64
	LastSequence uint64
	// LogNumber is the oldest write-ahead log that may have rows that no table has.
	LogNumber uint64
}

// Family is one column family.
type Family struct {
	ID        uint32
	Name      string
	LogNumber uint64
	Levels    [][]File // by level; 0 newest first, the others by key
}

// Family returns the column family of that name, nil if there is none.
func (v *Version) Family(name string) *Family {
	for _, f := range v.Families {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Files returns all tables of all families.
func (v *Version) Files() []File {
	var all []File
	for _, f := range v.Families {
		for _, l := range f.Levels {
			all = append(all, l...)
		}
	}
	return all
}

// ParseCurrent returns the name of the manifest that the file CURRENT has.
func ParseCurrent(name string, b []byte) (string, error) {
	s, ok := strings.CutSuffix(string(b), "\n")
	if !ok || !strings.HasPrefix(s, "MANIFEST-") || strings.ContainsAny(s, "/\\\x00\n") || len(s) > 64 {
		return "", damage.Newf(name, -1, damage.Files, "it has %.80q where the name of a manifest and a line end were expected", b)
	}
	return s, nil
}

// building is a column family while edits are read.
type building struct {
	Family
	files map[uint64]File
}

// builder applies edits.
type builder struct {
	families   map[uint32]*building
	v          Version
	minLogKeep uint64
	group      []*Edit // that wait for the rest of theirs
}

// Read reads the manifest from its begin to its end. name is for errors.
func Read(name string, r io.Reader) (*Version, error) { return read(newRecords(name, r)) }

func read(rs *records) (*Version, error) {
	name := rs.name
	b := builder{families: map[uint32]*building{0: {Family: Family{Name: "default"}, files: map[uint64]File{}}}}
	var buf []byte
	n := 0
	for ; ; n++ {
		rec, at, err := rs.next(buf[:0])
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		buf = rec
		e, err := decodeEdit(rec)
		if err == nil {
			err = b.take(e)
		}
		var u unsupported
		if errors.As(err, &u) {
			return nil, &damage.Unsupported{File: name, What: string(u)}
		}
		if err != nil {
			return nil, damage.Newf(name, at, damage.Edit, "%w", err)
		}
	}
	if n == 0 {
		return nil, damage.Newf(name, 0, damage.Record, "it is empty")
	}
	if len(b.group) > 0 {
		return nil, damage.Newf(name, -1, damage.Edit, "the last %d edits wait for the rest of their group: the file is cut off", len(b.group))
	}
	v, err := b.version()
	if err != nil {
		return nil, damage.Newf(name, -1, damage.Edit, "%w", err)
	}
	return v, nil
}

// take applies an edit, or keeps it until its group is whole.
func (b *builder) take(e *Edit) error {
	if !e.InGroup {
		if len(b.group) > 0 {
			return fmt.Errorf("an edit in the middle of a group that lacks %d", b.group[len(b.group)-1].GroupLeft)
		}
		return b.apply(e)
	}
	if n := len(b.group); n > 0 && b.group[n-1].GroupLeft != e.GroupLeft+1 {
		return fmt.Errorf("%d edits of a group are left after %d", e.GroupLeft, b.group[n-1].GroupLeft)
	}
	b.group = append(b.group, e)
	if e.GroupLeft > 0 {
		return nil
	}
	for _, e := range b.group {
		if err := b.apply(e); err != nil {
			return err
		}
	}
	b.group = b.group[:0]
	return nil
}

func (b *builder) apply(e *Edit) error {
	if e.Comparator != nil && *e.Comparator != Comparator {
		return unsupported(fmt.Sprintf("keys in the order %q", *e.Comparator))
	}
	if e.NextFile != nil {
		b.v.NextFile = *e.NextFile
	}
	if e.LastSequence != nil {
		b.v.LastSequence = *e.LastSequence
	}
	if e.MinLogToKeep != nil {
		b.minLogKeep = max(b.minLogKeep, *e.MinLogToKeep)
	}
	f := b.families[e.Family]
	switch {
	case e.AddFamily != nil && len(e.Added)+len(e.Deleted) > 0:
		return fmt.Errorf("an edit that adds a column family has tables, which RocksDB leaves out")
	case e.AddFamily != nil:
		if f != nil {
			return fmt.Errorf("column family %d (%q) is added, and is there already as %q", e.Family, *e.AddFamily, f.Name)
		}
		f = &building{Family: Family{ID: e.Family, Name: *e.AddFamily}, files: map[uint64]File{}}
		b.families[e.Family] = f
	case f == nil:
		return fmt.Errorf("an edit of column family %d, which isn't there", e.Family)
	case e.DropFamily:
		delete(b.families, e.Family)
		return nil
	}
	if e.LogNumber != nil {
		f.LogNumber = *e.LogNumber
	}
	for _, d := range e.Deleted {
		if got, ok := f.files[d.Number]; !ok || got.Level != d.Level {
			return fmt.Errorf("table %d of level %d is deleted, and isn't there", d.Number, d.Level)
		}
		delete(f.files, d.Number)
	}
	for _, a := range e.Added {
		if _, ok := f.files[a.Number]; ok {
			return fmt.Errorf("table %d is added twice", a.Number)
		}
		if a.Smallest.Compare(a.Largest) > 0 {
			return fmt.Errorf("table %d begins after its end", a.Number)
		}
		f.files[a.Number] = a
	}
	return nil
}

// version puts the tables of each family in order.
func (b *builder) version() (*Version, error) {
	v := b.v
	v.LogNumber = 1<<64 - 1
	for _, f := range b.families {
		v.LogNumber = min(v.LogNumber, f.LogNumber)
		for _, t := range f.files {
			for len(f.Levels) <= t.Level {
				f.Levels = append(f.Levels, nil)
			}
			f.Levels[t.Level] = append(f.Levels[t.Level], t)
		}
		for l, files := range f.Levels {
			if l == 0 {
				slices.SortFunc(files, newestFirst)
				continue
			}
			slices.SortFunc(files, func(a, b File) int { return a.Smallest.Compare(b.Smallest) })
			for i := 1; i < len(files); i++ {
				if p, n := files[i-1], files[i]; p.Largest.Compare(n.Smallest) >= 0 {
					return nil, fmt.Errorf("tables %d and %d of level %d overlap", p.Number, n.Number, l)
				}
			}
		}
		v.Families = append(v.Families, &f.Family)
	}
	v.LogNumber = max(v.LogNumber, b.minLogKeep)
	slices.SortFunc(v.Families, func(a, b *Family) int { return cmp.Compare(a.ID, b.ID) })
	names := map[string]bool{}
	for _, f := range v.Families {
		if names[f.Name] {
			return nil, fmt.Errorf("two column families are called %q", f.Name)
		}
		names[f.Name] = true
	}
	return &v, nil
}

func newestFirst(a, b File) int {
	return cmp.Or(cmp.Compare(b.LargestSequence, a.LargestSequence), cmp.Compare(b.SmallestSequence, a.SmallestSequence), cmp.Compare(b.Number, a.Number))
}
