package replica

import (
	"cmp"
	"errors"
	"fmt"
	"syscall"
	"time"

	"pegasus/base"
	"pegasus/remotecmd"
)

// Disk is what the remote command replica.disks answers of a data directory.
type Disk struct {
	Tag       string `json:"tag"`
	Path      string `json:"path"`
	State     string `json:"state"` // NORMAL, SPACE_INSUFFICIENT or IO_ERROR
	Total     int64  `json:"total_bytes"`
	Available int64  `json:"available_bytes"`
	Replicas  int    `json:"replicas"`
	// Broken are those replicas of the directory that are out of service.
	Broken int    `json:"broken_replicas"`
	Error  string `json:"error,omitempty"`
	// Failures is how often the log was opened again within the last hour.
	Failures int `json:"failures,omitempty"`
	// Next is what becomes of a directory that failed: one of the constants below.
	Next string `json:"next,omitempty"`
	// Retry is how many seconds there are until it is tried again.
	Retry float64 `json:"retry_seconds,omitempty"`
}

// What becomes of a directory whose log failed.
const (
	nextRoom      = "opened once there is room"
	nextRetry     = "tried again"
	nextOperator  = "left alone"            // until replica.disk-retry or a restart
	nextAbandoned = "given up for this run" // until a restart
)

func (s *Server) disks() []Disk {
	held := map[*dataDir]int{}
	for _, r := range s.all() {
		held[r.dir]++
	}
	broken := map[*dataDir]int{}
	for _, d := range s.brokenReplicas() {
		broken[d]++
	}
	now := time.Now()
	out := []Disk{}
	for _, d := range s.dirs {
		k := Disk{Tag: d.tag, Path: d.path, State: d.state().String(), Replicas: held[d], Broken: broken[d]}
		k.Total, k.Available = d.capacity()
		d.revivalMu.Lock()
		v := d.revival
		d.revivalMu.Unlock()
		k.Failures = len(v.times)
		if err := d.log().Failed(); err != nil {
			k.Error = err.Error()
			switch {
			case d.abandoned.Load():
				k.Next = nextAbandoned
			case errors.Is(err, syscall.ENOSPC):
				k.Next = nextRoom
			case v.gaveUp:
				k.Next = nextOperator
			default:
				k.Next, k.Retry = nextRetry, max(0, v.next.Sub(now).Seconds())
			}
		}
		out = append(out, k)
	}
	return out
}

// diskCommand makes a remote command of something that is done to a data directory.
func (s *Server) diskCommand(do func(*dataDir) error) func([]string) string {
	return func(args []string) string {
		if len(args) != 1 {
			return remotecmd.Fail("ERR: %d arguments are given; name the tag of one data directory", len(args))
		}
		for _, d := range s.dirs {
			if d.tag != args[0] {
				continue
			}
			if err := do(d); err != nil {
				return remotecmd.Fail("ERR: %v", err)
			}
			return remotecmd.OK()
		}
		return remotecmd.Fail("ERR: no data directory has the tag %q: replica.disks lists them", args[0])
	}
}

// retryDisk has a directory that failed tried again at once, as if it had failed for the first
// time. It may be on another disk by now: on an empty one it is made anew.
func (s *Server) retryDisk(d *dataDir) error {
	switch {
	case d.abandoned.Load():
		return fmt.Errorf("data directory %s was given up, and its replicas may be elsewhere on this server by now: it is used again after a restart", d.path)
	case d.log().Failed() == nil:
		return fmt.Errorf("data directory %s works", d.path)
	}
	d.revivalMu.Lock()
	defer d.revivalMu.Unlock()
	d.revival = revival{next: time.Now(), wait: s.cfg.Replica.DiskRetry.D(), asked: true}
	s.log.Warnf("data directory %s: an administrator has it tried again", d.path)
	return nil
}

// abandonDisk gives a directory up that failed, so that its replicas can be learned on another
// disk of this server. Until then its directories stand in the way of that, because they might
// come back. After a restart the directory is used again if it can be; of a replica that is in
// two directories then the older is moved aside, see resolve.
func (s *Server) abandonDisk(d *dataDir) error {
	if d.abandoned.Load() {
		return fmt.Errorf("data directory %s is given up already", d.path)
	}
	if d.log().Failed() == nil {
		return fmt.Errorf("data directory %s works: to empty it, drain the server", d.path)
	}
	works := false
	for _, o := range s.dirs {
		works = works || o != d && o.state() != diskBroken
	}
	if !works {
		return fmt.Errorf("this server has no other data directory that works: its replicas could not be anywhere else")
	}
	if !d.reviving.CompareAndSwap(false, true) { // and it stays set: nobody opens it again
		return fmt.Errorf("data directory %s is being opened at the moment: look at replica.disks and try again", d.path)
	}
	if d.log().Failed() == nil {
		d.reviving.Store(false)
		return fmt.Errorf("data directory %s works again", d.path)
	}
	d.abandoned.Store(true)
	closing, all, ok := s.takeOut(d)
	if !ok {
		return errors.New("the server is stopping")
	}
	s.log.Warnf("data directory %s is given up: an administrator says so; its %d replicas are no longer here", d.path, len(all))
	s.spawn(func() {
		for _, r := range closing {
			if err := r.close(); err != nil {
				s.log.Debugf("close: %v", err)
			}
		}
		for _, g := range all {
			s.endOpening(g, nil)
		}
		s.syncSoon()
	})
	return nil
}

// takeOut removes the replicas of a directory from those that are here, and returns those that
// must be closed, and all. They count as being opened until endOpening. It is not ok once the
// server is being closed.
func (s *Server) takeOut(d *dataDir) (closing []*replica, all []base.Gpid, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, false
	}
	for g, r := range s.replicas {
		if r.dir == d && !s.opening[g] {
			closing = append(closing, r)
			all = append(all, g)
		}
	}
	for g, where := range s.broken {
		if where == d && !s.opening[g] {
			all = append(all, g)
		}
	}
	for _, g := range all {
		delete(s.replicas, g)
		delete(s.broken, g)
		s.opening[g] = true
	}
	return closing, all, true
}

// resolve deals with a replica that is in two data directories at the start: one of them was
// given up once, and the replica learned anew in the other, after the meta had taken this node
// out of the configuration. If that one is still under the ballot it was made under, it is no
// member either. Else its ballot is higher. It returns the directory to use.
func (s *Server) resolve(g base.Gpid, a, b *dataDir) (*dataDir, error) {
	var ia, ib replicaInfo
	name := func(d *dataDir) string { return (&replica{path: d.replicaPath(g)}).infoName() }
	if err := errors.Join(readJSON(name(a), &ia), readJSON(name(b), &ib)); err != nil || ia.Ballot == ib.Ballot && ia.Made == ib.Made {
		return nil, errors.Join(fmt.Errorf("replica %v is in two data directories, %s and %s: move the older one away", g, a.path, b.path), err)
	}
	use, old := a, b
	if cmp.Or(cmp.Compare(ia.Ballot, ib.Ballot), cmp.Compare(ia.Made, ib.Made)) < 0 {
		use, old = b, a
	}
	to, err := old.quarantine(g)
	if err == nil {
		err = wait(func(done func(error)) { old.log().Drop(g, done) })
	}
	if err != nil {
		return nil, fmt.Errorf("replica %v is in two data directories; the older, in %s, can't be moved aside: %w", g, old.path, err)
	}
	s.log.Warnf("replica %v is in two data directories, under ballot %d in %s and %d in %s: the older is moved to %s", g, ia.Ballot, a.path, ib.Ballot, b.path, to)
	return use, nil
}
