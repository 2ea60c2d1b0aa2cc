package rrdb

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

// open opens Pebble. It returns an error, and never panics, if the files are damaged.
func (s *instance) open(o *pebble.Options, create bool) (err error) {
	fsys, dir := s.fs, s.dir
	remains, err := storeFile(fsys, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !create:
		return fmt.Errorf("%w: %w", ErrNotExist, err)
	case errors.Is(err, fs.ErrNotExist):
		if err := makeDir(fsys, dir); err != nil {
			return err
		}
	case err != nil:
		return err
	case remains != "" && create:
		// Pebble would delete the files.
		return fmt.Errorf("the directory of a new store has %s of another: %w", remains, fs.ErrExist)
	}
	if s.lock, err = pebble.LockDirectory(dir, fsys); err != nil {
		return fmt.Errorf("locking: %w", err)
	}
	defer func() {
		if r := recover(); r != nil {
			err = openPanic(r)
		}
		if err != nil {
			s.member.Abandon()
			_ = s.lock.Close()
		}
	}()
	if err := removeLogs(fsys, dir); err != nil {
		return err
	}
	o.Lock, o.ErrorIfNotExists = s.lock, !create
	s.db, err = pebble.Open(dir, o)
	switch {
	case err == nil && s.member.Err() != nil:
		_ = s.db.Close()
		return s.member.Err()
	case err == nil:
		return nil
	case errors.Is(err, pebble.ErrDBDoesNotExist) && remains == "":
		return fmt.Errorf("%w: %w", ErrNotExist, err)
	}
	if base.Passing(err) {
		return err
	}
	// The system isn't the cause, so the files are.
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// openPanic turns a panic of Pebble into an error: ErrCorrupt, unless the system is the cause.
func openPanic(r any) error {
	if err, ok := r.(error); ok {
		if base.Passing(err) {
			return fmt.Errorf("panic in Pebble: %w", err)
		}
		return fmt.Errorf("%w: panic in Pebble: %w", ErrCorrupt, err)
	}
	return fmt.Errorf("%w: panic in Pebble: %v", ErrCorrupt, r)
}

// storeFile returns the name of a file in dir that belongs to a store, "" if there is none.
func storeFile(fsys vfs.FS, dir string) (string, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if ext := filepath.Ext(n); ext == ".sst" || ext == ".blob" || strings.HasPrefix(n, "MANIFEST-") {
			return n, nil
		}
	}
	return "", nil
}

// removeLogs deletes Pebble's write-ahead logs. Pebble makes an empty one at each open, though the log
// is disabled, and doesn't delete it.
func removeLogs(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if filepath.Ext(n) == ".log" {
			if err := fsys.Remove(fsys.PathJoin(dir, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeDir makes a directory and its parents, and syncs them.
func makeDir(fsys vfs.FS, dir string) error {
	var parents []string
	for d := dir; ; {
		up := fsys.PathDir(d)
		parents = append(parents, up)
		if _, err := fsys.Stat(up); err == nil || up == d {
			break
		}
		d = up
	}
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range parents {
		f, err := fsys.OpenDir(p)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
