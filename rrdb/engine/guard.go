package engine

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Guard is the file system of one store's Pebble, and the state that it depends on: being opened,
// open, failed, about to be closed.
type Guard struct {
	fs       vfs.FS
	pace     func(n int, flush bool) // called before n bytes of a table file are written
	dir      string                  // the store's
	fail     func(error)             // called when dir can't be synced, nil if nobody is told
	err      atomic.Pointer[error]
	failed   chan struct{} // closed when the store fails
	opened   atomic.Bool
	released chan struct{} // closed when Pebble is about to be closed
}

func newGuard(fs vfs.FS, pace func(n int, flush bool)) *Guard {
	return &Guard{fs: fs, pace: pace, failed: make(chan struct{}), released: make(chan struct{})}
}

// FS returns the file system that Pebble works on.
func (g *Guard) FS() vfs.FS { return guardedFS{g.fs, g} }

// Fail puts the store out of service: from now on Pebble changes no file. It reports false if
// the store had failed before.
func (g *Guard) Fail(err error) bool {
	if !g.err.CompareAndSwap(nil, &err) {
		return false
	}
	close(g.failed)
	return true
}

// Err returns the error that put the store out of service, or nil.
func (g *Guard) Err() error {
	if p := g.err.Load(); p != nil {
		return *p
	}
	return nil
}

// Failed returns a channel that is closed when the store fails.
func (g *Guard) Failed() <-chan struct{} { return g.failed }

// Opened says that Pebble is open. From now on, once the store has failed, Pebble's calls block until
// Release.
func (g *Guard) Opened() { g.opened.Store(true) }

// Release unblocks the calls that wait in the file system. Pebble is about to be closed.
func (g *Guard) Release() { close(g.released) }

// guardedFS is Pebble's file system. Once the store has failed it changes nothing. Pebble expects the
// process to end then, and otherwise tries its flush again: that writes a second record of the same
// rows into the manifest, and the store opens but its compactions find rows out of order. What was
// written before the failure opens again, with or without the record that could not be synced, as
// long as no file that it names is gone.
type guardedFS struct {
	vfs.FS
	g *Guard
}

// retryPause is the delay of an error. Pebble starts a failed flush or compaction again at once, for
// ever; without the delay that takes a core.
const retryPause = 100 * time.Millisecond

// refuse returns the store's failure. If Pebble is open, it blocks until Pebble is about to be closed.
func (g *Guard) refuse() error {
	err := g.Err()
	if err != nil && g.opened.Load() {
		<-g.released
	}
	return err
}

// delay returns err after retryPause.
func (g *Guard) delay(err error) error {
	if err == nil || !g.opened.Load() || g.Err() != nil {
		return err
	}
	pause := time.NewTimer(retryPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-g.released:
	}
	return err
}

// Create implements vfs.FS.
func (f guardedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	// Pebble makes a manifest with a lock held that calls like Metrics want, too: nothing may block there.
	if err := f.g.Err(); err != nil && !writtenOnce(name) {
		return nil, err
	}
	if err := f.g.refuse(); err != nil {
		return nil, err
	}
	if err := f.syncNames(name); err != nil {
		return nil, f.g.delay(err)
	}
	var file vfs.File
	err := f.g.withDescriptor(func() (err error) {
		file, err = f.FS.Create(name, c)
		return err
	})
	file, err = f.guard(file, f.g.delay(err))
	if err == nil && writtenOnce(name) {
		file = newBufferedFile(file, func(n int) { f.g.pace(n, isFlush(c)) })
	}
	return file, err
}

// isFlush tells what a table file is written for.
func isFlush(c vfs.DiskWriteCategory) bool { return strings.Contains(string(c), "flush") }

// syncNames makes the names of files durable before a marker is created that points to one of them.
// Pebble syncs the directory once, after both. On a file system that reorders, a crash in between
// could keep the marker and lose the file that it names.
func (f guardedFS) syncNames(name string) error {
	if !strings.HasPrefix(f.PathBase(name), "marker.") {
		return nil
	}
	d, err := f.openDir(f.PathDir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// OpenReadWrite implements vfs.FS.
func (f guardedFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if err := f.g.Err(); err != nil {
		return nil, err
	}
	var file vfs.File
	err := f.g.withDescriptor(func() (err error) {
		file, err = f.FS.OpenReadWrite(name, c, o...)
		return err
	})
	return f.guard(file, err)
}

// ReuseForWrite implements vfs.FS.
func (f guardedFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.g.Err(); err != nil {
		return nil, err
	}
	var file vfs.File
	err := f.g.withDescriptor(func() (err error) {
		file, err = f.FS.ReuseForWrite(from, to, c)
		return err
	})
	return f.guard(file, err)
}

// Link implements vfs.FS.
func (f guardedFS) Link(from, to string) error {
	if err := f.g.Err(); err != nil {
		return err
	}
	return f.FS.Link(from, to)
}

// Rename implements vfs.FS.
func (f guardedFS) Rename(from, to string) error {
	if err := f.g.Err(); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

// Remove implements vfs.FS. After the failure it does nothing and reports success.
func (f guardedFS) Remove(name string) error {
	if f.g.Err() != nil {
		return nil
	}
	return f.FS.Remove(name)
}

// RemoveAll implements vfs.FS. After the failure it does nothing and reports success.
func (f guardedFS) RemoveAll(name string) error {
	if f.g.Err() != nil {
		return nil
	}
	return f.FS.RemoveAll(name)
}

// MkdirAll implements vfs.FS.
func (f guardedFS) MkdirAll(dir string, perm os.FileMode) error {
	if err := f.g.Err(); err != nil {
		return err
	}
	return f.FS.MkdirAll(dir, perm)
}

// Unwrap implements vfs.FS.
func (f guardedFS) Unwrap() vfs.FS { return f.FS }

func (f guardedFS) guard(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return guardedFile{file, f.g}, nil
}

type guardedFile struct {
	vfs.File
	g *Guard
}

// Write implements vfs.File.
func (f guardedFile) Write(p []byte) (int, error) {
	if err := f.g.Err(); err != nil {
		return 0, err
	}
	n, err := f.File.Write(p)
	return n, f.g.delay(err)
}

// WriteAt implements vfs.File.
func (f guardedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.g.Err(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

// Sync implements vfs.File.
func (f guardedFile) Sync() error {
	if err := f.g.Err(); err != nil {
		return err
	}
	return f.g.delay(f.File.Sync())
}

// SyncData implements vfs.File.
func (f guardedFile) SyncData() error {
	if err := f.g.Err(); err != nil {
		return err
	}
	return f.g.delay(f.File.SyncData())
}
