package replica

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"pegasus/gen/metadata"
	"pegasus/httpapi"
	"pegasus/replica/disk"
	"pegasus/replica/part"
	"pegasus/rrdb"
)

// compactor makes manual compactions, and opens stores anew whose tables' settings tune the
// engine otherwise.
type compactor struct {
	part.Quiet
	srv      *Server
	retuning atomic.Bool
}

func newCompactor(s *Server) part.Part { return &compactor{srv: s} }

// Register implements part.Part.
func (c *compactor) Register(rt *part.Routes) {
	rt.Page("replica/manual_compaction", "app_id=<app_id>: how many replicas of a table are idle, wait for a manual compaction, run one, or have finished one.", c.page)
}

// Tick implements part.Part.
func (c *compactor) Tick(time.Time) {
	rs := c.srv.all()
	c.retuneSome(rs)
	c.compactSome(c.srv.meta.Clock.Now(), rs)
}

// compactSome begins compactions that are due, as many as may run at the same time: on the
// whole server those that the engine's slots suffice for, of a table those its settings allow.
// It is called again and again, by one goroutine.
func (c *compactor) compactSome(now time.Time, rs []*replica) {
	running := map[int32]int32{}
	sum := 0
	for _, r := range rs {
		if r.compactions.status() == metadata.RUNNING {
			running[r.gpid.AppID]++
			sum++
		}
	}
	for _, r := range rs {
		waits, most := r.compactions.look(now)
		app := r.gpid.AppID
		if !waits || sum >= max(c.srv.cfg.Storage.Compactions, 1) || most > 0 && running[app] >= most || r.view.Load().failed != nil || awaitsPass(r, now) {
			continue
		}
		running[app]++
		sum++
		r.compactions.begin(now)
		c.srv.spawn(func() {
			r.log.Info("manual compaction begins")
			err := r.store.Load().Compact(c.srv.ctx, c.srv.cfg.Storage.SweepDelay.D())
			at := c.srv.meta.Clock.Now()
			r.compactions.end(at, err)
			if err != nil {
				r.log.Warnf("manual compaction: %v", err)
				return
			}
			r.log.Infof("manual compaction took %v", at.Sub(now).Round(time.Millisecond))
			r.post(func(r *driver) {
				r.info.Compacted = at.UnixMilli()
				if err := disk.WriteJSON(r.infoName(), &r.info); err != nil {
					r.log.Warnf("the end of a manual compaction: %v", err)
				}
			})
		})
	}
}

func (c *compactor) page(q *httpapi.Request) httpapi.Response {
	app, bad := appID(q, "app_id")
	if bad != nil {
		return *bad
	}
	var n [metadata.FINISHED + 1]int
	for _, r := range c.srv.of(app) {
		n[r.compactions.status()]++
	}
	return compact(map[string]any{"status": map[string]int{"finished": n[metadata.FINISHED], "idle": n[metadata.IDLE],
		"queuing": n[metadata.QUEUING], "running": n[metadata.RUNNING]}})
}

// retuneFlush bounds what is left to flush while the replica stands still.
const retuneFlush = 3 * time.Second

// retuneTime bounds the flush that comes before a store is opened anew.
const retuneTime = 10 * time.Minute

// retuneSome opens stores anew whose tables are tuned otherwise than the engine was when it
// was opened, one after the other. It is called again and again, by one goroutine.
func (c *compactor) retuneSome(rs []*replica) {
	if !c.retuning.CompareAndSwap(false, true) {
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
		c.retuning.Store(false)
		return
	}
	c.srv.spawn(func() {
		defer c.retuning.Store(false)
		ctx, cancel := context.WithTimeout(c.srv.ctx, retuneTime)
		defer cancel()
		// What is left to flush when the replica stands still is little then.
		if err := r.flush(ctx); err != nil {
			r.log.Warnf("flush before the store is opened with other options: %v", err)
			return
		}
		done := make(chan struct{})
		r.post(func(r *driver) {
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
func (r *driver) retune() {
	old := r.store.Load()
	want := rrdb.TuningOf(r.info.Envs)
	if r.failed != nil || old.Tuning() == want {
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.srv.ctx, retuneFlush)
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
