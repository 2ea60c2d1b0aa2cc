package rrdb

import (
	"math/bits"
	"reflect"
	"unsafe"

	"github.com/cockroachdb/pebble/v2"
)

// Pebble allocates a memtable whole. It begins with 256 KiB, doubles with each one that was
// filled up to Options.MemTableSize, and never goes back: a store that was once busy keeps a
// large memtable, empty or not. That is right for one store, and for hundreds that share a
// budget it would spend the budget on nothing. There is no option for it, so the size of the
// next memtable is set in the engine itself, under the engine's mutex, where its events are
// delivered. Where the field isn't what it was when this was written, nothing is done, and a
// test fails.

// nextSizeAt is where the size of the next memtable stands in a pebble.DB; -1 if it isn't
// known.
var nextSizeAt = findNextSize()

func findNextSize() int {
	t, at := reflect.TypeFor[pebble.DB](), uintptr(0)
	for _, name := range []string{"mu", "mem", "nextSize"} {
		if t.Kind() != reflect.Struct {
			return -1
		}
		f, ok := t.FieldByName(name)
		if !ok {
			return -1
		}
		t, at = f.Type, at+f.Offset
	}
	if t.Kind() != reflect.Uint64 {
		return -1
	}
	return int(at)
}

// sizeMemtable is called when a flush begins, under the engine's mutex. The memtable after the
// present one will be as large as what is flushed now, or half of that.
func (s *Store) sizeMemtable(held int64, short bool) {
	db := s.mem.engine.Load()
	if db == nil || nextSizeAt < 0 {
		return
	}
	*(*uint64)(unsafe.Add(unsafe.Pointer(db), nextSizeAt)) = nextMemtable(held, short, s.memtableBytes())
}

// memtableBytes is the largest size of a memtable.
func (s *Store) memtableBytes() int64 {
	return max(s.opts.Tuning.memtable(&s.opts.Storage), smallestArena)
}

// nextMemtable returns a power of two that holds so many bytes, or half of them if memory is
// short, within the bounds of a memtable.
func nextMemtable(held int64, short bool, most int64) uint64 {
	if short {
		held /= 2
	}
	n := int64(smallestArena)
	if held > n {
		n = 1 << bits.Len64(uint64(held-1))
	}
	return uint64(min(n, most))
}

// fillers are rows that never reach a file.
var fillerKey = append(append([]byte(nil), metaPrefix...), "filler"...)

// fillMemtable makes the memtable more than half full. A memtable that is flushed by demand
// and isn't half full is followed by one of the same size, whatever the size of the next was
// said to be. What fills it are versions of one key, of which a flush writes none but the last,
// its removal. applyMu is held: see rotate.
func (s *Store) fillMemtable() {
	m := s.db.Metrics().MemTable
	need := int64(m.Size)/2 + 64<<10 - s.mem.active.Load()
	if nextSizeAt < 0 || m.Count != 1 || int64(m.Size) <= smallestArena || need <= 0 {
		return
	}
	zeros := make([]byte, min(need, 64<<10))
	for ; need > 0; need -= int64(len(zeros)) {
		if s.db.Set(fillerKey, zeros, pebble.NoSync) != nil {
			return // whoever waits for a flush is told
		}
	}
	_ = s.db.Delete(fillerKey, pebble.NoSync)
}
