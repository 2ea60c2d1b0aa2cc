package sim

import "pegasus/duplication/ship"

// nemesis writes, and makes trouble.
func (w *world) nemesis() {
	for _, p := range w.parts() {
		p.nemesis()
	}
	if w.remote.byTag && w.chance(50) {
		w.remote.local(w)
	}
	if p := w.source; w.opt.Seed%8 >= 4 && p.cut == 0 && p.lost == 0 && w.now > rounds/6 && p.primary >= 0 && p.persisted != ship.Unknown && w.chance(100) {
		p.propose()
	}
	w.trouble()
}

// nemesis of a partition.
func (p *part) nemesis() {
	w := p.w
	if p.primary >= 0 && !w.chance(3) {
		if w.chance(2) {
			p.write()
		}
		if p.committed < p.last() && w.chance(2) {
			p.committed++
		}
	}
	// The beginning is short, and its own kind of trouble.
	soon := p.persisted == ship.Unknown && w.opt.Seed%4 < 2 || p.half && w.opt.Seed%3 == 1
	if p.primary < 0 && (w.chance(10) || soon && w.chance(3)) {
		if n := w.rnd.IntN(servers); p.servers[n].up {
			p.lead(n)
		}
	}
	if soon && p.primary >= 0 && w.chance(12) {
		p.crash(p.servers[p.primary])
	}
	if p.hinders() && p.primary >= 0 {
		p.hinder(p.servers[w.opt.Seed/8%servers])
	}
	for _, s := range p.servers {
		if !s.up && (w.chance(40) || soon && w.chance(4)) {
			s.up, s.askAt = true, w.now
			s.begin()
		}
	}
}

// hinders tells whether the seed has trouble of its own about the time at which a parent has sent what is before the cut.
func (p *part) hinders() bool { return p.cut != 0 && p.w.opt.Seed%3 == 0 }

// hinder has a server lead whose log lacks what comes next, while what the one before sent is under way; or one that hasn't heard
// how far others have come.
func (p *part) hinder(s *server) {
	w := p.w
	sent := p.persisted >= p.cut
	switch {
	case !s.up || s.n == p.primary:
	case !sent && w.child != nil && w.meta.skip:
		if p.servers[p.primary].core.Status().Flying > 0 && w.chance(10) {
			w.stats.Cuts++
			s.first = max(s.first, p.committed+1)
			w.tracef("%s: server %d: the log is cut, it begins with %d", p.name(), s.n, s.first)
			p.lead(s.n)
			s.askAt = w.now // as the driver does
		}
	case !sent && s.deaf < w.now && !w.meta.skip:
		s.deaf = w.now + 800
	case sent && s.deaf > w.now && w.chance(10):
		p.lead(s.n)
	}
}

// trouble is what happens to one partition, or to the remote, or what operators do.
func (w *world) trouble() {
	ps := w.parts()
	p := ps[w.rnd.IntN(len(ps))]
	switch w.rnd.IntN(500) {
	case 0, 1, 2, 3: // a crash
		p.crash(p.servers[w.rnd.IntN(servers)])
	case 4, 5, 6: // another primary
		if n := w.rnd.IntN(servers); p.servers[n].up && n != p.primary {
			p.lead(n)
		}
	case 7: // a server whose log lacks more than it may
		s := p.servers[w.rnd.IntN(servers)]
		if at := p.committed - int64(w.rnd.IntN(6)); at > s.first && w.chance(2) {
			w.stats.Cuts++
			w.tracef("%s: server %d: the log is cut, it begins with %d", p.name(), s.n, at)
			s.first = at
		}
	case 8:
		w.stats.Pauses++
		w.meta.paused = !w.meta.paused
	case 9:
		// Nothing is added while the table is being split.
		if w.chance(3) && (w.source.cut == 0 || w.child != nil) {
			w.remove()
		}
	case 10, 11:
		w.remote.down = !w.remote.down
	case 12, 13, 14, 15:
		w.remote.down = false
	case 16: // the remote is split, or made anew
		w.stats.Reshapes++
		w.remote.lanes = 1 + w.rnd.IntN(5)
		w.tracef("the remote has %d lanes", w.remote.lanes)
		for _, p := range ps {
			p.check.lanes = map[int32]int64{}
			for _, s := range p.servers {
				if s.up {
					s.core.Reshape()
				}
			}
		}
	case 17:
		if w.remote.poison = -1; w.chance(2) {
			w.remote.poison = w.rnd.IntN(keys)
			if w.skips {
				w.spoilt[w.remote.poison] = true
			}
		}
	case 18, 19, 20:
		w.meta.paused = false
	case 21:
		if w.opt.Seed%5 == 0 {
			w.meta.skip = !w.meta.skip
			if w.skips = true; w.remote.poison >= 0 {
				w.spoilt[w.remote.poison] = true
			}
		}
	case 24: // all copies lose the end of their logs
		if w.opt.Seed%8 == 3 && p.cut == 0 && p.lost == 0 && p.persisted > p.base+4 {
			p.lose()
		}
	case 22, 23: // a primary that doesn't hear of the meta for a while
		if n := w.rnd.IntN(servers); p.servers[n].up && n != p.primary {
			p.servers[n].deaf = w.now + 60 + int64(w.rnd.IntN(200))
			p.lead(n)
		}
	}
}

func (p *part) crash(s *server) {
	w := p.w
	if !s.up {
		return
	}
	w.stats.Crashes++
	w.tracef("%s: server %d crashes", p.name(), s.n)
	s.up = false
	s.life++
	if p.primary == s.n {
		p.primary = -1
	}
}

// remove ends the duplication, and adds it anew.
func (w *world) remove() {
	w.stats.Removals++
	w.tracef("the duplication is removed, and added again")
	w.meta = meta{gen: w.meta.gen + 1, boot: w.chance(2), skip: w.meta.skip}
	from := int64(never) // until it begins
	if w.meta.boot {
		from = 0
	}
	if w.skips && w.remote.poison >= 0 {
		w.spoilt[w.remote.poison] = true
	}
	for _, p := range w.parts() {
		p.persisted, p.copied, p.half, p.copies, p.lost = ship.Unknown, 0, false, false, 0
		p.check.reset(max(from, p.base))
		for _, s := range p.servers {
			if !s.up {
				continue
			}
			s.begin()
			if p.primary == s.n {
				s.core.Lead(p.committed, p.last())
			}
		}
	}
}

// heal ends the faults.
func (w *world) heal() {
	w.tracef("calm")
	w.calm = true
	w.skips = w.skips || w.meta.skip
	w.meta.paused, w.remote.down, w.remote.poison = false, false, -1
	if w.source.lost != 0 {
		w.remove()
	}
	for _, p := range w.parts() {
		for _, s := range p.servers {
			if !s.up {
				s.up, s.askAt = true, w.now
				s.begin()
			}
		}
		if p.primary < 0 {
			p.lead(w.rnd.IntN(servers))
		}
		p.committed = p.last()
	}
}
