package replica

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/pacifica"
	"pegasus/replica/disk"
	"pegasus/replica/metalink"
	"pegasus/replica/stored"
)

// reporter tells the metas what is here, and takes what should be: it is the metalink.Host.
type reporter struct{ *Server }

// Report implements metalink.Host. What is broken is gathered before anything else: see
// quarantineUnlisted.
func (s reporter) Report(q *metaadmin.ConfigurationQueryByNodeRequest) func(context.Context, *metalink.Answer) error {
	broken := s.brokenReplicas()
	rs := s.all()
	known := make(map[base.Gpid]*view, len(rs))
	stored := make([]metadata.ReplicaInfo, 0, len(rs))
	for _, r := range rs {
		v := r.look()
		known[r.gpid] = v
		stored = append(stored, r.reported(v))
	}
	q.StoredReplicas = base.Some(stored)
	for _, d := range s.disks.All() {
		total, avail := d.Capacity()
		q.Disks.Set = true
		q.Disks.V = append(q.Disks.V, metaadmin.DiskReport{Tag: d.Tag, State: metaadmin.DiskState(d.State()), CapacityMb: total >> 20, AvailableMb: avail >> 20, Refuses: base.Some(s.disks.Refuses(d))})
	}
	q.MaxReplicas = base.Some(int32(s.maxReplicas))
	if s.cfg.Replica.Rack != "" {
		q.Info = base.Some(metaadmin.ReplicaServerInfo{GeoTags: []base.Pair[string, string]{{Key: "rack", Val: s.cfg.Replica.Rack}}})
	}
	return func(ctx context.Context, a *metalink.Answer) error {
		listed := make(map[base.Gpid]bool, len(a.Partitions))
		for i := range a.Partitions {
			p := &a.Partitions[i]
			g := p.Config.Pid
			listed[g] = true
			s.gate.mayList.take(g.AppID, p.MayList)
			r := s.replica(g)
			if r == nil {
				members(s).reportMissing(p, nil)
				continue
			}
			r.post(func(r *driver) {
				if r.failed != nil || r.suspect {
					r.report(p)
					return
				}
				r.update(&p.Info)
				if a.Current() {
					r.take(p)
				}
			})
		}
		for _, r := range rs {
			if listed[r.gpid] {
				continue
			}
			// A member that the meta doesn't list any more. The answer may be older than what
			// happened meanwhile, hence the ballot.
			asked := known[r.gpid].Ballot
			r.post(func(r *driver) {
				if st := r.core.Status(); (st == pacifica.Primary || st == pacifica.Secondary) && (a.Resuming || r.core.Ballot() == asked) {
					r.core.Retire()
				}
			})
		}
		s.quarantineUnlisted(broken, listed)
		for _, g := range a.GcReplicas.V {
			if v := known[g.Pid]; v != nil && !listed[g.Pid] {
				members(s).discard(g.Pid, v, slices.Contains(a.Over.V, g.Pid.AppID))
			}
		}
		return s.settled(ctx)
	}
}

// Tables implements metalink.Host.
func (s reporter) Tables() ([]metalink.Table, error) {
	var here []metalink.Table
	for _, d := range s.disks.All() {
		gs, err := d.Replicas()
		if err != nil {
			return nil, err
		}
		for _, g := range gs {
			var info replicaInfo
			// One that can't be read, or was never told of its table, is of the table with its id.
			if err := disk.ReadJSON(stored.Name(d.ReplicaPath(g)), &info); err != nil {
				info = replicaInfo{}
			}
			here = append(here, metalink.Table{ID: g.AppID, Name: info.AppName, Partitions: info.Partitions, Created: info.Created})
		}
	}
	return here, nil
}

// settled waits until every replica has done what it was asked so far, and shows it.
func (s reporter) settled(ctx context.Context) error {
	for _, r := range s.all() {
		done := make(chan struct{})
		r.post(func(r *driver) { r.after = append(r.after, func() { close(done) }) })
		select {
		case <-done:
		case <-r.done:
		case <-ctx.Done():
			return fmt.Errorf("replica %v: %w", r.gpid, ctx.Err())
		}
	}
	return nil
}

// take takes a configuration of which the meta knows that must is committed.
func (r *driver) take(p *metaadmin.ConfigurationUpdateRequest) {
	cfg := coreConfig(&p.Config)
	if must := p.MustHold.Or(0); cfg.Primary == r.srv.addr && cfg.Ballot >= r.core.Ballot() && r.core.Status() != pacifica.Primary &&
		r.core.Last() < must && !r.learner.Fetching() {
		r.core.Retire()
		r.suspectFor("the meta makes this replica the primary and knows that decree %d is committed, but only %d is prepared here", must, r.core.Last())
		r.report(p)
		return
	}
	r.core.Configure(cfg)
}

// report tells the meta that this replica can't be the member that it is listed as. The last
// member stays listed: it goes on if the meta says that an administrator accepts what is lost.
func (r *replica) report(p *metaadmin.ConfigurationUpdateRequest) {
	members{r.srv}.reportMissing(p, func() {
		r.post(func(r *driver) {
			if !r.suspect || r.failed != nil {
				return
			}
			if err := r.accept(); err != nil {
				r.fail(fmt.Errorf("go on with what is left: %w", err))
				return
			}
			r.srv.meta.SyncSoon()
		})
	})
}

// reported is a replica as anyone is told of it who asks what is here: the metas, in a config
// sync and in a recovery, and tools. It asks no disk: one that hangs must not hold up what the
// metas are told of the others.
func (r *replica) reported(v *view) metadata.ReplicaInfo {
	i := metadata.ReplicaInfo{Pid: r.gpid, Ballot: v.Ballot, Status: wireStatus(v), LastCommittedDecree: v.Committed, LastPreparedDecree: v.Last,
		LastDurableDecree: r.flushedAt.Load(), AppType: "pegasus", DiskTag: r.dir.Tag, MemberBallot: base.Some(v.info.Member),
		ManualCompactStatus: base.Some(r.compactions.status()), Bytes: r.reportedSize()}
	used := r.observed.Counts()
	i.ReadUnits, i.WriteUnits = base.Some(used.ReadUnits), base.Some(used.WriteUnits)
	switch {
	case v.failed != nil:
		i.MemberBallot.V = 0
	case v.suspect:
		i.LastPreparedDecree, i.MemberBallot.V = v.intact.decree, max(1, min(v.intact.ballot, v.info.Member))
		i.LastCommittedDecree = max(i.LastCommittedDecree, v.intact.committed)
		i.LastLoggedDecree = base.Some(v.intact.logged)
	}
	return i
}

func wireStatus(v *view) metadata.PartitionStatus {
	if v.failed != nil || v.suspect {
		return metadata.PS_ERROR
	}
	switch v.Status {
	case pacifica.Primary:
		return metadata.PS_PRIMARY
	case pacifica.Secondary:
		return metadata.PS_SECONDARY
	case pacifica.Learner:
		return metadata.PS_POTENTIAL_SECONDARY
	}
	return metadata.PS_INACTIVE
}

// sizeAge is for how long the size of a store that was reported counts: asking the engine
// isn't cheap, with thousands of replicas.
const sizeAge = 30 * time.Second

// sized is the size of a store as it was last reported.
type sized struct {
	mu    sync.Mutex
	at    time.Time
	bytes int64
}

// reportedSize returns how many bytes the rows of the store take, flushed or not, as of the last half minute.
func (r *replica) reportedSize() base.Opt[int64] {
	store := r.store.Load()
	if store == nil {
		return base.Opt[int64]{}
	}
	s := &r.sized
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) > sizeAge {
		s.bytes, s.at = int64(store.Size()), time.Now()
	}
	return base.Some(s.bytes)
}
