package replica

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/pacifica"
	"pegasus/replica/checkpoint"
	"pegasus/replica/disk"
	"pegasus/replica/retention"
	"pegasus/replica/wal"
	"pegasus/rrdb"
)

// openReplica opens what is on the disk, or, given fresh, makes a new replica of it.
func (s *Server) openReplica(g base.Gpid, d *disk.Dir, fresh *replicaInfo) (_ *replica, err error) {
	r := &replica{srv: s, gpid: g, dir: s.dirOf(d), path: d.ReplicaPath(g), log: s.log.WithField("replica", g.String()),
		wake: make(chan struct{}, 1), done: make(chan struct{})}
	r.observed.Gpid, r.observed.Log = g, r.log
	r.admission.Peers.Says = 4 * s.cfg.Replica.CommitInterval.D()
	r.learner, r.kept = s.copies.NewLearner(g, r.path, r.log), retention.New(retained{d, g})
	r.driver = &driver{replica: r, pacer: checkpoint.LogPacer{Pace: s.copies.Pace}, overlay: rrdb.NewOverlay()}
	if fresh != nil {
		if err := d.Usable(); err != nil {
			return nil, fmt.Errorf("replica %v: %w", g, err)
		}
		if _, err := vfs.Default.Stat(r.path); err == nil {
			return nil, fmt.Errorf("replica %v: directory %s is there already", g, r.path)
		}
		if err := vfs.Default.MkdirAll(r.path, 0o755); err != nil {
			return nil, fmt.Errorf("replica %v: %w", g, err)
		}
		defer func() {
			if err == nil {
				return
			}
			// There is nothing in it. What can't be removed either is looked after like others
			// that can't be used: it is in the way of the next attempt.
			if e := vfs.Default.RemoveAll(r.path); e != nil {
				err = errors.Join(err, e)
				s.noteBroken(g, d, err)
			}
		}()
		fresh.Store = 1
		fresh.Made = r.srv.meta.Clock.Now().UnixMilli()
		// The log may remember an earlier life of this replica here.
		if err := wal.Wait(func(done func(error)) { d.Log().Reset(g, 0, done) }); err != nil {
			return nil, fmt.Errorf("replica %v: %w", g, err)
		}
		if err := disk.WriteJSON(r.infoName(), fresh); err != nil {
			return nil, fmt.Errorf("replica %v: %w", g, err)
		}
		if err := disk.SyncDir(filepath.Dir(r.path)); err != nil {
			return nil, fmt.Errorf("replica %v: %w", g, err)
		}
	}
	if err := r.driver.load(fresh != nil); err != nil {
		return nil, err
	}
	s.spawn(r.driver.run)
	return r, nil
}

// load opens the store that is on the disk, or with create makes it, and takes from the log what is
// beyond it.
func (r *driver) load(create bool) error {
	if err := disk.ReadJSON(r.infoName(), &r.info); err != nil {
		return fmt.Errorf("replica %v: %w", r.gpid, err)
	}
	if r.info.AppID != r.gpid.AppID || r.info.Partition != r.gpid.PartitionIndex {
		return fmt.Errorf("replica %v: %s says that this is %d.%d", r.gpid, r.infoName(), r.info.AppID, r.info.Partition)
	}
	r.setRules()
	if err := r.dropOldStores(); err != nil {
		return err
	}
	store, err := r.openStore(r.info.Store, create)
	if err != nil {
		return err
	}
	r.store.Store(store)
	prepared, err := r.replay()
	if err != nil {
		return errors.Join(err, store.Close())
	}
	r.applied = store.LastApplied()
	r.flushedAt.Store(store.LastFlushed())
	r.newCore(prepared)
	r.flights.ops, r.flights.pace = &r.observed.Ops, r.srv.copies.Pace
	r.flights.observer, r.flights.slow = r.srv.observer, r.tellSlow
	r.publish()
	return nil
}

// dropOldStores removes the stores that info doesn't name: what a checkpoint replaced, or
// was about to.
func (r *driver) dropOldStores() error {
	names, err := vfs.Default.List(r.path)
	if err != nil {
		return fmt.Errorf("replica %v: %w", r.gpid, err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, "store.") && n != filepath.Base(r.storePath(r.info.Store)) {
			if err := vfs.Default.RemoveAll(filepath.Join(r.path, n)); err != nil {
				return fmt.Errorf("replica %v: %w", r.gpid, err)
			}
		}
	}
	return nil
}

// replay applies what the log knows to be committed and returns what is prepared beyond. What
// the log says that it has and doesn't give makes the replica suspect, never just shorter: it
// may have acknowledged that. An error of the disk is an error of opening the replica, which is
// tried again.
func (r *driver) replay() ([]pacifica.Entry, error) {
	log, store := r.dir.Log(), r.store.Load()
	st, at := log.State(r.gpid), store.LastApplied()
	if d, ok := log.DamageOf(r.gpid); ok {
		if at < d.From-1 {
			r.suspectFor("the log lost entries of this replica (%s)", d.Reason)
			return nil, nil
		}
		log.SetRetention(r.gpid, d.From-1)
	}
	if r.srv.syncs && st.Last < at {
		// What a member applies is in its log before. The log can't tell that the end of its
		// newest file is gone from a write that was under way; here it shows.
		r.suspectFor("the log ends at decree %d, the store holds %d", st.Last, at)
		return nil, nil
	}
	var prepared []pacifica.Entry
	// An entry voids those that were logged before it, above it, under an older ballot; so
	// does the last one applied. The log may be without that one: it goes with what was learned.
	ballot := int64(0)
	switch es, err := log.Read(r.gpid, at, 1); {
	case err == nil && len(es) > 0:
		ballot = es[0].Ballot
	case err == nil || errors.Is(err, wal.ErrGone):
	case errors.Is(err, base.ErrCorruption):
		r.suspectFor("%v", err)
		return nil, nil
	default:
		return nil, fmt.Errorf("replica %v: replay: %w", r.gpid, err)
	}
	for from := at + 1; from <= st.Last; {
		es, err := log.Read(r.gpid, from, 8<<20)
		switch {
		case err == nil && len(es) > 0:
		case err == nil || errors.Is(err, wal.ErrGone) || errors.Is(err, base.ErrCorruption):
			r.suspectFor("the log says that it has decrees up to %d, and does not give number %d (%v)", st.Last, from, err)
			return nil, nil
		default:
			return nil, fmt.Errorf("replica %v: replay from decree %d of %d: %w", r.gpid, from, st.Last, err)
		}
		for _, e := range es {
			if e.Ballot < ballot {
				return prepared, nil
			}
			ballot = e.Ballot
			if e.Decree <= st.Committed && len(prepared) == 0 {
				r.srv.replayed.Add(1)
				err := store.Apply(e.Decree, e.Timestamp, e.Payload)
				if errors.Is(err, rrdb.ErrNoSet) {
					r.suspectFor("rows are lacking that came as files: %v", err)
					return nil, nil
				}
				if err != nil {
					return nil, fmt.Errorf("replica %v: replay of decree %d: %w", r.gpid, e.Decree, err)
				}
				continue
			}
			prepared = append(prepared, pacifica.Entry{Ballot: e.Ballot, Decree: e.Decree, Timestamp: e.Timestamp, Payload: e.Payload})
		}
		from += int64(len(es))
	}
	return prepared, nil
}
