package metalink

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/gen/split"
	"pegasus/rpc"
)

// RegisterChild asks the meta leader to make a child a partition, once. The code in the answer is the leader's.
func (l *Link) RegisterChild(ctx context.Context, q *split.RegisterChildRequest) (*split.RegisterChildResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTime)
	defer cancel()
	var res split.RegisterChildResponse
	if err := l.call(ctx, rpc.Outgoing{Code: base.RPCRegisterChildReplica, Gpid: q.ParentConfig.Pid, Arg: q}, &res, &res.Err); err != nil {
		return nil, fmt.Errorf("register the child of %v: %w", q.ParentConfig.Pid, err)
	}
	return &res, nil
}
