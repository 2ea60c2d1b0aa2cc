package engine

import (
	"math/bits"
	"reflect"
	"unsafe"

	"github.com/cockroachdb/pebble/v2"
)

// Pebble allocates the whole of a memtable when it begins. The first has 256 KiB, each later one
// twice as much, up to Options.MemTableSize. The size never shrinks: a store that was once busy keeps
// a large memtable, empty or not. Hundreds of stores would spend their common budget on empty
// memtables. Pebble has no option for it, so the size of the next memtable is written into a private
// field, under Pebble's mutex, which is held where its events are delivered. If the field isn't where
// it was in the Pebble that this was written for, nothing is written and a test fails. Decision 13
// in docs/decisions.md has the figures that justify this.

// nextSizeAt is the offset of the next memtable's size in a pebble.DB; -1 if it is unknown.
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

// sizeMemtable sets the size of the memtable after the current one to what is being flushed, or half
// of that if memory is short. It is called when a flush begins, under Pebble's mutex.
func (m *Member) sizeMemtable(held int64, short bool) {
	db := m.db.Load()
	if db == nil || nextSizeAt < 0 {
		return
	}
	*(*uint64)(unsafe.Add(unsafe.Pointer(db), nextSizeAt)) = nextMemtable(held, short, m.mem.max)
}

// nextMemtable returns the power of two that holds so many bytes, or half of them if memory is short,
// but at least smallestArena and at most limit.
func nextMemtable(held int64, short bool, limit int64) uint64 {
	if short {
		held /= 2
	}
	n := int64(smallestArena)
	if held > n {
		n = 1 << bits.Len64(uint64(held-1))
	}
	return uint64(min(n, limit))
}

// FillMemtable makes the memtable more than half full, so that the next one can be smaller: after a
// flush on demand of a memtable that isn't half full, Pebble allocates one of the same size, whatever
// sizeMemtable has set. The memtable is filled with versions of one key; a flush writes only the last
// of them, its removal. The caller makes sure that no batch is being applied.
func (m *Member) FillMemtable(db *pebble.DB) {
	t := db.Metrics().MemTable
	need := int64(t.Size)/2 + 64<<10 - m.mem.active.Load()
	if nextSizeAt < 0 || t.Count != 1 || int64(t.Size) <= smallestArena || need <= 0 {
		return
	}
	zeros := make([]byte, min(need, 64<<10))
	for ; need > 0; need -= int64(len(zeros)) {
		if db.Set(m.fillerKey, zeros, pebble.NoSync) != nil {
			return // the flush that follows reports it
		}
	}
	_ = db.Delete(m.fillerKey, pebble.NoSync)
}
