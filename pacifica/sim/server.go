package sim

import (
	"fmt"

	"pegasus/pacifica"
	"pegasus/pacifica/split"
)

// server is a process with its disk: it does what the driver of a core does.
type server struct {
	w  *world
	id int

	up          bool
	incarnation int
	upgraded    bool // see profile
	pausedUntil int64
	clock       clock
	leaseUntil  int64 // of clock
	// tenure counts leases that began when there was none.
	tenure int
	// confirmed is the tenure in which the meta confirmed that this is the primary.
	confirmed int

	disk    disk
	core    *pacifica.Core
	applied int64
	flights []flight
	fetch   *fetching
	// mayCreate: the meta said, at createBallot, that this server is not a member, so it may
	// begin as an empty learner.
	mayCreate    bool
	createBallot int64
	// wiped: the data was lost and the meta may still list the server.
	wiped bool
	// pin: others may still need log entries from here on; 0 is none.
	pin int64

	// promised is the highest ballot that left in a message, of this replica or one before.
	promised int64
	requests int
	// view is what a driver would have published.
	view pacifica.State
	// writes changes when a sync under way has become void.
	writes int
	// parting is what a primary remembers of the split; unmarked: the store lost the mark (a planted bug);
	// swept: rows of the child's half are gone; making: the child is being made here.
	parting         split.Parent
	unmarked, swept bool
	making          bool
	// askedUntil is until when a request to add it may arrive at the meta.
	askedUntil int64
}

// flight is a write whose client waits.
type flight struct {
	decree  int64
	id      uint64
	key     int
	after   int64 // everything up to here was acknowledged before it was proposed
	started int64
}

// fetching is a checkpoint under way.
type fetching struct{ pacifica.Fetch }

func newServer(w *world, id int) *server {
	s := &server{w: w, id: id, mayCreate: true}
	s.disk.durable.first, s.disk.now.first = 1, 1
	s.disk.durable.keepVoid = w.bug("log-keeps-void")
	s.disk.now.keepVoid = s.disk.durable.keepVoid
	s.clock.shift = w.rand(2*maxRateShift+1) - maxRateShift
	if w.manual {
		s.clock.shift = 0
	}
	return s
}

func (s *server) node() pacifica.NodeID { return pacifica.NodeID(s.id) }

func (s *server) local() int64 { return s.clock.at(s.w.now) }

func (s *server) leased() bool { return s.up && s.local() < s.leaseUntil }

// serving tells whether this is a primary that may answer reads, its lease permitting.
func (s *server) serving() bool {
	return s.core != nil && s.core.Serving() && s.confirmed == s.tenure
}

func (s *server) status() pacifica.Status {
	if s.core == nil {
		return pacifica.Inactive
	}
	return s.core.Status()
}

// later has f called after a delay if the process lives on, and while it stands still not
// before it goes on.
func (s *server) later(delay int64, f func()) {
	inc := s.incarnation
	s.w.at(delay, func() { s.arrive(inc, f) })
}

// arrive calls f in the process, if it is still (or, if inc is negative, again) there.
func (s *server) arrive(inc int, f func()) {
	switch {
	case !s.up || inc >= 0 && inc != s.incarnation:
	case s.pausedUntil > s.w.now:
		s.w.at(s.pausedUntil-s.w.now, func() { s.arrive(inc, f) })
	default:
		f()
	}
}

// start begins a process on what the disk holds.
func (s *server) start() {
	s.up = true
	s.incarnation++
	s.upgraded = s.w.prof.upgrades && s.incarnation > 1
	s.leaseUntil, s.pausedUntil, s.pin, s.tenure, s.confirmed = 0, 0, 0, 1, 0
	s.core, s.fetch, s.flights, s.applied = nil, nil, nil, 0
	s.parting, s.making = split.Parent{}, false
	if c := s.w.split.child; c != nil {
		c.servers[s.id].making = false // it was this server that made the child
	}
	if s.incarnation > 1 {
		s.mayCreate = false
	}
	s.disk.broken = false
	if s.disk.exists {
		s.restore()
	}
	s.w.tracef("start    %d: %v", s.id, s.core)
	s.later(s.w.rand(tickTime), s.tick)
	s.later(s.w.rand(beaconTime), s.beacon)
	s.later(1+s.w.rand(20), s.sync)
}

// restore makes the core from store and log.
func (s *server) restore() {
	d := &s.disk
	s.applied = d.flushed
	es := d.now.run(d.flushed)
	for len(es) > 0 && es[0].Decree <= d.now.committed {
		s.apply(&es[0], false)
		es = es[1:]
	}
	before := uint64(0)
	if s.applied > 0 {
		before = s.w.hist.canon[s.applied-1].id
	}
	for i := range es {
		if got := beforeOf(es[i].Payload); got != before {
			s.w.fail("basis", "server %d restarts with mutation %d, made on top of %d, on top of %d", s.id, idOf(es[i].Payload), got, before)
		}
		before = idOf(es[i].Payload)
	}
	s.core = pacifica.New(s.options(), d.ballot, s.applied, es)
	if s.applied > 0 {
		s.core.Witness(s.w.hist.canon[s.applied-1].timestamp)
	}
	s.core.SetMinMembers(s.w.prof.minMembers)
}

func (s *server) options() pacifica.Options {
	o := pacifica.Options{Self: s.node(), Log: &s.disk, MaxInFlight: s.w.prof.inFlight, MaxSendBytes: s.w.prof.sendBytes,
		HeartbeatTicks: 2, ResendTicks: 3, EjectTicks: 12, LearnTicks: 40}
	if s.upgraded {
		o.MaxEntryBytes = payloadSize + s.w.prof.frame
	}
	return o
}

// crash ends the process. power: what isn't synced is lost, but for a beginning of it.
func (s *server) crash(power bool) {
	n := len(s.disk.pending)
	if power {
		n = int(s.w.rand(int64(n + 1)))
	}
	s.w.stats.Crashes++
	s.w.tracef("crash    %d: %v, log keeps %d of %d unsynced", s.id, s.core, n, len(s.disk.pending))
	s.disk.lose(n)
	s.up, s.core, s.fetch, s.flights = false, nil, nil, nil
}

// wipe loses the disk of a server that is down.
func (s *server) wipe() {
	s.w.stats.Wipes++
	s.w.tracef("wipe     %d", s.id)
	s.wiped = true
	s.forget()
}

// forget removes the replica from the disk.
func (s *server) forget() {
	keep := s.disk.now.keepVoid
	s.disk = disk{slowUntil: s.disk.slowUntil}
	s.disk.now.first, s.disk.durable.first = 1, 1
	s.disk.now.keepVoid, s.disk.durable.keepVoid = keep, keep
	s.writes++
	s.w.checkMembers()
	s.core, s.fetch, s.flights, s.applied = nil, nil, nil, 0
}

func (s *server) pause(d int64) {
	s.w.tracef("pause    %d for %d", s.id, d)
	s.pausedUntil = max(s.pausedUntil, s.w.now+d)
}

func (s *server) tick() {
	if s.core != nil && !s.disk.broken {
		if s.w.prof.retires && s.core.Status() == pacifica.Primary && !s.leased() {
			s.w.tracef("retire   %d: no lease", s.id)
			s.core.Retire()
		}
		s.core.Tick()
		s.drain()
	}
	s.later(s.clock.real(tickTime), s.tick)
}

// drain carries out what the core wants.
func (s *server) drain() {
	for s.core != nil {
		r := s.core.Ready()
		if r.Empty() {
			break
		}
		if !s.handle(&r) {
			return
		}
		if s.core != nil {
			s.core.Recycle(&r)
		}
	}
	s.checkView()
	if s.status() != pacifica.Primary {
		if s.w.bug("refuses-in-flight") {
			for _, f := range s.flights {
				s.w.hist.refused[f.id] = true
			}
		}
		s.flights, s.confirmed = nil, 0
		s.parting.Deposed()
	}
}

// handle carries out one Ready; false if the process died over it.
func (s *server) handle(r *pacifica.Ready) bool {
	w := s.w
	dies := func() bool {
		if w.chance(w.prof.dieInReady) && !w.healed && !w.fragile() {
			s.crash(w.chance(700))
			w.at(50+w.rand(600), s.restart)
			return true
		}
		return false
	}
	if r.Ballot != 0 {
		s.checkBallot(r.Ballot)
		if !w.bug("ballot-not-durable") {
			s.disk.ballot = r.Ballot
		}
		if dies() {
			return false
		}
	}
	if n := len(r.Append); n > 0 {
		rs := make([]record, n)
		for i, e := range r.Append {
			rs[i] = record{entry: e, committed: r.Committed, last: i == n-1}
		}
		s.disk.append(rs)
		s.syncLog()
		if dies() {
			return false
		}
	}
	for i := range r.Messages {
		if m := &r.Messages[i]; m.Type == pacifica.MsgSnapshot && m.Tip != 0 {
			s.w.fail("divergence", "server %d takes what %d committed as decree %d for another mutation", s.id, m.To, m.Prev)
		}
		s.send(&r.Messages[i])
		if i == 0 && dies() {
			return false
		}
	}
	primary := s.core.Status() == pacifica.Primary
	for i := range r.Commit {
		s.apply(&r.Commit[i], primary)
	}
	if primary && len(r.Commit) > 0 {
		s.w.checkCommit(s)
		for i := range r.Commit {
			s.answer(&r.Commit[i], r.Acknowledge)
		}
	}
	for _, ch := range r.Changes {
		s.change(ch)
	}
	if r.Fetch != nil {
		s.startFetch(*r.Fetch)
	}
	return true
}

// syncLog makes what is pending durable, a batch at a time.
func (s *server) syncLog() {
	if s.disk.syncing || s.disk.stuck || s.disk.broken || len(s.disk.pending) == 0 {
		return
	}
	s.disk.syncing = true
	n := len(s.disk.pending)
	delay := 1 + s.w.rand(s.w.prof.syncDelay)
	if s.disk.slowUntil > s.w.now {
		delay += s.w.rand(200)
	}
	inc, writes := s.incarnation, s.writes
	s.w.at(delay, func() {
		if inc != s.incarnation || writes != s.writes || !s.up {
			return
		}
		rs := s.disk.synced(n)
		s.disk.syncing = false
		s.syncLog()
		s.arrive(inc, func() { s.persisted(rs) })
	})
}

func (s *server) persisted(rs []record) {
	if s.core == nil || s.disk.broken {
		return
	}
	for i := range rs {
		if rs[i].last {
			s.core.Persisted(rs[i].entry.Ballot, rs[i].entry.Decree)
		}
	}
	s.drain()
}

func (s *server) send(m *pacifica.Message) {
	s.promised = max(s.promised, m.Ballot)
	to := int(m.To)
	if s.w.opt.Trace != nil {
		s.w.tracef("send     %s", describe(m))
	}
	if (s.w.net.cut[s.id][to] || !s.w.servers[to].up) && m.Type != pacifica.MsgAck && s.w.chance(300) {
		s.later(1+s.w.rand(20), func() {
			if s.core != nil {
				s.core.Unreachable(pacifica.NodeID(to))
			}
		})
	}
	for i := range m.Entries {
		if n := int64(len(m.Entries[i].Payload)); s.w.prof.frame > 0 && n > payloadSize+s.w.prof.frame {
			if s.upgraded {
				s.w.fail("frame", "server %d sends decree %d of %d bytes, more than any message can have", s.id, m.Entries[i].Decree, n)
			}
			s.w.tracef("too large %s", describe(m))
			return
		}
	}
	c := *m
	c.Entries = append([]pacifica.Entry(nil), m.Entries...) // Recycle takes them back
	s.w.send(m.Type.String(), s.id, to, func() {
		t := s.w.servers[to]
		t.arrive(-1, func() { t.receive(c) })
	})
}

func (s *server) receive(m pacifica.Message) {
	if s.w.opt.Trace != nil {
		s.w.tracef("receive  %s", describe(&m))
	}
	if s.disk.broken {
		return
	}
	if s.core == nil {
		if !s.mayCreate || s.making || m.Role != pacifica.Learner || m.Type == pacifica.MsgAck {
			return
		}
		s.create()
	}
	s.core.Step(m)
	s.drain()
}

// create makes an empty replica.
func (s *server) create() {
	s.mayCreate, s.wiped = false, false
	s.disk.exists, s.disk.ballot = true, s.createBallot
	s.core = pacifica.New(s.options(), s.createBallot, 0, nil)
	s.core.SetMinMembers(s.w.prof.minMembers)
	s.w.tracef("create   %d: %v", s.id, s.core)
}

// apply gives a committed entry to the store.
func (s *server) apply(e *pacifica.Entry, primary bool) {
	if e.Decree != s.applied+1 {
		s.w.fail("commit order", "server %d applies decree %d after %d", s.id, e.Decree, s.applied)
	}
	s.w.hist.apply(s.w, s, e, primary)
	s.applied = e.Decree
}

// answer tells the client that its write is committed, or, if ok is false, nothing.
func (s *server) answer(e *pacifica.Entry, ok bool) {
	for len(s.flights) > 0 && s.flights[0].decree <= e.Decree {
		f := s.flights[0]
		s.flights = s.flights[1:]
		if f.decree == e.Decree && ok {
			s.w.acknowledged(s, &f, e)
		}
	}
}

// startFetch fetches a checkpoint and installs it: a copy of the primary's store, flushed.
func (s *server) startFetch(f pacifica.Fetch) {
	w := s.w
	w.stats.Fetches++
	g := &fetching{f}
	s.fetch = g
	src := w.servers[int(f.From)]
	fail := func() {
		w.tracef("fetch    %d: failed", s.id)
		s.installed(g, 0, false)
	}
	s.later(w.delay(w.prof.late), func() {
		if !src.up || src.pausedUntil > w.now || src.core == nil || w.net.cut[s.id][src.id] || w.net.cut[src.id][s.id] {
			s.later(w.rand(100), fail)
			return
		}
		src.flush()
		decree, swept := src.applied, src.swept
		src.pin = decree + 1
		w.tracef("fetch    %d: checkpoint of decree %d from %d", s.id, decree, src.id)
		copying := 5 + w.rand(w.prof.fetchTime)
		if w.manual {
			copying += w.prof.fetchTime
		}
		s.later(copying, func() {
			if src.pin == decree+1 {
				src.pin = 0
			}
			if w.chance(150) || w.net.cut[src.id][s.id] || decree <= s.applied && !f.Divergent {
				fail()
				return
			}
			s.swept = s.swept || swept
			s.install(g, decree)
		})
	})
}

// install first voids the log, then puts the checkpoint in the store's place.
func (s *server) install(g *fetching, decree int64) {
	w := s.w
	voidLog := func() {
		s.disk.append([]record{{entry: pacifica.Entry{Decree: decree}, reset: true}})
		s.disk.synced(len(s.disk.pending))
		s.disk.syncing = false
		s.writes++
	}
	swap := func() {
		s.w.stats.Installs++
		s.disk.flushed, s.applied = decree, decree
		s.unmarked = w.bug("split-forgets-mark")
		w.checkMembers()
		s.w.tracef("install  %d: decree %d", s.id, decree)
	}
	first, second := voidLog, swap
	if s.w.bug("store-before-log") {
		first, second = swap, voidLog
	}
	first()
	if w.chance(w.prof.dieInInstall) && !w.healed && !w.fragile() {
		s.crash(true)
		w.at(50+w.rand(300), s.restart)
		return
	}
	s.later(1+s.w.rand(10), func() {
		if s.fetch != g {
			return
		}
		second()
		s.installed(g, decree, true)
	})
}

func (s *server) installed(g *fetching, decree int64, ok bool) {
	if s.fetch != g || s.core == nil {
		return
	}
	s.fetch = nil
	s.core.Installed(decree, ok)
	s.drain()
}

// flush makes the store's state durable.
func (s *server) flush() { s.disk.flushed = max(s.disk.flushed, s.applied) }

// cutLog drops log entries that are no longer needed.
func (s *server) cutLog() {
	if s.core == nil {
		return
	}
	to := min(s.disk.flushed+1, s.core.Retain())
	if s.pin > 0 {
		to = min(to, s.pin)
	}
	s.disk.now.cutBelow(to)
	s.disk.durable.cutBelow(to)
}

func (s *server) restart() {
	if !s.up {
		s.start()
	}
}

func describe(m *pacifica.Message) string {
	t := fmt.Sprintf("%v %d->%d b%d", m.Type, m.From, m.To, m.Ballot)
	if m.Signature != 0 {
		t += fmt.Sprintf(" sig %d.%d", m.Signature>>32, m.Signature&0xffffffff)
	}
	switch {
	case m.Reject:
		t += " reject"
	case m.Type == pacifica.MsgAck:
		t += fmt.Sprintf(" %v prepared %d committed %d", m.Role, m.Prepared, m.Commit)
		if m.Gap {
			t += " gap"
		}
		if m.Busy {
			t += " busy"
		}
	default:
		t += fmt.Sprintf(" %v base %d prev %d commit %d last %d", m.Role, m.Base, m.Prev, m.Commit, m.Last)
		for _, e := range m.Entries {
			t += fmt.Sprintf(" %d#%d", e.Decree, idOf(e.Payload))
		}
	}
	return t
}

func configText(c pacifica.Config) string {
	t := fmt.Sprintf("b%d primary %d", c.Ballot, c.Primary)
	for i, s := range c.Secondaries {
		if i == 0 {
			t += " secondaries"
		}
		t += fmt.Sprintf(" %d", s)
	}
	return t
}
