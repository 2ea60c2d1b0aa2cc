package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
)

// Open opens the log in o.Dir, or makes it. It recovers what is there: a torn end is cut,
// damage elsewhere marks the replicas that it may have hit (see Damaged). It fails if
// another process has the log, if a segment is of another log or of an unknown version,
// and if the disk does.
func Open(o Options) (_ *Log, err error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	l := &Log{
		opts: o, fs: o.FS, logger: o.Logger, always: o.Sync == syncAlways, longestWait: longestWait,
		replicas: make(map[base.Gpid]*replica),
		kick:     make(chan struct{}, 1), stop: make(chan struct{}),
		writerDone: make(chan struct{}), backgroundDone: make(chan struct{}),
	}
	l.in.work.L = &l.in.mu
	l.w.Log, l.cleaner.Log = l, l
	if err := l.openDir(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = l.closeFiles()
		}
	}()
	if err := l.recover(); err != nil {
		return nil, err
	}
	go l.w.run()
	go l.cleaner.run()
	l.wakeBackground()
	return l, nil
}

// Unopened is a log that can't be opened for now: it has failed, is closed, and knows nothing.
func Unopened(err error) *Log {
	l := &Log{failed: fmt.Errorf("%w: %w", base.ErrDiskIoError, err), kick: make(chan struct{}, 1)}
	l.in.work.L, l.in.closing = &l.in.mu, true
	return l
}

// Close writes what is queued, marks the end as whole, and gives the directory back.
func (l *Log) Close() error {
	l.in.mu.Lock()
	if l.in.closing {
		l.in.mu.Unlock()
		return ErrClosed
	}
	l.in.closing = true
	l.in.mu.Unlock()
	l.in.work.Signal()
	<-l.writerDone
	close(l.stop)
	<-l.backgroundDone
	err := l.Failed()
	if err == nil {
		err = l.w.finish()
	}
	return errors.Join(err, l.closeFiles())
}

// closeFiles closes what is open; readers keep their segments until they are done.
func (l *Log) closeFiles() error {
	var errs []error
	l.ix.Lock()
	for _, s := range append(slices.Clone(l.segs), l.cleaner.condemned...) {
		s.dead = true
		errs = append(errs, s.close())
	}
	l.segs, l.cleaner.condemned = nil, nil
	l.replicas = nil
	l.ix.Unlock()
	if l.dir != nil {
		errs = append(errs, l.dir.Close())
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(errs...)
}

// openDir makes the directory and locks it.
func (l *Log) openDir() error {
	dir := l.opts.Dir
	if err := l.fs.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the log directory %s: %w", dir, err)
	}
	parent, err := l.fs.OpenDir(l.fs.PathDir(dir))
	if err == nil {
		err = parent.Sync()
		_ = parent.Close()
	}
	if err != nil {
		return fmt.Errorf("make the log directory %s durable: %w", dir, err)
	}
	if l.lock, err = l.fs.Lock(l.path(lockName)); err != nil {
		l.lock = nil
		return fmt.Errorf("the log in %s is in use by another process (can't lock %s): %w: %w",
			dir, l.path(lockName), base.ErrLockAlreadyExist, err)
	}
	if l.dir, err = l.fs.OpenDir(dir); err != nil {
		_ = l.lock.Close()
		return fmt.Errorf("open the log directory %s: %w", dir, err)
	}
	return nil
}

// recovery is the state of reading the log when it is opened.
type recovery struct {
	l     *Log
	files []*file
	// gone are files of segments that were given up, to be removed.
	gone []string
	// synced and low are the greatest that a mark says.
	synced position
	low    uint64
	// noStart: segments before the first file are missing.
	noStart bool
	// epoch counts damaged places; reason is the last one's. unresolved: no Table came
	// since.
	epoch      int
	reason     string
	unresolved bool
	// sealed: the last file that was read ends with a seal.
	sealed bool
	// cut: the rest of the log, from the end of the last segment on, is void.
	cut bool
}

func (l *Log) recover() error {
	start := time.Now()
	r := &recovery{l: l, low: 1}
	seq, err := r.open()
	if err != nil {
		return err
	}
	if len(r.files) > 0 {
		if err := r.marks(); err != nil {
			return err
		}
		if err := r.read(); err != nil {
			return err
		}
		seq = l.segs[len(l.segs)-1].seq + 1
		r.low = l.segs[0].seq
	} else if len(l.opts.Replicas) > 0 && r.epoch == 0 {
		r.damage("there are replicas, but no log of theirs")
	}
	r.suspect()
	if err := l.resume(r, seq); err != nil {
		return err
	}
	s := l.Stats()
	f := logrus.Fields{"segments": s.Segments, "bytes": s.TotalBytes, "replicas": len(l.replicas),
		"entries": s.IndexEntries, "took": time.Since(start).String()}
	if d := l.Damaged(); len(d) > 0 {
		l.logger.WithFields(f).WithField("damaged", len(d)).WithField("first", d[0]).Error("replication log opened; replicas have lost entries")
	} else {
		l.logger.WithFields(f).Info("replication log opened")
	}
	return nil
}

// open opens the segments and learns whose they are. It returns the number of the first
// segment to write if there are none.
func (r *recovery) open() (uint64, error) {
	l := r.l
	names, err := l.fs.List(l.opts.Dir)
	if err != nil {
		return 0, fmt.Errorf("list the log directory %s: %w", l.opts.Dir, err)
	}
	slices.Sort(names)
	for _, name := range names {
		seq, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		f := &file{segment: &segment{seq: seq, name: name}}
		// From here on closeFiles closes it.
		l.segs = append(l.segs, f.segment)
		if f.segment.f, err = l.fs.Open(l.path(name)); err != nil {
			return 0, fmt.Errorf("open log segment %s: %w", name, err)
		}
		info, err := f.segment.f.Stat()
		if err != nil {
			return 0, fmt.Errorf("look at the size of log segment %s: %w", name, err)
		}
		if info.Size() > math.MaxUint32 {
			return 0, fmt.Errorf("log segment %s has %d bytes, more than one can have: %w", name, info.Size(), base.ErrInvalidData)
		}
		f.segment.size = info.Size()
		f.window = window{f: f.segment.f, size: info.Size()}
		if err := f.readHeader(); err != nil {
			return 0, err
		}
		if f.hdr.id != 0 {
			if l.id == 0 {
				l.id = f.hdr.id
			}
			if f.hdr.id != l.id {
				return 0, fmt.Errorf("log segment %s belongs to log %016x, the log in %s is %016x: %w",
					name, f.hdr.id, l.opts.Dir, l.id, base.ErrInvalidData)
			}
		}
		r.files = append(r.files, f)
	}
	if len(r.files) == 0 {
		return 1, r.newIdentity()
	}
	if l.id == 0 {
		return r.identityOfMarks()
	}
	for _, f := range r.files {
		f.seed = seedOf(l.id, f.seq)
	}
	return 0, nil
}

func (r *recovery) newIdentity() error {
	r.l.id = r.l.opts.id
	for r.l.id == 0 {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return fmt.Errorf("choose the identity of the log in %s: %w", r.l.opts.Dir, err)
		}
		r.l.id = binary.LittleEndian.Uint64(b[:])
	}
	return nil
}

// identityOfMarks finds the log's identity when no header has it. If no mark has it
// either, the files are put aside, and all replicas have lost what they had.
func (r *recovery) identityOfMarks() (uint64, error) {
	l := r.l
	for _, f := range r.files {
		m, ok, err := f.nextMark(0, 0, f.window.size)
		if err != nil {
			return 0, err
		}
		if ok && l.id == 0 {
			l.id = m.id
		}
		if ok && m.id != l.id {
			return 0, fmt.Errorf("log segment %s belongs to log %016x, the log in %s is %016x: %w",
				f.name, m.id, l.opts.Dir, l.id, base.ErrInvalidData)
		}
	}
	if l.id != 0 {
		for _, f := range r.files {
			f.seed = seedOf(l.id, f.seq)
		}
		return 0, nil
	}
	next := r.files[len(r.files)-1].seq + 1
	for _, f := range r.files {
		r.damage(fmt.Sprintf("%s is unreadable", f.name))
		if err := l.fs.Rename(l.path(f.name), l.path(f.name+".unreadable")); err != nil {
			return 0, fmt.Errorf("put the unreadable log segment %s aside: %w", f.name, err)
		}
		_ = f.segment.close()
	}
	r.files, l.segs = nil, nil
	r.low = next
	return next, r.newIdentity()
}

// marks learns what was synced and which segments were given up from the marks of the
// two newest segments that have any: a mark never says less than one before it.
func (r *recovery) marks() error {
	with := 0
	for i := len(r.files) - 1; i >= 0 && with < 2; i-- {
		f := r.files[i]
		n := 0
		for off := int64(0); ; n++ {
			m, ok, err := f.nextMark(r.l.id, off, f.window.size)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if r.synced.before(m.synced) {
				r.synced = m.synced
			}
			r.low = max(r.low, m.low)
			off = m.own.off + markSize
		}
		if n > 0 {
			with++
		}
	}
	// What was given up may still be there, and needed: the mark that says so may be void,
	// with entries that were written again before it. Where something is missing it isn't.
	n := 0
	for n < len(r.files)-1 && r.files[n].seq < r.low {
		n++
	}
	for n > 0 && r.files[n-1].seq+1 == r.files[n].seq && r.files[n-1].bad == "" {
		n--
	}
	for _, f := range r.files[:n] {
		r.gone = append(r.gone, f.name)
		if err := f.segment.close(); err != nil {
			return fmt.Errorf("close log segment %s: %w", f.name, err)
		}
	}
	r.files, r.l.segs = r.files[n:], r.l.segs[n:]
	if first := r.files[0].seq; first > r.low {
		r.noStart = true
		r.damage(fmt.Sprintf("segments before %s are missing", r.files[0].name))
	}
	return nil
}

// damage notes a damaged place.
func (r *recovery) damage(reason string) {
	r.epoch++
	r.reason, r.unresolved = reason, true
	r.l.logger.WithField("log", r.l.opts.Dir).Warn("damage in the replication log: " + reason)
}

// read reads all segments, up to the end or the cut.
func (r *recovery) read() error {
	for i := range r.files {
		if i > 0 && r.files[i].seq != r.files[i-1].seq+1 {
			r.damage(fmt.Sprintf("segments between %s and %s are missing", r.files[i-1].name, r.files[i].name))
		}
		if err := r.readSegment(i); err != nil {
			return err
		}
		r.files[i].buf = nil
		if r.cut {
			for _, f := range r.files[i+1:] {
				r.gone = append(r.gone, f.name)
				if err := f.segment.close(); err != nil {
					return fmt.Errorf("close log segment %s: %w", f.name, err)
				}
			}
			r.files, r.l.segs = r.files[:i+1], r.l.segs[:i+1]
			return nil
		}
	}
	if r.sealed {
		r.damage(fmt.Sprintf("the segment after %s is missing", r.files[len(r.files)-1].name))
	}
	return nil
}

// readSegment reads the i-th file and sets its segment's end.
func (r *recovery) readSegment(i int) error {
	f := r.files[i]
	r.sealed = false
	limit, exact := f.window.size, false
	if i+1 < len(r.files) && r.files[i+1].seq == f.seq+1 && r.files[i+1].bad == "" {
		limit, exact = r.files[i+1].hdr.prevEnd, true
	}
	off := int64(headerSize)
	if f.bad != "" {
		r.damage(f.bad)
		m, ok, err := f.nextMark(r.l.id, 0, limit)
		if err != nil || !ok {
			return err
		}
		off = m.own.off
	}
	for !r.sealed && !(exact && off >= limit) {
		rec, ok, err := f.record(off, limit)
		if err != nil {
			return err
		}
		if ok && r.take(f, off, rec, f.bad == "" && off == headerSize) {
			if !r.sealed {
				off += rec.size
			}
			f.end = off
			continue
		}
		if r.mayCut(i, off) {
			r.cut = true
			f.end = off
			return r.tellCut(i, off)
		}
		r.damage(fmt.Sprintf("%s is damaged", position{f.seq, off}))
		if off, ok, err = r.next(f, off, limit); err != nil || !ok {
			return err
		}
	}
	return nil
}

// mayCut tells whether an invalid record at off of the i-th file is the torn end of the
// log: nothing says that it was ever durable. A named segment had a whole head.
func (r *recovery) mayCut(i int, off int64) bool {
	if (position{r.files[i].seq, off}).before(r.synced) || off <= headerSize {
		return false
	}
	for k := i + 1; k < len(r.files); k++ {
		if r.files[k].bad != "" || r.files[k].seq != r.files[k-1].seq+1 {
			return false
		}
	}
	return true
}

// tellCut warns if what is cut off was more than the end of one write.
func (r *recovery) tellCut(i int, off int64) error {
	f := r.files[i]
	_, found, err := f.nextMark(r.l.id, off, f.window.size)
	if err != nil {
		return err
	}
	if later := len(r.files) - 1 - i; found || later > 0 {
		r.l.logger.WithFields(logrus.Fields{"at": position{f.seq, off}.String(), "later_segments": later}).
			Warn("the replication log is cut: what follows was never synced, and isn't whole")
	}
	return nil
}

// next finds where to go on after an invalid record at off.
func (r *recovery) next(f *file, off, limit int64) (int64, bool, error) {
	b, err := f.get(off, recordHeaderSize)
	if err != nil {
		return 0, false, f.readError(off, err)
	}
	if size := recordSize(b); size > 0 {
		if _, ok, err := f.record(off+size, limit); err != nil || ok {
			return off + size, ok, err
		}
	}
	m, ok, err := f.nextMark(r.l.id, off+1, limit)
	return m.own.off, ok, err
}

// take applies a record; false if it makes no sense. first: it begins its segment.
func (r *recovery) take(f *file, off int64, rec record, first bool) bool {
	switch rec.kind {
	case kindMark:
		m, err := parseMark(rec.body)
		if err != nil || m.id != r.l.id || m.own != (position{f.seq, off}) {
			return false
		}
		r.sealed = m.seal
	case kindTable:
		ts, err := parseTable(rec.body)
		if err != nil {
			return false
		}
		r.takeTable(ts, first && f == r.files[0])
	case kindMutation, kindTruncate, kindReset, kindDrop:
		c, err := parseChange(rec)
		if err != nil {
			return false
		}
		r.takeChange(rec.kind, &c, f.segment, loc{uint32(off), uint32(rec.size)})
	default:
		return false
	}
	return true
}

func (r *recovery) replica(g base.Gpid) *replica {
	p := r.l.replicas[g]
	if p == nil {
		p = &replica{gpid: g}
		r.l.replicas[g] = p
	}
	return p
}

func (r *recovery) takeChange(k kind, c *change, s *segment, at loc) {
	p := r.replica(c.Gpid)
	if p.serial+1 != c.serial || p.tail != c.last {
		p.gap(c.last, r.lost(position{s.seq, int64(at.off)}))
		p.settle()
	}
	p.serial, p.tail = c.serial-1, c.last
	p.next(k, c.Decree)
	p.apply(k, c.Decree, c.Ballot, c.Committed, s, at)
	p.epoch = r.epoch
}

// lost words why a replica has a gap before p.
func (r *recovery) lost(p position) string {
	if r.reason != "" {
		return r.reason
	}
	return fmt.Sprintf("records are missing before %s", p)
}

// takeTable takes over a Table; start: it is the first thing in the log.
func (r *recovery) takeTable(ts []tableEntry, start bool) {
	known := make(map[base.Gpid]bool, len(ts))
	for i := range ts {
		t := &ts[i]
		known[t.gpid] = true
		p := r.replica(t.gpid)
		if p.serial != t.serial || p.tail != t.state.Last {
			if !start || r.noStart && t.needed {
				p.gap(t.state.Last, r.lost(position{}))
			}
		}
		p.serial, p.tail, p.state = t.serial, t.state.Last, t.state
		p.dropped = false
		if t.damage != nil && (p.damage == nil || p.damage.From < t.damage.From) {
			p.damage = t.damage
		}
		p.settle()
		p.epoch = r.epoch
	}
	for g := range r.l.replicas {
		if !known[g] {
			delete(r.l.replicas, g)
		}
	}
	r.unresolved = false
}

// suspect marks the replicas of which nothing proves that they lost nothing.
func (r *recovery) suspect() {
	if !r.unresolved {
		return
	}
	for _, g := range r.l.opts.Replicas {
		// It is there: if it was dropped, it came back since.
		r.replica(g).dropped = false
	}
	for _, p := range r.l.replicas {
		if p.epoch < r.epoch && !p.dropped {
			p.damage = &Damage{Gpid: p.gpid, From: unknownFrom, Reason: r.reason}
		}
	}
}

// resume makes durable what was read, removes what is void, and begins a new segment.
func (l *Log) resume(r *recovery, seq uint64) error {
	for _, s := range l.segs {
		if s.seq < r.synced.seq {
			continue
		}
		if err := l.rewriteTail(s, r.synced); err != nil {
			return err
		}
		if err := l.sync(s); err != nil {
			return err
		}
	}
	// From the newest, so that a crash in between leaves no hole.
	for _, name := range slices.Backward(r.gone) {
		if err := l.fs.Remove(l.path(name)); err != nil {
			return fmt.Errorf("remove log segment %s: %w", name, err)
		}
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	l.low.Store(max(r.low, 1))
	var last *segment
	var prevEnd int64
	if len(l.segs) > 0 {
		last = l.segs[len(l.segs)-1]
		prevEnd = last.end
		l.synced = position{last.seq, last.end}
	}
	if err := l.w.create(seq, prevEnd); err != nil {
		return err
	}
	l.synced = position{seq, l.w.active.end}
	l.durableLow.Store(l.low.Load())
	if last != nil && last.end > headerSize && !r.sealed {
		return l.sealAt(last)
	}
	return nil
}

// rewriteTail writes again what stands behind synced in s. If a sync failed, before this
// process was started or before the log was opened again, the operating system may take
// those pages for clean: what was read may be on no disk, and a sync alone would not put it
// there. With sync "os" nobody was promised that it is.
func (l *Log) rewriteTail(s *segment, synced position) error {
	from := int64(0)
	if s.seq == synced.seq {
		from = synced.off
	}
	if !l.always || from >= s.end {
		return nil
	}
	f, err := l.fs.OpenReadWrite(l.path(s.name), writeCategory)
	if err != nil {
		return fmt.Errorf("open %s to write its end again: %w", s.name, err)
	}
	defer f.Close()
	b := make([]byte, min(s.end-from, moveBytes))
	for ; from < s.end; from += int64(len(b)) {
		b = b[:min(s.end-from, int64(len(b)))]
		if _, err := s.f.ReadAt(b, from); err != nil {
			return fmt.Errorf("read %d bytes at offset %d of %s: %w", len(b), from, s.name, err)
		}
		if _, err := f.WriteAt(b, from); err != nil {
			return fmt.Errorf("write %d bytes at offset %d of %s again: %w", len(b), from, s.name, err)
		}
	}
	return nil
}

// sealAt seals the recovered segment s where its valid data ends.
func (l *Log) sealAt(s *segment) error {
	f, err := l.fs.OpenReadWrite(l.path(s.name), writeCategory)
	if err != nil {
		return fmt.Errorf("open %s to seal it: %w", s.name, err)
	}
	defer f.Close()
	var e encoder
	e.segment(l.id, s.seq, s.end)
	e.mark(position{s.seq, s.end}, s.low, true)
	if _, err := f.WriteAt(e.buf, s.end); err != nil {
		return fmt.Errorf("seal %s: %w", s.name, err)
	}
	if t, ok := f.(interface{ Truncate(int64) error }); ok {
		// What was torn, and reserved blocks; not being able to is no harm.
		_ = t.Truncate(e.at())
	}
	if err := f.SyncData(); err != nil {
		return fmt.Errorf("fdatasync of %s: %w", s.name, err)
	}
	return nil
}
