package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/replica/wal"
)

// watchDisks looks how much room the disks have, and whether those are mounted that the server uses:
// who has files open on one doesn't see by writing that it isn't. Each is looked at by itself, because
// a disk that hangs hangs who looks; nobody else asks it.
func (s *Set) watchDisks() {
	for _, d := range s.All() {
		if !d.looking.CompareAndSwap(false, true) {
			continue
		}
		s.host.Go(func() {
			defer d.looking.Store(false)
			if !d.away() {
				d.measure()
				s.checkRoom(d)
			}
			if l := d.Log(); l.Failed() == nil && !d.reviving.Load() {
				s.watchDisk(d, l)
			}
		})
	}
}

// watchDisk takes the log of d out of service if its disk isn't there.
func (s *Set) watchDisk(d *Dir, l *wal.Log) {
	err := s.gone(d)
	if err == nil || base.Shortage(err) || d.Log() != l {
		return
	}
	l.Fail(err)
	s.host.SyncSoon()
}

// gone is why the disk of d isn't the one on which its log is open. The identity file is only read
// if it is another one than last time.
func (s *Set) gone(d *Dir) error {
	st, err := vfs.Default.Stat(IdentName(d.Path))
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return s.identity.missing(d.place())
	case err != nil:
		return fmt.Errorf("data directory %s: whether its disk is there can't be told: %w", d.Path, err)
	}
	var inode uint64
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		inode = sys.Ino
	}
	other := *d.device.Load() != st.DeviceID()
	if !other && inode != 0 && inode == d.inode.Load() {
		return nil
	}
	if err := s.identity.missing(d.place()); err != nil {
		return err
	}
	if other {
		return fmt.Errorf("data directory %s: %w: it was mounted anew, so its files are opened again", d.Path, errAway)
	}
	d.inode.Store(inode)
	return nil
}
