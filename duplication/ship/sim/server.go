package sim

import (
	"encoding/binary"

	"pegasus/duplication/ship"
)

// server is a replica with its core, and the driver of it.
type server struct {
	n     int
	w     *world
	p     *part
	up    bool
	life  int   // grows with each crash
	first int64 // of its log
	core  *ship.Core
	leads int64 // the ballot under which it led last

	// floor is below what isn't held any more, as the log had no room.
	floor int64

	bootID uint64 // of the bootstrap that is carried out
	bootAt int64

	// still: it was the primary, and stands still until wakes; then it asks the meta before it hears that another one leads.
	still bool
	wakes int64

	askAt, deaf                 int64 // deaf: until then the meta's answers are lost
	skippedOps, skippedDecrees  int64 // of cores that are gone
	wasSkippedOps, wasSkippedDs int64
}

// begin makes the core of a process that starts, or of a duplication that is added.
func (s *server) begin() {
	s.core = ship.New(options, ship.Unknown)
	s.core.Configure(s.p.mode())
	s.wasSkippedOps, s.wasSkippedDs = 0, 0
	s.bootID, s.still = 0, false
}

// stand has a primary that is replaced stand still before it hears of that.
func (s *server) stand(ticks int64) {
	w, core := s.w, s.core
	s.still, s.wakes = true, w.now+ticks
	w.stats.Stills++
	w.after(ticks, func() {
		if !s.still || s.core != core {
			return
		}
		s.ask()
		w.after(2*w.delay(), func() {
			if s.still && s.core == core {
				s.still = false
				core.Resign()
			}
		})
	})
}

// hold is from where on the log stays.
func (s *server) hold() int64 {
	h := s.core.Hold()
	if h == ship.Unknown {
		return h
	}
	return max(h, s.floor)
}

// yield lets the log go that is held.
func (s *server) yield() {
	w, p := s.w, s.p
	s.floor = p.committed + 1
	was := s.core.Status().SkippedDecrees
	s.core.Yielded(s.floor)
	if n := s.core.Status().SkippedDecrees - was; n > 0 {
		p.check.exempt(s.floor-n, s.floor)
	}
	w.stats.Yields++
	w.tracef("%s: server %d: the log below %d isn't held any more", p.name(), s.n, s.floor)
	s.tally()
}

func (s *server) tick() {
	w, p := s.w, s.p
	if s.still {
		return // its lease is over, so it sends nothing
	}
	s.core.Tick()
	if p.primary == s.n {
		s.core.Commit(p.committed)
	}
	if w.now >= s.askAt {
		s.askAt = w.now + 5 + int64(w.rnd.IntN(10))
		s.ask()
	}
	if p.committed-s.first > room && w.chance(80) && !w.calm && w.opt.Seed%3 != 0 && s.hold() < p.committed {
		s.yield()
	}
	if h := s.hold(); h != ship.Unknown && h > s.first && w.chance(5) {
		s.first = min(h, p.committed+1)
	}
	r := s.core.Ready()
	life, core := s.life, s.core
	if r.Read != nil {
		w.after(w.delay(), func() {
			if !s.up || s.life != life || s.core != core {
				return
			}
			s.read(*r.Read)
		})
	}
	for _, b := range r.Send {
		s.send(b)
	}
	if id := r.Bootstrap; id != 0 {
		w.after(w.delay(), func() { s.bootstrap(&bootstrap{s: s, core: core, life: life, id: id}) })
	}
	s.tally()
}

// tally keeps what was skipped, also when the core is gone.
func (s *server) tally() {
	st := s.core.Status()
	s.skippedOps += st.SkippedOps - s.wasSkippedOps
	s.skippedDecrees += st.SkippedDecrees - s.wasSkippedDs
	s.wasSkippedOps, s.wasSkippedDs = st.SkippedOps, st.SkippedDecrees
}

// read reads the log as it is now.
func (s *server) read(r ship.Read) {
	w, p := s.w, s.p
	defer s.tally()
	if w.chance(30) && !w.calm {
		s.core.Unread(r.ID)
		return
	}
	if r.From < s.first {
		was := s.core.Status().SkippedDecrees
		if s.core.Cut(r.ID, s.first); s.core.Status().SkippedDecrees > was {
			p.check.exempt(r.From, s.first)
		}
		return
	}
	var es []ship.Entry
	var size int64
	for d := r.From; d <= p.last() && size < r.Bytes; d++ { // what isn't committed is in the log, too
		e := ship.Entry{Decree: d}
		for _, o := range p.at(d) {
			data := make([]byte, 10+o.size)
			data[0] = byte(o.key)
			if o.deleted {
				data[1] = 1
			}
			binary.BigEndian.PutUint64(data[2:], o.tag)
			e.Ops = append(e.Ops, ship.Op{Decree: d, Lane: w.remote.lane(o.key), Tag: o.tag, Data: data})
			size += int64(len(data)) + 64 // as the core counts
		}
		if w.chance(60) && !w.calm && d > r.From {
			continue // an entry is missing in the middle
		}
		es = append(es, e)
	}
	was := s.core.Status().SkippedDecrees
	if s.core.Loaded(r.ID, es); s.core.Status().SkippedDecrees > was {
		at := r.From
		for _, e := range es {
			if e.Decree > at {
				p.check.exempt(at, e.Decree)
				break
			}
			at = e.Decree + 1
		}
	}
}

// send sends a batch.
func (s *server) send(b ship.Batch) {
	w, p := s.w, s.p
	w.stats.Batches++
	p.checkBatch(b)
	core, life, lanes, gen := s.core, s.life, w.remote.lanes, w.meta.gen
	answer := func(o ship.Outcome) {
		w.after(w.delay(), func() {
			if s.up && s.life == life && s.core == core {
				core.Answer(b.ID, o)
			}
		})
	}
	arrive := func(reply bool) func() {
		return func() {
			o := w.remote.take(p, b, lanes, gen == w.meta.gen)
			w.tracef("remote: batch %d of %s, server %d, lane %d, decrees %d..%d: %d", b.ID, p.name(), s.n, b.Lane, b.Ops[0].Decree, b.Ops[len(b.Ops)-1].Decree, o)
			if reply {
				answer(o)
			}
		}
	}
	switch {
	case w.calm:
		w.after(w.delay(), arrive(true))
	case w.chance(15): // lost on the way, or noticed as a lost connection
		w.stats.Lost++
		if w.chance(2) {
			answer(ship.Lost)
		}
	case w.chance(12), w.meta.skip && p.hinders() && p.persisted < p.cut && w.chance(3): // the answer is lost, and it may be applied late
		w.stats.Lost++
		if w.chance(2) {
			answer(ship.Lost)
		}
		w.after(1+int64(w.rnd.IntN(late)), arrive(false))
	case w.chance(12): // twice, one right behind the other
		w.stats.Doubled++
		d := w.delay()
		w.after(d, arrive(true))
		w.after(d, arrive(w.chance(2)))
	default:
		w.after(w.delay(), arrive(true))
	}
}

// ask is what a server tells the meta and asks it.
func (s *server) ask() {
	w, p := s.w, s.p
	confirm, ok := s.core.Confirm()
	copied := max(s.core.Status().Booted, 0)
	life, gen, ballot, core := s.life, w.meta.gen, p.ballot, s.core
	leads := p.primary == s.n || s.still
	deliver := func() {
		if w.meta.gen != gen {
			return
		}
		// What was sent under an earlier ballot may be of a process that began elsewhere.
		if ok && p.primary == s.n && (p.ballot == ballot || w.opt.Bug == "old-ballot") {
			p.confirm(confirm, copied)
		}
		has, m := p.persisted, p.mode()
		var hear func()
		hear = func() {
			if !s.up || s.life != life || s.core != core || w.now < s.deaf && !w.calm {
				return
			}
			if s.still && w.now < s.wakes {
				w.after(s.wakes-w.now, hear)
				return
			}
			core.Configure(m)
			// A primary that has asked before it was one must ask again; and what it hears when it isn't one any more says nothing of it.
			if since := leads && p.ballot == ballot && !s.still || s.still && w.opt.Bug == "lease-unasked"; since || has != ship.Unknown {
				core.Persisted(has, since)
			}
		}
		w.after(w.delay()*int64(1+w.rnd.IntN(6)), hear)
	}
	switch {
	case w.calm:
		w.after(1, deliver)
	case w.chance(6):
	case w.chance(10) || p.persisted == ship.Unknown && ok && w.chance(2):
		if w.chance(2) {
			w.after(w.delay(), deliver)
		}
		w.after(w.delay()*10, deliver)
	default:
		w.after(w.delay(), deliver)
	}
}
