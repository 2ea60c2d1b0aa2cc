package pacifica

import (
	"errors"
	"fmt"
	"slices"
)

// Errors of Propose.
var (
	ErrNotPrimary = errors.New("not the primary of the partition")
	ErrWindowFull = errors.New("too many mutations in flight")
	ErrTooLarge   = errors.New("a mutation that can't be sent to the others")
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
	// tip is the timestamp of the mutation at committed, 0 if that isn't known.
	tip int64

	// Primary.
	base       int64
	serveAfter int64
	minMembers int
	peers      []*peer
	change     *Change
	nextSig    int64

	// refreshWait is how many ticks to wait before asking the meta for news again.
	refreshWait int

	// Followers.
	//
	// born is the ballot that this replica restarted with, -1 if it restarted with nothing: it
	// doesn't know what it acknowledged under it.
	born      int64
	leader    NodeID
	signature int64
	fetching  bool
	// divergent: the fetch replaces a store that is ahead of the whole group.
	divergent bool
	owedAck   bool
	silent    int

	ready, spare Ready
}

// peer is a follower as its primary sees it.
type peer struct {
	id        NodeID
	learner   bool
	joining   bool
	signature int64
	// match: it acknowledged everything up to here, -1 nothing yet; held: what its latest acknowledgement
	// said, less than match after a restart; next: what it is sent next.
	// joinedAt: match when commits began to wait for it.
	match, held, next, joinedAt int64
	// compared: what the learner began with is of this group's history, as far as can be told.
	compared bool
	// rewound: next was set back to what follows this decree since the last tick.
	rewound int64
	// snapshot: it was told to fetch a checkpoint, when snapFrom was committed.
	snapshot bool
	snapFrom int64
	// lacks counts how often the log had not what it asked for, since it held what it should.
	lacks int
	down  bool
	// slow: it stood still while commits waited for it; they don't again before it has
	// acknowledged something.
	slow bool
	// asked: the meta was asked under this ballot to make it a member, so perhaps it is.
	// refused: the meta said no, to one of the requests.
	asked, refused bool
	// stalled counts ticks without progress while there is something to acknowledge,
	// quiet ticks without any answer, unsent ticks since the last message, stuck those in
	// which something was under way to it, since it last acknowledged something new.
	stalled, quiet, unsent, stuck int
	sent                          []sentRange
	sentBytes                     int64
	sentCommit                    int64
}

type sentRange struct{ last, bytes int64 }

// New returns a replica that restarts Inactive with everything up to applied in its
// store, prepared entries after it (consecutive; the driver took them from the log and
// they are durable), and the highest ballot it made durable.
//
// An entry in the log voids those above it that were logged before under an older ballot,
// also when it is itself among the applied ones. The driver must not hand out void entries
// as prepared: the one at applied+1 is void if the log's entry at applied has a higher
// ballot. Among prepared itself New sees to it.
//
// A replica that is made anew (learner of a node that has, or has no longer, any data) must
// not be on the meta's list, and begins with the ballot of which the meta said so: it may
// have made promises before it lost its data.
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
	c.born = -1
	if c.last() > 0 {
		c.born = c.ballot
	}
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
			s.Learners = append(s.Learners, LearnerState{p.id, p.match, p.joining, p.snapshot, p.asked})
		}
	}
	return s
}

// Unchanged tells whether State still is s, but for the decrees. A primary with learners
// always says no: their progress is part of it.
func (c *Core) Unchanged(s *State) bool {
	if c.status != s.Status || c.ballot != s.Ballot || c.Serving() != s.Serving || len(s.Learners) > 0 ||
		c.cfg.Ballot != s.Config.Ballot || c.cfg.Primary != s.Config.Primary || !slices.Equal(c.cfg.Secondaries, s.Config.Secondaries) {
		return false
	}
	for _, p := range c.peers {
		if p.learner {
			return false
		}
	}
	return true
}

// Serving tells whether this is a primary that may answer reads, its lease permitting.
func (c *Core) Serving() bool { return c.status == Primary && c.committed >= c.serveAfter }

// ServesAfter returns the decree of the last mutation that a primary inherited: a store that
// hasn't applied it yet must not be read from.
func (c *Core) ServesAfter() int64 { return c.serveAfter }

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
		if p.snapshot {
			d = min(d, p.snapFrom+1)
		} else {
			d = min(d, max(p.match, p.held)+1)
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
	r.Acknowledge = c.status == Primary && c.enough()
	c.ready, c.spare = c.spare, Ready{}
	return r
}

// SetMinMembers says how many members a configuration must have for writes to be acknowledged.
// A write that is committed while there are fewer is held by all members that there are, and
// that may be one.
func (c *Core) SetMinMembers(n int) { c.minMembers = n }

// Members returns how many members the primary's configuration has, and how many learners the
// meta was asked to add. Each member holds everything that is committed: an old one because
// commits wait for it, a new one because it held that before the meta was asked. A learner
// that was asked for holds it too, but as long as the meta hasn't said so, nobody would look for
// the data there.
func (c *Core) Members() (members, asked int) {
	members = 1
	for _, p := range c.peers {
		switch {
		case !p.learner:
			members++
		case p.asked:
			asked++
		}
	}
	return members, asked
}

// enough tells whether what is committed has as many holders as it must.
func (c *Core) enough() bool {
	n, _ := c.Members()
	return n >= c.minMembers || planted("acknowledge-below-least")
}

// Recycle gives the memory of a Ready back that was carried out: nothing of it is looked at
// any more. Not to call it is no fault.
func (c *Core) Recycle(r *Ready) {
	clear(r.Append)
	clear(r.Messages)
	clear(r.Commit)
	clear(r.Changes)
	clear(r.sent)
	c.spare = Ready{Append: r.Append[:0], Messages: r.Messages[:0], Commit: r.Commit[:0], Changes: r.Changes[:0], sent: r.sent[:0]}
	*r = Ready{}
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
	if most := c.opt.MaxEntryBytes; most > 0 && int64(len(payload)) > most {
		return Entry{}, fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLarge, len(payload), most)
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

// Witness tells of the timestamp of the last mutation that is in the store, right after New; 0:
// there is none. Later ones will be larger, and a learner knows by it whether its primary's
// mutations are the continuation of its own.
func (c *Core) Witness(timestampUS int64) {
	c.lastTS = max(c.lastTS, timestampUS)
	c.tip = timestampUS
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
		c.trim()
	}
}

// Installed reports the end of a Fetch: the store now holds everything up to decree, durably,
// and before that everything in the log was made void, durably; or, if ok is false, nothing
// was changed.
func (c *Core) Installed(decree int64, ok bool) {
	if !c.fetching {
		return
	}
	c.fetching = false
	if ok && (decree >= c.committed || c.divergent) {
		c.reset(decree)
		c.tip = 0
	}
	c.divergent = false
	c.owedAck = c.status == Learner
}

// Configure takes a configuration that the meta has persisted.
func (c *Core) Configure(cfg Config) {
	switch {
	case cfg.Ballot < c.ballot && !planted("old-config"), c.fetching && cfg.Has(c.opt.Self):
		return // a member is never in the middle of a fetch
	case cfg.Ballot == c.ballot:
		// A restarted primary must not go on under a ballot in which its former self may
		// have prepared what it no longer knows.
		if planted("no-force-ballot") && c.status == Inactive && cfg.Primary == c.opt.Self {
			c.lead(cfg)
			return
		}
		if c.status == Inactive && cfg.Primary == c.opt.Self && c.change == nil {
			c.cfg = cfg
			c.newBallot()
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
			c.Retire()
		}
		c.cfg = cfg
	}
}

// Refused reports that the meta will not make the change that is asked for.
//
// An earlier or repeated request for a learner may yet be granted. So commits go on waiting
// for it until another change has taken the ballot that it was asked for.
func (c *Core) Refused() {
	if c.change == nil {
		return
	}
	for _, p := range c.peers {
		if p.id == c.change.Node && c.change.Kind == ChangeAdd {
			p.refused = true
		}
	}
	if planted("refusal-releases") && c.change.Kind == ChangeAdd {
		c.dropPeer(c.change.Node)
	}
	c.change = nil
	c.withdraw()
}

// withdraw takes back a refused request to add a learner.
func (c *Core) withdraw() {
	if c.status != Primary || c.change != nil {
		return
	}
	for _, p := range c.peers {
		if p.refused {
			c.newBallot()
			return
		}
	}
}

// newBallot asks for the same configuration under the next ballot.
func (c *Core) newBallot() {
	next := c.cfg
	next.Ballot++
	c.ask(Change{Kind: ChangeForceBallot, Node: c.opt.Self, Config: next})
}

// Pending returns the change that the meta was asked for and has not answered, nil if none.
func (c *Core) Pending() *Change { return c.change }

// Retire makes the replica Inactive: it lost its lease, or it is being closed.
func (c *Core) Retire() {
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
	if planted("promotion-drops") && !again {
		c.entries = c.entries[:max(0, c.committed-c.first+1)]
		c.persisted = min(c.persisted, c.last())
	}
	if !again {
		c.serveAfter = c.last()
		if planted("serve-at-once") {
			c.serveAfter = 0
		}
		c.nextSig = cfg.Ballot << 32
	}
	// What is prepared and not committed is sent again under this ballot. The own log keeps
	// it as it is: to write it again would void, with the first entry, those that follow it
	// until they are written too.
	c.peers = nil
	for _, s := range cfg.Secondaries {
		if s == c.opt.Self || s == 0 {
			continue
		}
		p := &peer{id: s, held: c.base, next: c.base + 1, rewound: -1}
		for _, was := range old {
			if was.id == s {
				// That it is slow or gone does not change with the ballot.
				p.match, p.down, p.stalled, p.quiet = min(c.base, was.match), was.down, was.stalled, was.quiet
			}
		}
		c.peers = append(c.peers, p)
	}
	if again {
		for _, p := range old {
			if p.learner && !cfg.Has(p.id) && !p.refused {
				p.joining, p.asked = false, false
				p.sent, p.sentBytes = nil, 0
				// It lets go of what it acknowledged before, to log it under this ballot.
				p.held = min(p.match, c.base)
				p.match, p.next = -1, p.held+1
				if planted("match-outlives-ballot") {
					p.match = p.held
				}
				c.peers = append(c.peers, p)
			}
		}
	}
	for _, p := range c.peers {
		c.send(p)
	}
	c.advance()
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
		if c.silent%max(1, 2*c.opt.EjectTicks) == 0 {
			// The primary is gone; ask what the meta knows. A message of it changes nothing
			// here and a new configuration comes the same way.
			c.refresh()
		}
		if c.status == Learner && c.silent >= c.opt.LearnTicks {
			// Its primary has dropped it by now, or is gone. Nobody has to want this learner
			// again, and as one it would be kept for ever. A message makes it one again.
			c.Retire()
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
		c.tip = c.at(c.committed).Timestamp
	}
	c.trim()
}

// trim lets go of entries that are committed, and durable: a learner commits what its
// primary did before it is durable here, and Persisted must still find it.
func (c *Core) trim() {
	n := min(c.committed, c.persisted) - c.first + 1
	if planted("trims-undurable") {
		n = c.committed - c.first + 1
	}
	if n <= 0 {
		return
	}
	// Entries that were handed out stay referenced by whoever applies them. The window never
	// holds on to more than it needs: that it moves only when half of it can go is for the cost
	// of moving.
	if 2*n >= int64(len(c.entries)) {
		rest := copy(c.entries, c.entries[n:])
		clear(c.entries[rest:])
		c.entries = c.entries[:rest]
		c.first += n
	}
}

func (c *Core) String() string {
	return fmt.Sprintf("%v b%d committed %d persisted %d last %d", c.status, c.ballot, c.committed, c.persisted, c.last())
}
