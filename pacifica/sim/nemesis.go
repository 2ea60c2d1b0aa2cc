package sim

import "pegasus/pacifica"

// profile is what a run is like. Probabilities are in thousandths.
type profile struct {
	servers, replicas int
	duration          int64

	messageFaults
	groupFaults
	syncDelay         int64
	fetchTime         int64
	readTime          int64
	clientTime, burst int64
	padding           int64
	inFlight          int64
	sendBytes         int64
	// A prepare that carries an entry with more than frame bytes of padding never arrives, and
	// of a thousand writes large are such. With upgrades, servers know of that from when they
	// were started again, and neither propose nor send such an entry.
	frame, large int64
	upgrades     bool
	nemesisTime  int64
	// least is how few members take no write.
	minMembers int
	// retires: a primary whose lease ran out retires, besides not serving.
	retires bool

	quiet         int
	dieInReady    int
	dieInInstall  int
	flushes, cuts int
	// weights of the faults
	weights [faults]int64
}

// messageFaults is what happens to messages.
type messageFaults struct {
	drop, double, late int
	delay, lateBy      int64
}

// groupFaults is what happens to the group: what the meta does besides what it must, and learners
// that die.
type groupFaults struct {
	refuses           int
	discards          int
	moves, drops      int
	extra             int
	replacesRestarted int
	learnerDies       int
	addDelay          int64
	cureTime          int64
}

const (
	faultCrash = iota
	faultPower
	faultCrashAll
	faultCut
	faultCutMeta
	faultSplit
	faultPause
	faultSlowDisk
	faultClock
	faultMeta
	faultWipe
	faultFailover
	faultMendNet
	faultIsolate
	faultHalf
	faultCrown
	faultBump
	faultKick
	faults
)

// randomProfile draws what the run is like: each run has some of all faults, few have all.
func randomProfile(w *world) profile {
	one := func(xs ...int64) int64 { return xs[w.rng.IntN(len(xs))] }
	p := profile{
		servers:  3 + w.rng.IntN(4),
		duration: 5000 + w.rng.Int64N(10000),
		messageFaults: messageFaults{
			drop:   int(one(0, 0, 10, 50, 200)),
			double: int(one(0, 0, 20, 200)),
			late:   int(one(0, 10, 50, 150)),
			delay:  one(2, 5, 20),
			lateBy: one(100, 1000, 3000),
		},
		syncDelay: one(1, 5, 30),
		fetchTime: one(10, 100, 600),
		readTime:  one(1, 10, 300),

		clientTime:  one(5, 20, 80),
		burst:       one(1, 2, 5),
		padding:     one(1, 100),
		inFlight:    one(4, 16, 64),
		sendBytes:   one(150, 300, 600, 100000),
		nemesisTime: one(60, 200, 600, 1500),
		retires:     w.rng.IntN(2) == 0,

		quiet:        int(one(0, 0, 5, 30)),
		dieInReady:   int(one(0, 0, 1, 5)),
		dieInInstall: int(one(0, 100, 400)),
		flushes:      int(one(50, 300, 800)),
		cuts:         int(one(0, 100, 500, 900)),
		groupFaults: groupFaults{
			refuses:           int(one(0, 0, 100, 500)),
			discards:          int(one(0, 300, 900)),
			moves:             int(one(0, 0, 20, 150)),
			drops:             int(one(0, 0, 20, 100)),
			extra:             int(one(0, 0, 50)),
			replacesRestarted: int(one(0, 100, 900)),
			learnerDies:       int(one(0, 0, 100, 500)),
			cureTime:          one(5, 50),
		},
	}
	p.replicas = min(p.servers, 2+w.rng.IntN(4))
	if w.opt.Servers > 0 {
		p.servers = w.opt.Servers
		p.replicas = min(p.replicas, p.servers)
	}
	if w.opt.Replicas > 0 {
		p.replicas = min(w.opt.Replicas, p.servers)
	}
	if w.opt.Duration > 0 {
		p.duration = w.opt.Duration
	}
	p.minMembers = int(one(1, int64(p.replicas/2+1)))
	p.frame, p.large, p.upgrades = 1000, one(0, 0, 0, 0, 5, 20), w.rng.IntN(2) == 0
	for i := range p.weights {
		p.weights[i] = one(0, 1, 1, 3, 10)
	}
	p.focus(w.rng.IntN(9))
	return p
}

// focus makes some kind of trouble likely that takes several things at once.
func (p *profile) focus(kind int) {
	more := func(faults ...int) {
		for i := range p.weights {
			p.weights[i] = min(p.weights[i], 2)
		}
		for _, f := range faults {
			p.weights[f] = 20
		}
	}
	switch kind {
	case 0: // old primaries come back with more than the group has
		more(faultIsolate, faultHalf)
		p.quiet, p.cuts, p.flushes, p.dieInInstall, p.nemesisTime, p.inFlight = 30, 900, 800, 500, 300, 64
	case 1: // configurations arrive late
		more(faultCrown)
		p.late, p.lateBy, p.nemesisTime = 50, 1000, 400
	case 2: // ballots change while members learn
		more(faultBump, faultCrash)
		p.drops, p.cureTime, p.sendBytes, p.delay, p.syncDelay, p.clientTime, p.nemesisTime = 100, 5, 150, 20, 30, 5, 200
		p.replicas, p.weights[faultBump] = min(p.servers, max(p.replicas, 4)), 60
	case 3: // checkpoints are offered late
		more(faultWipe, faultIsolate, faultCrash)
		p.late, p.lateBy, p.double, p.cuts, p.flushes, p.clientTime, p.fetchTime = 100, 1000, 200, 900, 800, 5, 10
	case 5: // new primaries are slow to learn what is committed, and members join meanwhile
		more(faultFailover, faultHalf, faultKick)
		p.servers = max(p.servers, 4)
		p.replicas, p.cureTime, p.delay, p.sendBytes, p.drop, p.nemesisTime = p.servers-1, 5, 20, 150, 50, 300
	case 4: // learners die when they are about to become members
		more(faultCrash, faultKick)
		p.nemesisTime, p.weights[faultKick] = 200, 60
		p.learnerDies, p.late, p.lateBy, p.cuts, p.flushes, p.drops, p.sendBytes, p.addDelay = 700, 100, 300, 900, 300, 150, 150, 300
	}
}

// nemesis does something bad, and comes again.
func (w *world) nemesis() {
	if w.healed {
		return
	}
	total := int64(0)
	for _, x := range w.prof.weights {
		total += x
	}
	k := w.rand(total)
	for i, x := range w.prof.weights {
		if k < x {
			w.fault(i)
			break
		}
		k -= x
	}
	w.at(1+w.rand(2*w.prof.nemesisTime), w.nemesis)
}

func (w *world) anyServer() *server { return w.servers[1+w.rand(int64(w.prof.servers))] }

func (w *world) fault(kind int) {
	if w.fragile() && kind != faultSlowDisk && kind != faultMendNet {
		return
	}
	s := w.anyServer()
	away := 20 + w.rand(300)
	if w.chance(200) {
		away += w.rand(2000)
	}
	switch kind {
	case faultCrash, faultPower:
		w.crash(s, kind == faultPower, away)
	case faultFailover:
		if w.meta.cfg.Ballot > 0 {
			w.crash(w.servers[w.meta.cfg.Primary], w.chance(500), away)
		}
	case faultCrashAll:
		power := w.chance(500)
		for _, t := range w.servers[1:] {
			w.crash(t, power, w.rand(away))
		}
	case faultCut:
		w.cutFor(s.id, w.anyServer().id, away)
	case faultCutMeta:
		if w.chance(500) {
			w.cutFor(s.id, 0, 2*away)
		}
		if w.chance(500) {
			w.cutFor(0, s.id, 2*away)
		}
	case faultSplit:
		side := w.rng.Uint64()
		for i := range w.net.cut {
			for j := range w.net.cut {
				if side>>i&1 != side>>j&1 {
					w.cutFor(i, j, 2*away)
				}
			}
		}
	case faultPause:
		s.pause(w.rand(1500))
	case faultSlowDisk:
		s.disk.slowUntil = w.now + 2*away
	case faultClock:
		s.clock.set(w.now, w.rand(2*maxRateShift+1)-maxRateShift)
		if w.chance(200) {
			w.meta.clock.set(w.now, w.rand(2*maxRateShift+1)-maxRateShift)
		}
	case faultMeta:
		w.meta.move()
	case faultWipe:
		if w.mayWipe(s) {
			if s.up {
				s.crash(true)
			}
			s.wipe()
			w.at(away, s.restart)
		}
	case faultMendNet:
		w.mendNet()
	case faultIsolate:
		// The primary is taken for dead, and comes back.
		if p := int(w.meta.cfg.Primary); p > 0 {
			d := graceTime + w.rand(600)
			for i := range w.net.cut {
				w.cutFor(i, p, d)
				w.cutFor(p, i, d)
			}
			if w.chance(500) {
				w.leaveTail(p, d)
			}
		}
	case faultCrown:
		// One becomes the primary, doesn't hear of it, is taken for dead and replaced, comes
		// back, and hears of it then.
		if n := int64(len(w.meta.cfg.Secondaries)); n > 0 {
			t := int(w.meta.cfg.Secondaries[w.rand(n)])
			w.net.slowPush = t
			if w.meta.moveTo(t) {
				w.cutFor(0, t, graceTime+w.rand(200))
				w.cutFor(t, 0, graceTime+w.rand(200))
			}
			w.net.slowPush = 0
		}
	case faultKick:
		// A sound member is taken out, and asked to come back.
		cfg := w.meta.cfg
		if n := len(cfg.Secondaries); n > 0 {
			if out := int(cfg.Secondaries[w.rand(int64(n))]); w.meta.unaware[out] == 0 {
				w.meta.persist(w.meta.without(cfg.Primary, func(n int) bool { return n == out }), "kick")
				w.meta.propose("add", int(cfg.Primary), out)
			}
		}
	case faultBump:
		w.bump(150)
	case faultHalf:
		// The primary dies when one secondary has what the other hasn't.
		cfg := w.meta.cfg
		if n := len(cfg.Secondaries); n > 1 {
			p := w.servers[cfg.Primary]
			w.cutFor(p.id, int(cfg.Secondaries[w.rand(int64(n))]), graceTime)
			w.at(10+w.rand(150), func() {
				if !w.healed && !w.fragile() {
					w.crash(p, w.chance(500), away+w.rand(2000))
				}
			})
		}
	}
}

// leaveTail lets the isolated primary p take some writes, and the others none, so that it
// comes back with more than the group has, and must fetch a checkpoint.
func (w *world) leaveTail(p int, d int64) {
	w.at(w.rand(100), func() { w.quietUntil = w.now + d + w.rand(1000) })
	w.at(d, func() {
		for _, s := range w.servers[1:] {
			if s.id != p && s.core != nil {
				s.flush()
				s.cutLog()
			}
		}
	})
}

// bump waits for a learner to catch up, and then has the ballot change for another reason.
func (w *world) bump(tries int) {
	cfg := w.meta.cfg
	if w.healed || w.fragile() || tries == 0 || cfg.Ballot == 0 {
		return
	}
	if p := w.servers[cfg.Primary]; p.status() == pacifica.Primary && len(cfg.Secondaries) > 0 {
		st := p.core.State()
		for _, l := range st.Learners {
			out := int(cfg.Secondaries[w.rand(int64(len(cfg.Secondaries)))])
			if l.Match >= st.Committed && st.Last > st.Committed && w.meta.unaware[out] == 0 {
				w.servers[l.Node].disk.slowUntil = w.now + 100
				w.meta.persist(w.meta.without(cfg.Primary, func(n int) bool { return n == out }), "bump")
				return
			}
		}
	}
	w.at(3, func() { w.bump(tries - 1) })
}

func (w *world) crash(s *server, power bool, away int64) {
	if s.up {
		s.crash(power)
		w.checkMembers()
		w.at(away, s.restart)
	}
}

func (w *world) cutFor(from, to int, d int64) {
	if from == to || w.net.cut[from][to] {
		return
	}
	w.tracef("cut      %d->%d for %d", from, to, d)
	w.net.cut[from][to] = true
	w.at(d, func() { w.net.cut[from][to] = false })
}

func (w *world) mendNet() {
	for i := range w.net.cut {
		clear(w.net.cut[i])
	}
}

// mayWipe: a disk may be lost while all other members are well. (Two faults at once can be
// more than two members survive: the meta promotes the one that lost its disk and hasn't
// said so yet, and takes out the one that is away.)
func (w *world) mayWipe(s *server) bool {
	cfg := w.meta.cfg
	if cfg.Ballot == 0 || w.fragile() {
		return false
	}
	if !cfg.Has(s.node()) {
		return !w.mayJoin(s)
	}
	for _, n := range append([]pacifica.NodeID{cfg.Primary}, cfg.Secondaries...) {
		t := w.servers[n]
		if t != s && (!t.up || t.pausedUntil > w.now || !w.meta.holds(t.id) || w.meta.local()-w.meta.nodes[n].beacon > 2*beaconTime) {
			return false
		}
	}
	w.mendNet()
	return len(cfg.Secondaries) > 0
}

// mayJoin tells whether a primary has perhaps asked the meta for s. If s loses what it
// acknowledged then, it becomes a member without anybody's knowing that it has nothing.
func (w *world) mayJoin(s *server) bool {
	for _, t := range w.servers[1:] {
		if t.core == nil {
			continue
		}
		for _, l := range t.core.State().Learners {
			if l.Node == s.node() {
				return true
			}
		}
	}
	return w.now < s.askedUntil
}

// fragile tells that the meta lists a server that has lost its disk.
func (w *world) fragile() bool {
	for _, s := range w.servers[1:] {
		if s.wiped && w.meta.cfg.Has(s.node()) {
			return true
		}
	}
	return false
}

// heal ends the faults. Within settleTime the group must be complete and take writes. A pause that
// is under way ends by itself: until then timers that it delayed fire late, and what they send
// is the last fault's.
func (w *world) heal() {
	w.tracef("heal")
	w.healed = true
	w.mendNet()
	p := &w.prof
	p.addDelay, p.drop, p.double, p.late, p.dieInReady, p.refuses, p.discards, p.delay, p.syncDelay = 0, 10, 0, 0, 0, 0, 0, 5, 5
	// A learner that gets one entry a message must be able to catch up with the clients.
	p.fetchTime, p.clientTime, p.burst, p.large = min(p.fetchTime, 100), 80, 1, 0
	w.meta.still = true
	last := w.now
	for _, s := range w.servers[1:] {
		s.disk.slowUntil = 0
		last = max(last, s.pausedUntil)
		w.at(w.rand(100), s.restart)
	}
	// Who learns all of it from the log, two entries a message, needs time.
	deadline := last + settleTime + 8*int64(len(w.hist.canon))
	var look func()
	target := int64(-1)
	look = func() {
		switch {
		case w.now >= deadline:
			w.fail("liveness", "long after the last fault: %s", w.describe())
		case target >= 0 && w.hist.acked > target && w.now > w.calm && w.well():
			w.done = true
			return
		case target < 0 && w.now > last && w.well():
			target, w.calm = w.hist.acked, w.now+calmTime
		}
		w.at(37, look)
	}
	look()
}

func (w *world) describe() string {
	t := ""
	for _, s := range w.servers[1:] {
		t += "\n  "
		if s.core == nil {
			t += "no replica"
		} else {
			t += s.core.String()
			for _, l := range s.core.State().Learners {
				t += " learner " + l.Node.String()
			}
			if p := s.core.Pending(); p != nil {
				t += " asks to " + p.Kind.String()
			}
		}
	}
	return t
}
