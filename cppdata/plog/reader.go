package plog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"pegasus/base"
	"pegasus/rocks/damage"
)

// Log is the kind of damage that this package tells of.
const Log damage.Kind = "private log"

const (
	magic       = 0xdeadbeef
	blockHeader = 16
	fileHeader  = 20
	previousLen = 24
	mutationLen = 60 // without updates
	updateLen   = 12 // without name and argument
	// oldVersion is the largest version word; what is above is of a release that had no timestamps.
	oldVersion = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Previous is what a file's header says of a partition.
type Previous struct {
	Gpid       base.Gpid
	MaxDecree  int64 // largest in all files before this one
	ValidStart int64 // offset in the log before which nothing is valid
}

// Header is that of a file.
type Header struct {
	Version  int32
	Start    int64 // offset of the file in the log
	Previous []Previous
}

// Block is where a mutation was found.
type Block struct {
	Offset int64 // in the file
	Length int64 // of the body
	CRC    uint32
}

// Update is one request of a client.
type Update struct {
	Code          string // such as RPC_RRDB_RRDB_PUT
	Serialization int32
	Data          []byte // the argument, as the client sent it
}

// Mutation is what was replicated at one decree. Its slices are of the block's memory, which nothing else uses.
type Mutation struct {
	Gpid        base.Gpid
	Ballot      int64
	Decree      int64
	Offset      int64 // in the log
	Committed   int64 // what the primary had committed when it made the mutation
	TimestampUS int64 // 0: unknown
	Updates     []Update
}

// Reader reads one file. It belongs to one goroutine.
type Reader struct {
	name   string
	r      io.ReaderAt
	size   int64
	header Header
	next   int64 // of the next block
	crc    uint32
	block  Block
	body   []byte // the rest of the block
	at     int64  // of body in the log
	m      Mutation
	torn   *damage.Error
	err    error
}

// ErrNoHeader says that a file ends before its first block does: it was just begun.
var ErrNoHeader = errors.New("the file ends in its header")

// NewReader reads the header of a file. name is for errors. It returns ErrNoHeader, wrapped, if there is none yet.
func NewReader(name string, r io.ReaderAt, size int64) (*Reader, error) {
	f := &Reader{name: name, r: r, size: size}
	if !f.nextBlock() {
		if f.err != nil {
			return nil, f.err
		}
		return nil, damage.Newf(name, 0, Log, "%w: it has %d bytes", ErrNoHeader, size)
	}
	if err := f.readHeader(); err != nil {
		return nil, damage.Newf(name, 0, Log, "its header: %w", err)
	}
	return f, nil
}

func (f *Reader) readHeader() error {
	b := f.body
	le := binary.LittleEndian
	if len(b) < fileHeader || le.Uint32(b) != magic {
		return fmt.Errorf("%d bytes that don't begin with %#x", len(b), magic)
	}
	f.header.Version, f.header.Start = int32(le.Uint32(b[4:])), int64(le.Uint64(b[8:]))
	if f.header.Version != 1 {
		return fmt.Errorf("version %d, known is 1", f.header.Version)
	}
	n := le.Uint32(b[16:])
	b = b[fileHeader:]
	if uint64(n)*previousLen > uint64(len(b)) {
		return fmt.Errorf("%d partitions in %d bytes", n, len(b))
	}
	for range n {
		f.header.Previous = append(f.header.Previous, Previous{Gpid: gpid(b), MaxDecree: int64(le.Uint64(b[8:])), ValidStart: int64(le.Uint64(b[16:]))})
		b = b[previousLen:]
	}
	if f.header.Start < 0 {
		return fmt.Errorf("it says that it starts at %d", f.header.Start)
	}
	f.at = f.header.Start + f.next - int64(len(b))
	f.body = b
	return nil
}

func gpid(b []byte) base.Gpid {
	return base.Gpid{AppID: int32(binary.LittleEndian.Uint32(b)), PartitionIndex: int32(binary.LittleEndian.Uint32(b[4:]))}
}

// nextBlock reads a block. It returns false at the end, and on error.
func (f *Reader) nextBlock() bool {
	left := f.size - f.next
	if left == 0 {
		return false
	}
	head := make([]byte, min(left, blockHeader))
	if err := f.readAt(head, f.next); err != nil {
		f.err = err
		return false
	}
	if left < blockHeader {
		return f.tear("a block's header needs %d bytes", blockHeader)
	}
	le := binary.LittleEndian
	if le.Uint32(head) != magic {
		if zero, err := f.zeroFrom(f.next); err != nil || zero {
			f.err = err
			if zero {
				f.torn = damage.Newf(f.name, f.next, Log, "%d bytes of zeros", left)
			}
			return false
		}
		f.err = damage.Newf(f.name, f.next, Log, "a block begins with %#x, it should with %#x; %d bytes are left", le.Uint32(head), magic, left)
		return false
	}
	length := int64(le.Uint32(head[4:]))
	if length > left-blockHeader {
		return f.tear("a block says that it has %d bytes", length)
	}
	body := make([]byte, length)
	if err := f.readAt(body, f.next+blockHeader); err != nil {
		f.err = err
		return false
	}
	want := le.Uint32(head[8:])
	crc := crc32.Update(f.crc, castagnoli, body)
	if crc != want {
		f.err = damage.Newf(f.name, f.next, Log, "the checksum of a block of %d bytes is %#x, it should be %#x", length, crc, want)
		return false
	}
	f.crc = crc
	f.block = Block{Offset: f.next, Length: length, CRC: crc}
	f.body, f.at = body, f.header.Start+f.next+blockHeader
	f.next += blockHeader + length
	return true
}

// tear ends the file at a block that isn't whole, unless whole blocks are behind: then it is the length that is damaged.
func (f *Reader) tear(format string, args ...any) bool {
	args = append(args, f.size-f.next)
	torn := damage.Newf(f.name, f.next, Log, format+", %d are left", args...)
	behind, err := f.blockBehind()
	switch {
	case err != nil:
		f.err = err
	case behind >= 0:
		f.err = damage.Newf(f.name, f.next, Log, "%w, and a whole block follows at %d", torn.Err, behind)
	default:
		f.torn = torn
	}
	return false
}

// zeroFrom tells whether all that is left is zeros: a file system may leave them where a write didn't come to its end.
func (f *Reader) zeroFrom(off int64) (bool, error) {
	b := make([]byte, 64<<10)
	for off < f.size {
		b = b[:min(int64(len(b)), f.size-off)]
		if err := f.readAt(b, off); err != nil {
			return false, err
		}
		for _, c := range b {
			if c != 0 {
				return false, nil
			}
		}
		off += int64(len(b))
	}
	return true, nil
}

// blockBehind returns the offset of the first block behind the present place that is whole by its own length, and has
// the end of the file or another one behind it; -1 if there is none.
func (f *Reader) blockBehind() (int64, error) {
	rest := make([]byte, f.size-f.next)
	if err := f.readAt(rest, f.next); err != nil {
		return 0, err
	}
	mark := binary.LittleEndian.AppendUint32(nil, magic)
	from := 1
	if f.next == 0 {
		from = blockHeader + 1 // the header itself begins like a block
	}
	for {
		i := bytes.Index(rest[min(from, len(rest)):], mark)
		if i < 0 {
			return -1, nil
		}
		at := from + i
		from = at + 1
		if len(rest)-at <= blockHeader {
			return -1, nil
		}
		end := uint64(at) + blockHeader + uint64(binary.LittleEndian.Uint32(rest[at+4:]))
		if end == uint64(len(rest)) || end < uint64(len(rest)) && bytes.HasPrefix(rest[end:], mark) {
			return f.next + int64(at), nil
		}
	}
}

func (f *Reader) readAt(p []byte, off int64) error {
	n, err := f.r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return damage.Newf(f.name, off, Log, "it became shorter while it was read")
	}
	return fmt.Errorf("read %d bytes of %s at %d: %w", len(p), f.name, off, err)
}

// Name is the file's.
func (f *Reader) Name() string { return f.name }

// Header is the file's.
func (f *Reader) Header() Header { return f.header }

// Next moves to the next mutation. False is the end, or an error, which Err tells.
func (f *Reader) Next() bool {
	if f.err != nil || f.torn != nil {
		return false
	}
	for len(f.body) == 0 {
		if !f.nextBlock() {
			return false
		}
	}
	m, n, err := parse(f.body)
	if err == nil && m.Offset != f.at {
		err = fmt.Errorf("a mutation says that its offset in the log is %d, it should be %d", m.Offset, f.at)
	}
	if err != nil {
		f.err = damage.Newf(f.name, f.at-f.header.Start, Log, "decree %d: %w", m.Decree, err)
		return false
	}
	f.m, f.body, f.at = m, f.body[n:], f.at+int64(n)
	return true
}

// Mutation is the present one. Block is where it is.
func (f *Reader) Mutation() *Mutation { return &f.m }

// Block is that of the present mutation.
func (f *Reader) Block() Block { return f.block }

// Err is why Next returned false, nil at the end of the file.
func (f *Reader) Err() error { return f.err }

// Torn tells of a last block that isn't whole; nil if there is none. It is known when Next has returned false.
func (f *Reader) Torn() *damage.Error { return f.torn }

// End is the offset in the log behind the last whole block so far.
func (f *Reader) End() int64 { return f.header.Start + f.next }

// Parse reads a mutation, and says how long it is.
func Parse(b []byte) (Mutation, int, error) { return parse(b) }

func parse(b []byte) (m Mutation, n int, err error) {
	le := binary.LittleEndian
	if len(b) < mutationLen {
		return m, 0, fmt.Errorf("%d bytes are no mutation", len(b))
	}
	m = Mutation{Gpid: gpid(b[8:]), Ballot: int64(le.Uint64(b[16:])), Decree: int64(le.Uint64(b[24:])), Offset: int64(le.Uint64(b[32:])),
		Committed: int64(le.Uint64(b[40:])), TimestampUS: int64(le.Uint64(b[48:]))}
	switch version := le.Uint64(b); {
	case version > oldVersion:
		m.TimestampUS = 0
	case version != 0:
		return m, 0, fmt.Errorf("version %d of a mutation, known is 0", version)
	}
	count := int64(int32(le.Uint32(b[56:])))
	rest := b[mutationLen:]
	if count < 0 || count*updateLen > int64(len(rest)) {
		return m, 0, fmt.Errorf("%d updates in %d bytes", count, len(rest))
	}
	m.Updates = make([]Update, count)
	lengths := make([]int, count)
	for i := range m.Updates {
		name, ok := take(&rest)
		if !ok || len(rest) < 8 {
			return m, 0, fmt.Errorf("the name of update %d goes beyond the block", i)
		}
		m.Updates[i].Code, m.Updates[i].Serialization = string(name), int32(le.Uint32(rest))
		lengths[i] = int(int32(le.Uint32(rest[4:])))
		rest = rest[8:]
	}
	for i, n := range lengths {
		if n < 0 || n > len(rest) {
			return m, 0, fmt.Errorf("update %d has %d bytes, %d are left in the block", i, n, len(rest))
		}
		m.Updates[i].Data, rest = rest[:n:n], rest[n:]
	}
	return m, len(b) - len(rest), nil
}

// take cuts a string with its length before it.
func take(b *[]byte) ([]byte, bool) {
	if len(*b) < 4 {
		return nil, false
	}
	n := int64(int32(binary.LittleEndian.Uint32(*b)))
	if n < 0 || n > int64(len(*b)-4) {
		return nil, false
	}
	s := (*b)[4 : 4+n]
	*b = (*b)[4+n:]
	return s, true
}
