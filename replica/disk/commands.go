package disk

import (
	"errors"
	"fmt"
	"time"

	"pegasus/metrics"
	"pegasus/remotecmd"
	"pegasus/remotecmd/answer"
	"pegasus/replica/part"
	"pegasus/replica/wal"
)

// Register implements part.Part.
func (s *Set) Register(r *part.Routes) {
	part.Live(r, "replica.disk_min_available_space_ratio", func(percent int) { s.minFree.Store(int64(percent)) })
	part.Live(r, "replica.reject_write_when_disk_insufficient", s.reject.Store)
	r.Command(
		remotecmd.Command{Name: "replica.disks", Help: "Show the state of each data directory, as JSON", Run: s.show, Shows: remotecmd.Always},
		remotecmd.Command{Name: "replica.disk-retry", Args: "<tag>", Help: "Try a data directory again that failed, at once; on an empty disk it is made anew", Run: s.command(s.retry)},
		remotecmd.Command{Name: "replica.disk-abandon", Args: "<tag>", Help: "Give up a data directory that failed, so that its replicas can be elsewhere on this server", Run: s.command(s.abandon)},
		remotecmd.Command{Name: "replica.disk-add", Args: "<tag:path>", Help: "Add a data directory, which must be empty", Run: s.addCommand},
	)
}

func (s *Set) show([]string) string {
	return remotecmd.JSON(s.Report())
}

// Report is what replica.disks answers.
func (s *Set) Report() []answer.Disk {
	held, broken, holds := map[*Dir]int{}, map[*Dir]int{}, map[*Dir][]answer.LogHold{}
	moves := map[*Dir][]answer.DiskMove{}
	for _, r := range s.host.Replicas() {
		for _, h := range r.Holds {
			holds[r.Dir] = append(holds[r.Dir], answer.LogHold{Replica: r.Gpid.String(), Holder: h.Name, Decree: h.Decree, Yields: h.Yields})
		}
		if r.Moving != nil {
			moves[r.Dir] = append(moves[r.Dir], *r.Moving)
		}
		if r.Open {
			held[r.Dir]++
		}
		if r.Broken {
			broken[r.Dir]++
		}
	}
	now := time.Now()
	out := []answer.Disk{}
	for _, d := range s.All() {
		k := answer.Disk{Tag: d.Tag, Path: d.Path, State: d.State().String(), Replicas: held[d], Broken: broken[d], Holds: holds[d], Moves: moves[d]}
		k.Total, k.Available = d.Capacity()
		k.Added = s.identity.ident().Added[d.Tag] != ""
		v := d.failures()
		k.Failures = len(v.times)
		k.Trash, k.TrashBytes = d.trashCount.Load(), d.trashBytes.Load()
		if err := d.Log().Failed(); err != nil {
			k.Error = err.Error()
			if errors.Is(v.why, errAway) {
				k.Error = v.why.Error()
			}
			switch {
			case d.abandoned.Load():
				k.Next = answer.NextAbandoned
			case outOfRoom(err):
				k.Next = answer.NextRoom
			case v.gaveUp:
				k.Next, k.Retry = answer.NextOperator, max(0, v.next.Sub(now).Seconds())
			default:
				k.Next, k.Retry = answer.NextRetry, max(0, v.next.Sub(now).Seconds())
			}
		} else if s.Refuses(d) {
			k.Next = answer.NextShort
		} else if d.State() == Short {
			k.Next = answer.NextNoReplica
		}
		out = append(out, k)
	}
	return out
}

// command makes a remote command of something that is done to a data directory.
func (s *Set) command(do func(*Dir) error) func([]string) string {
	return func(args []string) string {
		if len(args) != 1 {
			return remotecmd.Fail("ERR: %d arguments are given; name the tag of one data directory", len(args))
		}
		for _, d := range s.All() {
			if d.Tag != args[0] {
				continue
			}
			if err := do(d); err != nil {
				return remotecmd.Fail("ERR: %v", err)
			}
			return remotecmd.OK()
		}
		return remotecmd.Fail("ERR: no data directory has the tag %q: `pegasus disk ls` lists them", args[0])
	}
}

func (s *Set) addCommand(args []string) string {
	if len(args) != 1 {
		return remotecmd.Fail("ERR: %d arguments are given; give tag:path of one directory", len(args))
	}
	if err := s.AddAll(args[0]); err != nil {
		return remotecmd.Fail("ERR: %v", err)
	}
	return remotecmd.OK()
}

// retry has a directory that failed tried again at once, as if it had failed for the first
// time. It may be on another disk by now: on an empty one it is made anew.
func (s *Set) retry(d *Dir) error {
	switch {
	case d.abandoned.Load():
		return fmt.Errorf("data directory %s was given up, and its replicas may be elsewhere on this server by now: it is used again after a restart", d.Path)
	case d.Log().Failed() == nil:
		return fmt.Errorf("data directory %s works", d.Path)
	}
	d.revivalMu.Lock()
	defer d.revivalMu.Unlock()
	d.revival = revival{next: time.Now(), wait: s.o.Retry, maxWait: maxRevive, asked: true, why: d.revival.why}
	s.log.Warnf("data directory %s: an administrator has it tried again", d.Path)
	return nil
}

// abandon gives a directory up that failed, so that its replicas can be learned on another
// disk of this server. Until then its directories stand in the way of that, because they might
// come back. After a restart the directory is used again if it can be; of a replica that is in
// two directories then the older is moved aside, see Find.
func (s *Set) abandon(d *Dir) error {
	if d.abandoned.Load() {
		return fmt.Errorf("data directory %s is given up already", d.Path)
	}
	if d.Log().Failed() == nil {
		return fmt.Errorf("data directory %s works: to empty it, drain the server", d.Path)
	}
	works := false
	for _, o := range s.All() {
		works = works || o != d && o.State() != Failed
	}
	if !works {
		return fmt.Errorf("this server has no other data directory that works: its replicas could not be anywhere else")
	}
	if !d.reviving.CompareAndSwap(false, true) { // and it stays set: nobody opens it again
		return fmt.Errorf("data directory %s is being opened at the moment: look at replica.disks and try again", d.Path)
	}
	if d.Log().Failed() == nil {
		d.reviving.Store(false)
		return fmt.Errorf("data directory %s works again", d.Path)
	}
	d.abandoned.Store(true)
	out, ok := s.host.TakeOut(d)
	if !ok {
		return errors.New("the server is stopping")
	}
	s.log.Warnf("data directory %s is given up: an administrator says so; its %d replicas are no longer here", d.Path, out.Len())
	s.host.Go(func() {
		out.Close()
		out.Leave()
		s.host.SyncSoon()
	})
	return nil
}

// Collect implements part.Part: it adds the metrics of the directories.
func (s *Set) Collect(sn *metrics.Snapshot) {
	held := map[*Dir]int64{}
	for _, r := range s.host.Replicas() {
		if r.Open {
			held[r.Dir]++
		}
	}
	var broken, trash int64
	for range s.host.Broken() {
		broken++
	}
	for _, d := range s.All() {
		trash += d.trashCount.Load()
		e := sn.Entity(metrics.Disk, d.Tag, "tag", d.Tag, "data_dir", d.Path)
		total, avail := d.Capacity()
		e.Set(metrics.DiskTotal, total)
		e.Set(metrics.DiskAvail, avail)
		e.Set(metrics.DiskState, int64(d.State()))
		e.Set(metrics.DiskReplicas, held[d])
		collectLog(e, d.Log().Stats())
	}
	e := sn.Entity(metrics.Server, "")
	e.Set(metrics.ErrorDirs, broken)
	e.Set(metrics.GarbageDirs, trash)
}

func collectLog(e *metrics.Entity, st wal.Stats) {
	e.Set(metrics.WALSize, st.TotalBytes)
	e.Set(metrics.WALSegments, int64(st.Segments))
	e.Set(metrics.WALIndex, st.IndexEntries)
	e.Set(metrics.WALEntries, int64(st.Entries))
	e.Set(metrics.WALBytes, int64(st.Bytes))
	e.Set(metrics.WALBatches, int64(st.Batches))
	e.Set(metrics.WALSyncs, int64(st.Syncs))
	e.Set(metrics.WALSyncTime, st.SyncTime.Microseconds())
	e.Set(metrics.WALRewritten, int64(st.Rewritten))
	e.Set(metrics.WALPressures, int64(st.Pressures))
	e.Set(metrics.WALReadBytes, int64(st.ReadBytes))
	e.Set(metrics.WALRotations, int64(st.Rotations))
	e.Set(metrics.WALReadCount, int64(st.Reads))
	e.Set(metrics.WALRemovedSeg, int64(st.Removed))
}
