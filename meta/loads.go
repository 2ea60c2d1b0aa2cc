package meta

import (
	"fmt"
	"math"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/gen/metadata"
	"pegasus/meta/balance"
)

// loads is how much partitions are used, as their primaries tell: capacity units a second, in the mean of the last minutes.
// Servers tell what they have counted, so that a config sync that is lost or late makes no difference; and the mean is made here,
// so that it outlasts a change of the primary.
type loads struct {
	half  time.Duration // load of so long ago counts half
	of    map[base.Gpid]*load
	began base.Opt[time.Duration] // when a load was first told
}

// load is that of one partition.
type load struct {
	node          base.RPCAddress // that told last
	at            time.Duration
	reads, writes int64 // units that it has counted by then
	// read and write are means of units a second, and weight of 1: they begin with 0, and only what was measured has a weight.
	read, write, weight float64
}

func newLoads(half time.Duration) loads { return loads{half: half, of: map[base.Gpid]*load{}} }

// heard takes what a partition's primary has counted.
func (l *loads) heard(now time.Duration, node base.RPCAddress, rep *metadata.ReplicaInfo) {
	if !l.began.Set {
		l.began = base.Some(now)
	}
	e := l.of[rep.Pid]
	if e == nil {
		e = &load{}
		l.of[rep.Pid] = e
	}
	reads, writes := rep.ReadUnits.V, rep.WriteUnits.V
	// A replica that was opened anew begins to count from 0. What nobody saw isn't part of the mean.
	if e.node == node && now > e.at && reads >= e.reads && writes >= e.writes {
		d := now - e.at
		keep := math.Exp2(-d.Seconds() / l.half.Seconds())
		mix := func(mean *float64, v float64) { *mean = *mean*keep + v*(1-keep) }
		mix(&e.read, float64(reads-e.reads)/d.Seconds())
		mix(&e.write, float64(writes-e.writes)/d.Seconds())
		mix(&e.weight, 1)
	}
	e.node, e.at, e.reads, e.writes = node, now, reads, writes
}

// mean returns the load of a partition. One that was measured for less than the half-life counts for less than it seems to carry.
func (l *loads) mean(g base.Gpid) (reads, writes float64) {
	e := l.of[g]
	if e == nil {
		return 0, 0
	}
	w := max(e.weight, 0.5)
	return e.read / w, e.write / w
}

// loadUnknown says why the load of servers can't be compared: "" if it can. The caller holds mu.
func (b *balancer) loadUnknown() string {
	for _, n := range b.nodes.det.Nodes() {
		if b.nodes.det.Stays(n.Addr) && b.nodes.of(n.Addr).mute {
			return fmt.Sprintf("replica server %v runs an older program, which doesn't tell its load", n.Addr)
		}
	}
	l := &b.parts.loads
	if !l.began.Set {
		return "no replica server has told its load to the meta server that leads"
	}
	if d := b.now() - l.began.V; d < l.half {
		return fmt.Sprintf("the meta server that leads has measured it for %v, and needs %v", d.Round(time.Second), l.half)
	}
	return ""
}

// limits fills in what a plan may do for the sake of bytes and load. The caller holds mu.
func (b *balancer) limits(o *balance.Options) {
	c := &b.s.cfg.Meta
	o.Tolerance, o.LoadTolerance = float64(c.BalanceBytes)/100, float64(c.BalanceLoad)/100
	b.forLoad = slices.DeleteFunc(b.forLoad, func(t time.Duration) bool { return t < b.now()-time.Hour })
	o.LoadMoves = max(0, c.BalanceLoadMoves-len(b.forLoad))
}
