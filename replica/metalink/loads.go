package metalink

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/gen/loading"
	"pegasus/rpc"
)

// LoadsEnded asks the meta leader which loads of files have ended, of those of which this server's replicas have something.
func (l *Link) LoadsEnded(ctx context.Context, left []loading.LoadLeft) ([]loading.LoadLeft, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTime)
	defer cancel()
	var res loading.LoadsEndedResponse
	addr := l.metas.addr()
	err := l.call(ctx, rpc.Outgoing{Code: base.RPCLoadsEnded, Arg: &loading.LoadsEndedRequest{Left: left}}, &res, nil)
	if err == nil && res.Err != base.ErrOK {
		if err = res.Err; res.Err == base.ErrForwardToOthers {
			l.metas.turn(addr, 0)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("ask meta server %s which loads of files have ended: %w", addr, err)
	}
	return res.Ended, nil
}
