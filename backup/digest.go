package backup

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"pegasus/base"
	"pegasus/rocks/pegasus"
)

// Sum identifies the rows of a partition that are live at some time. It is what rrdb's Store.Digest works out of a
// replica with the same rows.
type Sum struct {
	Rows int64
	Hash uint64 // XXH64 over the rows in key order: lengths of key and value (u32 BE each), key, value as of data version 1
}

// Hex returns the hash as manifests have it.
func (s Sum) Hex() string { return fmt.Sprintf("%016x", s.Hash) }

func parseHash(s string) (uint64, error) {
	h, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		return 0, fmt.Errorf("the digest is %.40q, not 16 hexadecimal digits", s)
	}
	return h, nil
}

// valueHeader is how many bytes a stored value of data version 1 has before the data.
const valueHeader = 12

// Digest works out a Sum.
type Digest struct {
	now  uint32
	rows int64
	h    *xxhash.Digest
	head [8 + valueHeader]byte
}

// NewDigest begins one of the rows that are live at now, see Clock.
func NewDigest(now uint32) *Digest { return &Digest{now: now, h: xxhash.New()} }

// Add counts a row if it is live. Rows come by stored key.
func (d *Digest) Add(key []byte, v pegasus.Value) {
	if v.Expired(d.now) {
		return
	}
	b := binary.BigEndian.AppendUint32(d.head[:0], uint32(len(key)))
	b = binary.BigEndian.AppendUint32(b, uint32(valueHeader+len(v.Data)))
	d.h.Write(b)
	d.h.Write(key)
	b = binary.BigEndian.AppendUint32(d.head[:0], v.ExpireTS)
	b = binary.BigEndian.AppendUint64(b, v.Timetag)
	d.h.Write(b)
	d.h.Write(v.Data)
	d.rows++
}

// Sum returns what was added.
func (d *Digest) Sum() Sum { return Sum{d.rows, d.h.Sum64()} }

// Clock returns a time as rows count it: seconds since base.EpochBegin, 0 before.
func Clock(t time.Time) uint32 { return uint32(min(max(t.Unix()-base.EpochBegin, 0), 1<<32-1)) }
