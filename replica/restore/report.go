package restore

import (
	"context"
	"errors"
	"fmt"

	"pegasus/backup"
	"pegasus/base"
	backupidl "pegasus/gen/backup"
)

func (r *Restorer) report(ctx context.Context, g base.Gpid, status base.ErrorCode, progress int32, reason string) (base.ErrorCode, error) {
	q := &backupidl.ConfigurationReportRestoreStatusRequest{Pid: g, RestoreStatus: status, Progress: progress}
	if reason != "" {
		q.Reason = base.Some(reason)
	}
	return r.o.Report(ctx, q)
}

// codeOf is what is reported of a failure; ERR_CORRUPTION is for a backup that is bad.
func codeOf(err error) base.ErrorCode {
	switch {
	case backup.Damaged(err):
		return base.ErrCorruption
	case errors.Is(err, errNotHere):
		return base.ErrObjectNotFound
	case base.Shortage(err):
		return base.ErrDiskInsufficient
	}
	if code := base.CodeOf(err); code != base.ErrUnknown && code != base.ErrCorruption && code != base.ErrOK && code != base.ErrIgnoreBadData {
		return code
	}
	return base.ErrFsInternal
}

// errNotHere says that this server doesn't see the backup at all, which another may.
var errNotHere = fmt.Errorf("this server doesn't see the backup: %w", base.ErrObjectNotFound)
