package detector

import (
	"slices"
	"time"

	"pegasus/base"
)

// Addr names a replica server.
type Addr = base.RPCAddress

// Options configure a Detector.
type Options struct {
	// Grace is how long a node may be silent and still counts as alive.
	Grace time.Duration
	// Suspect is the silence after which Tick asks for a node to be probed.
	Suspect time.Duration
}

// Beacon is a sign of life.
type Beacon struct {
	From Addr
	Host base.HostPort // how the node calls itself; zero: not told
	// StartTime is when the process started, by its own clock; 0: not told. Another value
	// than before means another process.
	StartTime int64
}

// Event tells what a beacon changed; the bits may come together.
type Event uint8

// The events.
const (
	Joined    Event = 1 << iota // a node that was not known
	Revived                     // a node that was dead
	Restarted                   // another process than the one before: that one is dead
)

// Node is what is known of one replica server.
type Node struct {
	Addr      Addr
	Host      base.HostPort // zero: not told
	Alive     bool
	StartTime int64
	Stopping  bool          // the process said that it ends soon
	LastHeard time.Duration // when the last beacon came, or when it was expected to come
}

type node struct {
	Node
	holds int
	left  int64 // the start time of the process that said that it serves no more
}

// Detector holds all nodes.
type Detector struct {
	opts  Options
	nodes map[Addr]*node
	order []Addr // all known, ascending
}

// New returns a Detector that knows no node.
func New(opts Options) *Detector { return &Detector{opts: opts, nodes: map[Addr]*node{}} }

// Expect makes a known, with a full grace from now on, unless it was heard of before.
func (d *Detector) Expect(now time.Duration, a Addr) {
	if d.nodes[a] == nil {
		d.add(a).LastHeard = now
	}
}

func (d *Detector) add(a Addr) *node {
	n := &node{Node: Node{Addr: a, Alive: true}}
	d.nodes[a] = n
	i, _ := slices.BinarySearch(d.order, a)
	d.order = slices.Insert(d.order, i, a)
	return n
}

// Beacon takes a sign of life. If ok is false it must not be acknowledged: the node is
// dead, and held, or its process said that it serves no more.
func (d *Detector) Beacon(now time.Duration, b Beacon) (ev Event, ok bool) {
	n := d.nodes[b.From]
	if n == nil {
		n = d.add(b.From)
		ev = Joined
	} else if !n.Alive {
		if n.holds > 0 || n.left != 0 && n.left == b.StartTime {
			return 0, false
		}
		ev = Revived
	}
	if b.StartTime != 0 {
		if n.StartTime != 0 && n.StartTime != b.StartTime {
			ev |= Restarted
			n.Stopping = false
		}
		n.StartTime = b.StartTime
	}
	if !b.Host.IsZero() {
		n.Host = b.Host
	}
	n.Alive = true
	n.LastHeard = max(n.LastHeard, now)
	return ev, true
}

// Died declares a dead on proof that its process is gone. The proof was begun at the time
// asked; if the node was heard of since it is void, and Died reports false, as it does for
// a node that is dead or unknown.
func (d *Detector) Died(asked time.Duration, a Addr) bool {
	n := d.nodes[a]
	if n == nil || !n.Alive || n.LastHeard >= asked {
		return false
	}
	n.Alive = false
	return true
}

// Stop notes that the process of a that began at start ends soon. It reports false if that is
// not the process that lives.
func (d *Detector) Stop(a Addr, start int64) bool {
	n := d.process(a, start)
	if n == nil {
		return false
	}
	n.Stopping = true
	return true
}

// Left declares a dead on its own word: the process that began at start serves no more, and no
// beacon of it that is still under way counts. It reports false if that is not the process that
// lives.
func (d *Detector) Left(a Addr, start int64) bool {
	n := d.process(a, start)
	if n == nil {
		return false
	}
	n.Alive, n.Stopping, n.left = false, true, start
	return true
}

// process returns the living node a if its process is that one, as far as is known.
func (d *Detector) process(a Addr, start int64) *node {
	n := d.nodes[a]
	if start == 0 || n == nil || !n.Alive || n.StartTime != 0 && n.StartTime != start {
		return nil
	}
	n.StartTime = start
	return n
}

// Tick declares nodes dead whose grace is over. It returns them, and the living ones whose
// silence is suspicious, both ascending.
func (d *Detector) Tick(now time.Duration) (died, suspects []Addr) {
	for _, a := range d.order {
		n := d.nodes[a]
		switch silent := now - n.LastHeard; {
		case !n.Alive:
		case silent > d.opts.Grace:
			n.Alive = false
			died = append(died, a)
		case silent > d.opts.Suspect:
			suspects = append(suspects, a)
		}
	}
	return died, suspects
}

// Alive tells whether a lives.
func (d *Detector) Alive(a Addr) bool {
	n := d.nodes[a]
	return n != nil && n.Alive
}

// Stays tells whether a lives, and didn't say that it ends soon.
func (d *Detector) Stays(a Addr) bool {
	n := d.nodes[a]
	return n != nil && n.Alive && !n.Stopping
}

// Hold keeps a dead node dead until Release is called as often. It reports false, and holds
// nothing, if a isn't known to be dead.
func (d *Detector) Hold(a Addr) bool {
	n := d.nodes[a]
	if n == nil || n.Alive {
		return false
	}
	n.holds++
	return true
}

// Release ends one Hold.
func (d *Detector) Release(a Addr) {
	if n := d.nodes[a]; n != nil && n.holds > 0 {
		n.holds--
	}
}

// Forget makes a dead node unknown. It reports false if a isn't known, lives, or is held.
func (d *Detector) Forget(a Addr) bool {
	n := d.nodes[a]
	if n == nil || n.Alive || n.holds > 0 {
		return false
	}
	delete(d.nodes, a)
	d.order = slices.DeleteFunc(d.order, func(x Addr) bool { return x == a })
	return true
}

// Node returns what is known of a.
func (d *Detector) Node(a Addr) (Node, bool) {
	n := d.nodes[a]
	if n == nil {
		return Node{}, false
	}
	return n.Node, true
}

// Nodes returns all known nodes by ascending address.
func (d *Detector) Nodes() []Node {
	all := make([]Node, len(d.order))
	for i, a := range d.order {
		all[i] = d.nodes[a].Node
	}
	return all
}

// AliveCount returns how many nodes live.
func (d *Detector) AliveCount() int {
	c := 0
	for _, n := range d.nodes {
		if n.Alive {
			c++
		}
	}
	return c
}
