package client

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/gen/backup"
	"pegasus/gen/backupadmin"
)

// StartBackup begins a backup of a table to [path/]ROOT/ID of the provider, which is a blob store of the servers'
// configuration, and returns the ID. The backup goes on by itself.
func (a backups) StartBackup(ctx context.Context, table int32, provider, path string) (int64, error) {
	req := &backup.StartBackupAppRequest{BackupProviderType: provider, AppId: table, BackupPath: base.NonZero(path)}
	r, err := admin(ctx, a.c, fmt.Sprintf("back up table %d to %s", table, provider), base.RPCStartBackupApp, req,
		func(r *backup.StartBackupAppResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
	if err != nil {
		return 0, err
	}
	return r.BackupId.V, nil
}

// ListBackups lists the backups of the cluster, the newest first, with how far each is. A zero field of the request is no
// condition.
func (a backups) ListBackups(ctx context.Context, q backupadmin.ListBackupsRequest) ([]backupadmin.BackupState, error) {
	r, err := admin(ctx, a.c, "list backups", base.RPCListBackups, &q,
		func(r *backupadmin.ListBackupsResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
	if err != nil {
		return nil, err
	}
	return r.Backups, nil
}

// CancelBackup ends a backup that runs. Its files are removed, which ListBackups tells.
func (a backups) CancelBackup(ctx context.Context, id int64) error {
	_, err := admin(ctx, a.c, fmt.Sprintf("cancel backup %d", id), base.RPCCancelBackup, &backupadmin.CancelBackupRequest{BackupId: id},
		func(r *backupadmin.CancelBackupResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
	return err
}

// DeleteBackup has a backup that has ended removed, with its files. It is listed until they are gone.
func (a backups) DeleteBackup(ctx context.Context, id int64) error {
	_, err := admin(ctx, a.c, fmt.Sprintf("delete backup %d", id), base.RPCDeleteBackup, &backupadmin.DeleteBackupRequest{BackupId: id},
		func(r *backupadmin.DeleteBackupResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
	return err
}

// AddBackupPolicy makes a policy of regular backups.
func (a backups) AddBackupPolicy(ctx context.Context, q backup.ConfigurationAddBackupPolicyRequest) error {
	_, err := admin(ctx, a.c, fmt.Sprintf("add backup policy %q", q.PolicyName), base.RPCAddBackupPolicy, &q,
		func(r *backup.ConfigurationAddBackupPolicyResponse) (base.ErrorCode, string) {
			return r.Err, r.HintMessage
		})
	return err
}

// ModifyBackupPolicy changes a policy. hint says what wasn't changed because it can't be, "" if all was.
func (a backups) ModifyBackupPolicy(ctx context.Context, q backup.ConfigurationModifyBackupPolicyRequest) (hint string, err error) {
	r, err := admin(ctx, a.c, fmt.Sprintf("change backup policy %q", q.PolicyName), base.RPCModifyBackupPolicy, &q,
		func(r *backup.ConfigurationModifyBackupPolicyResponse) (base.ErrorCode, string) {
			return r.Err, r.HintMessage
		})
	if err != nil {
		return "", err
	}
	return r.HintMessage, nil
}

// BackupPolicies returns policies, all of them if no name is given, and of each the last backups, up to count, the newest
// first. It is an error if none of the names is that of a policy.
func (a backups) BackupPolicies(ctx context.Context, count int32, names ...string) ([]backup.PolicyEntry, [][]backup.BackupEntry, error) {
	r, err := admin(ctx, a.c, "list backup policies", base.RPCQueryBackupPolicy, &backup.ConfigurationQueryBackupPolicyRequest{PolicyNames: names, BackupInfoCount: count},
		func(r *backup.ConfigurationQueryBackupPolicyResponse) (base.ErrorCode, string) {
			return r.Err, r.HintMsg.Or("")
		})
	if err != nil {
		return nil, nil, err
	}
	return r.Policys, r.BackupInfos, nil
}

// RemoveBackupPolicy forgets a policy. Its backups stay.
func (a backups) RemoveBackupPolicy(ctx context.Context, name string) error {
	_, err := admin(ctx, a.c, fmt.Sprintf("remove backup policy %q", name), base.RPCRemoveBackupPolicy, &backupadmin.RemoveBackupPolicyRequest{PolicyName: name},
		func(r *backupadmin.RemoveBackupPolicyResponse) (base.ErrorCode, string) { return r.Err, r.HintMessage })
	return err
}
