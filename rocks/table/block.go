package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// block is a decompressed block of sorted entries, in which keys are told by how much they share with the one before, but for
// restart points, where they are whole.
type block struct {
	entries  []byte
	restarts []byte // 4 bytes each: offsets in entries
}

// Above this size a block has no hash index, and its last 4 bytes are only the number of restart points.
const maxHashIndexed = 1 << 16

func parseBlock(b []byte) (block, error) {
	if len(b) < 4 {
		return block{}, fmt.Errorf("a block of %d bytes", len(b))
	}
	end := len(b) - 4
	n := binary.LittleEndian.Uint32(b[end:])
	if len(b) <= maxHashIndexed {
		hashed := n>>31 == 1
		n &= 1<<31 - 1
		if hashed { // buckets of one byte each, then their number; nothing here needs them
			if end < 2 {
				return block{}, errors.New("a hash index without a size")
			}
			end -= 2 + int(binary.LittleEndian.Uint16(b[end-2:]))
			if end < 0 {
				return block{}, errors.New("a hash index larger than its block")
			}
		}
	}
	if uint64(n)*4 > uint64(end) {
		return block{}, fmt.Errorf("%d restart points in a block of %d bytes", n, len(b))
	}
	at := end - int(n)*4
	bl := block{entries: b[:at], restarts: b[at:end]}
	if n == 0 && at > 0 {
		return block{}, errors.New("entries, but no restart point")
	}
	return bl, nil
}

func (b *block) numRestarts() int { return len(b.restarts) / 4 }

func (b *block) restart(i int) int { return int(binary.LittleEndian.Uint32(b.restarts[4*i:])) }

// coding says how the entries of a block are written.
type coding struct {
	handles  bool // values are handles without a length before them (index blocks of format version 4 and later)
	firstKey bool // after a handle stands the first key of its block
	userKeys bool // keys are user keys, without trailer
}

// cursor goes through the entries of a block. Its zero value is at the end of an empty one.
type cursor struct {
	block
	coding
	next   int // offset of the entry after the present one
	key    []byte
	value  []byte // of data blocks; index blocks written with lengths have the handle in it
	handle handle // of index blocks
	err    error
}

// reset starts before the first entry; first moves to it. The key's memory is used again.
func (c *cursor) reset(b block, k coding) {
	c.block, c.coding = b, k
	c.next, c.key, c.value, c.handle, c.err = 0, c.key[:0], nil, handle{}, nil
}

var errEntry = errors.New("an entry goes beyond its block")

// step moves to the next entry. False is the end, or an error in err.
func (c *cursor) step() bool {
	if c.err != nil || c.next >= len(c.entries) {
		return false
	}
	at := c.next
	b := c.entries[at:]
	shared, n := uvarint(b)
	if n <= 0 {
		return c.fail(at, errEntry)
	}
	b = b[n:]
	unshared, n := uvarint(b)
	if n <= 0 {
		return c.fail(at, errEntry)
	}
	b = b[n:]
	var size uint64
	if !c.handles {
		if size, n = uvarint(b); n <= 0 {
			return c.fail(at, errEntry)
		}
		b = b[n:]
	}
	if shared > uint64(len(c.key)) {
		return c.fail(at, fmt.Errorf("a key shares %d bytes with one of %d", shared, len(c.key)))
	}
	if unshared > uint64(len(b)) || size > uint64(len(b))-unshared {
		return c.fail(at, errEntry)
	}
	c.key = append(c.key[:shared], b[:unshared]...)
	b = b[unshared:]
	if c.handles {
		rest, err := c.readValue(b, shared > 0)
		if err != nil {
			return c.fail(at, err)
		}
		c.next = len(c.entries) - len(rest)
		return true
	}
	c.value = b[:size:size]
	c.next = len(c.entries) - len(b) + int(size)
	return true
}

// uvarint is binary.Uvarint, quick for one byte.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

// readValue reads the handle at b; delta means that only the difference of the sizes is written, the block lies after the one before.
func (c *cursor) readValue(b []byte, delta bool) (rest []byte, err error) {
	if delta {
		d, n := binary.Varint(b)
		if n <= 0 {
			return nil, errEntry
		}
		size := int64(c.handle.size) + d
		if size < 0 {
			return nil, fmt.Errorf("a block of %d bytes", size)
		}
		c.handle = handle{offset: c.handle.offset + c.handle.size + trailerBytes, size: uint64(size)}
		rest = b[n:]
	} else {
		var ok bool
		if c.handle, rest, ok = readHandle(b); !ok {
			return nil, errEntry
		}
	}
	if c.firstKey {
		size, n := uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return nil, errEntry
		}
		rest = rest[n+int(size):]
	}
	return rest, nil
}

// indexHandle returns the handle of the present entry of an index block.
func (c *cursor) indexHandle() (handle, error) {
	if !c.handles {
		if _, err := c.readValue(c.value, false); err != nil {
			return handle{}, err
		}
	}
	return c.handle, nil
}

func (c *cursor) fail(at int, err error) bool {
	c.err = fmt.Errorf("entry at byte %d of the block: %w", at, err)
	return false
}

// userKey is the present key without trailer; ok is false when it is too short for one.
func (c *cursor) userKey() ([]byte, bool) {
	if c.userKeys {
		return c.key, true
	}
	n := len(c.key) - trailerSize
	if n < 0 {
		return nil, false
	}
	return c.key[:n], true
}

// seek moves to the first entry whose user key is at least key. False is the end, or an error in err.
func (c *cursor) seek(key []byte) bool {
	if len(c.entries) == 0 {
		return false
	}
	// Entries before the last restart point with a smaller key are smaller.
	lo, hi := 0, c.numRestarts()
	for lo < hi {
		m := (lo + hi) / 2
		if !c.jump(m) {
			return false
		}
		k, ok := c.userKey()
		if !ok {
			return c.fail(c.next, errShortKey)
		}
		if bytes.Compare(k, key) < 0 {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if !c.jump(max(lo-1, 0)) {
		return false
	}
	for {
		k, ok := c.userKey()
		if !ok {
			return c.fail(c.next, errShortKey)
		}
		if bytes.Compare(k, key) >= 0 {
			return true
		}
		if !c.step() {
			return false
		}
	}
}

var errShortKey = errors.New("a key without trailer")

// jump moves to the entry at a restart point.
func (c *cursor) jump(i int) bool {
	at := c.restart(i)
	if at >= len(c.entries) {
		return c.fail(at, errEntry)
	}
	c.next, c.key = at, c.key[:0]
	return c.step()
}
