package meta

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/judge"
	"pegasus/gen/metaadmin"
	"pegasus/meta/cure"
	"pegasus/meta/detector"
	"pegasus/meta/state"
)

// facts gathers what package judge wants to know, from what the leader knows at one moment.
type facts struct {
	ps      *partitions
	st      *state.State
	context judge.Context
	nodes   map[base.RPCAddress]detector.Node
	known   func(base.Gpid, *state.Config) cure.Condition
	deny    map[int32]appenv.Deny // of tables that were looked at
	now     time.Duration
}

// facts begins to gather. The caller holds mu, and the State, as long as the facts are used.
func (ps *partitions) facts(st *state.State) *facts {
	all := ps.nodes.det.Nodes()
	f := &facts{ps: ps, st: st, nodes: make(map[base.RPCAddress]detector.Node, len(all)), known: ps.plan.Conditions(ps.planView(st)), deny: map[int32]appenv.Deny{}, now: ps.now()}
	f.context = judge.Context{Restored: st.Restored(), Idle: !st.Restored() && st.Level() < state.LevelSteady}
	for _, n := range all {
		f.nodes[n.Addr] = n
		if n.Alive {
			f.context.Alive++
		}
	}
	return f
}

// silentBeats is after how many intervals between beacons without one a server is silent.
const silentBeats = 2.5

// silence returns for how long a living server has been silent, 0 if that isn't unusual.
func (f *facts) silence(n *detector.Node) time.Duration {
	silent := f.now - n.LastHeard
	if !n.Alive || silent < time.Duration(silentBeats*float64(f.ps.s.cfg.FD.BeaconInterval.D())) {
		return 0
	}
	return silent
}

// partition judges one.
func (f *facts) partition(t *state.Table, i int) judge.Verdict {
	g, cfg := base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}, &t.Parts[i]
	c := f.known(g, cfg)
	p := judge.Partition{Wanted: int(t.MaxReplicas), Needed: f.ps.s.minMembers(t.MaxReplicas), GaveUp: c.GaveUp, Below: c.Below, Full: c.AllFull, Making: c.Making, Copies: c.Copies}
	for _, a := range cfg.AppendMembers(nil) {
		n, has := f.nodes[a], f.ps.nodes.of(a)
		m := judge.Member{Addr: a, Primary: a == cfg.Primary, Dead: !n.Alive, Unheard: n.StartTime == 0, Silent: f.silence(&n).Seconds(), Ending: n.Stopping,
			Serves: has.serves, Unusable: has.unfit[g], Unconfirmed: a == cfg.Primary && c.Unconfirmed}
		if d := has.dirOf(g); d != nil && refuses(d) {
			m.FullDisk, m.Free, m.Size = d.Tag, d.AvailableMb<<20, d.CapacityMb<<20
		}
		for i := range has.dirs {
			if d := &has.dirs[i]; n.Alive && d.State == metaadmin.DISK_BROKEN {
				p.Broken = append(p.Broken, fmt.Sprintf("the disk %q of %v", d.Tag, a))
			}
		}
		p.Members = append(p.Members, m)
	}
	for _, a := range cfg.LastDrops {
		if n, known := f.nodes[a]; known && !n.Alive && !cfg.Has(a) {
			p.Gone = append(p.Gone, a)
		}
	}
	if ds := f.st.DuplicationsOf(t.ID); len(ds) > 0 && f.ps.strained != nil {
		p.Sending = f.ps.strained(ds, g.PartitionIndex)
	}
	deny, ok := f.deny[t.ID]
	if !ok {
		envs := map[string]string{}
		if v, set := t.Env(appenv.DenyClient); set {
			envs[appenv.DenyClient] = v
		}
		s, _ := appenv.Parse(envs)
		deny = s.Deny
		f.deny[t.ID] = deny
	}
	p.DenyReads, p.DenyWrites = deny.Reads, deny.Writes
	return judge.Of(&f.context, &p)
}

// refuses tells that a disk takes no writes of clients because it is short of space.
func refuses(d *metaadmin.DiskReport) bool {
	return d.State == metaadmin.DISK_SHORT && d.Refuses.Or(true)
}

// dirOf returns the data directory of a replica, nil if it isn't known.
func (n *node) dirOf(g base.Gpid) *metaadmin.DiskReport {
	if len(n.dirs) == 1 {
		return &n.dirs[0]
	}
	tag, ok := n.disks[g]
	if !ok {
		return nil
	}
	i := slices.IndexFunc(n.dirs, func(d metaadmin.DiskReport) bool { return d.Tag == tag })
	if i < 0 {
		return nil
	}
	return &n.dirs[i]
}

// judgeAll calls each for every partition of the available tables, a piece of them at a time.
func (ps *partitions) judgeAll(each func(t *state.Table, i int, v *judge.Verdict)) {
	for w := (walk{}); !w.done; {
		ps.locked(func(st *state.State) {
			f := ps.facts(st)
			w.piece(st, func(t *state.Table, from, to int) {
				for i := from; i < to; i++ {
					if t.Parts[i].Unborn() {
						continue // its parent has its rows
					}
					v := f.partition(t, i)
					each(t, i, &v)
				}
			})
		})
	}
}

// tableVerdict is what is said of one table.
type tableVerdict struct {
	id   int32
	name string
	judge.Table
}

// judgeTables judges all available tables.
func (ps *partitions) judgeTables() (list []tableVerdict) {
	var sum *judge.Summary
	end := func() {
		if sum != nil {
			list[len(list)-1].Table = sum.Table()
		}
	}
	ps.judgeAll(func(t *state.Table, i int, v *judge.Verdict) {
		if len(list) == 0 || list[len(list)-1].id != t.ID {
			end()
			list, sum = append(list, tableVerdict{id: t.ID, name: t.Name}), &judge.Summary{}
		}
		sum.Add(i, v)
	})
	end()
	return list
}

// judgeTable judges the table of that name; ok is false if there is none.
func (ps *partitions) judgeTable(name string) (v judge.Table, ok bool) {
	var sum judge.Summary
	ps.locked(func(st *state.State) {
		t := st.TableNamed(name)
		if t == nil {
			return
		}
		ok = true
		f := ps.facts(st)
		for i := range t.Parts {
			if t.Parts[i].Unborn() {
				continue
			}
			p := f.partition(t, i)
			sum.Add(i, &p)
		}
	})
	return sum.Table(), ok
}

// judgeCluster judges the cluster, whose tables are so.
func (ps *partitions) judgeCluster(tables []tableVerdict) (v judge.Overall) {
	list := make([]judge.Table, len(tables))
	for i := range tables {
		list[i] = tables[i].Table
	}
	ps.locked(func(st *state.State) {
		f := ps.facts(st)
		c := judge.Cluster{Context: f.context, Tables: len(tables), Unknown: ps.nodes.unknownTables(st), Held: ps.nodes.belowLiveThreshold(st)}
		if f.context.Idle {
			c.Level = levelName(st.Level())
		}
		clocks := ps.nodes.compareClocks()
		c.Clocks = ps.nodes.clocksText(&clocks)
		for _, n := range ps.nodes.det.Nodes() {
			switch st.Role(n.Addr) {
			case state.RoleNoPrimaries:
				c.NoPrimaries = append(c.NoPrimaries, n.Addr)
			case state.RoleLeaving:
				c.Leaving = append(c.Leaving, n.Addr)
			}
			switch {
			case !n.Alive:
				c.Dead = append(c.Dead, n.Addr)
				continue
			case f.silence(&n) > 0:
				c.Silent = append(c.Silent, n.Addr)
			}
			for i := range ps.nodes.of(n.Addr).dirs {
				d := &ps.nodes.of(n.Addr).dirs[i]
				if refuses(d) || d.State == metaadmin.DISK_BROKEN {
					c.Disks = append(c.Disks, judge.Disk{Server: n.Addr, Tag: d.Tag, Broken: d.State == metaadmin.DISK_BROKEN, Free: d.AvailableMb << 20, Size: d.CapacityMb << 20})
				}
			}
		}
		for a, n := range ps.nodes.byAddr {
			if n.refused != nil && n.refused.told {
				c.Refused = append(c.Refused, a)
			}
		}
		slices.Sort(c.Refused)
		v = judge.Whole(&c, list)
	})
	return v
}

// levelName is a function level in the words of tools.
func levelName(l state.Level) string {
	return strings.TrimPrefix(metaadmin.MetaFunctionLevel(l).String(), "fl_")
}

// whyLost says why a partition waits for an administrator.
func (f *facts) whyLost(t *state.Table, g base.Gpid) string {
	v := f.partition(t, int(g.PartitionIndex))
	if len(v.Why) == 0 {
		return v.Safety()
	}
	return v.Why[0].What
}
