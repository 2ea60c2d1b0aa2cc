package replica

import (
	"context"
	"fmt"
	"math"
	"time"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/gen/loading"
	"pegasus/pacifica"
	"pegasus/replica/bulkload"
	"pegasus/replica/part"
	"pegasus/rpc"
	"pegasus/rrdb"
)

func newLoader(s *Server) part.Part {
	c := &s.cfg.Replica
	return bulkload.New(loadHost{s}, bulkload.Options{Blobs: s.blobs, Concurrency: c.LoadConcurrency, BytesPerSecond: c.LoadRate, BehindBytes: c.LoadBehind, Log: s.log})
}

// loadHost is the server as package bulkload knows it.
type loadHost struct{ s *Server }

// Replica, Replicas, Go, Same, ID, Version, Self, Ended and Ask implement bulkload.Host.
func (h loadHost) Replica(g base.Gpid) (bulkload.Replica, bool) {
	r := h.s.replica(g)
	return loaded{r}, r != nil
}

func (h loadHost) Replicas() []base.Gpid {
	var list []base.Gpid
	for _, r := range h.s.all() {
		list = append(list, r.gpid)
	}
	return list
}

func (h loadHost) Ended(ctx context.Context, left []loading.LoadLeft) ([]loading.LoadLeft, error) {
	return h.s.meta.LoadsEnded(ctx, left)
}

func (h loadHost) Go(f func(context.Context)) { host(h).Go(f) }

func (h loadHost) Same(id string) error { return h.s.meta.Identity.Same(id) }

func (h loadHost) ID() base.Opt[string] { return h.s.meta.Identity.Wire() }

func (h loadHost) Version() version.Version {
	_, v := h.s.disks.Cluster()
	return v
}

func (h loadHost) Self() base.RPCAddress { return h.s.addr }

func (h loadHost) Ask(ctx context.Context, to base.RPCAddress, q *loading.LoadRequest) (a loading.LoadResponse, err error) {
	err = h.s.pool.Call(ctx, h.s.peerName(to), rpc.Outgoing{Code: base.RPCLoadRows, Gpid: q.Pid, Arg: q, From: h.s.addr}, &a)
	return a, err
}

// loaded is a replica as package bulkload knows it.
type loaded struct{ r *replica }

// View, Store, DiskUsable, Room, Members, Take and Taking implement bulkload.Replica.
func (l loaded) View() part.View { return handle(l).View() }

func (l loaded) Store() *rrdb.Store { return l.r.store.Load() }

func (l loaded) DiskUsable() error { return handle(l).DiskUsable() }

func (l loaded) Room() int64 {
	if err := l.DiskUsable(); err != nil {
		return 0
	}
	total, avail := l.r.dir.Capacity()
	if total <= 0 {
		return math.MaxInt64 // unknown
	}
	return max(0, avail-total/100*int64(l.r.srv.cfg.Replica.DiskMinSpace))
}

func (l loaded) Members() (ballot int64, nodes []base.RPCAddress, err error) {
	v := l.r.look()
	switch {
	case v.failed != nil || v.suspect || v.Status != pacifica.Primary || !v.Serving || l.r.srv.meta.Lease.Ended():
		return 0, nil, fmt.Errorf("the replica isn't a primary that serves: %w", base.ErrInvalidState)
	case len(v.Learners) > 0:
		return 0, nil, fmt.Errorf("%d replicas are learning: %w", len(v.Learners), base.ErrBusy)
	}
	return v.Ballot, append([]base.RPCAddress{v.Config.Primary}, v.Config.Secondaries...), nil
}

func (l loaded) Take(ctx context.Context, ballot int64, t rrdb.Take) (held time.Duration, err error) {
	done := make(chan error, 1)
	var began time.Time
	l.r.post(func(r *driver) {
		err := ctx.Err() // nobody waits any more
		if err == nil {
			err = r.mayTake(ballot, &t)
		}
		if err != nil {
			done <- fmt.Errorf("%w: %w", base.ErrBusy, err)
			return
		}
		began = time.Now()
		if err := r.proposeOwn(rrdb.AppendTake(nil, t), done); err != nil {
			done <- fmt.Errorf("propose to take a set of rows: %w", err)
			return
		}
		// Before anything else is evaluated: it would not see the rows.
		r.taking.set(t.Load, r.core.Last())
	})
	err = l.r.await(ctx, done)
	if err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

// mayTake tells whether the mutation can be proposed now: the members are those that were asked.
func (r *driver) mayTake(ballot int64, t *rrdb.Take) error {
	st := r.core.State()
	switch n := r.whose(); {
	case !r.mayPropose() || r.srv.meta.Lease.Ended() || r.handingOver():
		return errNotNow
	case st.Ballot != ballot:
		return fmt.Errorf("the configuration has changed, its ballot is %d, not %d", st.Ballot, ballot)
	case len(st.Learners) > 0:
		return fmt.Errorf("%d replicas are learning", len(st.Learners))
	case r.info.Partitions != t.Partitions || n != 0 && n != t.Partitions:
		return fmt.Errorf("the table has %d partitions, and is to have %d; the rows are of one with %d", r.info.Partitions, n, t.Partitions)
	}
	return nil
}

func (l loaded) Taking() int64 {
	if v := l.r.look(); v.suspect && v.intact.take != 0 { // its core has no log
		return v.intact.take
	}
	return l.r.taking.load.Load()
}
