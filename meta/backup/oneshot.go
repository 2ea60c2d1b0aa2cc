package backup

import (
	"context"
	"errors"
	"fmt"

	"pegasus/base"
	"pegasus/blob"
	wire "pegasus/gen/backup"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// startContext is for what is done while a request waits.
func startContext(*service.Call) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), startTimeout)
}

// startBackup begins a backup of one table. It answers when the table's description is written, so that a place that can't
// be written is told at once.
func (s *Service) startBackup(c *service.Call, q *wire.StartBackupAppRequest, r *wire.StartBackupAppResponse) {
	refuse := func(code base.ErrorCode, format string, args ...any) {
		r.Err = code
		r.HintMessage = "Backup failed: " + fmt.Sprintf(format, args...)
		c.Complain(fmt.Errorf("back up table %d to %.100q: %s: %w", q.AppId, q.BackupProviderType, r.HintMessage, code))
	}
	if code, hint := s.refusal(); code != base.ErrOK {
		r.Err, r.HintMessage = code, hint
		return
	}
	var table *state.Table
	s.leader.Read(func(st *state.State) { table = st.Table(q.AppId) })
	if table == nil {
		r.Err = base.ErrAppNotExist
		return
	}
	ctx, cancel := startContext(c)
	defer cancel()
	store, err := s.o.Stores.Get(ctx, q.BackupProviderType)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		refuse(base.ErrInvalidParameters, "invalid backup_provider_type %s.", q.BackupProviderType)
		return
	case err != nil:
		refuse(codeOf(err), "%v.", err)
		return
	}
	b := state.StartBackup{Provider: q.BackupProviderType, Path: cleanPath(q.BackupPath.Or("")), Root: s.o.Root, Tables: []int32{q.AppId}, Now: s.nowMS()}
	s.leader.Read(func(st *state.State) { b.ID = max(b.Now, st.LastBackup()+1) })
	probe := state.Backup{ID: b.ID, Path: b.Path, Root: b.Root}
	if err := location(&probe).Check(); err != nil {
		refuse(base.ErrInvalidParameters, "%v.", err)
		return
	}
	if err := location(&probe).Table(table.Name, q.AppId).Check(); err != nil {
		refuse(base.ErrInvalidParameters, "table %.200q can't be in a backup, rename it: %v.", table.Name, err)
		return
	}
	defer s.occupy(b.ID, cancel)() // it is driven once the answer is known: not two write what the table is
	switch res := s.leader.Apply(&b); res.Err {
	case base.ErrOK:
	case base.ErrInvalidState:
		refuse(res.Err, "app %d is actively being backed up.", q.AppId)
		return
	case base.ErrAppNotExist: // it was dropped
		refuse(base.ErrInvalidState, "app %d is not available.", q.AppId)
		return
	case base.ErrInvalidVersion: // another one began just now
		refuse(base.ErrBusy, "another backup has just begun, try again.")
		return
	default:
		refuse(res.Err, "it can't be begun.")
		return
	}
	begun, ok := s.backup(b.ID)
	if !ok {
		refuse(base.ErrInvalidState, "it was cancelled.")
		return
	}
	why, err := s.beginTable(ctx, store, &begun, 0)
	if err == nil && why != "" {
		err = errors.New(why)
	}
	if err != nil {
		s.fail(&begun, err)
		s.wake()
		refuse(codeOf(err), "%v.", err)
		return
	}
	s.changed(c, "backup %d of table %s (%d) begins, to %s of %s", b.ID, begun.Tables[0].Name, q.AppId, location(&begun), b.Provider)
	s.wake()
	r.Err, r.BackupId = base.ErrOK, base.Some(b.ID)
	r.HintMessage = fmt.Sprintf("Backup succeed: metadata of app %d has been successfully backed up and backup request has been sent to replica servers.", q.AppId)
}

// queryStatus lists the backups of a table that were asked for one by one, the oldest first.
func (s *Service) queryStatus(_ *service.Call, q *wire.QueryBackupStatusRequest, r *wire.QueryBackupStatusResponse) {
	if s.o.Disabled {
		r.Err = base.ErrServiceNotActive
		return
	}
	var known bool
	var list []state.Backup
	s.leader.Read(func(st *state.State) {
		known, list = st.Table(q.AppId) != nil, st.Backups()
	})
	if !known {
		r.Err = base.ErrAppNotExist
		return
	}
	var items []wire.BackupItem
	for i := range list {
		b := &list[i]
		if b.Policy != "" || b.Tables[0].ID != q.AppId || q.BackupId.Set && q.BackupId.V != b.ID {
			continue
		}
		items = append(items, wire.BackupItem{BackupId: b.ID, AppName: b.Tables[0].Name, BackupProviderType: b.Provider, BackupPath: b.Path, StartTimeMs: b.Began,
			EndTimeMs: b.Ended, IsBackupFailed: b.Status == state.BackupFailed || b.Status == state.BackupCancelled})
	}
	if len(items) == 0 {
		r.Err, r.HintMessage = base.ErrInvalidParameters, "Backup not found, please check app_id or backup_id."
		return
	}
	r.Err, r.BackupItems = base.ErrOK, base.Some(items)
	r.HintMessage = fmt.Sprintf("There are %d available backups for app %d.", len(items), q.AppId)
}
