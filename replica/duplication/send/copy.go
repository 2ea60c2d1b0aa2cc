package send

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/client"
	"pegasus/duplication/ship"
	"pegasus/gen/duplication"
	"pegasus/replica/part"
	"pegasus/rrdb"
)

const (
	// copies is how many copies a server makes at a time, flights how many requests of one are under way, and copyBytes
	// what it has in memory beside those.
	copies    = 4
	flights   = 4
	copyBytes = 2 << 20
	copyTries = 100
)

// errOver ends a copy that counts no more.
var errOver = errors.New("the copy is given up: this replica doesn't lead any more, or another copy is to be made")

// copier is a bootstrap under way: it brings the other cluster to the state that the partition has at a checkpoint.
type copier struct {
	st      *stream
	id      uint64
	t       *client.Table
	lanes   int
	cluster string
	remote  uint8 // the number of the other cluster
	again   bool  // the other cluster has an earlier state
	ours    bool  // the other cluster is one of ours: it compares the timetags of removes, too
	whole   bool  // the other cluster has no row that isn't sent to it, also none of its own
	p       part.View

	now   uint32
	asOf  int64
	rows  *rrdb.Copy
	sent  int64 // rows
	bytes int64

	// What isn't sent yet, by partition of the other table.
	waiting [][]row
	sizes   []int
	size    int
	theirs  int64 // rows here that the other cluster made
	skipped atomic.Int64

	send    *errgroup.Group
	sendCtx context.Context
}

// bringAll begins a bootstrap.
func bringAll(ctx context.Context, st *stream, id uint64) {
	st.mu.Lock()
	c := &copier{st: st, id: id, t: st.table, lanes: st.lanes, cluster: st.told.Remote, again: st.core.Status().Persisted != ship.Unknown, p: st.r.View()}
	c.whole = !c.again && st.told.RemoteMade.V && st.told.RemoteAppId.V == c.t.AppID()
	st.mu.Unlock()
	_, n, _ := st.opt.Remote(c.cluster)
	c.remote = uint8(n)
	st.s.background(func() {
		err := c.run(ctx)
		st.mu.Lock()
		switch {
		case !st.core.BootLives(id):
		case err != nil:
			st.trouble = err.Error()
			st.core.BootFailed(id)
			st.log.Warnf("duplication %d of %v to cluster %s: %v", st.dup, st.gpid, c.cluster, err)
		default:
			st.trouble = ""
			st.core.BootDone(id)
		}
		st.mu.Unlock()
		st.s.syncSoon()
		st.wake()
	})
}

// lives tells whether what it sends still counts. What doesn't must not be sent: another primary may be sending what is later.
func (c *copier) lives() bool {
	st := c.st
	v := st.r.View()
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.core.BootLives(c.id) && leads(st, &v)
}

func (c *copier) run(ctx context.Context) (err error) {
	st := c.st
	select {
	case st.s.copySlots() <- struct{}{}:
		defer func() { <-st.s.copySlots() }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// A copy of which nothing can be sent would only keep the log and the files.
	if err := c.reach(ctx); err != nil {
		return fmt.Errorf("copy: read from the other cluster: %w", err)
	}
	if !c.lives() {
		return errOver
	}
	c.ours = st.s.ours(ctx, c.cluster)
	began := time.Now()
	dir := filepath.Join(st.r.Scratch(), fmt.Sprintf("duplication-%v-%d-%d", st.gpid, st.dup, began.UnixNano()))
	defer func() {
		if e := os.RemoveAll(dir); err == nil && e != nil {
			err = e
		}
	}()
	c.begun(st.r.View().Applied) // the log stays from before the checkpoint
	decree, err := st.r.Checkpoint(ctx, dir)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	c.begun(decree)
	if c.rows, err = rrdb.OpenCopy(rrdb.CopyOptions{Dir: dir, Decree: decree, Logger: st.log}); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer c.rows.Close()
	c.now, c.asOf = rrdb.ExpiryTime(st.s.now()), c.rows.Timestamp()
	c.waiting, c.sizes = make([][]row, c.lanes), make([]int, c.lanes)
	c.send, c.sendCtx = errgroup.WithContext(ctx)
	c.send.SetLimit(flights)
	err = c.puts()
	if err == nil {
		err = c.sweep()
	}
	if e := c.send.Wait(); e != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = e
	}
	switch n := c.t.Partitions(); {
	case err != nil:
		return err
	case n != c.lanes:
		return fmt.Errorf("copy: table %q of cluster %s has %d partitions now, and had %d", c.t.Name(), c.cluster, n, c.lanes)
	}
	took := time.Since(began)
	st.log.Infof("duplication %d of %v to cluster %s: a copy with the state of decree %d is done, %d rows, %d MiB, %d rows left out, in %v", st.dup, st.gpid, c.cluster, decree, c.sent, c.bytes>>20, c.skipped.Load(), took.Round(time.Millisecond))
	return nil
}

// begun has the log held from a decree on.
func (c *copier) begun(decree int64) {
	c.st.mu.Lock()
	defer c.st.mu.Unlock()
	c.st.core.BootBegun(c.id, decree)
	c.st.hold()
}

// reach tells whether the other cluster answers.
func (c *copier) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	s := c.t.ScanAll(client.ScanOptions{Batch: 1, Timetag: true}, c.partitions()[0])
	defer s.Close()
	s.Next(ctx)
	return s.Err()
}

// here is of how many partitions of the table this one has its rows. A store that was cut for a split has
// those of the half alone, also while the other half isn't a partition yet, or this server hasn't heard of it.
func (c *copier) here() int {
	n := max(int(c.p.Partitions), 1)
	if c.rows != nil {
		n = max(n, int(c.rows.Cut().Count))
	}
	return n
}

// partitions returns those of the other table that can have rows of this partition.
func (c *copier) partitions() (list []int) {
	here := c.here()
	step := gcd(here, c.lanes)
	for i := int(c.st.gpid.PartitionIndex) % step; i < c.lanes; i += step {
		list = append(list, i)
	}
	return list
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// puts sends the rows that are here, and to one of our clusters that clients here removed rows, also such as aren't there: an
// older write of them may be on its way from elsewhere.
func (c *copier) puts() error {
	st := c.st
	all := c.rows.Rows
	if c.ours {
		all = c.rows.All
	}
	rows, err := all(c.sendCtx, c.now)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		x := rows.Row()
		if x.Gone {
			if us, _, _ := rrdb.SplitTimetag(x.Timetag); c.own(x.Timetag) && us != 0 {
				if err := c.add(row{key: bytes.Clone(x.Key), remove: true, tag: x.Timetag | 1}); err != nil {
					return err
				}
			}
			continue // of others they tell
		}
		if c.remote != 0 && clusterOf(x.Timetag) == c.remote {
			if !c.whole {
				c.theirs++
				continue // it came from there
			}
			// It came from an earlier table there, and clusters leave out what bears their own number.
			us, _, _ := rrdb.SplitTimetag(x.Timetag)
			x.Timetag = rrdb.MakeTimetag(us, st.opt.ID, false)
		}
		if err := c.add(row{key: bytes.Clone(x.Key), value: bytes.Clone(x.Data), expireTS: x.ExpireTS, tag: x.Timetag}); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return c.flush()
}

// sweep removes rows of the other cluster that were removed here while nothing of that was sent.
//
// Our servers tell the timetags of what they have. A row goes if this cluster's later remove is remembered here; of rows of which nothing is
// here ship.Leftover decides. A C++ server doesn't: what is there and not here goes, if
// the other cluster has had an earlier state of this partition, and no row here came from there.
func (c *copier) sweep() (err error) {
	wait := 100 * time.Millisecond
	for try := 1; ; try++ {
		if err = c.sweepOnce(); err == nil || c.sendCtx.Err() != nil || try == copyTries || !c.lives() || !pause.For(c.sendCtx, wait) {
			return err
		}
		wait = min(2*wait, 5*time.Second)
	}
}

func (c *copier) sweepOnce() error {
	st := c.st
	here := uint64(c.here())
	s := c.t.ScanAll(client.ScanOptions{Timetag: true}, c.partitions()...)
	defer s.Close()
	var removed, kept int64
	for s.Next(c.sendCtx) {
		x := s.Row()
		key := base.AppendKey(nil, x.HashKey, x.SortKey)
		if base.HashOfKey(key)%here != uint64(st.gpid.PartitionIndex)%here {
			continue
		}
		live, gone, err := c.rows.Find(key, c.now)
		if err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		if live {
			continue
		}
		r := row{key: key, remove: true, tag: rrdb.MakeTimetag(c.asOf, st.opt.ID, true)}
		if x.Timetag != 0 {
			us, cluster, _ := rrdb.SplitTimetag(x.Timetag)
			if c.own(gone) && gone>>1 > x.Timetag>>1 {
				us, cluster, _ = rrdb.SplitTimetag(gone) // whoever wrote the row, it was removed here later, or overwritten by what has expired
			} else if !ship.Leftover(ship.Origin{TimestampUS: us, Cluster: cluster}, st.opt.ID, c.asOf) {
				kept++
				continue
			}
			r.tag = rrdb.MakeTimetag(us, cluster, true)
		} else if !c.again || c.theirs > 0 {
			kept++
			continue
		}
		removed++
		if err := c.add(r); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("copy: read what table %q of cluster %s has: %w", c.t.Name(), c.cluster, err)
	}
	st.counts.swept.Add(removed)
	if removed+kept > 0 {
		st.log.Infof("duplication %d of %v to cluster %s: of rows there that aren't here %d were removed here, and are there; %d are none of this cluster's, or later, and stay", st.dup, st.gpid, c.cluster, removed, kept)
	}
	return c.flush()
}

// own tells whether a timetag is of this cluster, also of a time before its writes bore its number.
func (c *copier) own(tag uint64) bool { by := clusterOf(tag); return by == c.st.opt.ID || by == 0 }

// add sends a row soon.
func (c *copier) add(r row) error {
	n := int(base.HashOfKey(r.key) % uint64(c.lanes))
	size := len(r.key) + len(r.value) + 64
	c.waiting[n] = append(c.waiting[n], r)
	c.sizes[n] += size
	if c.size += size; c.sizes[n] < batchBytes && c.size < copyBytes {
		return nil
	}
	if c.sizes[n] < batchBytes { // the one that has most
		for i := range c.sizes {
			if c.sizes[i] > c.sizes[n] {
				n = i
			}
		}
	}
	return c.flushLane(n)
}

func (c *copier) flush() error {
	for n := range c.waiting {
		if err := c.flushLane(n); err != nil {
			return err
		}
	}
	return nil
}

// flushLane has what waits for a partition sent, and waits while too much is under way.
func (c *copier) flushLane(n int) error {
	rows, size := c.waiting[n], c.sizes[n]
	if len(rows) == 0 {
		return nil
	}
	c.waiting[n], c.sizes[n] = nil, 0
	c.size -= size
	c.sent += int64(len(rows))
	c.bytes += int64(size)
	c.send.Go(func() error { return c.deliver(c.sendCtx, rows, size) })
	return context.Cause(c.sendCtx)
}

// deliver sends rows until they are there. The order doesn't matter: each row is sent once, and timetags say which value is
// the later one.
func (c *copier) deliver(ctx context.Context, rows []row, size int) error {
	st := c.st
	wait := 100 * time.Millisecond
	for try := 1; ; try++ {
		if !c.lives() {
			return errOver
		}
		var outcome ship.Outcome
		done := make(chan error, 1)
		st.request(c.t, rows, func(o ship.Outcome, err error) {
			outcome = o
			done <- err
		})
		var err error
		select {
		case err = <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err == nil {
			st.counts.sentOK.Add(1)
			st.counts.sentBytes.Add(int64(size))
			return nil
		}
		st.counts.sentFailed.Add(1)
		st.mu.Lock()
		st.trouble = err.Error()
		skip := st.told.FailMode.V == duplication.FAIL_SKIP
		st.mu.Unlock()
		if outcome == ship.Refused && skip {
			return c.leaveOut(ctx, rows, size, err)
		}
		if try == copyTries {
			return fmt.Errorf("send %d rows of a copy: %w", len(rows), err)
		}
		if outcome == ship.Lost {
			// A remove that is applied late would take a row with it that was written meanwhile.
			wait = max(wait, st.opt.SendTime+st.opt.Linger)
		}
		if !pause.For(ctx, wait) {
			return context.Cause(ctx)
		}
		wait = min(2*wait, 5*time.Second)
	}
}

// leaveOut leaves out, and counts, what of refused rows the other cluster refuses by itself. The others are sent.
func (c *copier) leaveOut(ctx context.Context, rows []row, size int, refused error) error {
	if n := len(rows); n > 1 {
		if err := c.deliver(ctx, rows[:n/2], size/2); err != nil {
			return err
		}
		return c.deliver(ctx, rows[n/2:], size-size/2)
	}
	st := c.st
	st.mu.Lock()
	st.core.BootSkipped(c.id)
	st.mu.Unlock()
	if c.skipped.Add(1) == 1 {
		st.log.Warnf("duplication %d of %v to cluster %s: the copy leaves out a row (mode skip): %v", st.dup, st.gpid, c.cluster, refused)
	}
	return nil
}
