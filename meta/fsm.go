package meta

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"

	"pegasus/meta/state"
)

// fsm lets raft apply entries to the State, and everybody read it.
type fsm struct {
	mu      sync.RWMutex
	st      *state.State
	stopped error // an entry could not be understood: nothing may follow it
	fatal   func(error)
	// identify is told of the quorum's identity whenever the State may have got it.
	identify func(string)
}

func newFSM(fatal func(error), identify func(string)) *fsm {
	return &fsm{st: state.New(), fatal: fatal, identify: identify}
}

// read calls f with the State locked. What f returns may keep slices, not tables.
func (f *fsm) read(fn func(*state.State)) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	fn(f.st)
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
