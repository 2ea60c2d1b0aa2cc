package rrdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
)

// takeKey holds the Taken. It is written with the rows of the set, and comes with a checkpoint.
var takeKey = append(metaPrefix[:len(metaPrefix):len(metaPrefix)], "take"...)

// Take is the only op of a mutation that makes a set of rows part of the store. Each member takes its own set, which lies beside the
// store (SetDir).
type Take struct {
	Load       int64  // positive, larger than that of any set taken before
	Digest     string // of the set, see SetInfo
	Partitions int32  // of the table, when the set was made
	TimetagUS  int64  // of the rows
	Behind     bool   // see SetOf
}

// Taken is the set that a store took last; the zero one is none. No earlier one, and not this one, is taken again.
type Taken struct {
	Take
	Decree, Timestamp int64
}

// The value at takeKey: version of this record (1), flags (1: behind), u64 BE load, u64 BE time of the rows in microseconds, u32 BE partitions,
// u64 BE decree, u64 BE timestamp in microseconds, digest. In a mutation it is behind the header that all values have, and decree
// and timestamp are 0.
const (
	takeVersion = 1
	takeBehind  = 1
	takeLen     = 38
	mostDigest  = 128
)

func (t *Taken) append(b []byte) []byte {
	flags := byte(0)
	if t.Behind {
		flags = takeBehind
	}
	b = append(b, takeVersion, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Load))
	b = binary.BigEndian.AppendUint64(b, uint64(t.TimetagUS))
	b = binary.BigEndian.AppendUint32(b, uint32(t.Partitions))
	b = binary.BigEndian.AppendUint64(b, uint64(t.Decree))
	b = binary.BigEndian.AppendUint64(b, uint64(t.Timestamp))
	return append(b, t.Digest...)
}

func parseTaken(b []byte) (Taken, error) {
	if len(b) <= takeLen || len(b) > takeLen+mostDigest || b[0] != takeVersion || b[1]&^takeBehind != 0 {
		return Taken{}, fmt.Errorf("invalid record of a set of rows that is taken, %d bytes: %w", len(b), ErrCorrupt)
	}
	n := binary.BigEndian.Uint64
	t := Taken{Take{int64(n(b[2:])), string(b[takeLen:]), int32(binary.BigEndian.Uint32(b[18:])), int64(n(b[10:])), b[1] == takeBehind}, int64(n(b[22:])), int64(n(b[30:]))}
	if t.Load <= 0 || t.Partitions <= 0 || t.TimetagUS < 0 || t.Decree < 0 {
		return Taken{}, fmt.Errorf("invalid record of a set of rows that is taken, load %d, %d partitions, decree %d: %w", t.Load, t.Partitions, t.Decree, ErrCorrupt)
	}
	return t, nil
}

// AppendTake appends the op that takes a set. Nothing else may be in the mutation. Members of a cluster write it from version.Loads on.
func AppendTake(payload []byte, t Take) []byte {
	r := Taken{Take: t}
	return AppendOp(payload, Op{Key: takeKey, Value: r.append(nil)})
}

// IsTake tells whether a mutation takes a set: not with its payload but with rows that lie beside the store. It looks at the first op alone.
func IsTake(payload []byte) bool {
	n := 2 + len(takeKey)
	return len(payload) > n && payload[0] == 0 && int(payload[1]) == len(takeKey) && bytes.Equal(payload[2:n], takeKey)
}

// ParseTake reads a mutation that takes a set. An error wraps base.ErrInvalidData.
func ParseTake(payload []byte) (Take, error) {
	var op Op
	r := NewOpReader(payload)
	if !IsTake(payload) || !r.Next(&op) || r.Offset() != len(payload) {
		return Take{}, fmt.Errorf("a mutation of %d bytes doesn't just take a set of rows: %w", len(payload), errors.Join(base.ErrInvalidData, r.Err()))
	}
	t, err := parseTaken(op.Value)
	if err == nil && (t.Decree != 0 || t.Timestamp != 0) {
		err = fmt.Errorf("it was taken at decree %d", t.Decree)
	}
	if err != nil {
		return Take{}, fmt.Errorf("a mutation that takes a set of rows: %w: %w", base.ErrInvalidData, err)
	}
	return t.Take, nil
}

func readTaken(db *pebble.DB) (Taken, error) {
	v, closer, err := db.Get(takeKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return Taken{}, nil
	case err != nil:
		return Taken{}, classify(err)
	}
	t, err := parseTaken(v)
	if cerr := closer.Close(); err == nil && cerr != nil {
		err = classify(cerr)
	}
	return t, err
}

// Taken returns the set that was taken last, as of the last mutation applied. It is durable.
func (s *instance) Taken() Taken { return *s.taken.Load() }
