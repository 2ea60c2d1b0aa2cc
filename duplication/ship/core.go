package ship

import (
	"maps"
	"slices"
)

// Core is the state machine. It is not safe for concurrent use.
type Core struct {
	opt  Options
	mode Mode
	now  int64

	leading                     bool
	told                        bool // the meta has said what it persisted since this replica leads
	committed, acked, persisted int64
	// had is the last decree that this replica had when it began to lead, or has acknowledged since: no later one can be persisted while
	// it leads. lostAt is one that is, or 0. Both are of the present leadership, or of the last one.
	had, lostAt int64
	serial      uint64 // the last ID of a batch or read

	// What was read and isn't acknowledged.
	next    int64 // the decree to be read next
	reading uint64
	order   []pending
	lanes   map[int32]*lane
	bytes   int64
	// readAfter, sendAfter and confirmAfter are the ticks before which nothing is read, sent or confirmed.
	readAfter, sendAfter, confirmAfter int64
	readFails                          int

	boot   boot
	booted int64 // the decree of the last bootstrap that was done since this replica leads, or Unknown

	skippedDecrees, skippedOps, gaps int64
}

// pending is a decree that was read; left are its operations that aren't answered.
type pending struct {
	decree int64
	left   int
}

// boot is a bootstrap.
type boot struct {
	stage bootStage
	id    uint64 // while it is asked for or runs
	at    int64  // the decree whose state it brings at least, while it runs
	after int64  // the tick before which it isn't begun
	fails int
	begun int64
}

type bootStage int

const (
	bootNone   bootStage = iota
	bootWanted           // to be asked for
	bootAsked
	bootRunning
)

// New returns a Core that leads nothing. persisted is the decree that the meta has, or Unknown.
func New(opt Options, persisted int64) *Core {
	return &Core{opt: opt, persisted: persisted, acked: persisted, booted: Unknown}
}

// Configure says what the operator wants. A pause ends a bootstrap: what it keeps on the disk might be kept for long.
func (c *Core) Configure(m Mode) {
	if m.Paused {
		c.bootFailed()
	}
	if planted("pause-drops") && m.Paused && !c.mode.Paused {
		c.forget()
	}
	c.mode = m
}

// Lead tells that this replica is the primary, has committed everything up to a decree, and has entries up to last. It is called
// once for each time that it becomes the primary.
func (c *Core) Lead(committed, last int64) {
	c.Resign()
	c.leading = true
	c.committed, c.had, c.lostAt = committed, last, 0
	if !planted("no-fence") {
		c.sendAfter = c.now + c.opt.Timeout + c.opt.Linger
	}
	c.acked = c.persisted
	if planted("starts-at-committed") {
		c.acked = max(c.acked, committed)
	}
	c.next = c.acked + 1
}

// LeadAgain is Lead of a primary that has resigned though no other one can have led since: its lease was over for a while. What it has
// lost is still lost, and what was written meanwhile doesn't hide that.
func (c *Core) LeadAgain(committed int64) {
	lostAt := c.lostAt
	if planted("lapse-forgets") {
		c.had, lostAt = committed, 0
	}
	c.Lead(committed, c.had)
	c.lostAt = lostAt
}

// Resign tells that this replica isn't the primary any more, or that nobody can say whether it is.
func (c *Core) Resign() {
	c.leading, c.told = false, false
	c.forget()
	c.acked, c.booted = c.persisted, Unknown
	c.boot = boot{begun: c.boot.begun}
}

// forget drops what was read. Answers to what was sent or asked before count no more.
func (c *Core) forget() {
	c.order, c.lanes, c.bytes, c.reading = nil, nil, 0, 0
	c.readAfter, c.readFails = 0, 0
}

// again drops what was read, and goes on behind what is acknowledged once nothing that was sent can be
// applied any more.
func (c *Core) again() {
	for _, l := range c.lanes {
		c.sendAfter = max(c.sendAfter, l.until)
		if l.flying > 0 {
			c.sendAfter = max(c.sendAfter, l.deadline+c.opt.Linger)
		}
	}
	c.forget()
	c.next = c.acked + 1
}

// Reshape tells that operations have other lanes from now on: what was read must be read again, and a bootstrap
// begun anew.
func (c *Core) Reshape() {
	if c.leading {
		c.again()
		c.bootFailed()
	}
}

// Resize changes Options.Window; a read asks for no more than that.
func (c *Core) Resize(window int64) { c.opt.Window = window }

// Commit tells how far the log is committed.
func (c *Core) Commit(decree int64) { c.committed = max(c.committed, decree) }

// Persisted tells what the meta has persisted, or Unknown. since: it was asked since this replica leads, and no other one has led up to
// now, when the answer is there. The caller looks at the lease for that, after the answer came: a primary that stood still may
// hear of another one's progress before it hears of the other one. What
// one that led before has had persisted decides where the duplication goes on, or begins. Answers may come late. Nothing is sent before such an
// answer: a child of this partition may send what is later as soon as the meta has persisted the cut.
//
// What is persisted was committed, and each later primary has it. One that surely leads and hadn't has lost writes, and what is written
// instead would be taken for sent: it sends nothing until another one may have led.
func (c *Core) Persisted(decree int64, since bool) {
	first := c.leading && since && !c.told
	c.told = c.leading && (c.told || since)
	if planted("lost-by-committed") {
		c.had = max(c.had, c.committed)
	}
	if c.leading && since && decree > c.had && c.lostAt == 0 {
		c.lostAt = decree
		c.forget()
		c.boot = boot{begun: c.boot.begun}
	}
	switch {
	case decree > c.persisted || planted("late-persisted"):
		c.persisted = decree
		if c.acked < decree && (c.boot.stage == bootNone || c.acked == Unknown) {
			// Another primary led meanwhile.
			c.acked, c.boot = decree, boot{begun: c.boot.begun}
			c.again()
		}
	case first && c.persisted == Unknown && c.mode.Bootstrap:
		c.wantBoot()
	case first && c.persisted == Unknown:
		c.acked = c.committed
		c.had = max(c.had, c.acked)
		c.next = c.acked + 1
	}
}

// started tells whether there is a persisted decree to go on from, and it is the present one.
func (c *Core) started() bool {
	return (c.told || planted("untold")) && c.persisted != Unknown || planted("unstarted")
}

// lacks tells whether this replica has lost what the remote has.
func (c *Core) lacks() bool { return c.lostAt != 0 && !planted("lost-goes-on") }

// mustCopy tells whether nothing counts before a bootstrap is done.
func (c *Core) mustCopy() bool { return c.mode.Copies && c.booted == Unknown && !planted("no-copy") }

// Loaded answers a Read. Entries without a gap follow what was read before; the first one that doesn't
// is where the log goes on.
func (c *Core) Loaded(id uint64, es []Entry) {
	if id != c.reading && !planted("late-read") || !c.leading {
		return
	}
	c.reading = 0
	if len(es) == 0 {
		c.failedRead()
		return
	}
	c.readFails = 0
	for _, e := range es {
		if e.Decree > c.committed && !planted("ships-uncommitted") {
			return
		}
		if e.Decree > c.next && !planted("passes-gap") {
			c.cut(e.Decree)
			return
		}
		if e.Decree < c.next {
			continue
		}
		c.next = e.Decree + 1
		c.order = append(c.order, pending{e.Decree, len(e.Ops)})
		for _, op := range e.Ops {
			c.lane(op.Lane).ops = append(c.lane(op.Lane).ops, op)
			c.bytes += op.size()
		}
	}
	c.advance()
}

// Unread answers a Read that failed.
func (c *Core) Unread(id uint64) {
	if id == c.reading && c.leading {
		c.reading = 0
		c.failedRead()
	}
}

func (c *Core) failedRead() {
	c.readFails++
	c.readAfter = c.now + c.backoff(c.readFails)
}

// Cut answers a Read whose first entry is gone; first is where the log begins now.
func (c *Core) Cut(id uint64, first int64) {
	if c.leading && id == c.reading {
		c.reading = 0
		c.cut(first)
	}
}

// Yielded tells that the log below first isn't held any more, as it took too much room.
func (c *Core) Yielded(first int64) {
	switch {
	case !c.leading, c.mode.Waits:
		// A read will tell, once there is one.
	case c.lacks():
	case c.boot.stage != bootNone || c.persisted == Unknown && !planted("unstarted"):
		// A bootstrap goes on, although another one follows if the log behind it is gone.
	case first > c.next:
		c.reading = 0
		c.cut(first)
	}
}

func (c *Core) cut(first int64) {
	switch {
	case first <= c.next:
		c.failedRead() // it is there
	case c.mode.Skip && !c.mustCopy():
		c.gaps++
		c.skippedDecrees += first - c.next
		if !planted("skip-no-fence") {
			// Some of it may be under way, from a primary before. A child of this partition goes on when it is confirmed.
			c.confirmAfter = max(c.confirmAfter, c.sendAfter)
		}
		c.order = append(c.order, pending{decree: first - 1})
		c.next = first
		c.advance()
	default:
		c.gaps++
		c.again()
		c.wantBoot()
	}
}

func (c *Core) wantBoot() {
	if c.boot.stage == bootNone {
		c.boot.stage = bootWanted
	}
}

// BootBegun tells that a bootstrap brings the remote to the state of a decree, or a later one: the log stays from there
// on. It may be called again with a later one.
func (c *Core) BootBegun(id uint64, decree int64) {
	if !c.BootLives(id) {
		return
	}
	if c.boot.stage == bootAsked {
		c.boot.begun++
	}
	c.boot.stage, c.boot.at = bootRunning, max(c.boot.at, decree)
	if planted("boot-counts-early") {
		c.acked = max(c.acked, decree)
	}
}

// BootLives tells whether a bootstrap still counts. One that doesn't must send nothing more.
func (c *Core) BootLives(id uint64) bool {
	return (c.boot.stage == bootAsked || c.boot.stage == bootRunning) && (id == c.boot.id || planted("any-boot"))
}

// BootSkipped counts an operation of a bootstrap that the remote refused, and that was left out as the mode says.
func (c *Core) BootSkipped(id uint64) {
	if c.BootLives(id) {
		c.skippedOps++
	}
}

// BootDone tells that the remote has the state of the decree that BootBegun told: what was sent is answered, what the
// source lacks is gone there.
func (c *Core) BootDone(id uint64) {
	if c.BootLives(id) && c.boot.stage == bootRunning {
		c.acked, c.booted = max(c.acked, c.boot.at), c.boot.at
		c.had = max(c.had, c.boot.at)
		if planted("boot-reads-on") {
			c.next = max(c.next, c.committed+1)
		} else {
			c.next = c.acked + 1
		}
		c.boot = boot{begun: c.boot.begun}
	}
}

// BootFailed tells that the bootstrap ended before that. Another one is begun later.
func (c *Core) BootFailed(id uint64) {
	if c.BootLives(id) {
		c.bootFailed()
	}
}

func (c *Core) bootFailed() {
	if c.boot.stage != bootAsked && c.boot.stage != bootRunning {
		return
	}
	if c.boot.stage == bootRunning && !planted("boot-no-fence") {
		// What it sent may be under way.
		c.sendAfter = max(c.sendAfter, c.now+c.opt.Timeout+c.opt.Linger)
	}
	c.boot.fails++
	c.boot = boot{stage: bootWanted, after: c.now + c.backoff(c.boot.fails), fails: c.boot.fails, begun: c.boot.begun}
}

// Tick passes time.
func (c *Core) Tick() {
	c.now++
	for _, l := range c.lanes {
		if l.flying > 0 && c.now >= l.deadline {
			c.lost(l)
		}
	}
}

// Ready returns what is to be done now, once.
func (c *Core) Ready() (r Ready) {
	if !c.leading || c.mode.Paused || c.lacks() || c.mode.Waits && !planted("no-wait") {
		return r
	}
	if c.mustCopy() && c.told && c.boot.stage == bootNone {
		c.again()
		c.wantBoot()
	}
	switch c.boot.stage {
	case bootWanted:
		if c.now >= c.boot.after && c.now >= c.sendAfter {
			c.serial++
			c.boot.stage, c.boot.id, r.Bootstrap = bootAsked, c.serial, c.serial
		}
		return r
	case bootAsked, bootRunning:
		return r
	case bootNone:
	}
	if !c.started() {
		return r
	}
	if c.now >= c.sendAfter {
		for _, n := range slices.Sorted(maps.Keys(c.lanes)) {
			if b, ok := c.lanes[n].take(c); ok {
				r.Send = append(r.Send, b)
			}
		}
	}
	room := c.bytes == 0 || c.bytes+c.readSize() <= c.opt.Window || planted("no-window")
	to := c.committed
	if planted("ships-uncommitted") {
		to += 5
	}
	if c.reading == 0 && c.next <= to && room && c.now >= c.readAfter {
		c.serial++
		c.reading = c.serial
		r.Read = &Read{ID: c.serial, From: c.next, To: to, Bytes: c.readSize()}
	}
	return r
}

func (c *Core) readSize() int64 { return min(c.opt.Read, c.opt.Window) }

// Confirm returns the decree that the meta shall persist; false: it has it, or there is none.
func (c *Core) Confirm() (int64, bool) {
	return c.acked, c.leading && c.acked != Unknown && c.acked > c.persisted && c.now >= c.confirmAfter && !c.mustCopy() && !c.lacks()
}

// Hold returns the first decree of the log that must stay: Unknown if it isn't known yet.
func (c *Core) Hold() int64 {
	switch {
	case c.boot.stage == bootRunning && !planted("boot-holds-late"):
		return c.boot.at + 1
	case c.boot.stage != bootNone:
		return c.committed + 1 // what is there is of no use
	case c.persisted != Unknown && planted("releases-unpersisted"):
		return c.acked + 1
	case c.persisted != Unknown:
		return c.persisted + 1
	case c.leading && c.acked != Unknown:
		return c.acked + 1
	}
	return Unknown
}

// Status tells how far it is.
func (c *Core) Status() Status {
	s := Status{Reason: c.reason(), Acked: c.acked, Persisted: c.persisted, Committed: c.committed, Bytes: c.bytes,
		Booting: c.boot.stage != bootNone, SkippedDecrees: c.skippedDecrees, SkippedOps: c.skippedOps, Gaps: c.gaps, Bootstraps: c.boot.begun, Booted: c.booted}
	if c.leading && c.lostAt != 0 {
		s.Lost, s.Had = c.lostAt, c.had
	}
	for _, l := range c.lanes {
		if l.flying > 0 {
			s.Flying++
		}
	}
	return s
}

func (c *Core) reason() Reason {
	var refusing, failing, waiting bool
	for _, l := range c.lanes {
		refusing = refusing || l.refused
		failing = failing || l.fails > 0
		waiting = waiting || l.silent
	}
	switch {
	case !c.leading:
		return NotLeading
	case c.lacks():
		return Rewound
	case c.mode.Paused:
		return Paused
	case c.mode.Waits:
		return WaitsForParent
	case c.boot.stage == bootWanted, c.boot.stage == bootAsked:
		return WantsBoot
	case c.boot.stage == bootRunning:
		return Booting
	case !c.started():
		return Starting
	case refusing:
		return Refusing
	case failing:
		return Failing
	case c.readFails > 0:
		return ReadFailing
	case waiting || c.now < c.sendAfter && c.acked < c.committed:
		return Waiting
	case c.acked < c.committed:
		return Shipping
	}
	return UpToDate
}

// backoff is how long to wait after that many failures in a row.
func (c *Core) backoff(fails int) int64 {
	return min(c.opt.RetryMax, c.opt.RetryMin<<min(fails-1, 20))
}

// advance moves what is acknowledged over decrees of which nothing is left.
func (c *Core) advance() {
	n := 0
	for n < len(c.order) && (c.order[n].left <= 0 || planted("confirms-in-flight")) {
		c.acked = c.order[n].decree
		c.had = max(c.had, c.acked)
		n++
	}
	c.order = slices.Delete(c.order, 0, n)
}

// answered takes operations off the decrees that they belong to.
func (c *Core) answered(ops []Op) {
	for i := range ops {
		c.bytes -= ops[i].size()
		at, ok := slices.BinarySearchFunc(c.order, ops[i].Decree, func(p pending, d int64) int {
			switch {
			case p.decree < d:
				return -1
			case p.decree > d:
				return 1
			}
			return 0
		})
		if ok {
			c.order[at].left--
			if planted("decree-by-one-lane") {
				c.order[at].left = 0
			}
		}
	}
	c.advance()
}
