package table

import (
	"context"
	"fmt"

	"pegasus/rocks/damage"
)

// Entry is what Dump finds. Its slices are good until the next one.
type Entry struct {
	Block uint64 // where its block begins in the file
	Key   Key    // Type may be one that isn't known
	Value []byte
}

// Dump calls fn with the entries as they lie in the table. What can't be read is told to bad, with its place, and the next block is read: nothing that
// Dump tells is more than what the table holds. Errors of fn and bad end it.
func (r *Reader) Dump(ctx context.Context, fn func(Entry) error, bad func(error) error) error {
	it := r.NewIter(ctx)
	defer it.Close()
	it.rewind()
	var last Key
	began := false
	end := uint64(0) // of the blocks so far
	for {
		more, err := it.nextIndex()
		if err == nil && !more {
			return nil
		}
		if err == nil {
			if h, _ := it.index.indexHandle(); h.offset < end {
				err = damage.Newf(r.o.Name, -1, damage.Index, "a block at %d follows one that ends at %d", h.offset, end)
			} else {
				err, end = it.openData(), h.offset+h.size
			}
		} else if it.parts == nil || it.top.err != nil {
			return bad(err) // nothing tells where the other blocks are
		} else {
			it.index.reset(block{}, r.coding) // the next part of the index
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			if err := bad(err); err != nil {
				return err
			}
			continue
		}
		for it.data.step() {
			k, ok := SplitKey(it.data.key)
			if !ok {
				it.data.err = errShortKey
				break
			}
			if r.fixed {
				k.Sequence = r.sequence
			}
			if began && last.Compare(k) >= 0 {
				err := r.bad(it.at, damage.Order, "key %x@%d comes after %x@%d", k.User, k.Sequence, last.User, last.Sequence)
				if err := bad(err); err != nil {
					return err
				}
			}
			began = true
			last = Key{User: append(last.User[:0], k.User...), Sequence: k.Sequence, Type: k.Type}
			if err := fn(Entry{Block: it.at.offset, Key: k, Value: it.data.value}); err != nil {
				return err
			}
		}
		if it.data.err != nil {
			if err := bad(r.badBlock(it.at, it.data.err)); err != nil {
				return err
			}
		}
	}
}

func (t EntryType) String() string {
	switch t {
	case Value:
		return "put"
	case Deletion:
		return "remove"
	case SingleDeletion:
		return "single remove"
	case Merge:
		return "merge"
	}
	return fmt.Sprintf("type %#x", uint8(t))
}
