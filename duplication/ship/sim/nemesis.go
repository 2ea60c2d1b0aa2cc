package sim

import "pegasus/duplication/ship"

// nemesis writes, and makes trouble.
func (w *world) nemesis() {
	if w.primary >= 0 && !w.chance(3) {
		if w.chance(2) {
			w.write()
		}
		if w.committed < int64(len(w.log)) && w.chance(2) {
			w.committed++
		}
	}
	if w.remote.byTag && w.chance(50) {
		w.remote.local(w)
	}
	if w.primary < 0 && w.chance(10) {
		if n := w.rnd.IntN(servers); w.servers[n].up {
			w.lead(n)
		}
	}
	// The beginning is short, and its own kind of trouble.
	soon := w.meta.persisted == ship.Unknown && w.opt.Seed%4 == 1
	if soon && w.primary >= 0 && w.chance(12) {
		w.crash(w.servers[w.primary])
	}
	for _, s := range w.servers {
		if !s.up && (w.chance(40) || soon && w.chance(4)) {
			s.up, s.askAt = true, w.now
			s.begin()
		}
	}
	switch w.rnd.IntN(500) {
	case 0, 1, 2, 3: // a crash
		w.crash(w.servers[w.rnd.IntN(servers)])
	case 4, 5, 6: // another primary
		if n := w.rnd.IntN(servers); w.servers[n].up && n != w.primary {
			w.lead(n)
		}
	case 7: // a server whose log lacks more than it may
		s := w.servers[w.rnd.IntN(servers)]
		if at := w.committed - int64(w.rnd.IntN(6)); at > s.first && w.chance(2) {
			w.stats.Cuts++
			w.tracef("server %d: the log is cut, it begins with %d", s.n, at)
			s.first = at
		}
	case 8:
		w.stats.Pauses++
		w.meta.paused = !w.meta.paused
	case 9:
		if w.chance(3) {
			w.remove()
		}
	case 10, 11:
		w.remote.down = !w.remote.down
	case 12, 13, 14, 15:
		w.remote.down = false
	case 16: // the remote is split, or made anew
		w.stats.Reshapes++
		w.remote.lanes = 1 + w.rnd.IntN(5)
		w.check.lanes = map[int32]int64{}
		w.tracef("the remote has %d lanes", w.remote.lanes)
		for _, s := range w.servers {
			if s.up {
				s.core.Reshape()
			}
		}
	case 17:
		if w.remote.poison = -1; w.chance(2) {
			w.remote.poison = w.rnd.IntN(keys)
			if w.meta.skip {
				w.check.keys[w.remote.poison] = true
			}
		}
	case 18, 19, 20:
		w.meta.paused = false
	}
}

func (w *world) crash(s *server) {
	if !s.up {
		return
	}
	w.stats.Crashes++
	w.tracef("server %d crashes", s.n)
	s.up = false
	s.life++
	if w.primary == s.n {
		w.primary = -1
	}
}

// remove ends the duplication, and adds it anew.
func (w *world) remove() {
	w.stats.Removals++
	w.tracef("the duplication is removed, and added again")
	w.meta = meta{gen: w.meta.gen + 1, persisted: ship.Unknown, boot: w.chance(2), skip: w.meta.skip}
	from := int64(1 << 60) // until it begins
	if w.meta.boot {
		from = 0
	}
	w.check.reset(from)
	if w.meta.skip && w.remote.poison >= 0 {
		w.check.keys[w.remote.poison] = true
	}
	for _, s := range w.servers {
		if !s.up {
			continue
		}
		s.begin()
		if w.primary == s.n {
			s.core.Lead(w.committed)
		}
	}
}

// heal ends the faults.
func (w *world) heal() {
	w.tracef("calm")
	w.calm = true
	w.meta.paused, w.remote.down, w.remote.poison = false, false, -1
	for _, s := range w.servers {
		if !s.up {
			s.up, s.askAt = true, w.now
			s.begin()
		}
	}
	if w.primary < 0 {
		w.lead(w.rnd.IntN(servers))
	}
	w.committed = int64(len(w.log))
}
