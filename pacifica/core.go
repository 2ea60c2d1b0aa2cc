package pacifica

import (
	"errors"
	"fmt"
)

// Errors of Propose.
var (
	ErrNotPrimary = errors.New("not the primary of the partition")
	ErrWindowFull = errors.New("too many mutations in flight")
)

// joinDistance is how close to the tip, in decrees, a learner must be before commits
// begin to wait for it.
const joinDistance = 32

// Core is one replica. It is not safe for concurrent use.
type Core struct {
	opt    Options
	status Status
	ballot int64
	cfg    Config

	// The window: entries with decrees first..last; those up to committed may be gone.
	// last is first+len(entries)-1.
	entries []Entry
	first   int64

	committed int64
	// persisted: everything up to here, as it stands in the window, is durable.
	persisted int64
	// verified: everything up to here is as the primary of ballot has it (followers).
	verified int64
	lastTS   int64

	// Primary.
	base       int64
	serveAfter int64
	peers      []*peer
	change     *Change
	nextSig    int64

	// refreshWait is how many ticks to wait before asking the meta for news again.
	refreshWait int

	// Followers.
	leader    NodeID
	signature int64
	fetching  bool
	// divergent: the fetch replaces a store that is ahead of the whole group.
	divergent bool
	owedAck   bool
	silent    int

	ready Ready
}

// peer is a follower as its primary sees it.
type peer struct {
	id        NodeID
	learner   bool
	joining   bool
	signature int64
	match     int64
	next      int64
	snapshot  bool
	down      bool
	// stalled counts ticks without progress while there is something to acknowledge,
	// quiet ticks without any answer, unsent ticks since the last message.
	stalled, quiet, unsent int
	sent                   []sentRange
	sentBytes              int64
	sentCommit             int64
}

type sentRange struct{ last, bytes int64 }

// New returns a replica that restarts Inactive with everything up to applied in its
// store, prepared entries after it (consecutive; the driver took them from the log and
// they are durable), and the highest ballot it made durable.
func New(opt Options, ballot, applied int64, prepared []Entry) *Core {
	c := &Core{opt: opt, ballot: ballot}
	c.reset(applied)
	for _, e := range prepared {
		if e.Decree != c.last()+1 || (len(c.entries) > 0 && e.Ballot < c.entries[len(c.entries)-1].Ballot) {
			break
		}
		c.entries = append(c.entries, e)
		c.lastTS = max(c.lastTS, e.Timestamp)
		c.ballot = max(c.ballot, e.Ballot)
	}
	c.persisted = c.last()
	return c
}

func (c *Core) reset(decree int64) {
	c.entries, c.first = nil, decree+1
	c.committed, c.persisted, c.verified = decree, decree, decree
}

func (c *Core) last() int64 { return c.first + int64(len(c.entries)) - 1 }

// at returns the entry of decree d, which must be in the window.
func (c *Core) at(d int64) *Entry { return &c.entries[d-c.first] }

// State returns a summary.
func (c *Core) State() State {
	s := State{Status: c.status, Ballot: c.ballot, Config: c.cfg, Committed: c.committed, Last: c.last(), Serving: c.Serving()}
	for _, p := range c.peers {
		if p.learner {
			s.Learners = append(s.Learners, LearnerState{p.id, p.match, p.joining, p.snapshot})
		}
	}
	return s
}

// Serving tells whether this is a primary that may answer reads, its lease permitting.
func (c *Core) Serving() bool { return c.status == Primary && c.committed >= c.serveAfter }

// Status returns the role.
func (c *Core) Status() Status { return c.status }

// Ballot returns the highest ballot known.
func (c *Core) Ballot() int64 { return c.ballot }

// Committed returns the commit point.
func (c *Core) Committed() int64 { return c.committed }

// Last returns the highest decree prepared.
func (c *Core) Last() int64 { return c.last() }

// Room returns how many more decrees Propose takes now.
func (c *Core) Room() int64 { return c.opt.MaxInFlight - (c.last() - c.committed) }

// Retain returns the lowest decree that a follower may still have to be sent from the log.
func (c *Core) Retain() int64 {
	d := c.committed + 1
	for _, p := range c.peers {
		if !p.snapshot {
			d = min(d, p.match+1)
		}
	}
	return d
}

// Ready returns what is to be done since the last call and forgets it.
func (c *Core) Ready() Ready {
	c.check()
	if c.owedAck && (c.status == Secondary || c.status == Learner) {
		c.sendAck(false)
	}
	c.owedAck = false
	r := c.ready
	r.Committed = c.committed
	c.ready = Ready{}
	return r
}

// Propose makes payload the next mutation. nowUS is the wall clock in microseconds; the
// timestamp that the mutation gets is larger than any before.
func (c *Core) Propose(nowUS int64, payload []byte) (Entry, error) {
	if c.status != Primary {
		return Entry{}, ErrNotPrimary
	}
	if c.Room() <= 0 {
		return Entry{}, ErrWindowFull
	}
	c.lastTS = max(nowUS, c.lastTS+1)
	e := Entry{Ballot: c.ballot, Decree: c.last() + 1, Timestamp: c.lastTS, Payload: payload}
	c.entries = append(c.entries, e)
	c.ready.Append = append(c.ready.Append, e)
	for _, p := range c.peers {
		c.fill(p)
	}
	return e, nil
}

// Persisted reports that the entry (ballot, decree), and all that was handed out before it,
// is durable.
func (c *Core) Persisted(ballot, decree int64) {
	if decree <= c.persisted || decree > c.last() || decree < c.first || c.at(decree).Ballot != ballot {
		return // replaced meanwhile, or dropped
	}
	c.persisted = decree
	switch c.status {
	case Primary:
		c.advance()
	case Secondary, Learner:
		c.owedAck = true
	}
}

// Installed reports the end of a Fetch: the store now holds everything up to decree, or,
// if ok is false, it was not changed.
func (c *Core) Installed(decree int64, ok bool) {
	if !c.fetching {
		return
	}
	c.fetching = false
	if ok && (decree >= c.committed || c.divergent) {
		c.reset(decree)
	}
	c.divergent = false
	c.owedAck = c.status == Learner
}

// Configure takes a configuration that the meta has persisted.
func (c *Core) Configure(cfg Config) {
	switch {
	case cfg.Ballot < c.ballot, c.fetching && cfg.Has(c.opt.Self):
		return // a member is never in the middle of a fetch
	case cfg.Ballot == c.ballot:
		// A restarted primary must not go on under a ballot in which its former self may
		// have prepared what it no longer knows.
		if c.status == Inactive && cfg.Primary == c.opt.Self && c.change == nil {
			c.cfg = cfg
			next := cfg
			next.Ballot++
			c.ask(Change{Kind: ChangeForceBallot, Node: c.opt.Self, Config: next})
		}
		return
	}
	switch {
	case cfg.Primary == c.opt.Self:
		c.lead(cfg)
	default:
		// A secondary waits for its primary's first message, which tells the base.
		c.setBallot(cfg.Ballot)
		if c.status != Learner || !cfg.HasSecondary(c.opt.Self) {
			c.retire()
		}
		c.cfg = cfg
	}
}

// Refused reports that the meta will not make the change that is asked for.
func (c *Core) Refused() {
	if c.change == nil {
		return
	}
	if c.change.Kind == ChangeAdd {
		c.dropPeer(c.change.Node)
	}
	c.change = nil
}

// Pending returns the change that the meta was asked for and has not answered, nil if none.
func (c *Core) Pending() *Change { return c.change }

// Retire makes the replica Inactive: it lost its lease, or it is being closed.
func (c *Core) Retire() { c.retire() }

func (c *Core) retire() {
	c.status = Inactive
	c.peers, c.change = nil, nil
	c.leader, c.signature = 0, 0
}

func (c *Core) setBallot(b int64) {
	if b > c.ballot {
		c.ballot = b
		c.ready.Ballot = b
	}
}

// lead makes this replica the primary of cfg, be it for the first time or after a change
// of the membership under it.
func (c *Core) lead(cfg Config) {
	again := c.status == Primary
	old := c.peers
	c.setBallot(cfg.Ballot)
	c.status, c.cfg, c.change = Primary, cfg, nil
	c.leader, c.signature, c.fetching = 0, 0, false
	c.base, c.verified = c.committed, c.committed
	if !again {
		c.serveAfter = c.last()
		c.nextSig = cfg.Ballot << 32
	}
	// What is prepared and not committed is prepared again under this ballot.
	for d := c.committed + 1; d <= c.last(); d++ {
		e := c.at(d)
		e.Ballot = c.ballot
		c.ready.Append = append(c.ready.Append, *e)
	}
	c.persisted = c.committed
	c.peers = nil
	for _, s := range cfg.Secondaries {
		if s != c.opt.Self && s != 0 {
			c.peers = append(c.peers, &peer{id: s, match: min(c.base, matchOf(old, s)), next: c.base + 1})
		}
	}
	if again {
		for _, p := range old {
			if p.learner && !cfg.Has(p.id) {
				p.joining = false
				p.sent, p.sentBytes = nil, 0
				p.match = min(p.match, c.base)
				p.next = p.match + 1
				c.peers = append(c.peers, p)
			}
		}
	}
	for _, p := range c.peers {
		c.send(p)
	}
	c.advance()
}

func matchOf(peers []*peer, id NodeID) int64 {
	for _, p := range peers {
		if p.id == id {
			return p.match
		}
	}
	return 0
}

// Tick passes one unit of time.
func (c *Core) Tick() {
	c.refreshWait = max(0, c.refreshWait-1)
	switch c.status {
	case Primary:
		c.tickPrimary()
	case Inactive:
		return
	default:
		c.silent++
		if c.silent >= c.opt.EjectTicks*2 {
			// The primary is gone; ask what the meta knows. A message of it changes nothing
			// here and a new configuration comes the same way.
			c.silent = 0
			c.refresh()
		}
	}
}

// refresh asks the meta for the current configuration, not too often.
func (c *Core) refresh() {
	if c.refreshWait == 0 {
		c.refreshWait = c.opt.ResendTicks
		c.ready.Changes = append(c.ready.Changes, Change{Kind: ChangeRefresh, Config: c.cfg})
	}
}

func (c *Core) ask(ch Change) {
	ch.Committed = c.committed
	c.change = &ch
	c.ready.Changes = append(c.ready.Changes, ch)
}

// commitTo moves the commit point to d and hands out what it passes.
func (c *Core) commitTo(d int64) {
	for c.committed < d {
		c.committed++
		c.ready.Commit = append(c.ready.Commit, *c.at(c.committed))
	}
	c.trim()
}

// trim lets go of entries that are committed, keeping the last so that State and the
// ballot rule of New see the same.
func (c *Core) trim() {
	n := c.committed - c.first + 1
	if n <= 0 {
		return
	}
	// Entries that were handed out stay referenced by whoever applies them.
	if n > 64 || n == int64(len(c.entries)) {
		rest := copy(c.entries, c.entries[n:])
		clear(c.entries[rest:])
		c.entries = c.entries[:rest]
		c.first += n
	}
}

func (c *Core) String() string {
	return fmt.Sprintf("%v b%d committed %d persisted %d last %d", c.status, c.ballot, c.committed, c.persisted, c.last())
}
