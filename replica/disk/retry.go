package disk

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"pegasus/base"
)

// A replica that is out of service, or that could not be opened, is opened again by itself,
// after retryFirst, then after twice that each time, up to maxRetry: a full disk has room again,
// descriptors were given back, a disk that failed works. Only what is damaged isn't; and a
// replica that the group does without is moved aside when its disk, which otherwise works,
// refused it asideTries times.
const (
	retryFirst, maxRetry = time.Second, 15 * time.Second
	asideTries           = 6
	// retryCalm is how long a replica must have been in service for its failures to be
	// forgotten.
	retryCalm = time.Minute
	// retryAtOnce is how many replicas are opened again at a time: where a server ran short of
	// something, more would only take it from each other.
	retryAtOnce = 4
)

// Broken is a replica that can't be used.
type Broken struct {
	Dir *Dir
	Err error
	// Opened: it failed while it was in use, and is as after a crash.
	Opened bool
	// Damaged: its data is, and opening it again doesn't mend that.
	Damaged bool
}

// mayPass tells whether the replica may be usable although nobody mends it. What failed while
// it was in use, and isn't damaged, is as after a crash.
func (b Broken) mayPass() bool { return base.Passing(b.Err) || b.Opened && !b.Damaged }

// retries says which replicas that failed are opened again, and when.
type retries struct {
	mu      sync.Mutex
	of      map[base.Gpid]*retry
	running int
	// shortage is until when nothing is opened again, because what was tried lacked something
	// that all need.
	shortage time.Time
}

type retry struct {
	tried int
	next  time.Time // the next attempt
}

// will tells whether a replica that failed is to be opened again rather than moved aside.
func (t *retries) will(g base.Gpid, err error) bool {
	if base.Shortage(err) {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.of[g]
	return base.Passing(err) && (of == nil || of.tried < asideTries)
}

// tries is how often a replica was opened again since it worked.
func (t *retries) tries(g base.Gpid) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if of := t.of[g]; of != nil {
		return of.tried
	}
	return 0
}

// due returns those of the replicas that can't be used whose time has come. Each counts as being
// opened until done. opening tells of others that are.
func (t *retries) due(now time.Time, all map[base.Gpid]Broken, opening func(base.Gpid) bool) (list []base.Gpid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for g, of := range t.of {
		if _, is := all[g]; !is && now.Sub(of.next) > retryCalm && !opening(g) {
			delete(t.of, g)
		}
	}
	for g, b := range all {
		of := t.of[g]
		switch {
		case now.Before(t.shortage) || t.running+len(list) >= retryAtOnce:
		case of != nil && now.Before(of.next) || !b.mayPass():
		case b.Dir.Log().Failed() != nil || b.Dir.reviving.Load() || b.Dir.abandoned.Load(): // see revive.go
		case outOfRoom(b.Err) && !b.Dir.hasRoom(reviveRoom):
		default:
			if of == nil {
				of = new(retry)
				if t.of == nil {
					t.of = map[base.Gpid]*retry{}
				}
				t.of[g] = of
			}
			of.tried++
			of.next = now.Add(min(retryFirst<<min(of.tried, 8), maxRetry))
			list = append(list, g)
		}
	}
	t.running += len(list)
	return list
}

// done tells that one that was due was opened, or why it couldn't be.
func (t *retries) done(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	if base.Shortage(err) && !outOfRoom(err) {
		t.shortage = time.Now().Add(retryFirst)
	}
}

// outOfRoom tells whether err says that a disk is full, or a share of it.
func outOfRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// WillRetry tells whether a replica that failed is to be opened again rather than moved aside.
func (s *Set) WillRetry(g base.Gpid, err error) bool { return s.retries.will(g, err) }

// Tries is how often a replica was opened again since it worked.
func (s *Set) Tries(g base.Gpid) int { return s.retries.tries(g) }

// retryReplicas has those opened again whose time has come.
func (s *Set) retryReplicas(now time.Time) {
	all := s.host.Broken()
	for _, g := range s.retries.due(now, all, s.host.Opening) {
		s.host.Reopen(g, all[g], s.retries.done)
	}
}
