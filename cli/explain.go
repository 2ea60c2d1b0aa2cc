package cli

import (
	"errors"
	"fmt"
	"strings"

	"pegasus/base"
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
	)
	switch {
	case errors.As(err, &refused):
		return adviseAdmin(refused)
	case errors.As(err, &stored):
		switch stored.Code {
		case client.CodeInvalidArgument:
			return "the server doesn't accept the argument (for incr: the row must hold a decimal number and the sum fit 64 bits)"
		case client.CodeIncomplete:
			return "ask for less at a time"
		}
	case errors.As(err, &failed):
		switch base.CodeOf(err) {
		case base.ErrTimeout, base.ErrNetworkFailure, base.ErrInactiveState:
			return fmt.Sprintf("see which servers live (pegasus nodes) and who serves the partition (pegasus table show %s), then try again", failed.Table)
		case base.ErrNotEnoughMember:
			return fmt.Sprintf("too few replicas live to accept a write: see pegasus nodes and pegasus table show %s", failed.Table)
		case base.ErrBusy:
			return "the table's throttle holds the request back: send less, or raise its replica.*_throttling settings"
		case base.ErrInvalidData:
			return "the write is larger than the servers' replica.max_allowed_write_size (1 MiB by default): split it"
		case base.ErrDiskInsufficient:
			return "a data directory is full: free space on the replica servers"
		}
	case strings.Contains(err.Error(), "no leading meta server found"):
		return "check that a meta server runs there, or name others with --meta or PEGASUS_META (`pegasus onebox` starts a cluster)"
	}
	return ""
}

func adviseAdmin(e *client.AdminError) string {
	if advice := adviseSetting(e); advice != "" {
		return advice
	}
	if strings.Contains(e.Op, "meta server") {
		return "" // the hint says it
	}
	if e.Code == base.ErrObjectNotFound && strings.Contains(e.Op, "node") {
		return "" // the meta's hint says it
	}
	switch e.Code {
	case base.ErrObjectNotFound, base.ErrAppNotExist:
		return "there is no such table: `pegasus table ls` lists them, `pegasus table create` makes one"
	case base.ErrAppExist:
		return "the name is taken: choose another, or accept the table that is there with --if-not-exists"
	case base.ErrInvalidParameters:
		if strings.HasPrefix(e.Op, "create") {
			return "partitions must be at least 1, replicas no more than servers live and within the meta's limits, and the name 1 to 256 of the characters a-z A-Z 0-9 . : _ #"
		}
	case base.ErrBusyCreating, base.ErrBusyDropping:
		return "the table is just being made or dropped: try again in a moment"
	case base.ErrStateFreezed:
		return "the meta is frozen (too few servers live, or by command): see pegasus nodes"
	}
	return ""
}
