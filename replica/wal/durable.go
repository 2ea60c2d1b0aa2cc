package wal

import (
	"fmt"
	"slices"
	"time"
)

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
	l.in.mu.Lock()
	all := l.always || len(l.unsealed) == 0
	if all && l.synced.before(p) {
		l.synced = p
	}
	l.in.mu.Unlock()
	if all && l.durableLow.Load() < low {
		l.durableLow.Store(low)
		l.wakeBackground()
	}
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

// sealAll seals full segments, oldest first.
func (l *Log) sealAll() error {
	for {
		l.in.mu.Lock()
		if len(l.unsealed) == 0 {
			l.in.mu.Unlock()
			return nil
		}
		s := l.unsealed[0]
		l.in.mu.Unlock()
		if err := l.seal(s); err != nil {
			return err
		}
		l.ix.RLock()
		i := slices.Index(l.segs, s)
		low := l.segs[i+1].low
		l.ix.RUnlock()
		l.in.mu.Lock()
		l.unsealed = slices.Delete(l.unsealed, 0, 1)
		if p := (position{s.seq, s.end}); l.synced.before(p) {
			l.synced = p
		}
		l.in.mu.Unlock()
		// Segments up to s are on the disk, and so is the head of the next.
		if l.durableLow.Load() < low {
			l.durableLow.Store(low)
		}
	}
}

func (l *Log) syncDir() error {
	if err := l.dir.Sync(); err != nil {
		return fmt.Errorf("fsync of directory %s: %w", l.opts.Dir, err)
	}
	return nil
}
