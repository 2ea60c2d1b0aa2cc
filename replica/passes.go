package replica

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/replica/part"
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

// passer makes the passes of a server.
type passer struct {
	part.Quiet
	srv         *Server
	read, write *rate.Limiter // of all passes
	counts      passCounts
}

func newPasser(s *Server) part.Part {
	return &passer{srv: s, read: passLimit(s.cfg.Storage.SweepBytes), write: passLimit(s.cfg.Storage.RulesBytes)}
}

// Tick implements part.Part.
func (ps *passer) Tick(now time.Time) { ps.passSome(now, ps.srv.all()) }

// Collect implements part.Part.
func (ps *passer) Collect(sn *metrics.Snapshot) { ps.counts.collect(sn.Entity(metrics.Server, "")) }

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
	note     rrdb.PassProgress
	repeated bool // nothing of it is noted
	forget   bool // there are no rules any more: only the note is to go
}

// plan says which pass the replica is due; ok is false if none.
func (ps *passer) plan(r *replica, now time.Time) (p passPlan, ok bool) {
	st := r.store.Load()
	id, repeat := st.RulesID()
	note := st.PassProgress()
	switch {
	case id == 0:
		return passPlan{forget: true}, note.Rules != 0
	case note.Rules != id:
		return passPlan{note: rrdb.PassProgress{Rules: id, At: now.Unix()}}, true
	case !note.Done:
		return passPlan{note: note}, true
	case awaits(r.compactions.demanded(now), note, now):
		return passPlan{note: rrdb.PassProgress{Rules: id, At: now.Unix()}}, true
	}
	every := ps.srv.cfg.Storage.RulesInterval.D()
	r.passes.mu.Lock()
	defer r.passes.mu.Unlock()
	if r.passes.ended.IsZero() {
		r.passes.ended = now
	}
	return passPlan{note: note, repeated: true}, repeat && every > 0 && now.Sub(r.passes.ended) >= every
}

// awaitsPass tells whether a compaction that is due must wait for the pass that belongs to
// it, so that it gives back the space of what the rules remove.
func awaitsPass(r *replica, now time.Time) bool {
	st := r.store.Load()
	id, _ := st.RulesID()
	if id == 0 {
		return false
	}
	note, demanded := st.PassProgress(), r.compactions.demanded(now)
	c := &r.compactions
	c.mu.Lock()
	since := c.enqueued
	c.mu.Unlock()
	return (note.Rules != id || !note.Done || awaits(demanded, note, now)) && now.Sub(since) < passPatience
}

// awaits tells whether a compaction that was demanded is to have a pass yet.
func awaits(demanded time.Time, note rrdb.PassProgress, now time.Time) bool {
	return demanded.Unix() > note.At || !demanded.IsZero() && fromWrongClock(time.Unix(note.At, 0), now)
}

// passSome begins passes that are due, as many at the same time as the server may have
// compactions. It is called again and again, by one goroutine.
func (ps *passer) passSome(now time.Time, rs []*replica) {
	if _, err := ps.srv.meta.Clock.DeleteTime(); err != nil {
		return // rules go by the time
	}
	running := 0
	for _, r := range rs {
		r.passes.mu.Lock()
		if r.passes.running {
			running++
		}
		r.passes.mu.Unlock()
	}
	for _, r := range rs {
		if running >= max(ps.srv.cfg.Storage.Compactions, 1) {
			return
		}
		v := r.view.Load()
		if v.failed != nil || v.Status != pacifica.Primary || !v.Serving || v.members < v.minMembers {
			continue
		}
		p, due := ps.plan(r, now)
		r.passes.mu.Lock()
		if !due || r.passes.running || now.Sub(r.passes.failed) < passRetry {
			r.passes.mu.Unlock()
			continue
		}
		r.passes.running = true
		r.passes.mu.Unlock()
		running++
		ps.srv.spawn(func() {
			ps.counts.running.Add(1)
			rows, err := ps.pass(r, p)
			ps.counts.running.Add(-1)
			at := time.Now()
			ps.counts.end(rows, at.Sub(now), err)
			r.passes.mu.Lock()
			r.passes.running = false
			if err != nil {
				r.passes.failed = at
			} else {
				r.passes.ended = at
			}
			r.passes.mu.Unlock()
			switch {
			case err != nil && ps.srv.ctx.Err() == nil:
				r.log.Infof("the table's rules wait: %v", err)
			case err == nil && rows > 0:
				r.log.Infof("the table's rules changed %d rows in %v", rows, at.Sub(now).Round(time.Millisecond))
			}
		})
	}
}

// pass makes a pass, and returns how many rows it changed.
func (ps *passer) pass(r *replica, p passPlan) (rows int, err error) {
	if p.forget {
		return 0, ps.own(r, func(payload []byte) ([]byte, error) {
			return rrdb.AppendPassProgress(payload, rrdb.PassProgress{}), nil
		})
	}
	ctx := ps.srv.ctx
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
		o := rrdb.PassOptions{Repeated: p.repeated, MaxBytes: int(ps.srv.sizes.Write)}
		keys, size, next, err := st.ScanForRules(ctx, from, o, ps.read)
		if err != nil {
			return rows, err
		}
		if size > 0 {
			if err := ps.write.WaitN(ctx, min(size, ps.write.Burst())); err != nil {
				return rows, err
			}
		}
		if len(keys) > 0 || next == nil && !p.repeated {
			n := 0
			err := ps.own(r, func(payload []byte) (_ []byte, err error) {
				if _, err := ps.srv.meta.Clock.DeleteTime(); err != nil {
					return payload, err
				}
				if id, _ := st.RulesID(); id != note.Rules {
					return payload, errChanged
				}
				o.Now, o.Tombstones = rrdb.ExpiryTime(ps.srv.meta.Clock.Now()), r.remembers()
				if !p.repeated {
					note.Next, note.Done = next, next == nil
				}
				payload = rrdb.AppendPassProgress(payload, note) // first: see rrdb.IsServerWrite
				if payload, n, err = st.ApplyRules(keys, o, r.driver.overlay, payload); err == nil && n == 0 && p.repeated {
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

var errChanged = errors.New("they were changed")

var errPassWait = errors.New("a mutation of them isn't applied yet")

// own proposes a mutation of a pass, and waits until it is applied.
func (ps *passer) own(r *replica, fill func(payload []byte) ([]byte, error)) error {
	ctx, cancel := context.WithTimeoutCause(ps.srv.ctx, passWait, errPassWait)
	defer cancel()
	return handle{r}.Propose(ctx, fill)
}
