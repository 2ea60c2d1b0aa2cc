package replica

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// reviveRoom is how much must be free, besides two segments, before a log that ran out of
	// space is opened again.
	reviveRoom = 16 << 20
	// A log that failed for another reason is opened again after replica.disk_retry, if the disk
	// then keeps what is written to it; else after twice that, and so on up to reviveAtMost.
	reviveAtMost = 5 * time.Minute
	// A disk that failed so often within reviveWindow is left alone until an administrator says
	// otherwise, or the server is started again.
	reviveTimes, reviveWindow = 5, time.Hour
	// probeBytes is what is written to a disk to see whether it works.
	probeBytes = 1 << 20
)

// revival is what a server remembers of a data directory whose log fails.
type revival struct {
	next time.Time // the next attempt; zero: the log works
	wait time.Duration
	// times is when the log was opened again.
	times  []time.Time
	gaveUp bool
	// asked: an administrator wants the next attempt.
	asked bool
}

// failed notes that the log failed, and tells whether it is to be tried again: after wait,
// longer if it failed lately.
func (v *revival) failed(now time.Time, wait time.Duration) bool {
	for len(v.times) > 0 && now.Sub(v.times[0]) >= reviveWindow {
		v.times = v.times[1:]
	}
	v.gaveUp = len(v.times) >= reviveTimes
	v.wait = min(wait<<len(v.times), reviveAtMost)
	v.next = now.Add(v.wait)
	return !v.gaveUp
}

func (v *revival) due(now time.Time) bool { return !v.gaveUp && !now.Before(v.next) }

// missed notes that the disk doesn't work yet.
func (v *revival) missed(now time.Time) {
	v.wait = min(2*v.wait, reviveAtMost)
	v.next = now.Add(v.wait)
}

func (v *revival) revived(now time.Time) {
	v.next = time.Time{}
	v.times = append(v.times, now)
}

// reviveDirs takes the replicas out of service whose log failed, and opens logs again: that of
// a disk that was full when it has room, that of a disk that had an error when it works.
func (s *Server) reviveDirs(now time.Time) {
	for _, d := range s.dirs {
		err := d.log().Failed()
		if err == nil || d.reviving.Load() {
			continue
		}
		for _, r := range s.all() {
			if r.dir == d && r.view.Load().failed == nil {
				r.post(func() { r.fail(fmt.Errorf("log: %w", err)) })
			}
		}
		if errors.Is(err, syscall.ENOSPC) {
			u, err := vfs.Default.GetDiskUsage(d.path)
			if err == nil && u.AvailBytes >= uint64(2*s.cfg.WAL.SegmentBytes+reviveRoom) {
				s.tryRevival(d, true)
			}
			continue
		}
		d.revivalMu.Lock()
		v, due := &d.revival, false
		if v.next.IsZero() {
			if !v.failed(now, s.cfg.Replica.DiskRetry.D()) {
				s.log.Errorf("data directory %s failed %d times within %v: it is not used until replica.disk-retry %s, or the server is started again", d.path, len(v.times)+1, reviveWindow, d.tag)
			}
		} else {
			due = v.due(now)
		}
		d.revivalMu.Unlock()
		if due {
			s.tryRevival(d, false)
		}
	}
}

// tryRevival opens a directory again; full: it was only full.
func (s *Server) tryRevival(d *dataDir, full bool) {
	if !d.reviving.CompareAndSwap(false, true) {
		return
	}
	s.spawn(func() {
		defer d.reviving.Store(false)
		why := "works again"
		if full {
			why = "has room again"
		}
		d.revivalMu.Lock()
		asked := d.revival.asked
		d.revival.asked = false
		d.revivalMu.Unlock()
		var err error
		if asked {
			err = d.prepare()
		}
		if err == nil {
			err = probe(d.path)
		}
		if err == nil {
			err = s.revive(d, why)
		}
		d.revivalMu.Lock()
		defer d.revivalMu.Unlock()
		switch {
		case full && err != nil:
			s.log.Warnf("data directory %s is not used: %v", d.path, err)
		case full: // says nothing against the disk
		case err != nil:
			d.revival.missed(time.Now())
			s.log.Warnf("data directory %s is not used: %v; tried again in %v", d.path, err, d.revival.wait)
		default:
			d.revival.revived(time.Now())
		}
	})
}

// probe tells whether the disk under dir keeps what is written to it.
func probe(dir string) (err error) {
	fs := vfs.Default
	name := filepath.Join(dir, "tmp", "probe")
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
func (s *Server) revive(d *dataDir, why string) error {
	closing, all, ok := s.takeOut(d)
	if !ok {
		return nil
	}
	s.log.Warnf("data directory %s %s: its log and %d replicas are opened again", d.path, why, len(all))
	for _, r := range closing {
		if err := r.close(); err != nil {
			s.log.Debugf("close: %v", err)
		}
	}
	if err := d.log().Close(); err != nil {
		s.log.Debugf("close of the failed log: %v", err)
	}
	l, err := d.openLog()
	if err == nil {
		d.wal.Store(l)
	} else {
		err = fmt.Errorf("the log can't be opened again: %w", err)
	}
	for _, g := range all {
		var r *replica
		if err == nil {
			var e error
			if r, e = s.openReplica(g, d, nil); e != nil {
				s.log.Errorf("replica %v in %s is not usable and stays as it is: %v", g, d.path, e)
			}
		}
		if r == nil {
			s.noteBroken(g, d)
		}
		s.endOpening(g, r)
	}
	s.syncSoon()
	return err
}
