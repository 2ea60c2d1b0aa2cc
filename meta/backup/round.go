package backup

import (
	"context"
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/meta/state"
)

// round begins what is due, and has what was begun driven.
func (s *Service) round(ctx context.Context) {
	if s.o.Disabled || s.o.Frozen() != "" {
		return
	}
	now := s.o.Clock()
	var policies []state.BackupPolicy
	var list []state.Backup
	s.leader.Read(func(st *state.State) { policies, list = st.BackupPolicies(), st.Backups() })
	complete := map[string][]int64{} // by policy, the oldest first
	for i := range list {
		if b := &list[i]; b.Policy != "" && b.Status == state.BackupCompleted && !b.Deleting {
			complete[b.Policy] = append(complete[b.Policy], b.ID)
		}
	}
	waits := map[string]string{}
	for i := range policies {
		p := &policies[i]
		if why := s.beginPolicy(p, now); why != "" {
			waits[p.Name] = why
		}
		have := complete[p.Name]
		for _, id := range have[:max(0, len(have)-max(1, int(p.Keep)))] {
			s.trim(p, id)
		}
	}
	s.mu.Lock()
	s.waits = waits
	s.mu.Unlock()
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

// occupy keeps a backup from being driven until its release is called; cancel ends what whoever occupies it does.
func (s *Service) occupy(id int64, cancel context.CancelFunc) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs[id] != nil {
		return func() {}
	}
	j := &job{id: id, driven: true, cancel: cancel, done: make(chan struct{}), tables: map[int32]*progress{}}
	s.jobs[id] = j
	return func() {
		s.mu.Lock()
		delete(s.jobs, id)
		s.mu.Unlock()
		close(j.done)
		s.wake()
	}
}

// beginPolicy begins a backup of a policy if one is due. why: it is, and can't begin.
func (s *Service) beginPolicy(p *state.BackupPolicy, now time.Time) (why string) {
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

// trim has a backup of a policy deleted that is one more than it keeps. One that a restore reads stays, for now.
func (s *Service) trim(p *state.BackupPolicy, id int64) {
	read := false
	s.leader.Read(func(st *state.State) {
		if b, ok := st.Backup(id); ok {
			_, read = st.BackupReader(&b)
		}
	})
	if !read && s.leader.Apply(&state.DeleteBackup{ID: id}).Err == base.ErrOK {
		s.leader.Log().WithField("backup", id).Infof("policy %s keeps %d backups: this one is deleted", p.Name, p.Keep)
	}
}
