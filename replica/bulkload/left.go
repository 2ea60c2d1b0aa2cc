package bulkload

import (
	"context"
	"errors"
	"time"

	"pegasus/base"
	"pegasus/gen/loading"
	"pegasus/pacifica"
)

const (
	leftEvery = time.Minute
	// mostLeft is how many sets the meta is asked about at once.
	mostLeft = 1000
)

// Tick ends what can't go on, and looks for what is left of loads.
func (l *Loader) Tick(time.Time) {
	l.lookForLeft()
	l.mu.Lock()
	defer l.mu.Unlock()
	for g, j := range l.jobs {
		if j.over {
			continue
		}
		r, here := l.host.Replica(g)
		if !here || !passing(r) || j.goneFor(member(r) != nil, time.Now()) > goneTime {
			j.cancel(errGone)
		} else if err := r.DiskUsable(); err != nil {
			j.cancel(err)
		}
	}
	for g, p := range l.kept {
		if time.Now().After(p.until) {
			delete(l.kept, g)
		}
	}
}

// passing tells whether a replica is a member that can make a set, or in the state between two configurations. A learner isn't: another store may take the place of its own.
func passing(r Replica) bool {
	v := r.View()
	return member(r) == nil || v.Usable && v.Role == pacifica.Inactive
}

// goneFor is for how long the replica hasn't been a member that can make a set.
func (j *job) goneFor(gone bool, now time.Time) time.Duration {
	if !gone {
		j.gone = base.Opt[time.Time]{}
		return 0
	}
	if !j.gone.Set {
		j.gone = base.Some(now)
	}
	return now.Sub(j.gone.V)
}

// LookSoon has the next Tick look for what is left of loads, which is else done each minute.
func (l *Loader) LookSoon() {
	l.left.mu.Lock()
	defer l.left.mu.Unlock()
	l.left.next = time.Time{}
}

// lookForLeft looks, now and then, for sets of loads that have ended, and removes them. It doesn't wait.
func (l *Loader) lookForLeft() {
	if !l.left.begin() {
		return
	}
	l.host.Go(func(ctx context.Context) {
		defer l.left.end()
		if err := l.removeLeft(ctx); err != nil && ctx.Err() == nil {
			l.log.Infof("what is left of loads of files isn't removed yet: %v", err)
		}
	})
}

func (l *Loader) removeLeft(ctx context.Context) error {
	var errs []error
	for left := l.findLeft(&errs); len(left) > 0; {
		n := min(len(left), mostLeft)
		ended, err := l.host.Ended(ctx, left[:n])
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		left = left[n:]
		for _, e := range ended {
			r, here := l.host.Replica(e.Pid)
			if !here || ctx.Err() != nil {
				continue
			}
			err := l.forget(r, &loading.LoadRequest{Pid: e.Pid, LoadId: e.LoadId, Step: loading.LOAD_FORGET}, nil)
			if err == nil {
				l.log.Infof("replica %v: what was left of load %d is removed", e.Pid, e.LoadId)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// findLeft lists the sets that replicas have.
func (l *Loader) findLeft(errs *[]error) (left []loading.LoadLeft) {
	f := &l.left
	list := l.host.Replicas()
	f.only(list)
	for _, g := range list {
		r, here := l.host.Replica(g)
		if !here {
			continue
		}
		store := r.Store()
		if !f.toLook(g, store) {
			continue
		}
		loads, err := store.Sets()
		if err != nil {
			*errs = append(*errs, err)
		}
		if err != nil || len(loads) > 0 {
			f.made(g)
		}
		for _, id := range loads {
			left = append(left, loading.LoadLeft{Pid: g, LoadId: id})
		}
	}
	return left
}
