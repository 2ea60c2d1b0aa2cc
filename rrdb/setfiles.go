package rrdb

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// SetPrefix begins the names of the directories that have sets for a store, beside the store's.
const SetPrefix = "load."

// SetDir is where the set of a load is.
func (s *Store) SetDir(load int64) string {
	return s.fs.PathJoin(s.fs.PathDir(s.dir), SetPrefix+strconv.FormatInt(load, 10))
}

// Sets lists the loads of which there are sets, complete or not.
func (s *Store) Sets() (loads []int64, err error) {
	names, err := s.fs.List(s.fs.PathDir(s.dir))
	if err != nil {
		return nil, fmt.Errorf("listing the sets of rows beside %s: %w", s.dir, err)
	}
	for _, n := range names {
		if rest, is := strings.CutPrefix(n, SetPrefix); is {
			if load, err := strconv.ParseInt(rest, 10, 64); err == nil && load > 0 {
				loads = append(loads, load)
			}
		}
	}
	return loads, nil
}

// behindFile marks the directory of a set that is taken behind, from its beginning on.
const behindFile = "behind"

// beginBehind marks a new directory as that of a set that is taken behind. keepsMu is held.
func (s *Store) beginBehind(dir string) error {
	f, err := s.fs.Create(s.fs.PathJoin(dir, behindFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	s.keeps.Store(true)
	return errors.Join(f.Sync(), f.Close(), syncDir(s.fs, dir))
}

// keepsExpired tells whether expired rows have to stay: there is a set that is taken behind, and wasn't yet. It looks at the disk unless it knows that there is none.
func (s *Store) keepsExpired() bool {
	s.keepsMu.Lock()
	defer s.keepsMu.Unlock()
	if !s.keeps.Load() {
		return false
	}
	loads, err := s.Sets()
	keeps := err != nil && !errors.Is(err, fs.ErrNotExist) // not known
	for _, load := range loads {
		_, err := s.fs.Stat(s.fs.PathJoin(s.SetDir(load), behindFile))
		keeps = keeps || err == nil && load > s.Taken().Load
	}
	s.keeps.Store(keeps)
	return keeps
}

// writeDurable writes a file that is there whole or not at all.
func writeDurable(fsys vfs.FS, dir, name string, content []byte) error {
	temp := fsys.PathJoin(dir, name+".tmp")
	f, err := fsys.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(temp, fsys.PathJoin(dir, name)); err != nil {
		return err
	}
	return syncDir(fsys, dir)
}

func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// noSet is ErrNoSet for a file that isn't there.
func noSet(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", err, ErrNoSet)
	}
	return err
}
