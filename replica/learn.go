package replica

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"pegasus/base"
	"pegasus/pacifica"
)

// A copy that failed is tried again after learnRetry, then after twice that each time, up to
// learnRetryMost.
const learnRetry, learnRetryMost = time.Second, 10 * time.Second

// fetchDir is where a checkpoint is gathered. It survives restarts, so that what was copied
// is used by the next attempt, and goes when the replica is a member.
func (r *replica) fetchDir() string { return filepath.Join(r.path, "fetch") }

// reached tells a test of a step of learning.
func (s *Server) reached(step string) {
	if f := s.learnStep.Load(); f != nil {
		(*f)(step)
	}
}

// fetch gets a checkpoint from the primary and puts it in the store's place. The old store
// stays until the new one is complete, checked and durable; info.json then names the new one.
func (r *replica) fetch(f pacifica.Fetch) {
	n := r.info.Store + 1
	p := &progress{from: r.srv.peerName(f.From), started: time.Now()}
	p.phase.Store(phaseWaiting)
	r.copying.Store(p)
	r.log.Infof("fetches a checkpoint from %v", f.From)
	r.srv.spawn(func() {
		ctx := r.srv.ctx
		m, err := r.gather(ctx, f, p, n-1)
		if err != nil && ctx.Err() == nil {
			// Not at once: the primary makes a checkpoint for each attempt.
			p.phase.Store(phaseFailed)
			wait := min(learnRetry<<min(r.learnFailed.Load(), 8), learnRetryMost)
			r.learnFailed.Add(1)
			r.srv.counts.learnFailed.Add(1)
			r.log.Warnf("checkpoint from %v: %v; has %d of %d bytes, tried again in %v", f.From, err, p.bytesDone.Load(), p.bytes.Load(), wait)
			if errors.Is(err, base.ErrWrongChecksum) {
				r.distrust.Store(true)
			}
			if errors.Is(err, syscall.ENOSPC) {
				if e := os.RemoveAll(r.fetchDir()); e != nil {
					r.log.Warn(e)
				}
			}
			pause(ctx, wait)
		}
		r.post(func() {
			defer r.copying.Store(nil)
			if r.failed != nil {
				return
			}
			if err == nil {
				p.phase.Store(phaseInstalling)
				if err = r.install(n, m.Decree); err != nil {
					r.srv.counts.learnFailed.Add(1)
					r.log.Warnf("checkpoint from %v: %v", f.From, err)
				}
			}
			if r.failed != nil {
				return
			}
			if err == nil {
				r.learnFailed.Store(0)
				r.distrust.Store(false)
				r.srv.counts.learned.Add(1)
				r.log.Infof("installed the checkpoint of decree %d, %d bytes, %d of them not copied, in %v", m.Decree, p.bytes.Load(),
					p.reused.Load(), time.Since(p.started).Round(time.Millisecond))
			}
			r.core.Installed(p.decree.Load(), err == nil)
		})
	})
}

// gather fills the fetch directory with a checkpoint of f.From and makes it durable. present
// is the number of the store in use.
func (r *replica) gather(ctx context.Context, f pacifica.Fetch, p *progress, present int64) (*manifest, error) {
	select {
	case r.srv.copies <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-r.srv.copies }()
	r.fetching.Lock()
	defer r.fetching.Unlock()
	g := &gatherer{from: "http://" + p.from, dir: r.fetchDir(), old: r.storePath(present), p: p, step: r.srv.reached,
		pace: func(n int) error { return r.srv.pace.wait(ctx, r.srv.pace.take, n) }}
	q := url.Values{"replica": {r.gpid.String()}, "ballot": {strconv.FormatInt(f.Ballot, 10)}}
	if r.distrust.Load() {
		q.Set("fresh", "1")
	}
	m, err := g.run(ctx, q)
	r.srv.counts.learnBytes.Add(p.bytesDone.Load() - p.reused.Load())
	return m, errors.Join(err, ctx.Err())
}

// dropFetched removes what is left of a copy that a member has no use for.
func (r *replica) dropFetched() {
	r.fetching.Lock()
	defer r.fetching.Unlock()
	if err := os.RemoveAll(r.fetchDir()); err != nil {
		r.log.Warnf("remove an unfinished copy: %v", err)
	}
}

// install makes what was gathered the replica's store n; it holds everything up to decree.
// Called by the loop. If it ends in the middle the replica is out of service, and goes on
// with what info.json says once it is opened again.
func (r *replica) install(n, decree int64) error {
	step := r.srv.reached
	if err := os.RemoveAll(r.storePath(n)); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(r.fetchDir(), r.storePath(n)), syncDir(r.path)); err != nil {
		return err
	}
	step("renamed")
	next, err := r.openStore(n, false)
	if err == nil && next.LastApplied() != decree {
		err = errors.Join(fmt.Errorf("the checkpoint holds decree %d, its manifest says %d", next.LastApplied(), decree), next.Close())
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(r.storePath(n)))
	}
	step("opened")
	// First the log forgets, then the store changes: a crash between leaves an older store
	// without a log, which is a learner that has further to go. From here on the core's
	// window says more than the log holds, so there is no way back.
	if err := wait(func(done func(error)) { r.dir.log().Reset(r.gpid, decree, done) }); err != nil {
		r.fail(fmt.Errorf("log: %w", err))
		return errors.Join(err, next.Close())
	}
	step("reset")
	info := r.info
	info.Store = n
	if err := writeJSON(r.infoName(), &info); err != nil {
		r.fail(fmt.Errorf("put a checkpoint in the store's place: %w", err))
		return errors.Join(err, next.Close())
	}
	step("named")
	r.info = info
	old := r.store.Swap(next)
	r.applied = decree
	if err := old.Close(); err != nil {
		r.log.Warnf("close the replaced store: %v", err)
	}
	if err := os.RemoveAll(r.storePath(n - 1)); err != nil {
		r.log.Warnf("remove the replaced store: %v", err)
	}
	return nil
}
