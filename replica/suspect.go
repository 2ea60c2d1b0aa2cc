package replica

import (
	"context"
	"fmt"
	"math"
	"time"

	"pegasus/replica/wal"
	"pegasus/rrdb"
)

// A suspect replica may have forgotten what it acknowledged: its log is damaged, or it lacks
// what the meta knows to be committed. It is no member any more, serves nothing, and tells the
// meta what it has left. It is used again in one of two ways: a primary makes it a learner,
// which begins from what its store holds; or it was the last member, and an administrator
// accepts that the rest is lost. Then it goes on with its store and the log up to the damage.

// intact is what of a suspect replica can be read: up to which decree, and the ballot of the
// last entry of it; and what its log tells from behind the damage: the highest decree that it
// says is committed, and the last one that it had. take is the load whose set of rows up to decree is needed, 0 if none is.
type intact struct{ decree, ballot, committed, logged, take int64 }

// suspectFor makes the replica suspect, and says why. The caller is the loop, or makes the
// replica.
func (r *driver) suspectFor(format string, args ...any) {
	r.suspect = true
	at, st := r.store.Load().LastApplied(), r.dir.Log().State(r.gpid)
	r.intact = intact{decree: at, committed: st.Committed, logged: st.Last}
	if st.Last < at {
		r.intact.logged = math.MaxInt64 // the end of the log is gone
	}
	err := r.readable(func(e *wal.Entry) error {
		if e.Decree > at && rrdb.IsTake(e.Payload) {
			if err := r.store.Load().CheckTake(e.Payload); err != nil {
				return err
			}
			if op, err := rrdb.ParseTake(e.Payload); err == nil && r.intact.take == 0 && op.Load > r.store.Load().Taken().Load {
				r.intact.take = op.Load
			}
		}
		r.intact.decree, r.intact.ballot = e.Decree, e.Ballot
		return nil
	})
	r.log.Errorf("%s: the replica is of use up to decree %d (ballot %d); it serves nothing until it has learned the rest from a primary, or an administrator accepts that it is lost (`pegasus recover --accept-loss`) [%v]", fmt.Sprintf(format, args...), r.intact.decree, r.intact.ballot, err)
}

// lack makes the replica suspect because a mutation that is committed takes a set of rows that isn't here. It can't go on without, and
// what its log has behind that mutation is of no use.
func (r *driver) lack(err error) {
	r.core.Retire()
	r.abandon()
	r.suspectFor("rows are lacking that came as files: %v", err)
	r.srv.meta.SyncSoon()
}

// readable calls f for the entries from the last one that is in the store on, that one
// included if the log has it, as far as they follow one another and aren't void. It returns
// why it ended before the log's end.
func (r *replica) readable(f func(*wal.Entry) error) error {
	at := r.store.Load().LastApplied()
	ballot, from := int64(0), at
	if es, err := r.dir.Log().Read(r.gpid, at, 1); err != nil || len(es) == 0 || es[0].Decree != at {
		from = at + 1
	}
	for size := int64(8 << 20); ; {
		es, err := r.dir.Log().Read(r.gpid, from, size)
		if err != nil && size > 1 {
			size = 1 // one at a time, as far as that goes
			continue
		}
		if err != nil || len(es) == 0 {
			return err
		}
		for i := range es {
			if es[i].Ballot < ballot {
				return nil // void, and so is what follows
			}
			ballot = es[i].Ballot
			if err := f(&es[i]); err != nil {
				return err
			}
		}
		from += int64(len(es))
	}
}

// relearn makes a learner of a suspect replica: it begins from what its store holds.
func (r *driver) relearn() error {
	if err := wal.Wait(func(done func(error)) { r.dir.Log().Reset(r.gpid, r.applied, done) }); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	r.newCore(nil)
	r.suspect = false
	return nil
}

// acceptTime bounds the flush of what a suspect replica goes on with.
const acceptTime = time.Minute

// accept makes a suspect replica go on with what it has left. The store takes all of it before
// the log forgets the damage, so a crash between leaves the replica suspect, with no less.
func (r *driver) accept() error {
	store := r.store.Load()
	at := store.LastApplied()
	err := r.readable(func(e *wal.Entry) error {
		if e.Decree <= at {
			return nil
		}
		return store.ApplyAll([]rrdb.Mutation{{Decree: e.Decree, TimestampUS: e.Timestamp, Payload: e.Payload}})
	})
	r.applied = store.LastApplied()
	if err != nil {
		r.log.Warnf("the log is of no use beyond decree %d: %v", r.applied, err)
	}
	ctx, cancel := context.WithTimeout(r.srv.ctx, acceptTime)
	defer cancel()
	if err := store.Flush(ctx); err != nil {
		return err
	}
	if err := r.relearn(); err != nil {
		return err
	}
	r.log.Errorf("goes on with what is left, up to decree %d: an administrator accepted that the rest is lost", r.applied)
	return nil
}
