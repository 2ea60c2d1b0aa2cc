package sim

import "pegasus/duplication/ship"

// bootstrap is one that a server carries out, as the driver does.
type bootstrap struct {
	s    *server
	core *ship.Core
	life int
	id   uint64
	at   int64 // its decree
	asOf int64 // when the last mutation of it was made
	rows map[int]row
}

// lives tells whether it still counts.
func (b *bootstrap) lives() bool {
	return b.s.up && !b.s.still && b.s.life == b.life && b.s.core == b.core && b.core.BootLives(b.id)
}

// bootstrap brings the rows of a decree, and removes those that were removed here, one key after the other.
func (s *server) bootstrap(b *bootstrap) {
	w, p := s.w, s.p
	if !b.lives() {
		return
	}
	if w.remote.down || w.chance(4) && !w.calm {
		b.core.BootFailed(b.id)
		return
	}
	// The log stays from what is there when the checkpoint begins.
	b.core.BootBegun(b.id, p.committed)
	s.bootID, s.bootAt = b.id, p.committed
	w.after(w.delay(), func() {
		if !b.lives() {
			return
		}
		if w.chance(8) && !w.calm {
			b.core.BootFailed(b.id)
			return
		}
		w.stats.Boots++
		b.at = p.committed
		b.rows, b.asOf = p.image(b.at), p.written(b.at)
		b.core.BootBegun(b.id, b.at)
		s.bootAt = b.at
		w.tracef("%s: server %d: bootstrap to the state of %d", p.name(), s.n, b.at)
		b.step(0)
	})
}

// step brings a key.
func (b *bootstrap) step(k int) {
	s, w, p := b.s, b.s.w, b.s.p
	switch {
	case !b.lives():
	case k < keys+theirs && !p.owns(k, b.at) && w.opt.Bug != "copy-sweeps-all":
		b.step(k + 1) // the other partition's
	case k == keys+theirs:
		p.checkBooted(b.at)
		b.core.BootDone(b.id)
		s.bootID = 0
		w.tracef("%s: server %d: bootstrap done", p.name(), s.n)
	case w.chance(40) && !w.calm:
		// What is under way arrives late, when the bootstrap is no more. What timetags guard may be as late as it wants: a
		// process stood still before it looked what the remote has.
		by := late
		if r, ok := b.rows[k]; w.remote.byTag && (!ok || r.deleted) {
			by = 400
		}
		w.after(1+int64(w.rnd.IntN(by)), b.bring(k))
		b.core.BootFailed(b.id)
	default:
		w.after(w.delay(), func() {
			if w.remote.down {
				if b.lives() {
					b.core.BootFailed(b.id)
				}
				return
			}
			b.bring(k)()
			w.after(w.delay(), func() { b.step(k + 1) })
		})
	}
}

// bring returns what makes a key at the remote what it is here. Where no timetag tells whether it was removed here, what the remote
// has now decides.
func (b *bootstrap) bring(k int) func() {
	w := b.s.w
	gen := w.meta.gen
	r, ok := b.rows[k]
	if ok && !r.deleted {
		return func() {
			if gen == w.meta.gen || w.remote.byTag {
				w.remote.apply(w, k, r)
			}
		}
	}
	is, there := w.remote.rows[k]
	if !w.remote.byTag && (!there || is.deleted) {
		return func() {}
	}
	return func() {
		if gen == w.meta.gen || w.remote.byTag {
			w.tracef("remote: sweep of key %d, which has %+v, as of %d", k, w.remote.rows[k], b.asOf)
			w.remote.sweep(w, k, b.asOf)
		}
	}
}
