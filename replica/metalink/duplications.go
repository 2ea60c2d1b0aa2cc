package metalink

import (
	"context"

	"pegasus/base"
	"pegasus/gen/duplication"
	"pegasus/rpc"
)

// Duplications tells the meta leader what this server's primaries confirm, and returns the duplications of
// what the server holds.
func (l *Link) Duplications(ctx context.Context, req *duplication.DuplicationSyncRequest) (*duplication.DuplicationSyncResponse, error) {
	req.Node, req.HpNode = l.o.Self, l.o.HostPort
	var res duplication.DuplicationSyncResponse
	if err := l.ask(ctx, "for duplications", rpc.Outgoing{Code: base.RPCDuplicationSync, Arg: req}, &res, &res.Err); err != nil {
		return nil, err
	}
	return &res, nil
}
