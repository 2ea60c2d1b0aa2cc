package state

import (
	"path"

	"pegasus/base"
	"pegasus/base/tbin"
)

// BackupReader returns the restore that reads a backup, if there is one.
func (s *State) BackupReader(b *Backup) (Restoration, bool) {
	for _, r := range s.Restores() {
		if r.Status == RestoreRuns && b.lies(r.Provider, path.Join(r.Path, r.Cluster, r.Policy), r.BackupID) {
			return r, true
		}
	}
	return Restoration{}, false
}

// BackupAt returns the backup of this cluster that lies in a directory of a provider, if there is one.
func (s *State) BackupAt(provider, dir string, id int64) (Backup, bool) {
	b, ok := s.Backup(id)
	return b, ok && b.lies(provider, dir, id)
}

// DeleteBackup has a backup's files removed, and then its record. base.ErrObjectNotFound if there is
// none, base.ErrBusy while it runs, base.ErrInvalidState while a table is restored from it (TableID).
type DeleteBackup struct{ ID int64 }

func (c *DeleteBackup) apply(s *State) Result {
	b := backupFeature.of(s)
	i, ok := b.find(c.ID)
	switch {
	case !ok:
		return failed(base.ErrObjectNotFound)
	case b.list[i].Running():
		return failed(base.ErrBusy)
	}
	if r, ok := s.BackupReader(&b.list[i]); ok {
		return Result{Err: base.ErrInvalidState, TableID: r.TableID}
	}
	b.change(i, func(v *Backup) { v.Deleting = true })
	return Result{Err: base.ErrOK}
}

func (c *DeleteBackup) appendFields(b []byte) []byte { return appendI64(b, 1, c.ID) }

func (c *DeleteBackup) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = r.I64()
	default:
		unknownField(r, id)
	}
}
