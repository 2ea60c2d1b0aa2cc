package wal

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"pegasus/base"
)

const (
	// An oldest segment is emptied by writing its needed entries again if they are less
	// than 1/lightly of it; if the log is above MaxBytes, less than 1/heavily.
	lightly, heavily = 8, 2
	// moveBytes is how much of that is done in one batch.
	moveBytes = 1 << 20
	// manySegments may be there beyond what MaxBytes holds, before small ones (a log gets
	// a new one whenever it is opened) go in spite of KeepBytes.
	manySegments = 32
)

// background is the goroutine that seals full segments, deletes old ones, and asks for
// idle marks.
func (l *Log) background() {
	defer close(l.backgroundDone)
	var tick <-chan time.Time
	if l.opts.tick >= 0 {
		t := time.NewTicker(cmp.Or(l.opts.tick, idleTick))
		defer t.Stop()
		tick = t.C
	}
	var batches uint64
	for {
		select {
		case <-l.stop:
			return
		case <-l.kick:
		case <-tick:
			l.lookedAt = 0
			if n := l.stats.batches.Load(); n != batches {
				batches = n
			} else {
				l.mu.Lock()
				l.idle = true
				l.mu.Unlock()
				l.work.Signal()
			}
		}
		if l.Failed() != nil {
			continue
		}
		err := l.sealAll()
		if err != nil {
			_ = l.fail(err)
			continue
		}
		for l.collect() {
		}
		l.fill()
	}
}

// sealAll seals full segments, oldest first.
func (l *Log) sealAll() error {
	for {
		l.mu.Lock()
		if len(l.unsealed) == 0 {
			l.mu.Unlock()
			return nil
		}
		s := l.unsealed[0]
		l.mu.Unlock()
		if err := l.seal(s); err != nil {
			return err
		}
		l.ix.RLock()
		i := slices.Index(l.segs, s)
		low := l.segs[i+1].low
		l.ix.RUnlock()
		l.mu.Lock()
		l.unsealed = slices.Delete(l.unsealed, 0, 1)
		if p := (position{s.seq, s.end}); l.synced.before(p) {
			l.synced = p
		}
		l.mu.Unlock()
		// Segments up to s are on the disk, and so is the head of the next.
		if l.durableLow.Load() < low {
			l.durableLow.Store(low)
		}
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
func (l *Log) collect() bool {
	l.reap()
	l.mu.Lock()
	sealed := len(l.unsealed) == 0
	l.mu.Unlock()
	l.ix.RLock()
	if !sealed || len(l.segs) < 2 {
		// What isn't sealed yet has woken this goroutine once more.
		l.ix.RUnlock()
		return false
	}
	oldest, newest := l.segs[0], l.segs[len(l.segs)-1].seq
	if h := l.hint; h != nil && h.needs(oldest) > 0 && newest == l.lookedAt {
		l.ix.RUnlock()
		return false
	}
	n := l.needs()
	var total, spare int64
	segments := int64(len(l.segs))
	for i, s := range l.segs {
		total += s.end
		if n.bytes[i] == 0 && i < len(l.segs)-1 {
			spare += s.end
		}
	}
	l.ix.RUnlock()

	c := &l.opts.Config
	over := total > c.MaxBytes
	crowded := segments > manySegments+c.MaxBytes/c.SegmentBytes
	need := n.bytes[0]
	portion := int64(lightly)
	if over {
		portion = heavily
	}
	switch {
	case need == 0:
		if over || crowded || spare > c.KeepBytes {
			return l.condemn(oldest)
		}
	case need < oldest.end/portion && !oldest.unmovable:
		if over || crowded || spare+oldest.end-need > c.KeepBytes {
			return l.move(oldest, n.oldest)
		}
	case over && l.opts.OnPressure != nil && (l.pressedSeq != oldest.seq || l.lookedAt != newest):
		l.stats.pressures.Add(1)
		l.pressedSeq = oldest.seq
		gs := make([]base.Gpid, len(n.oldest))
		for i, r := range n.oldest {
			gs[i] = r.gpid
		}
		slices.SortFunc(gs, base.Gpid.Compare)
		l.opts.OnPressure(gs)
	}
	l.setHint(n.oldest, newest)
	return false
}

// setHint remembers one replica that keeps the oldest segment, so that the retention of
// the others needs no look at all of them.
func (l *Log) setHint(pins []*replica, newest uint64) {
	l.ix.Lock()
	defer l.ix.Unlock()
	l.lookedAt = newest
	l.hint = nil
	if len(pins) > 0 {
		l.hint = pins[0]
	}
}

// needs sums up what is needed; l.ix must be held.
func (l *Log) needs() needs {
	n := needs{bytes: make([]int64, len(l.segs))}
	at := make(map[*segment]int, len(l.segs))
	for i, s := range l.segs {
		at[s] = i
	}
	for _, r := range l.replicas {
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
func (l *Log) condemn(s *segment) bool {
	l.ix.Lock()
	for _, r := range l.replicas {
		if r.needs(s) > 0 {
			l.ix.Unlock()
			return true
		}
	}
	for _, r := range l.replicas {
		r.forget(s)
	}
	l.segs = slices.Delete(l.segs, 0, 1)
	s.dead = true
	l.condemned = append(l.condemned, s)
	l.low.Store(s.seq + 1)
	l.hint = nil
	l.ix.Unlock()
	if l.always {
		return l.do(&job{}) == nil
	}
	return true
}

// do hands a job to the writer and waits for it.
func (l *Log) do(j *job) error {
	j.done = make(chan error, 1)
	l.mu.Lock()
	l.job = j
	l.mu.Unlock()
	l.work.Signal()
	select {
	case err := <-j.done:
		return err
	case <-l.writerDone:
		return ErrClosed
	}
}

// reap removes the files of condemned segments that a durable mark says are given up.
func (l *Log) reap() {
	low := l.durableLow.Load()
	n := 0
	for n < len(l.condemned) && l.condemned[n].seq < low {
		n++
	}
	if n == 0 {
		return
	}
	l.dirMu.Lock()
	defer l.dirMu.Unlock()
	for i, s := range l.condemned[:n] {
		if err := l.remove(s); err != nil {
			l.logger.WithError(err).WithField("segment", s.name).Warn("cannot remove an old log segment; trying again later")
			l.condemned = slices.Delete(l.condemned, 0, i)
			return
		}
		l.stats.removed.Add(1)
	}
	l.condemned = slices.Delete(l.condemned, 0, n)
	if err := l.syncDir(); err != nil {
		// A recycled file must not appear again under its old name.
		_ = l.fail(err)
	}
}

// remove deletes the file of a segment, or keeps it as the spare one: writing over blocks
// that the file has already saves the file system its own log at each fdatasync.
func (l *Log) remove(s *segment) error {
	l.ix.Lock()
	err := s.close()
	reading := s.f != nil
	l.ix.Unlock()
	if err != nil {
		l.logger.WithError(err).WithField("segment", s.name).Warn("cannot close an old log segment")
	}
	if !reading && s.end >= l.opts.Config.SegmentBytes {
		if _, err := l.fs.Stat(l.path(spareName)); err != nil {
			l.stats.recycled.Add(1)
			return ignoreAbsent(l.fs.Rename(l.path(s.name), l.path(spareName)))
		}
	}
	return ignoreAbsent(l.fs.Remove(l.path(s.name)))
}

func ignoreAbsent(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// move writes needed entries of the oldest segment again, at the end of the log.
func (l *Log) move(s *segment, pins []*replica) bool {
	var j job
	var size int
	l.ix.RLock()
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
	l.ix.RUnlock()
	defer l.release(s)
	for i := range j.copies {
		if err := l.load(&j.copies[i]); err != nil {
			l.logger.WithError(err).Error("an entry of the replication log can't be read")
			s.unmovable = true
			return true
		}
	}
	err := l.do(&j)
	if err != nil && !errors.Is(err, ErrClosed) {
		l.logger.WithError(err).Warn("cannot write old log entries again")
	}
	return err == nil
}

// load reads the entry that m names.
func (l *Log) load(m *moved) error {
	b := make([]byte, m.loc.n)
	if _, err := m.seg.f.ReadAt(b, int64(m.loc.off)); err != nil {
		return fmt.Errorf("read %d bytes at offset %d of %s: %w", len(b), m.loc.off, m.seg.name, err)
	}
	e, err := decodeEntry(b, seedOf(l.id, m.seg.seq), m.seg.seq, m.loc, &m.entry)
	if err != nil {
		return err
	}
	m.entry = e
	return nil
}
