package replica

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/base/pause"
	"pegasus/pacifica"
)

// How long the parts of an orderly end may take. A server that is stopped ends within
// stopTime: what isn't done by then a restart does, from the log.
const (
	stopTime     = 2800 * time.Millisecond
	stopPolite   = 2400 * time.Millisecond // for others; then the server only closes what it has open
	stopSettle   = 300 * time.Millisecond  // writes that are under way
	stopHandOver = time.Second             // until others lead what this server led
	stopGone     = 500 * time.Millisecond  // until others go on without it
	stopFlush    = 1200 * time.Millisecond // of the stores, while peers are still answered
	stopPoll     = 10 * time.Millisecond
	stopAtOnce   = 4 // stores flushed and closed at a time
)

// Close ends the server in order: others take over what it leads, clients are answered or sent
// elsewhere, the meta is told, the stores are flushed, and only then the connections go. As
// long as others may need it, this server acknowledges what they prepare: a peer whose
// connection is drained would have to be waited for.
//
// When ctx ends nobody is waited for any more, and what isn't flushed is left to the log. A second
// call waits for the first one.
func (s *Server) Close(ctx context.Context) (err error) {
	s.stopping.Do(func() { err = stopper{s}.stop(ctx) })
	return err
}

// stopper ends a server.
type stopper struct{ *Server }

func (s stopper) stop(ctx context.Context) error {
	s.handOver(ctx)
	s.meta.Lease.End() // from here on clients are sent elsewhere
	s.await(ctx, stopSettle, s.idle)
	s.sayGone(ctx)
	s.cancel()
	s.flushAll(ctx, stopFlush)
	err := s.closeAll(ctx, s.shut())
	// Every request that came in is answered by now, but for long reads and HTTP.
	if cut := s.rpc.Shutdown(ctx); cut != nil {
		s.log.Warn(cut)
	}
	close(s.halt)
	s.wg.Wait()
	err = errors.Join(err, s.closeParts())
	s.pool.Close()
	s.blobs.Close()
	s.shared.Close()
	return err
}

// end is Close within stopTime. What isn't closed then is left as by a crash, which loses
// nothing; that is no error.
func (s *Server) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPolite)
	defer cancel()
	began := time.Now()
	closed := make(chan error, 1)
	go func() { closed <- s.Close(ctx) }()
	select {
	case err := <-closed:
		s.log.Infof("stopped within %v", time.Since(began).Round(time.Millisecond))
		return err
	case <-time.After(stopTime):
		s.log.Warnf("stopped after %v, while stores were being closed: the next start replays the rest of their log", stopTime)
		return nil
	}
}

// handOver has others lead what this server leads, if there are others. Writes that come
// meanwhile wait: then none is on its way when the lead goes, and all can be told to ask
// whoever has it.
func (s stopper) handOver(ctx context.Context) {
	if !s.meta.Lease.Valid() || s.leads() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stopHandOver)
	defer cancel()
	began := time.Now()
	s.handing.Store(true)
	s.await(ctx, stopSettle, s.idle)
	left := int32(-1)
	if !s.await(ctx, stopHandOver, func() bool {
		res, err := s.meta.Stop(ctx, false)
		switch {
		case err != nil:
			s.log.Warnf("stopping, and the meta isn't asked who takes over: %v", err)
			return true
		case res.Moving > 0:
			return false
		}
		left = res.Left
		return true
	}) || left < 0 {
		return
	}
	// The new primaries say so themselves, and most have by now.
	asked := time.Now()
	s.await(ctx, stopSettle, func() bool {
		if time.Since(asked) > 20*time.Millisecond {
			asked = time.Now()
			s.meta.SyncSoon()
		}
		return s.leads() <= int(left)
	})
	s.log.Infof("gave over what it led within %v; %d partitions have nobody else", time.Since(began).Round(time.Millisecond), left)
}

// sayGone tells the meta that this server serves no more, and goes on when the others do
// without it.
func (s stopper) sayGone(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopGone)
	defer cancel()
	s.await(ctx, stopGone, func() bool {
		res, err := s.meta.Stop(ctx, true)
		if err != nil {
			s.log.Debugf("tell the meta of the end: %v", err)
		}
		return err != nil || res.Moving == 0
	})
}

// await asks until f says yes, at most for that long.
func (s stopper) await(ctx context.Context, most time.Duration, f func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for !f() {
		if ctx.Err() != nil {
			return false
		}
		pause.For(ctx, stopPoll)
	}
	return true
}

// leads counts the partitions that this server leads.
func (s stopper) leads() (n int) {
	for _, r := range s.all() {
		if v := r.view.Load(); v.Status == pacifica.Primary && v.failed == nil {
			n++
		}
	}
	return n
}

// idle tells that no write is under way.
func (s stopper) idle() bool {
	for _, r := range s.all() {
		if v := r.view.Load(); v.Status == pacifica.Primary && v.failed == nil && r.last.Load() > r.appliedAt.Load() {
			return false
		}
	}
	return true
}

// each calls f for the replicas, a few at a time.
func each(rs []*replica, f func(r *replica)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(stopAtOnce, len(rs)) {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(len(rs)); i = next.Add(1) {
				f(rs[i-1])
			}
		})
	}
	wg.Wait()
}

// flushAll makes what the stores hold durable, so that a restart replays little of the log.
func (s stopper) flushAll(ctx context.Context, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	each(s.all(), func(r *replica) { r.flushLast(ctx) })
}

func (r *replica) flushLast(ctx context.Context) {
	if ctx.Err() != nil || r.view.Load().failed != nil {
		return
	}
	if err := r.flush(ctx); err != nil && ctx.Err() == nil {
		r.log.Warnf("the last flush: %v", err)
	}
}

// closeAll closes replicas, and flushes what came since the flush before.
func (s stopper) closeAll(ctx context.Context, rs []*replica) error {
	var mu sync.Mutex
	var errs []error
	each(rs, func(r *replica) {
		r.end()
		r.flushLast(ctx)
		if err := r.close(); err != nil {
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		}
	})
	return errors.Join(errs...)
}
