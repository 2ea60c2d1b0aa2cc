package meta

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"pegasus/base"
)

// gcMargin is how long after its time a dropped table's data is kept, because the clocks of
// two leaders differ.
const gcMargin = time.Minute

// clocks are the wall clocks of the replica servers, as their beacons told, against the
// leader's. What counts is the clock that most machines have: the leader tells that one to the
// servers, and what it deletes itself it deletes only while its own is that of most.
type clocks struct {
	tolerance time.Duration
	wall      func() time.Time  // the leader's
	off       []base.RPCAddress // living ones that don't have the clock of most, as of the last look
	wrong     bool              // nor has the leader, as of then
	told      atomic.Pointer[toldClock]
}

// toldClock is what servers are told of the time. A step that the leader's clock made since it
// was compared isn't told.
type toldClock struct {
	ahead   time.Duration // of the leader's boot clock
	doubted bool          // it is the leader's own, for no clock is that of most
}

// untold stands for the clock of a server whose beacons don't tell it.
const untold = time.Duration(math.MinInt64)

// observeClock takes what a server's beacon says of its clock, in milliseconds since 1970. The caller
// holds mu.
func (ns *nodes) observeClock(a base.RPCAddress, ms int64) {
	at := untold
	if ms > 0 {
		at = time.Duration(ms)*time.Millisecond - ns.boot()
	}
	ns.at(a).ahead = base.Some(at)
	if ns.clocks.told.Load() == nil {
		ns.checkClocks()
	}
}

// comparison is how the clocks of the living servers, and the leader's, stand to each other.
type comparison struct {
	own   time.Duration     // by how much the leader's is ahead of its boot clock
	most  time.Duration     // by how much the clock of most is ahead of the leader's: 0 if that is one of them
	off   []base.RPCAddress // those that haven't the clock of most
	told  int               // how many servers told theirs
	votes int               // the clocks there are, the leader's among them if its machine has no server
	with  int               // of them, those that have the clock of most
	more  bool              // some are still to be heard
	// furthest is by how much the clock that is the furthest ahead is so of the leader's; 0 if that is it.
	furthest time.Duration
}

// certain tells that there is a clock that most have.
func (c *comparison) certain() bool { return c.told > 0 && 2*c.with > c.votes }

// unheard tells that it isn't known yet whether there is one.
func (c *comparison) unheard() bool { return c.told == 0 || c.more && !c.certain() }

// counts tells that it is the leader's.
func (c *comparison) counts() bool { return c.certain() && c.most == 0 }

// compareClocks compares the clocks of the living servers and the leader's. A server that is
// expected to live and wasn't heard yet has a vote: who is heard first doesn't decide. The caller
// holds mu.
func (ns *nodes) compareClocks() (c comparison) {
	c.own = time.Duration(ns.clocks.wall().UnixNano()) - ns.boot()
	apart := true // the leader's machine has no server: a clock more
	machine := ns.s.self().AddrPort().Addr()
	var heard []base.RPCAddress
	var diffs []time.Duration
	for _, n := range ns.det.Nodes() {
		ahead := ns.of(n.Addr).ahead
		if !n.Alive || ahead.V == untold {
			continue
		}
		c.votes++
		apart = apart && n.Addr.AddrPort().Addr() != machine
		if ahead.Set {
			heard, diffs = append(heard, n.Addr), append(diffs, ahead.V-c.own)
		}
	}
	c.told, c.more = len(heard), c.votes > len(heard)
	for _, d := range diffs {
		c.furthest = max(c.furthest, d)
	}
	all := slices.Clone(diffs)
	if apart {
		c.votes++
		all = append(all, 0)
	}
	near := func(d time.Duration) bool { return (d - c.most).Abs() <= ns.clocks.tolerance }
	count := func() (n int) {
		for _, d := range all {
			if near(d) {
				n++
			}
		}
		return n
	}
	c.with = count()
	if len(all) > 0 && !c.certain() {
		slices.Sort(all)
		c.most = all[len(all)/2]
		if c.with = count(); !c.certain() {
			c.most = 0
		}
	}
	for i, a := range heard {
		if !near(diffs[i]) {
			c.off = append(c.off, a)
		}
	}
	return c
}

// checkClocks raises the alarm when clocks begin to differ. The caller holds mu.
func (ns *nodes) checkClocks() {
	c := ns.compareClocks()
	if c.unheard() {
		return
	}
	last := ns.clocks.told.Swap(&toldClock{c.own + c.most, !c.certain()})
	if wrong, doubted := c.most != 0, !c.certain(); wrong != ns.clocks.wrong || doubted != (last != nil && last.doubted) || !slices.Equal(c.off, ns.clocks.off) {
		if text := ns.clocksText(&c); text != "" {
			ns.log.Error(text)
		} else {
			ns.log.Warn("the clocks of this meta and of the replica servers agree again")
		}
	}
	ns.clocks.off, ns.clocks.wrong = c.off, c.most != 0
}

// tellClock is what an acknowledgement says of the time: nothing as long as too little was heard
// to say what most clocks say.
func (ns *nodes) tellClock() (ms base.Opt[int64], doubted base.Opt[bool]) {
	if t := ns.clocks.told.Load(); t != nil {
		return base.Some((t.ahead + ns.boot()).Milliseconds()), base.Some(t.doubted)
	}
	return ms, doubted
}

// clocksText says in words whose clocks are off; "" if nobody's.
func (ns *nodes) clocksText(c *comparison) string {
	var list []string
	off := func(who string, d time.Duration) {
		word := "ahead"
		if d < 0 {
			word = "behind"
		}
		list = append(list, fmt.Sprintf("%s is %v %s", who, d.Abs().Round(time.Second), word))
	}
	if c.most != 0 {
		off("the leading meta "+ns.s.name, -c.most)
	}
	for _, a := range c.off {
		off(a.String(), ns.of(a).ahead.V-c.own-c.most)
	}
	if len(list) == 0 || c.unheard() {
		return ""
	}
	than, until := "the clock that most have", "what has expired isn't deleted there until they are put right"
	switch {
	case !c.certain():
		than, until = "the meta leader's, and none is that of most", "nothing is deleted anywhere because it has expired until they are put right"
	case c.most != 0:
		until += ", and no dropped table goes"
	}
	return fmt.Sprintf("clocks differ by more than %v from %s: %s; %s", ns.clocks.tolerance, than, strings.Join(list, ", "), until)
}

// clockTrusted tells whether the leader's clock may decide that something is deleted. The caller
// holds mu.
func (ns *nodes) clockTrusted() bool {
	c := ns.compareClocks()
	return c.counts()
}

// mostly is the clock of most, by the leader's word; its own if there is none. The caller holds mu.
func (ns *nodes) mostly() time.Time {
	c := ns.compareClocks()
	return ns.clocks.wall().Add(c.most)
}

// latest is the clock of most or, if there is none, that one of all which is the furthest: a time
// limit that is counted from it isn't over too soon. The caller holds mu.
func (ns *nodes) latest() time.Time {
	c := ns.compareClocks()
	if c.certain() {
		return ns.clocks.wall().Add(c.most)
	}
	return ns.clocks.wall().Add(c.furthest)
}
