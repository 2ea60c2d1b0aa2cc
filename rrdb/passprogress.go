package rrdb

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// progressKey holds the PassProgress. It is written by mutations, like rows, so that all replicas of a
// partition have the same.
var progressKey = append(metaPrefix[:len(metaPrefix):len(metaPrefix)], "pass"...)

// fillerKey is written to fill a memtable, see engine.Member.FillMemtable; it never reaches a file.
var fillerKey = append(metaPrefix[:len(metaPrefix):len(metaPrefix)], "filler"...)

// PassProgress is the progress of a pass of the table's rules, see Store.ScanForRules. It is part of the
// mutations of the pass, so that the next primary continues where the last one stopped, and changes no
// row twice.
type PassProgress struct {
	Rules uint64 // which rules, see Store.RulesID; 0: none
	At    int64  // when the pass began, Unix seconds by the primary's clock
	Done  bool
	Next  []byte // unless Done: the first key that wasn't read
}

// The value at progressKey, behind the header that all values have: version of this record (1),
// whether the pass is done, u64 BE rules, u64 BE time, key.
const (
	progressVersion = 1
	progressLen     = 18
)

// AppendPassProgress appends the op that stores the progress.
func AppendPassProgress(payload []byte, n PassProgress) []byte {
	v := []byte{progressVersion, 0}
	if n.Done {
		v[1] = 1
	}
	v = binary.BigEndian.AppendUint64(v, n.Rules)
	v = binary.BigEndian.AppendUint64(v, uint64(n.At))
	return AppendOp(payload, Op{Key: progressKey, Value: append(v, n.Next...)})
}

// IsServerWrite tells whether a mutation was made by the server, not for a client: for the table's rules, then
// its first op stores the progress of the pass, or to cut the partition. Other clusters don't get such mutations: they have
// their own rules.
func IsServerWrite(payload []byte) bool {
	var op Op
	r := NewOpReader(payload)
	return r.Next(&op) && (bytes.Equal(op.Key, progressKey) || isCut(&op))
}

func parseProgress(b []byte) (PassProgress, error) {
	if len(b) < progressLen || b[0] != progressVersion || b[1] > 1 {
		return PassProgress{}, fmt.Errorf("invalid record of a pass, %d bytes: %w", len(b), ErrCorrupt)
	}
	n := PassProgress{Done: b[1] == 1, Rules: binary.BigEndian.Uint64(b[2:]), At: int64(binary.BigEndian.Uint64(b[10:]))}
	if len(b) > progressLen {
		n.Next = bytes.Clone(b[progressLen:])
	}
	return n, nil
}

// readProgress reads the progress, zero if there is none.
func readProgress(db *pebble.DB) (PassProgress, error) {
	v, closer, err := db.Get(progressKey)
	switch {
	case err == pebble.ErrNotFound:
		return PassProgress{}, nil
	case err != nil:
		return PassProgress{}, classify(err)
	}
	_, _, data, ok := splitValue(v)
	if !ok {
		_ = closer.Close()
		return PassProgress{}, badValue(progressKey, v)
	}
	n, err := parseProgress(data)
	if cerr := closer.Close(); err == nil && cerr != nil {
		err = classify(cerr)
	}
	return n, err
}
