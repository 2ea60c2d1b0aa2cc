package metalink

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/gen/loading"
	"pegasus/rpc"
)

// LoadsEnded asks the meta leader which loads of files have ended, of those of which this server's replicas have something. A meta of another cluster, to which
// all are unknown, isn't believed.
func (l *Link) LoadsEnded(ctx context.Context, left []loading.LoadLeft) ([]loading.LoadLeft, error) {
	var res loading.LoadsEndedResponse
	req := &loading.LoadsEndedRequest{Left: left, ClusterId: l.Identity.Wire()}
	if err := l.ask(ctx, "which loads of files have ended", rpc.Outgoing{Code: base.RPCLoadsEnded, Arg: req}, &res, &res.Err); err != nil {
		return nil, err
	}
	if err := l.Identity.Same(res.ClusterId.V); err != nil {
		return nil, fmt.Errorf("what the meta server says of loads of files isn't believed: %w", err)
	}
	return res.Ended, nil
}
