package replica

import (
	"context"
	"fmt"
	"time"

	"pegasus/rrdb"
)

// retuneTime bounds the flush that comes before a store is opened anew.
const retuneTime = 10 * time.Minute

// retuneSome opens stores anew whose tables are tuned otherwise than the engine was when it
// was opened, one after the other. It is called again and again, by one goroutine.
func (s *Server) retuneSome(rs []*replica) {
	if !s.retuning.CompareAndSwap(false, true) {
		return
	}
	var r *replica
	for _, x := range rs {
		if v := x.view.Load(); v.failed == nil && x.store.Load().Tuning() != rrdb.TuningOf(v.info.Envs) {
			r = x
			break
		}
	}
	if r == nil {
		s.retuning.Store(false)
		return
	}
	s.spawn(func() {
		defer s.retuning.Store(false)
		ctx, cancel := context.WithTimeout(s.ctx, retuneTime)
		defer cancel()
		// What is left to flush when the replica stands still is little then.
		if err := r.flush(ctx); err != nil {
			r.log.Warnf("flush before the store is opened with other options: %v", err)
			return
		}
		done := make(chan struct{})
		r.post(func() {
			defer close(done)
			r.retune()
		})
		select {
		case <-done:
		case <-r.done:
		}
	})
}

// retune closes the store and opens it with the options that the table's settings ask for.
// Requests that come meanwhile are told to try again, as at a new primary.
func (r *replica) retune() {
	old := r.store.Load()
	want := rrdb.TuningOf(r.info.Envs)
	if r.failed != nil || old.Tuning() == want {
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.srv.ctx, metaTimeout)
	defer cancel()
	if err := old.Flush(ctx); err != nil {
		r.log.Warnf("flush before the store is opened with other options: %v", err)
		return
	}
	if err := old.Close(); err != nil {
		r.fail(fmt.Errorf("opening the store with other options: %w", err))
		return
	}
	next, err := r.openStore(r.info.Store, false)
	if err == nil && next.LastApplied() != r.applied {
		err = fmt.Errorf("it has decree %d, and had %d", next.LastApplied(), r.applied)
		_ = next.Close()
	}
	if err != nil {
		r.fail(fmt.Errorf("opening the store with other options: %w", err))
		return
	}
	r.store.Store(next)
	r.log.Infof("the store has the options of the table's settings, %+v, after %v", want, time.Since(began).Round(time.Millisecond))
}
