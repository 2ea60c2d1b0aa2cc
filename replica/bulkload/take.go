package bulkload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/gen/loading"
	"pegasus/rrdb"
)

// hold answers the primary: the set is kept for a while, what is in memory is written, and this is its digest.
func (l *Loader) hold(r Replica, q *loading.LoadRequest, a *loading.LoadResponse) error {
	if done, err := taken(r, q, a); done {
		return err
	}
	if err := member(r); err != nil {
		return err
	}
	l.mu.Lock()
	j := l.jobs[q.Pid]
	if j != nil && j.load > q.LoadId {
		l.mu.Unlock()
		return fmt.Errorf("load %d is older than load %d: %w", q.LoadId, j.load, base.ErrVersionOutdated)
	}
	if j != nil && !j.over {
		l.mu.Unlock()
		a.State = loading.LOAD_READING
		return nil
	}
	if l.removing[q.Pid] > 0 {
		l.mu.Unlock()
		return fmt.Errorf("loads are being removed: %w", base.ErrBusy)
	}
	// First it is kept, then it is looked at.
	l.kept[q.Pid] = promise{q.LoadId, time.Now().Add(keepTime)}
	l.mu.Unlock()
	store := r.Store()
	info, err := store.ReadSet(store.SetDir(q.LoadId))
	if err != nil {
		l.mu.Lock()
		delete(l.kept, q.Pid)
		l.mu.Unlock()
	}
	if errors.Is(err, rrdb.ErrNoSet) {
		return nil // LOAD_NONE
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	if err := store.Flush(ctx); err != nil {
		return fmt.Errorf("write what is in memory: %w", err)
	}
	a.State, a.Digest, a.Rows = loading.LOAD_READY, info.Digest, info.Rows
	return nil
}

// take has the set taken by all members.
func (l *Loader) take(r Replica, q *loading.LoadRequest, a *loading.LoadResponse) error {
	if done, err := taken(r, q, a); done {
		return err
	}
	l.mu.Lock()
	if l.taking[q.Pid] {
		l.mu.Unlock()
		return fmt.Errorf("it is being taken: %w", base.ErrBusy)
	}
	l.taking[q.Pid] = true
	c := l.countsOf(q.Pid)
	l.mu.Unlock()
	done := make(chan error, 1)
	var held time.Duration
	l.host.Go(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, takeTime)
		defer cancel()
		var err error
		held, err = l.haveTaken(ctx, r, q)
		l.mu.Lock()
		delete(l.taking, q.Pid)
		l.mu.Unlock()
		done <- err
	})
	err := <-done
	if is, e := taken(r, q, a); is {
		a.HeldMs = int32(held.Milliseconds())
		if e == nil {
			c.ok.Add(1)
		}
		return e
	}
	if err == nil {
		err = fmt.Errorf("it was proposed, and isn't taken: %w", base.ErrBusy)
	}
	return err
}

func (l *Loader) haveTaken(ctx context.Context, r Replica, q *loading.LoadRequest) (held time.Duration, err error) {
	ballot, nodes, err := r.Members()
	if err != nil {
		return 0, err
	}
	store := r.Store()
	info, err := store.ReadSet(store.SetDir(q.LoadId))
	switch {
	case errors.Is(err, rrdb.ErrNoSet):
		return 0, fmt.Errorf("the primary has no set of load %d: prepare it: %w", q.LoadId, base.ErrBusy)
	case err != nil:
		return 0, err
	}
	digest := q.Digest.V
	if digest == "" {
		return 0, fmt.Errorf("no digest is given: %w", base.ErrInvalidParameters)
	}
	if err := sameCount(r, info.Partitions); err != nil {
		return 0, err
	}
	if err := l.askAll(ctx, r, nodes, q, digest); err != nil {
		return 0, err
	}
	held, err = r.Take(ctx, ballot, rrdb.Take{Load: q.LoadId, Digest: digest, Partitions: info.Partitions, TimetagUS: info.TimetagUS, Behind: info.Behind})
	if err != nil {
		return 0, err
	}
	l.log.Infof("replica %v: load %d is taken, %d rows; writes waited for %v", q.Pid, q.LoadId, info.Rows, held.Round(time.Millisecond))
	for {
		was := l.held.Load()
		if held.Milliseconds() <= was || l.held.CompareAndSwap(was, held.Milliseconds()) {
			return held, nil
		}
	}
}

// askAll returns nil if each member keeps a set with that digest.
func (l *Loader) askAll(ctx context.Context, r Replica, nodes []base.RPCAddress, q *loading.LoadRequest, digest string) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	ask := &loading.LoadRequest{Pid: q.Pid, LoadId: q.LoadId, Step: loading.LOAD_HOLD, ClusterId: l.host.ID()}
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			var a loading.LoadResponse
			var err error
			if n == l.host.Self() {
				a.Err, a.State = base.ErrOK, loading.LOAD_NONE
				err = l.hold(r, ask, &a)
			} else {
				a, err = l.host.Ask(ctx, n, ask)
			}
			switch {
			case err != nil:
				err = fmt.Errorf("%w: %w", base.ErrBusy, err)
			case a.Err != base.ErrOK:
				err = fmt.Errorf("%w: %v: %s", base.ErrBusy, a.Err, a.HintMsg)
			case a.State != loading.LOAD_READY:
				err = fmt.Errorf("it has no set of load %d (%v): prepare it: %w", q.LoadId, a.State, base.ErrBusy)
			case a.Digest != digest:
				err = fmt.Errorf("its set has digest %s, not %s: %w", a.Digest, digest, base.ErrInconsistentState)
			}
			if err != nil {
				errs[i] = fmt.Errorf("member %v: %w", n, err)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if errors.Is(err, base.ErrInconsistentState) {
			return err // of no use to ask again
		}
	}
	return errors.Join(errs...)
}
