package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/judge"
	"pegasus/client"
)

// NotFoundError: a row that was asked for doesn't exist.
type NotFoundError struct{ Table, HashKey, SortKey string }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("table %s has no row %s : %s", e.Table, e.HashKey, e.SortKey)
}

// Explain adds to an error what the person at the keyboard can do about it. The result is
// one line.
func Explain(err error) string {
	if err == nil {
		return ""
	}
	line := strings.Join(strings.Fields(err.Error()), " ")
	if errors.Is(err, context.Canceled) {
		return "interrupted: " + line
	}
	if advice := advise(err); advice != "" {
		line += "; " + advice
	}
	return line
}

func advise(err error) string {
	var (
		refused *client.AdminError
		failed  *client.Error
		stored  *client.StoreError
		setting *client.SettingError
		judged  *judgedError
	)
	switch {
	case errors.As(err, &judged):
		return adviseJudged(judged)
	case errors.As(err, &setting):
		if _, known := appenv.Describe(setting.Name); known {
			return "`pegasus table env help " + setting.Name + "` explains it"
		}
	case errors.As(err, &refused):
		return adviseAdmin(refused)
	case errors.As(err, &stored):
		switch stored.Code {
		case client.CodeIncomplete:
			return "request less at a time"
		}
	case errors.As(err, &failed):
		switch base.CodeOf(err) {
		case base.ErrTimeout, base.ErrNetworkFailure, base.ErrInactiveState:
			return fmt.Sprintf("check the servers (pegasus nodes) and the partition (pegasus table show %s), then try again", failed.Table)
		case base.ErrNotEnoughMember:
			return fmt.Sprintf("too few live replicas to accept a write: see pegasus nodes and pegasus table show %s", failed.Table)
		case base.ErrBusy:
			return "the table is throttled: send fewer requests, or raise its replica.*_throttling settings"
		case base.ErrInvalidData:
			return "the write exceeds replica.max_allowed_write_size of the servers (1 MiB by default): split it"
		case base.ErrDiskInsufficient:
			return "a data directory is full: free space on the replica servers"
		}
	case base.CodeOf(err) == base.ErrHandlerNotFound:
		return "that server runs an older program, which doesn't know this request: upgrade it (`pegasus meta status` shows what each meta server understands)"
	case strings.Contains(err.Error(), "no leading meta server found"), errors.Is(err, client.ErrNoAnswer):
		return "`pegasus meta status` says which meta servers answer, whether they have a majority, and what to do; if none should run there, give other addresses with --meta or PEGASUS_META (`pegasus onebox` starts a cluster)"
	}
	return ""
}

// adviseJudged says what the metas know.
func adviseJudged(e *judgedError) string {
	var say []string
	for _, r := range e.why {
		say = append(say, judge.Reason{What: r.What, Do: r.ToDo}.String())
	}
	return strings.Join(say, "; ")
}

func adviseAdmin(e *client.AdminError) string {
	if advice := adviseSetting(e); advice != "" {
		return advice
	}
	if strings.Contains(e.Op, "meta server") {
		return "" // the hint says it
	}
	if e.Code == base.ErrObjectNotFound && (strings.Contains(e.Op, "node") || strings.HasPrefix(e.Op, "load files")) {
		return "" // the meta's hint says it
	}
	switch e.Code {
	case base.ErrObjectNotFound, base.ErrAppNotExist:
		return "the table doesn't exist: `pegasus table ls` lists tables, `pegasus table create` creates one"
	case base.ErrAppExist:
		return "the table exists: choose another name, or accept the existing table with --if-not-exists"
	case base.ErrInvalidParameters:
		if strings.HasPrefix(e.Op, "create") && e.Hint == "" {
			return fmt.Sprintf("give at least 1 partition, at most as many replicas as there are live servers (within the meta server's limits), and a name of 1 to %d bytes", base.MaxTableName)
		}
	case base.ErrDiskInsufficient:
		return "the disk of a meta server is full (`pegasus meta status` shows which): free space there and try again"
	case base.ErrBusy:
		if strings.HasPrefix(e.Op, "drop table") {
			return "files are being loaded into it: wait for that, or end it (`pegasus bulkload cancel TABLE`)"
		}
	case base.ErrBusyCreating, base.ErrBusyDropping:
		return "the table is being created or dropped: try again in a moment"
	case base.ErrStateFreezed:
		if strings.Contains(e.Hint, "pegasus recover") {
			return "run `pegasus recover`"
		}
		return "an administrator has switched off changes of the cluster: raise the function level (`pegasus meta level steady`)"
	}
	return ""
}
