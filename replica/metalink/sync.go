package metalink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/gen/metaadmin"
	"pegasus/rpc"
)

// Host is the server that is tied to the metas.
type Host interface {
	// Report adds to a config sync what is here. What the meta leader answers goes to take,
	// which returns nil once the server has taken all of it.
	Report(q *metaadmin.ConfigurationQueryByNodeRequest) (take func(context.Context, *Answer) error)
	// Tables returns of which table each replica on the disks is.
	Tables() ([]Table, error)
}

// Answer is what the meta leader answers to a config sync.
type Answer struct {
	*metaadmin.ConfigurationQueryByNodeResponse
	// Resuming: the lease had run out. What the meta doesn't list is given up, and the server
	// serves again only after the answer was taken.
	Resuming bool
	// Current tells whether the lease was not interrupted since the question.
	Current func() bool
}

// SyncSoon has the configuration compared with the meta's now.
func (l *Link) SyncSoon() {
	select {
	case l.soon <- struct{}{}:
	default:
	}
}

// SyncLoop compares it at regular times, and when it is wanted, until ctx ends.
func (l *Link) SyncLoop(ctx context.Context) {
	t := time.NewTicker(l.o.SyncInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-l.soon:
			// What asks for a sync often asks for several.
			pause.For(ctx, 20*time.Millisecond)
		}
		if err := l.Sync(ctx, false); errors.Is(err, base.ErrClusterNotFound) {
			l.log.Debugf("config sync: %v", err) // which the next beacon finds out, or a person mends
		} else if err != nil && ctx.Err() == nil {
			l.log.Debugf("config sync: %v", err)
			pause.For(ctx, RetryAfter)
			l.SyncSoon()
		}
	}
}

// Sync tells the meta what is here and has the host take what should be. When it returns
// without an error, that is done. resuming: see Answer; only the caller makes the node serve.
func (l *Link) Sync(ctx context.Context, resuming bool) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	epoch := l.Lease.Epoch()
	own := l.Identity.ID()
	req := metaadmin.ConfigurationQueryByNodeRequest{ClusterId: base.NonZero(own), Node: l.o.Self, HpNode: base.Some(l.o.HostPort)}
	take := l.host.Report(&req)
	var res metaadmin.ConfigurationQueryByNodeResponse
	c, cancel := context.WithTimeout(ctx, CallTime)
	defer cancel()
	if err := l.call(c, rpc.Outgoing{Code: base.RPCConfigSync, Arg: &req}, &res, &res.Err); err != nil {
		return err
	}
	if res.Err != base.ErrOK {
		return res.Err
	}
	if res.ClusterId.V != own {
		return fmt.Errorf("the meta servers are of the cluster with the id %q, and this server of %q: %w", res.ClusterId.V, own, base.ErrClusterNotFound)
	}
	current := func() bool { return l.Lease.Epoch() == epoch }
	if !current() {
		return fmt.Errorf("the lease was interrupted meanwhile: %w", base.ErrTryAgain)
	}
	return take(ctx, &Answer{&res, resuming, current})
}
