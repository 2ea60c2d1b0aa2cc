package send

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/client"
	"pegasus/duplication/ship"
	"pegasus/rrdb"
)

// bringAll begins to bring the other cluster to the state that the partition has now.
func bringAll(ctx context.Context, st *stream, epoch int64) {
	st.mu.Lock()
	s := st.core.Status()
	if s.Persisted != ship.Unknown {
		// The rows that were removed meanwhile would stay in the other cluster.
		st.stuck = fmt.Sprintf("the log no longer has what follows decree %d: remove this duplication, and add it again with a copy into an empty table; or let it leave out what is missing, with the mode \"skip\"", s.Acked)
		st.log.Errorf("duplication %d of %v to cluster %s: %s", st.dup, st.gpid, st.told.Remote, st.stuck)
		st.mu.Unlock()
		return
	}
	table, remote := st.table, st.told.Remote
	st.mu.Unlock()
	st.s.background(func() {
		err := st.copyAll(ctx, epoch, table, remote)
		st.mu.Lock()
		switch {
		case st.epoch != epoch:
		case err != nil:
			st.trouble = err.Error()
			st.core.BootFailed()
			st.log.Warnf("duplication %d of %v to cluster %s: %v", st.dup, st.gpid, remote, err)
		default:
			st.trouble = ""
			st.core.BootDone()
		}
		st.mu.Unlock()
		st.s.syncSoon()
		st.wake()
	})
}

// copyAll sends all rows as they are now.
func (st *stream) copyAll(ctx context.Context, epoch int64, t *client.Table, cluster string) (err error) {
	dir := filepath.Join(st.r.Scratch(), fmt.Sprintf("duplication-%v-%d-%d", st.gpid, st.dup, time.Now().UnixNano()))
	defer func() {
		if e := os.RemoveAll(dir); err == nil && e != nil {
			err = e
		}
	}()
	decree, err := st.r.Checkpoint(ctx, dir)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	st.mu.Lock()
	here := st.epoch == epoch
	if here {
		st.core.BootBegun(decree)
		st.hold()
	}
	st.mu.Unlock()
	if !here {
		return nil
	}
	c, err := rrdb.OpenCopy(rrdb.CopyOptions{Dir: dir, Decree: decree, Logger: st.log})
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer c.Close()
	rows, err := c.Rows(ctx, rrdb.ExpiryTime(st.s.now()))
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer rows.Close()
	_, remote, _ := st.opt.Remote(cluster)
	lanes := t.Partitions()
	waiting := make([][]row, lanes)
	sizes := make([]int, lanes)
	for rows.Next() {
		x := rows.Row()
		if remote != 0 && int(clusterOf(x.Timetag)) == remote {
			continue // it came from there
		}
		n := int(base.HashOfKey(x.Key) % uint64(lanes))
		waiting[n] = append(waiting[n], row{key: bytes.Clone(x.Key), value: bytes.Clone(x.Data), expireTS: x.ExpireTS, tag: x.Timetag})
		if sizes[n] += len(x.Key) + len(x.Data) + 64; sizes[n] >= batchBytes {
			if err := st.deliver(ctx, epoch, t, waiting[n]); err != nil {
				return err
			}
			waiting[n], sizes[n] = nil, 0
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	for _, w := range waiting {
		if len(w) > 0 {
			if err := st.deliver(ctx, epoch, t, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// deliver sends rows of a copy until they are there. The order doesn't matter: the timetags say which value is the later one.
func (st *stream) deliver(ctx context.Context, epoch int64, t *client.Table, rows []row) error {
	wait := 100 * time.Millisecond
	for try := 1; ; try++ {
		done := make(chan error, 1)
		st.request(t, rows, func(o ship.Outcome, err error) {
			if o == ship.Done {
				st.counts.sentOK.Add(1)
			} else {
				st.counts.sentFailed.Add(1)
			}
			done <- err
		})
		var err error
		select {
		case err = <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err == nil {
			return nil
		}
		st.mu.Lock()
		st.trouble = err.Error()
		over := st.epoch != epoch
		st.mu.Unlock()
		if over || try == copyTries {
			return fmt.Errorf("send %d rows of a copy: %w", len(rows), err)
		}
		if !pause.For(ctx, wait) {
			return context.Cause(ctx)
		}
		wait = min(2*wait, 5*time.Second)
	}
}
