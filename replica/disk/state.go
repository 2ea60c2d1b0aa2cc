package disk

import (
	"fmt"

	"pegasus/base"
)

// State is what a data directory can be used for, with upstream's numbers.
type State int32

const (
	// Normal: it takes writes and new replicas.
	Normal State = iota
	// Short: there is too little room. Writes of clients are refused and no replica is
	// made there; reads go on.
	Short
	// Failed: the log can't be written, or the disk isn't there, so the replicas there are out of service.
	Failed
)

// String returns upstream's name.
func (s State) String() string {
	switch s {
	case Normal:
		return "NORMAL"
	case Short:
		return "SPACE_INSUFFICIENT"
	}
	return "IO_ERROR"
}

// State returns what d can be used for now.
func (d *Dir) State() State {
	switch err := d.Log().Failed(); {
	case outOfRoom(err):
		return Short
	case err != nil:
		return Failed
	case d.short.Load():
		return Short
	}
	return Normal
}

// Short tells whether too little space was free when that was looked at last, at no cost.
func (d *Dir) Short() bool { return d.short.Load() }

// Usable returns an error that wraps the code which upstream has for the state of d.
func (d *Dir) Usable() error {
	switch d.State() {
	case Short:
		return fmt.Errorf("data directory %s has too little free space: free some, or lower replica.disk_min_available_space_ratio: %w", d.Path, base.ErrDiskInsufficient)
	case Failed:
		return fmt.Errorf("data directory %s is out of service: %w", d.Path, d.Log().Failed())
	}
	return nil
}

// Refuses tells whether clients' writes to replicas in d are refused.
func (s *Set) Refuses(d *Dir) bool {
	return d.Log().Failed() != nil || d.Short() && s.Rejects()
}

// Rejects tells whether writes to a disk with too little space are refused.
func (s *Set) Rejects() bool { return s.reject.Load() }

// checkRoom acts on how much room the disk of d has. Both ways that is at once; on the way back there
// must be a hundredth more than the limit, so that it doesn't flap.
func (s *Set) checkRoom(d *Dir) {
	percent := s.minFree.Load()
	total, avail := d.Capacity()
	if total <= 0 {
		return
	}
	was := d.short.Load()
	short := tooShort(total, avail, percent, was)
	if short == was || !d.short.CompareAndSwap(was, short) {
		return
	}
	s.host.SyncSoon() // the meta tells people why their writes are refused
	if short {
		s.log.Warnf("data directory %s: %d MiB of %d MiB are free, less than %d %%: writes are refused", d.Path, avail>>20, total>>20, percent)
	} else {
		s.log.Warnf("data directory %s: %d MiB of %d MiB are free: writes are taken again", d.Path, avail>>20, total>>20)
	}
}

func tooShort(total, avail, percent int64, was bool) bool {
	limit := float64(percent)
	if was && percent > 0 {
		limit++
	}
	return float64(avail)*100 < float64(total)*limit
}
