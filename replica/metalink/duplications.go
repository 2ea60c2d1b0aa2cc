package metalink

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/gen/duplication"
	"pegasus/rpc"
)

// Duplications tells the meta leader what this server's primaries confirm, and returns the duplications of
// what the server holds.
func (l *Link) Duplications(ctx context.Context, req *duplication.DuplicationSyncRequest) (*duplication.DuplicationSyncResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTime)
	defer cancel()
	req.Node, req.HpNode = l.o.Self, l.o.HostPort
	var res duplication.DuplicationSyncResponse
	addr := l.metas.addr()
	// A meta of an older version that leads answers ERR_SERVICE_NOT_ACTIVE: it is no reason to turn to another one.
	if err := l.call(ctx, rpc.Outgoing{Code: base.RPCDuplicationSync, Arg: req}, &res, nil); err != nil {
		return nil, fmt.Errorf("ask meta server %s for duplications: %w", addr, err)
	}
	if res.Err == base.ErrForwardToOthers {
		l.metas.turn(addr, 0)
	}
	if res.Err != base.ErrOK {
		return nil, fmt.Errorf("ask meta server %s for duplications: %w", addr, res.Err)
	}
	return &res, nil
}
