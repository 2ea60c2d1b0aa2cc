package meta

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"pegasus/base"
	"pegasus/base/judge"
	"pegasus/base/version"
	"pegasus/gen/metaadmin"
	"pegasus/meta/cure"
	"pegasus/meta/detector"
	"pegasus/meta/state"
)

// warmUpBeats is how many beacon intervals a new leader gives nodes to show up.
const warmUpBeats = 3

// node is what a leader was told by a replica server, or on account of it.
type node struct {
	reported bool // it said what it stores, since it lives
	holds    bool // it said that it stores something
	probing  bool // it is being looked whether it refuses connections

	speaks  version.Version // that it said it understands
	refused *refused        // it may not serve here
	unknown []int32         // ids of tables of which only it has replicas
	// ahead is by how much its wall clock is ahead of the leader's boot clock, so that a step of
	// either wall clock shows at once, and a suspend doesn't look like one. Not set: no beacon yet.
	ahead base.Opt[time.Duration]

	rack string
	// mute: it has replicas and doesn't say how they are used, for its program is an older one.
	mute  bool
	space space
	disks map[base.Gpid]string // where its replicas are, if it has several disks
	dirs  []metaadmin.DiskReport
	// serves is whether it said that its lease holds, or was given its roles since.
	serves judge.Can

	// stored are the replicas that its last configuration sync told of, since it lives, without what it
	// was told to remove.
	stored map[base.Gpid]cure.Replica
	claims *claims // its answer to the last question
	asking bool    // it is being asked
	// unfit are the partitions of which it is a member and has no usable replica.
	unfit       map[base.Gpid]bool
	compactions compactions // what it said of manual compactions
}

// forget drops what it said of its replicas: it died, or was restarted.
func (n *node) forget() {
	n.reported, n.stored, n.claims, n.unfit, n.serves = false, nil, nil, nil, judge.Unsure
}

// nodes are the replica servers that the leader heard of. The term's mu guards them.
type nodes struct {
	*term
	det    *detector.Detector
	byAddr map[base.RPCAddress]*node
	none   node // of whom nothing was heard; never written
	clocks clocks
	deaths atomic.Int64 // nodes found dead
	view   atomic.Pointer[nodesView]
}

// nodesView is what readers need of the nodes, without a lock.
type nodesView struct {
	dead  map[base.RPCAddress]bool
	hosts map[base.RPCAddress]base.HostPort
}

func newNodes(tm *term) *nodes {
	fd := &tm.s.cfg.FD
	ns := &nodes{
		term:   tm,
		det:    detector.New(detector.Options{Grace: fd.Grace.D(), Suspect: fd.BeaconInterval.D() * 3 / 2}),
		byAddr: map[base.RPCAddress]*node{},
		clocks: clocks{tolerance: fd.ClockTolerance.D(), wall: tm.s.opts.Clock},
	}
	ns.view.Store(&nodesView{})
	return ns
}

// of returns what is known of a node, for reading. The caller holds mu.
func (ns *nodes) of(a base.RPCAddress) *node {
	if n := ns.byAddr[a]; n != nil {
		return n
	}
	return &ns.none
}

// at returns what is known of a node, for writing. The caller holds mu.
func (ns *nodes) at(a base.RPCAddress) *node {
	n := ns.byAddr[a]
	if n == nil {
		n = &node{}
		ns.byAddr[a] = n
	}
	return n
}

// publish renews what readers see of the nodes. The caller holds mu.
func (ns *nodes) publish() {
	v := &nodesView{dead: map[base.RPCAddress]bool{}, hosts: map[base.RPCAddress]base.HostPort{}}
	for _, n := range ns.det.Nodes() {
		if !n.Alive {
			v.dead[n.Addr] = true
		}
		if !n.Host.IsZero() {
			v.hosts[n.Addr] = n.Host
		}
	}
	ns.view.Store(v)
}

// isDead tells whether a node is known to be dead.
func (ns *nodes) isDead(a base.RPCAddress) bool { return ns.view.Load().dead[a] }

func (ns *nodes) knownDead(a base.RPCAddress) bool {
	_, known := ns.det.Node(a)
	return known && !ns.det.Alive(a)
}

// belowLiveThreshold says that few of the known replica servers live; "" if enough do. Then nothing is
// copied that needn't be: the dead ones are more likely cut off than gone, and what they had
// would fill up the others. Roles are given to others all the same. Servers that were taken
// out don't count. The caller holds mu, and the State.
func (ns *nodes) belowLiveThreshold(st *state.State) string {
	alive, all := 0, 0
	for _, n := range ns.det.Nodes() {
		switch {
		case n.Alive:
			alive++
			all++
		case st.Role(n.Addr) != state.RoleLeaving:
			all++
		}
	}
	threshold := int(ns.s.overrides.livePercentage.Load())
	if alive*100 >= all*threshold {
		return ""
	}
	return fmt.Sprintf("only %d of %d replica servers live, less than %d %%: nothing is copied but what partitions lack to be writable; start the others, or, if they are gone for good, have them forgotten (`pegasus node forget ADDRESS`)",
		alive, all, threshold)
}

// waitAlive returns how many nodes live. A leader that has just taken over doesn't know all
// of them yet, and waits until there are n or they had time to show up.
func (ns *nodes) waitAlive(n int) int {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		ns.mu.Lock()
		alive := ns.det.AliveCount()
		ns.mu.Unlock()
		if alive >= n || ns.now() > warmUpBeats*ns.s.cfg.FD.BeaconInterval.D() {
			return alive
		}
		select {
		case <-ns.ctx.Done():
			return alive
		case <-t.C:
		}
	}
}

// warm tells whether the replica servers had time to show up, and to report, since this
// leader began. Plans that were made before would miss some. The caller holds mu.
func (ns *nodes) warm() bool {
	heard := warmUpBeats * ns.s.cfg.FD.BeaconInterval.D()
	switch now := ns.now(); {
	case now < heard:
		return false
	case now < heard+2*ns.s.cfg.Replica.ConfigSync.D():
		return !slices.ContainsFunc(ns.det.Nodes(), func(n detector.Node) bool { return n.Alive && !ns.of(n.Addr).reported })
	}
	return true
}

// space is what a node said of its data directories, and how many replicas it can hold.
type space struct {
	disks, short, broken, capacityMB, availableMB int64
	max                                           base.Opt[int32] // not set: it didn't say
}

func spaceOf(q *metaadmin.ConfigurationQueryByNodeRequest) space {
	s := space{max: q.MaxReplicas}
	for i := range q.Disks.V {
		d := &q.Disks.V[i]
		s.disks++
		s.capacityMB += d.CapacityMb
		s.availableMB += d.AvailableMb
		switch d.State {
		case metaadmin.DISK_SHORT:
			s.short++
		case metaadmin.DISK_BROKEN:
			s.broken++
		}
	}
	return s
}

// full tells that no disk takes a new replica; one that told nothing isn't full.
func (s space) full() bool { return s.disks > 0 && s.short+s.broken == s.disks }

// holds tells that it has as many replicas as it can hold.
func (s space) holds(replicas int) bool { return s.max.Set && replicas >= int(s.max.V) }

// takes tells whether a node takes a new replica. The caller holds mu, and the State.
func (ns *nodes) takes(st *state.State, a base.RPCAddress) bool {
	s := ns.of(a).space
	return !s.full() && !s.holds(st.Load(a).Replicas)
}

// checkRoom says why the living servers can't hold a table; "" if they can, as far as they said.
// Each partition has its replicas on different servers.
func (ns *nodes) checkRoom(partitions, replicas int) (hint string) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	room, nodes := 0, 0
	ns.s.fsm.read(func(st *state.State) {
		for _, n := range ns.det.Nodes() {
			if !n.Alive || st.Role(n.Addr) == state.RoleLeaving {
				continue
			}
			nodes++
			free := partitions
			if holds := ns.of(n.Addr).space.max; holds.Set {
				free = min(free, max(0, int(holds.V)-st.Load(n.Addr).Replicas))
			}
			room += free
		}
	})
	if room >= partitions*replicas {
		return ""
	}
	return fmt.Sprintf("the table would have %d replicas, and the %d replica servers that live have descriptors for %d more, at most one of each partition: raise their limit of open files (ulimit -n, LimitNOFILE of systemd), add servers, or make fewer partitions", partitions*replicas, nodes, room)
}

// disksOf returns on which disks the replicas of g are, if all that is known.
func (ns *nodes) disksOf(g base.Gpid, members []base.RPCAddress) []string {
	var disks []string
	for _, a := range members {
		tag, ok := ns.of(a).disks[g]
		if !ok {
			return nil
		}
		disks = append(disks, tag)
	}
	return disks
}

// balance returns the standard deviations of primaries and of replicas over the living
// nodes that serve something: of a sample if a dead node still is a member somewhere.
func (ns *nodes) balance() (primaries, replicas float64) {
	var p, r []float64
	partial := false
	dead := ns.view.Load().dead
	ns.s.fsm.read(func(st *state.State) {
		for _, a := range st.Members() {
			if dead[a] {
				partial = true
				continue
			}
			load := st.Load(a)
			p, r = append(p, float64(load.Primaries)), append(r, float64(load.Replicas))
		}
	})
	return deviation(p, partial), deviation(r, partial)
}

func deviation(v []float64, sample bool) float64 {
	if len(v) <= 1 {
		return 0
	}
	var sum, squares float64
	for _, x := range v {
		sum += x
	}
	mean := sum / float64(len(v))
	for _, x := range v {
		squares += (x - mean) * (x - mean)
	}
	n := len(v)
	if sample {
		n--
	}
	return math.Sqrt(squares / float64(n))
}
