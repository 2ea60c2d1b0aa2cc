package meta

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"pegasus/base/version"
	"pegasus/meta/state"
)

// fsm lets raft apply entries to the State, and everybody read it.
type fsm struct {
	mu      rwMutex
	st      *state.State
	stopped error // an entry could not be understood: nothing may follow it
	fatal   func(error)
	// identify is told of the quorum's identity whenever the State may have got it.
	identify func(string)
}

func newFSM(fatal func(error), identify func(string)) *fsm {
	return &fsm{mu: rwMutex{rank: rankState}, st: state.New(), fatal: fatal, identify: identify}
}

// read calls f with the State locked. What f returns may keep slices, not tables.
func (f *fsm) read(fn func(*state.State)) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	fn(f.st)
}

// encode makes a log entry of a command.
func (f *fsm) encode(c state.Command) ([]byte, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.st.EncodeFor(c)
}

// version is what the cluster's members may write.
func (f *fsm) version() (v version.Version) {
	f.read(func(st *state.State) { v = st.Version() })
	return v
}

// cluster is that too, and the cluster's identity.
func (f *fsm) cluster() (v version.Version, id string) {
	f.read(func(st *state.State) { v, id = st.Version(), st.ID() })
	return v, id
}

// Apply applies one entry. It returns a state.Result or an error.
func (f *fsm) Apply(l *raft.Log) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped != nil {
		return f.stopped
	}
	known := f.st.Quorum() != ""
	res, err := f.st.Apply(l.Data)
	if !known {
		f.identify(f.st.Quorum())
	}
	if err != nil {
		f.stopped = fmt.Errorf("entry %d of the meta's log: %w", l.Index, err)
		f.fatal(f.stopped)
		return f.stopped
	}
	return res
}

// Snapshot encodes the State; raft calls no Apply meanwhile.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.stopped != nil {
		return nil, f.stopped
	}
	return snapshot(f.st.AppendSnapshot(nil)), nil
}

// Restore replaces the State.
func (f *fsm) Restore(r io.ReadCloser) error {
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("read the meta's snapshot: %w", err)
	}
	st, err := state.Restore(b)
	if err != nil {
		err = fmt.Errorf("restore the meta's snapshot: %w", err)
		f.fatal(err)
		return err
	}
	f.mu.Lock()
	f.st = st
	f.mu.Unlock()
	f.identify(st.Quorum())
	return nil
}

type snapshot []byte

// Persist writes the snapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(s); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release does nothing.
func (s snapshot) Release() {}

func countTables(st *state.State) (n int) {
	st.Tables(func(t *state.Table) {
		if t.Status == state.Available {
			n++
		}
	})
	return n
}

// walkPiece is how many partitions are looked at without letting go of the locks: about a
// millisecond's work.
const walkPiece = 1024

// walk goes over the partitions of all available tables piece by piece, so that queries,
// beacons and changes don't wait for the whole of it. What changes between two pieces is
// seen before or after the change. The zero value is at the beginning.
type walk struct {
	table int32 // the next one, or a later one
	part  int   // of that table
	done  bool
}

// piece calls f for partitions from to to-1 of tables, until walkPiece of them were seen or
// there are no more. from is 0 for each table once, unless it vanishes meanwhile.
func (w *walk) piece(st *state.State, f func(t *state.Table, from, to int)) {
	room := walkPiece
	w.done = true
	st.TablesFrom(w.table, func(t *state.Table) bool {
		if t.ID != w.table {
			w.table, w.part = t.ID, 0
		}
		if t.Status != state.Available {
			return true
		}
		if room <= 0 {
			w.done = false
			return false
		}
		from := min(w.part, len(t.Parts))
		to := min(len(t.Parts), from+room)
		f(t, from, to)
		room -= to - from + 1 // a table is some work too
		w.part = to
		if to < len(t.Parts) {
			w.done = false
			return false
		}
		w.table, w.part = t.ID+1, 0
		return true
	})
}

// walk calls f for all partitions of available tables, with the State locked for a piece at
// a time.
func (f *fsm) walk(fn func(t *state.Table, from, to int)) {
	for w := (walk{}); !w.done; {
		f.read(func(st *state.State) { w.piece(st, fn) })
	}
}
