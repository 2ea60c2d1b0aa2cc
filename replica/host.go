package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/replica/part"
	"pegasus/replica/wal"
	"pegasus/rrdb"
)

// host is the server as parts know it.
type host struct{ s *Server }

// Replica implements part.Host.
func (h host) Replica(g base.Gpid) (part.Replica, bool) {
	r := h.s.replica(g)
	return handle{r}, r != nil
}

// Replicas implements part.Host.
func (h host) Replicas() []part.Replica {
	rs := h.s.all()
	list := make([]part.Replica, len(rs))
	for i, r := range rs {
		list[i] = handle{r}
	}
	return list
}

// Name implements part.Host.
func (h host) Name() string { return h.s.name }

// Now implements part.Host.
func (h host) Now() time.Time { return h.s.meta.Clock.Now() }

// Go implements part.Host.
func (h host) Go(f func(context.Context)) { h.s.spawn(func() { f(h.s.ctx) }) }

// Log implements part.Host.
func (h host) Log() *logrus.Entry { return h.s.log }

// handle is a replica as parts know it.
type handle struct{ r *replica }

// Gpid implements part.Replica.
func (h handle) Gpid() base.Gpid { return h.r.gpid }

// View implements part.Replica.
func (h handle) View() part.View {
	serves := h.r.srv.meta.Lease.Valid() // first, see part.View
	v := h.r.look()
	return part.View{Serves: serves, Role: v.Status, Ballot: v.Ballot, Committed: v.Committed, Prepared: v.Last, Applied: v.applied,
		Usable: v.failed == nil && !v.suspect, AppName: v.info.AppName, Partitions: v.info.Partitions, Envs: v.info.Envs}
}

// Checkpoint implements part.Replica.
func (h handle) Checkpoint(ctx context.Context, dir string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("replica %v: checkpoint: %w", h.r.gpid, err)
	}
	d, err := h.r.store.Load().Checkpoint(dir)
	if err != nil {
		return 0, fmt.Errorf("replica %v: checkpoint in %s: %w", h.r.gpid, dir, err)
	}
	return d, nil
}

// Scratch implements part.Replica.
func (h handle) Scratch() string { return h.r.dir.Scratch() }

// DiskUsable implements part.Replica.
func (h handle) DiskUsable() error { return h.r.dir.Usable() }

// ReadLog implements part.Replica.
func (h handle) ReadLog(from, maxBytes int64) ([]wal.Entry, error) {
	es, err := h.r.dir.Log().Read(h.r.gpid, from, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("replica %v: read the log from decree %d: %w", h.r.gpid, from, err)
	}
	return es, nil
}

// Hold implements part.Replica.
func (h handle) Hold(name string, decree int64) (first int64) { return h.r.kept.Hold(name, decree) }

// HoldWhileRoom implements part.Replica.
func (h handle) HoldWhileRoom(name string, decree int64, lost func()) (first int64) {
	return h.r.kept.HoldWhileRoom(name, decree, lost)
}

// HoldLong implements part.Replica.
func (h handle) HoldLong(name string, decree int64, lost func()) (first int64) {
	return h.r.kept.HoldLong(name, decree, lost)
}

// LogRoom implements part.Replica.
func (h handle) LogRoom() part.LogRoom {
	total, most := h.r.logRoom()
	return part.LogRoom{Bytes: total, Most: most, Oldest: h.r.dir.Log().Oldest(h.r.gpid) > 0}
}

// Release implements part.Replica.
func (h handle) Release(name string) { h.r.kept.Release(name) }

// errNotNow says that a replica isn't a primary that may write.
var errNotNow = errors.New("this replica can't write at present")

// Propose implements part.Replica.
func (h handle) Propose(ctx context.Context, fill func(payload []byte) ([]byte, error)) error {
	r := h.r
	done := make(chan error, 1)
	r.post(func(r *driver) {
		if ctx.Err() != nil { // nobody waits any more
			done <- context.Cause(ctx)
			return
		}
		if !r.mayPropose() {
			done <- errNotNow
			return
		}
		payload, err := fill(nil)
		if err != nil || len(payload) == 0 {
			r.overlay.Discard()
			done <- err
			return
		}
		if n := r.whose(); n > 0 && rrdb.CutOff(payload, r.gpid.PartitionIndex, n) {
			r.overlay.Discard()
			done <- errNotNow
			return
		}
		if err := r.proposeOwn(payload, done); err != nil {
			r.overlay.Discard()
			done <- fmt.Errorf("propose: %w", err)
		}
	})
	return r.await(ctx, done)
}

// mayPropose tells whether a mutation of the server's own can be proposed now.
func (r *driver) mayPropose() bool {
	v := r.view.Load()
	return r.failed == nil && r.core.Serving() && r.core.Room() > 0 && !r.taking.pending() && v.members >= v.minMembers &&
		(!r.flights.empty() || r.applied >= r.core.Committed()) // see propose
}

// proposeOwn proposes a mutation of the server's own. done is told whether it was applied.
func (r *driver) proposeOwn(payload []byte, done chan<- error) error {
	now := time.Now()
	e, err := r.core.Propose(r.srv.meta.Clock.Now().UnixMicro(), payload)
	if err != nil {
		return err
	}
	r.overlay.Add(e.Decree, e.Timestamp, payload)
	r.flights.add(flight{ballot: e.Ballot, decree: e.Decree, at: now, bytes: int64(len(payload)), then: func(applied bool) {
		if applied {
			done <- nil
		} else {
			done <- errNotNow
		}
	}})
	return nil
}

// await waits until a round of the replica has told done.
func (r *replica) await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-r.done:
		return errNotNow
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
