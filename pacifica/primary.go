package pacifica

import "slices"

// AddLearner makes node a learner. It does nothing if node is a member or learner already.
func (c *Core) AddLearner(node NodeID) error {
	if c.status != Primary {
		return ErrNotPrimary
	}
	if node == 0 || c.cfg.Has(node) {
		return nil
	}
	for _, p := range c.peers {
		if p.id == node {
			return nil
		}
	}
	c.nextSig++
	p := &peer{id: node, learner: true, signature: c.nextSig, match: -1, held: c.committed, next: c.committed + 1, rewound: -1}
	c.peers = append(c.peers, p)
	c.send(p)
	return nil
}

// RemoveMember asks the meta to take node out of the group; a learner is simply dropped.
func (c *Core) RemoveMember(node NodeID) error {
	if c.status != Primary {
		return ErrNotPrimary
	}
	for _, p := range c.peers {
		if p.id != node {
			continue
		}
		if p.learner {
			if !p.asked {
				c.dropPeer(node)
			}
			return nil
		}
		if c.change == nil {
			c.askRemove(p)
		}
	}
	return nil
}

func (c *Core) askRemove(p *peer) {
	next := Config{Ballot: c.ballot + 1, Primary: c.cfg.Primary}
	for _, s := range c.cfg.Secondaries {
		if s != p.id {
			next.Secondaries = append(next.Secondaries, s)
		}
	}
	c.ask(Change{Kind: ChangeRemove, Node: p.id, Config: next})
}

func (c *Core) dropPeer(id NodeID) {
	for i, p := range c.peers {
		if p.id == id && p.learner {
			c.peers = append(c.peers[:i:i], c.peers[i+1:]...)
			c.advance()
			return
		}
	}
}

// Unreachable reports that messages to node fail.
func (c *Core) Unreachable(node NodeID) {
	for _, p := range c.peers {
		if p.id == node {
			p.down = true
		}
	}
}

// advance moves the commit point to what every member holds, and asks for learners to join
// that are ready.
func (c *Core) advance() {
	if c.status != Primary {
		return
	}
	d := c.persisted
	if planted("commit-before-durable") {
		d = c.last()
	}
	for i, p := range c.peers {
		if planted("commit-without-one") && i == 0 && len(c.peers) > 1 || planted("join-unwaited") && p.learner {
			continue
		}
		if !p.learner || p.joining {
			d = min(d, p.match)
		}
	}
	if d > c.committed {
		c.commitTo(d)
	}
	for _, p := range c.peers {
		if !p.learner {
			continue
		}
		if !p.joining && !p.snapshot && !p.down && !p.slow && p.match >= c.base && p.match+joinDistance >= c.last() && c.change == nil && !anyJoining(c.peers) && !c.opt.apart(c.entries[c.committed+1-c.first:]) {
			p.joining, p.joinedAt = true, p.match
		}
		// Before it serves, a primary doesn't know how much is committed: all that it held when
		// it was promoted may be.
		knows, has := c.Serving() || planted("join-before-serving"), p.match >= c.committed || planted("join-early")
		// If nobody can be given what is next, those who can't would come as members as fast as
		// they are ejected.
		takes := p.match > p.joinedAt || p.match == c.last() || planted("join-before-serving")
		if p.joining && !p.asked && knows && has && takes && c.change == nil {
			p.asked = true
			next := Config{Ballot: c.ballot + 1, Primary: c.cfg.Primary}
			next.Secondaries = append(append(next.Secondaries, c.cfg.Secondaries...), p.id)
			c.ask(Change{Kind: ChangeAdd, Node: p.id, Config: next})
		}
	}
}

// Announce tells the members now what is committed, which they would hear with the next entry or heartbeat.
func (c *Core) Announce() {
	if c.status != Primary {
		return
	}
	for _, p := range c.peers {
		if p.sentCommit < c.committed {
			c.send(p)
		}
	}
}

func anyJoining(peers []*peer) bool {
	for _, p := range peers {
		if p.joining {
			return true
		}
	}
	return false
}

// fill sends p what it lacks, as far as the bound on what is under way permits.
func (c *Core) fill(p *peer) {
	for !p.snapshot && p.next <= c.last() && p.sentBytes < 4*c.opt.MaxSendBytes {
		if c.paced(p) || c.blocked(p) || !c.send(p) {
			return
		}
	}
}

// tooLarge tells whether e can't be sent to anybody. None is proposed, but one may be in the
// log of a primary of former times.
func (o *Options) tooLarge(e *Entry) bool {
	return o.MaxEntryBytes > 0 && int64(len(e.Payload)) > o.MaxEntryBytes
}

// unfit tells whether p can't be sent e.
func (o *Options) unfit(p *peer, e *Entry) bool {
	return o.tooLarge(e) || p.learner && o.Apart != nil && o.Apart(e.Payload)
}

// blocked tells whether p can't be sent what it lacks, which isn't committed. Then it has to stand
// still until it is ejected; the entry is committed without it, and it gets a checkpoint.
func (c *Core) blocked(p *peer) bool {
	return p.next > c.committed && p.next <= c.last() && c.opt.unfit(p, c.at(p.next))
}

// apart tells whether there is one among es that no learner is sent. Who joins would keep it from being committed.
func (o *Options) apart(es []Entry) bool {
	return o.Apart != nil && slices.ContainsFunc(es, func(e Entry) bool { return o.Apart(e.Payload) })
}

// paced tells whether what p lacks must wait. Commits wait for who is joining, so that one
// never does.
func (c *Core) paced(p *peer) bool {
	return c.opt.Pacer != nil && p.learner && !p.joining && p.next < c.first && !c.opt.Pacer.Ready()
}

// send sends p one message: the next entries, or none if it has them all, or they must wait.
// It reports whether entries were sent.
func (c *Core) send(p *peer) bool {
	m := Message{Type: MsgPrepare, From: c.opt.Self, To: p.id, Ballot: c.ballot, Role: Secondary, Base: c.base, Prev: p.next - 1,
		Commit: c.committed, Last: c.last()}
	if p.learner {
		m.Role, m.Signature = Learner, p.signature
	}
	if !p.snapshot && p.next <= c.last() && !c.paced(p) && !c.blocked(p) {
		old := p.next < c.first
		es, err := c.collect(p.next)
		if err != nil {
			c.lacking(p)
			return false
		}
		if c.opt.unfit(p, &es[0]) {
			c.lacking(p)
			return false
		}
		for i := range es {
			if c.opt.unfit(p, &es[i]) {
				es = es[:i]
				break
			}
		}
		m.Entries = es
		n := int64(0)
		for i := range es {
			n += int64(len(es[i].Payload)) + 64
		}
		if old && p.learner && c.opt.Pacer != nil {
			c.opt.Pacer.Sent(n)
		}
		p.next += int64(len(es))
		p.sent = append(p.sent, sentRange{p.next - 1, n})
		p.sentBytes += n
	}
	p.unsent = 0
	p.sentCommit = c.committed
	c.ready.Messages = append(c.ready.Messages, m)
	return len(m.Entries) > 0
}

// lacking deals with a follower that needs committed entries which it can't be sent: the log no
// longer has them, or they are too large, or, to judge by what it acknowledges, never arrive.
func (c *Core) lacking(p *peer) {
	if p.learner {
		p.snapshot, p.snapFrom = true, c.committed
		p.joining = p.asked // no write waits for a checkpoint
		c.ready.Messages = append(c.ready.Messages, Message{Type: MsgSnapshot, From: c.opt.Self, To: p.id, Ballot: c.ballot,
			Role: Learner, Signature: p.signature, Prev: p.next - 1, Commit: c.committed, Last: c.last()})
		return
	}
	// A member that acknowledged more than it now asks for: a late message, unless it repeats
	// that. Then it lost what it had.
	p.lacks++
	p.next = max(p.next, p.match+1)
	if (p.held >= p.match || p.lacks > c.opt.ResendTicks) && c.change == nil {
		c.askRemove(p)
	}
}

// collect returns entries from decree d on for one message, stamped with this ballot.
func (c *Core) collect(d int64) ([]Entry, error) {
	var es []Entry
	if d < c.first {
		got, err := c.opt.Log.Entries(d, c.first-1, c.opt.MaxSendBytes)
		if err != nil {
			return nil, err
		}
		es = got
	} else {
		n, end := int64(0), d
		for end <= c.last() {
			size := int64(len(c.at(end).Payload)) + 64
			if n > 0 && (n+size > c.opt.MaxSendBytes || c.opt.tooLarge(c.at(end))) {
				break
			}
			n += size
			end++
		}
		at := len(c.ready.sent)
		c.ready.sent = append(c.ready.sent, c.entries[d-c.first:end-c.first]...)
		es = c.ready.sent[at:len(c.ready.sent):len(c.ready.sent)]
	}
	// Every entry on the wire carries the sender's ballot: what a follower logs never
	// has a falling ballot, which a restart relies on.
	for i := range es {
		if i > 0 && c.opt.tooLarge(&es[i]) {
			return es[:i], nil
		}
		es[i].Ballot = c.ballot
	}
	return es, nil
}

func (c *Core) stepAck(m *Message) {
	var p *peer
	for _, q := range c.peers {
		if q.id == m.From {
			p = q
		}
	}
	if p == nil || (p.learner && p.signature != m.Signature) {
		return
	}
	if m.Reject {
		// A learner that restarted, and goes on under the next ballot. If the meta was asked for
		// it, the answer brings one.
		if p.learner && !p.asked && c.change == nil {
			c.newBallot()
		}
		return
	}
	if m.Prepared > c.last() {
		// It has what this group lost, so what it holds says nothing. It is left to time out.
		return
	}
	p.quiet, p.down = 0, false
	if m.Busy {
		// Its store is being replaced: what it holds now doesn't count.
		if p.learner && !p.snapshot {
			p.snapshot, p.snapFrom = true, c.committed
		}
		return
	}
	if p.learner && !p.compared {
		if ts := c.timestampOf(m.Commit); m.Tip != 0 && ts != 0 && ts != m.Tip {
			// This group was begun anew from less, and has gone on since.
			p.snapshot, p.snapFrom = true, c.committed
			c.ready.Messages = append(c.ready.Messages, Message{Type: MsgSnapshot, From: c.opt.Self, To: p.id, Ballot: c.ballot,
				Role: Learner, Signature: p.signature, Prev: m.Commit, Tip: ts, Commit: c.committed, Last: c.last()})
			return
		}
		if m.Commit > c.last() {
			return
		}
		p.compared = true
	}
	p.held = m.Prepared
	if m.Prepared >= p.match {
		p.lacks = 0
	}
	if m.Prepared > p.match {
		p.match = m.Prepared
		p.stalled, p.stuck, p.slow = 0, 0, false
	}
	done := 0
	for done < len(p.sent) && p.sent[done].last <= m.Prepared {
		p.sentBytes -= p.sent[done].bytes
		done++
	}
	p.sent = slices.Delete(p.sent, 0, done)
	if (p.snapshot || m.Gap) && m.Prepared != p.rewound {
		// Each message that overtook another asks for the same, and so does each that is on its
		// way when a checkpoint is offered: once a tick is enough.
		p.snapshot, p.rewound = false, m.Prepared
		p.next, p.sent, p.sentBytes = m.Prepared+1, nil, 0
	}
	p.next = max(p.next, m.Prepared+1)
	c.fill(p)
	c.advance()
}

// timestampOf returns the timestamp of a mutation, 0 if it isn't known.
func (c *Core) timestampOf(d int64) int64 {
	switch {
	case d <= 0 || d > c.last():
		return 0
	case d >= c.first:
		return c.at(d).Timestamp
	case d == c.committed:
		return c.tip
	}
	if es, err := c.opt.Log.Entries(d, d, 1); err == nil && len(es) > 0 && es[0].Decree == d {
		return es[0].Timestamp
	}
	return 0
}

func (c *Core) tickPrimary() {
	c.withdraw()
	for _, p := range append([]*peer(nil), c.peers...) {
		p.quiet++
		p.unsent++
		p.rewound = -1
		if p.match < c.last() {
			p.stalled++
		} else {
			p.stalled = 0
		}
		if len(p.sent) > 0 {
			p.stuck++
		}
		switch {
		case p.learner && !p.asked && p.quiet >= c.opt.LearnTicks:
			c.dropPeer(p.id)
			continue
		case p.learner && p.joining && !p.asked && p.stalled >= c.opt.EjectTicks:
			// The meta was not asked, so commits need not wait for it any longer.
			p.joining, p.slow = false, true
			c.advance()
		case !p.learner && c.change == nil && p.expired(c.opt.EjectTicks):
			c.askRemove(p)
		case p.learner && !p.joining && !p.snapshot && 2*p.stuck >= c.opt.LearnTicks && p.held < c.committed:
			p.next, p.sent, p.sentBytes = p.held+1, nil, 0
			c.lacking(p)
			continue
		}
		if planted("never-resends") {
			p.rewound = p.match
			continue
		}
		if p.stalled > 0 && p.stalled%c.opt.ResendTicks == 0 && !p.snapshot {
			p.next, p.sent, p.sentBytes = p.held+1, nil, 0
			c.send(p)
		} else if p.unsent >= c.opt.HeartbeatTicks || (p.sentCommit < c.committed && p.unsent*2 >= c.opt.HeartbeatTicks) {
			if p.next <= c.last() {
				c.fill(p)
			}
			if p.unsent > 0 {
				c.send(p)
			}
		} else if p.learner && c.opt.Pacer != nil {
			c.fill(p)
		}
	}
}

// expired tells whether a secondary stood still, or said nothing, for too long.
func (p *peer) expired(limit int) bool {
	if p.down {
		limit = (limit + 2) / 3
	}
	return p.stalled >= limit || p.quiet >= limit
}
