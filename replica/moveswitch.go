package replica

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/pacifica"
	"pegasus/replica/disk"
	"pegasus/replica/stored"
	"pegasus/replica/wal"
	"pegasus/rrdb"
)

// changing is a replica that is in neither place: see moving.go.
type changing struct {
	*move
	mv     *mover
	r      *replica
	info   replicaInfo   // as it was when its rounds ended
	closed chan struct{} // the store of before is
	// attached: the copy may be in reps/ of the other directory; attaching: nobody knows yet. detached is where the
	// directory of before was moved to, "" if it wasn't.
	attached, attaching bool
	detached            string
	unresolved          bool     // which directory counts isn't known: both stay
	next                *replica // what was opened there
}

// change lets the replica go on where its copy is, or, after an error, where it was.
func (mv *mover) change(r *replica, m *move) error {
	defer r.kept.Release(m.holdName())
	leave := func(err error) error { return errors.Join(err, vfs.Default.RemoveAll(m.place())) }
	if !m.from.Pin() {
		return leave(fmt.Errorf("data directory %s is being opened again: %w", m.from.Path, base.ErrTryAgain))
	}
	pinned := []*disk.Dir{m.from}
	unpin := func() {
		for _, d := range pinned {
			d.Unpin()
		}
		pinned = nil
	}
	defer unpin()
	if !m.to.Pin() {
		return leave(fmt.Errorf("data directory %s is being opened again: %w", m.to.Path, base.ErrTryAgain))
	}
	pinned = append(pinned, m.to)
	err := mv.stands(r, m)
	if err == nil {
		err = r.onlyKnown()
	}
	if err != nil {
		return leave(err)
	}
	primary := r.view.Load().Status == pacifica.Primary
	if primary {
		mv.srv.setBetween(m.gpid, true)
		defer mv.srv.setBetween(m.gpid, false)
		mv.drain(r)
	}
	began := time.Now()
	if mv.srv.takeOut(m.gpid, func(is *replica) bool { return is == r && mv.mayLeave(r) }) == nil {
		return leave(fmt.Errorf("replica %v isn't here any more, or was opened again: %w", m.gpid, base.ErrObjectNotFound))
	}
	mv.srv.beginLate(m.gpid)
	c := &changing{move: m, mv: mv, r: r, closed: make(chan struct{})}
	err = c.forward()
	var next *replica
	if err == nil {
		next = c.next
		// Before anybody may make the replica there again.
		m.from.Log().Drop(m.gpid, c.dropped(m.from))
	} else {
		next = c.undo(err)
	}
	mv.srv.endOpening(m.gpid, next)
	unpin()
	if late := mv.srv.takeLate(m.gpid); next != nil && len(late) > 0 {
		for _, msg := range late {
			next.deliver(msg)
		}
		next.post(func(*driver) {})
	}
	mv.srv.meta.SyncSoon()
	if primary {
		mv.settleIn(mv.srv.ctx, m.gpid)
		mv.srv.setBetween(m.gpid, false)
	}
	m.gap = time.Since(began)
	mv.at("serving")
	c.tidy(err == nil)
	return err
}

// drainMost is for how long the writes of a primary that is moved are waited for.
const drainMost = 300 * time.Millisecond

// drain waits until what clients have written is answered: who comes now waits until the replica is there.
func (mv *mover) drain(r *replica) {
	ctx, cancel := context.WithTimeout(mv.srv.ctx, drainMost)
	defer cancel()
	for idle := false; !idle && ctx.Err() == nil; {
		if err := within(ctx, r, func(r *driver) { idle = len(r.queue) == 0 && r.flights.empty() && len(r.taken.writes) == 0 }); err != nil {
			return
		}
		if !idle {
			pause.For(ctx, time.Millisecond)
		}
	}
}

// mayLeave tells whether a replica may be taken out to be moved.
func (mv *mover) mayLeave(r *replica) bool {
	v := r.view.Load()
	return v.failed == nil && !v.suspect && (v.Status == pacifica.Primary || v.Status == pacifica.Secondary)
}

// forward are the steps log to detach.
func (c *changing) forward() error {
	c.r.end()
	c.info = c.r.driver.info
	c.mv.srv.spawn(func() {
		defer close(c.closed)
		if err := c.r.store.Load().CloseAtOnce(); err != nil {
			c.r.log.Debugf("close of the store that is moved: %v", err)
		}
	})
	c.mv.at("ended")
	// All that this replica has acknowledged is readable then.
	if err := wal.Wait(func(done func(error)) { c.from.Log().Append(nil, done) }); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	es, _, err := c.r.tail(c.move, moveTail)
	if err != nil {
		return err
	}
	for i := range es {
		// The copy is from before, and has no set of rows to take.
		if es[i].Decree > c.decree && rrdb.IsTake(es[i].Payload) {
			return fmt.Errorf("files were loaded into it after decree %d, up to which it was copied: try again: %w", c.decree, base.ErrTryAgain)
		}
	}
	if err := c.logTail(es); err != nil {
		return fmt.Errorf("log of data directory %s: %w", c.to.Path, err)
	}
	c.mv.at("logged")
	info := c.info
	info.Made++
	info.Store = c.store
	err = c.bounded(func() error {
		return errors.Join(disk.WriteJSON(stored.Name(c.place()), &info), disk.SyncDir(c.place()))
	})
	if err != nil {
		return fmt.Errorf("write what the replica knows of itself: %w", err)
	}
	c.mv.at("informed")
	c.attached, c.attaching = true, true
	attached := make(chan struct{})
	err = c.bounded(func() error {
		defer close(attached)
		return c.to.Attach(c.gpid, c.place())
	})
	select {
	case <-attached:
		c.attaching = false
	default:
	}
	if err != nil {
		return fmt.Errorf("put the copy in its place: %w", err)
	}
	c.mv.at("switched")
	if err := c.open(es); err != nil {
		return fmt.Errorf("open the copy: %w", err)
	}
	c.mv.at("opened")
	if c.detached, err = c.from.Detach(c.gpid); err != nil {
		return fmt.Errorf("take the replica out of where it was: %w", err)
	}
	c.mv.at("detached")
	return nil
}

// logTail gives the other directory's log what follows the copy.
func (c *changing) logTail(es []wal.Entry) error {
	log, base := c.to.Log(), c.decree
	if len(es) > 0 {
		base = es[0].Decree - 1
	}
	calls := 1
	done := make(chan error, len(es)+1)
	say := func(err error) { done <- err }
	log.Reset(c.gpid, base, say) // it may remember an earlier life of this replica there
	for len(es) > 0 {
		n, size := 0, 0
		for n < len(es) && (n == 0 || size < 4<<20) {
			size += len(es[n].Payload)
			n++
		}
		log.Append(es[:n:n], say)
		es = es[n:]
		calls++
	}
	t := time.NewTimer(c.patience())
	defer t.Stop()
	for range calls {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		case <-t.C:
			return errSlowDisk
		}
	}
	return nil
}

// open opens the copy, and sees to it that it is what it is to be.
func (c *changing) open(es []wal.Entry) error {
	opened := make(chan *replica, 1)
	err := c.bounded(func() error {
		next, err := c.mv.srv.openReplica(c.gpid, c.to, nil)
		opened <- next
		return err
	})
	if errors.Is(err, errSlowDisk) {
		c.stuck.Add(1)
		c.mv.srv.spawn(func() {
			defer c.stuck.Done()
			if late := <-opened; late != nil {
				c.closeQuietly(late)
			}
		})
	}
	if err != nil {
		return err
	}
	c.next = <-opened
	last := c.decree
	if n := len(es); n > 0 {
		last = es[n-1].Decree
	}
	if v := c.next.look(); v.failed != nil || v.suspect || v.Last != last || v.applied < c.decree {
		return fmt.Errorf("it has decrees up to %d, and %d in the store, instead of %d and %d or more (in doubt: %t): %w", v.Last, v.applied, last, c.decree, v.suspect, base.ErrInvalidState)
	}
	if c.mv.srv.syncs {
		return nil
	}
	// What was on the disk for long in the first place must not be in memory alone again.
	return c.bounded(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), c.patience())
		defer cancel()
		return c.next.flush(ctx)
	})
}

func (c *changing) closeQuietly(r *replica) {
	r.end()
	if err := r.store.Load().CloseAtOnce(); err != nil {
		r.log.Debugf("close of a replica that isn't used: %v", err)
	}
}

// undo opens the replica again where it was, nil if that can't be. Without the word of one of the disks which
// directory counts nothing is opened.
func (c *changing) undo(cause error) *replica {
	if c.next != nil {
		c.closeQuietly(c.next)
	}
	<-c.closed
	if c.attached {
		if err := c.putBack(); err != nil {
			err = fmt.Errorf("replica %v is in %s and in %s, and which of them counts can't be written down; it is used again when the server is started again: %v", c.gpid, c.from.Path, c.to.Path, errors.Join(cause, err))
			c.r.log.Error(err)
			c.mv.srv.noteBroken(c.gpid, c.from, err)
			c.unresolved = true
			return nil
		}
	}
	// Before anybody may make the replica there again.
	c.to.Log().Drop(c.gpid, c.dropped(c.to))
	again, err := c.mv.srv.openReplica(c.gpid, c.from, nil)
	if err != nil {
		c.r.log.Errorf("is not usable where it was: %v", err)
		c.mv.srv.noteBroken(c.gpid, c.from, err)
	}
	return again
}

// putBack makes the directory of before the one that counts.
func (c *changing) putBack() error {
	if c.detached != "" {
		if err := c.from.Attach(c.gpid, c.detached); err != nil {
			return err
		}
	}
	info := c.info
	info.Made += 2
	err := disk.WriteJSON(stored.Name(c.from.ReplicaPath(c.gpid)), &info)
	if err == nil || c.attaching {
		return err
	}
	// The copy can be taken away, if it is there at all.
	if !c.to.Has(c.gpid) {
		return disk.SyncDir(filepath.Join(c.to.Path, "reps"))
	}
	gone := ""
	e := c.bounded(func() (err error) {
		gone, err = c.to.Detach(c.gpid)
		return err
	})
	if e != nil {
		return errors.Join(err, e)
	}
	c.r.log.Debugf("the copy is moved to %s", gone)
	return nil
}

// dropped is told how the log of a directory forgot the replica.
func (c *changing) dropped(d *disk.Dir) func(error) {
	return func(err error) {
		if err != nil {
			c.r.log.Warnf("drop what the log of %s has of it: %v", d.Path, err)
		}
	}
}

// tidy removes what isn't needed any more; the replica is in use.
func (c *changing) tidy(moved bool) {
	<-c.closed
	c.stuck.Wait()
	var err error
	switch {
	case moved:
		err = vfs.Default.RemoveAll(c.detached)
	case c.attached && !c.unresolved && c.to.Has(c.gpid):
		// Its log entries go before it does.
		if err = wal.Wait(func(done func(error)) { c.to.Log().Append(nil, done) }); err == nil {
			err = c.to.Remove(c.gpid)
		}
	}
	if err = errors.Join(err, vfs.Default.RemoveAll(c.place())); err != nil {
		c.r.log.Warnf("remove what a move left: %v", err)
	}
	c.mv.at("tidied")
}

// errSlowDisk ends a move because of the disk that it is to.
var errSlowDisk = fmt.Errorf("the disk did not do that in time: %w", base.ErrTimeout)

func (c *changing) patience() time.Duration { return time.Duration(c.mv.patience.Load()) }

// bounded calls f, and waits for it as long as for the other disk.
func (c *changing) bounded(f func() error) error {
	done := make(chan error, 1)
	c.stuck.Add(1)
	c.mv.srv.spawn(func() {
		defer c.stuck.Done()
		done <- f()
	})
	t := time.NewTimer(c.patience())
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return errSlowDisk
	}
}

// settleIn lets requests wait until the replica that was opened serves as the primary, or another one is.
func (mv *mover) settleIn(ctx context.Context, g base.Gpid) {
	ctx, cancel := context.WithTimeout(ctx, waitMost)
	defer cancel()
	for ctx.Err() == nil {
		r := mv.srv.replica(g)
		if r == nil {
			return
		}
		if v := r.view.Load(); v.failed != nil || v.Serving || v.Status != pacifica.Inactive && v.Status != pacifica.Primary {
			return
		}
		pause.For(ctx, 2*time.Millisecond)
	}
}
