package meta

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/cure"
	"pegasus/meta/detector"
	"pegasus/meta/state"
)

// Times that no configuration key sets.
const (
	barrierWait  = 30 * time.Second
	lookPiece    = 4 * walkPiece          // partitions of a round that are looked at without letting go of mu
	roundGap     = 5 * time.Millisecond   // between two rounds of the planner, at least
	probeTimeout = 500 * time.Millisecond // to see whether a silent node refuses connections
	warmUpBeats  = 3                      // a new leader gives nodes that many beacon intervals to show up
)

// leader is what a server knows while it leads, and only then.
type leader struct {
	s      *Server
	log    *logrus.Entry
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	origin time.Time // of the monotonic times in here
	wake   chan struct{}

	verified atomic.Int64 // when a majority last confirmed the leadership, since origin
	view     atomic.Pointer[nodesView]
	changes  changeQueue
	deaths   atomic.Int64 // nodes found dead

	mu       sync.Mutex
	det      *detector.Detector
	plan     *cure.Planner
	unsure   map[base.Gpid]struct{} // partitions that may not be in order
	stored   map[base.RPCAddress]map[base.Gpid]cure.Replica
	compacts map[base.RPCAddress]compacts // what nodes said of manual compactions
	reported map[base.RPCAddress]bool     // nodes that said what they store, since they live
	holds    map[base.RPCAddress]bool     // nodes that said that they store something
	// unfit are the partitions of which a node is a member and has no usable replica.
	unfit   map[base.RPCAddress]map[base.Gpid]bool
	probing map[base.RPCAddress]bool
	deposed map[base.Gpid]deposed // by partition: who may still believe to be its primary
	bal     balancer
	configs int64 // configurations changed
	racks   map[base.RPCAddress]string
	bytes   map[base.Gpid]int64                      // of a replica, as the primary told last
	disks   map[base.RPCAddress]map[base.Gpid]string // of nodes with several
	space   map[base.RPCAddress]space
	history map[base.Gpid]*history
	waiters map[int32][]chan struct{} // told when a partition of the table changes
}

// nodesView is what readers need of the nodes, without a lock.
type nodesView struct {
	dead  map[base.RPCAddress]bool
	hosts map[base.RPCAddress]base.HostPort
}

// followLeadership makes a leader when raft elects this server, and ends it when it is
// deposed.
func (s *Server) followLeadership() {
	var l *leader
	end := func() {
		s.leader.Store(nil)
		if l != nil {
			l.end()
			l = nil
		}
	}
	defer end()
	for {
		select {
		case <-s.ctx.Done():
			return
		case leads := <-s.quorum.notify:
			end()
			if !leads {
				s.log.Info("no longer the leader")
				continue
			}
			s.log.Info("elected, catching up")
			var err error
			if l, err = s.takeOver(); err != nil {
				s.log.Warnf("can't lead: %v", err)
				continue
			}
			s.leader.Store(l)
			s.log.Info("leads the cluster")
		}
	}
}

// takeOver applies all that is committed and begins to lead.
func (s *Server) takeOver() (*leader, error) {
	if err := s.quorum.raft.Barrier(barrierWait).Error(); err != nil {
		return nil, err
	}
	res, err := s.quorum.apply(&state.Init{Cluster: s.cfg.Cluster.Name, Quorum: rand.Text()})
	if err != nil {
		return nil, err
	}
	if res.Err != base.ErrOK {
		err := errors.New("the quorum's data belongs to another cluster than cluster.name says")
		s.fail(err)
		return nil, err
	}
	l := &leader{
		s: s, log: s.log.WithField("part", "leader"), origin: time.Now(), wake: make(chan struct{}, 1),
		det: detector.New(detector.Options{
			Grace: s.cfg.FD.Grace.D(), Suspect: s.cfg.FD.BeaconInterval.D() * 3 / 2,
		}),
		plan:     cure.New(s.cureOpts),
		unsure:   map[base.Gpid]struct{}{},
		stored:   map[base.RPCAddress]map[base.Gpid]cure.Replica{},
		compacts: map[base.RPCAddress]compacts{},
		holds:    map[base.RPCAddress]bool{},
		reported: map[base.RPCAddress]bool{}, unfit: map[base.RPCAddress]map[base.Gpid]bool{},
		probing: map[base.RPCAddress]bool{},
		deposed: map[base.Gpid]deposed{},
		waiters: map[int32][]chan struct{}{},
		bal:     newBalancer(),
		racks:   map[base.RPCAddress]string{}, bytes: map[base.Gpid]int64{}, disks: map[base.RPCAddress]map[base.Gpid]string{}, space: map[base.RPCAddress]space{},
		history: map[base.Gpid]*history{},
	}
	l.ctx, l.cancel = context.WithCancel(s.ctx)
	s.fsm.read(func(st *state.State) {
		if st.Restored() {
			l.log.Warn("the state comes from a backup or from a quorum that was made anew, and may be old: no configuration changes until `pegasus recover` has asked the replica servers")
		}
	})
	l.verified.Store(-int64(time.Hour))
	l.view.Store(&nodesView{})
	l.changes.init()
	s.fsm.read(func(st *state.State) {
		for _, a := range st.Members() {
			l.det.Expect(l.now(), a)
		}
		st.Tables(func(t *state.Table) { l.lookAtTable(t) })
		if r := st.Run(); r.Active() {
			l.bal.run = newRun(r)
			l.bal.run.carried = true
			l.log.Info("carries on with the rebalancing that an earlier leader began")
		}
	})
	if err := l.verifyOnce(); err != nil {
		l.cancel()
		return nil, err
	}
	l.wg.Go(l.verify)
	l.wg.Go(l.watchNodes)
	l.wg.Go(l.watch)
	l.wg.Go(l.purge)
	if len(s.defaults) > 0 {
		l.wg.Go(func() { l.makeDefaults(s.defaults) })
	}
	l.wg.Go(func() { l.changes.run(l) })
	return l, nil
}

func (l *leader) end() {
	l.cancel()
	l.changes.close()
	l.wg.Wait()
}

// now is the monotonic time since the leader began.
func (l *leader) now() time.Duration { return time.Since(l.origin) }

func (l *leader) verifyOnce() error {
	asked := l.now()
	if err := l.s.quorum.raft.VerifyLeader().Error(); err != nil {
		return err
	}
	l.verified.Store(int64(asked))
	return nil
}

// verify has a majority confirm the leadership again and again.
func (l *leader) verify() {
	l.every(max(l.s.window/3, 5*time.Millisecond), func() {
		if err := l.verifyOnce(); err != nil {
			l.log.Debugf("verify the leadership: %v", err)
		}
	})
}

// every calls f at that interval until the leadership ends.
func (l *leader) every(d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-t.C:
			f()
		}
	}
}

// confirmed tells whether a majority confirmed the leadership just now, so that no other
// leader can have been elected yet.
func (l *leader) confirmed() bool {
	return l.now()-time.Duration(l.verified.Load()) <= l.s.window
}

// lookAtTable puts all partitions of an available table on the planner's list. The caller
// holds mu, or is the only one who knows l.
func (l *leader) lookAtTable(t *state.Table) {
	if t.Status != state.Available {
		return
	}
	for i := range t.Parts {
		l.unsure[base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}] = struct{}{}
	}
}

// kick has the planner look soon.
func (l *leader) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// watchNodes runs the detector.
func (l *leader) watchNodes() {
	l.every(min(250*time.Millisecond, max(l.s.cfg.FD.BeaconInterval.D()/4, 5*time.Millisecond)), func() {
		if l.checkNodes() {
			l.kick()
		}
	})
}

// watch runs the planner.
func (l *leader) watch() {
	cureTick := time.NewTicker(l.s.cfg.Meta.CureInterval.D())
	defer cureTick.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-cureTick.C:
		case <-l.wake:
		}
		began := time.Now()
		l.moveOn()
		l.round()
		// Events come in bursts; a large cluster's rounds must not fill the day.
		gap := max(roundGap, 2*time.Since(began))
		select {
		case <-l.ctx.Done():
			return
		case <-time.After(gap):
		}
	}
}

// checkNodes finds nodes that died. It reports whether there were any.
func (l *leader) checkNodes() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	died, suspects := l.det.Tick(l.now())
	for _, a := range died {
		l.log.Warnf("node %v is dead: no beacon for %v", a, l.s.cfg.FD.Grace.D())
		l.onDeath(a)
	}
	if l.s.cfg.FD.TrustRefusal {
		for _, a := range suspects {
			if !l.probing[a] {
				l.probing[a] = true
				l.wg.Go(func() { l.probe(a) })
			}
		}
	}
	return len(died) > 0
}

// probe connects to a silent node. If its host refuses, nobody listens there: the process
// is dead, and its lease with it.
func (l *leader) probe(a base.RPCAddress) {
	asked := l.now()
	d := net.Dialer{Timeout: probeTimeout}
	c, err := d.DialContext(l.ctx, "tcp4", a.String())
	if err == nil {
		c.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.probing, a)
	if errors.Is(err, syscall.ECONNREFUSED) && l.det.Died(asked, a) {
		l.log.Warnf("node %v is dead: it was silent and now refuses connections", a)
		l.onDeath(a)
		l.kick()
	}
}

// onDeath has all partitions of a looked at. The caller holds mu.
func (l *leader) onDeath(a base.RPCAddress) {
	l.deaths.Add(1)
	l.replan()
	delete(l.reported, a)
	delete(l.stored, a)
	delete(l.unfit, a)
	l.s.fsm.read(func(st *state.State) {
		for _, g := range st.PartitionsOf(a) {
			l.unsure[g] = struct{}{}
		}
	})
	l.publish()
}

// publish renews what readers see of the nodes. The caller holds mu.
func (l *leader) publish() {
	v := &nodesView{dead: map[base.RPCAddress]bool{}, hosts: map[base.RPCAddress]base.HostPort{}}
	for _, n := range l.det.Nodes() {
		if !n.Alive {
			v.dead[n.Addr] = true
		}
		if !n.Host.IsZero() {
			v.hosts[n.Addr] = n.Host
		}
	}
	l.view.Store(v)
}

// round lets the planner look at what may not be in order, and starts what it decides.
func (l *leader) round() {
	l.mu.Lock()
	look := make([]base.Gpid, 0, len(l.unsure))
	for g := range l.unsure {
		look = append(look, g)
	}
	l.mu.Unlock()
	slices.SortFunc(look, base.Gpid.Compare)
	for piece := range slices.Chunk(look, lookPiece) {
		if l.ctx.Err() != nil {
			return
		}
		l.look(piece)
	}
}

// look is a part of a round.
func (l *leader) look(look []base.Gpid) {
	var msgs []proposal
	l.locked(func(st *state.State) {
		if st.Level() < state.LevelSteady {
			return
		}
		l.s.knobs.tune(l.plan)
		actions, fine := l.plan.Round(l.planView(st), look)
		for _, g := range fine {
			delete(l.unsure, g)
		}
		for i := range actions {
			a := &actions[i]
			t, cfg, _ := st.Config(a.Gpid)
			if a.Change == nil {
				if !a.Again {
					l.note(a.Gpid, fmt.Sprintf("asks %v for %s of %v", a.Target, typeName(a.Type), a.Node), a.Why)
				}
				msgs = append(msgs, l.proposal(t, a.Gpid, &cfg, a.Type, a.Target, a.Node))
				continue
			}
			for _, d := range a.Dead {
				l.det.Hold(d)
			}
			l.queuePlanned(a, cfg)
		}
	})
	l.s.send(msgs)
}

// planView is the cluster as the planner sees it. The caller holds mu, and the State.
func (l *leader) planView(st *state.State) *cure.View {
	v := &cure.View{Now: l.now(), State: st, Stored: func(a base.RPCAddress, g base.Gpid) (cure.Replica, bool) {
		r, ok := l.stored[a][g]
		return r, ok
	}, Unfit: func(a base.RPCAddress, g base.Gpid) bool { return l.unfit[a][g] }}
	v.Few = l.few(st)
	for _, n := range l.det.Nodes() {
		role := st.Role(n.Addr)
		v.Nodes = append(v.Nodes, cure.Node{Addr: n.Addr, Alive: n.Alive, Reported: l.reported[n.Addr], Rack: l.racks[n.Addr], Full: l.space[n.Addr].full(),
			Leaving: role == state.RoleLeaving, NoPrimaries: role == state.RoleNoPrimaries})
	}
	return v
}

// queuePlanned submits a change that the planner wants. The caller holds mu.
func (l *leader) queuePlanned(a *cure.Action, old state.Config) {
	g, dead := a.Gpid, a.Dead
	l.changes.put(&pendingChange{change: *a.Change, old: old, push: true, why: a.Why, done: func(res state.ChangeResult, err error) {
		l.mu.Lock()
		for _, d := range dead {
			l.det.Release(d)
		}
		l.plan.Done(g)
		l.mu.Unlock()
		if err != nil {
			l.log.Warnf("partition %v: change to ballot %d: %v", g, a.Change.Config.Ballot, err)
		} else if res.Err != base.ErrOK {
			l.log.Debugf("partition %v: change to ballot %d: %v", g, a.Change.Config.Ballot, res.Err)
		}
	}})
}

// changed is told of every configuration that was changed. lost says that the member that
// left has no data.
func (l *leader) changed(g base.Gpid, old, now *state.Config, lost base.RPCAddress, why string) {
	l.mu.Lock()
	l.configs++
	l.note(g, difference(old, now), why)
	l.unsure[g] = struct{}{}
	if old.Primary != 0 && old.Primary != now.Primary {
		l.deposed[g] = deposed{old.Primary, now.Ballot}
	}
	for _, a := range old.AppendMembers(nil) {
		// Who left still holds its replica; it will say so itself, but later.
		if !now.Has(a) && a != lost && l.det.Alive(a) {
			if l.stored[a] == nil {
				l.stored[a] = map[base.Gpid]cure.Replica{}
			}
			l.stored[a][g] = cure.Replica{Ballot: old.Ballot, Committed: old.LastCommitted}
		}
	}
	waiting := l.waiters[g.AppID]
	l.mu.Unlock()
	for _, ch := range waiting {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
	l.kick()
}

// isDead tells whether a node is known to be dead.
func (l *leader) isDead(a base.RPCAddress) bool { return l.view.Load().dead[a] }

// pushChange tells the members of a partition what the meta decided: the primary that it
// is one, the others their configuration.
func (l *leader) pushChange(t *state.Table, g base.Gpid, cfg *state.Config) {
	msgs := []proposal{l.proposal(t, g, cfg, metaadmin.CT_UPGRADE_TO_PRIMARY, cfg.Primary, cfg.Primary)}
	for _, a := range cfg.Secondaries {
		msgs = append(msgs, l.proposal(t, g, cfg, metaadmin.CT_INVALID, a, a))
	}
	l.s.send(slices.DeleteFunc(msgs, func(p proposal) bool { return l.isDead(p.to) }))
}
