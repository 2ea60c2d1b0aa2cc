package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

const (
	// reviveRoom is how much must be free, besides two segments, before a log that ran out of
	// space is opened again.
	reviveRoom = 16 << 20
	// A log that failed for another reason is opened again after replica.disk_retry, if the disk
	// then keeps what is written to it; else after twice that, and so on up to maxRevive.
	maxRevive = 5 * time.Minute
	// A disk that failed so often within reviveWindow is left alone for the rest of it, unless
	// an administrator says otherwise, or the server is started again.
	ReviveTimes, reviveWindow = 5, time.Hour
	// probeBytes is what is written to a disk to see whether it works.
	probeBytes = 1 << 20
)

// revival is what a server remembers of a data directory whose log fails.
type revival struct {
	next    time.Time // the next attempt; zero: the log works
	wait    time.Duration
	maxWait time.Duration // what wait may grow to
	// times is when the log was opened again.
	times  []time.Time
	gaveUp bool
	// asked: an administrator wants the next attempt.
	asked bool
	// why the last attempt failed.
	why error
}

// failed notes that the log failed: it is tried again after wait, longer if it failed lately.
// It is false if that was so often that the disk is left alone for the rest of reviveWindow.
func (v *revival) failed(now time.Time, wait time.Duration) bool {
	for len(v.times) > 0 && now.Sub(v.times[0]) >= reviveWindow {
		v.times = v.times[1:]
	}
	v.gaveUp = len(v.times) >= ReviveTimes
	v.wait, v.maxWait = min(wait<<len(v.times), maxRevive), maxRevive
	if v.gaveUp {
		v.wait = v.times[0].Add(reviveWindow).Sub(now)
	}
	v.next = now.Add(v.wait)
	return !v.gaveUp
}

// ranShort notes that the log failed for want of something, which says nothing against the disk.
func (v *revival) ranShort(now time.Time) {
	v.gaveUp = false
	v.wait, v.maxWait, v.next = retryFirst, maxRetry, now
}

func (v *revival) due(now time.Time) bool { return !now.Before(v.next) }

// missed notes that the disk doesn't work yet.
func (v *revival) missed(now time.Time) {
	v.gaveUp = false
	v.wait = min(2*v.wait, v.maxWait)
	v.next = now.Add(v.wait)
}

// revived notes that the log works again; short: it had only run short.
func (v *revival) revived(now time.Time, short bool) {
	v.next, v.why = time.Time{}, nil
	if !short {
		v.times = append(v.times, now)
	}
}

// Revived notes that the log works again; short: it had only run short of something.
func (d *Dir) Revived(now time.Time, short bool) {
	d.revivalMu.Lock()
	defer d.revivalMu.Unlock()
	d.revival.revived(now, short)
}

// reviveDirs takes the replicas out of service whose log failed, and opens logs again: that of
// a disk that was full when it has room, that of a disk that had an error when it works.
func (s *Set) reviveDirs(now time.Time) {
	for _, d := range s.All() {
		err := d.Log().Failed()
		if err == nil || d.reviving.Load() {
			continue
		}
		s.host.Fail(d, fmt.Errorf("log: %w", err))
		short := base.Shortage(err) || d.away()
		if outOfRoom(err) && !d.hasRoom(uint64(2*s.o.WAL.SegmentBytes+reviveRoom)) {
			continue
		}
		d.revivalMu.Lock()
		v, due := &d.revival, false
		switch {
		case v.next.IsZero() && short:
			v.ranShort(now)
			due = true
		case v.next.IsZero():
			if !v.failed(now, s.o.Retry) {
				s.log.Errorf("data directory %s failed %d times within %v: it is not used for %v, unless replica.disk-retry %s says so", d.Path, len(v.times)+1, reviveWindow, v.wait.Round(time.Second), d.Tag)
			}
		default:
			due = v.due(now)
		}
		d.revivalMu.Unlock()
		if due {
			s.tryRevival(d, short)
		}
	}
}

// tryRevival opens a directory again; short: its log had only run short of something.
func (s *Set) tryRevival(d *Dir, short bool) {
	if !d.reviving.CompareAndSwap(false, true) {
		return
	}
	s.host.Go(func() {
		defer d.reviving.Store(false)
		why := "works again"
		if d.away() {
			why = "is there"
		} else if short {
			why = "has what it lacked"
		}
		d.revivalMu.Lock()
		asked := d.revival.asked
		d.revival.asked = false
		d.revivalMu.Unlock()
		var err error
		if asked {
			err = s.identity.accept(d.place())
		} else {
			err = s.identity.missing(d.place())
		}
		if err == nil && d.fresh {
			err = s.prepare(d)
		}
		if err == nil {
			err = probe(d.Scratch())
		}
		if err == nil {
			err = s.revive(d, why)
		}
		if err == nil {
			err = s.identity.settle(d)
		}
		if err == nil && asked {
			if err := s.identity.settle(s.All()...); err != nil {
				s.log.Warnf("data directory %s: another one doesn't remember its id yet: %v", d.Path, err)
			}
		}
		if err == nil {
			d.measure()
			d.Revived(time.Now(), short)
			return
		}
		d.revivalMu.Lock()
		defer d.revivalMu.Unlock()
		log := s.log.Warnf
		if was := d.revival.why; errors.Is(err, errAway) && was != nil && was.Error() == err.Error() {
			log = s.log.Debugf // a disk may be away for days
		}
		d.revival.missed(time.Now())
		d.revival.why = err
		log("data directory %s is not used: %v; tried again in %v", d.Path, err, d.revival.wait)
	})
}

// probe tells whether the disk under dir keeps what is written to it.
func probe(dir string) (err error) {
	fs := vfs.Default
	name := filepath.Join(dir, "probe")
	defer func() {
		if e := fs.Remove(name); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
		if err != nil {
			err = fmt.Errorf("the disk does not work: %w", err)
		}
	}()
	want := bytes.Repeat([]byte("pegasus\n"), probeBytes/8)
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.Clone(want))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if f, err = fs.Open(name); err != nil {
		return err
	}
	got, err := io.ReadAll(f)
	if err == nil && !bytes.Equal(got, want) {
		err = errors.New("what was read is not what was written")
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	parent, err := fs.OpenDir(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// revive closes everything in a directory and opens it as at the start of the process: what
// wasn't written was not acknowledged, and what follows from that is the same as after a
// crash. The log sees to it that what it finds is on the disk.
func (s *Set) revive(d *Dir, why string) error {
	out, ok := s.host.TakeOut(d)
	if !ok {
		return nil
	}
	s.log.Warnf("data directory %s %s: its log and %d replicas are opened again", d.Path, why, out.Len())
	out.Close()
	if err := d.Log().Close(); err != nil {
		s.log.Debugf("close of the failed log: %v", err)
	}
	l, err := d.openLog()
	var here []base.Gpid
	if err == nil {
		if here, err = d.Replicas(); err != nil {
			err = errors.Join(err, l.Close())
		}
	}
	if err == nil {
		s.dropOthers(l, here)
		d.log.Store(l)
		d.fresh = false
	} else {
		err = fmt.Errorf("the log can't be opened again: %w", err)
	}
	out.Reopen(here, err)
	s.host.SyncSoon()
	return err
}
