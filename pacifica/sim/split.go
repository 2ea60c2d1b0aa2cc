package sim

import (
	"pegasus/pacifica"
	"pegasus/pacifica/split"
)

// In one run of three the partition is split while all the rest goes on (package split). The child
// is a world of its own: a group of as many servers, with a meta, faults and clients of their own,
// and the parent's time. Server i of the child has its replica on the machine of server i of the parent.
// Its processes die on their own, which is worse than that both die at once.

const (
	// splitKey is written by the cut alone. Keys from childKeys on are of the child's half.
	splitKey  = keys
	childKeys = keys / 2
	// splitCount is how many partitions there are after the split. This one is the first of them.
	splitCount = 2
	orderTime  = 40
)

// splitting is what a world knows of the split of its partition.
type splitting struct {
	child, parent *world // one at most is there
	// mark is the cut, once it is committed (of the parent).
	mark split.Mark
	// ordered, registered: the meta persisted it (of the parent).
	ordered, registered bool
}

// splits tells whether the split is part of the run.
func (o *Options) splits() bool { return o.Seed%3 == 0 && !o.noSplit }

// addChild makes the child's world.
func (w *world) addChild() {
	opt := w.opt
	opt.Servers, opt.Replicas, opt.noSplit = w.prof.servers, w.prof.replicas, true
	opt.Seed ^= 0x5b117
	c := newWorld(opt, randomProfile)
	c.prof.duration = w.prof.duration
	c.split.parent, w.split.child = w, c
	c.hist.floor = w.hist.floor
}

// startChild lets the child's servers run, and has the meta order the switch some time.
func (w *world) startChild() {
	c := w.split.child
	if c == nil {
		return
	}
	for i := 1; i < len(c.servers); i++ {
		c.servers[i].start()
		c.at(c.rand(100), c.servers[i].housekeep)
	}
	c.meta.start()
	c.at(c.rand(100), c.nemesis)
	w.at(c.rand(w.prof.duration*3/4), w.order)
}

// order tells the primary to switch, over and over.
func (w *world) order() {
	if w.split.registered {
		return
	}
	if p := int(w.meta.cfg.Primary); p > 0 {
		w.split.ordered = true
		w.send("split-order", 0, p, func() { w.servers[p].arrive(-1, w.servers[p].splitStep) })
	}
	w.at(orderTime, w.order)
}

// marked tells whether the store has the mark.
func (s *server) marked() bool {
	d := s.w.split.mark.Decree
	return d > 0 && s.applied >= d && !s.unmarked
}

func (s *server) mark() split.Mark {
	if s.marked() {
		return s.w.split.mark
	}
	return split.Mark{}
}

// owns tells whether rows of key are for this replica.
func (s *server) owns(key int) bool {
	if s.w.split.parent != nil {
		return key >= childKeys
	}
	hash, count := uint64(key/childKeys), s.parting.Count(s.mark())
	if s.w.bug("split-unfenced") {
		count = s.mark().Count
	}
	return split.Owns(hash, 0, count)
}

// mayRead tells whether rows of key may be read from the store.
func (s *server) mayRead(key int) bool {
	if s.w.split.parent != nil {
		return key >= childKeys
	}
	return split.Owns(uint64(key/childKeys), 0, s.mark().Count) || s.w.bug("split-shows-all")
}

// splitStep does what is next.
func (s *server) splitStep() {
	w := s.w
	if s.core == nil || s.disk.broken {
		return
	}
	st := s.core.State()
	a := s.parting.Next(splitCount, split.View{Config: st.Config, Serving: st.Serving, Mark: s.mark()})
	switch a.Kind {
	case split.Propose:
		if s.core.Room() <= 0 {
			return
		}
		w.nextID++
		before := s.before()
		e, err := s.core.Propose(w.now*1000, payload(w.nextID, before, splitKey, 0))
		if err != nil {
			return
		}
		w.tracef("cut      %d: proposed as %d#%d", s.id, e.Decree, w.nextID)
		s.parting.Proposed(splitCount)
		s.drain()
		if w.bug("split-copies-uncommitted") {
			s.askMembers(st.Config, split.Mark{Count: splitCount, Decree: e.Decree, Timestamp: e.Timestamp})
		}
	case split.Ask:
		s.core.Announce()
		s.drain()
		if s.core == nil {
			return // the process died
		}
		s.askMembers(st.Config, a.Mark)
	case split.Register:
		s.askRegister(a)
	}
	if w.bug("split-asks-nobody") && s.marked() {
		s.askRegister(split.Action{Kind: split.Register, Mark: s.mark(), Child: pacifica.Config{Ballot: st.Config.Ballot + 1, Primary: st.Config.Primary, Secondaries: st.Config.Secondaries}})
	}
}

// askMembers asks each member for the child.
func (s *server) askMembers(cfg pacifica.Config, mark split.Mark) {
	w, inc := s.w, s.incarnation
	for _, n := range append([]pacifica.NodeID{cfg.Primary}, cfg.Secondaries...) {
		m := w.servers[n]
		w.send("split-ask", s.id, m.id, func() {
			m.arrive(-1, func() {
				m.makeChild(mark, func(held split.Mark) {
					w.send("split-answer", m.id, s.id, func() {
						s.arrive(inc, func() {
							if s.core != nil && s.core.Ballot() == cfg.Ballot {
								s.parting.Take(split.Answer{From: m.node(), Held: held})
							}
						})
					})
				})
			})
		})
	}
}

// askRegister asks the meta to register the child.
func (s *server) askRegister(a split.Action) {
	w := s.w
	w.send("split-register", s.id, 0, func() { w.register(s.id, a) })
}

// register makes the child a partition.
func (w *world) register(from int, a split.Action) {
	if w.split.registered && !w.bug("split-registers-twice") || w.meta.cfg.Ballot+1 != a.Child.Ballot || int(w.meta.cfg.Primary) != from {
		return
	}
	w.split.registered = true
	w.stats.Splits++
	c := w.split.child
	h := &c.hist
	for c.meta.cfg.Ballot == 0 && int64(len(h.configs)) < a.Child.Ballot {
		h.configs = append(h.configs, pacifica.Config{})
		h.primaries = append(h.primaries, 0)
	}
	c.meta.persist(a.Child, "register")
	c.at(c.rand(50), c.client)
	if w.healed {
		c.heal()
	} else {
		c.at(max(0, w.prof.duration-w.now), c.heal)
	}
	for _, s := range w.servers[1:] {
		w.at(w.rand(500), func() { s.swept = true })
	}
}

// makeChild makes the child's replica on the machine of this member, and says which mark it holds.
func (s *server) makeChild(mark split.Mark, say func(split.Mark)) {
	w, c := s.w, s.w.split.child
	t := c.servers[s.id]
	switch {
	case s.core == nil || s.disk.broken || !t.up || t.disk.broken || t.making:
		return
	case t.disk.exists:
		if t.core != nil && t.status() == pacifica.Inactive && t.applied == mark.Decree {
			say(mark)
		}
		return
	case s.mark() != mark && !w.bug("split-copies-uncommitted"):
		return // not yet
	}
	t.making = true
	inc, own := t.incarnation, s.incarnation
	end := func() bool {
		alive := t.up && t.incarnation == inc
		if alive {
			t.making = false
		}
		return alive && !t.disk.exists && !t.disk.broken
	}
	var full bool
	// The copy itself must have the mark: the replica may have been made anew since it was asked.
	copyStore := func() bool {
		full = s.applied >= mark.Decree && w.split.mark == mark && !s.swept
		if s.mark() != mark && !w.bug("split-copies-uncommitted") {
			end()
			return false
		}
		return true
	}
	// The meta's word counts if it was asked for after the store was copied.
	use := func() {
		if !end() {
			return
		}
		if !full {
			w.fail("split", "server %d makes the child of a store that lacks rows of it: applied %d, cut %+v, swept %v", s.id, s.applied, mark, s.swept)
		}
		t.mayCreate = false
		t.disk.exists, t.disk.flushed, t.applied = true, mark.Decree, mark.Decree
		t.disk.now.first, t.disk.durable.first = mark.Decree+1, mark.Decree+1
		t.core = pacifica.New(t.options(), 0, mark.Decree, nil)
		t.core.Witness(mark.Timestamp)
		t.core.SetMinMembers(c.prof.minMembers)
		w.tracef("child    %d: made at %d", s.id, mark.Decree)
		say(mark)
	}
	look := func(then func()) {
		if w.bug("split-looks-nowhere") {
			s.later(w.rand(50), then)
			return
		}
		answered := false
		c.send("split-look", t.id, 0, func() {
			registered := c.meta.cfg.Ballot > 0
			c.send("split-looked", 0, t.id, func() {
				if answered {
					return
				}
				answered = true
				if registered {
					end()
					return
				}
				s.arrive(own, then)
			})
		})
		c.at(1000, func() { // the answer is late, or lost
			if !answered {
				answered = true
				end()
			}
		})
	}
	if w.bug("split-looks-first") {
		look(func() {
			s.later(w.rand(200), func() {
				if copyStore() {
					use()
				}
			})
		})
		return
	}
	s.later(w.rand(200), func() {
		if copyStore() {
			look(use)
		}
	})
}

// noteCut takes the cut into the history: what the parent has now of the child's half is what the child begins with.
func (w *world) noteCut(e *pacifica.Entry) {
	if w.split.mark.Decree > 0 || w.split.child == nil {
		return
	}
	w.split.mark = split.Mark{Count: splitCount, Decree: e.Decree, Timestamp: e.Timestamp}
	h := &w.split.child.hist
	h.canon = append([]mutation(nil), w.hist.canon...)
	for key := childKeys; key < keys; key++ {
		h.versions[key] = append([]int64(nil), w.hist.versions[key]...)
	}
	h.acked = e.Decree
}

// checkHalf looks at a mutation that is committed first.
func (w *world) checkHalf(s *server, e *pacifica.Entry, key int) {
	switch d := w.split.mark.Decree; {
	case w.split.parent != nil && (key < childKeys || key == splitKey):
		w.fail("split", "server %d of the child commits a row of the parent as decree %d", s.id, e.Decree)
	case d > 0 && e.Decree > d && key >= childKeys && key != splitKey:
		w.fail("split", "server %d commits a row of the child's half as decree %d, after the cut %d", s.id, e.Decree, d)
	}
}

// splitDone tells whether the run need not go on for the split's sake.
func (w *world) splitDone() bool {
	return w.split.child == nil || w.split.registered && w.split.child.done
}
