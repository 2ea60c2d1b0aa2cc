package replica

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/rrdb"
)

// A pass applies a table's rules (its default TTL, user_specified_compaction) to the rows of
// a partition that are there. The primary makes it, out of mutations like those of clients,
// so that replicas stay alike; see package rrdb. There is one
//
//   - when the rules are new to the partition: its note names others;
//   - for each manual compaction, which upstream's rules are carried out by;
//   - every storage.rules_interval, for rows that came since.
//
// The first two are noted in the mutations themselves: a new primary goes on with them.
type passes struct {
	mu      sync.Mutex
	running bool
	ended   time.Time // of the last, or when this one was asked first
	failed  time.Time // a pass that failed is tried again later
}

// passCounts add up a server's passes.
type passCounts struct{ running, done, failed, rows, nanos atomic.Int64 }

func (c *passCounts) end(rows int, took time.Duration, err error) {
	c.rows.Add(int64(rows))
	c.nanos.Add(int64(took))
	if err != nil {
		c.failed.Add(1)
	} else {
		c.done.Add(1)
	}
}

func (c *passCounts) collect(e *metrics.Entity) {
	e.Set(metrics.Passes, c.done.Load())
	e.Set(metrics.PassesRunning, c.running.Load())
	e.Set(metrics.PassFailures, c.failed.Load())
	e.Set(metrics.PassRows, c.rows.Load())
	e.Set(metrics.PassTime, time.Duration(c.nanos.Load()).Milliseconds())
}

const (
	passRetry = 10 * time.Second
	// passWait is for how long a mutation of a pass is waited for.
	passWait = time.Minute
	// passPatience is for how long a compaction waits for the pass that belongs to it.
	passPatience = time.Hour
)

func passLimit(bytes int64) *rate.Limiter {
	if bytes <= 0 {
		return rate.NewLimiter(rate.Inf, 1<<20)
	}
	return rate.NewLimiter(rate.Limit(bytes), 1<<20)
}

// passPlan is a pass that is to be made.
type passPlan struct {
	note     rrdb.Note
	repeated bool // nothing of it is noted
	forget   bool // there are no rules any more: only the note is to go
}

// plan says which pass the replica is due; ok is false if none.
func (r *replica) plan(now time.Time) (p passPlan, ok bool) {
	st := r.store.Load()
	id, repeat := st.RulesID()
	note := st.Note()
	switch {
	case id == 0:
		return passPlan{forget: true}, note.Rules != 0
	case note.Rules != id:
		return passPlan{note: rrdb.Note{Rules: id, At: now.Unix()}}, true
	case !note.Done:
		return passPlan{note: note}, true
	case r.compactions.demanded(now).Unix() > note.At:
		return passPlan{note: rrdb.Note{Rules: id, At: now.Unix()}}, true
	}
	every := r.srv.cfg.Storage.RulesInterval.D()
	r.passes.mu.Lock()
	defer r.passes.mu.Unlock()
	if r.passes.ended.IsZero() {
		r.passes.ended = now
	}
	return passPlan{note: note, repeated: true}, repeat && every > 0 && now.Sub(r.passes.ended) >= every
}

// awaitsPass tells whether a compaction that is due must wait for the pass that belongs to
// it, so that it gives back the space of what the rules remove.
func (r *replica) awaitsPass(now time.Time) bool {
	st := r.store.Load()
	id, _ := st.RulesID()
	if id == 0 {
		return false
	}
	note, demanded := st.Note(), r.compactions.demanded(now)
	c := &r.compactions
	c.mu.Lock()
	since := c.enqueued
	c.mu.Unlock()
	return (note.Rules != id || !note.Done || demanded.Unix() > note.At) && now.Sub(since) < passPatience
}

// passSome begins passes that are due, as many at the same time as the server may have
// compactions. It is called again and again, by one goroutine.
func (s *Server) passSome(now time.Time, rs []*replica) {
	running := 0
	for _, r := range rs {
		r.passes.mu.Lock()
		if r.passes.running {
			running++
		}
		r.passes.mu.Unlock()
	}
	for _, r := range rs {
		if running >= max(s.cfg.Storage.Compactions, 1) {
			return
		}
		v := r.view.Load()
		if v.failed != nil || v.Status != pacifica.Primary || !v.Serving || v.members < v.least {
			continue
		}
		p, due := r.plan(now)
		r.passes.mu.Lock()
		if !due || r.passes.running || now.Sub(r.passes.failed) < passRetry {
			r.passes.mu.Unlock()
			continue
		}
		r.passes.running = true
		r.passes.mu.Unlock()
		running++
		s.spawn(func() {
			s.passCounts.running.Add(1)
			rows, err := r.pass(p)
			s.passCounts.running.Add(-1)
			at := time.Now()
			s.passCounts.end(rows, at.Sub(now), err)
			r.passes.mu.Lock()
			r.passes.running = false
			if err != nil {
				r.passes.failed = at
			} else {
				r.passes.ended = at
			}
			r.passes.mu.Unlock()
			switch {
			case err != nil && s.ctx.Err() == nil:
				r.log.Infof("the table's rules wait: %v", err)
			case err == nil && rows > 0:
				r.log.Infof("the table's rules changed %d rows in %v", rows, at.Sub(now).Round(time.Millisecond))
			}
		})
	}
}

// pass makes a pass, and returns how many rows it changed.
func (r *replica) pass(p passPlan) (rows int, err error) {
	if p.forget {
		return 0, r.own(func(payload []byte) ([]byte, error) { return rrdb.AppendNote(payload, rrdb.Note{}), nil })
	}
	ctx := r.srv.ctx
	note := p.note
	from := note.Next
	if p.repeated {
		from = nil
	}
	for {
		st := r.store.Load()
		if id, _ := st.RulesID(); id != note.Rules {
			return rows, errChanged
		}
		o := rrdb.PassOptions{Repeated: p.repeated}
		keys, size, next, err := st.Ruled(ctx, from, o, r.srv.passRead)
		if err != nil {
			return rows, err
		}
		if size > 0 {
			if err := r.srv.passWrite.WaitN(ctx, min(size, r.srv.passWrite.Burst())); err != nil {
				return rows, err
			}
		}
		if len(keys) > 0 || next == nil && !p.repeated {
			n := 0
			err := r.own(func(payload []byte) (_ []byte, err error) {
				if id, _ := st.RulesID(); id != note.Rules {
					return payload, errChanged
				}
				o.Now = rrdb.ExpiryTime(time.Now())
				if !p.repeated {
					note.Next, note.Done = next, next == nil
				}
				payload = rrdb.AppendNote(payload, note) // first: see rrdb.Own
				if payload, n, err = st.Enforce(keys, o, r.overlay, payload); err == nil && n == 0 && p.repeated {
					return nil, nil
				}
				return payload, err
			})
			if err != nil {
				return rows, err
			}
			rows += n
		}
		if next == nil {
			return rows, nil
		}
		from = next
	}
}

var (
	errNotNow  = errors.New("this replica can't write at present")
	errChanged = errors.New("they were changed")
)

// own proposes a mutation of the server's own, which fill appends to an empty payload on the
// replica's loop, and waits until it is applied.
func (r *replica) own(fill func(payload []byte) ([]byte, error)) error {
	done := make(chan error, 1)
	r.post(func() {
		v := r.view.Load()
		if r.failed != nil || !r.core.Serving() || r.core.Room() <= 0 || v.members < v.least ||
			r.flights.empty() && r.applied < r.core.Committed() { // see propose
			done <- errNotNow
			return
		}
		payload, err := fill(nil)
		if err != nil || len(payload) == 0 {
			r.overlay.Discard()
			done <- err
			return
		}
		now := time.Now()
		e, err := r.core.Propose(now.UnixMicro(), payload)
		if err != nil {
			r.overlay.Discard()
			done <- fmt.Errorf("propose: %w", err)
			return
		}
		r.overlay.Add(e.Decree, payload)
		r.flights.add(flight{decree: e.Decree, at: now, then: func(applied bool) {
			if applied {
				done <- nil
			} else {
				done <- errNotNow
			}
		}})
	})
	t := time.NewTimer(passWait)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return errors.New("a mutation of them isn't applied yet")
	case <-r.done:
		return errNotNow
	case <-r.srv.ctx.Done():
		return r.srv.ctx.Err()
	}
}
