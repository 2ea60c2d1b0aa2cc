package sim

import (
	"encoding/binary"

	"pegasus/duplication/ship"
)

// check is what the checks remember.
type check struct {
	from   int64 // the decree after which everything must arrive
	acked  int64 // up to it, that was checked
	booted int64 // up to it, that a bootstrap brought, which was checked
	whole  int64 // up to it, that a bootstrap from before the cut brought
	lanes  map[int32]int64
	spared map[int64]bool // decrees that may be missing, since they were skipped
}

// never is a decree that isn't reached.
const never = 1 << 60

func (c *check) reset(from int64) {
	c.from, c.acked, c.booted, c.whole = from, from, 0, 0
	c.lanes = map[int32]int64{}
	c.spared = map[int64]bool{}
}

// exempt spares decrees that the log lacked.
func (c *check) exempt(from, to int64) {
	for d := max(from, 1); d < to; d++ {
		c.spared[d] = true
	}
}

// missing returns an operation of a decree that the remote neither has nor had; forChild: of those of the child's keys.
func (p *part) missing(decree int64, lane int32, forChild bool) (op, bool) {
	w := p.w
	if !w.remote.byTag || decree <= p.check.whole || p.check.spared[decree] || decree > p.last() {
		return op{}, false
	}
	for _, o := range p.at(decree) {
		odd := !p.owns(o.key, never)
		switch {
		case lane >= 0 && w.remote.lane(o.key) != lane, w.spoilt[o.key], forChild && !odd:
		case decree <= p.check.booted && !(forChild && odd && w.child.check.booted == 0):
		case w.remote.rows[o.key].tag < o.tag:
			return o, true
		}
	}
	return op{}, false
}

// checkBooted: the remote has the state of a decree, or a later one.
func (p *part) checkBooted(decree int64) {
	w := p.w
	for k, r := range p.image(decree) {
		if is := w.remote.rows[k]; is.tag < r.tag && !(r.deleted && is.absent()) {
			w.violate("a bootstrap to the state of %d is done, and key %d is %+v there, not %+v", decree, k, is, r)
		}
	}
	p.check.booted = max(p.check.booted, decree)
	if !p.isChild && (p.cut == 0 || decree < p.cut) {
		p.check.whole = max(p.check.whole, decree)
	}
}

// checkAcked: what is acknowledged is at the remote.
func (p *part) checkAcked(decree int64) {
	for d := max(p.check.acked, p.base) + 1; d <= decree; d++ {
		if o, bad := p.missing(d, -1, false); bad {
			p.w.violate(p.name()+": decree %d is acknowledged, and key %d of decree %d isn't at the remote", decree, o.key, d)
		}
	}
	p.check.acked = max(p.check.acked, decree)
}

// checkOrder: what comes before in a lane is there, and what the parent of a child has of its keys, too.
func (p *part) checkOrder(b ship.Batch) {
	w := p.w
	if c := w.child; c != nil && !p.isChild && p.persisted >= c.base && b.Ops[0].Decree <= c.base {
		w.violate("decree %d of the parent arrives when the child may have sent what is later", b.Ops[0].Decree)
	}
	if !w.remote.byTag {
		return
	}
	last := b.Ops[0].Decree
	for d := max(p.check.from, p.check.lanes[b.Lane], p.base) + 1; d < last && w.bad == nil; d++ {
		if o, bad := p.missing(d, b.Lane, false); bad && d > p.check.from {
			w.violate("%s: decree %d of lane %d arrives before key %d of decree %d", p.name(), last, b.Lane, o.key, d)
		}
	}
	p.check.lanes[b.Lane] = max(p.check.lanes[b.Lane], last-1)
	if !p.isChild || w.source.persisted == ship.Unknown {
		return
	}
	for d := w.source.check.from + 1; d <= p.base && w.bad == nil; d++ {
		if o, bad := w.source.missing(d, b.Lane, true); bad {
			w.violate("decree %d of the child arrives before key %d of decree %d of its parent", last, o.key, d)
		}
	}
}

// checkBatch: only what is committed is sent.
func (p *part) checkBatch(b ship.Batch) {
	w := p.w
	if p.lost != 0 {
		w.violate("sends decree %d, and has lost %d, which the remote has", b.Ops[0].Decree, p.lost)
	}
	if len(b.Ops) == 0 {
		w.violate("an empty batch")
	}
	for _, o := range b.Ops {
		ok := o.Decree <= p.committed
		if ok {
			ok = false
			for _, x := range p.at(o.Decree) {
				ok = ok || x.key == int(o.Data[0]) && x.tag == binary.BigEndian.Uint64(o.Data[2:])
			}
		}
		if !ok {
			w.violate("sends key %d of decree %d, which isn't committed", o.Data[0], o.Decree)
		}
	}
}

// checkServer looks at a core after each tick.
func (p *part) checkServer(s *server) {
	w := p.w
	if !s.up {
		return
	}
	st := s.core.Status()
	if st.Lost != 0 && p.lost == 0 {
		w.violate("server %d says that decree %d was lost, since it had only %d", s.n, st.Lost, st.Had)
		return
	}
	if p.primary == s.n && st.Acked != ship.Unknown && st.Acked > p.committed && p.lost == 0 {
		w.violate("server %d: %d is acknowledged, and %d committed", s.n, st.Acked, p.committed)
		return
	}
	if p.primary == s.n && p.persisted != ship.Unknown {
		p.checkAcked(st.Acked)
	}
	if most := options.Window + 3*(900+10+64); st.Bytes > most || st.Bytes < 0 {
		w.violate("server %d: %d bytes are in memory, and %d allowed", s.n, st.Bytes, most)
	}
	if h := s.core.Hold(); s.bootID != 0 && s.core.BootLives(s.bootID) && h > s.bootAt+1 {
		w.violate("server %d: holds the log from %d, and a bootstrap brings decree %d", s.n, h, s.bootAt)
	}
	if h := s.core.Hold(); h != ship.Unknown && p.persisted != ship.Unknown && h > p.persisted+1 && !st.Booting {
		w.violate("server %d: holds the log from %d, and the meta has persisted %d", s.n, h, p.persisted)
	}
}

// rested tells whether everything was confirmed.
func (w *world) rested() bool {
	for _, p := range w.parts() {
		if p.primary < 0 || p.persisted != p.committed || p.last() != p.committed || p.half || p.servers[p.primary].core.Status().Reason != ship.UpToDate {
			return false
		}
	}
	return w.source.cut == 0 || w.child != nil
}

// atRest: the remote has the rows of the source.
func (w *world) atRest() {
	if w.bad != nil {
		return
	}
	if !w.rested() {
		for _, p := range w.parts() {
			st := ship.Status{}
			if p.primary >= 0 {
				st = p.servers[p.primary].core.Status()
			}
			w.tracef("%s: %d are committed, the meta has %d, cut %d, half %v, copies %v, the primary %d: %+v", p.name(), p.committed, p.persisted, p.cut, p.half, p.copies, p.primary, st)
		}
		w.violate("it doesn't come to rest")
		return
	}
	skipped := false
	n := int64(0)
	for _, p := range w.parts() {
		for d := range p.check.spared {
			if d <= p.base {
				continue
			}
			for _, o := range p.at(d) {
				w.spoilt[o.key] = true
			}
			skipped = skipped || len(p.at(d)) > 0
		}
		for _, s := range p.servers {
			n += s.skippedOps + s.skippedDecrees
		}
	}
	if skipped && n == 0 {
		w.violate("decrees were skipped and not counted")
	}
	if n > 0 && !w.skips {
		w.violate("%d were skipped without being asked", n)
	}
	for k, tag := range w.remote.theirs {
		if is := w.remote.rows[k]; is.tag != tag || is.deleted {
			w.violate("key %d: the remote's clients wrote %d, and %+v is there", k, tag, is)
		}
	}
	for _, p := range w.parts() {
		for k, r := range p.image(p.committed) {
			is, from := w.remote.rows[k], w.source.check.from
			if r.child {
				from = w.child.check.from
			}
			if w.spoilt[k] || r.decree <= from || is.tag == r.tag || is.absent() && r.deleted {
				continue
			}
			w.violate("key %d: the source has %+v, the remote %+v", k, r, is)
		}
	}
}
