package wal

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"pegasus/base"
)

const (
	// An oldest segment is emptied by writing its needed entries again if they are less
	// than 1/rewriteShare of it; if the log is above MaxBytes, less than 1/rewriteShareOver.
	rewriteShare, rewriteShareOver = 8, 2
	// moveBytes is how much of that is done in one batch.
	moveBytes = 1 << 20
	// manySegments may be there beyond what MaxBytes holds, before small ones (a log gets
	// a new one whenever it is opened) go in spite of KeepBytes.
	manySegments = 32
)

// cleaner is the state of the background goroutine.
type cleaner struct {
	*Log
	// condemned are segments below low whose files are still there.
	condemned []*segment
	// lookedAt is the newest segment when the needs of all replicas were looked at last,
	// pressedSeq the oldest when OnPressure was called last. A tick clears lookedAt: who keeps
	// the oldest segment may have come to need so little of it that it can go, and a flush that
	// was asked for may have failed.
	lookedAt, pressedSeq uint64
}

// run is the goroutine that seals full segments, deletes old ones, and asks for
// idle marks.
func (c *cleaner) run() {
	defer close(c.backgroundDone)
	var tick <-chan time.Time
	if c.opts.tick >= 0 {
		t := time.NewTicker(cmp.Or(c.opts.tick, idleTick))
		defer t.Stop()
		tick = t.C
	}
	var batches uint64
	for {
		select {
		case <-c.stop:
			return
		case <-c.kick:
		case <-tick:
			c.lookedAt = 0
			if n := c.stats.batches.Load(); n != batches {
				batches = n
			} else {
				c.in.mu.Lock()
				c.in.idle = true
				c.in.mu.Unlock()
				c.in.work.Signal()
			}
		}
		if c.Failed() != nil {
			continue
		}
		err := c.sealAll()
		if err != nil {
			_ = c.fail(err)
			continue
		}
		for c.collect() {
		}
		c.fill()
	}
}

// needs is what the replicas need of the segments.
type needs struct {
	// bytes by the segment's place in Log.segs.
	bytes []int64
	// oldest are the replicas that need the oldest segment.
	oldest []*replica
}

// collect does one step of making the log smaller, and tells whether to go on.
func (c *cleaner) collect() bool {
	c.reap()
	c.in.mu.Lock()
	sealed := len(c.unsealed) == 0
	c.in.mu.Unlock()
	c.ix.RLock()
	if !sealed || len(c.segs) < 2 {
		// What isn't sealed yet has woken this goroutine once more.
		c.ix.RUnlock()
		return false
	}
	oldest, newest := c.segs[0], c.segs[len(c.segs)-1].seq
	if h := c.hint; h != nil && h.needs(oldest) > 0 && newest == c.lookedAt {
		c.ix.RUnlock()
		return false
	}
	n := c.needs()
	var total, spare int64
	segments := int64(len(c.segs))
	for i, s := range c.segs {
		total += s.end
		if n.bytes[i] == 0 && i < len(c.segs)-1 {
			spare += s.end
		}
	}
	c.ix.RUnlock()

	cfg := &c.opts
	over := total > cfg.MaxBytes
	crowded := segments > manySegments+cfg.MaxBytes/cfg.SegmentBytes
	need := n.bytes[0]
	portion := int64(rewriteShare)
	if over {
		portion = rewriteShareOver
	}
	switch {
	case need == 0:
		if over || crowded || spare > cfg.KeepBytes {
			return c.condemn(oldest)
		}
	case need < oldest.end/portion && !oldest.unmovable:
		if over || crowded || spare+oldest.end-need > cfg.KeepBytes {
			return c.move(oldest, n.oldest)
		}
	case over && c.opts.OnPressure != nil && (c.pressedSeq != oldest.seq || c.lookedAt != newest):
		c.stats.pressures.Add(1)
		c.pressedSeq = oldest.seq
		gs := make([]base.Gpid, len(n.oldest))
		for i, r := range n.oldest {
			gs[i] = r.gpid
		}
		slices.SortFunc(gs, base.Gpid.Compare)
		c.opts.OnPressure(gs)
	}
	c.setHint(n.oldest, newest)
	return false
}

// setHint remembers one replica that keeps the oldest segment, so that the retention of
// the others needs no look at all of them.
func (c *cleaner) setHint(pins []*replica, newest uint64) {
	c.ix.Lock()
	defer c.ix.Unlock()
	c.lookedAt = newest
	c.hint = nil
	if len(pins) > 0 {
		c.hint = pins[0]
	}
}

// needs sums up what is needed; c.ix must be held.
func (c *cleaner) needs() needs {
	n := needs{bytes: make([]int64, len(c.segs))}
	at := make(map[*segment]int, len(c.segs))
	for i, s := range c.segs {
		at[s] = i
	}
	for _, r := range c.replicas {
		pins := false
		for i := range r.runs {
			need := r.needsRun(&r.runs[i])
			k := at[r.runs[i].seg]
			n.bytes[k] += need
			pins = pins || k == 0 && need > 0
		}
		if pins {
			n.oldest = append(n.oldest, r)
		}
	}
	return n
}

// condemn takes the oldest segment out of the log, if still nothing needs it. Its file
// goes when a mark on the disk says so: without that a missing first segment would be
// damage.
func (c *cleaner) condemn(s *segment) bool {
	c.ix.Lock()
	for _, r := range c.replicas {
		if r.needs(s) > 0 {
			c.ix.Unlock()
			return true
		}
	}
	for _, r := range c.replicas {
		r.forget(s)
	}
	c.segs = slices.Delete(c.segs, 0, 1)
	s.dead = true
	c.condemned = append(c.condemned, s)
	c.low.Store(s.seq + 1)
	c.hint = nil
	c.ix.Unlock()
	if c.always {
		return c.do(&job{}) == nil
	}
	return true
}

// do hands a job to the writer and waits for it.
func (c *cleaner) do(j *job) error {
	j.done = make(chan error, 1)
	c.in.mu.Lock()
	c.in.job = j
	c.in.mu.Unlock()
	c.in.work.Signal()
	select {
	case err := <-j.done:
		return err
	case <-c.writerDone:
		return ErrClosed
	}
}

// reap removes the files of condemned segments that a durable mark says are given up.
func (c *cleaner) reap() {
	low := c.durableLow.Load()
	n := 0
	for n < len(c.condemned) && c.condemned[n].seq < low {
		n++
	}
	if n == 0 {
		return
	}
	c.dirMu.Lock()
	defer c.dirMu.Unlock()
	for i, s := range c.condemned[:n] {
		if err := c.remove(s); err != nil {
			c.logger.WithError(err).WithField("segment", s.name).Warn("cannot remove an old log segment; trying again later")
			c.condemned = slices.Delete(c.condemned, 0, i)
			return
		}
		c.stats.removed.Add(1)
	}
	c.condemned = slices.Delete(c.condemned, 0, n)
	if err := c.syncDir(); err != nil {
		// A recycled file must not appear again under its old name.
		_ = c.fail(err)
	}
}

// remove deletes the file of a segment, or keeps it as the spare one: writing over blocks
// that the file has already saves the file system its own log at each fdatasync.
func (c *cleaner) remove(s *segment) error {
	c.ix.Lock()
	err := s.close()
	reading := s.f != nil
	c.ix.Unlock()
	if err != nil {
		c.logger.WithError(err).WithField("segment", s.name).Warn("cannot close an old log segment")
	}
	if !reading && s.end >= c.opts.SegmentBytes {
		if _, err := c.fs.Stat(c.path(spareName)); err != nil {
			c.stats.recycled.Add(1)
			return ignoreAbsent(c.fs.Rename(c.path(s.name), c.path(spareName)))
		}
	}
	return ignoreAbsent(c.fs.Remove(c.path(s.name)))
}

// move writes needed entries of the oldest segment again, at the end of the log.
func (c *cleaner) move(s *segment, pins []*replica) bool {
	var j job
	var size int
	c.ix.RLock()
	for _, r := range pins {
		for i := range r.runs {
			t := &r.runs[i]
			if t.seg != s || t.last() <= r.state.Retention {
				continue
			}
			for k, at := range t.locs {
				d := t.first + int64(k)
				if d > r.state.Retention && size < moveBytes {
					j.copies = append(j.copies, moved{r: r, seg: s, loc: at, entry: Entry{Gpid: r.gpid, Decree: d, Ballot: t.ballot}})
					size += int(at.n)
				}
			}
		}
	}
	s.refs.Add(1)
	c.ix.RUnlock()
	defer c.release(s)
	for i := range j.copies {
		if err := c.load(&j.copies[i]); err != nil {
			c.logger.WithError(err).Error("an entry of the replication log can't be read")
			s.unmovable = true
			return true
		}
	}
	err := c.do(&j)
	if err != nil && !errors.Is(err, ErrClosed) {
		c.logger.WithError(err).Warn("cannot write old log entries again")
	}
	return err == nil
}

// load reads the entry that m names.
func (c *cleaner) load(m *moved) error {
	b := make([]byte, m.loc.n)
	if _, err := m.seg.f.ReadAt(b, int64(m.loc.off)); err != nil {
		return fmt.Errorf("read %d bytes at offset %d of %s: %w", len(b), m.loc.off, m.seg.name, err)
	}
	e, err := decodeEntry(b, seedOf(c.id, m.seg.seq), m.seg.seq, m.loc, &m.entry)
	if err != nil {
		return err
	}
	m.entry = e
	return nil
}
