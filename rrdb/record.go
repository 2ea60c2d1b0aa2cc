package rrdb

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// metaKey holds the record of the last decree. Every mutation's batch overwrites it, so that rows and
// decree are in the same memtable and in the same flush.
var metaKey = append(metaPrefix[:len(metaPrefix):len(metaPrefix)], "meta"...)

// meta is the value at metaKey: version of this record (1), version of the row values,
// u64 BE decree, u64 BE timestamp in microseconds.
type meta struct {
	decree      int64
	timestampUS int64
}

const (
	metaVersion = 1
	metaLen     = 18
)

func (m meta) append(b []byte) []byte {
	b = append(b, metaVersion, dataVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(m.decree))
	return binary.BigEndian.AppendUint64(b, uint64(m.timestampUS))
}

func parseMeta(b []byte) (meta, error) {
	if len(b) != metaLen {
		return meta{}, fmt.Errorf("record of the last decree has %d bytes, not %d: %w", len(b), metaLen, ErrCorrupt)
	}
	if b[0] != metaVersion || b[1] != dataVersion {
		return meta{}, fmt.Errorf("the record of the last decree has version %d for rows of version %d, this program reads %d and %d: %w",
			b[0], b[1], metaVersion, dataVersion, ErrCorrupt)
	}
	m := meta{int64(binary.BigEndian.Uint64(b[2:])), int64(binary.BigEndian.Uint64(b[10:]))}
	if m.decree < 0 {
		return meta{}, fmt.Errorf("last decree is %d: %w", m.decree, ErrCorrupt)
	}
	return m, nil
}

// readMeta reads the metadata record, the zero meta if there is none.
func readMeta(db *pebble.DB, durableOnly bool) (m meta, err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: metaPrefix, OnlyReadGuaranteedDurable: durableOnly})
	if err != nil {
		return meta{}, err
	}
	if it.SeekPrefixGE(metaKey) {
		v, err := it.ValueAndErr()
		if err == nil {
			m, err = parseMeta(v)
		}
		if err != nil {
			_ = it.Close()
			return meta{}, err
		}
	}
	return m, it.Close()
}
