package sim

import "pegasus/pacifica"

// The server's side of the talk with the meta.

// beacon tells the meta that this server lives; the answer extends the lease, counted from
// when the beacon was sent.
func (s *server) beacon() {
	w, inc, sent := s.w, s.incarnation, s.local()
	w.send("beacon", s.id, 0, func() {
		if !w.meta.onBeacon(s.id, inc) {
			return
		}
		w.send("beacon-ack", 0, s.id, func() {
			s.arrive(inc, func() {
				s.renew(sent + leaseTime)
			})
		})
	})
	s.later(s.clock.real(beaconTime), s.beacon)
}

// renew extends the lease. When it had run out, the meta may have promoted another server
// meanwhile: what was confirmed before counts no more.
func (s *server) renew(until int64) {
	lapsed := !s.leased()
	if lapsed && !s.w.bug("lease-resumes") {
		s.tenure++
	}
	s.leaseUntil = max(s.leaseUntil, until)
	if lapsed {
		s.syncNow()
	}
}

// confirm notes that the meta, asked in tenure, said that cfg is the configuration. A primary
// answers reads only if that happened in the tenure of its lease that goes on: since then the
// meta has not taken it for dead. A configuration that comes by itself may be an old one, of
// before this server was taken for dead.
func (s *server) confirm(cfg pacifica.Config, tenure int) {
	if s.leased() && s.tenure == tenure && s.status() == pacifica.Primary && cfg.Primary == s.node() && cfg.Ballot == s.core.Ballot() {
		s.confirmed = tenure
	}
}

// sync compares the configuration with the meta's, regularly.
func (s *server) sync() {
	s.syncNow()
	s.later(s.clock.real(syncTime), s.sync)
}

// listing is the meta's answer to a sync.
type listing struct {
	listed  bool
	config  pacifica.Config
	discard bool
}

func (s *server) syncNow() {
	w, inc, tenure := s.w, s.incarnation, s.tenure
	r := report{has: s.core != nil && !s.disk.broken}
	if r.has {
		r.ballot, r.status, r.committed = s.core.Ballot(), s.core.Status(), s.core.Committed()
	}
	w.send("sync", s.id, 0, func() {
		a := w.meta.onSync(s.id, inc, r)
		if a == nil {
			return
		}
		w.send("sync-answer", 0, s.id, func() {
			s.arrive(inc, func() {
				s.synced(r, a)
				s.confirm(a.config, tenure)
			})
		})
	})
}

func (s *server) synced(r report, a *listing) {
	switch {
	case s.core == nil && a.listed:
		s.mayCreate = false
		s.leave(a.config)
	case s.disk.broken:
		if a.listed {
			s.leave(a.config)
		}
	case s.core == nil:
		// A server that hears that it isn't a member may begin anew, but not below the ballot
		// of that: it may have made promises before it lost its data.
		s.mayCreate = true
		if !s.w.bug("new-replica-forgets-ballot") {
			s.createBallot = max(s.createBallot, a.config.Ballot)
		}
	case a.listed:
		s.configure(a.config, "sync")
	case a.discard && (s.unneeded(r, a) || s.w.bug("stale-discard") && s.status() != pacifica.Primary):
		s.w.tracef("discard  %d: %v", s.id, s.core)
		s.forget()
		s.mayCreate, s.createBallot = true, a.config.Ballot
	case (s.status() == pacifica.Primary || s.status() == pacifica.Secondary) && s.core.Ballot() == r.ballot:
		s.w.tracef("retire   %d: not listed", s.id)
		s.core.Retire()
		s.drain()
	}
}

// unneeded tells whether a replica that the meta doesn't list, and has no use for, can't
// become a member on account of anything it ever said: a request to add it would have been
// for the ballot after its own at most.
func (s *server) unneeded(r report, a *listing) bool {
	return s.status() == pacifica.Inactive && s.core.Ballot() == r.ballot && a.config.Ballot > r.ballot
}

func (s *server) configure(cfg pacifica.Config, how string) {
	if s.core == nil || s.disk.broken {
		return
	}
	s.w.tracef("config   %d: %s %s", s.id, how, configText(cfg))
	s.core.Configure(cfg)
	s.drain()
	if s.status() == pacifica.Primary && s.confirmed != s.tenure && how != "sync" {
		if s.w.bug("push-confirms") {
			s.confirmed = s.tenure
		}
		s.syncNow()
	}
}

// change asks the meta for what the core wants, until it is settled.
func (s *server) change(ch pacifica.Change) {
	if ch.Kind == pacifica.ChangeRefresh {
		s.syncNow()
		return
	}
	s.w.tracef("ask      %d: %v %d %s", s.id, ch.Kind, ch.Node, configText(ch.Config))
	if ch.Kind == pacifica.ChangeAdd && s.w.chance(s.w.prof.learnerDies) && !s.w.healed && !s.w.fragile() {
		s.w.at(s.w.rand(20), func() { s.w.crash(s.w.servers[ch.Node], s.w.chance(500), 1+s.w.rand(30)) })
	}
	s.requests++
	n := s.requests
	var again func()
	again = func() {
		if s.core == nil || s.requests != n || s.core.Pending() == nil || s.core.Pending().Config.Ballot != ch.Config.Ballot {
			return
		}
		s.request(ch)
		s.later(s.clock.real(resendTime), again)
	}
	again()
}

func (s *server) request(ch pacifica.Change) {
	w, inc, tenure := s.w, s.incarnation, s.tenure
	ch.Config.Secondaries = append([]pacifica.NodeID(nil), ch.Config.Secondaries...)
	if ch.Kind == pacifica.ChangeAdd {
		w.servers[ch.Node].askedUntil = w.now + w.prof.addDelay + 2*w.prof.delay + w.prof.lateBy
	}
	if ch.Kind == pacifica.ChangeAdd && w.prof.addDelay > 0 {
		w.at(w.rand(w.prof.addDelay), func() { s.sendChange(ch, inc, tenure) })
		return
	}
	s.sendChange(ch, inc, tenure)
}

func (s *server) sendChange(ch pacifica.Change, inc, tenure int) {
	w := s.w
	w.send("change", s.id, 0, func() {
		cfg, refused, answered := w.meta.onChange(s.id, ch)
		if !answered {
			return
		}
		w.send("answer", 0, s.id, func() {
			s.arrive(inc, func() {
				s.configure(cfg, "answer")
				s.confirm(cfg, tenure)
				// The worst driver there could be: it takes any refusal for that of what it
				// asks for now.
				if refused && s.core != nil && s.core.Pending() != nil {
					w.tracef("refused  %d: %v %d", s.id, s.core.Pending().Kind, s.core.Pending().Node)
					s.core.Refused()
					s.drain()
				}
			})
		})
	})
}

// leave asks the meta to do without this server, whose data is lost.
func (s *server) leave(cfg pacifica.Config) {
	w := s.w
	w.tracef("leave    %d: %s", s.id, configText(cfg))
	w.send("leave", s.id, 0, func() { w.meta.onLeave(s.id, cfg.Ballot) })
}

// assigned takes the meta's order to be the first replica.
func (s *server) assigned() {
	if s.core == nil {
		if !s.mayCreate || s.createBallot > 0 {
			return // the order is old: there is a group
		}
		s.create()
	}
	if s.core.Ballot() != 0 || s.core.Last() != 0 || s.status() != pacifica.Inactive {
		return
	}
	w, inc := s.w, s.incarnation
	w.send("assign", s.id, 0, func() {
		cfg := w.meta.onAssign(s.id)
		w.send("answer", 0, s.id, func() { s.arrive(inc, func() { s.configure(cfg, "assigned") }) })
	})
}

// proposal is what the meta wants of a primary.
func (s *server) proposal(kind string, node int) {
	if s.core == nil || s.disk.broken {
		return
	}
	var err error
	if kind == "add" {
		err = s.core.AddLearner(pacifica.NodeID(node))
	} else {
		err = s.core.RemoveMember(pacifica.NodeID(node))
	}
	s.w.tracef("proposal %d: %s %d: %v", s.id, kind, node, err)
	s.drain()
}

// breakDisk makes every sync fail from now on: the replica goes out of service.
func (s *server) breakDisk() {
	s.w.tracef("disk     %d: broken", s.id)
	s.disk.broken = true
	if s.core != nil {
		s.core.Retire()
	}
	s.flights = nil
}
