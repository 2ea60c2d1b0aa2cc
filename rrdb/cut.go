package rrdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
)

// cutKey holds the Cut. It is written by a mutation, like rows, so that all replicas of a partition have
// the same, and comes with a checkpoint.
var cutKey = append(metaPrefix[:len(metaPrefix):len(metaPrefix)], "cut"...)

// Cut says that the partition was split (pacifica/split): since the mutation of Decree the store's rows are those of
// Partition when there are Count of them. The others are hidden, and never change. The zero Cut is none.
type Cut struct {
	Partition, Count  int32
	Decree, Timestamp int64
}

// Owns tells whether a row with that partition hash is the partition's.
func (c *Cut) Owns(hash uint64) bool {
	return c.Count <= 0 || base.InPartition(hash, c.Partition, c.Count)
}

// The value at cutKey: version of this record (1), u32 BE partition, u32 BE count, u64 BE decree, u64 BE timestamp
// in microseconds. In a mutation it is behind the header that all values have, and decree and timestamp aren't looked at.
const (
	cutVersion = 1
	cutLen     = 25
)

func (c *Cut) append(b []byte) []byte {
	b = append(b, cutVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(c.Partition))
	b = binary.BigEndian.AppendUint32(b, uint32(c.Count))
	b = binary.BigEndian.AppendUint64(b, uint64(c.Decree))
	return binary.BigEndian.AppendUint64(b, uint64(c.Timestamp))
}

func parseCut(b []byte) (Cut, error) {
	if len(b) != cutLen || b[0] != cutVersion {
		return Cut{}, fmt.Errorf("invalid record of a cut, %d bytes: %w", len(b), ErrCorrupt)
	}
	c := Cut{int32(binary.BigEndian.Uint32(b[1:])), int32(binary.BigEndian.Uint32(b[5:])), int64(binary.BigEndian.Uint64(b[9:])), int64(binary.BigEndian.Uint64(b[17:]))}
	if c.Count <= 0 || c.Partition < 0 || c.Partition >= c.Count || c.Decree < 0 {
		return Cut{}, fmt.Errorf("invalid record of a cut, partition %d of %d at decree %d: %w", c.Partition, c.Count, c.Decree, ErrCorrupt)
	}
	return c, nil
}

// AppendCut appends the op that splits the partition: there are count of them from then on. Nothing else may be in the
// mutation. Members of a cluster write it from version.Splits on.
func AppendCut(payload []byte, partition, count int32) []byte {
	c := Cut{Partition: partition, Count: count}
	return AppendOp(payload, Op{Key: cutKey, Value: c.append(nil)})
}

// readCut reads the cut, the zero one if there is none.
func readCut(db *pebble.DB) (Cut, error) {
	v, closer, err := db.Get(cutKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return Cut{}, nil
	case err != nil:
		return Cut{}, classify(err)
	}
	c, err := parseCut(v)
	if cerr := closer.Close(); err == nil && cerr != nil {
		err = classify(cerr)
	}
	return c, err
}

// Cut returns how the partition was split last, as of the last mutation applied.
func (s *instance) Cut() Cut { return *s.cut.Load() }

// hides tells whether a row is hidden because it went to another partition.
func (s *instance) hides(key []byte) bool {
	c := s.cut.Load()
	return c.Count > 0 && !inPartition(key, c.Partition, c.Count)
}

// CutOff tells whether an op of a payload changes a row that isn't the partition's when there are count.
func CutOff(payload []byte, partition, count int32) bool {
	var op Op
	r := NewOpReader(payload)
	for r.Next(&op) {
		if validKey(op.Key) && !inPartition(op.Key, partition, count) {
			return true
		}
	}
	return false
}

// isCut tells whether an op is a cut.
func isCut(op *Op) bool { return !op.Delete && bytes.Equal(op.Key, cutKey) }

// SetPartitionCount sets the number of partitions of the table. Scans that validate rows check against it. Until it is
// set all rows are answered. What a cut hides is removed once the table has as many as the cut says: the
// partition that the rows went to has them then.
func (s *instance) SetPartitionCount(n int32) {
	s.count.Store(n)
}

// scansWait is for how long the removal of rows that a cut hides waits for scans from before it to end.
const scansWait = 5 * time.Minute

// given returns the cut whose hidden rows are being removed; false if none are.
func (s *instance) given() (c Cut, ok bool) {
	c = s.Cut()
	return c, c.Count > 0 && c.Count == s.giving.Load()
}
