package rrdb

import (
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guardedFS is the engine's file system until the store fails; from then on it changes
// nothing. The engine, which expects the process to end, would try its flush again and
// write a second record of the same rows into the manifest: a store that opens, and in
// which compactions find rows out of order. What was written until the failure, on the
// other hand, opens again, with or without the record that could not be synced, as long as
// no file it names is gone.
type guardedFS struct {
	vfs.FS
	s *Store
}

// retryPause is how long an error waits before the engine is told of it. A flush or
// compaction that failed is begun again at once, for ever, and would take a core for it.
const retryPause = 100 * time.Millisecond

// refuse returns the store's failure. For an engine that is open it waits until that is
// being closed.
func (g guardedFS) refuse() error {
	err := g.s.failure.get()
	if err != nil && g.s.failure.opened.Load() {
		<-g.s.released
	}
	return err
}

// slow passes an error on, after a while.
func (s *Store) slow(err error) error {
	if err == nil || !s.failure.opened.Load() || s.failure.get() != nil {
		return err
	}
	pause := time.NewTimer(retryPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-s.released:
	}
	return err
}

// Create implements vfs.FS.
func (g guardedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.refuse(); err != nil {
		return nil, err
	}
	f, err := g.FS.Create(name, c)
	f, err = g.guard(f, g.s.slow(err))
	if err == nil && writtenOnce(name) {
		f = newBufferedFile(f, func(n int) { g.s.keepTempo(n, isFlush(c)) })
	}
	return f, err
}

// OpenReadWrite implements vfs.FS.
func (g guardedFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if err := g.s.failure.get(); err != nil {
		return nil, err
	}
	return g.guard(g.FS.OpenReadWrite(name, c, o...))
}

// ReuseForWrite implements vfs.FS.
func (g guardedFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.s.failure.get(); err != nil {
		return nil, err
	}
	return g.guard(g.FS.ReuseForWrite(from, to, c))
}

// Link implements vfs.FS.
func (g guardedFS) Link(from, to string) error {
	if err := g.s.failure.get(); err != nil {
		return err
	}
	return g.FS.Link(from, to)
}

// Rename implements vfs.FS.
func (g guardedFS) Rename(from, to string) error {
	if err := g.s.failure.get(); err != nil {
		return err
	}
	return g.FS.Rename(from, to)
}

// Remove implements vfs.FS. After the failure it says that it did.
func (g guardedFS) Remove(name string) error {
	if g.s.failure.get() != nil {
		return nil
	}
	return g.FS.Remove(name)
}

// RemoveAll implements vfs.FS. After the failure it says that it did.
func (g guardedFS) RemoveAll(name string) error {
	if g.s.failure.get() != nil {
		return nil
	}
	return g.FS.RemoveAll(name)
}

// MkdirAll implements vfs.FS.
func (g guardedFS) MkdirAll(dir string, perm os.FileMode) error {
	if err := g.s.failure.get(); err != nil {
		return err
	}
	return g.FS.MkdirAll(dir, perm)
}

// Unwrap implements vfs.FS.
func (g guardedFS) Unwrap() vfs.FS { return g.FS }

func (g guardedFS) guard(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return guardedFile{f, g.s}, nil
}

type guardedFile struct {
	vfs.File
	s *Store
}

// Write implements vfs.File.
func (f guardedFile) Write(p []byte) (int, error) {
	if err := f.s.failure.get(); err != nil {
		return 0, err
	}
	n, err := f.File.Write(p)
	return n, f.s.slow(err)
}

// WriteAt implements vfs.File.
func (f guardedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.s.failure.get(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

// Sync implements vfs.File.
func (f guardedFile) Sync() error {
	if err := f.s.failure.get(); err != nil {
		return err
	}
	return f.s.slow(f.File.Sync())
}

// SyncData implements vfs.File.
func (f guardedFile) SyncData() error {
	if err := f.s.failure.get(); err != nil {
		return err
	}
	return f.s.slow(f.File.SyncData())
}
