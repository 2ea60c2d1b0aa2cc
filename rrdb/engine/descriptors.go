package engine

import (
	"errors"
	"io"
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

func (f guardedFS) openDir(name string) (d vfs.File, err error) {
	err = f.g.withDescriptor(func() error {
		d, err = f.FS.OpenDir(name)
		return err
	})
	return d, err
}
