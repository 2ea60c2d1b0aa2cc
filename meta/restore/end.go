package restore

import (
	"pegasus/base"
	"pegasus/meta/state"
)

// end ends a restore.
func (s *Service) end(e *state.EndRestore) {
	now := s.o.Now()
	e.Now, e.Expire = now.UnixMilli(), now.Unix()+keepFailed
	res := s.Apply(e)
	if res.Err != base.ErrOK {
		if res.Err != base.ErrObjectNotFound { // it ended a moment ago
			s.Log().Warnf("end the restore of table %d: %v", e.ID, res.Err)
		}
		return
	}
	s.mu.Lock()
	for g := range s.parts {
		if g.AppID == e.ID {
			delete(s.parts, g)
		}
	}
	delete(s.fresh, e.ID)
	s.mu.Unlock()
	if e.Failed {
		s.Log().Errorf("table %d: the restore failed, and there is no such table: %s", e.ID, e.Reason)
		return
	}
	s.Log().Infof("table %d is restored", e.ID)
}
