package ship

import "slices"

// lane is what goes to one partition of the remote, in order.
type lane struct {
	number int32
	ops    []Op // those in flight first
	flying int  // how many of them are in flight
	id     uint64
	// deadline of the batch in flight; until: nothing is sent before.
	deadline, until int64
	fails           int  // in a row
	refused         bool // the last answer
	silent          bool // the last batch was lost
	limit           int  // of operations in a batch, 0: none
	tries           int  // of the first operation
}

func (c *Core) lane(n int32) *lane {
	l := c.lanes[n]
	if l == nil {
		if c.lanes == nil {
			c.lanes = map[int32]*lane{}
		}
		l = &lane{number: n}
		c.lanes[n] = l
	}
	return l
}

// take puts the next batch in flight.
func (l *lane) take(c *Core) (b Batch, ok bool) {
	if l.flying > 0 || len(l.ops) == 0 || c.now < l.until {
		return b, false
	}
	n := l.cut(c.opt.Batch)
	c.serial++
	l.tries++
	l.id, l.flying, l.silent = c.serial, n, false
	l.deadline = c.now + c.opt.Timeout
	b = Batch{ID: l.id, Lane: l.number, Ops: slices.Clone(l.ops[:n]), Try: l.tries}
	for i := range b.Ops {
		b.Size += b.Ops[i].size()
	}
	return b, true
}

// cut returns how many operations the next batch has. Those of a decree stay together if they fit.
func (l *lane) cut(most int64) int {
	var size int64
	n := 0
	for n < len(l.ops) && (l.limit == 0 || n < l.limit) {
		if size += l.ops[n].size(); size > most && n > 0 {
			break
		}
		n++
	}
	if n == len(l.ops) || l.limit != 0 {
		return n
	}
	for m := n; m > 0; m-- {
		if l.ops[m-1].Decree != l.ops[m].Decree {
			return m
		}
	}
	return n
}

// Answer tells what became of a batch. One that isn't waited for any more is ignored.
func (c *Core) Answer(id uint64, o Outcome) {
	var l *lane
	for _, x := range c.lanes {
		if x.flying > 0 && (x.id == id || planted("any-answer")) {
			l = x
		}
	}
	if l == nil {
		return
	}
	if o == Lost && planted("lost-is-done") {
		o = Done
	}
	switch o {
	case Done:
		c.done(l)
	case Failed, Refused:
		l.fails++
		l.refused = o == Refused
		l.until = c.now + c.backoff(l.fails)
		n := l.flying
		l.flying = 0
		switch {
		case planted("never-resends"):
			l.until = 1 << 60
		case planted("overtaken") && n < len(l.ops):
			l.ops = slices.Concat(l.ops[n:], l.ops[:n])
		}
		switch {
		case o == Failed:
		case n > 1:
			l.limit, l.until = n/2, c.now // which of them is it?
		case c.mode.Skip:
			c.skippedOps++
			l.flying = 1
			c.done(l)
		}
	case Lost:
		c.lost(l)
	}
}

// done takes the batch in flight off the lane.
func (c *Core) done(l *lane) {
	ops := l.ops[:l.flying]
	defer clear(ops) // nothing keeps what was sent
	l.ops = l.ops[l.flying:]
	l.flying, l.fails, l.refused, l.tries = 0, 0, false, 0
	if l.limit *= 2; l.limit > 1<<10 {
		l.limit = 0
	}
	c.answered(ops)
}

// lost has a batch sent again once it can't be applied any more.
func (c *Core) lost(l *lane) {
	l.fails++
	l.flying, l.silent = 0, true
	l.until = max(l.deadline+c.opt.Linger, c.now+c.backoff(l.fails))
	if planted("no-fence") {
		l.until = c.now + 1
	}
}
