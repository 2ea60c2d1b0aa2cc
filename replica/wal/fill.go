package wal

import (
	"errors"
	"fmt"
)

// With sync "always", a write to blocks that a file system has only reserved makes it write its
// own log with each fdatasync, and wait there for what other files have in it: the tables of a
// flush, for one. Blocks that were written before cost nothing of that. So the next segment is
// written in full, in the background, before it is needed, unless an old one is there to write
// over.

const (
	fillingName = "filling"
	// fillChunk is how much is written at a time: syncs of the log wait for one such write.
	fillChunk = 1 << 20
)

// fill makes the spare segment when the newest is half full and there is none. That it can't
// be done is no fault of the log: the next segment is then made when it is needed.
func (l *Log) fill() {
	if !l.always || l.opts.tick < 0 || len(l.condemned) > 0 {
		return
	}
	l.ix.RLock()
	end := l.segs[len(l.segs)-1].end
	l.ix.RUnlock()
	if end < l.opts.Config.SegmentBytes/2 {
		return
	}
	if _, err := l.fs.Stat(l.path(spareName)); err == nil {
		return
	}
	if err := l.makeSpare(); err != nil {
		l.logger.WithError(err).Debug("the next log segment isn't prepared")
		_ = ignoreAbsent(l.fs.Remove(l.path(fillingName)))
		return
	}
	l.stats.filled.Add(1)
}

// errStopping ends the filling of a log that is being closed.
var errStopping = errors.New("the log is being closed")

func (l *Log) makeSpare() (err error) {
	name := l.path(fillingName)
	f, err := l.fs.Create(name, writeCategory)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	zeros := make([]byte, min(fillChunk, l.opts.Config.SegmentBytes))
	for n := int64(0); n < l.opts.Config.SegmentBytes; n += int64(len(zeros)) {
		select {
		case <-l.stop:
			return errStopping
		default:
		}
		if _, err := f.Write(zeros); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := f.SyncData(); err != nil {
			return fmt.Errorf("fdatasync of %s: %w", name, err)
		}
	}
	l.dirMu.Lock()
	defer l.dirMu.Unlock()
	if err := l.fs.Rename(name, l.path(spareName)); err != nil {
		return fmt.Errorf("name %s: %w", name, err)
	}
	return nil
}
