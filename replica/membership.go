package replica

import (
	"context"
	"errors"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/pacifica"
	"pegasus/replica/metalink"
	"pegasus/replica/trace"
	"pegasus/replica/wal"
	"pegasus/rpc"
)

// members sees to it that the replicas here are what the metas and the other replica servers
// want them to be.
type members struct{ *Server }

// onProposal takes what the meta decided or wants of a partition.
func (s members) onProposal(req *rpc.Request) {
	p := new(metaadmin.ConfigurationUpdateRequest)
	err := req.DecodeArg(p)
	if err == nil && s.replica(p.Config.Pid) != nil {
		req.Vouch() // who asks for it is answered on this connection what is here, however much clients are
	}
	from := req.Remote
	req.Drop() // upstream's proposals have no answer; nothing decoded aliases the request, which is another's from here
	if err != nil {
		s.log.Warnf("configuration proposal from %v: %v", from, err)
		return
	}
	if err := s.meta.Identity.Same(p.ClusterId.V); err != nil {
		s.log.Debugf("configuration proposal from %v is not taken: %v", from, err)
		return
	}
	if p.Type == metaadmin.CT_ASSIGN_PRIMARY {
		s.spawn(func() { s.assign(p) })
		return
	}
	r := s.replica(p.Config.Pid)
	if r == nil {
		if p.Type == metaadmin.CT_UPGRADE_TO_PRIMARY || p.Type == metaadmin.CT_INVALID {
			s.meta.SyncSoon() // finds out what is missing, and says so
		}
		return
	}
	r.post(func(r *driver) {
		if r.failed != nil || r.suspect || p.Config.Ballot > r.core.Ballot() {
			// What comes unasked may be old. A role is taken only from an answer.
			s.meta.SyncSoon()
			return
		}
		switch p.Type {
		case metaadmin.CT_ADD_SECONDARY, metaadmin.CT_ADD_SECONDARY_FOR_LB:
			if st := r.core.State(); st.Status == pacifica.Primary && len(st.Config.Secondaries)+len(st.Learners) < int(r.info.MaxReplica)+1 {
				err = r.core.AddLearner(p.Node)
			}
		case metaadmin.CT_DOWNGRADE_TO_INACTIVE, metaadmin.CT_REMOVE:
			if p.Node == s.addr && r.core.Status() == pacifica.Learner {
				r.learner.Stop() // a copy that isn't wanted; if it is, the primary says so again
				return
			}
			err = r.core.RemoveMember(p.Node)
		}
		if err != nil && !errors.Is(err, pacifica.ErrNotPrimary) {
			r.log.Warnf("%v of %v: %v", p.Type, p.Node, err)
		}
	})
}

// assign makes the first replica of a partition and asks the meta to make it the primary.
// The replica is there before the meta lists it, so a listed replica without data is always
// a loss, never a beginning.
func (s members) assign(p *metaadmin.ConfigurationUpdateRequest) {
	g := p.Config.Pid
	if p.Config.Ballot != 0 || g.AppID != p.Info.AppId {
		return
	}
	info := infoFrom(g, &p.Info)
	seed, restores := s.seedOf(g, &info)
	r := s.replica(g)
	if r != nil && restores && r.view.Load().info.Seed == 0 {
		s.dropNew(r, "it is empty, and the partition has rows to begin with")
		return // the meta asks again
	}
	if r == nil {
		if s.holdsAll(g) || !s.begin(g) {
			return
		}
		if s.disks.Holds(g) {
			s.endOpening(g, nil)
			return
		}
		// A proposal that was under way for long must not make an empty replica of a partition
		// that has a past.
		if cfg, err := s.meta.Configuration(s.ctx, g); err != nil && cfg == nil || cfg.Ballot != 0 || cfg.Primary != 0 {
			s.endOpening(g, nil)
			return
		}
		var err error
		if restores {
			r, err = s.restore(g, &info, seed)
		} else {
			r, err = s.openReplica(g, s.disks.Pick(g.AppID), &info)
		}
		if err != nil {
			if !restores { // else it was said
				s.log.Errorf("new replica: %v", err)
			}
			s.endOpening(g, nil)
			return
		}
		s.endOpening(g, r)
	}
	v := r.look()
	if v.Ballot != 0 || v.Last != v.info.Seed || v.Status != pacifica.Inactive {
		return // it has a past; the meta will find out by config sync
	}
	want := *p
	want.Config.LastCommittedDecree = v.info.Seed
	want.Config.Ballot, want.Config.Primary, want.Config.Secondaries = 1, s.addr, nil
	want.Config.HpPrimary = base.Some(s.hostPort)
	want.Config.HpSecondaries = base.Opt[[]base.HostPort]{}
	want.Type, want.Node, want.HpNode = metaadmin.CT_ASSIGN_PRIMARY, s.addr, base.Some(s.hostPort)
	for try := 0; try < 20 && s.ctx.Err() == nil; try++ {
		epoch := s.meta.Lease.Epoch()
		cfg, settled, err := s.meta.Update(s.ctx, &want)
		if settled {
			if err != nil {
				s.log.Warnf("replica %v: the meta does not make it primary: %v", g, err)
			}
			if cfg != nil && cfg.Ballot > 0 && err == nil {
				r.post(func(r *driver) {
					if s.meta.Lease.Epoch() == epoch {
						r.core.Configure(coreConfig(cfg))
					}
				})
			} else if v.info.Seed > 0 && cfg != nil && cfg.Primary != 0 && cfg.Primary != s.addr {
				s.dropNew(r, "another replica is the first of the partition")
			}
			return
		}
		pause.For(s.ctx, metalink.RetryAfter)
	}
}

func infoFrom(g base.Gpid, a *layer2.AppInfo) replicaInfo {
	envs := make(map[string]string, len(a.Envs))
	for _, e := range a.Envs {
		envs[e.Key] = e.Val
	}
	return replicaInfo{AppName: a.AppName, AppID: g.AppID, Partition: g.PartitionIndex, Partitions: a.PartitionCount, MaxReplica: a.MaxReplicaCount, Envs: envs,
		Atomic: a.AtomicIdempotent.Or(false), Created: a.CreateSecond}
}

// holdsAll tells that there are as many replicas here as there are descriptors for. The meta,
// which knows, asks for no more; one of an earlier version may.
func (s *Server) holdsAll(g base.Gpid) bool {
	open, opening := s.counts()
	n := open + opening
	if n < s.maxReplicas {
		return false
	}
	s.log.Warnf("replica %v: not made here: there are %d, and no descriptors for more: raise the limit of open files (ulimit -n, LimitNOFILE of systemd)", g, n)
	return true
}

// reportMissing tells the meta that this node doesn't hold a replica that it lists.
// kept, if not nil, is called if it stays the last member all the same, because an
// administrator accepts what is lost.
func (s members) reportMissing(p *metaadmin.ConfigurationUpdateRequest, kept func()) {
	g := p.Config.Pid
	if s.isOpening(g) {
		return
	}
	req := *p
	req.Type, req.Node, req.HpNode = metaadmin.CT_DOWNGRADE_TO_INACTIVE, s.addr, base.Some(s.hostPort)
	req.Config.Ballot++
	if req.Config.Primary == s.addr {
		req.Config.Primary, req.Config.HpPrimary = 0, base.Some(base.HostPort{})
	} else {
		var rest []base.RPCAddress
		for _, n := range req.Config.Secondaries {
			if n != s.addr {
				rest = append(rest, n)
			}
		}
		req.Config.Secondaries, req.Config.HpSecondaries = rest, base.Some(hostPortsOf(rest))
	}
	s.log.Warnf("replica %v is a member at ballot %d and not usable here: asks the meta to do without it", g, p.Config.Ballot)
	s.spawn(func() {
		cfg, _, err := s.meta.Update(s.ctx, &req)
		switch {
		case errors.Is(err, base.ErrInvalidState):
			s.log.Errorf("replica %v is the last one of its partition, and not usable: the partition serves nothing until another one is found that has all that was acknowledged, or an administrator accepts what is lost (`pegasus recover --accept-loss`)", g)
			return
		case err != nil:
			s.log.Warnf("replica %v: %v", g, err)
			return
		case cfg != nil && cfg.Ballot == p.Config.Ballot && cfg.Primary == s.addr && kept != nil:
			kept()
			return
		}
		s.meta.SyncSoon() // to find that it isn't listed any more
	})
}

// asideFlush is how long the flush of a replica that is set aside may take.
const asideFlush = time.Minute

// discard sets a replica aside that the meta has no use for, unless it has been of use since the
// meta was told of it as asked. over: its table was dropped and its time is over, so it is
// removed.
func (s members) discard(g base.Gpid, asked *view, over bool) {
	r := s.takeOut(g, func(r *replica) bool {
		v := r.view.Load()
		return v.Status == pacifica.Inactive && asked.Status == pacifica.Inactive && v.Ballot == asked.Ballot
	})
	if r == nil {
		return
	}
	s.spawn(func() {
		var again *replica
		defer func() { s.endOpening(g, again) }()
		keep := !over && s.cfg.Replica.TrashAge > 0 && (asked.Last > 0 || asked.applied > 0)
		if keep { // what is applied must not be in the log only, which forgets the replica
			c, cancel := context.WithTimeout(s.ctx, asideFlush)
			if err := r.store.Load().Flush(c); err != nil {
				cancel()
				s.log.Warnf("replica %v, which the meta has no use for, is kept until what it has in memory can be written: %v", g, err)
				again = r // the meta says so again
				return
			}
			cancel()
		}
		err := r.close()
		what := "its table was dropped, removed"
		if !keep {
			err = errors.Join(err, r.dir.Remove(g))
			if !over {
				what = "the meta has no use for it, removed"
			}
		} else {
			to, e := r.dir.SetAside(g, "unused", s.meta.Clock.Now())
			err = errors.Join(err, e)
			what = "the meta has no use for it, moved to " + to
		}
		there := r.dir.Has(g)
		if !there { // else the log's entries are still of use
			err = errors.Join(err, wal.Wait(func(done func(error)) { r.dir.Log().Drop(g, done) }))
		}
		if err != nil {
			s.log.Warnf("remove replica %v: %v", g, err)
			if there {
				// It is opened again if it can be, or moved aside: what nobody looks after keeps
				// the replica from ever being made here.
				s.noteBroken(g, r.dir.Dir, err)
			}
			return
		}
		s.log.Infof("replica %v: %s", g, what)
	})
}

// onMessage takes a message from another replica server.
func (s members) onMessage(req *rpc.Request) {
	body := payloadOf(req.Body)
	m, err := decodeMessage(body)
	if err != nil {
		req.Refuse(base.ErrInvalidData, err)
		return
	}
	short := body[flagsAt]&flagShort != 0
	var traces []trace.Item
	if body[flagsAt]&flagTrace != 0 {
		traces = trace.ReadBlock(body, m.Type == pacifica.MsgPrepare)
	}
	gpid, w := req.Gpid, workerOf(req)
	ping, admitted := m.Type == pacifica.MsgPrepare && len(m.Entries) == 0, s.meta.Identity.Admits(req.PartitionHash)
	if admitted && m.To == s.addr && s.replica(gpid) != nil {
		req.Vouch()
	}
	switch {
	case ping && admitted:
		req.Reply(empty{})
	case ping: // who asks is to know that it has no peer here
		req.ReplyError(base.ErrClusterNotFound)
	default:
		req.Drop()
	}
	if !admitted {
		return
	}
	r := s.replica(gpid)
	if r == nil {
		if m.To != s.addr || s.keepLate(gpid, m) {
			return
		}
		if m.Role == pacifica.Learner && m.Type == pacifica.MsgPrepare {
			s.openLearner(gpid, m)
		}
		return
	}
	if m.Role == pacifica.Learner && r.view.Load().info.Seed > 0 && isNew(r.view.Load()) {
		// Its decree may hold other rows than the group's: it learns from nothing.
		s.spawn(func() { s.dropNew(r, "another replica is the first of the partition") })
		return
	}
	r.hearRoom(&m, short)
	if h := s.hooks.Load(); h != nil && h.lose != nil && h.lose(r, m) {
		return
	}
	r.deliverWith(m, traces)
	w.touch(r)
}

// openLearner makes an empty replica for a primary that wants this node as a learner, once
// the meta said that this node is no member: a member that lost its data must not come back
// empty, and what it promised must hold.
func (s members) openLearner(g base.Gpid, m pacifica.Message) {
	if s.holdsAll(g) || !s.begin(g) {
		return
	}
	s.spawn(func() {
		if s.disks.Holds(g) {
			s.endOpening(g, nil)
			return
		}
		cfg, err := s.meta.Configuration(s.ctx, g)
		if err != nil || cfg.Primary == s.addr || slices.Contains(cfg.Secondaries, s.addr) || m.Ballot < cfg.Ballot {
			if err != nil {
				s.log.Debugf("replica %v: wanted as a learner: %v", g, err)
			}
			s.endOpening(g, nil)
			s.meta.SyncSoon()
			return
		}
		info := replicaInfo{AppID: g.AppID, Partition: g.PartitionIndex, MaxReplica: 3, Ballot: cfg.Ballot}
		r, err := s.openReplica(g, s.disks.Pick(g.AppID), &info)
		if err != nil {
			s.log.Errorf("new learner: %v", err)
		}
		s.endOpening(g, r)
		if r != nil {
			r.deliver(m)
		}
	})
}
