package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pegasus/blob"
)

// Found is a backup that lies in a store.
type Found struct {
	Location
	Complete bool    // it has backup_info
	Info     Info    // zero if it isn't complete
	Tables   []Table // directories of tables that are there, by name
	Bad      error   // what is wrong with backup_info; nil: nothing
}

// Table returns one of the tables; name may be empty if there is only one.
func (f *Found) Table(s *blob.Store, name string) (Table, error) {
	var names []string
	for _, t := range f.Tables {
		if t.Name == name || name == "" && len(f.Tables) == 1 {
			return t, nil
		}
		names = append(names, t.Name)
	}
	if name == "" && len(names) > 0 {
		return Table{}, fmt.Errorf("the backup %s has %d tables: name one of %s", f.Location.Dir(), len(names), strings.Join(names, ", "))
	}
	there := "none"
	if len(names) > 0 {
		there = strings.Join(names, ", ")
	}
	return Table{}, bad(s, f.Location.Dir(), ErrNone, "there is no table %q, tables are %s", name, there)
}

const (
	minID    = 1_000_000_000 // ids are times in milliseconds; a directory with a smaller number is something else
	maxDepth = 6             // of directories above a backup
)

func looksLikeID(element string) bool {
	id, ok := parseID(element)
	return ok && id >= minID
}

// List returns the backups below a directory of a store ("" is its root), complete or not, by directory. It looks
// into 6 levels of directories.
func List(ctx context.Context, s *blob.Store, dir string) ([]Found, error) {
	list, err := below(ctx, s, dir, 0)
	if err != nil {
		return nil, blame(s, dir, ErrNone, err)
	}
	slices.SortFunc(list, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

func below(ctx context.Context, s *blob.Store, dir string, depth int) ([]Found, error) {
	entries, err := s.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	var out []Found
	for _, e := range entries {
		_, last := cutLast(e.Name)
		switch {
		case !e.Dir:
		case looksLikeID(last):
			f, err := look(ctx, s, e.Name)
			if errors.Is(err, ErrNone) {
				continue // removed meanwhile, or something else
			}
			if err != nil {
				return nil, err
			}
			out = append(out, f)
		case depth < maxDepth:
			more, err := below(ctx, s, e.Name, depth+1)
			if err != nil && !errors.Is(err, blob.ErrNotFound) {
				return nil, err
			}
			out = append(out, more...)
		}
	}
	return out, nil
}

// look looks at a directory that may be a backup.
func look(ctx context.Context, s *blob.Store, dir string) (Found, error) {
	l, err := ParseLocation(dir)
	if err != nil {
		return Found{}, err
	}
	f := Found{Location: l}
	entries, err := s.List(ctx, dir)
	if err != nil {
		return f, blame(s, dir, ErrNone, err)
	}
	some := false
	for _, e := range entries {
		_, last := cutLast(e.Name)
		t, ok := parseTable(l, last)
		switch {
		case e.Dir && ok:
			f.Tables = append(f.Tables, t)
			some = true
		case !e.Dir && last == infoFile:
			some = true
		}
	}
	if !some {
		return f, bad(s, dir, ErrNone, "there is neither %s nor a table", infoFile)
	}
	f.Info, err = ReadInfo(ctx, s, l)
	switch {
	case errors.Is(err, ErrIncomplete):
	case Damaged(err):
		f.Bad = err
	case err != nil:
		return f, err
	default:
		f.Complete = true
		// What isn't named is what was left of a table that was dropped while the others were backed up.
		named := f.Info.Tables()
		f.Tables = slices.DeleteFunc(f.Tables, func(t Table) bool { return named[t.AppID] != t.Name })
	}
	return f, nil
}

// Find returns the backup that a person names by a path of a store: its directory, that of one of its tables (whose name
// is returned then), or a directory above that has only one backup below it.
func Find(ctx context.Context, s *blob.Store, path string) (f Found, table string, err error) {
	path = blob.Join(path)
	dir, rest, ok := CutID(path)
	if ok {
		f, err = look(ctx, s, dir)
		if err != nil || rest == "" {
			return f, "", err
		}
		element, _, _ := strings.Cut(rest, "/")
		t, isTable := parseTable(f.Location, element)
		if !isTable || !slices.Contains(f.Tables, t) {
			return f, "", bad(s, path, ErrNone, "%s is no table of backup %d", element, f.ID)
		}
		return f, t.Name, nil
	}
	list, err := List(ctx, s, path)
	switch {
	case err != nil:
		return Found{}, "", err
	case len(list) == 0:
		return Found{}, "", bad(s, path, ErrNone, "no backup lies there")
	case len(list) > 1:
		var dirs []string
		for _, f := range list {
			dirs = append(dirs, f.Dir())
		}
		return Found{}, "", bad(s, path, ErrNone, "%d backups lie there, name one: %s", len(list), strings.Join(dirs, ", "))
	}
	return list[0], "", nil
}

// CutID splits a path behind the id of a backup; false if it has none.
func CutID(path string) (dir, rest string, ok bool) {
	elements := strings.Split(path, "/")
	for i := len(elements) - 1; i >= 0; i-- {
		if looksLikeID(elements[i]) {
			return strings.Join(elements[:i+1], "/"), strings.Join(elements[i+1:], "/"), true
		}
	}
	return "", "", false
}
