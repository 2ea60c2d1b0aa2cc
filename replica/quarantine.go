package replica

import (
	"errors"

	"pegasus/base"
	"pegasus/replica/disk"
	"pegasus/replica/wal"
	"pegasus/rrdb"
)

// A replica that can't be used, because its store failed or can't be opened, is first
// reported to the meta, which does without it unless it is the last copy. Once the meta no
// longer lists it, its directory is moved aside, and this node is as good a place for a
// learner as any other. The last copy is thus never moved. What isn't damaged is opened
// again instead, see reopen.go: a disk that was full, or failed for a while, costs no copying.

// quarantineUnlisted moves the broken replicas aside that the meta doesn't list, unless they are
// to be opened again. listed is the meta's answer to a question asked after what is in broken
// broke.
func (s *Server) quarantineUnlisted(all map[base.Gpid]disk.Broken, listed map[base.Gpid]bool) {
	for g, b := range all {
		// If it is the log that failed, nothing is wrong with the replica.
		if !listed[g] && b.Dir.Log().Failed() == nil && !s.disks.WillRetry(g, b.Err) {
			s.quarantine(g, b.Dir)
		}
	}
}

// quarantine moves a replica's directory aside, unless it can be opened after all.
func (s *Server) quarantine(g base.Gpid, d *disk.Dir) {
	r, ok := s.beginReopening(g)
	if !ok {
		return
	}
	s.spawn(func() {
		var again *replica
		defer func() { s.endOpening(g, again) }()
		damaged := false
		if r != nil {
			damaged = errors.Is(r.view.Load().failed, rrdb.ErrCorrupt)
			if err := r.close(); err != nil {
				s.log.Debugf("close of a failed replica: %v", err)
			}
		}
		if !damaged {
			var err error
			if again, err = s.openReplica(g, d, nil); err == nil {
				s.log.Infof("replica %v can be used again", g)
				return
			}
			s.log.Warnf("replica %v can't be opened again: %v", g, err)
			if s.disks.WillRetry(g, err) {
				s.noteBroken(g, d, err)
				return
			}
		}
		to, err := d.Quarantine(g)
		if err == nil {
			// The log's entries belong to what was moved away.
			err = wal.Wait(func(done func(error)) { d.Log().Drop(g, done) })
		}
		if err != nil {
			s.log.Errorf("replica %v can't be used nor moved aside: %v", g, err)
			s.noteBroken(g, d, err)
			return
		}
		if to == "" {
			return // it was moved before, and said so
		}
		s.log.Warnf("replica %v could not be used, and the group does without it: moved to %s", g, to)
	})
}
