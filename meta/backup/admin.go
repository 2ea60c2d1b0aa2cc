package backup

import (
	"fmt"

	"pegasus/base"
	"pegasus/gen/backupadmin"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// changed logs what somebody asked for and got.
func (s *Service) changed(c *service.Call, format string, args ...any) {
	s.leader.Log().Infof("%s, asked by %s", fmt.Sprintf(format, args...), c.From)
}

// refused is refusal for our own requests: what upstream answers where backups are switched off is taken for the answer of a
// meta that doesn't lead.
func (s *Service) refused() (code base.ErrorCode, hint string) {
	if code, hint = s.refusal(); code == base.ErrServiceNotActive {
		code = base.ErrOperationDisabled
	}
	return code, hint
}

// list tells of all backups, the newest first.
func (s *Service) list(_ *service.Call, q *backupadmin.ListBackupsRequest, r *backupadmin.ListBackupsResponse) {
	if s.o.Disabled {
		r.Err, r.HintMessage = s.refused()
		return
	}
	r.Err = base.ErrOK
	var list []state.Backup
	s.leader.Read(func(st *state.State) { list = st.Backups() })
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(list) - 1; i >= 0; i-- {
		b := &list[i]
		if q.BackupId.Set && q.BackupId.V != b.ID || q.Policy.Set && q.Policy.V != b.Policy || q.AppName.Set && !has(b, q.AppName.V) {
			continue
		}
		r.Backups = append(r.Backups, s.describe(b))
	}
	if len(r.Backups) == 0 && q.BackupId.Set {
		r.Err, r.HintMessage = base.ErrObjectNotFound, noBackup(q.BackupId.V)
	}
}

func has(b *state.Backup, table string) bool {
	for i := range b.Tables {
		if b.Tables[i].Name == table {
			return true
		}
	}
	return false
}

func noBackup(id int64) string { return fmt.Sprintf("there is no backup %d", id) }

// describe tells of a backup. The caller holds mu.
func (s *Service) describe(b *state.Backup) backupadmin.BackupState {
	v := backupadmin.BackupState{BackupId: b.ID, Policy: b.Policy, Provider: b.Provider, BackupPath: b.Path, BackupRoot: b.Root, Directory: location(b).Dir(),
		StartMs: b.Began, EndMs: b.Ended, Status: backupadmin.BackupStatus(b.Status), Reason: b.Why, Cleaning: b.Cleaning}
	if b.Deleting {
		v.Status = backupadmin.BACKUP_DELETING
	}
	j := s.jobs[b.ID]
	if j != nil {
		v.Waiting = j.waiting
	}
	for i := range b.Tables {
		t := &b.Tables[i]
		o := backupadmin.BackupTable{AppId: t.ID, AppName: t.Name, Partitions: t.Partitions, Bytes: t.Bytes, Skipped: t.Skipped}
		switch {
		case t.Done && t.Skipped == "":
			o.PartitionsDone, o.Progress = t.Partitions, 1000
		case !t.Done && j != nil && j.tables[t.ID] != nil:
			p := j.tables[t.ID]
			o.PartitionsDone, o.Bytes = int32(p.done), p.bytes
			o.Progress = int32(p.mille / int64(max(t.Partitions, 1)))
		}
		v.Tables = append(v.Tables, o)
	}
	return v
}

// cancel ends a backup that runs, and has what there is of it removed.
func (s *Service) cancel(c *service.Call, q *backupadmin.CancelBackupRequest, r *backupadmin.CancelBackupResponse) {
	if r.Err, r.HintMessage = s.refused(); r.Err != base.ErrOK {
		return
	}
	b, ok := s.backup(q.BackupId)
	switch {
	case !ok:
		r.Err, r.HintMessage = base.ErrObjectNotFound, noBackup(q.BackupId)
		return
	case b.Running():
		r.Err = s.leader.Apply(&state.EndBackup{ID: b.ID, Status: state.BackupCancelled, Now: s.nowMS(), Why: "cancelled by " + c.From}).Err
	default:
		r.Err = base.ErrInvalidState
	}
	switch r.Err {
	case base.ErrOK:
		s.changed(c, "backup %d is cancelled; its files are removed", b.ID)
		s.mu.Lock()
		if j := s.jobs[b.ID]; j != nil && j.driven {
			j.cancel()
		}
		s.mu.Unlock()
		s.wake()
	case base.ErrInvalidState:
		r.HintMessage = fmt.Sprintf("backup %d has ended: `pegasus backup delete %d` removes it", b.ID, b.ID)
	}
}

// delete has a backup that has ended removed.
func (s *Service) delete(c *service.Call, q *backupadmin.DeleteBackupRequest, r *backupadmin.DeleteBackupResponse) {
	if r.Err, r.HintMessage = s.refused(); r.Err != base.ErrOK {
		return
	}
	res := s.leader.Apply(&state.DeleteBackup{ID: q.BackupId})
	switch r.Err = res.Err; r.Err {
	case base.ErrOK:
		s.changed(c, "backup %d is deleted", q.BackupId)
		s.wake()
	case base.ErrObjectNotFound:
		r.HintMessage = noBackup(q.BackupId)
	case base.ErrBusy:
		r.HintMessage = fmt.Sprintf("backup %d runs: cancel it with `pegasus backup cancel %d`", q.BackupId, q.BackupId)
	case base.ErrInvalidState:
		r.HintMessage = fmt.Sprintf("table %d is being restored from backup %d", res.TableID, q.BackupId)
	}
}

// removePolicy forgets a policy.
func (s *Service) removePolicy(c *service.Call, q *backupadmin.RemoveBackupPolicyRequest, r *backupadmin.RemoveBackupPolicyResponse) {
	if r.Err, r.HintMessage = s.refused(); r.Err != base.ErrOK {
		return
	}
	s.modifying.Lock()
	defer s.modifying.Unlock()
	switch r.Err = s.leader.Apply(&state.RemoveBackupPolicy{Name: q.PolicyName}).Err; r.Err {
	case base.ErrOK:
		s.changed(c, "backup policy %s is removed; its backups stay", q.PolicyName)
	case base.ErrObjectNotFound:
		r.HintMessage = fmt.Sprintf("there is no backup policy %.200q", q.PolicyName)
	case base.ErrBusy:
		r.HintMessage = fmt.Sprintf("a backup of policy %s runs: wait for its end, or cancel it", q.PolicyName)
	}
}
