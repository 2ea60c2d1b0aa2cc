package rrdb

import (
	"encoding/binary"
	"fmt"

	"pegasus/base"
)

// Op is one effect of a mutation: a put of a row, or its removal.
type Op struct {
	Key      []byte // encoded row key
	Value    []byte // user data; of a put only
	ExpireTS uint32 // seconds since base.EpochBegin, 0 is never; of a put only
	Delete   bool
	// Timetag is the timetag of what isn't a new write of a client of this cluster: of a put or a remove
	// that another cluster sent, or of a row that the server writes anew. 0: that of the mutation, see
	// OpReader.Timetag. Of a remove that is to leave a tombstone, see Tombstone.
	Timetag uint64
}

// The wire form of an op: one byte of flags, uvarint length and key; for a put then u32 BE expiry if
// opExpires is set, u64 BE timetag if opTimetag is set, uvarint length and value; for a remove only the
// timetag. Between ops may be opCluster, a byte of flags of its own, and the number of a cluster: what
// follows without a timetag was written there. Without it that number is 0. The format is our own.
// It is used in the replication log and between replicas, so flags are only added. Members of a cluster
// write opCluster, and the timetag of a remove, from version.Origins on.
const (
	opDelete  = 1 << 0
	opExpires = 1 << 1
	opTimetag = 1 << 2
	opCluster = 1 << 3
)

// maxOpOverhead is the largest size of an op without its key and value.
const maxOpOverhead = 1 + 4 + 8 + 2*binary.MaxVarintLen32

// clusterSize is the size of opCluster with its number.
const clusterSize = 2

// AppendOp appends the encoded op.
func AppendOp(b []byte, op Op) []byte {
	b = append(b, op.flags())
	b = binary.AppendUvarint(b, uint64(len(op.Key)))
	b = append(b, op.Key...)
	return op.appendTail(b)
}

// appendRowOp is AppendOp for a key in two parts; op.Key is ignored.
func appendRowOp(b, hashKey, sortKey []byte, op Op) []byte {
	b = append(b, op.flags())
	b = binary.AppendUvarint(b, uint64(2+len(hashKey)+len(sortKey)))
	b = base.AppendKey(b, hashKey, sortKey)
	return op.appendTail(b)
}

func (op Op) flags() byte {
	var f byte
	switch {
	case op.Delete:
		f = opDelete
	case op.ExpireTS != 0:
		f = opExpires
	}
	if op.Timetag != 0 {
		f |= opTimetag
	}
	return f
}

// appendTail appends what follows the key.
func (op Op) appendTail(b []byte) []byte {
	if op.ExpireTS != 0 && !op.Delete {
		b = binary.BigEndian.AppendUint32(b, op.ExpireTS)
	}
	if op.Timetag != 0 {
		b = binary.BigEndian.AppendUint64(b, op.Timetag)
	}
	if op.Delete {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(op.Value)))
	return append(b, op.Value...)
}

// appendCluster begins a payload whose ops are writes of a cluster with a number.
func appendCluster(b []byte, cluster uint8) []byte { return append(b, opCluster, cluster) }

// OpReader iterates over a payload. It checks every length against the bytes left, and doesn't allocate:
// the slices of an Op are slices of the payload.
type OpReader struct {
	b       []byte
	off     int
	cluster uint8
	err     error
}

// NewOpReader returns a reader at the payload's first op.
func NewOpReader(payload []byte) OpReader { return OpReader{b: payload} }

// Next reads one op. It returns false at the end and on error; see Err.
func (r *OpReader) Next(op *Op) bool {
	if r.err != nil || r.off >= len(r.b) {
		return false
	}
	flags := r.b[r.off]
	r.off++
	for flags == opCluster {
		if len(r.b)-r.off < 2 || r.b[r.off] > maxCluster {
			r.fail("no number of a cluster, or no op behind it")
			return false
		}
		r.cluster, flags = r.b[r.off], r.b[r.off+1]
		r.off += 2
	}
	if flags&^(opDelete|opExpires|opTimetag) != 0 || flags&(opDelete|opExpires) == opDelete|opExpires {
		r.fail("unknown flags %#x", flags)
		return false
	}
	*op = Op{Key: r.bytes(), Delete: flags&opDelete != 0}
	if flags&opExpires != 0 {
		if len(r.b)-r.off < 4 {
			r.fail("expiry runs past the end")
			return false
		}
		op.ExpireTS = binary.BigEndian.Uint32(r.b[r.off:])
		r.off += 4
	}
	if flags&opTimetag != 0 {
		if len(r.b)-r.off < 8 {
			r.fail("timetag runs past the end")
			return false
		}
		op.Timetag = binary.BigEndian.Uint64(r.b[r.off:])
		r.off += 8
	}
	if !op.Delete {
		op.Value = r.bytes()
	}
	return r.err == nil
}

// Timetag returns the timetag of the op that was read last, in a mutation with that timestamp.
func (r *OpReader) Timetag(op *Op, timestampUS int64) uint64 {
	if op.Timetag != 0 {
		return timetagAt(op.Timetag, timestampUS)
	}
	return MakeTimetag(timestampUS, r.cluster, op.Delete)
}

// timetagAt is the timetag of an op in a mutation with that timestamp: a remove that Tombstone made has none.
func timetagAt(timetag uint64, timestampUS int64) uint64 {
	if ts, cluster, deleted := SplitTimetag(timetag); ts == 0 && deleted {
		return MakeTimetag(timestampUS, cluster, true)
	}
	return timetag
}

// Offset returns the number of bytes read: the offset of the next op.
func (r *OpReader) Offset() int { return r.off }

// Err returns nil at the end of a valid payload, otherwise an error that wraps base.ErrInvalidData.
func (r *OpReader) Err() error { return r.err }

func (r *OpReader) bytes() []byte {
	if r.err != nil {
		return nil
	}
	n, size := binary.Uvarint(r.b[r.off:])
	if size <= 0 || n > uint64(len(r.b)-r.off-size) {
		r.fail("length runs past the end")
		return nil
	}
	r.off += size
	v := r.b[r.off : r.off+int(n) : r.off+int(n)]
	r.off += int(n)
	return v
}

func (r *OpReader) fail(format string, args ...any) {
	r.err = fmt.Errorf("op payload of %d bytes, at offset %d: %s: %w",
		len(r.b), r.off, fmt.Sprintf(format, args...), base.ErrInvalidData)
}
