package replica

import (
	"context"
	"time"

	"pegasus/base"
	"pegasus/remotecmd"
	"pegasus/replica/disk"
	"pegasus/replica/part"
	"pegasus/replica/wal"
)

// logs sees to it that the logs let go of what isn't needed any more.
type logs struct {
	part.Quiet
	srv *Server
}

func newLogs(s *Server) part.Part { return logs{srv: s} }

// Register implements part.Part.
func (l logs) Register(rt *part.Routes) {
	rt.Command(remotecmd.Command{Name: "replica.wal-stats", Help: "Show counters of the log of each data directory, as JSON", Run: l.stats, Shows: remotecmd.Always})
}

// Tick implements part.Part.
func (l logs) Tick(time.Time) {
	for _, r := range l.srv.all() {
		r.ticks.Add(1)
		r.retain()
	}
}

// WALStats is what the remote command replica.wal-stats answers for one data directory.
type WALStats struct {
	Dir string `json:"dir"` // its tag
	wal.Stats
}

func (l logs) stats([]string) string {
	all := make([]WALStats, 0, len(l.srv.disks.All()))
	for _, d := range l.srv.disks.All() {
		all = append(all, WALStats{d.Tag, d.Log().Stats()})
	}
	return remotecmd.JSON(all)
}

// retain tells the log what this replica still needs. Nobody remembers who held it when the replica
// was opened, so nothing is let go before the second tick: by then every part had one in which to hold
// it again, because the logs come last.
func (r *replica) retain() {
	if r.ticks.Load() < 2 {
		return
	}
	r.post(func(r *driver) {
		if r.failed != nil {
			return
		}
		flushed := r.store.Load().LastFlushed()
		r.flushedAt.Store(flushed)
		r.kept.Advance(flushed, r.core.Retain())
	})
}

// flushSoon makes what is applied durable in the store, and lets the log have back what it
// held for that. Who asks while that goes on gets another flush after it: what he wants gone
// may be newer than what the first one began with, and the log doesn't ask twice.
//
// Of a disk's replicas as many are at it as there are processors: the log asks for all that hold
// its oldest segment together, and hundreds of flushes would leave requests no turn.
func (r *replica) flushSoon() {
	if r.flushes.Add(1) > 1 {
		return
	}
	r.srv.spawn(func() {
		select {
		case r.dir.Flushes <- struct{}{}:
			defer func() { <-r.dir.Flushes }()
		case <-r.srv.ctx.Done():
			return
		}
		for {
			asked := r.flushes.Load()
			ctx, cancel := context.WithTimeout(r.srv.ctx, flushTime)
			err := r.flush(ctx)
			cancel()
			if err != nil {
				r.log.Warnf("flush that was asked for: %v", err)
				r.flushes.Store(0)
				return
			}
			r.yield()
			r.retain()
			if r.flushes.CompareAndSwap(asked, 0) {
				return
			}
		}
	})
}

// yield drops what others hold in the log if the log is far too large.
func (r *replica) yield() {
	total, most := r.logRoom()
	if total <= yieldAt*r.srv.cfg.WAL.MaxBytes {
		return
	}
	for _, h := range r.kept.Yield(r.dir.Log().Oldest(r.gpid), total > most) {
		if h.Yields {
			continue
		}
		r.log.Warnf("the log of data directory %s has %d MiB, more than %d times wal.max_bytes, and must keep what follows decree %d for %s: see replica.disks", r.dir.Path, total>>20, yieldAt, h.Decree, h.Name)
	}
}

// logRoom returns the size of the log that the replica's disk has, and the one from which on room is scarce: because of
// wal.held_bytes, or of the disk.
func (r *replica) logRoom() (total, most int64) {
	cfg := r.srv.cfg
	total = r.dir.Log().Size()
	most = max(cfg.WAL.HeldBytes, yieldAt*cfg.WAL.MaxBytes)
	if size, avail := r.dir.Capacity(); size > 0 {
		most = min(most, max(total+avail-size/100*int64(spareTimes*cfg.Replica.DiskMinSpace), 0))
	}
	return total, most
}

// spareTimes: a disk on which less than that many times replica.disk_min_available_space_ratio is free has no room for what is
// held in the log. With less than once that, writes are refused.
const spareTimes = 2

// flushTime bounds a flush that was asked for, see flushSoon.
const flushTime = 10 * time.Minute

// yieldAt is how many times wal.max_bytes a log may grow before holds of it are dropped (package
// retention). A learner that needs what is gone fetches another checkpoint, of which most files are
// there already.
const yieldAt = 2

// retained is a replica's part of its directory's log, as package retention knows it. The
// directory may get another log, see package disk.
type retained struct {
	dir  *disk.Dir
	gpid base.Gpid
}

// SetRetention and First implement retention.Log.
func (l retained) SetRetention(decree int64) { l.dir.Log().SetRetention(l.gpid, decree) }

func (l retained) First() int64 {
	st := l.dir.Log().State(l.gpid)
	if st.First == 0 {
		return st.Last + 1
	}
	return st.First
}

// onPressure is called by a log that grew too large, with the replicas that hold its
// oldest segment.
func (s *Server) onPressure(gs []base.Gpid) {
	for _, g := range gs {
		if r := s.replica(g); r != nil {
			r.flushSoon()
		}
	}
}
