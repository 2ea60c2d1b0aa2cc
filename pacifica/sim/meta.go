package sim

import (
	"slices"

	"pegasus/pacifica"
)

// meta is the authority on the configuration. Its state survives; what it knows of the
// servers is lost when its leadership moves.
type meta struct {
	w     *world
	cfg   pacifica.Config
	clock clock
	nodes []metaNode
	// unaware[n]: n was the primary, was deposed at this ballot while it was alive, and
	// perhaps doesn't know yet: it may answer reads until it is heard of at that ballot, so
	// until then no configuration without it may be made. Part of the state that survives.
	unaware []int64
	// term counts leaderships: a message to an earlier leader is lost.
	term int
	// primaryProcess is the incarnation of the primary's process, 0 if unknown.
	primaryProcess int
	proposed       int64
	// before is who was the primary before.
	before int
	// still: the meta only does what it must (a script, or the end of a run).
	still bool
	// idle: it doesn't even do that by itself (a script).
	idle bool
	// deposed: until then a leader that was replaced answers beacons (a planted bug).
	deposed int64
}

// metaNode is what the meta knows of a server.
type metaNode struct {
	beacon      int64 // of the meta's clock
	incarnation int
	// reported is the incarnation that said it holds a replica; then report is what it said.
	reported int
	report   report
	cut      bool // the meta refuses to add it
	// unwanted: the meta proposed to remove it.
	unwanted bool
}

// report is what a server tells the meta of its replica.
type report struct {
	has       bool
	ballot    int64
	committed int64
	status    pacifica.Status
}

func newMeta(w *world) *meta {
	n := w.prof.servers + 1
	m := &meta{w: w, nodes: make([]metaNode, n), unaware: make([]int64, n), still: w.manual}
	m.clock.shift = w.rand(2*maxRateShift+1) - maxRateShift
	if w.manual {
		m.clock.shift = 0
	}
	return m
}

func (m *meta) start() {
	m.reset()
	m.later(metaTime, m.tick)
}

func (m *meta) local() int64 { return m.clock.at(m.w.now) }

func (m *meta) later(delay int64, f func()) {
	term := m.term
	m.w.at(delay, func() {
		if term == m.term {
			f()
		}
	})
}

// reset is a new leader: it gives every server a fresh grace.
func (m *meta) reset() {
	m.term++
	for i := range m.nodes {
		m.nodes[i] = metaNode{beacon: m.local(), cut: m.nodes[i].cut, unwanted: m.nodes[i].unwanted}
	}
	m.primaryProcess = 0
}

// move lets another leader take over.
func (m *meta) move() {
	m.w.tracef("meta     a new leader")
	if m.w.bug("deposed-meta-answers") {
		m.deposed = m.w.now + 2*graceTime
	}
	m.clock.set(m.w.now, m.w.rand(2*maxRateShift+1)-maxRateShift)
	m.reset()
	m.later(metaTime, m.tick)
}

func (m *meta) grace() int64 {
	if m.w.bug("grace-below-lease") {
		return leaseTime / 2
	}
	return graceTime
}

// dead tells whether no process of the server can hold a lease.
func (m *meta) dead(n int) bool { return m.local()-m.nodes[n].beacon > m.grace() }

func (m *meta) alive(n int) bool { return !m.dead(n) && m.nodes[n].incarnation != 0 }

// holds tells whether the server is alive and its process said that it has the replica.
func (m *meta) holds(n int) bool {
	return m.alive(n) && m.nodes[n].reported == m.nodes[n].incarnation
}

func (m *meta) onBeacon(id, inc int) bool {
	n := &m.nodes[id]
	if inc < n.incarnation {
		return false // of a process that is gone
	}
	if m.elsewhere(id) {
		return true
	}
	if inc > n.incarnation {
		n.incarnation = inc
	}
	n.beacon = m.local()
	return true
}

// elsewhere: the server talks to a leader that was deposed and goes on answering beacons.
func (m *meta) elsewhere(id int) bool { return m.w.now < m.deposed && id%2 == 0 }

func (m *meta) onSync(id, inc int, r report) *listing {
	n := &m.nodes[id]
	if inc < n.incarnation || m.elsewhere(id) {
		return nil
	}
	n.incarnation = inc
	n.beacon = max(n.beacon, m.local())
	n.reported, n.report = 0, r
	if r.has {
		n.reported = inc
	}
	if r.has && r.ballot >= m.unaware[id] {
		m.unaware[id] = 0
	}
	cfg := m.cfg
	a := &listing{config: cfg, listed: cfg.Has(pacifica.NodeID(id))}
	a.discard = cfg.Ballot > 0 && !a.listed && r.has && r.status == pacifica.Inactive && 1+len(cfg.Secondaries) >= m.w.prof.replicas && m.w.chance(m.w.prof.discards)
	return a
}

func (m *meta) onAssign(id int) pacifica.Config {
	if m.cfg.Ballot == 0 {
		m.persist(pacifica.Config{Ballot: 1, Primary: pacifica.NodeID(id)}, "assign")
	}
	return m.cfg
}

// onChange decides on a request of a primary. A busy meta doesn't answer.
func (m *meta) onChange(from int, ch pacifica.Change) (cfg pacifica.Config, refused, answered bool) {
	if m.elsewhere(from) {
		return m.cfg, false, false
	}
	stale := ch.Config.Ballot != m.cfg.Ballot+1 || int(m.cfg.Primary) != from
	if m.w.bug("meta-without-cas") && m.cfg.Ballot > 0 {
		stale = false
	}
	if stale {
		return m.cfg, false, true
	}
	n := int(ch.Node)
	next := pacifica.Config{Ballot: m.cfg.Ballot + 1, Primary: ch.Config.Primary, Secondaries: ch.Config.Secondaries}
	switch ch.Kind {
	case pacifica.ChangeAdd:
		if !m.alive(n) || m.nodes[n].cut || m.w.chance(m.w.prof.refuses) && !m.still {
			m.w.tracef("meta     refuses to add %d", n)
			return m.cfg, true, true
		}
		m.w.stats.Joins++
	case pacifica.ChangeRemove:
		if m.w.fragile() && n != int(m.cfg.Primary) && !m.w.servers[n].wiped {
			// The sound copy would be removed for one that is lost: two faults at once.
			return m.cfg, false, false
		}
		if m.unaware[n] > 0 && !m.dead(n) && !m.w.bug("meta-drops-unaware") {
			m.w.tracef("meta     %d may not know yet that it isn't the primary: not removed", n)
			return m.cfg, false, false
		}
		if m.w.calm > 0 && m.w.now > m.w.calm-calmTime/2 && !m.nodes[n].unwanted {
			m.w.fail("stability", "long after the last fault the primary %d of %s gives up %d", from, configText(m.cfg), n)
		}
		m.w.stats.Removals++
	}
	m.persist(next, ch.Kind.String())
	return m.cfg, false, true
}

// onLeave takes out a member that says its data is lost, but not the last one.
func (m *meta) onLeave(id int, ballot int64) {
	if ballot != m.cfg.Ballot || !m.cfg.Has(pacifica.NodeID(id)) || len(m.cfg.Secondaries) == 0 {
		return
	}
	if int(m.cfg.Primary) == id {
		m.promote("leave", func(n int) bool { return n == id })
		return
	}
	m.persist(m.without(m.cfg.Primary, func(n int) bool { return n == id }), "leave")
}

// persist makes cfg the configuration; only then anyone hears of it.
func (m *meta) persist(cfg pacifica.Config, why string) {
	old := m.cfg
	m.w.stats.Configs++
	m.cfg = cfg
	if old.Primary != cfg.Primary {
		m.before = int(old.Primary)
		m.primaryProcess = m.nodes[cfg.Primary].incarnation
	}
	for i := range m.unaware {
		if !cfg.Has(pacifica.NodeID(i)) {
			m.unaware[i] = 0
		}
	}
	m.w.tracef("META     %s: %s", why, configText(cfg))
	m.w.checkConfig(old, cfg)
	for i := 1; i < len(m.nodes); i++ {
		id := pacifica.NodeID(i)
		if cfg.Has(id) || old.Has(id) {
			m.push(i)
		}
	}
}

// push tells a server the configuration.
func (m *meta) push(id int) {
	if m.elsewhere(id) {
		return
	}
	cfg, s := m.cfg, m.w.servers[id]
	m.w.send("push", 0, id, func() {
		s.arrive(-1, func() {
			if cfg.Has(s.node()) {
				s.configure(cfg, "push")
			}
		})
	})
}

// without returns the next configuration with another primary and without some members.
func (m *meta) without(primary pacifica.NodeID, drop func(int) bool) pacifica.Config {
	next := pacifica.Config{Ballot: m.cfg.Ballot + 1, Primary: primary}
	for _, s := range append([]pacifica.NodeID{m.cfg.Primary}, m.cfg.Secondaries...) {
		if s != primary && !drop(int(s)) {
			next.Secondaries = append(next.Secondaries, s)
		}
	}
	return next
}

// promote makes a live secondary the primary and takes out who is gone.
func (m *meta) promote(why string, gone func(int) bool) {
	var able []pacifica.NodeID
	for i := 1; i < len(m.nodes); i++ {
		id := pacifica.NodeID(i)
		if m.w.bug("meta-promotes-anyone") && m.holds(i) && id != m.cfg.Primary || m.cfg.HasSecondary(id) && m.holds(i) && !gone(i) {
			able = append(able, id)
		}
	}
	if len(able) == 0 {
		return
	}
	m.w.stats.Promotions++
	next := m.without(able[m.w.rand(int64(len(able)))], gone)
	if old := int(m.cfg.Primary); !gone(old) {
		m.unaware[old] = next.Ballot
	}
	m.persist(next, why)
}

func (m *meta) tick() {
	m.later(m.clock.real(metaTime), m.tick)
	if m.idle {
		return
	}
	if m.cfg.Ballot == 0 && m.w.split.parent != nil {
		return // not registered yet
	}
	if m.cfg.Ballot == 0 {
		var live []int
		for i := 1; i < len(m.nodes); i++ {
			if m.alive(i) {
				live = append(live, i)
			}
		}
		if len(live) > 0 && m.local() >= m.proposed {
			m.proposed = m.local() + 60
			s := m.w.servers[live[m.w.rand(int64(len(live)))]]
			m.w.send("proposal", 0, s.id, func() { s.arrive(-1, s.assigned) })
		}
		return
	}
	p := int(m.cfg.Primary)
	if m.dead(p) {
		m.promote("primary dead", m.dead)
		return
	}
	if m.primaryProcess == 0 {
		m.primaryProcess = m.nodes[p].incarnation
	}
	if m.nodes[p].incarnation != m.primaryProcess && m.w.chance(m.w.prof.replacesRestarted) {
		// The process that was the primary is dead. Its successor may be the primary already:
		// by a ballot that it asked for, or by one that its predecessor did not hear of. So it
		// stays a member until it knows better.
		m.promote("primary restarted", func(n int) bool { return n != p && m.dead(n) })
		return
	}
	if !m.alive(p) || m.local() < m.proposed {
		return
	}
	m.proposed = m.local() + m.w.prof.cureTime
	m.cure(p)
}

// cure proposes what is missing and, for a change, what isn't.
func (m *meta) cure(primary int) {
	members := 1 + len(m.cfg.Secondaries)
	switch {
	case !m.still && members > 1 && m.w.chance(m.w.prof.moves):
		m.moveTo(int(m.cfg.Secondaries[m.w.rand(int64(members-1))]))
	case !m.still && members > 1 && !m.w.fragile() && m.w.chance(m.w.prof.drops):
		s := int(m.cfg.Secondaries[m.w.rand(int64(members-1))])
		if m.w.chance(300) && (m.unaware[s] == 0 || m.w.bug("meta-drops-unaware")) {
			// The meta itself takes a member out.
			m.persist(m.without(m.cfg.Primary, func(n int) bool { return n == s }), "drop")
			return
		}
		m.propose("remove", primary, s)
	case members > m.w.prof.replicas:
		m.propose("remove", primary, int(m.cfg.Secondaries[m.w.rand(int64(members-1))]))
	case members < m.w.prof.replicas || !m.still && m.w.chance(m.w.prof.extra):
		var able []int
		for i := 1; i < len(m.nodes); i++ {
			if m.alive(i) && !m.cfg.Has(pacifica.NodeID(i)) && !m.nodes[i].cut {
				able = append(able, i)
			}
		}
		if len(able) > 0 {
			m.propose("add", primary, able[m.w.rand(int64(len(able)))])
		}
	}
}

// moveTo makes a live secondary the primary in the place of a live one, which stays.
func (m *meta) moveTo(s int) bool {
	if !m.holds(s) || !m.cfg.HasSecondary(pacifica.NodeID(s)) {
		return false
	}
	m.w.stats.Moves++
	old := int(m.cfg.Primary)
	next := m.without(pacifica.NodeID(s), func(int) bool { return false })
	m.unaware[old] = next.Ballot
	m.persist(next, "move")
	return true
}

func (m *meta) propose(kind string, primary, node int) {
	s := m.w.servers[primary]
	m.nodes[node].unwanted = m.nodes[node].unwanted || kind == "remove"
	m.w.send(kind, 0, primary, func() { s.arrive(-1, func() { s.proposal(kind, node) }) })
}

// full tells whether the group is as the meta wants it.
func (m *meta) full() bool {
	if m.cfg.Ballot == 0 || 1+len(m.cfg.Secondaries) != m.w.prof.replicas {
		return false
	}
	return !slices.ContainsFunc(append([]pacifica.NodeID{m.cfg.Primary}, m.cfg.Secondaries...), func(n pacifica.NodeID) bool { return !m.holds(int(n)) })
}
