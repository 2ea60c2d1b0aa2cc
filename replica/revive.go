package replica

import (
	"errors"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

// reviveRoom is how much must be free, besides two segments, before a log that ran out of
// space is opened again.
const reviveRoom = 16 << 20

// reviveDirs opens the logs again that failed because their disk was full and have room
// now. After any other failure of a log only a restart says what the disk really holds.
func (s *Server) reviveDirs() {
	for _, d := range s.dirs {
		if !errors.Is(d.log().Failed(), syscall.ENOSPC) {
			continue
		}
		u, err := vfs.Default.GetDiskUsage(d.path)
		if err != nil || u.AvailBytes < uint64(2*s.cfg.WAL.SegmentBytes+reviveRoom) || !d.reviving.CompareAndSwap(false, true) {
			continue
		}
		s.spawn(func() {
			defer d.reviving.Store(false)
			s.revive(d)
		})
	}
}

// revive closes everything in a directory and opens it as at the start of the process: what
// wasn't written was not acknowledged, and what follows from that is the same as after a
// crash.
func (s *Server) revive(d *dataDir) {
	var closing []*replica
	var all []base.Gpid
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	for g, r := range s.replicas {
		if r.dir == d && !s.opening[g] {
			closing = append(closing, r)
			all = append(all, g)
		}
	}
	for g, where := range s.broken {
		if where == d && !s.opening[g] {
			all = append(all, g)
		}
	}
	for _, g := range all {
		delete(s.replicas, g)
		delete(s.broken, g)
		s.opening[g] = true
	}
	s.mu.Unlock()
	s.log.Warnf("data directory %s has room again: its log and %d replicas are opened again", d.path, len(all))
	for _, r := range closing {
		if err := r.close(); err != nil {
			s.log.Debugf("close: %v", err)
		}
	}
	if err := d.log().Close(); err != nil {
		s.log.Debugf("close of the failed log: %v", err)
	}
	l, err := d.openLog()
	if err == nil {
		d.wal.Store(l)
	} else {
		s.log.Errorf("the log can't be opened again: %v", err)
	}
	for _, g := range all {
		var r *replica
		if err == nil {
			var e error
			if r, e = s.openReplica(g, d, nil); e != nil {
				s.log.Errorf("replica %v in %s is not usable and stays as it is: %v", g, d.path, e)
			}
		}
		if r == nil {
			s.noteBroken(g, d)
		}
		s.endOpening(g, r)
	}
	s.syncSoon()
}
