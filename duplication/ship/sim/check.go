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
	lanes  map[int32]int64
	spared map[int64]bool // decrees that may be missing, since they were skipped
	keys   map[int]bool   // whose last state may be missing for that
}

func (c *check) reset(from int64) {
	c.from, c.acked, c.booted = from, from, 0
	c.lanes = map[int32]int64{}
	c.spared = map[int64]bool{}
	if c.keys == nil {
		c.keys = map[int]bool{}
	}
}

// exempt spares decrees that the log lacked.
func (c *check) exempt(from, to int64) {
	for d := max(from, 1); d < to; d++ {
		c.spared[d] = true
	}
}

// missing returns an operation of a decree that the remote neither has nor had.
func (w *world) missing(decree int64, lane int32) (op, bool) {
	if !w.remote.byTag || decree <= w.check.booted || w.check.spared[decree] || decree > int64(len(w.log)) {
		return op{}, false
	}
	for _, o := range w.log[decree-1] {
		if lane >= 0 && w.remote.lane(o.key) != lane || w.check.keys[o.key] {
			continue
		}
		if w.remote.rows[o.key].tag < o.tag {
			return o, true
		}
	}
	return op{}, false
}

// checkBooted: the remote has the state of a decree, or a later one.
func (w *world) checkBooted(decree int64) {
	for k, r := range w.image(decree) {
		if is := w.remote.rows[k]; is.tag < r.tag && !(r.deleted && is.absent()) {
			w.violate("a bootstrap to the state of %d is done, and key %d is %+v there, not %+v", decree, k, is, r)
		}
	}
	w.check.booted = max(w.check.booted, decree)
}

// checkAcked: what is acknowledged is at the remote.
func (w *world) checkAcked(decree int64) {
	for d := w.check.acked + 1; d <= decree; d++ {
		if o, bad := w.missing(d, -1); bad {
			w.violate("decree %d is acknowledged, and key %d of decree %d isn't at the remote", decree, o.key, d)
		}
	}
	w.check.acked = max(w.check.acked, decree)
}

// checkOrder: what comes before in a lane is there.
func (w *world) checkOrder(b ship.Batch) {
	if !w.remote.byTag {
		return
	}
	last := b.Ops[0].Decree
	for d := max(w.check.from, w.check.lanes[b.Lane]) + 1; d < last && w.bad == nil; d++ {
		if o, bad := w.missing(d, b.Lane); bad && d > w.check.from {
			w.violate("decree %d of lane %d arrives before key %d of decree %d", last, b.Lane, o.key, d)
		}
	}
	w.check.lanes[b.Lane] = max(w.check.lanes[b.Lane], last-1)
}

// checkBatch: only what is committed is sent.
func (w *world) checkBatch(b ship.Batch) {
	if len(b.Ops) == 0 {
		w.violate("an empty batch")
	}
	for _, o := range b.Ops {
		ok := o.Decree <= w.committed
		if ok {
			ok = false
			for _, x := range w.log[o.Decree-1] {
				ok = ok || x.key == int(o.Data[0]) && x.tag == binary.BigEndian.Uint64(o.Data[2:])
			}
		}
		if !ok {
			w.violate("sends key %d of decree %d, which isn't committed", o.Data[0], o.Decree)
		}
	}
}

// checkServer looks at a core after each tick.
func (w *world) checkServer(s *server) {
	if !s.up {
		return
	}
	st := s.core.Status()
	if w.primary == s.n && st.Acked != ship.Unknown && st.Acked > w.committed {
		w.violate("server %d: %d is acknowledged, and %d committed", s.n, st.Acked, w.committed)
		return
	}
	if w.primary == s.n && w.meta.persisted != ship.Unknown {
		w.checkAcked(st.Acked)
	}
	if most := options.Window + 3*(900+10+64); st.Bytes > most || st.Bytes < 0 {
		w.violate("server %d: %d bytes are in memory, and %d allowed", s.n, st.Bytes, most)
	}
	if h := s.core.Hold(); s.bootID != 0 && s.core.BootLives(s.bootID) && h > s.bootAt+1 {
		w.violate("server %d: holds the log from %d, and a bootstrap brings decree %d", s.n, h, s.bootAt)
	}
	if h := s.core.Hold(); h != ship.Unknown && w.meta.persisted != ship.Unknown && h > w.meta.persisted+1 && !st.Booting {
		w.violate("server %d: holds the log from %d, and the meta has persisted %d", s.n, h, w.meta.persisted)
	}
}

// rested tells whether everything was confirmed.
func (w *world) rested() bool {
	return w.primary >= 0 && w.meta.persisted == w.committed && len(w.log) == int(w.committed) && w.servers[w.primary].core.Status().Reason == ship.UpToDate
}

// atRest: the remote has the rows of the source.
func (w *world) atRest() {
	if w.bad != nil {
		return
	}
	if !w.rested() {
		st := ship.Status{}
		if w.primary >= 0 {
			st = w.servers[w.primary].core.Status()
		}
		w.violate("it doesn't come to rest: %d are committed, the meta has %d, the primary %d: %+v", w.committed, w.meta.persisted, w.primary, st)
		return
	}
	skipped := false
	for d := range w.check.spared {
		for _, o := range w.log[d-1] {
			w.check.keys[o.key] = true
		}
		skipped = skipped || len(w.log[d-1]) > 0
	}
	n := int64(0)
	for _, s := range w.servers {
		n += s.skippedOps + s.skippedDecrees
	}
	if skipped && n == 0 {
		w.violate("decrees were skipped and not counted")
	}
	if n > 0 && !w.meta.skip {
		w.violate("%d were skipped without being asked", n)
	}
	for k, tag := range w.remote.theirs {
		if is := w.remote.rows[k]; is.tag != tag || is.deleted {
			w.violate("key %d: the remote's clients wrote %d, and %+v is there", k, tag, is)
		}
	}
	for k, r := range w.image(w.committed) {
		is := w.remote.rows[k]
		if w.check.keys[k] || r.decree <= w.check.from || is.tag == r.tag || is.absent() && r.deleted {
			continue
		}
		w.violate("key %d: the source has %+v, the remote %+v", k, r, is)
	}
}
