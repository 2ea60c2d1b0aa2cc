package engine

import (
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

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
