package metalink

import (
	"context"

	"pegasus/base"
	"pegasus/gen/loading"
	"pegasus/rpc"
)

// LoadsEnded asks the meta leader which loads of files have ended, of those of which this server's replicas have something.
func (l *Link) LoadsEnded(ctx context.Context, left []loading.LoadLeft) ([]loading.LoadLeft, error) {
	var res loading.LoadsEndedResponse
	if err := l.ask(ctx, "which loads of files have ended", rpc.Outgoing{Code: base.RPCLoadsEnded, Arg: &loading.LoadsEndedRequest{Left: left}}, &res, &res.Err); err != nil {
		return nil, err
	}
	return res.Ended, nil
}
