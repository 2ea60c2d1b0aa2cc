package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"pegasus/base"
)

// See doc.go for the format.
const (
	fileMagic     = "pegaswal"
	markMagic     = "walmark\n"
	formatVersion = 1

	headerSize       = 64
	headerCRCAt      = 40
	recordHeaderSize = 13
	markSize         = recordHeaderSize + markBodySize
	markBodySize     = 8 + 6*8 + 1

	// MaxPayload is the largest payload of an entry. It keeps a batch, and with it every offset in a segment, far below 4 GiB.
	MaxPayload = 256 << 20
	// maxDecree keeps sums of decrees from overflowing.
	maxDecree = 1 << 62
	// maxSegmentBytes leaves room for the batch that goes over it.
	maxSegmentBytes = 2 << 30
)

type kind uint8

const (
	kindMark kind = 1 + iota
	kindTable
	kindMutation
	kindTruncate
	kindReset
	kindDrop
)

const (
	flagSeal = 1

	flagNeeded  = 1
	flagDamaged = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// position is a place in the log.
type position struct {
	seq uint64
	off int64
}

func (p position) before(q position) bool {
	return p.seq < q.seq || p.seq == q.seq && p.off < q.off
}

func (p position) String() string { return fmt.Sprintf("%s offset %d", segmentName(p.seq), p.off) }

func segmentName(seq uint64) string { return fmt.Sprintf("%020d.log", seq) }

// parseSegmentName is the inverse of segmentName.
func parseSegmentName(name string) (uint64, bool) {
	const digits = 20
	if len(name) != digits+len(".log") || name[digits:] != ".log" {
		return 0, false
	}
	var seq uint64
	for _, c := range []byte(name[:digits]) {
		if c < '0' || c > '9' || seq > (math.MaxUint64-9)/10 {
			return 0, false
		}
		seq = seq*10 + uint64(c-'0')
	}
	return seq, seq > 0
}

// header is the start of a segment.
type header struct {
	id, seq uint64
	// prevEnd is where the valid data of segment seq-1 ends; 0 if there is none.
	prevEnd int64
}

func appendHeader(b []byte, h header) []byte {
	start := len(b)
	b = append(b, fileMagic...)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	b = binary.LittleEndian.AppendUint64(b, h.id)
	b = binary.LittleEndian.AppendUint64(b, h.seq)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.prevEnd))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	return append(b, make([]byte, headerSize-headerCRCAt-4)...)
}

// errVersion is returned for a whole header of a version that this program doesn't know.
var errVersion = errors.New("unknown format version")

var errBadHeader = errors.New("damaged header")

// parseHeader returns errBadHeader for anything that isn't a whole header, and
// errVersion (wrapped) only if the part that all versions share is whole.
func parseHeader(b []byte) (header, error) {
	if len(b) < 16 || string(b[:8]) != fileMagic ||
		binary.LittleEndian.Uint32(b[12:]) != crc32.Checksum(b[:12], castagnoli) {
		return header{}, errBadHeader
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return header{}, fmt.Errorf("%w %d (this program knows %d)", errVersion, v, formatVersion)
	}
	if len(b) < headerSize ||
		binary.LittleEndian.Uint32(b[headerCRCAt:]) != crc32.Checksum(b[:headerCRCAt], castagnoli) ||
		len(bytes.Trim(b[headerCRCAt+4:headerSize], "\x00")) != 0 {
		return header{}, errBadHeader
	}
	h := header{
		id:      binary.LittleEndian.Uint64(b[16:]),
		seq:     binary.LittleEndian.Uint64(b[24:]),
		prevEnd: int64(binary.LittleEndian.Uint64(b[32:])),
	}
	if h.id == 0 || h.prevEnd < 0 || h.prevEnd > math.MaxUint32 {
		return header{}, errBadHeader
	}
	return h, nil
}

// seed is what the checksums of one segment start from.
type seed uint32

func seedOf(id, seq uint64) seed { return seed(mix(id ^ mix(seq))) }

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// sum is the checksum of a record at off; b is the record behind its crc. The place goes
// into the start value, as a buffer for it would be an allocation a record.
func (s seed) sum(off int64, b []byte) uint32 {
	return crc32.Update(uint32(s)^uint32(mix(uint64(off))), castagnoli, b)
}

// encoder appends records to buf, which will be written at offset start of segment seq.
type encoder struct {
	buf   []byte
	id    uint64
	seq   uint64
	seed  seed
	start int64
}

// segment begins a new segment: what is encoded is to be written at off of it.
func (e *encoder) segment(id, seq uint64, off int64) {
	e.buf, e.id, e.seq, e.seed, e.start = e.buf[:0], id, seq, seedOf(id, seq), off
}

func (e *encoder) at() int64 { return e.start + int64(len(e.buf)) }

// open starts a record and returns its place in buf for close.
func (e *encoder) open(k kind) int {
	at := len(e.buf)
	e.buf = append(e.buf, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(k))
	return at
}

// close completes the record that open began; it returns offset and length in the segment.
func (e *encoder) close(at int) loc {
	b := e.buf[at:]
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-recordHeaderSize))
	binary.LittleEndian.PutUint32(b[8:], uint32(e.seq))
	off := e.start + int64(at)
	binary.LittleEndian.PutUint32(b, e.seed.sum(off, b[4:]))
	return loc{off: uint32(off), n: uint32(len(b))}
}

// record is a valid record.
type record struct {
	kind kind
	body []byte
	// size of the whole record in the segment.
	size int64
}

var errBadRecord = errors.New("invalid record")

// recordSize returns the size of the record that begins with b, unverified; 0 if b is
// too short to tell.
func recordSize(b []byte) int64 {
	if len(b) < recordHeaderSize {
		return 0
	}
	return recordHeaderSize + int64(binary.LittleEndian.Uint32(b[4:]))
}

// parseRecord verifies that b begins with a valid record for its place.
func parseRecord(b []byte, s seed, seq uint64, off int64) (record, error) {
	size := recordSize(b)
	if size == 0 || size > int64(len(b)) || binary.LittleEndian.Uint32(b[8:]) != uint32(seq) ||
		binary.LittleEndian.Uint32(b) != s.sum(off, b[4:size]) {
		return record{}, errBadRecord
	}
	return record{kind: kind(b[12]), body: b[recordHeaderSize:size], size: size}, nil
}

// mark is the body of a Mark.
type mark struct {
	id  uint64
	own position
	// synced: all before it was on the disk.
	synced position
	low    uint64
	seal   bool
}

func (e *encoder) mark(synced position, low uint64, seal bool) {
	off := e.at()
	at := e.open(kindMark)
	e.buf = append(e.buf, markMagic...)
	for _, v := range [...]uint64{e.id, e.seq, uint64(off), synced.seq, uint64(synced.off), low} {
		e.buf = binary.LittleEndian.AppendUint64(e.buf, v)
	}
	var flags byte
	if seal {
		flags = flagSeal
	}
	e.buf = append(e.buf, flags)
	e.close(at)
}

func parseMark(b []byte) (mark, error) {
	if len(b) != markBodySize || string(b[:8]) != markMagic {
		return mark{}, fmt.Errorf("%w: mark of %d bytes", errBadRecord, len(b))
	}
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8+8*i:]) }
	return mark{
		id:     u(0),
		own:    position{u(1), int64(u(2))},
		synced: position{u(3), int64(u(4))},
		low:    u(5),
		seal:   b[markBodySize-1]&flagSeal != 0,
	}, nil
}

func appendGpid(b []byte, g base.Gpid) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(g.AppID))
	return binary.LittleEndian.AppendUint32(b, uint32(g.PartitionIndex))
}

// mutation encodes e as record number serial of its replica, whose last decree was last.
func (e *encoder) mutation(x *Entry, serial uint64, last int64) loc {
	at := e.open(kindMutation)
	b := appendGpid(e.buf, x.Gpid)
	b = binary.AppendUvarint(b, serial)
	b = binary.AppendVarint(b, x.Decree-last)
	b = binary.AppendVarint(b, x.Decree)
	b = binary.AppendVarint(b, x.Ballot)
	b = binary.AppendVarint(b, x.Decree-x.Committed)
	b = binary.LittleEndian.AppendUint64(b, uint64(x.Timestamp))
	e.buf = append(b, x.Payload...)
	return e.close(at)
}

// meta encodes a Truncate, Reset or Drop.
func (e *encoder) meta(k kind, g base.Gpid, serial uint64, last, decree int64) loc {
	at := e.open(k)
	b := appendGpid(e.buf, g)
	b = binary.AppendUvarint(b, serial)
	b = binary.AppendVarint(b, last)
	e.buf = binary.AppendVarint(b, decree)
	return e.close(at)
}

// change is a decoded Mutation, Truncate, Reset or Drop. Entry.Payload aliases the
// record; for the latter three only Gpid and Decree are set.
type change struct {
	Entry
	serial uint64
	// last decree of the replica before this record.
	last int64
}

func parseChange(r record) (change, error) {
	c := cursor{b: r.body}
	var x change
	x.Gpid = c.gpid()
	x.serial = c.uvarint()
	x.last = c.varint()
	x.Decree = c.varint()
	if r.kind == kindMutation {
		x.last = x.Decree - x.last
		x.Ballot = c.varint()
		x.Committed = x.Decree - c.varint()
		x.Timestamp = int64(c.u64())
		x.Payload, c.b = c.b, nil
	}
	if c.bad || len(c.b) != 0 || x.serial == 0 || !validDecree(x.Decree) || !validDecree(x.last) ||
		x.Decree == 0 && r.kind == kindMutation {
		return change{}, fmt.Errorf("%w: kind %d of %d bytes", errBadRecord, r.kind, len(r.body))
	}
	return x, nil
}

func validDecree(d int64) bool { return d >= 0 && d < maxDecree }

// tableEntry is what a Table says of one replica.
type tableEntry struct {
	gpid   base.Gpid
	serial uint64
	state  State
	needed bool
	damage *Damage
}

func (e *encoder) table(ts []tableEntry) {
	at := e.open(kindTable)
	b := binary.AppendUvarint(e.buf, uint64(len(ts)))
	for _, t := range ts {
		b = appendGpid(b, t.gpid)
		b = binary.AppendUvarint(b, t.serial)
		for _, p := range t.state.stored() {
			b = binary.AppendVarint(b, *p)
		}
		var flags byte
		if t.needed {
			flags |= flagNeeded
		}
		if t.damage != nil {
			flags |= flagDamaged
		}
		b = append(b, flags)
		if t.damage != nil {
			b = binary.AppendVarint(b, t.damage.From)
			b = binary.AppendUvarint(b, uint64(len(t.damage.Reason)))
			b = append(b, t.damage.Reason...)
		}
	}
	e.buf = b
	e.close(at)
}

// stored are the fields that a Table carries, in its order.
func (s *State) stored() [6]*int64 {
	return [...]*int64{&s.Base, &s.Last, &s.Ballot, &s.MaxBallot, &s.Committed, &s.Retention}
}

func parseTable(body []byte) ([]tableEntry, error) {
	c := cursor{b: body}
	n := c.uvarint()
	const least = 8 + 1 + 6 + 1
	if n > uint64(len(c.b)/least) {
		return nil, fmt.Errorf("%w: table of %d replicas in %d bytes", errBadRecord, n, len(body))
	}
	ts := make([]tableEntry, 0, n)
	for range n {
		t := tableEntry{gpid: c.gpid(), serial: c.uvarint()}
		for _, p := range t.state.stored() {
			*p = c.varint()
		}
		if !validDecree(t.state.Base) || !validDecree(t.state.Last) {
			c.bad = true
		}
		flags := c.byte()
		t.needed = flags&flagNeeded != 0
		if flags&flagDamaged != 0 {
			t.damage = &Damage{Gpid: t.gpid, From: c.varint()}
			t.damage.Reason = string(c.bytes(c.uvarint()))
		}
		ts = append(ts, t)
	}
	if c.bad || len(c.b) != 0 {
		return nil, fmt.Errorf("%w: table of %d bytes", errBadRecord, len(body))
	}
	return ts, nil
}

// cursor decodes; after an overrun bad is set and all results are zero.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) bytes(n uint64) []byte {
	if c.bad || n > uint64(len(c.b)) {
		c.b, c.bad = nil, true
		return nil
	}
	p := c.b[:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) u64() uint64 {
	if p := c.bytes(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (c *cursor) byte() byte {
	if p := c.bytes(1); p != nil {
		return p[0]
	}
	return 0
}

func (c *cursor) gpid() base.Gpid {
	v := c.u64()
	return base.Gpid{AppID: int32(uint32(v)), PartitionIndex: int32(uint32(v >> 32))}
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.b, c.bad = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.b, c.bad = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}
