package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Descriptors is the number of file descriptors that an open store holds: its manifest, its lock and
// Pebble's empty log. Table files are held by the file cache.
const Descriptors = 3

const (
	// descriptorTimeout is how long an open waits for a free descriptor before Pebble gets the
	// error: Pebble can't do without some of its files. While the store is being opened it is
	// openTimeout: the caller tries the whole opening again.
	descriptorTimeout = 10 * time.Second
	openTimeout       = 100 * time.Millisecond
	descriptorPause   = 20 * time.Millisecond
)

// withDescriptor calls open, and calls it again while the process or the machine has no free
// descriptor. It gives up when the store is closed.
func (g *Guard) withDescriptor(open func() error) error {
	pause := descriptorPause
	for began := time.Now(); ; pause = min(2*pause, time.Second) {
		err := open()
		timeout := openTimeout
		if g.opened.Load() {
			timeout = descriptorTimeout
		}
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) || time.Since(began) > timeout {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-g.released:
			t.Stop()
			return err
		}
	}
}

// Open implements vfs.FS.
func (f guardedFS) Open(name string, o ...vfs.OpenOption) (file vfs.File, err error) {
	err = f.g.withDescriptor(func() error {
		file, err = f.FS.Open(name, o...)
		return err
	})
	return file, err
}

// Lock implements vfs.FS.
func (f guardedFS) Lock(name string) (c io.Closer, err error) {
	err = f.g.withDescriptor(func() error {
		c, err = f.FS.Lock(name)
		return err
	})
	return c, err
}

// OpenDir implements vfs.FS. Pebble opens a store's directory five times and keeps it open, to sync it
// now and then. A directory of ours takes a descriptor only during a sync.
func (f guardedFS) OpenDir(name string) (vfs.File, error) {
	d, err := f.openDir(name)
	if err != nil {
		return nil, err
	}
	if err := d.Close(); err != nil {
		return nil, err
	}
	return directory{fs: f, name: name}, nil
}

func (f guardedFS) openDir(name string) (d vfs.File, err error) {
	err = f.g.withDescriptor(func() error {
		d, err = f.FS.OpenDir(name)
		return err
	})
	return d, err
}

// directory is an open directory without a descriptor.
type directory struct {
	vfs.File // nil: a directory is neither read nor written
	fs       guardedFS
	name     string
}

// Sync implements vfs.File. Pebble ends the process if the directory of an open store can't be synced, since
// nobody knows then which names of files a crash would keep. Here only the store fails, and Pebble, which changes no
// file any more, is told that all is well.
func (d directory) Sync() error {
	g := d.fs.g
	own := g.opened.Load() && g.fail != nil && d.name == g.dir
	if own && g.Err() != nil {
		return nil
	}
	f, err := d.fs.openDir(d.name)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err == nil || !own {
		return err
	}
	g.fail(fmt.Errorf("sync of the directory: %w", err))
	return nil
}

// SyncData implements vfs.File.
func (d directory) SyncData() error { return d.Sync() }

// Stat implements vfs.File.
func (d directory) Stat() (vfs.FileInfo, error) { return d.fs.FS.Stat(d.name) }

// Fd implements vfs.File.
func (d directory) Fd() uintptr { return vfs.InvalidFd }

// Close implements vfs.File.
func (d directory) Close() error { return nil }

// Preallocate implements vfs.File.
func (d directory) Preallocate(_, _ int64) error { return os.ErrInvalid }

// Prefetch implements vfs.File.
func (d directory) Prefetch(_, _ int64) error { return nil }
