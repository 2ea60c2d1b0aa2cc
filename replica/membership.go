package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/pacifica"
	"pegasus/rpc"
)

const (
	codeUpdateConfig = "RPC_CM_UPDATE_PARTITION_CONFIGURATION"
	codeConfigSync   = "RPC_CM_CONFIG_SYNC"
	codeProposal     = "RPC_CONFIG_PROPOSAL"

	metaTimeout = 3 * time.Second
	metaRetry   = 100 * time.Millisecond
)

// change carries out what a core wants of the meta: it repeats the request until the meta
// gives an answer that settles it, or until the core no longer wants it.
func (r *replica) change(ch pacifica.Change) {
	if ch.Kind == pacifica.ChangeRefresh {
		r.srv.syncSoon()
		return
	}
	req := metaadmin.ConfigurationUpdateRequest{Info: r.appInfo(), Config: r.wireConfig(ch), Node: ch.Node, HpNode: base.Some(hostPortOf(ch.Node))}
	switch ch.Kind {
	case pacifica.ChangeAdd:
		req.Type = metaadmin.CT_UPGRADE_TO_SECONDARY
	case pacifica.ChangeRemove:
		req.Type = metaadmin.CT_DOWNGRADE_TO_INACTIVE
	case pacifica.ChangeForceBallot:
		req.Type = metaadmin.CT_PRIMARY_FORCE_UPDATE_BALLOT
	}
	r.log.Infof("asks the meta to %v %v, ballot %d", ch.Kind, ch.Node, ch.Config.Ballot)
	r.srv.spawn(func() {
		for wanted := true; wanted && r.srv.ctx.Err() == nil; {
			epoch := r.srv.lease.epoch.Load()
			cfg, settled, err := r.srv.askUpdate(r.srv.ctx, &req)
			done := make(chan struct{})
			r.post(func() {
				defer close(done)
				if r.srv.lease.epoch.Load() != epoch {
					settled = false // said before the lease was interrupted: ask again
				}
				p := r.core.Pending()
				if p == nil || p.Config.Ballot != ch.Config.Ballot || p.Kind != ch.Kind {
					wanted = false
					return
				}
				if !settled {
					return
				}
				wanted = false
				if cfg != nil {
					r.core.Configure(*cfg)
				}
				if p := r.core.Pending(); p != nil && p.Config.Ballot == ch.Config.Ballot {
					r.log.Warnf("the meta refuses to %v %v: %v", ch.Kind, ch.Node, err)
					r.core.Refused()
				}
			})
			select {
			case <-done:
			case <-r.done:
				return
			}
			if wanted {
				r.log.Debugf("ask the meta again to %v %v: %v", ch.Kind, ch.Node, err)
				pause(r.srv.ctx, metaRetry)
			}
		}
	})
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// askUpdate sends one configuration update. settled tells that the meta decided: cfg is
// then the configuration that holds now, if it said so.
func (s *Server) askUpdate(ctx context.Context, req *metaadmin.ConfigurationUpdateRequest) (cfg *pacifica.Config, settled bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, metaTimeout)
	defer cancel()
	var res metaadmin.ConfigurationUpdateResponse
	if err := s.meta.call(ctx, rpc.Outgoing{Code: codeUpdateConfig, Arg: req}, &res, &res.Err); err != nil {
		return nil, false, err
	}
	switch res.Err {
	case base.ErrOK:
		c := coreConfig(&res.Config)
		return &c, true, nil
	case base.ErrInvalidVersion:
		c := coreConfig(&res.Config)
		return &c, true, res.Err
	case base.ErrBusy, base.ErrServiceNotActive, base.ErrStateFreezed, base.ErrTimeout, base.ErrTryAgain:
		return nil, false, res.Err
	}
	return nil, true, res.Err
}

func coreConfig(c *layer2.PartitionConfiguration) pacifica.Config {
	return pacifica.Config{Ballot: c.Ballot, Primary: c.Primary, Secondaries: c.Secondaries}
}

func hostPortOf(n base.RPCAddress) base.HostPort {
	ap := n.AddrPort()
	if !ap.IsValid() {
		return base.HostPort{}
	}
	return base.MakeHostPort(ap.Addr().String(), ap.Port())
}

func hostPortsOf(ns []base.RPCAddress) []base.HostPort {
	hs := make([]base.HostPort, len(ns))
	for i, n := range ns {
		hs[i] = hostPortOf(n)
	}
	return hs
}

func (r *replica) wireConfig(ch pacifica.Change) layer2.PartitionConfiguration {
	return layer2.PartitionConfiguration{Pid: r.gpid, Ballot: ch.Config.Ballot, MaxReplicaCount: r.info.MaxReplica, Primary: ch.Config.Primary,
		Secondaries: ch.Config.Secondaries, LastCommittedDecree: ch.Committed, HpPrimary: base.Some(hostPortOf(ch.Config.Primary)),
		HpSecondaries: base.Some(hostPortsOf(ch.Config.Secondaries))}
}

func (r *replica) appInfo() layer2.AppInfo {
	a := layer2.NewAppInfo()
	a.Status, a.AppType, a.IsStateful = layer2.AS_AVAILABLE, "pegasus", true
	a.AppName, a.AppId, a.PartitionCount, a.MaxReplicaCount = r.info.AppName, r.gpid.AppID, r.info.Partitions, r.info.MaxReplica
	return a
}

// onProposal takes what the meta decided or wants of a partition.
func (s *Server) onProposal(req *rpc.Request) {
	p := new(metaadmin.ConfigurationUpdateRequest)
	err := req.DecodeArg(p)
	req.Drop() // upstream's proposals have no answer; nothing decoded aliases the request
	if err != nil {
		s.log.Warnf("configuration proposal from %v: %v", req.Remote, err)
		return
	}
	if p.Type == metaadmin.CT_ASSIGN_PRIMARY {
		s.spawn(func() { s.assign(p) })
		return
	}
	r := s.replica(p.Config.Pid)
	if r == nil {
		if p.Type == metaadmin.CT_UPGRADE_TO_PRIMARY || p.Type == metaadmin.CT_INVALID {
			s.syncSoon() // finds out what is missing, and says so
		}
		return
	}
	r.post(func() {
		if r.failed != nil || r.suspect || p.Config.Ballot > r.core.Ballot() {
			// What comes unasked may be old. A role is taken only from an answer.
			s.syncSoon()
			return
		}
		switch p.Type {
		case metaadmin.CT_ADD_SECONDARY, metaadmin.CT_ADD_SECONDARY_FOR_LB:
			if st := r.core.State(); st.Status == pacifica.Primary && len(st.Config.Secondaries)+len(st.Learners) < int(r.info.MaxReplica)+1 {
				err = r.core.AddLearner(p.Node)
			}
		case metaadmin.CT_DOWNGRADE_TO_INACTIVE, metaadmin.CT_REMOVE:
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
func (s *Server) assign(p *metaadmin.ConfigurationUpdateRequest) {
	g := p.Config.Pid
	if p.Config.Ballot != 0 || g.AppID != p.Info.AppId {
		return
	}
	r := s.replica(g)
	if r == nil {
		if !s.beginOpening(g) {
			return
		}
		// A proposal that was under way for long must not make an empty replica of a partition
		// that has a past.
		if cfg, err := s.currentConfig(g); err != nil && cfg == nil || cfg.Ballot != 0 || cfg.Primary != 0 {
			s.endOpening(g, nil)
			return
		}
		info := infoFrom(g, &p.Info)
		var err error
		if r, err = s.openReplica(g, s.pickDir(g.AppID), &info); err != nil {
			s.log.Errorf("new replica: %v", err)
			s.endOpening(g, nil)
			return
		}
		s.endOpening(g, r)
	}
	v := r.look()
	if v.Ballot != 0 || v.Last != 0 || v.Status != pacifica.Inactive {
		return // it has a past; the meta will find out by config sync
	}
	want := *p
	want.Config.Ballot, want.Config.Primary, want.Config.Secondaries = 1, s.addr, nil
	want.Config.HpPrimary = base.Some(s.hostPort)
	want.Config.HpSecondaries = base.Opt[[]base.HostPort]{}
	want.Type, want.Node, want.HpNode = metaadmin.CT_ASSIGN_PRIMARY, s.addr, base.Some(s.hostPort)
	for try := 0; try < 20 && s.ctx.Err() == nil; try++ {
		epoch := s.lease.epoch.Load()
		cfg, settled, err := s.askUpdate(s.ctx, &want)
		if settled {
			if err != nil {
				s.log.Warnf("replica %v: the meta does not make it primary: %v", g, err)
			}
			if cfg != nil && cfg.Ballot > 0 && err == nil {
				r.post(func() {
					if s.lease.epoch.Load() == epoch {
						r.core.Configure(*cfg)
					}
				})
			}
			return
		}
		pause(s.ctx, metaRetry)
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

// openLearner makes an empty replica for a primary that wants this node as a learner, once
// the meta said that this node is no member: a member that lost its data must not come back
// empty, and what it promised must hold.
func (s *Server) openLearner(g base.Gpid, m pacifica.Message) {
	if !s.beginOpening(g) {
		return
	}
	s.spawn(func() {
		cfg, err := s.currentConfig(g)
		if err != nil || cfg.Has(s.addr) || m.Ballot < cfg.Ballot {
			if err != nil {
				s.log.Debugf("replica %v: wanted as a learner: %v", g, err)
			}
			s.endOpening(g, nil)
			s.syncSoon()
			return
		}
		info := replicaInfo{AppID: g.AppID, Partition: g.PartitionIndex, MaxReplica: 3, Ballot: cfg.Ballot}
		r, err := s.openReplica(g, s.pickDir(g.AppID), &info)
		if err != nil {
			s.log.Errorf("new learner: %v", err)
		}
		s.endOpening(g, r)
		if r != nil {
			r.deliver(m)
		}
	})
}

// currentConfig asks the meta for the configuration of a partition: by a change that can't
// be made, which is answered with it.
func (s *Server) currentConfig(g base.Gpid) (*pacifica.Config, error) {
	req := metaadmin.ConfigurationUpdateRequest{Config: layer2.PartitionConfiguration{Pid: g, Ballot: -1}}
	cfg, _, err := s.askUpdate(s.ctx, &req)
	if cfg == nil {
		return nil, err
	}
	return cfg, nil
}

// beginOpening reserves a partition id; false if it is open or being opened.
func (s *Server) beginOpening(g base.Gpid) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.opening[g] || s.replicas[g] != nil {
		return false
	}
	// A directory that could not be opened at start must not be taken for a free place.
	for _, d := range s.dirs {
		if !d.abandoned.Load() && d.has(g) {
			return false
		}
	}
	s.opening[g] = true
	return true
}

func (s *Server) endOpening(g base.Gpid, r *replica) {
	s.mu.Lock()
	delete(s.opening, g)
	late := s.closed
	if r != nil && !late {
		s.replicas[g] = r
	}
	s.mu.Unlock()
	if r != nil && late {
		if err := r.close(); err != nil {
			s.log.Warn(err)
		}
	}
}

// syncSoon has the configuration compared with the meta's now.
func (s *Server) syncSoon() {
	select {
	case s.sync <- struct{}{}:
	default:
	}
}

func (s *Server) syncLoop(ctx context.Context) {
	t := time.NewTicker(s.cfg.Replica.ConfigSync.D())
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-s.sync:
			// What asks for a sync often asks for several.
			pause(ctx, 20*time.Millisecond)
		}
		if err := s.configSync(ctx, false); err != nil && ctx.Err() == nil {
			s.log.Debugf("config sync: %v", err)
			pause(ctx, metaRetry)
			s.syncSoon()
		}
	}
}

// configSync tells the meta what is here and takes what should be. When it returns without
// an error, every replica has taken it. resuming tells that the lease had run out: then
// whatever the meta doesn't list is given up, and only the caller makes the node serve.
func (s *Server) configSync(ctx context.Context, resuming bool) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	epoch := s.lease.epoch.Load()
	broken := s.brokenReplicas()
	rs := s.all()
	known := make(map[base.Gpid]*view, len(rs))
	stored := make([]metadata.ReplicaInfo, 0, len(rs))
	for _, r := range rs {
		v := r.look()
		known[r.gpid] = v
		stored = append(stored, metadata.ReplicaInfo{Pid: r.gpid, Ballot: v.Ballot, Status: wireStatus(v), LastCommittedDecree: v.Committed,
			LastPreparedDecree: v.Last, LastDurableDecree: v.Committed, AppType: "pegasus", DiskTag: r.dir.tag,
			ManualCompactStatus: base.Some(r.compactions.status()), Bytes: r.reportedSize()})
	}
	req := metaadmin.ConfigurationQueryByNodeRequest{Node: s.addr, StoredReplicas: base.Some(stored), HpNode: base.Some(s.hostPort)}
	for _, d := range s.dirs {
		total, avail := d.capacity()
		req.Disks.Set = true
		req.Disks.V = append(req.Disks.V, metaadmin.DiskReport{Tag: d.tag, State: metaadmin.DiskState(d.state()), CapacityMb: total >> 20, AvailableMb: avail >> 20})
	}
	if s.cfg.Replica.Rack != "" {
		req.Info = base.Some(metaadmin.ReplicaServerInfo{GeoTags: []base.Pair[string, string]{{Key: "rack", Val: s.cfg.Replica.Rack}}})
	}
	var res metaadmin.ConfigurationQueryByNodeResponse
	c, cancel := context.WithTimeout(ctx, metaTimeout)
	defer cancel()
	if err := s.meta.call(c, rpc.Outgoing{Code: codeConfigSync, Arg: &req}, &res, &res.Err); err != nil {
		return err
	}
	if res.Err != base.ErrOK {
		return res.Err
	}
	if s.lease.epoch.Load() != epoch {
		return fmt.Errorf("the lease was interrupted meanwhile: %w", base.ErrTryAgain)
	}
	listed := make(map[base.Gpid]bool, len(res.Partitions))
	for i := range res.Partitions {
		p := &res.Partitions[i]
		g := p.Config.Pid
		listed[g] = true
		r := s.replica(g)
		if r == nil {
			s.reportMissing(p, nil)
			continue
		}
		r.post(func() {
			if r.failed != nil || r.suspect {
				r.report(p)
				return
			}
			r.update(&p.Info)
			if s.lease.epoch.Load() == epoch {
				r.core.Configure(coreConfig(&p.Config))
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
		r.post(func() {
			if st := r.core.Status(); (st == pacifica.Primary || st == pacifica.Secondary) && (resuming || r.core.Ballot() == asked) {
				r.core.Retire()
			}
		})
	}
	s.quarantineUnlisted(broken, listed)
	for _, g := range res.GcReplicas.V {
		if v := known[g.Pid]; v != nil && !listed[g.Pid] {
			s.discard(g.Pid, v)
		}
	}
	return s.settled(ctx)
}

// settled waits until every replica has done what it was asked so far, and shows it.
func (s *Server) settled(ctx context.Context) error {
	for _, r := range s.all() {
		done := make(chan struct{})
		r.post(func() {
			r.publish()
			close(done)
		})
		select {
		case <-done:
		case <-r.done:
		case <-ctx.Done():
			return fmt.Errorf("replica %v: %w", r.gpid, ctx.Err())
		}
	}
	return nil
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

// report tells the meta that this replica can't be the member that it is listed as. The
// last member is kept: a replica that lost some of its log then goes on with what it has.
func (r *replica) report(p *metaadmin.ConfigurationUpdateRequest) {
	r.srv.reportMissing(p, func(err error) {
		if errors.Is(err, base.ErrInvalidState) && len(p.Config.Secondaries) == 0 && p.Config.Primary == r.srv.addr {
			r.post(func() {
				if r.suspect {
					r.log.Error("the log lost entries, and this is the last replica: it goes on without them")
					r.suspect = false
					r.srv.syncSoon()
				}
			})
		}
	})
}

// reportMissing tells the meta that this node doesn't hold a replica that it lists.
// refused, if not nil, is told why the meta won't do without it.
func (s *Server) reportMissing(p *metaadmin.ConfigurationUpdateRequest, refused func(error)) {
	g := p.Config.Pid
	s.mu.RLock()
	busy := s.opening[g]
	s.mu.RUnlock()
	if busy {
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
		if _, settled, err := s.askUpdate(s.ctx, &req); err != nil {
			s.log.Warnf("replica %v: %v", g, err)
			if settled && refused != nil {
				refused(err)
			}
			return
		}
		s.syncSoon() // to find that it isn't listed any more
	})
}

// discard removes a replica that the meta has no use for, unless it has been of use since the
// meta was told of it as asked.
func (s *Server) discard(g base.Gpid, asked *view) {
	s.mu.Lock()
	r := s.replicas[g]
	if r == nil {
		s.mu.Unlock()
		return
	}
	if v := r.view.Load(); v.Status != pacifica.Inactive || asked.Status != pacifica.Inactive || v.Ballot != asked.Ballot {
		s.mu.Unlock()
		return
	}
	delete(s.replicas, g)
	s.opening[g] = true
	s.mu.Unlock()
	s.log.Infof("replica %v: the meta has no use for it, removed", g)
	s.spawn(func() {
		defer s.endOpening(g, nil)
		err := r.close()
		err = errors.Join(err, wait(func(done func(error)) { r.dir.log().Drop(g, done) }), r.dir.trash(g))
		if err != nil {
			s.log.Warnf("remove replica %v: %v", g, err)
		}
	})
}
