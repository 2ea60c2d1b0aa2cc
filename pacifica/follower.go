package pacifica

// Step takes a message from another replica of the partition.
func (c *Core) Step(m Message) {
	if m.To != c.opt.Self || m.From == c.opt.Self {
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
		if c.status == Primary && m.Ballot == c.ballot && !m.Reject {
			c.stepAck(&m)
		}
	case MsgPrepare, MsgSnapshot:
		if !c.follow(&m) {
			return
		}
		c.silent = 0
		if m.Type == MsgSnapshot {
			if c.status == Learner && !c.fetching {
				c.fetching = true
				c.ready.Fetch = &Fetch{From: m.From, Ballot: c.ballot, Signature: c.signature}
			}
			return
		}
		c.stepPrepare(&m)
	}
}

// follow makes this replica a follower of m's sender if m entitles it to that, and reports
// whether m is to be handled.
func (c *Core) follow(m *Message) bool {
	switch {
	case m.Role != Secondary && m.Role != Learner:
		return false
	case m.Ballot < c.ballot:
		c.ready.Messages = append(c.ready.Messages, Message{Type: MsgAck, From: c.opt.Self, To: m.From, Ballot: c.ballot, Reject: true})
		return false
	case m.Ballot == c.ballot && c.status == Primary:
		return false // two primaries of one ballot: the meta permits none
	case m.Ballot == c.ballot && c.status == m.Role && c.leader == m.From && (m.Role == Secondary || m.Signature == c.signature):
		return true
	case m.Ballot == c.ballot && c.status == Secondary:
		return false // late: it was a learner earlier in this ballot, which can't be
	case m.Ballot == c.ballot && c.status == Learner && m.Role == Learner && m.Signature < c.signature:
		return false
	}
	if c.fetching && !(m.Role == Learner && c.status == Learner) {
		// The store is being replaced. Until that has ended, the replica is no member of
		// anything; the primary repeats itself.
		return false
	}
	wasLearner := c.status == Learner && c.signature == m.Signature
	c.setBallot(m.Ballot)
	c.peers, c.change = nil, nil
	c.status, c.leader, c.signature = m.Role, m.From, m.Signature
	c.cfg.Ballot, c.cfg.Primary = m.Ballot, m.From
	switch {
	case m.Role == Secondary:
		// Committed decrees are the same on every member, so what is held up to the base is
		// right. Beyond it the primary decides.
		c.verified = max(c.committed, min(c.last(), m.Base))
	case !wasLearner:
		// What a learner prepared under other ballots is nobody's business any more.
		c.entries = c.entries[:max(0, c.committed-c.first+1)]
		c.persisted = min(c.persisted, c.last())
		c.verified = c.committed
	default:
		c.verified = c.committed
	}
	return true
}

func (c *Core) stepPrepare(m *Message) {
	if c.fetching {
		c.sendAck(true)
		return
	}
	if c.committed > m.Last {
		// The group lost what this replica has committed: it was rebuilt from older data.
		if c.status == Learner {
			c.fetching, c.divergent = true, true
			c.ready.Fetch = &Fetch{From: m.From, Ballot: c.ballot, Signature: c.signature, Divergent: true}
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
		case e.Decree != c.verified+1:
			c.sendAck(true)
			return
		case e.Decree <= c.last() && c.at(e.Decree).Ballot == e.Ballot:
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
	if d := min(m.Commit, c.verified); d > c.committed {
		c.commitTo(d)
	}
	if !appended {
		c.owedAck = true
	}
}

// sendAck tells the primary how far this follower holds everything durably.
func (c *Core) sendAck(gap bool) {
	c.owedAck = false
	c.ready.Messages = append(c.ready.Messages, Message{Type: MsgAck, From: c.opt.Self, To: c.leader, Ballot: c.ballot, Role: c.status,
		Signature: c.signature, Prepared: min(c.verified, c.persisted), Commit: c.committed, Gap: gap, Busy: c.fetching})
}
