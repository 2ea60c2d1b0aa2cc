package wal

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"pegasus/base"
)

const (
	// maxBatch is the size above which a batch takes no more of the queue.
	maxBatch = 8 << 20
	// preallocate is how far ahead blocks are reserved in a file that isn't recycled.
	preallocate = 8 << 20
	// bigBuffer is the capacity above which the batch buffer is not kept.
	bigBuffer = 4 * maxBatch
)

// writer is the state of writing. It belongs to who has set Log.busy: the writer goroutine
// or one in Kick; to Open before that, and to Close when the writer goroutine is gone.
type writer struct {
	active *segment
	// allocated is how far blocks are reserved.
	allocated int64
	enc       encoder
	pend      []pending
	// lowInBatch is the low in the mark of the batch that is being encoded.
	lowInBatch uint64
	// marked: nothing came since an idle mark.
	marked bool
}

// pending is an encoded change, to be applied to the index when it is durable.
type pending struct {
	r                         *replica
	kind                      kind
	decree, ballot, committed int64
	loc                       loc
}

// job is work of the background goroutine for the writer: copies of entries that still
// stand where they were, in a batch of its own, which also writes down low.
type job struct {
	copies []moved
	done   chan error
}

// moved is an entry to be written again.
type moved struct {
	r     *replica
	entry Entry
	seg   *segment
	loc   loc
}

// run is the writer goroutine.
func (l *Log) run() {
	defer close(l.writerDone)
	var items []item
	for {
		if l.always {
			// Those whom the last batch woke get to append first: a third more in a batch.
			runtime.Gosched()
		}
		l.mu.Lock()
		for l.busy || len(l.queue) == 0 && l.job == nil && !l.idle && !l.closing {
			l.work.Wait()
		}
		l.busy = true
		items, l.queue = l.queue, items[:0]
		j, idle, closing := l.job, l.idle, l.closing
		l.job, l.idle = nil, false
		l.mu.Unlock()

		switch {
		case j != nil:
			j.done <- l.runJob(j)
		case idle && len(items) == 0:
			l.markIdle()
		}
		l.writeItems(items, true)
		l.mu.Lock()
		l.busy = false
		l.mu.Unlock()
		if closing && j == nil && len(items) == 0 {
			return
		}
		clear(items)
	}
}

// writeItems writes items in batches, and tells who waits for each; tell: also AfterBatch.
func (l *Log) writeItems(items []item, tell bool) {
	for len(items) > 0 {
		n, err := l.writeBatch(items)
		for i := range items[:n] {
			if err == nil {
				items[i].done(items[i].err)
			} else {
				items[i].done(err)
			}
		}
		items = items[n:]
		if f := l.opts.AfterBatch; f != nil && tell {
			f()
		}
	}
}

// writeBatch writes as many items as make a batch, at least one, and returns their number.
func (l *Log) writeBatch(items []item) (int, error) {
	if err := l.begin(); err != nil {
		return len(items), err
	}
	n := 0
	for n < len(items) && (n == 0 || len(l.w.enc.buf) < maxBatch) {
		items[n].err = l.encode(&items[n])
		n++
	}
	return n, l.commit(l.always)
}

// begin starts a batch: the next segment if it is time, and the mark.
func (l *Log) begin() error {
	if err := l.Failed(); err != nil {
		return err
	}
	if l.w.active.end >= l.opts.Config.SegmentBytes {
		if err := l.rotate(); err != nil {
			return l.fail(err)
		}
	}
	l.start()
	return nil
}

// start begins a batch in the active segment, with its mark.
func (l *Log) start() {
	w := &l.w
	l.mu.Lock()
	synced := l.synced
	l.mu.Unlock()
	if cap(w.enc.buf) > bigBuffer {
		w.enc.buf = nil
	}
	clear(w.pend)
	w.pend = w.pend[:0]
	w.enc.segment(l.id, w.active.seq, w.active.end)
	w.lowInBatch = l.low.Load()
	w.enc.mark(synced, w.lowInBatch, false)
	w.marked = false
}

// encode adds one item to the batch. An item that is refused leaves nothing.
func (l *Log) encode(it *item) error {
	if it.kind != kindMutation {
		if !validDecree(it.decree) {
			return fmt.Errorf("decree %d of %s can't be logged: %w", it.decree, it.gpid, base.ErrInvalidParameters)
		}
		r := l.replica(it.gpid)
		serial, last := r.next(it.kind, it.decree)
		at := l.w.enc.meta(it.kind, it.gpid, serial, last, it.decree)
		l.w.pend = append(l.w.pend, pending{r: r, kind: it.kind, decree: it.decree, loc: at})
		return nil
	}
	for i := range it.entries {
		e := &it.entries[i]
		if !validDecree(e.Decree) || e.Decree == 0 {
			return fmt.Errorf("decree %d of %s can't be logged: %w", e.Decree, e.Gpid, base.ErrInvalidParameters)
		}
		if len(e.Payload) > maxPayload {
			return fmt.Errorf("decree %d of %s has %d bytes, more than a log record can have (%d): %w",
				e.Decree, e.Gpid, len(e.Payload), maxPayload, base.ErrInvalidParameters)
		}
	}
	for i := range it.entries {
		l.encodeEntry(l.replica(it.entries[i].Gpid), &it.entries[i])
	}
	return nil
}

func (l *Log) encodeEntry(r *replica, e *Entry) {
	serial, last := r.next(kindMutation, e.Decree)
	at := l.w.enc.mutation(e, serial, last)
	l.w.pend = append(l.w.pend, pending{r: r, kind: kindMutation, decree: e.Decree, ballot: e.Ballot, committed: e.Committed, loc: at})
	l.stats.entries.Add(1)
}

// replica returns the record of g, new if need be. Only who is busy changes the map, so
// that it can look things up without the lock.
func (l *Log) replica(g base.Gpid) *replica {
	r := l.replicas[g]
	if r == nil {
		r = &replica{gpid: g}
		l.ix.Lock()
		l.replicas[g] = r
		l.ix.Unlock()
	}
	return r
}

// commit writes the batch, syncs it if asked to, and applies it to the index.
func (l *Log) commit(sync bool) error {
	w := &l.w
	s, b := w.active, w.enc.buf
	end := s.end + int64(len(b))
	if end > w.allocated {
		// Reserving is a courtesy to the file system; if it can't, the write will tell.
		n := max(min(preallocate, l.opts.Config.SegmentBytes), end-w.allocated)
		_ = s.f.Preallocate(w.allocated, n)
		w.allocated += n
	}
	if _, err := s.f.Write(b); err != nil {
		return l.fail(fmt.Errorf("write %d bytes at offset %d of %s: %w", len(b), s.end, s.name, err))
	}
	if sync {
		if err := l.sync(s); err != nil {
			return l.fail(err)
		}
	}
	meta := false
	l.ix.Lock()
	for i := range w.pend {
		p := &w.pend[i]
		p.r.apply(p.kind, p.decree, p.ballot, p.committed, s, p.loc)
		meta = meta || p.kind != kindMutation
	}
	s.end = end
	l.ix.Unlock()
	l.stats.batch(len(w.pend), len(b))
	if sync {
		l.reached(position{s.seq, end}, w.lowInBatch)
	}
	if meta {
		l.wakeBackground()
	}
	return nil
}

// sync makes a segment's data durable.
func (l *Log) sync(s *segment) error {
	start := time.Now()
	err := s.f.SyncData()
	l.stats.sync(time.Since(start))
	if err != nil {
		return fmt.Errorf("fdatasync of %s: %w", s.name, err)
	}
	return nil
}

// reached notes that a segment is durable up to p, and a mark with low before p. Unless
// full segments are still to be synced, all before p is durable then.
func (l *Log) reached(p position, low uint64) {
	l.mu.Lock()
	all := l.always || len(l.unsealed) == 0
	if all && l.synced.before(p) {
		l.synced = p
	}
	l.mu.Unlock()
	if all && l.durableLow.Load() < low {
		l.durableLow.Store(low)
		l.wakeBackground()
	}
}

// markIdle tells, in a log that does nothing, that all of it is on the disk.
func (l *Log) markIdle() {
	w := &l.w
	low := l.low.Load()
	if w.marked && w.lowInBatch == low || l.Failed() != nil {
		return
	}
	if !l.always {
		if err := l.sync(w.active); err != nil {
			_ = l.fail(err)
			return
		}
		l.reached(position{w.active.seq, w.active.end}, 0)
	}
	if l.begin() == nil && l.commit(low > l.durableLow.Load()) == nil {
		w.marked = true
	}
}

// runJob writes entries that still stand where they stood; the index is up to date here,
// as no batch is on its way.
func (l *Log) runJob(j *job) error {
	if err := l.begin(); err != nil {
		return err
	}
	for i := range j.copies {
		c := &j.copies[i]
		l.ix.RLock()
		t, at, ok := c.r.lookup(c.entry.Decree)
		ok = ok && t.seg == c.seg && at == c.loc
		l.ix.RUnlock()
		if ok {
			l.encodeEntry(c.r, &c.entry)
			l.stats.rewritten.Add(1)
		}
	}
	return l.commit(l.always)
}

// rotate begins the next segment.
func (l *Log) rotate() error {
	old := l.w.active
	if err := l.create(old.seq+1, old.end); err != nil {
		return err
	}
	l.mu.Lock()
	l.unsealed = append(l.unsealed, old)
	l.mu.Unlock()
	if l.always {
		l.reached(position{l.w.active.seq, l.w.active.end}, l.w.active.low)
	}
	l.stats.rotations.Add(1)
	l.wakeBackground()
	return nil
}

// create makes segment seq and the active one. It has its head and its name, durably, or
// there is an error. The segment before it ends at prevEnd.
func (l *Log) create(seq uint64, prevEnd int64) (err error) {
	l.dirMu.Lock()
	defer l.dirMu.Unlock()
	w := &l.w
	s := &segment{seq: seq, name: segmentName(seq), low: l.low.Load()}
	if s.f, err = l.fs.OpenReadWrite(l.path(spareName), writeCategory); err != nil {
		return fmt.Errorf("create %s: %w", s.name, err)
	}
	defer func() {
		if err != nil {
			_ = s.f.Close()
		}
	}()
	info, err := s.f.Stat()
	if err != nil {
		return fmt.Errorf("look at the size of %s: %w", s.name, err)
	}
	s.size = info.Size()
	w.allocated = s.size

	l.mu.Lock()
	synced := l.synced
	l.mu.Unlock()
	w.enc.segment(l.id, seq, 0)
	w.enc.buf = appendHeader(w.enc.buf, header{id: l.id, seq: seq, prevEnd: prevEnd})
	w.enc.table(l.tableEntries())
	if l.always {
		// It will have its name only when it is durable up to here.
		synced = position{seq, w.enc.at()}
	}
	w.enc.mark(synced, s.low, false)
	s.end = w.enc.at()
	if _, err = s.f.Write(w.enc.buf); err != nil {
		return fmt.Errorf("write the head of %s: %w", s.name, err)
	}
	if err = l.sync(s); err != nil {
		return err
	}
	if err = l.fs.Rename(l.path(spareName), l.path(s.name)); err != nil {
		return fmt.Errorf("name %s: %w", s.name, err)
	}
	if err = l.syncDir(); err != nil {
		return err
	}
	l.ix.Lock()
	l.segs = append(l.segs, s)
	l.ix.Unlock()
	w.active = s
	return nil
}

func (l *Log) syncDir() error {
	if err := l.dir.Sync(); err != nil {
		return fmt.Errorf("fsync of directory %s: %w", l.opts.Dir, err)
	}
	return nil
}

// tableEntries returns what the next Table says, and forgets dropped replicas: it is the
// Table that says that they are gone.
func (l *Log) tableEntries() []tableEntry {
	l.ix.Lock()
	defer l.ix.Unlock()
	ts := make([]tableEntry, 0, len(l.replicas))
	for g, r := range l.replicas {
		if r.dropped {
			delete(l.replicas, g)
			if l.hint == r {
				l.hint = nil
			}
			continue
		}
		ts = append(ts, r.tableEntry())
	}
	slices.SortFunc(ts, func(a, b tableEntry) int { return a.gpid.Compare(b.gpid) })
	return ts
}

// finish ends a log that is being closed: everything is synced, and the Table and a last
// mark tell it. The goroutines are gone.
func (l *Log) finish() error {
	if err := l.sealAll(); err != nil {
		return err
	}
	l.start()
	l.w.enc.table(l.tableEntries())
	if err := l.commit(true); err != nil {
		return err
	}
	l.start()
	if err := l.commit(true); err != nil {
		return err
	}
	l.trim(l.w.active, l.w.active.end)
	return nil
}

// trim gives back blocks that were reserved behind the end, where the file system can.
func (l *Log) trim(s *segment, end int64) {
	if t, ok := s.f.(interface{ Truncate(int64) error }); ok && s.size <= end {
		if err := t.Truncate(end); err != nil {
			l.logger.WithError(err).WithField("segment", s.name).Warn("cannot give back reserved blocks of a log segment")
		}
	}
}

// seal syncs a full segment and writes down that it has a successor. Its data was
// already durable with sync "always".
func (l *Log) seal(s *segment) error {
	if !l.always {
		if err := l.sync(s); err != nil {
			return err
		}
	}
	end := position{s.seq, s.end}
	var e encoder
	e.segment(l.id, s.seq, s.end)
	e.mark(end, s.low, true)
	if _, err := s.f.Write(e.buf); err != nil {
		return fmt.Errorf("seal %s: %w", s.name, err)
	}
	l.trim(s, e.at())
	return nil
}
