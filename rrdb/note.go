package rrdb

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// noteKey holds the Note. It is written by a mutation, as rows are, so that all replicas of
// a partition have the same.
var noteKey = append(metaPrefix[:len(metaPrefix):len(metaPrefix)], "pass"...)

// Note says how far a pass of the table's rules has come, see Store.Ruled. It is part of the
// mutation that carries the pass out, so that whoever is primary next goes on where the last
// one was, and changes no row twice.
type Note struct {
	Rules uint64 // which rules, see Store.RulesID; 0: none
	At    int64  // when the pass began, Unix seconds by the primary's clock
	Done  bool
	Next  []byte // while it isn't done: the first key that wasn't looked at
}

// The value at noteKey, behind the header that all values have: version of this record (1),
// whether the pass is done, u64 BE rules, u64 BE time, key.
const (
	noteVersion = 1
	noteLen     = 18
)

// AppendNote appends the op that stores a note.
func AppendNote(payload []byte, n Note) []byte {
	v := []byte{noteVersion, 0}
	if n.Done {
		v[1] = 1
	}
	v = binary.BigEndian.AppendUint64(v, n.Rules)
	v = binary.BigEndian.AppendUint64(v, uint64(n.At))
	return AppendOp(payload, Op{Key: noteKey, Value: append(v, n.Next...)})
}

// Own tells whether a mutation was made by the server for the table's rules, not for a client:
// such begin with a note. They are not for other clusters, which have rules of their own.
func Own(payload []byte) bool {
	var op Op
	r := NewOpReader(payload)
	return r.Next(&op) && bytes.Equal(op.Key, noteKey)
}

func parseNote(b []byte) (Note, error) {
	if len(b) < noteLen || b[0] != noteVersion || b[1] > 1 {
		return Note{}, fmt.Errorf("note of a pass of %d bytes: %w", len(b), ErrCorrupt)
	}
	n := Note{Done: b[1] == 1, Rules: binary.BigEndian.Uint64(b[2:]), At: int64(binary.BigEndian.Uint64(b[10:]))}
	if len(b) > noteLen {
		n.Next = bytes.Clone(b[noteLen:])
	}
	return n, nil
}

// readNote reads the note, the zero one if there is none.
func readNote(db *pebble.DB) (Note, error) {
	v, closer, err := db.Get(noteKey)
	switch {
	case err == pebble.ErrNotFound:
		return Note{}, nil
	case err != nil:
		return Note{}, classify(err)
	}
	_, _, data, ok := splitValue(v)
	if !ok {
		_ = closer.Close()
		return Note{}, badValue(noteKey, v)
	}
	n, err := parseNote(data)
	if cerr := closer.Close(); err == nil && cerr != nil {
		err = classify(cerr)
	}
	return n, err
}

// Note returns how far the pass has come that the mutations applied so far tell of.
func (s *Store) Note() Note { return *s.note.Load() }
