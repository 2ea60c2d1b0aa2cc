package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/rpc"
)

// route is who serves a table's partitions. It is never changed, only replaced.
type route struct {
	appID int32
	parts []part
}

type part struct {
	gpid    base.Gpid
	ballot  int64
	primary string // "ip:port", "" if there is none now
}

// of returns the partition that a hash belongs to.
func (r *route) of(hash uint64) *part {
	i := int(hash % uint64(len(r.parts)))
	if r.parts[i].ballot < 0 && i >= len(r.parts)/2 {
		// A table is being split and this child isn't ready: its parent serves the rows.
		i -= len(r.parts) / 2
	}
	return &r.parts[i]
}

type queryAnswer struct{ layer2.QueryCfgResponse }

func (a *queryAnswer) outcome() (base.ErrorCode, base.RPCAddress) {
	if a.Err == base.ErrForwardToOthers && len(a.Partitions) > 0 {
		return a.Err, a.Partitions[0].Primary
	}
	return a.Err, 0
}

// queryConfig asks the meta for a table's partitions, waiting while it is being made.
func (c *Client) queryConfig(ctx context.Context, name string) (*layer2.QueryCfgResponse, error) {
	op := fmt.Sprintf("look up table %q", name)
	for backoff := c.opts.BackoffMin; ; backoff = min(backoff*2, c.opts.BackoffMax) {
		ans, addr, err := c.metaCall(ctx, op, base.RPCQueryPartitionConfigByIndex, c.opts.AttemptTimeout, &layer2.QueryCfgRequest{AppName: name},
			func() metaAnswer { return new(queryAnswer) })
		if err != nil {
			return nil, err
		}
		res := &ans.(*queryAnswer).QueryCfgResponse
		switch res.Err {
		case base.ErrOK:
			if len(res.Partitions) == 0 || int(res.PartitionCount) != len(res.Partitions) {
				return nil, fmt.Errorf("%s: meta server %s described %d of %d partitions: %w", op, addr, len(res.Partitions), res.PartitionCount, base.ErrInvalidData)
			}
			return res, nil
		case base.ErrBusyCreating:
			if sleep(ctx, backoff) {
				continue
			}
		}
		return nil, &AdminError{Op: op, Meta: addr, Code: res.Err}
	}
}

func (c *Client) queryRoute(ctx context.Context, name string) (*route, error) {
	res, err := c.queryConfig(ctx, name)
	if err != nil {
		return nil, err
	}
	r := &route{parts: make([]part, len(res.Partitions))}
	r.appID, _ = base.TableID(res.AppId) // over THFT it may say more
	for i := range res.Partitions {
		pc := &res.Partitions[i]
		if int(pc.Pid.PartitionIndex) != i {
			return nil, fmt.Errorf("look up table %q: partition %v at position %d: %w", name, pc.Pid, i, base.ErrInvalidData)
		}
		r.parts[i] = part{gpid: base.Gpid{AppID: res.AppId, PartitionIndex: int32(i)}, ballot: pc.Ballot}
		if !pc.Primary.IsZero() {
			r.parts[i].primary = pc.Primary.String()
		}
	}
	return r, nil
}

// refreshGap is the least time between two look-ups of a table on behalf of failing calls.
const refreshGap = 50 * time.Millisecond

// refresh has the partitions looked up again, unless that happened since old was taken,
// and calls then afterwards, with the look-up's error, from another goroutine or at once.
// Any number of callers share one look-up.
func (t *Table) refresh(old *route, then func(error)) {
	t.mu.Lock()
	if t.route.Load() != old {
		t.mu.Unlock()
		then(nil)
		return
	}
	t.waiting = append(t.waiting, then)
	if t.refreshing {
		t.mu.Unlock()
		return
	}
	t.refreshing = true
	wait := refreshGap - time.Since(t.refreshed)
	t.mu.Unlock()
	go t.lookUp(max(wait, 0))
}

// Still asks the metas, and is an error if the table isn't the one any more that had an id and a number of partitions: then a walk that
// began before may have passed rows over.
func (t *Table) Still(ctx context.Context, id int32, partitions int) error {
	if err := t.Refresh(ctx); err != nil {
		return err
	}
	switch now, n := t.AppID(), t.Partitions(); {
	case now != id:
		return fmt.Errorf("table %q was dropped and made anew meanwhile, its id was %d and is %d: %w", t.name, id, now, base.ErrInvalidState)
	case n != partitions:
		return fmt.Errorf("table %q was split meanwhile, it had %d partitions and has %d; begin again: %w", t.name, partitions, n, base.ErrInvalidState)
	}
	return nil
}

// Refresh has the partitions looked up again: what is known may be of a table that was dropped, whose name another
// one has now. Any number of callers share one look-up.
func (t *Table) Refresh(ctx context.Context) error {
	done := make(chan error, 1)
	t.refresh(t.route.Load(), func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("look up table %q: %w", t.name, context.Cause(ctx))
	}
}

func (t *Table) lookUp(wait time.Duration) {
	ctx, cancel := context.WithTimeout(t.c.ctx, t.c.opts.AttemptTimeout)
	defer cancel()
	if wait > 0 {
		sleep(ctx, wait)
	}
	r, err := t.c.queryRoute(ctx, t.name)
	t.mu.Lock()
	if err == nil && !r.same(t.route.Load()) {
		t.route.Store(r)
	}
	then := t.waiting
	t.waiting, t.refreshing, t.refreshed = nil, false, time.Now()
	t.mu.Unlock()
	for _, f := range then {
		f(err)
	}
}

func (r *route) same(o *route) bool {
	if r.appID != o.appID || len(r.parts) != len(o.parts) {
		return false
	}
	for i := range r.parts {
		if r.parts[i] != o.parts[i] {
			return false
		}
	}
	return true
}

// tableGone: the meta itself says so; another attempt can't help.
func tableGone(err error) bool {
	var ae *AdminError
	return errors.As(err, &ae) && (ae.Code == base.ErrObjectNotFound || ae.Code == base.ErrBusyDropping)
}

// leaderIn returns whom an rDSN answer says to ask instead.
func leaderIn(err error) base.RPCAddress {
	var he *rpc.HeaderError
	if errors.As(err, &he) {
		return he.Leader
	}
	return 0
}
