package client

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/gen/backup"
	"pegasus/gen/metaadmin"
	"pegasus/gen/restore"
)

// RestoreSource says what a table is restored from: the backup of table Table, whose id was TableID, in
// [Path/]Cluster[/Policy]/ID of the blob store Provider, by its name in the servers' configuration.
type RestoreSource struct {
	Provider, Path, Cluster, Policy string
	ID                              int64
	Table                           string
	TableID                         int32
}

// Restore makes a table of that name of a backup, and returns its id. When it returns the rows are still to come: see
// Restores. skipBad leaves partitions empty whose backup is bad; else they end the restore, and the table goes.
func (a backups) Restore(ctx context.Context, from RestoreSource, name string, skipBad bool) (int32, error) {
	q := &backup.ConfigurationRestoreRequest{ClusterName: from.Cluster, PolicyName: from.Policy, TimeStamp: from.ID, AppName: from.Table, AppId: from.TableID,
		NewAppName: name, BackupProviderName: from.Provider, SkipBadPartition: skipBad}
	if from.Path != "" {
		q.RestorePath = base.Some(from.Path)
	}
	res, err := admin(ctx, a.c, fmt.Sprintf("restore table %q", name), base.RPCStartRestore, q,
		func(r *metaadmin.ConfigurationCreateAppResponse) (base.ErrorCode, string) {
			return r.Err, r.HintMessage.V
		})
	if err != nil {
		return 0, err
	}
	return res.Appid, nil
}

// Restores returns the restores that the metas remember, the last one first; with id, only that of the table with that id.
func (a backups) Restores(ctx context.Context, id int32) ([]restore.RestoreState, error) {
	q := &restore.ListRestoresRequest{}
	if id != 0 {
		q.AppId = base.Some(id)
	}
	res, err := admin(ctx, a.c, "list restores", base.RPCListRestores, q,
		func(r *restore.ListRestoresResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
	if err != nil {
		return nil, err
	}
	return res.Restores, nil
}
