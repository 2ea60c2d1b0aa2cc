package wal

import (
	"errors"
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

// writer is the state of writing. It belongs to who has set intake.busy: the writer goroutine
// or one in Kick; to Open before that, and to Close when the writer goroutine is gone.
type writer struct {
	*Log
	active *segment
	// allocated is how far blocks are reserved.
	allocated int64
	enc       encoder
	pend      []pending
	// lowInBatch is the low in the mark of the batch that is being encoded.
	lowInBatch uint64
	// marked: nothing came since an idle mark.
	marked bool
	// notBefore is until when the next segment isn't tried again; zero: it didn't fail.
	notBefore time.Time
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
func (w *writer) run() {
	defer close(w.writerDone)
	var items []item
	for {
		if w.always {
			// Those whom the last batch woke get to append first: a third more in a batch.
			runtime.Gosched()
		}
		w.in.mu.Lock()
		for w.in.busy || len(w.in.items) == 0 && w.in.job == nil && !w.in.idle && !w.in.closing {
			w.in.work.Wait()
		}
		w.in.busy = true
		items, w.in.items = w.in.items, items[:0]
		j, idle, closing := w.in.job, w.in.idle, w.in.closing
		w.in.job, w.in.idle = nil, false
		w.in.mu.Unlock()

		switch {
		case j != nil:
			j.done <- w.runJob(j)
		case idle && len(items) == 0:
			w.markIdle()
		}
		w.writeItems(items, true)
		w.in.mu.Lock()
		w.in.busy = false
		w.in.mu.Unlock()
		if closing && j == nil && len(items) == 0 {
			return
		}
		clear(items)
	}
}

// writeItems writes items in batches, and tells who waits for each; tell: also AfterBatch.
func (w *writer) writeItems(items []item, tell bool) {
	for len(items) > 0 {
		n, err := w.writeBatch(items)
		for i := range items[:n] {
			if err == nil {
				items[i].done(items[i].err)
			} else {
				items[i].done(err)
			}
		}
		items = items[n:]
		if f := w.opts.AfterBatch; f != nil && tell {
			f()
		}
	}
}

// writeBatch writes as many items as make a batch, at least one, and returns their number.
func (w *writer) writeBatch(items []item) (int, error) {
	if err := w.begin(); err != nil {
		return len(items), err
	}
	n := 0
	for n < len(items) && (n == 0 || len(w.enc.buf) < maxBatch) {
		items[n].err = w.encode(&items[n])
		n++
	}
	return n, w.commit(w.always)
}

// begin starts a batch: the next segment if it is time, and the mark.
func (w *writer) begin() error {
	if err := w.Failed(); err != nil {
		return err
	}
	if w.active.end >= w.opts.SegmentBytes {
		if err := w.next(); err != nil {
			return w.fail(err)
		}
	}
	w.start()
	return nil
}

const (
	// shortPause is how long a log that had not what it takes to begin its next segment writes on
	// in the present one, before it tries again.
	shortPause = 100 * time.Millisecond
	// longest is how many times SegmentBytes a segment may have then.
	longest = 8
	// longestWait is how long everybody waits once a segment is as long as that. Then the log
	// has failed: a log that stands still and doesn't say so keeps its server's partitions from
	// going on elsewhere.
	longestWait = 5 * time.Second
)

// errNotBegun marks an error after which everything is as if the next segment had not been tried.
type errNotBegun struct{ error }

// Unwrap returns the cause.
func (e errNotBegun) Unwrap() error { return e.error }

// next begins the next segment. If that takes what there is too little of just now, descriptors
// for one, the present segment goes on and becomes longer; once it is as long as one may be,
// everybody waits, for a while.
func (w *writer) next() error {
	var waited time.Duration
	for {
		if time.Now().Before(w.notBefore) && w.active.end < w.longest() {
			return nil
		}
		err := w.rotate()
		var before errNotBegun
		if err == nil || !errors.As(err, &before) || !base.Shortage(err) {
			w.notBefore = time.Time{}
			return err
		}
		if w.notBefore.IsZero() {
			w.logger.WithError(err).Warn("the replication log can't begin its next segment, and goes on in the present one until it can")
		}
		w.notBefore = time.Now().Add(shortPause)
		if w.active.end < w.longest() {
			return nil
		}
		w.in.mu.Lock()
		closing := w.in.closing
		w.in.mu.Unlock()
		if closing || waited >= w.longestWait {
			return err
		}
		pause := time.NewTimer(shortPause)
		<-pause.C
		waited += shortPause
	}
}

// longest is how long a segment may become: offsets in it have 32 bits.
func (w *writer) longest() int64 {
	return max(w.opts.SegmentBytes, min(longest*w.opts.SegmentBytes, maxSegmentBytes))
}

// start begins a batch in the active segment, with its mark.
func (w *writer) start() {
	w.in.mu.Lock()
	synced := w.synced
	w.in.mu.Unlock()
	if cap(w.enc.buf) > bigBuffer {
		w.enc.buf = nil
	}
	clear(w.pend)
	w.pend = w.pend[:0]
	w.enc.segment(w.id, w.active.seq, w.active.end)
	w.lowInBatch = w.low.Load()
	w.enc.mark(synced, w.lowInBatch, false)
	w.marked = false
}

// encode adds one item to the batch. An item that is refused leaves nothing.
func (w *writer) encode(it *item) error {
	if it.kind != kindMutation {
		if !validDecree(it.decree) {
			return fmt.Errorf("decree %d of %s can't be logged: %w", it.decree, it.gpid, base.ErrInvalidParameters)
		}
		r := w.replica(it.gpid)
		serial, last := r.next(it.kind, it.decree)
		at := w.enc.meta(it.kind, it.gpid, serial, last, it.decree)
		w.pend = append(w.pend, pending{r: r, kind: it.kind, decree: it.decree, loc: at})
		return nil
	}
	for i := range it.entries {
		e := &it.entries[i]
		if !validDecree(e.Decree) || e.Decree == 0 {
			return fmt.Errorf("decree %d of %s can't be logged: %w", e.Decree, e.Gpid, base.ErrInvalidParameters)
		}
		if len(e.Payload) > MaxPayload {
			return fmt.Errorf("decree %d of %s has %d bytes, more than a log record can have (%d): %w",
				e.Decree, e.Gpid, len(e.Payload), MaxPayload, base.ErrInvalidParameters)
		}
	}
	for i := range it.entries {
		w.encodeEntry(w.replica(it.entries[i].Gpid), &it.entries[i])
	}
	return nil
}

func (w *writer) encodeEntry(r *replica, e *Entry) {
	serial, last := r.next(kindMutation, e.Decree)
	at := w.enc.mutation(e, serial, last)
	w.pend = append(w.pend, pending{r: r, kind: kindMutation, decree: e.Decree, ballot: e.Ballot, committed: e.Committed, loc: at})
	w.stats.entries.Add(1)
}

// replica returns the record of g, new if need be. Only who is busy changes the map, so
// that it can look things up without the lock.
func (w *writer) replica(g base.Gpid) *replica {
	r := w.replicas[g]
	if r == nil {
		r = &replica{gpid: g}
		w.ix.Lock()
		w.replicas[g] = r
		w.ix.Unlock()
	}
	return r
}

// commit writes the batch, syncs it if asked to, and applies it to the index.
func (w *writer) commit(sync bool) error {
	s, b := w.active, w.enc.buf
	end := s.end + int64(len(b))
	if end > w.allocated {
		// Reserving is a courtesy to the file system; if it can't, the write will tell.
		n := max(min(preallocate, w.opts.SegmentBytes), end-w.allocated)
		_ = s.f.Preallocate(w.allocated, n)
		w.allocated += n
	}
	if _, err := s.f.Write(b); err != nil {
		return w.fail(fmt.Errorf("write %d bytes at offset %d of %s: %w", len(b), s.end, s.name, err))
	}
	if sync {
		if err := w.sync(s); err != nil {
			return w.fail(err)
		}
	}
	meta := false
	w.ix.Lock()
	for i := range w.pend {
		p := &w.pend[i]
		p.r.apply(p.kind, p.decree, p.ballot, p.committed, s, p.loc)
		meta = meta || p.kind != kindMutation
	}
	s.end = end
	w.ix.Unlock()
	w.stats.batch(len(w.pend), len(b))
	if sync {
		w.reached(position{s.seq, end}, w.lowInBatch)
	}
	if meta {
		w.wakeBackground()
	}
	return nil
}

// markIdle tells, in a log that does nothing, that all of it is on the disk.
func (w *writer) markIdle() {
	low := w.low.Load()
	if w.marked && w.lowInBatch == low || w.Failed() != nil {
		return
	}
	if !w.always {
		if err := w.sync(w.active); err != nil {
			_ = w.fail(err)
			return
		}
		w.reached(position{w.active.seq, w.active.end}, 0)
	}
	if w.begin() == nil && w.commit(low > w.durableLow.Load()) == nil {
		w.marked = true
	}
}

// runJob writes entries that still stand where they stood; the index is up to date here,
// as no batch is on its way.
func (w *writer) runJob(j *job) error {
	if err := w.begin(); err != nil {
		return err
	}
	for i := range j.copies {
		c := &j.copies[i]
		w.ix.RLock()
		t, at, ok := c.r.lookup(c.entry.Decree)
		ok = ok && t.seg == c.seg && at == c.loc
		w.ix.RUnlock()
		if ok {
			w.encodeEntry(c.r, &c.entry)
			w.stats.rewritten.Add(1)
		}
	}
	return w.commit(w.always)
}

// rotate begins the next segment.
func (w *writer) rotate() error {
	old := w.active
	if err := w.create(old.seq+1, old.end); err != nil {
		return err
	}
	w.in.mu.Lock()
	w.unsealed = append(w.unsealed, old)
	w.in.mu.Unlock()
	if w.always {
		w.reached(position{w.active.seq, w.active.end}, w.active.low)
	}
	w.stats.rotations.Add(1)
	w.wakeBackground()
	return nil
}

// create makes segment seq and the active one. It has its head and its name, durably, or
// there is an error. The segment before it ends at prevEnd.
func (w *writer) create(seq uint64, prevEnd int64) (err error) {
	w.dirMu.Lock()
	defer w.dirMu.Unlock()
	s := &segment{seq: seq, name: segmentName(seq), low: w.low.Load()}
	if s.f, err = w.fs.OpenReadWrite(w.path(spareName), writeCategory); err != nil {
		return errNotBegun{fmt.Errorf("create %s: %w", s.name, err)}
	}
	defer func() {
		if err != nil {
			_ = s.f.Close()
		}
	}()
	info, err := s.f.Stat()
	if err != nil {
		return errNotBegun{fmt.Errorf("look at the size of %s: %w", s.name, err)}
	}
	s.size = info.Size()

	w.in.mu.Lock()
	synced := w.synced
	w.in.mu.Unlock()
	w.enc.segment(w.id, seq, 0)
	w.enc.buf = appendHeader(w.enc.buf, header{id: w.id, seq: seq, prevEnd: prevEnd})
	table, dropped := w.tableEntries()
	w.enc.table(table)
	if w.always {
		// It will have its name only when it is durable up to here.
		synced = position{seq, w.enc.at()}
	}
	w.enc.mark(synced, s.low, false)
	s.end = w.enc.at()
	if _, err = s.f.Write(w.enc.buf); err != nil {
		return errNotBegun{fmt.Errorf("write the head of %s: %w", s.name, err)}
	}
	if err = w.sync(s); err != nil {
		return errNotBegun{err}
	}
	if err = w.fs.Rename(w.path(spareName), w.path(s.name)); err != nil {
		return fmt.Errorf("name %s: %w", s.name, err)
	}
	if err = w.syncDir(); err != nil {
		return err
	}
	w.ix.Lock()
	w.segs = append(w.segs, s)
	w.ix.Unlock()
	w.active, w.allocated = s, s.size
	w.forget(dropped)
	return nil
}

// tableEntries returns what the next Table says, and who is not in it because it was dropped: to
// be forgotten when the Table is in the log, which is what says that they are gone.
func (w *writer) tableEntries() (ts []tableEntry, dropped []*replica) {
	w.ix.RLock()
	defer w.ix.RUnlock()
	ts = make([]tableEntry, 0, len(w.replicas))
	for _, r := range w.replicas {
		if r.dropped {
			dropped = append(dropped, r)
			continue
		}
		ts = append(ts, r.tableEntry())
	}
	slices.SortFunc(ts, func(a, b tableEntry) int { return a.gpid.Compare(b.gpid) })
	return ts, dropped
}

// forget lets go of replicas that the Table of the newest segment says are gone.
func (w *writer) forget(dropped []*replica) {
	w.ix.Lock()
	defer w.ix.Unlock()
	for _, r := range dropped {
		delete(w.replicas, r.gpid)
		if w.hint == r {
			w.hint = nil
		}
	}
}

// finish ends a log that is being closed: everything is synced, and the Table and a last
// mark tell it. The goroutines are gone.
func (w *writer) finish() error {
	if err := w.sealAll(); err != nil {
		return err
	}
	w.start()
	table, dropped := w.tableEntries()
	w.enc.table(table)
	if err := w.commit(true); err != nil {
		return err
	}
	w.forget(dropped)
	w.start()
	if err := w.commit(true); err != nil {
		return err
	}
	w.trim(w.active, w.active.end)
	return nil
}
