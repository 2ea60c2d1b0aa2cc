package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

// Directories are added while the server runs. One that was added is remembered in the identity of all
// others (Ident.Added), and used at every start until the configuration lists it: a server doesn't
// forget replicas because nobody has edited a file.

// Add begins to use a data directory. What is wrong with it is found before anything is written into the
// others: after an error everything is as before, and what was made in it is removed. Errors wrap
// upstream's codes.
func (s *Set) Add(p Place) error {
	s.adding.Lock()
	defer s.adding.Unlock()
	if err := s.add(p); err != nil {
		return fmt.Errorf("data directory %s (%s) is not added: %w", p.Path, p.Tag, err)
	}
	s.log.Warnf("data directory %s (%s) is added: an administrator says so; add %q to replica.data_dirs, too", p.Path, p.Tag, p.Tag+":"+p.Path)
	s.host.SyncSoon()
	return nil
}

// AddAll adds directories that are listed in upstream's form, "tag:path,tag:path", one after the other.
func (s *Set) AddAll(list string) error {
	var ps []Place
	for _, e := range strings.Split(list, ",") {
		tag, path, ok := strings.Cut(e, ":")
		if !ok {
			return fmt.Errorf("%q is not a list of data directories: write tag:path, and a comma between two of them: %w", list, base.ErrInvalidParameters)
		}
		ps = append(ps, Place{strings.TrimSpace(tag), strings.TrimSpace(path)})
	}
	for i, p := range ps {
		if err := s.Add(p); err != nil {
			if i > 0 {
				err = fmt.Errorf("%w (the %d before it in the list are added)", err, i)
			}
			return err
		}
	}
	return nil
}

func (s *Set) add(p Place) (err error) {
	if err := s.mayBeAdded(p); err != nil {
		return err
	}
	made, err := s.fresh(p.Path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, made.undo())
		}
	}()
	i := s.identity
	i.files.Lock() // until the others know of it: nobody else is to write of it before
	defer i.files.Unlock()
	was := i.ident()
	i.add(p, newDirID(), was.Change+1)
	defer func() {
		if err != nil {
			i.setDirs(was.Dirs, was.Added, was.Change)
		}
	}()
	if err := made.make(); err != nil {
		return fmt.Errorf("%w: %w", err, base.ErrFileOperationFailed)
	}
	if err := i.prepare(p); err != nil {
		return fmt.Errorf("%w: %w", err, base.ErrFileOperationFailed)
	}
	d := newDir(p, &s.o)
	if err := probe(d.Scratch()); err != nil {
		return fmt.Errorf("%w: %w", err, base.ErrFileOperationFailed)
	}
	l, err := d.openLog()
	if err != nil {
		return fmt.Errorf("%w: %w", err, base.ErrFileOperationFailed)
	}
	d.log.Store(l)
	d.measure()
	if err := settle(i.ident(), append(slices.Clone(s.All()), d)...); err != nil {
		// Some may say already that there is one more.
		back := was
		back.Change += 2
		err = errors.Join(err, settle(back, s.All()...), l.Close())
		was = back
		return fmt.Errorf("%w: %w", err, base.ErrFileOperationFailed)
	}
	if s.o.Added != nil {
		s.o.Added(d)
	}
	s.put(d)
	return nil
}

// mayBeAdded says what is wrong with a place without looking what is there.
func (s *Set) mayBeAdded(p Place) error {
	switch {
	case p.Tag == "" || strings.ContainsAny(p.Tag, "/\\:, \t\n") || len(p.Tag) > maxTag:
		return fmt.Errorf("%q is no tag: give one without spaces, commas, colons and slashes, of at most %d characters: %w", p.Tag, maxTag, base.ErrInvalidParameters)
	case !filepath.IsAbs(p.Path):
		return fmt.Errorf("%q is not an absolute path: %w", p.Path, base.ErrInvalidParameters)
	}
	added := s.identity.ident().Added
	if !slices.ContainsFunc(s.All(), func(d *Dir) bool { return added[d.Tag] == "" && d.Log().Failed() == nil }) {
		return fmt.Errorf("none of the directories in replica.data_dirs works, so none could remember it: bring one back first (`pegasus disk ls`): %w", base.ErrInvalidState)
	}
	for _, d := range s.All() {
		path, err := filepath.Abs(d.Path)
		if err != nil {
			return fmt.Errorf("where data directory %s is isn't known: %w", d.Path, err)
		}
		switch {
		case d.Tag == p.Tag:
			return fmt.Errorf("the server's data directory %s has that tag: give another one: %w", d.Path, base.ErrNodeAlreadyExist)
		case same(path, p.Path):
			return fmt.Errorf("it is the server's data directory %s: %w", d.Tag, base.ErrNodeAlreadyExist)
		case within(path, p.Path) || within(p.Path, path):
			return fmt.Errorf("it and the server's data directory %s (%s) are one within the other: use directories that have nothing in common: %w", d.Path, d.Tag, base.ErrInvalidParameters)
		}
	}
	return nil
}

// maxTag is how long a tag of a directory may be that is added.
const maxTag = 64

// same tells whether two paths are of one directory.
func same(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// within tells whether path is below dir.
func within(path, dir string) bool {
	rel, err := filepath.Rel(resolved(dir), resolved(path))
	return err == nil && rel != "." && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// resolved is the path without symbolic links, as far as it exists.
func resolved(path string) string {
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	if parent := filepath.Dir(path); parent != path {
		return filepath.Join(resolved(parent), filepath.Base(path))
	}
	return path
}

// making is a directory that is being added, and what of it was not there.
type making struct {
	path    string
	missing bool
	absent  []string // what isn't in it of what a data directory consists of
}

// fresh looks at a directory that is to be added: it is empty, or what an attempt left that a crash ended.
func (s *Set) fresh(path string) (*making, error) {
	m := &making{path: path}
	st, err := vfs.Default.Stat(path)
	at := path
	switch {
	case errors.Is(err, fs.ErrNotExist) && isLink(path):
		return nil, fmt.Errorf("it is a symbolic link to what isn't there: create that, or mount its disk: %w", base.ErrFileOperationFailed)
	case errors.Is(err, fs.ErrNotExist):
		m.missing, at = true, filepath.Dir(path)
		if _, err := vfs.Default.Stat(at); err != nil {
			return nil, fmt.Errorf("%w: mount its disk, or create its parent directory: %w", err, base.ErrFileOperationFailed)
		}
	case err != nil:
		return nil, fmt.Errorf("%w: %w", err, base.ErrFileOperationFailed)
	case !st.IsDir():
		return nil, fmt.Errorf("it is not a directory: %w", base.ErrInvalidParameters)
	}
	total, avail, err := statfs(at)
	if err != nil {
		return nil, fmt.Errorf("how much room it has can't be told: %w: %w", err, base.ErrFileOperationFailed)
	}
	if percent := s.minFree.Load(); total > 0 && tooShort(total, avail, percent, false) {
		return nil, fmt.Errorf("%d MiB of %d MiB are free, less than the %d %% of replica.disk_min_available_space_ratio: free some: %w", avail>>20, total>>20, percent, base.ErrDiskInsufficient)
	}
	if m.missing {
		return m, nil
	}
	names, err := vfs.Default.List(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, base.ErrFileOperationFailed)
	}
	for _, n := range ours {
		if !slices.Contains(names, n) {
			m.absent = append(m.absent, n)
		}
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == "lost+found" })
	if len(names) == 0 {
		return m, nil
	}
	return m, s.leftBehind(path, names)
}

// isLink tells whether a symbolic link is at path.
func isLink(path string) bool {
	st, err := os.Lstat(path)
	return err == nil && st.Mode()&fs.ModeSymlink != 0
}

// ours is what a data directory consists of that nobody used yet.
var ours = []string{"wal", "reps", "tmp", filepath.Base(IdentName("")), filepath.Base(IdentName("")) + ".tmp"}

// leftBehind is nil if what is in a directory is what a crash left of an attempt to add it.
func (s *Set) leftBehind(path string, names []string) error {
	var id Ident
	is := s.identity.ident()
	other := slices.IndexFunc(names, func(n string) bool { return !slices.Contains(ours, n) })
	switch err := ReadJSON(IdentName(path), &id); {
	case errors.Is(err, fs.ErrNotExist) && other >= 0:
		return fmt.Errorf("it is not empty (it has %s): give an empty directory: %w", names[other], base.ErrDirNotEmpty)
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("it is not empty, and whose it is can't be read: %w: %w", err, base.ErrDirNotEmpty)
	case id.Cluster != is.Cluster || id.ID != "" && is.ID != "" && id.ID != is.ID:
		return fmt.Errorf("it belongs to cluster %q with the id %q, this server to %q: %w", id.Cluster, id.ID, is.Cluster, base.ErrDirNotEmpty)
	case !is.sameServer(id) || id.Server != "" && id.Server != is.Server:
		return fmt.Errorf("it belongs to the server %s, this one is %s: %w", id.Node, is.Node, base.ErrDirNotEmpty)
	case slices.Contains(slices.Collect(maps.Values(is.Dirs)), id.Dir):
		return fmt.Errorf("it is a data directory of this server already: %w", base.ErrNodeAlreadyExist)
	case other >= 0:
		return fmt.Errorf("it was a data directory of this server (it has %s): add it to replica.data_dirs and restart the server, or empty it: %w", names[other], base.ErrDirNotEmpty)
	}
	reps, err := vfs.Default.List(filepath.Join(path, "reps"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", err, base.ErrFileOperationFailed)
	}
	if len(reps) > 0 {
		return fmt.Errorf("it holds replicas of this server: add it to replica.data_dirs and restart the server, which compares them with what the metas know: %w", base.ErrDirNotEmpty)
	}
	// The log that is there is of nothing, and the id was never told to anybody.
	return vfs.Default.RemoveAll(IdentName(path))
}

// make makes the directory, if it isn't there.
func (m *making) make() error {
	if !m.missing {
		return nil
	}
	if err := vfs.Default.MkdirAll(m.path, 0o755); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(m.path))
}

// undo removes what was made.
func (m *making) undo() error {
	if m.missing {
		return vfs.Default.RemoveAll(m.path)
	}
	var err error
	for _, n := range m.absent {
		err = errors.Join(err, vfs.Default.RemoveAll(filepath.Join(m.path, n)))
	}
	return err
}

// add notes a directory that is being added.
func (i *identity) add(p Place, id string, change int64) {
	is := i.ident()
	dirs, added := maps.Clone(is.Dirs), maps.Clone(is.Added)
	if dirs == nil {
		dirs = map[string]string{}
	}
	if added == nil {
		added = map[string]string{}
	}
	dirs[p.Tag], added[p.Tag] = id, p.Path
	i.setDirs(dirs, added, change)
}

func (i *identity) setDirs(dirs, added map[string]string, change int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.is.Dirs, i.is.Added, i.is.Change = dirs, added, change
}

// manyPlaces is how many data directories there may be: who reads of more reads nonsense.
const manyPlaces = 1000

// places are those of the configuration, and those that were added and that it doesn't list. The
// directory with the highest Change says which these are.
func (i *identity) places(configured []Place) []Place {
	all := slices.Clone(configured)
	var known Ident
	for n := 0; n < len(all); n++ {
		var id Ident // prepare says what is wrong with it
		if err := ReadJSON(IdentName(all[n].Path), &id); err == nil && i.ours(id) && id.Change > known.Change {
			known = id
		}
		if n < len(all)-1 {
			continue
		}
		for _, tag := range slices.Sorted(maps.Keys(known.Added)) {
			p := Place{tag, known.Added[tag]}
			if len(all) < manyPlaces && !slices.ContainsFunc(all, func(q Place) bool { return q.Tag == p.Tag || same(absolute(q.Path), p.Path) }) {
				all = append(all, p)
			}
		}
	}
	return all
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
