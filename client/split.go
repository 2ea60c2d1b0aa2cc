package client

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/gen/split"
)

// StartSplit begins to double the partitions of a table to count. The table is used meanwhile.
func (a Admin) StartSplit(ctx context.Context, table string, count int32) error {
	op := fmt.Sprintf("split table %q", table)
	// With a hint the leader says that it doesn't split tables. Without one it isn't ready, and is asked again.
	refused := func(r *split.StartPartitionSplitResponse) bool {
		return r.Err == base.ErrServiceNotActive && r.HintMsg != ""
	}
	r, err := admin(ctx, a.c, op, base.RPCStartPartitionSplit, &split.StartPartitionSplitRequest{AppName: table, NewPartitionCount: count},
		func(r *split.StartPartitionSplitResponse) (base.ErrorCode, string) {
			if refused(r) {
				return base.ErrOK, ""
			}
			return r.Err, r.HintMsg
		})
	if err == nil && refused(r) {
		return fmt.Errorf("%s: %s: %w", op, r.HintMsg, r.Err)
	}
	return err
}

// ControlSplit pauses a split, goes on with it, or cancels it. partition is one of the former ones, or -1 for all; to cancel, which is for
// all, former is how many there were.
func (a Admin) ControlSplit(ctx context.Context, table string, do split.SplitControlType, partition, former int32) error {
	q := &split.ControlSplitRequest{AppName: table, ControlType: do, ParentPidx: partition, OldPartitionCount: base.NonZero(former)}
	_, err := admin(ctx, a.c, fmt.Sprintf("%v the split of table %q", do, table), base.RPCControlPartitionSplit, q,
		func(r *split.ControlSplitResponse) (base.ErrorCode, string) { return r.Err, r.HintMsg.Or("") })
	return err
}

// QuerySplit tells how far the split of a table is. base.ErrInvalidState: it isn't being split.
func (a Admin) QuerySplit(ctx context.Context, table string) (*split.QuerySplitResponse, error) {
	r, err := admin(ctx, a.c, fmt.Sprintf("look at the split of table %q", table), base.RPCQueryPartitionSplit, &split.QuerySplitRequest{AppName: table},
		func(r *split.QuerySplitResponse) (base.ErrorCode, string) { return r.Err, r.HintMsg.Or("") })
	return r, err
}
