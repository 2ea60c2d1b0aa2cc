package disks

import (
	"slices"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/base/diskplan"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/meta/service"
)

// Options are what the service needs of the meta beside its Leader.
type Options struct {
	// AtOnce is how many replicas are moved at a time; 0: none.
	AtOnce int
	// Every is how often it is looked what is to be done.
	Every time.Duration
	// May says why none may be moved now; "" if one may.
	May func() string
	// Fixed tells of replicas of a node which of them have to stay, since something else is done about them.
	Fixed func(node base.RPCAddress, of []base.Gpid) []bool
	// Note remembers what is done about a partition, and why.
	Note func(g base.Gpid, what, why string)
	// Ended is called when a move has ended.
	Ended func()
}

// Service has servers move replicas.
type Service struct {
	service.Leader
	o Options

	mu sync.Mutex
	of map[base.RPCAddress]*server // those with several data directories
}

// server is a replica server. Service.mu guards it.
type server struct {
	said    diskplan.Server // in its last configuration sync
	asked   bool            // for the moves that it was making when this leader began
	move    *move           // under way
	until   time.Time       // it is left alone
	failed  int             // moves, one after the other
	resting map[base.Gpid]time.Time
}

// move is a move under way.
type move struct {
	diskplan.Move
	copied int64     // bytes, when it was last asked
	heard  time.Time // when that was another number before
	moved  bool      // it is in the other directory, and has to be given its role again
	others bool      // somebody else's, or an earlier leader's
}

// New returns the service of a meta that leads.
func New(l service.Leader, o Options) *Service {
	return &Service{Leader: l, o: o, of: map[base.RPCAddress]*server{}}
}

// Register implements service.Service.
func (*Service) Register(*service.Routes) {}

// Report takes what a server has in its data directories.
func (s *Service) Report(r *service.Report) {
	q := r.Request
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(q.Disks.V) < 2 {
		delete(s.of, r.Node)
		return
	}
	n := s.of[r.Node]
	if n == nil {
		n = &server{resting: map[base.Gpid]time.Time{}}
		s.of[r.Node] = n
	}
	n.said = diskplan.Server{}
	for i := range q.Disks.V {
		d := &q.Disks.V[i]
		healthy := d.State == metaadmin.DISK_NORMAL
		n.said.Disks = append(n.said.Disks, diskplan.Disk{Tag: d.Tag, Capacity: d.CapacityMb << 20, Available: d.AvailableMb << 20, Takes: healthy, Gives: healthy || d.State == metaadmin.DISK_SHORT})
	}
	for i := range q.StoredReplicas.V {
		rep := &q.StoredReplicas.V[i]
		member := rep.Status == metadata.PS_PRIMARY || rep.Status == metadata.PS_SECONDARY
		n.said.Replicas = append(n.said.Replicas, diskplan.Replica{Gpid: rep.Pid, Disk: rep.DiskTag, Bytes: rep.Bytes.V, Fixed: !member})
	}
}

// Moving tells whether a replica of a partition is being moved.
func (s *Service) Moving(g base.Gpid) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.of {
		if n.move != nil && n.move.Gpid == g {
			return true
		}
	}
	return false
}

// sorted are the servers that ok wants, in the order of their addresses.
func (s *Service) sorted(ok func(base.RPCAddress, *server) bool) (as []base.RPCAddress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a, n := range s.of {
		if ok(a, n) {
			as = append(as, a)
		}
	}
	slices.Sort(as)
	return as
}

// plan returns what would be moved first at a server, nil: nothing.
func (s *Service) plan(a base.RPCAddress) *diskplan.Move {
	s.mu.Lock()
	n := s.of[a]
	if n == nil {
		s.mu.Unlock()
		return nil
	}
	view := diskplan.Server{Disks: n.said.Disks, Replicas: slices.Clone(n.said.Replicas)}
	for g, until := range n.resting {
		if time.Now().After(until) {
			delete(n.resting, g)
		}
	}
	// One of a partition at a time: a member that changes over is out of service for a moment.
	moving := map[base.Gpid]bool{}
	for _, o := range s.of {
		if o.move != nil {
			moving[o.move.Gpid] = true
		}
	}
	ids := make([]base.Gpid, 0, len(view.Replicas))
	for i := range view.Replicas {
		r := &view.Replicas[i]
		_, rests := n.resting[r.Gpid]
		r.Fixed = r.Fixed || rests || moving[r.Gpid]
		ids = append(ids, r.Gpid)
	}
	s.mu.Unlock()
	for i, fixed := range s.o.Fixed(a, ids) { // it takes the leader's lock, which is above ours
		view.Replicas[i].Fixed = view.Replicas[i].Fixed || fixed
	}
	p := diskplan.Make(&view, diskplan.Defaults)
	if len(p.Moves) == 0 {
		s.rest(a, calm)
		return nil
	}
	return &p.Moves[0]
}

// rest leaves a server alone for a while.
func (s *Service) rest(a base.RPCAddress, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.of[a]; n != nil {
		n.until = time.Now().Add(d)
	}
}
