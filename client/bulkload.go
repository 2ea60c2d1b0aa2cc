package client

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/gen/bulkload"
)

// StartBulkLoad begins to load the files of a place into a table. The table is used meanwhile.
func (a Admin) StartBulkLoad(ctx context.Context, q *bulkload.StartBulkLoadRequest) error {
	op := fmt.Sprintf("load files into table %q", q.AppName)
	// With a hint the leader says that it loads no files. Without one it isn't ready, and is asked again.
	refused := func(r *bulkload.StartBulkLoadResponse) bool {
		return r.Err == base.ErrServiceNotActive && r.HintMsg != ""
	}
	r, err := admin(ctx, a.c, op, base.RPCStartBulkLoad, q, func(r *bulkload.StartBulkLoadResponse) (base.ErrorCode, string) {
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

// ControlBulkLoad pauses a load, goes on with it, or cancels it.
func (a Admin) ControlBulkLoad(ctx context.Context, table string, do bulkload.BulkLoadControlType) error {
	word := map[bulkload.BulkLoadControlType]string{bulkload.BLC_PAUSE: "pause", bulkload.BLC_RESTART: "go on with", bulkload.BLC_CANCEL: "cancel", bulkload.BLC_FORCE_CANCEL: "cancel"}[do]
	_, err := admin(ctx, a.c, fmt.Sprintf("%s the load of table %q", word, table), base.RPCControlBulkLoad, &bulkload.ControlBulkLoadRequest{AppName: table, Type: do},
		func(r *bulkload.ControlBulkLoadResponse) (base.ErrorCode, string) { return r.Err, r.HintMsg.Or("") })
	return err
}

// QueryBulkLoad tells how far the load of a table is, or what came of the last one. A load that failed is no error of the question.
func (a Admin) QueryBulkLoad(ctx context.Context, table string) (*bulkload.QueryBulkLoadResponse, error) {
	return admin(ctx, a.c, fmt.Sprintf("look at the load of table %q", table), base.RPCQueryBulkLoadStatus, &bulkload.QueryBulkLoadRequest{AppName: table},
		func(r *bulkload.QueryBulkLoadResponse) (base.ErrorCode, string) {
			if r.AppStatus == bulkload.BLS_FAILED {
				return base.ErrOK, ""
			}
			return r.Err, r.HintMsg.Or("")
		})
}

// ClearBulkLoad forgets what came of the last load of a table.
func (a Admin) ClearBulkLoad(ctx context.Context, table string) error {
	_, err := admin(ctx, a.c, fmt.Sprintf("forget the last load of table %q", table), base.RPCClearBulkLoad, &bulkload.ClearBulkLoadStateRequest{AppName: table},
		func(r *bulkload.ClearBulkLoadStateResponse) (base.ErrorCode, string) { return r.Err, r.HintMsg })
	return err
}
