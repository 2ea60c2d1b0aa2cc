package state

import (
	"errors"
	"fmt"

	"pegasus/base/tbin"
	"pegasus/base/version"
)

// snapshotMagic begins a snapshot; the version of the cluster follows, in one byte. A program
// that doesn't understand it doesn't read what comes.
const snapshotMagic = "PGSMETA"

// ErrNotSnapshot is what Restore wraps for data of another kind or version.
var ErrNotSnapshot = errors.New("no snapshot of a meta server's state")

// AppendSnapshot appends the whole State.
func (s *State) AppendSnapshot(b []byte) []byte {
	b = append(append(b, snapshotMagic...), byte(s.cluster.version))
	for _, f := range features {
		for i := range f.sections {
			if sec := &f.sections[i]; s.cluster.version >= sec.since {
				b = sec.write(s, b, sec.id)
			}
		}
	}
	return tbin.AppendStop(b)
}

// Restore returns the State that AppendSnapshot wrote. The error wraps ErrNotSnapshot or
// tbin.ErrMalformed.
func Restore(b []byte) (*State, error) {
	begin := len(snapshotMagic)
	if len(b) <= begin || string(b[:begin]) != snapshotMagic {
		return nil, fmt.Errorf("%d bytes: %w", len(b), ErrNotSnapshot)
	}
	s := New()
	s.cluster.version = version.Version(b[begin])
	if err := version.Understood(s.cluster.version); err != nil {
		return nil, fmt.Errorf("snapshot: %w: %w", ErrNotSnapshot, err)
	}
	r := tbin.NewReader(b[begin+1:])
	readStruct(r, s.readField)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("snapshot at byte %d of %d: %w", r.Offset(), len(b), err)
	}
	if r.Len() != 0 {
		return nil, fmt.Errorf("snapshot: %d bytes left over: %w", r.Len(), tbin.ErrMalformed)
	}
	return s, nil
}

// readField reads a section. One that the snapshot's version doesn't allow is malformed.
func (s *State) readField(r *tbin.Reader, t tbin.Type, id int16) {
	sec := sectionsByID[id]
	if sec == nil || sec.typ != t {
		unknownField(r, id)
		return
	}
	if sec.read(s, r); s.cluster.version < sec.since {
		r.Fail(tbin.ErrMalformed)
	}
}
