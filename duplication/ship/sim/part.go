package sim

import "pegasus/duplication/ship"

// part is a partition of the source: its servers, and the log that all of them share, of which the first committed entries are so for sure.
//
// The one that there is first becomes two in half of the seeds. Its decree cut divides its history: up to it the log has all keys, from
// then on the even ones. The child, which is registered some time after, has the odd ones; its log begins behind the cut.
type part struct {
	w         *world
	isChild   bool
	base      int64 // what is in no entry of its log
	log       [][]op
	committed int64
	servers   [servers]*server
	primary   int // -1: none
	ballot    int64

	cut int64 // of the parent; 0: none is in its log

	// lost is a decree that was persisted when the end of the log was lost, under lostBallot; 0: that didn't happen since the duplication
	// was added.
	lost, lostBallot int64

	// What the meta has persisted of it: how far it is, the decree of its last copy, and, of a child, that its beginning isn't settled yet,
	// and that it is copied.
	persisted, copied int64
	half, copies      bool

	check check
}

func newPart(w *world, persisted int64) *part {
	p := &part{w: w, primary: -1, persisted: persisted}
	p.check.reset(0)
	for i := range p.servers {
		p.servers[i] = &server{n: i, w: w, p: p, first: 1, up: true}
	}
	return p
}

// last is the last decree in the log.
func (p *part) last() int64 { return p.base + int64(len(p.log)) }

// at are the operations of a decree.
func (p *part) at(decree int64) []op { return p.log[decree-1-p.base] }

// owns tells whether a key is the partition's in the state of a decree.
func (p *part) owns(key int, decree int64) bool {
	if p.isChild {
		return key%2 == 1
	}
	return key%2 == 0 || p.cut == 0 || decree < p.cut
}

// waits tells whether the meta has the child wait for its parent.
func (p *part) waits() bool { return p.half && p.w.source.persisted < p.base }

// mode is what the meta says of it.
func (p *part) mode() ship.Mode {
	m := p.w.meta.mode()
	m.Waits, m.Copies = p.waits(), p.half && p.copies
	return m
}

// write makes an entry that isn't committed yet.
func (p *part) write() {
	w := p.w
	d := p.last() + 1
	var ops []op
	used := map[int]bool{}
	for range w.rnd.IntN(4) {
		k := w.rnd.IntN(keys)
		if used[k] || !p.owns(k, d) { // the last one of a mutation counts
			continue
		}
		used[k] = true
		w.lastTag++
		size := w.rnd.IntN(60)
		if w.chance(40) {
			size = 900
		}
		deleted := w.chance(3)
		ops = append(ops, op{key: k, row: row{tag: tagOf(w.lastTag, own, deleted), deleted: deleted, decree: d, child: p.isChild}, size: size})
	}
	p.log = append(p.log, ops)
	w.stats.Writes += len(ops)
}

// propose puts the cut into the log.
func (p *part) propose() {
	p.log = append(p.log, nil)
	p.cut = p.last()
	p.w.stats.Cuttings++
	p.w.tracef("the cut is decree %d", p.cut)
}

// register makes the child a partition.
func (p *part) register() {
	w := p.w
	c := newPart(w, p.cut-1)
	c.isChild, c.base, c.committed, c.half = true, p.cut, p.cut, true
	c.check.reset(p.cut)
	if p.check.from > p.cut {
		c.check.from = p.check.from // it hasn't begun
	}
	for _, s := range c.servers {
		s.first = c.base + 1
	}
	switch w.opt.Bug {
	case "child-begins-at-cut":
		c.persisted, c.half = p.cut, false
	case "child-begins-late":
		c.persisted, c.half = ship.Unknown, false
	}
	w.child = c
	w.stats.Children++
	w.tracef("the child is registered, its log begins behind %d", c.base)
	p.settle()
	for _, s := range c.servers {
		s.begin()
	}
	c.lead(w.rnd.IntN(servers))
}

// settle has the child go on once its parent is at the cut.
func (p *part) settle() {
	c := p.w.child
	if c == nil || !c.half || p.persisted < c.base {
		return
	}
	if p.copied >= c.base && p.w.opt.Bug != "copy-is-forgotten" {
		if !c.copies {
			p.w.stats.ChildrenCopied++
		}
		c.copies = true
	}
	if !c.copies {
		c.persisted = max(c.persisted, c.base)
	}
	c.half = c.persisted < c.base
}

// confirm persists a decree, and that of a copy.
func (p *part) confirm(decree, copied int64) {
	w := p.w
	if decree <= p.persisted || p.waits() || p.half && p.copies && copied < p.base {
		return
	}
	if p.persisted == ship.Unknown && !w.meta.boot && (!p.isChild || p.check.from == never) {
		p.check.reset(decree) // everything after it must arrive
	}
	w.tracef("meta: persists %d of %s, copied %d", decree, p.name(), copied)
	p.persisted, p.copied = decree, max(p.copied, copied)
	p.checkAcked(decree)
	p.settle()
	if p.half {
		w.source.settle()
	}
}

func (p *part) name() string {
	if p.isChild {
		return "the child"
	}
	return "the source"
}

// nudge has what a split needs come about.
func (p *part) nudge() {
	if p.isChild || p.cut == 0 || p.w.child != nil {
		return
	}
	if p.primary >= 0 && p.committed >= p.cut && (p.w.calm || p.w.chance(20)) {
		p.register()
	}
}

// written is when the last mutation up to a decree was made.
func (p *part) written(decree int64) (ts int64) {
	if p.isChild {
		ts = p.w.source.written(p.base)
	}
	for _, ops := range p.log[:decree-p.base] {
		for _, o := range ops {
			ts = max(ts, int64(o.tag>>8))
		}
	}
	return ts
}

// image is what the partition has at a decree.
func (p *part) image(decree int64) map[int]row {
	m := map[int]row{}
	if p.isChild {
		for k, r := range p.w.source.all(p.base) {
			if p.owns(k, decree) {
				m[k] = r
			}
		}
	}
	for k, r := range p.all(decree) {
		if p.owns(k, decree) {
			m[k] = r
		}
	}
	return m
}

// all is what the log has up to a decree.
func (p *part) all(decree int64) map[int]row {
	m := map[int]row{}
	for _, ops := range p.log[:decree-p.base] {
		for _, o := range ops {
			m[o.key] = o.row
		}
	}
	return m
}

// lead makes a server the primary; the one before stops at once. What it hadn't committed may be replaced.
func (p *part) lead(n int) {
	w := p.w
	p.ballot++
	w.stats.Leads++
	if p.lost != 0 && p.ballot > p.lostBallot+1 {
		w.remove() // one that leads later can't know
	}
	switch old := p.primary; {
	case old < 0 || !p.servers[old].up:
	case old != n && !w.calm && w.chance(4):
		p.servers[old].stand(20 + int64(w.rnd.IntN(150)))
	default:
		p.servers[old].core.Resign()
	}
	p.servers[n].still = false
	if keep := p.committed + int64(w.rnd.IntN(int(p.last()-p.committed)+1)); keep < p.last() {
		p.log = p.log[:keep-p.base]
		if p.cut > keep {
			p.cut = 0 // nobody has heard of it
		}
	}
	p.committed = p.last() // it commits what it has prepared, then serves
	p.primary = n
	w.tracef("%s: server %d leads, %d are committed, the meta has %d", p.name(), n, p.committed, p.persisted)
	p.servers[n].core.Lead(p.committed, p.last())
	p.servers[n].leads = p.ballot
}

// lose takes the end of the log away from all servers, which the remote has. An operator removes the duplication some time later.
func (p *part) lose() {
	w := p.w
	keep := p.persisted - 1 - int64(w.rnd.IntN(3))
	w.stats.Losses++
	w.tracef("%s: what is behind %d is lost, the meta has %d", p.name(), keep, p.persisted)
	for _, s := range p.servers {
		p.crash(s)
		s.first, s.floor = min(s.first, keep+1), min(s.floor, keep+1)
	}
	for d := keep + 1; d <= p.last(); d++ {
		for _, o := range p.at(d) {
			w.spoilt[o.key] = true
		}
	}
	p.log = p.log[:keep-p.base]
	p.committed, p.lost, p.lostBallot = keep, p.persisted, p.ballot
	gen := w.meta.gen
	w.after(20+int64(w.rnd.IntN(40)), func() { p.lapse(gen) })
	w.after(100+int64(w.rnd.IntN(150)), func() {
		if w.meta.gen == gen {
			w.remove()
		}
	})
}

// lapse ends the lease of a primary that has noticed a loss, and begins another one. Nobody else leads.
func (p *part) lapse(gen int) {
	w := p.w
	if w.meta.gen != gen || p.primary < 0 {
		return
	}
	s := p.servers[p.primary]
	if !s.up || s.still || s.core.Status().Reason != ship.Rewound {
		return
	}
	w.tracef("%s: the lease of server %d is over for a while", p.name(), s.n)
	s.core.Resign()
	s.core.LeadAgain(p.committed)
}
