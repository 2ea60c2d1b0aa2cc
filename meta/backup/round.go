package backup

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/meta/state"
)

// round begins what is due, and has what was begun driven.
func (s *Service) round(ctx context.Context) {
	if s.o.Disabled || s.o.Frozen() != "" {
		return
	}
	var policies []state.BackupPolicy
	s.leader.Read(func(st *state.State) { policies = st.BackupPolicies() })
	waits := map[string]string{}
	for i := range policies {
		if why := s.beginPolicy(&policies[i]); why != "" {
			waits[policies[i].Name] = why
		}
		s.trim(&policies[i])
	}
	s.mu.Lock()
	s.waits = waits
	s.mu.Unlock()
	var list []state.Backup
	s.leader.Read(func(st *state.State) { list = st.Backups() })
	for i := range list {
		switch b := &list[i]; {
		case b.Running():
			s.start(ctx, b.ID, true)
		case b.Cleaning || b.Deleting:
			s.start(ctx, b.ID, false)
		}
	}
}

// start begins a job, unless there is one for that backup already. One that drives a backup that doesn't run any more is
// ended, and the next round begins the other.
func (s *Service) start(ctx context.Context, id int64, driven bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[id]; j != nil {
		if j.driven != driven {
			j.cancel()
		}
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	j := &job{id: id, driven: driven, cancel: cancel, done: make(chan struct{}), tables: map[int32]*progress{}}
	s.jobs[id] = j
	go func() {
		defer func() {
			cancel()
			s.mu.Lock()
			delete(s.jobs, id)
			s.mu.Unlock()
			close(j.done)
			s.wake()
		}()
		if driven {
			s.drive(ctx, j)
		} else {
			s.clean(ctx, j)
		}
	}()
}

// beginPolicy begins a backup of a policy if one is due. why: it is, and can't begin.
func (s *Service) beginPolicy(p *state.BackupPolicy) (why string) {
	now := s.o.Clock()
	if p.Disabled || len(p.Tables) == 0 || !due(p, now) {
		return ""
	}
	c := &state.StartBackup{Policy: p.Name, Provider: p.Provider, Root: s.o.Root, Tables: p.Tables, Now: now.UnixMilli()}
	var r state.Result
	s.leader.Read(func(st *state.State) {
		c.ID = max(c.Now, st.LastBackup()+1)
		r = st.CheckBackup(c)
	})
	if r.Err == base.ErrOK {
		r = s.leader.Apply(c)
	}
	switch r.Err {
	case base.ErrOK:
		s.leader.Log().WithField("backup", c.ID).Infof("policy %s begins a backup", p.Name)
		return ""
	case base.ErrInvalidState:
		if r.TableID == 0 {
			return "an earlier one goes on"
		}
		return fmt.Sprintf("table %d is in another backup", r.TableID)
	case base.ErrAppNotExist:
		return "none of its tables is there"
	default:
		return string(r.Err)
	}
}

// trim has the oldest backups of a policy deleted that are more than it keeps. One that a restore reads
// stays, for now.
func (s *Service) trim(p *state.BackupPolicy) {
	var ids []int64
	s.leader.Read(func(st *state.State) {
		list, have := st.Backups(), 0
		for i := len(list) - 1; i >= 0; i-- {
			b := &list[i]
			if b.Policy != p.Name || b.Status != state.BackupCompleted || b.Deleting {
				continue
			}
			if have++; have <= max(1, int(p.Keep)) {
				continue
			}
			if _, read := st.BackupReader(b); !read {
				ids = append(ids, b.ID)
			}
		}
	})
	for _, id := range ids {
		if s.leader.Apply(&state.DeleteBackup{ID: id}).Err == base.ErrOK {
			s.leader.Log().WithField("backup", id).Infof("policy %s keeps %d backups: this one is deleted", p.Name, p.Keep)
		}
	}
}
