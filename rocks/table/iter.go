package table

import (
	"bytes"
	"context"
	"fmt"

	"pegasus/rocks/damage"
)

// Iter goes through the entries of a table. It belongs to one goroutine. First and Seek position it; a false result is the end or
// an error, which Err tells. Key and Value are good until the next move.
type Iter struct {
	r     *Reader
	ctx   context.Context
	files *fetcher // of data blocks
	parts *fetcher // of the lower level of an index
	top   cursor   // of an index of two levels
	index cursor
	data  cursor
	at    handle // of the data block
	key   Key
	last  Key // of the entry before, for the order; its memory is used again
	began bool
	err   error
}

// NewIter returns an iterator before the first entry. ctx ends its reads. It must be closed.
func (r *Reader) NewIter(ctx context.Context) *Iter {
	it := &Iter{r: r, ctx: ctx, files: newFetcher(r)}
	if r.twoLevels() {
		it.parts = newFetcher(r)
		it.parts.dec.dict = nil // it is for data
	}
	return it
}

func (r *Reader) twoLevels() bool { return r.props.indexType == indexTwoLevel }

// Err is why the iterator ended, nil at the end of the table.
func (it *Iter) Err() error { return it.err }

// Key of the present entry.
func (it *Iter) Key() Key { return it.key }

// Value of the present entry.
func (it *Iter) Value() []byte { return it.data.value }

// Close frees what the iterator holds, and returns Err.
func (it *Iter) Close() error {
	it.files.close()
	if it.parts != nil {
		it.parts.close()
	}
	return it.err
}

func (it *Iter) rewind() {
	it.data.reset(block{}, it.r.data)
	it.err, it.began = nil, false
	if it.r.twoLevels() {
		it.top.reset(it.r.index, it.r.coding)
		it.index.reset(block{}, it.r.coding)
	} else {
		it.index.reset(it.r.index, it.r.coding)
	}
}

// First moves to the first entry.
func (it *Iter) First() bool {
	it.rewind()
	return it.Next()
}

// Seek moves to the first entry whose user key is at least key.
func (it *Iter) Seek(key []byte) bool {
	it.rewind()
	if it.r.twoLevels() {
		// A key of an index is at least the last key below it.
		if !it.top.seek(key) {
			return it.end(it.r.badIndex(it.top.err))
		}
		if err := it.openPart(); err != nil {
			return it.end(err)
		}
	}
	if !it.index.seek(key) {
		if it.index.err != nil || it.parts == nil {
			return it.end(it.r.badIndex(it.index.err))
		}
		return it.nextAfter(key) // the next part begins after key
	}
	if err := it.openData(); err != nil {
		return it.end(err)
	}
	if !it.data.seek(key) {
		if it.data.err != nil {
			return it.end(it.r.badBlock(it.at, it.data.err))
		}
		return it.nextAfter(key) // key lies between two blocks
	}
	return it.accept()
}

// nextAfter moves to the next entry, which an index that doesn't rise could have before key.
func (it *Iter) nextAfter(key []byte) bool {
	if !it.Next() {
		return false
	}
	if bytes.Compare(it.key.User, key) < 0 {
		return it.end(it.r.bad(it.at, damage.Order, "the index says that key %x is after %x", it.key.User, key))
	}
	return true
}

// Next moves to the next entry; on a new iterator, to the first.
func (it *Iter) Next() bool {
	if it.err != nil {
		return false
	}
	if it.index.entries == nil && it.top.entries == nil {
		it.rewind()
	}
	for !it.data.step() {
		if it.data.err != nil {
			return it.end(it.r.badBlock(it.at, it.data.err))
		}
		more, err := it.nextIndex()
		if err == nil && more {
			err = it.openData()
		}
		if err != nil || !more {
			return it.end(err)
		}
	}
	return it.accept()
}

// nextIndex moves to the next entry of the index.
func (it *Iter) nextIndex() (bool, error) {
	for !it.index.step() {
		if it.index.err != nil || it.parts == nil {
			return false, it.r.badIndex(it.index.err)
		}
		if !it.top.step() {
			return false, it.r.badIndex(it.top.err)
		}
		if err := it.openPart(); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (r *Reader) badIndex(err error) error {
	if err == nil {
		return nil
	}
	return damage.Newf(r.o.Name, -1, damage.Index, "%w", err)
}

func (it *Iter) openPart() error {
	h, err := it.top.indexHandle()
	if err != nil {
		return it.r.badIndex(err)
	}
	b, err := it.parts.block(it.ctx, h)
	if err != nil {
		return fmt.Errorf("part of the index: %w", err)
	}
	it.index.reset(b, it.r.coding)
	return nil
}

func (it *Iter) openData() error {
	h, err := it.index.indexHandle()
	if err != nil {
		return it.r.badIndex(err)
	}
	it.at = h
	b, err := it.files.block(it.ctx, h)
	if err != nil {
		return err
	}
	it.data.reset(b, it.r.data)
	return nil
}

// accept takes the entry at the cursor of data.
func (it *Iter) accept() bool {
	k, ok := SplitKey(it.data.key)
	if !ok {
		return it.end(it.r.badBlock(it.at, errShortKey))
	}
	if it.r.fixed {
		k.Sequence = it.r.sequence
	}
	switch k.Type {
	case Value, Deletion, SingleDeletion, Merge:
	default:
		return it.end(&damage.Unsupported{File: it.r.o.Name, What: fmt.Sprintf("an entry of type %#x", uint8(k.Type))})
	}
	if it.began {
		if c := bytes.Compare(it.last.User, k.User); c > 0 || c == 0 && (it.r.fixed || it.last.Compare(k) >= 0) {
			return it.end(it.r.bad(it.at, damage.Order, "key %x@%d comes after %x@%d", k.User, k.Sequence, it.last.User, it.last.Sequence))
		}
	}
	it.began = true
	it.last.User = append(it.last.User[:0], k.User...)
	it.last.Sequence, it.last.Type = k.Sequence, k.Type
	it.key = k
	return true
}

func (it *Iter) end(err error) bool {
	it.err = err
	it.key = Key{}
	it.data.reset(block{}, it.r.data)
	return false
}
