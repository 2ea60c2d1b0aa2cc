package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/blob"
	backupidl "pegasus/gen/backup"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// codeOf is the code of an error of a backup or a blob store.
func codeOf(err error) base.ErrorCode {
	switch {
	case errors.Is(err, backup.ErrNone), errors.Is(err, backup.ErrIncomplete), errors.Is(err, blob.ErrNotFound):
		return base.ErrObjectNotFound
	case backup.Damaged(err), errors.Is(err, blob.ErrCorrupt):
		return base.ErrCorruption
	case errors.Is(err, blob.ErrInvalid):
		return base.ErrInvalidParameters
	case errors.Is(err, context.DeadlineExceeded):
		return base.ErrTimeout
	case errors.Is(err, blob.ErrDenied), errors.Is(err, blob.ErrUnavailable):
		return base.ErrFsInternal
	}
	if code := base.CodeOf(err); code != base.ErrUnknown {
		return code
	}
	return base.ErrFsInternal
}

// report takes what a server says of a partition that it restores. The answer tells it whether to go on: ERR_OK; or why
// not: the table isn't there (ERR_OBJECT_NOT_FOUND), the partition has members, or needs none of a backup (ERR_INVALID_STATE), or
// another server is at it (ERR_BUSY).
//
// restore_status is ERR_OK as long as all is well, ERR_IGNORE_BAD_DATA if the partition is to be empty because its backup is bad,
// ERR_CORRUPTION if the backup is bad and it may not, and anything else if it failed for another reason.
func (s *Service) report(c *service.Call, q *backupidl.ConfigurationReportRestoreStatusRequest, r *backupidl.ConfigurationReportRestoreStatusResponse) {
	g, from, reason := q.Pid, c.Req.FromAddress, q.Reason.Or("")
	noted, restoring := false, false
	s.Read(func(st *state.State) {
		t, cfg, ok := st.Config(g)
		switch {
		case !ok:
			r.Err = base.ErrObjectNotFound
		case !st.NeedsSeed(t, &cfg):
			r.Err = base.ErrInvalidState
		default:
			r.Err, restoring = base.ErrOK, st.Restoring(g.AppID)
			of, _ := st.RestoreOf(g.AppID)
			noted = slices.ContainsFunc(of.Skipped, func(k state.Skipped) bool { return k.Partition == g.PartitionIndex })
		}
	})
	if r.Err != base.ErrOK {
		return
	}
	now := time.Now()
	failed := false
	s.mu.Lock()
	p := s.parts[g]
	if p == nil {
		p = &partition{}
		s.parts[g] = p
	}
	switch {
	case p.by != 0 && p.by != from && now.Sub(p.at) < stale:
		r.Err = base.ErrBusy
	case q.RestoreStatus == base.ErrOK || q.RestoreStatus == base.ErrIgnoreBadData:
		p.by, p.at, p.status, p.wait = from, now, q.RestoreStatus, time.Time{}
		p.progress = min(max(q.Progress, 0), 1000)
		if q.RestoreStatus == base.ErrOK {
			p.reason = ""
		}
	default:
		p.by, p.progress, p.status, p.reason = 0, 0, q.RestoreStatus, reason
		p.tries++
		p.wait = now.Add(min(firstWait<<min(p.tries-1, 10), mostWait))
		// A table that follows another one waits for that as long as it takes.
		failed = restoring && (q.RestoreStatus == base.ErrCorruption || p.tries >= maxTries)
	}
	tries := p.tries
	s.mu.Unlock()
	switch {
	case r.Err != base.ErrOK:
	case failed:
		text := fmt.Sprintf("partition %d: %s", g.PartitionIndex, reason)
		if q.RestoreStatus != base.ErrCorruption {
			text = fmt.Sprintf("partition %d failed %d times, the last time on %v with %v: %s", g.PartitionIndex, tries, from, q.RestoreStatus, reason)
		}
		s.end(&state.EndRestore{ID: g.AppID, Failed: true, Reason: text})
	case q.RestoreStatus == base.ErrIgnoreBadData && !noted:
		r.Err = s.Apply(&state.SkipPartition{ID: g.AppID, Partition: g.PartitionIndex, Reason: reason}).Err
		if r.Err == base.ErrOK {
			s.Log().Warnf("partition %v is left empty, as the restore asked for: %s", g, reason)
		}
	case q.RestoreStatus != base.ErrOK && q.RestoreStatus != base.ErrIgnoreBadData:
		s.Log().Warnf("partition %v wasn't made by %v, attempt %d: %v: %s", g, from, tries, q.RestoreStatus, reason)
		s.Kick()
	}
}
