package sim

import "pegasus/pacifica"

// client writes and reads through whoever it takes for the primary, over and over.
func (w *world) client() {
	if w.done {
		return
	}
	s := w.servers[1+w.rand(int64(len(w.servers)-1))]
	switch {
	case w.now < w.quietUntil && !w.healed:
		w.at(1+w.rand(w.prof.clientTime), w.client)
		return
	case w.chance(700) && w.meta.cfg.Ballot > 0:
		s = w.servers[w.meta.cfg.Primary]
	case w.chance(500) && w.meta.before > 0:
		s = w.servers[w.meta.before] // as an outdated client does
	}
	key := int(w.rand(keys))
	if w.split.parent != nil {
		key = childKeys + key%childKeys
	}
	if w.chance(600) {
		n := 1 + w.rand(w.prof.burst)
		s.arrive(-1, func() {
			for range n {
				s.write(key)
			}
		})
	} else {
		s.read(key)
	}
	pause := 1 + w.rand(w.prof.clientTime)
	if w.chance(w.prof.quiet) && !w.healed {
		pause += w.rand(1500) // what nobody writes over stays as it is
	}
	w.at(pause, w.client)
}

// write proposes a mutation, as the gate of a primary lets it through. It returns its id, 0
// if it was refused.
func (s *server) write(key int) uint64 {
	w := s.w
	if !s.up || s.disk.broken || !s.serving() || !s.leased() || s.core.Room() <= 0 || !s.owns(key) {
		return 0
	}
	members := 1 + len(s.core.State().Config.Secondaries)
	if members < w.prof.minMembers {
		return 0
	}
	w.nextID++
	id := w.nextID
	before := s.before()
	pad := w.rand(w.prof.padding)
	if !s.upgraded && w.chance(int(w.prof.large)) {
		pad = w.prof.frame + 1 + w.rand(w.prof.frame)
	}
	f := flight{id: id, key: key, after: w.hist.acked, started: w.now}
	// The wall clock of a server may be anything.
	e, err := s.core.Propose(w.now*1000+w.rand(5000)*int64(s.id), payload(id, before, key, pad))
	if err != nil {
		w.fail("propose", "server %d: %v", s.id, err)
	}
	w.stats.Proposed++
	f.decree = e.Decree
	w.tracef("propose  %d: %d#%d on %d", s.id, e.Decree, id, before)
	s.flights = append(s.flights, f)
	s.drain()
	return id
}

// before returns the id of the mutation that precedes the next one.
func (s *server) before() uint64 {
	last := s.core.Last()
	if last > 0 && last <= s.applied {
		return s.w.hist.canon[last-1].id
	}
	if e := s.disk.now.at(last); last > 0 && e != nil {
		return idOf(e.Payload)
	}
	return 0
}

// read answers from the store, and only then looks whether this server may answer.
func (s *server) read(key int) {
	w := s.w
	floor := w.hist.floor[key]
	s.arrive(-1, func() {
		if !s.serving() || !s.mayRead(key) {
			return
		}
		version, tenure := w.hist.version(key, s.applied), s.tenure
		s.later(w.rand(w.prof.readTime), func() {
			if (!s.leased() || s.tenure != tenure) && !w.bug("lease-unchecked") {
				return
			}
			w.readDone(s, key, version, floor)
		})
	})
}

// flushes does the housekeeping of a server: flush, and drop what the log has beyond need.
func (s *server) housekeep() {
	if s.up && s.core != nil {
		if s.w.chance(s.w.prof.flushes) {
			s.flush()
		}
		if s.w.chance(s.w.prof.cuts) {
			s.cutLog()
		}
	}
	s.w.at(20+s.w.rand(200), s.housekeep)
}

// well tells whether the group is complete and everyone has applied everything.
func (w *world) well() bool {
	if !w.meta.full() || w.hist.acked < int64(len(w.hist.canon)) {
		return false
	}
	for _, n := range append([]pacifica.NodeID{w.meta.cfg.Primary}, w.meta.cfg.Secondaries...) {
		s := w.servers[n]
		want := pacifica.Secondary
		if n == w.meta.cfg.Primary {
			want = pacifica.Primary
		}
		if len(s.flights) > 0 || s.status() != want || s.core.Ballot() != w.meta.cfg.Ballot || s.applied != int64(len(w.hist.canon)) {
			return false
		}
	}
	return w.servers[w.meta.cfg.Primary].serving()
}
