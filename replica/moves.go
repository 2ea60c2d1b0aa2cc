package replica

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/gen/replicaadmin"
	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/remotecmd"
	"pegasus/remotecmd/answer"
	"pegasus/replica/part"
	"pegasus/rpc"
)

func newMover(s *Server) part.Part {
	mv := &mover{srv: s}
	mv.patience.Store(int64(moveDisk))
	s.waits = mv.wait
	return mv
}

// Register implements part.Part.
func (mv *mover) Register(rt *part.Routes) {
	part.Handle(rt, base.RPCReplicaDiskMigrate, part.Slow, func(_ *rpc.Request, q *replicaadmin.ReplicaDiskMigrateRequest, a *replicaadmin.ReplicaDiskMigrateResponse) {
		if err := mv.begin(q.Pid, q.OriginDisk, q.TargetDisk); err != nil {
			a.Err, a.Hint = base.CodeOf(err), base.Some(err.Error())
			return
		}
		a.Err = base.ErrOK
	})
	rt.Command(remotecmd.Command{Name: "replica.disk-moves", Help: "Show replicas that are moved between data directories, and those that were last, as JSON", Shows: remotecmd.Always,
		Run: func([]string) string { return remotecmd.JSON(mv.list()) }})
}

// Collect implements part.Part.
func (mv *mover) Collect(sn *metrics.Snapshot) {
	e := sn.Entity(metrics.Server, "")
	e.Set(metrics.DiskMovesRunning, int64(len(mv.srv.moving())))
	e.Set(metrics.DiskMoves, mv.done.Load())
	e.Set(metrics.DiskMoveFailures, mv.failed.Load())
	e.Set(metrics.DiskMoveBytes, mv.bytes.Load())
}

// list returns the moves that have ended, then those that are under way.
func (mv *mover) list() []answer.DiskMove {
	mv.mu.Lock()
	out := append([]answer.DiskMove{}, mv.ended...)
	running := mv.srv.moving()
	mv.mu.Unlock()
	slices.SortFunc(running, func(a, b *move) int { return a.began.Compare(b.began) })
	for _, m := range running {
		out = append(out, *m.answer())
	}
	return out
}

// begin begins to move replica g between the directories with those tags, or says why that can't be, with
// upstream's codes.
func (mv *mover) begin(g base.Gpid, from, to string) error {
	r := mv.srv.replica(g)
	if r == nil {
		if mv.srv.moveOf(g) != nil { // it is in neither place at present
			return fmt.Errorf("replica %v is being moved: %w", g, base.ErrBusy)
		}
		return fmt.Errorf("replica %v isn't here: %w", g, base.ErrObjectNotFound)
	}
	m := &move{gpid: g, from: mv.srv.disks.Tagged(from), to: mv.srv.disks.Tagged(to), began: time.Now()}
	m.state.Store(int32(replicaadmin.MOVING))
	switch v := r.view.Load(); {
	case mv.srv.moveOf(g) != nil:
		return fmt.Errorf("replica %v is being moved: %w", g, base.ErrBusy)
	case v.failed != nil || v.suspect || v.Status != pacifica.Primary && v.Status != pacifica.Secondary:
		return fmt.Errorf("replica %v is %v: only a primary or a secondary is moved: %w", g, wireStatus(v), base.ErrInvalidState)
	case from == to:
		return fmt.Errorf("both directories are %q: %w", from, base.ErrInvalidParameters)
	case m.from == nil || m.to == nil:
		missing := from
		if m.from != nil {
			missing = to
		}
		return fmt.Errorf("no data directory has the tag %q: `pegasus disk ls` lists them: %w", missing, base.ErrObjectNotFound)
	case m.to == r.dir.Dir || m.to.Has(g):
		return fmt.Errorf("replica %v is in %s (%s) already: %w", g, m.to.Path, to, base.ErrPathAlreadyExist)
	case m.from != r.dir.Dir:
		return fmt.Errorf("replica %v isn't in %s (%s), but in %s: %w", g, m.from.Path, from, r.dir.Tag, base.ErrObjectNotFound)
	}
	m.store = r.view.Load().info.Store + 1
	if err := m.from.Usable(); err != nil && !errors.Is(err, base.ErrDiskInsufficient) {
		return err
	}
	if err := mv.srv.disks.Fits(m.to, int64(r.store.Load().Size())); err != nil {
		return err
	}
	if err := r.onlyKnown(); err != nil {
		return err
	}
	// Copies that share a disk finish no sooner, are felt more by clients, and none of them knows what room another
	// one will need.
	if o, ok := mv.srv.beginMove(g, m); !ok {
		if o != nil && o.gpid != g {
			return fmt.Errorf("replica %v is being moved from %s to %s, and a directory gives or takes one at a time: try again later: %w", o.gpid, o.from.Tag, o.to.Tag, base.ErrBusy)
		}
		return fmt.Errorf("replica %v is being moved, or the server is stopping: %w", g, base.ErrBusy)
	}
	if err := errors.Join(vfs.Default.RemoveAll(m.place()), vfs.Default.MkdirAll(m.place(), 0o755)); err != nil {
		mv.srv.endMove(g)
		return fmt.Errorf("data directory %s can't be written: %w: %w", m.to.Path, err, base.ErrFileOperationFailed)
	}
	begun := false
	mv.srv.unlessShut(func() {
		begun = true
		mv.srv.spawn(func() { mv.carryOut(r, m) })
	})
	if !begun {
		mv.srv.endMove(g)
		return fmt.Errorf("the server is stopping: %w", base.ErrServiceNotActive)
	}
	return nil
}

// carryOut moves a replica, and tells how that ended.
func (mv *mover) carryOut(r *replica, m *move) {
	r.log.Infof("moves from data directory %s (%s) to %s (%s)", m.from.Path, m.from.Tag, m.to.Path, m.to.Tag)
	err := mv.copy(mv.srv.ctx, r, m)
	if err == nil {
		m.state.Store(int32(replicaadmin.MOVED))
		err = mv.change(r, m)
	} else {
		r.kept.Release(m.holdName())
		if e := vfs.Default.RemoveAll(m.place()); e != nil {
			r.log.Warnf("remove what was copied: %v", e)
		}
	}
	out := *m.answer()
	out.Gap = m.gap.Seconds()
	mv.bytes.Add(out.Done)
	count := &mv.done
	if err != nil {
		count = &mv.failed
		out.State, out.Error = replicaadmin.IDLE.String(), err.Error()
		r.log.Warnf("is not moved from data directory %s to %s: %v", m.from.Tag, m.to.Tag, err)
	} else {
		out.State = replicaadmin.CLOSED.String()
		r.log.Infof("is moved from data directory %s to %s within %v: %d MiB, changed over within %v", m.from.Tag, m.to.Tag, time.Since(m.began).Round(time.Millisecond),
			out.Done>>20, m.gap.Round(time.Millisecond))
	}
	mv.mu.Lock()
	if mv.ended = append(mv.ended, out); len(mv.ended) > keptMoves {
		mv.ended = slices.Delete(mv.ended, 0, 1)
	}
	mv.srv.endMove(m.gpid) // a move is always among one or the other, and who sees that it has ended can begin the next
	mv.mu.Unlock()
	count.Add(1)
}

// wait has a request wait until its partition's primary is somewhere.
func (mv *mover) wait(req *rpc.Request, again func(*worker)) {
	if mv.waiting.Add(1) > manyWaiting {
		mv.waiting.Add(-1)
		req.ReplyError(base.ErrInvalidState)
		return
	}
	req.Go(func() {
		defer mv.waiting.Add(-1)
		for until := time.Now().Add(waitMost); mv.srv.isBetween(req.Gpid); {
			if time.Now().After(until) || mv.srv.ctx.Err() != nil {
				req.ReplyError(base.ErrInvalidState)
				return
			}
			pause.For(mv.srv.ctx, 2*time.Millisecond)
		}
		w := &worker{burst: new(rpc.Burst)}
		again(w)
		w.run()
	})
}
