package replica

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"pegasus/base"
	"pegasus/base/config"
)

// diskState is what a data directory can be used for, with upstream's numbers.
type diskState int32

const (
	diskNormal diskState = iota
	// diskShort: there is too little room. Writes of clients are refused and no replica is
	// made there; reads go on.
	diskShort
	// diskBroken: the log can't be written, so the replicas there are out of service.
	diskBroken
)

// String returns upstream's name.
func (s diskState) String() string {
	switch s {
	case diskNormal:
		return "NORMAL"
	case diskShort:
		return "SPACE_INSUFFICIENT"
	}
	return "IO_ERROR"
}

// room is how much room the file system of a data directory has; housekeep looks once a second.
type room struct{ short atomic.Bool }

// state returns what d can be used for now.
func (d *dataDir) state() diskState {
	switch err := d.log().Failed(); {
	case errors.Is(err, syscall.ENOSPC):
		return diskShort
	case err != nil:
		return diskBroken
	case d.room.short.Load():
		return diskShort
	}
	return diskNormal
}

// usable returns an error that wraps the code which upstream has for the state of d.
func (d *dataDir) usable() error {
	switch d.state() {
	case diskShort:
		return fmt.Errorf("data directory %s has too little free space: free some, or lower replica.disk_min_available_space_ratio: %w", d.path, base.ErrDiskInsufficient)
	case diskBroken:
		return fmt.Errorf("data directory %s can't be written: %w", d.path, base.ErrDiskIoError)
	}
	return nil
}

// watchRoom looks how much room the disks have. Both ways it acts at once; on the way back there
// must be a hundredth more than the limit, so that it doesn't flap.
func (s *Server) watchRoom(c *config.Replica) {
	for _, d := range s.dirs {
		total, avail := d.capacity()
		if total <= 0 {
			continue
		}
		was := d.room.short.Load()
		short := tooShort(total, avail, int64(c.DiskMinSpace), was)
		if short == was {
			continue
		}
		d.room.short.Store(short)
		if short {
			s.log.Warnf("data directory %s: %d MiB of %d MiB are free, less than %d %%: writes are refused", d.path, avail>>20, total>>20, c.DiskMinSpace)
		} else {
			s.log.Warnf("data directory %s: %d MiB of %d MiB are free: writes are taken again", d.path, avail>>20, total>>20)
		}
	}
}

func tooShort(total, avail, percent int64, was bool) bool {
	limit := float64(percent)
	if was && percent > 0 {
		limit++
	}
	return float64(avail)*100 < float64(total)*limit
}
