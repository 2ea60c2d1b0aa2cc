package replica

import (
	"context"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/gen/probe"
	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/replica/part"
	"pegasus/rpc"
)

const (
	// maxProbes bounds the partitions that one probe asks about.
	maxProbes = 20000
	// maxProbeTime bounds a probe.
	maxProbeTime = 10 * time.Second
	// probeAgain is how often a write is tried while its partition can't take one.
	probeAgain = 20 * time.Millisecond
)

// prober tells the leading meta whether partitions that this server leads can be read and written, and how long requests take. It
// goes the way of a client's request from the replica on: the rules of the table don't hold for it, and it is nobody's request.
type prober struct {
	part.Quiet
	srv *Server
	mu  sync.Mutex // one probe at a time
}

func newProber(s *Server) part.Part { return &prober{srv: s} }

// Register implements part.Part.
func (p *prober) Register(rt *part.Routes) { part.Handle(rt, base.RPCProbe, part.Slow, p.probe) }

func (p *prober) probe(_ *rpc.Request, q *probe.ProbeRequest, a *probe.ProbeResponse) {
	if len(q.Partitions) > maxProbes || q.TimeoutMs <= 0 {
		a.Err = base.ErrInvalidParameters
		return
	}
	if !p.mu.TryLock() {
		a.Err = base.ErrBusy
		return
	}
	defer p.mu.Unlock()
	a.Err = base.ErrOK
	ctx, cancel := context.WithTimeout(p.srv.ctx, min(time.Duration(q.TimeoutMs)*time.Millisecond, maxProbeTime))
	defer cancel()
	a.Results = make([]probe.ProbeResult, len(q.Partitions))
	var wg sync.WaitGroup
	for i := range q.Partitions {
		to, res := &q.Partitions[i], &a.Results[i]
		res.Pid = to.Pid
		r := p.srv.replica(to.Pid)
		if to.Write {
			res.Wrote = true
			wg.Go(func() {
				began := time.Now()
				res.WriteErr = writable(ctx, r)
				res.WriteUs = time.Since(began).Microseconds()
			})
		}
		began := time.Now()
		res.ReadErr = readable(r)
		res.ReadUs = time.Since(began).Microseconds()
	}
	wg.Wait()
	a.Latencies = p.latencies()
}

// readable tells how a read would end that comes now: as gate.read.
func readable(r *replica) base.ErrorCode {
	if r == nil {
		return base.ErrObjectNotFound
	}
	v := r.view.Load()
	if v.failed != nil || v.Status != pacifica.Primary || !v.Serving || r.srv.meta.Lease.Lost() {
		return base.ErrInvalidState
	}
	if err := r.store.Load().Touch(); err != nil {
		return base.CodeOf(err)
	}
	if !r.srv.gate.mayAnswer(r) {
		return base.ErrInvalidState
	}
	return base.ErrOK
}

// writable commits an empty mutation. A partition that is busy with those of clients has shown it when one of them is committed.
func writable(ctx context.Context, r *replica) base.ErrorCode {
	if r == nil {
		return base.ErrObjectNotFound
	}
	before := r.committed.Load()
	for {
		switch code := r.srv.gate.mayCommit(r); {
		case r.committed.Load() > before:
			return base.ErrOK
		case code != base.ErrOK:
			return code
		}
		done := make(chan error, 1)
		r.post(func(r *driver) {
			if ctx.Err() != nil || !r.mayPropose() {
				done <- errNotNow
				return
			}
			if err := r.proposeOwn(nil, done); err != nil {
				done <- err
			}
		})
		if r.await(ctx, done) == nil {
			return base.ErrOK
		}
		select {
		case <-ctx.Done():
			return base.ErrTimeout
		case <-r.done:
			return base.ErrObjectNotFound
		case <-time.After(probeAgain):
		}
	}
}

// latencies returns how long the requests to each table took.
func (p *prober) latencies() []probe.TableLatency {
	type both struct{ reads, writes metrics.Octaves }
	tables := map[int32]*both{}
	var order []int32
	for _, r := range p.srv.all() { // in the order of their ids
		for op := range metrics.NumOps {
			t := r.observed.Ops.Of(op)
			if t == nil {
				continue
			}
			b := tables[r.gpid.AppID]
			if b == nil {
				b = &both{}
				tables[r.gpid.AppID] = b
				order = append(order, r.gpid.AppID)
			}
			if op.Reads() {
				t.Histogram().AddTo(&b.reads)
			} else {
				t.Histogram().AddTo(&b.writes)
			}
		}
	}
	list := make([]probe.TableLatency, len(order))
	for i, id := range order {
		list[i] = probe.TableLatency{AppId: id, Reads: cutZeros(&tables[id].reads), Writes: cutZeros(&tables[id].writes)}
	}
	return list
}

func cutZeros(o *metrics.Octaves) []int64 {
	n := len(o)
	for n > 0 && o[n-1] == 0 {
		n--
	}
	return o[:n]
}
