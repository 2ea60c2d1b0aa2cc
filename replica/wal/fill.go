package wal

import (
	"errors"
	"fmt"
	"os"
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
func (c *cleaner) fill() {
	if !c.always || c.opts.tick < 0 || len(c.condemned) > 0 {
		return
	}
	c.ix.RLock()
	end := c.segs[len(c.segs)-1].end
	c.ix.RUnlock()
	if end < c.opts.SegmentBytes/2 {
		return
	}
	if _, err := c.fs.Stat(c.path(spareName)); err == nil {
		return
	}
	if err := c.makeSpare(); err != nil {
		c.logger.WithError(err).Debug("the next log segment isn't prepared")
		_ = ignoreAbsent(c.fs.Remove(c.path(fillingName)))
		return
	}
	c.stats.filled.Add(1)
}

// errStopping ends the filling of a log that is being closed.
var errStopping = errors.New("the log is being closed")

func (c *cleaner) makeSpare() (err error) {
	name := c.path(fillingName)
	f, err := c.fs.Create(name, writeCategory)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	zeros := make([]byte, min(fillChunk, c.opts.SegmentBytes))
	for n := int64(0); n < c.opts.SegmentBytes; n += int64(len(zeros)) {
		select {
		case <-c.stop:
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
	c.dirMu.Lock()
	defer c.dirMu.Unlock()
	if err := c.fs.Rename(name, c.path(spareName)); err != nil {
		return fmt.Errorf("name %s: %w", name, err)
	}
	return nil
}

func ignoreAbsent(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
