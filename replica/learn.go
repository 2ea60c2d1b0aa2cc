package replica

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"pegasus/base"
	"pegasus/pacifica"
	"pegasus/replica/checkpoint"
	"pegasus/replica/disk"
	"pegasus/replica/wal"
)

// copyHost is the server as package checkpoint knows it.
type copyHost struct{ s *Server }

// Name, NameOf, Go, Mark, Check, Replica and Replicas implement checkpoint.Host.
func (h copyHost) Name() string { return h.s.name }

func (h copyHost) NameOf(n base.RPCAddress) string { return h.s.peerName(n) }

func (h copyHost) Go(f func(context.Context)) { host(h).Go(f) }

func (h copyHost) Mark(header http.Header) { h.s.meta.Identity.Mark(header) }

func (h copyHost) Check(header http.Header) error { return h.s.meta.Identity.Check(header) }

func (h copyHost) Replica(g base.Gpid) checkpoint.Replica {
	if r := h.s.replica(g); r != nil {
		return copied{r}
	}
	return nil
}

func (h copyHost) Replicas() []checkpoint.Replica {
	all := h.s.all()
	rs := make([]checkpoint.Replica, len(all))
	for i, r := range all {
		rs[i] = copied{r}
	}
	return rs
}

// copied is a replica as package checkpoint knows it, of which checkpoints are given and fetched.
type copied struct{ r *replica }

// Gpid, State, Store, Checkpoint, Scratch, Hold, Release and Learner implement checkpoint.Replica.
func (c copied) Gpid() base.Gpid { return c.r.gpid }

func (c copied) State() (pacifica.State, int64) {
	v := c.r.look()
	return v.State, v.applied
}

func (c copied) Store() int64 { return c.r.view.Load().info.Store }

func (c copied) Checkpoint(dir string) (decree int64, err error) {
	return c.r.store.Load().Checkpoint(dir)
}

func (c copied) Scratch() string { return c.r.dir.Scratch() }

func (c copied) Hold(name string, decree int64, lost func()) (first int64) {
	return c.r.kept.HoldWhileRoom(name, decree, lost)
}

func (c copied) Release(name string) { c.r.kept.Release(name) }

func (c copied) Learner() *checkpoint.Learner { return c.r.learner }

// Post, Done, Failed, Install and Installed implement checkpoint.Installer.
func (c copied) Post(f func()) { c.r.post(func(*driver) { f() }) }

func (c copied) Done() <-chan struct{} { return c.r.done }

func (c copied) Failed() bool { return c.r.driver.failed != nil }

func (c copied) Install(decree int64) error { return c.r.driver.install(decree) }

func (c copied) Installed(decree int64, ok bool) { c.r.driver.core.Installed(decree, ok) }

// fetch gets a checkpoint from the primary and puts it in the store's place. The old store
// stays until the new one is complete, checked and durable; info.json then names the new one.
func (r *driver) fetch(f pacifica.Fetch) {
	r.learner.Fetch(copied{r.replica}, f.From, f.Ballot, r.storePath(r.info.Store))
}

// install makes what the learner copied the replica's next store; it holds everything up to
// decree. Called by the loop. If it ends in the middle the replica is out of service, and goes on
// with what info.json says once it is opened again.
func (r *driver) install(decree int64) error {
	n, step := r.info.Store+1, r.learner.Reached
	if err := os.RemoveAll(r.storePath(n)); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(r.learner.Dir(), r.storePath(n)), disk.SyncDir(r.path)); err != nil {
		return err
	}
	step("renamed")
	next, err := r.openStore(n, false)
	if err == nil && next.LastApplied() != decree {
		err = errors.Join(fmt.Errorf("the checkpoint holds decree %d, its manifest says %d", next.LastApplied(), decree), next.Close())
	}
	if err != nil {
		if base.Passing(err) {
			// Nothing is wrong with what was copied, and it may have taken hours.
			if e := os.Rename(r.storePath(n), r.learner.Dir()); e == nil {
				return err
			}
		}
		return errors.Join(err, os.RemoveAll(r.storePath(n)))
	}
	step("opened")
	// First the log forgets, then the store changes: a crash between leaves an older store
	// without a log, which is a learner that has further to go. From here on the core's
	// window says more than the log holds, so there is no way back.
	if err := wal.Wait(func(done func(error)) { r.dir.Log().Reset(r.gpid, decree, done) }); err != nil {
		r.fail(fmt.Errorf("log: %w", err))
		return errors.Join(err, next.Close())
	}
	step("reset")
	info := r.info
	info.Store = n
	if err := disk.WriteJSON(r.infoName(), &info); err != nil {
		r.fail(fmt.Errorf("put a checkpoint in the store's place: %w", err))
		return errors.Join(err, next.Close())
	}
	step("named")
	r.info = info
	old := r.store.Swap(next)
	r.applied = decree
	r.taking.clear()
	if err := old.Close(); err != nil {
		r.log.Warnf("close the replaced store: %v", err)
	}
	if err := os.RemoveAll(r.storePath(n - 1)); err != nil {
		r.log.Warnf("remove the replaced store: %v", err)
	}
	return nil
}
