package pacifica

import "bytes"

// Step takes a message from another replica of the partition.
func (c *Core) Step(m Message) {
	if m.To != c.opt.Self || m.From == c.opt.Self || m.From == 0 {
		return
	}
	switch m.Type {
	case MsgAck:
		if m.Reject && m.Ballot > c.ballot {
			// A newer configuration exists. Nothing is committed without the member that
			// said so, hence it is enough to find out.
			c.refresh()
			return
		}
		if c.status == Primary && m.Ballot == c.ballot {
			c.stepAck(&m)
		}
	case MsgPrepare, MsgSnapshot:
		news := m.Ballot > c.ballot
		if !c.follow(&m) {
			return
		}
		c.silent = 0
		if m.Type == MsgSnapshot {
			c.stepSnapshot(&m)
			return
		}
		c.stepPrepare(&m, news)
	}
}

// follow makes this replica a follower of m's sender if m entitles it to that, and reports
// whether m is to be handled.
func (c *Core) follow(m *Message) bool {
	switch {
	case m.Role != Secondary && m.Role != Learner:
		return false
	case m.Ballot < c.ballot && planted("no-fence"):
		c.ballot, c.status = m.Ballot, Inactive
	case m.Ballot < c.ballot:
		c.ready.Messages = append(c.ready.Messages, Message{Type: MsgAck, From: c.opt.Self, To: m.From, Ballot: c.ballot, Reject: true})
		return false
	case m.Ballot == c.ballot && c.status == Primary:
		return false // two primaries of one ballot: the meta permits none
	case m.Ballot == c.ballot && c.cfg.Ballot == m.Ballot && c.cfg.Primary != 0 && c.cfg.Primary != m.From:
		return false // and neither does it permit this one
	case m.Ballot == c.ballot && c.status == m.Role && c.leader == m.From && (m.Role == Secondary || m.Signature == c.signature):
		return true
	case m.Ballot == c.ballot && c.status == Secondary:
		return false // late: it was a learner earlier in this ballot, which can't be
	case m.Ballot == c.ballot && c.status == Learner && m.Role == Learner && m.Signature < c.signature:
		return false
	}
	if m.Role == Learner && m.Ballot == c.born && !planted("restarted-learner-goes-on") {
		// It acknowledged it doesn't know what, before it restarted, and may become a member on
		// account of that. So it lets go of nothing, hence learns nothing, under this ballot.
		c.ready.Messages = append(c.ready.Messages, Message{Type: MsgAck, From: c.opt.Self, To: m.From, Ballot: c.ballot, Role: Learner,
			Signature: m.Signature, Reject: true})
		return false
	}
	if c.fetching && !(m.Role == Learner && c.status == Learner) {
		// The store is being replaced. Until that has ended, the replica is no member of
		// anything; the primary repeats itself.
		return false
	}
	c.setBallot(m.Ballot)
	c.peers, c.change = nil, nil
	c.status, c.leader, c.signature = m.Role, m.From, m.Signature
	c.cfg.Ballot, c.cfg.Primary = m.Ballot, m.From
	// What lies beyond verified stays: the primary confirms or replaces it. It may be the
	// only copy of a committed decree until every member has its replacement.
	c.verified = c.committed
	switch m.Role {
	case Secondary:
		// Nothing is committed that a member doesn't hold, and committed decrees are the
		// same everywhere, so what is held up to the commit point is right.
		c.verified = max(c.committed, min(c.last(), max(m.Base, m.Commit)))
	case Learner:
		// An entry of this very ballot came from this primary, after all that precedes it, and
		// was perhaps acknowledged before this replica retired.
		for d := c.last(); d > c.committed; d-- {
			if c.at(d).Ballot == m.Ballot {
				c.verified = d
				break
			}
		}
	}
	return true
}

// stepSnapshot starts a fetch if the learner still lacks what the message says it does.
func (c *Core) stepSnapshot(m *Message) {
	switch {
	case c.status != Learner || c.fetching:
	case m.Tip != 0:
		// The primary has another mutation where this replica committed one.
		if m.Prev == c.committed && c.tip != 0 && c.tip != m.Tip {
			c.fetch(m.From, true)
		} else {
			c.owedAck = true
		}
	case c.verified > m.Prev && !planted("late-snapshot"):
		// A late one. What was acknowledged since must not be dropped for a checkpoint. If
		// that isn't durable, and so not acknowledged, Persisted will.
		c.owedAck = min(c.verified, c.persisted) > m.Prev
	default:
		c.fetch(m.From, false)
	}
}

func (c *Core) fetch(from NodeID, divergent bool) {
	c.fetching, c.divergent = true, divergent
	c.ready.Fetch = &Fetch{From: from, Ballot: c.ballot, Signature: c.signature, Divergent: divergent}
}

// stepPrepare takes entries and the commit point. news says that m is the first message of
// its ballot.
func (c *Core) stepPrepare(m *Message, news bool) {
	if c.fetching {
		c.sendAck(true)
		return
	}
	if c.committed > m.Last {
		// Either a late message, or the group lost what this replica has committed: it was
		// rebuilt from older data. The first message of a ballot can tell: a new primary
		// holds all that was committed before.
		if c.status == Learner && (news || planted("late-divergence")) {
			c.fetch(m.From, true)
			c.sendAck(true)
		} else {
			c.refresh()
		}
		return
	}
	if m.Prev > c.verified {
		c.sendAck(true)
		return
	}
	appended := false
	for i := range m.Entries {
		e := m.Entries[i]
		switch {
		case e.Decree <= c.verified:
			continue
		case e.Decree != c.verified+1 || e.Ballot != m.Ballot:
			c.sendAck(true)
			return
		case e.Decree <= c.last() && c.confirms(&e):
			c.verified++
			continue
		}
		// Replacing a decree voids what followed it under an older ballot.
		c.entries = append(c.entries[:e.Decree-c.first], e)
		c.persisted = min(c.persisted, e.Decree-1)
		c.verified = e.Decree
		c.lastTS = max(c.lastTS, e.Timestamp)
		c.ready.Append = append(c.ready.Append, e)
		appended = true
	}
	d := min(m.Commit, c.verified)
	if planted("commit-unverified") {
		d = min(m.Commit, c.last())
		c.verified = max(c.verified, d)
	}
	if d > c.committed {
		c.commitTo(d)
	}
	if !appended {
		c.owedAck = true
	}
}

// confirms tells whether the entry held for e's decree is what the primary has there.
//
// A secondary must not replace an entry by its own copy under a newer ballot: that would
// void the entries after it, which may be committed and which the primary has yet to send.
// A learner must, to have a log without a falling ballot: what it holds was not confirmed by
// the primaries in between.
func (c *Core) confirms(e *Entry) bool {
	own := c.at(e.Decree)
	return own.Ballot == e.Ballot ||
		c.status == Secondary && !planted("replace-confirmed") && own.Timestamp == e.Timestamp && bytes.Equal(own.Payload, e.Payload)
}

// sendAck tells the primary how far this follower holds everything durably.
func (c *Core) sendAck(gap bool) {
	c.owedAck = false
	prepared := min(c.verified, c.persisted)
	if planted("ack-before-durable") {
		prepared = c.verified
	}
	m := Message{Type: MsgAck, From: c.opt.Self, To: c.leader, Ballot: c.ballot, Role: c.status,
		Signature: c.signature, Prepared: prepared, Commit: c.committed, Gap: gap, Busy: c.fetching}
	if c.status == Learner {
		m.Tip = c.tip
	}
	c.ready.Messages = append(c.ready.Messages, m)
}
