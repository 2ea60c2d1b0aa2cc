package rocks

import (
	"bytes"
	"container/heap"
	"context"
	"fmt"

	"pegasus/rocks/damage"
	"pegasus/rocks/manifest"
	"pegasus/rocks/table"
)

// Iter goes through the rows of a column family, by key. It belongs to one goroutine. Key and Value are good until the next move.
type Iter struct {
	bounds Bounds
	runs   runHeap // by present key; those at their end are left out
	began  bool
	key    []byte // of the row, or of the deletion that hides what follows; memory of its own
	value  []byte
	err    error
}

// Next moves to the next row, at first to the first. False is the end, or an error, which Err tells.
func (it *Iter) Next() bool {
	if it.err != nil {
		return false
	}
	seen := it.began // it.key is of a key that was dealt with
	if !it.began {
		it.began = true
		heap.Init(&it.runs)
	} else if len(it.runs) > 0 && !it.step() {
		return false
	}
	for len(it.runs) > 0 {
		r := it.runs[0]
		if r.it == nil { // its place was that of its first key by the manifest
			if err := r.open(); err != nil {
				return it.fail(err)
			}
			if !it.settle() {
				return false
			}
			continue
		}
		k := r.it.Key()
		if seen && bytes.Equal(k.User, it.key) {
			if !it.step() {
				return false
			}
			continue
		}
		if it.bounds.Upper != nil && bytes.Compare(k.User, it.bounds.Upper) >= 0 {
			it.closeRuns()
			return false
		}
		it.key, seen = append(it.key[:0], k.User...), true
		switch k.Type {
		case table.Value:
			it.value = r.it.Value()
			return true
		case table.Deletion, table.SingleDeletion:
			if !it.step() {
				return false
			}
		default:
			return it.fail(&damage.Unsupported{File: tableName(r.files[r.i].Number), What: fmt.Sprintf("a merge (entry type %#x)", uint8(k.Type))})
		}
	}
	return false
}

// step moves the first run on.
func (it *Iter) step() bool {
	it.runs[0].next()
	return it.settle()
}

// settle puts the first run, which moved, into its place.
func (it *Iter) settle() bool {
	r := it.runs[0]
	if r.err != nil {
		return it.fail(r.err)
	}
	if r.done() {
		heap.Pop(&it.runs)
	} else {
		heap.Fix(&it.runs, 0)
	}
	return true
}

func (it *Iter) fail(err error) bool {
	it.err = err
	it.closeRuns()
	return false
}

func (it *Iter) closeRuns() {
	for _, r := range it.runs {
		r.close()
	}
	it.runs = nil
}

// Key of the row.
func (it *Iter) Key() []byte { return it.key }

// Value of the row.
func (it *Iter) Value() []byte { return it.value }

// Table is the name of the file that the row is in.
func (it *Iter) Table() string { return it.runs[0].name() }

// Err is why the iterator ended, nil at the end of the rows.
func (it *Iter) Err() error { return it.err }

// Close frees what the iterator holds, and returns Err.
func (it *Iter) Close() error {
	it.closeRuns()
	return it.err
}

// run is a sequence of tables that don't overlap: a level, or one table of level 0. One of them is open at a time, and none before
// the merge comes to its first key.
type run struct {
	db    *DB
	ctx   context.Context
	files []manifest.File
	i     int
	rank  int // which run is newer; matters only to damaged databases
	ahead int
	lower []byte
	file  File
	it    *table.Iter
	count uint64
	whole bool // the table is read from its first entry
	total uint64
	err   error
}

func (r *run) done() bool { return r.i >= len(r.files) }

// key is the present entry's, or that of the first entry of a table that isn't open yet.
func (r *run) key() table.Key {
	if r.it == nil {
		k := r.files[r.i].Smallest
		return table.Key{User: k.User, Sequence: table.MaxSequence, Type: 0xff}
	}
	return r.it.Key()
}

func (r *run) name() string { return tableName(r.files[r.i].Number) }

// open opens the present table and moves to its first entry.
func (r *run) open() error {
	f := &r.files[r.i]
	file, err := r.db.dir.Open(r.ctx, r.name())
	if err != nil {
		return fmt.Errorf("open %s: %w", r.name(), err)
	}
	r.file = file
	t, err := table.Open(r.ctx, file, int64(f.Size), table.Options{Name: r.name(), ReadAhead: r.ahead, LargestSequence: &f.LargestSequence})
	if err != nil {
		r.close()
		return err
	}
	r.it = t.NewIter(r.ctx)
	r.count, r.total = 0, t.Properties().Entries
	r.whole = bytes.Compare(f.Smallest.User, r.lower) >= 0
	var more bool
	if r.whole {
		more = r.it.First()
	} else {
		more = r.it.Seek(r.lower)
	}
	if more && r.whole && !bytes.Equal(r.it.Key().User, f.Smallest.User) {
		err := damage.Newf(r.name(), -1, damage.Files, "it begins with key %x, %s says %x: it is another table", r.it.Key().User, r.db.manifest, f.Smallest.User)
		r.close()
		return err
	}
	r.arrive(more)
	return r.err
}

// next moves to the next entry.
func (r *run) next() { r.arrive(r.it.Next()) }

// arrive looks at where the table's iterator is now.
func (r *run) arrive(more bool) {
	f := &r.files[r.i]
	if more {
		r.count++
		if k := r.it.Key().User; bytes.Compare(k, f.Largest.User) > 0 {
			r.err = damage.Newf(r.name(), -1, damage.Files, "it has key %x, %s says that %x is the last: it is another table", k, r.db.manifest, f.Largest.User)
		}
		return
	}
	r.err = r.it.Err()
	if r.err == nil && r.whole && r.count != r.total {
		r.err = damage.Newf(r.name(), -1, damage.Index, "%d entries were found, the table has %d", r.count, r.total)
	}
	if r.err == nil {
		r.err = r.close()
		r.i++
	}
}

func (r *run) close() error {
	var err error
	if r.it != nil {
		r.it.Close() // its error was seen
		r.it = nil
	}
	if r.file != nil {
		err = r.file.Close()
		r.file = nil
	}
	if err != nil {
		return fmt.Errorf("close %s: %w", r.name(), err)
	}
	return nil
}

// runHeap has the run with the smallest key first.
type runHeap []*run

func (h runHeap) Len() int { return len(h) }

func (h runHeap) Less(i, j int) bool {
	if c := h[i].key().Compare(h[j].key()); c != 0 {
		return c < 0
	}
	return h[i].rank < h[j].rank
}

func (h runHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *runHeap) Push(any) { panic("runs aren't added") }

func (h *runHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	*h = old[:len(old)-1]
	return r
}
