package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/gen/backupadmin"
	"pegasus/gen/layer2"
)

// tableProgressJSON is a table of a backup of the cluster.
type tableProgressJSON struct {
	ID         int32   `json:"id"`
	Name       string  `json:"name"`
	Partitions int32   `json:"partitions"`
	Done       int32   `json:"partitions_done"`
	Percent    float64 `json:"percent"`
	Bytes      int64   `json:"bytes"`
	Skipped    string  `json:"skipped,omitempty"`
}

// backupJSON is a backup of the cluster.
type backupJSON struct {
	ID       int64               `json:"id"`
	Policy   string              `json:"policy,omitempty"`
	Provider string              `json:"provider"`
	Path     string              `json:"path"` // of its directory in the provider's store
	State    string              `json:"state"`
	Percent  float64             `json:"percent"`
	Bytes    int64               `json:"bytes"`
	Started  string              `json:"started"` // RFC 3339
	Ended    string              `json:"ended,omitempty"`
	Reason   string              `json:"reason,omitempty"`
	Cleaning bool                `json:"cleaning,omitempty"` // files of it are still to be removed
	Tables   []tableProgressJSON `json:"tables"`
	Waiting  []string            `json:"waiting,omitempty"`
}

var backupStates = map[backupadmin.BackupStatus]string{
	backupadmin.BACKUP_RUNNING: "running", backupadmin.BACKUP_COMPLETED: "complete", backupadmin.BACKUP_FAILED: "failed",
	backupadmin.BACKUP_CANCELLED: "cancelled", backupadmin.BACKUP_DELETING: "deleting",
}

func newBackupJSON(v *backupadmin.BackupState) backupJSON {
	j := backupJSON{ID: v.BackupId, Policy: v.Policy, Provider: v.Provider, Path: v.Directory, State: backupStates[v.Status], Started: milli(v.StartMs),
		Ended: milli(v.EndMs), Reason: v.Reason, Cleaning: v.Cleaning, Tables: []tableProgressJSON{}, Waiting: v.Waiting}
	for i := range v.Tables {
		t := &v.Tables[i]
		j.Bytes += t.Bytes
		j.Tables = append(j.Tables, tableProgressJSON{t.AppId, t.AppName, t.Partitions, t.PartitionsDone, float64(t.Progress) / 10, t.Bytes, t.Skipped})
	}
	j.Percent = float64(permilleOf(v)) / 10
	return j
}

// permilleOf is how far a backup is.
func permilleOf(v *backupadmin.BackupState) int64 {
	var done, all int64
	for i := range v.Tables {
		if t := &v.Tables[i]; t.Skipped == "" {
			done += int64(t.Progress) * int64(t.Partitions)
			all += int64(t.Partitions)
		}
	}
	if all == 0 {
		return 0
	}
	return done / all
}

func (j *backupJSON) names() string {
	var names []string
	for _, t := range j.Tables {
		names = append(names, Escape([]byte(t.Name)))
	}
	return strings.Join(names, " ")
}

// stateText is the state with how far it is.
func (j *backupJSON) stateText() string {
	switch {
	case j.State == "running":
		return fmt.Sprintf("running %.0f %%", j.Percent)
	case j.Cleaning:
		return j.State + ", removing its files"
	}
	return j.State
}

// ClusterBackups are the backups of a cluster, its policies and restores.
type ClusterBackups struct{ *Env }

// Create backs up a table now.
func (e ClusterBackups) Create(ctx context.Context, table, provider, path string, wait time.Duration, progress io.Writer) error {
	adm := e.Client.Admin()
	// The metas say here why there are no backups, if so.
	open, err := adm.ListBackups(ctx, backupadmin.ListBackupsRequest{AppName: base.Some(table)})
	if err != nil {
		return err
	}
	for i := range open {
		if v := &open[i]; v.Status == backupadmin.BACKUP_RUNNING {
			return fmt.Errorf("table %s is already in a backup, %d: wait for its end (`pegasus backup show %d`), or cancel it (`pegasus backup cancel %d`)",
				Escape([]byte(table)), v.BackupId, v.BackupId, v.BackupId)
		}
	}
	ids, err := e.tableIDs(ctx, []string{table})
	if err != nil {
		return err
	}
	id, err := adm.StartBackup(ctx, ids[0], provider, path)
	if err != nil {
		return err
	}
	if wait <= 0 {
		return e.print(map[string]int64{"id": id}, "backup %d begins; `pegasus backup show %d` shows its progress", id, id)
	}
	if !e.JSON {
		fmt.Fprintf(e.Out, "backup %d begins\n", id)
	}
	v, err := e.watchBackup(ctx, id, wait, progress, "the backup goes on by itself; `pegasus backup show "+fmt.Sprint(id)+"` shows its progress",
		func(v *backupadmin.BackupState) bool { return v.Status != backupadmin.BACKUP_RUNNING && !v.Cleaning })
	if err != nil {
		return err
	}
	j := newBackupJSON(v)
	if v.Status != backupadmin.BACKUP_COMPLETED {
		if e.JSON {
			if err := e.json(j); err != nil {
				return err
			}
		}
		return fmt.Errorf("backup %d of table %s %s, and its files are removed: %s", id, Escape([]byte(table)), j.State, j.Reason)
	}
	return e.print(j, "backup %d is complete: %s in %s of %s", id, size(j.Bytes), j.Path, j.Provider)
}

// watchBackup shows how a backup goes on until done says so.
func (e ClusterBackups) watchBackup(ctx context.Context, id int64, wait time.Duration, progress io.Writer, otherwise string, done func(*backupadmin.BackupState) bool) (*backupadmin.BackupState, error) {
	bar := NewBar(progress, fmt.Sprintf("backup %d", id))
	defer bar.End()
	w := *e.Env
	w.JSON = w.JSON || bar != nil // no lines besides the bar
	var v *backupadmin.BackupState
	err := w.watch(ctx, wait, otherwise, func() (line string, ended bool, err error) {
		list, err := e.Client.Admin().ListBackups(ctx, backupadmin.ListBackupsRequest{BackupId: base.Some(id)})
		if err != nil {
			return "", false, err
		}
		v = &list[0]
		parts, all := int32(0), int32(0)
		for i := range v.Tables {
			parts, all = parts+v.Tables[i].PartitionsDone, all+v.Tables[i].Partitions
		}
		j := newBackupJSON(v)
		words := fmt.Sprintf("%d of %d partitions, %s", parts, all, size(j.Bytes))
		if j.State != "running" {
			words = j.stateText()
		}
		if len(v.Waiting) > 0 {
			words += "; " + v.Waiting[0]
		}
		bar.Permille(permilleOf(v), words)
		return words, done(v), nil
	})
	return v, err
}

// List lists the backups of the cluster. Empty arguments are no condition.
func (e ClusterBackups) List(ctx context.Context, table, policy string) error {
	list, err := e.Client.Admin().ListBackups(ctx, backupadmin.ListBackupsRequest{AppName: base.NonZero(table), Policy: base.NonZero(policy)})
	if err != nil {
		return err
	}
	out := []backupJSON{}
	for i := range list {
		out = append(out, newBackupJSON(&list[i]))
	}
	if e.JSON {
		return e.json(out)
	}
	g := newGrid("id", "policy", "state", "#size", "started", "ended", "provider", "path", "tables")
	for i := range out {
		j := &out[i]
		g.add(j.ID, dash(j.Policy), j.stateText(), size(j.Bytes), j.Started, dash(j.Ended), Escape([]byte(j.Provider)), Escape([]byte(j.Path)), j.names())
	}
	return g.print(e.Out)
}

// noBackup is err, in better words if it says that there is no such backup.
func noBackup(id int64, err error) error {
	if base.CodeOf(err) == base.ErrObjectNotFound {
		return fmt.Errorf("the cluster has no backup %d: `pegasus backup ls` lists its backups", id)
	}
	return err
}

// Show shows a backup of the cluster.
func (e ClusterBackups) Show(ctx context.Context, id int64) error {
	list, err := e.Client.Admin().ListBackups(ctx, backupadmin.ListBackupsRequest{BackupId: base.Some(id)})
	if err != nil {
		return noBackup(id, err)
	}
	j := newBackupJSON(&list[0])
	if e.JSON {
		return e.json(j)
	}
	fmt.Fprintf(e.Out, "backup %d: %s\n", j.ID, j.stateText())
	if j.Policy != "" {
		fmt.Fprintf(e.Out, "policy: %s\n", j.Policy)
	}
	fmt.Fprintf(e.Out, "place: %s of %s\n", Escape([]byte(j.Path)), Escape([]byte(j.Provider)))
	fmt.Fprintf(e.Out, "started: %s\n", j.Started)
	if j.Ended != "" {
		fmt.Fprintf(e.Out, "ended: %s\n", j.Ended)
	}
	if j.Reason != "" {
		fmt.Fprintf(e.Out, "reason: %s\n", Escape([]byte(j.Reason)))
	}
	g := newGrid("table", "#id", "#partitions", "#done", "#progress", "#size", "")
	for _, t := range j.Tables {
		note := ""
		if t.Skipped != "" {
			note = "not in the backup: " + Escape([]byte(t.Skipped))
		}
		g.add(Escape([]byte(t.Name)), t.ID, t.Partitions, t.Done, fmt.Sprintf("%.0f %%", t.Percent), size(t.Bytes), note)
	}
	if err := g.print(e.Out); err != nil {
		return err
	}
	for _, w := range j.Waiting {
		fmt.Fprintln(e.Out, "waits:", Escape([]byte(w)))
	}
	return nil
}

// Cancel ends a backup of the cluster that runs, and waits until its files are removed.
func (e ClusterBackups) Cancel(ctx context.Context, id int64, wait time.Duration, progress io.Writer) error {
	if e.DryRun {
		return e.wouldEnd(ctx, id, "is cancelled, and its files are removed")
	}
	if err := e.Client.Admin().CancelBackup(ctx, id); err != nil {
		return noBackup(id, err)
	}
	if wait > 0 {
		if _, err := e.watchBackup(ctx, id, wait, progress, "its files are being removed", func(v *backupadmin.BackupState) bool { return !v.Cleaning }); err != nil {
			return err
		}
		return e.print(map[string]any{"id": id, "cancelled": true}, "backup %d is cancelled, and its files are removed", id)
	}
	return e.print(map[string]any{"id": id, "cancelled": true}, "backup %d is cancelled, and its files are being removed", id)
}

// wouldEnd says which backup it would be about.
func (e ClusterBackups) wouldEnd(ctx context.Context, id int64, what string) error {
	list, err := e.Client.Admin().ListBackups(ctx, backupadmin.ListBackupsRequest{BackupId: base.Some(id)})
	if err != nil {
		return noBackup(id, err)
	}
	j := newBackupJSON(&list[0])
	return e.would(map[string]any{"id": id, "state": j.State, "bytes": j.Bytes}, "backup %d (%s, %s, %s, started %s) %s", id, j.names(), j.stateText(), size(j.Bytes), j.Started, what)
}

// Delete has a backup of the cluster removed, and waits until it is gone.
func (e ClusterBackups) Delete(ctx context.Context, id int64, wait time.Duration, progress io.Writer) error {
	if e.DryRun {
		return e.wouldEnd(ctx, id, "is deleted with its files")
	}
	if err := e.Client.Admin().DeleteBackup(ctx, id); err != nil {
		return noBackup(id, err)
	}
	if wait > 0 {
		_, err := e.watchBackup(ctx, id, wait, progress, "its files are being removed", func(*backupadmin.BackupState) bool { return false })
		if base.CodeOf(err) != base.ErrObjectNotFound { // it is gone
			return err
		}
		return e.print(map[string]any{"id": id, "deleted": true}, "backup %d is deleted", id)
	}
	return e.print(map[string]any{"id": id, "deleted": true}, "backup %d is being deleted", id)
}

// tableIDs returns the ids of available tables.
func (e ClusterBackups) tableIDs(ctx context.Context, names []string) ([]int32, error) {
	infos, err := e.Client.Admin().ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil {
		return nil, err
	}
	byName := map[string]int32{}
	for i := range infos {
		byName[infos[i].AppName] = infos[i].AppId
	}
	ids := make([]int32, len(names))
	for i, n := range names {
		id, ok := byName[n]
		if !ok {
			return nil, fmt.Errorf("there is no table %s: `pegasus table ls` lists the tables", Escape([]byte(n)))
		}
		ids[i] = id
	}
	return ids, nil
}
