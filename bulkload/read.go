package bulkload

import (
	"bytes"
	"container/heap"
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/blob"
	"pegasus/rocks"
	"pegasus/rocks/damage"
	"pegasus/rocks/pegasus"
	"pegasus/rocks/remote"
	"pegasus/rocks/table"
)

// Partition are the files of a partition, which can be read, by one goroutine at a time.
type Partition struct {
	Place        Place
	Index, Count int32
	Metadata     Metadata

	store *blob.Store
}

// OpenPartition reads the Metadata of partition index of a table with count partitions.
func OpenPartition(ctx context.Context, s *blob.Store, p Place, index, count int32) (*Partition, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	m, err := ReadMetadata(ctx, s, p, index)
	if err != nil {
		return nil, err
	}
	return &Partition{Place: p, Index: index, Count: count, Metadata: m, store: s}, nil
}

const (
	allAhead = 8 << 20 // bytes of files that are held, all files together
	minAhead = 16 << 10
	maxAhead = 1 << 20
)

// Rows goes through the rows, by stored key. It looks at all files first: whether they are there, with the right sizes, and which keys they begin
// with. read hears of the bytes of each file once, as they come; nil: nobody does. All in all they are Metadata.Bytes. ctx ends the
// reads.
func (p *Partition) Rows(ctx context.Context, read func(bytes int64)) (*Rows, error) {
	dir := p.Place.Partition(p.Index)
	src, err := remote.OpenSource(ctx, p.store, dir, metadataFile, p.Metadata.Files, read)
	if err != nil {
		return nil, blame(p.store, dir, err)
	}
	r := &Rows{p: p, ctx: ctx, src: src}
	ahead := min(max(allAhead/len(p.Metadata.Files), minAhead), maxAhead)
	for i, f := range p.Metadata.Files {
		t := &run{src: src, ctx: ctx, name: f.Name, size: f.Size, rank: i, ahead: ahead}
		if err := t.open(); err != nil {
			return nil, r.blame(t, err)
		}
		if t.it == nil {
			continue // it has no rows
		}
		t.first = bytes.Clone(t.it.Key().User)
		t.close() // others may come first: few are open at a time
		r.runs = append(r.runs, t)
	}
	heap.Init(&r.runs)
	return r, nil
}

// Rows is an iterator over rows. It belongs to one goroutine, and must be closed.
type Rows struct {
	p    *Partition
	ctx  context.Context
	src  *remote.Source
	runs runHeap
	row  pegasus.Row
	key  []byte
	had  bool // key is of the row before
	err  error
	done bool
}

func (r *Rows) blame(t *run, err error) error {
	return blame(r.p.store, blob.Join(r.p.Place.Partition(r.p.Index), t.name), err)
}

// Next moves to the next row. False is the end, or an error, which Err tells.
func (r *Rows) Next() bool {
	if r.done {
		return false
	}
	for len(r.runs) > 0 {
		t := r.runs[0]
		if t.it == nil {
			if err := t.open(); err != nil {
				return r.fail(r.blame(t, err))
			}
			heap.Fix(&r.runs, 0)
			continue
		}
		if t.taken || r.had && bytes.Equal(t.key(), r.key) { // given already, by this file or a later one
			if !r.step(t) {
				return false
			}
			continue
		}
		r.key, r.had, t.taken = append(r.key[:0], t.key()...), true, true
		if len(r.key) == 0 { // of a partition without rows
			continue
		}
		if err := r.take(t); err != nil {
			return r.fail(err)
		}
		return true
	}
	r.done = true
	r.err = blame(r.p.store, r.p.Place.Partition(r.p.Index), r.src.Finish(r.ctx))
	return false
}

// step moves the first file on.
func (r *Rows) step(t *run) bool {
	if err := t.next(); err != nil {
		return r.fail(r.blame(t, err))
	}
	if t.it == nil {
		heap.Pop(&r.runs)
	} else {
		heap.Fix(&r.runs, 0)
	}
	return true
}

// take checks the row that a file is at.
func (r *Rows) take(t *run) error {
	name := blob.Join(r.p.Place.Partition(r.p.Index), t.name)
	hash, sort, ok := base.SplitKey(r.key)
	if !ok || len(hash) > base.MaxHashKey {
		return bad(r.p.store, name, ErrDamaged, "key %x isn't that of a row: it must begin with the length of its hash key, at most %d", cut(r.key), base.MaxHashKey)
	}
	if h := base.HashOf(hash, sort); !base.InPartition(h, r.p.Index, r.p.Count) {
		return bad(r.p.store, name, ErrOther, "the row of key %x belongs to partition %d of %d, and lies in the files of partition %d", cut(r.key), h%uint64(r.p.Count), r.p.Count, r.p.Index)
	}
	v, err := pegasus.ParseValue(pegasus.MaxDataVersion, t.it.Value())
	if err != nil {
		return bad(r.p.store, name, ErrFormat, "the value of key %x: %w", cut(r.key), err)
	}
	r.row = pegasus.Row{Key: r.key, HashKey: hash, SortKey: sort, Value: v}
	return nil
}

// cut is a key as a message has it.
func cut(key []byte) []byte { return key[:min(len(key), 200)] }

func (r *Rows) fail(err error) bool {
	r.err, r.done = err, true
	r.closeRuns()
	return false
}

func (r *Rows) closeRuns() {
	for _, t := range r.runs {
		t.close()
	}
	r.runs = nil
}

// Row is the present row. Its slices are good until the next one.
func (r *Rows) Row() pegasus.Row { return r.row }

// Err is why the iterator ended, nil at the end of the rows.
func (r *Rows) Err() error { return r.err }

// Close frees what the iterator holds, and returns Err. An iterator that didn't come to its end says nothing of the files.
func (r *Rows) Close() error {
	r.done = true
	r.closeRuns()
	return r.err
}

// run is a file that is read.
type run struct {
	src   *remote.Source
	ctx   context.Context
	name  string
	size  int64
	rank  int // in Metadata.Files
	ahead int
	first []byte
	file  rocks.File
	it    *table.Iter
	count uint64
	total uint64
	taken bool // the present key was given
}

// key is the present one, or the first if the file isn't open.
func (t *run) key() []byte {
	if t.it == nil {
		return t.first
	}
	return t.it.Key().User
}

// open opens the file, and moves to its first row. it is nil if there is none.
func (t *run) open() error {
	file, err := t.src.Open(t.ctx, t.name)
	if err != nil {
		return err
	}
	t.file = file
	r, err := table.Open(t.ctx, file, t.size, table.Options{Name: t.name, ReadAhead: t.ahead})
	if err != nil {
		t.close()
		return err
	}
	t.it, t.count, t.total, t.taken = r.NewIter(t.ctx), 0, r.Properties().Entries, false
	return t.next()
}

// next moves to the next row. it is nil at the end.
func (t *run) next() error {
	t.taken = false
	if t.it.Next() {
		t.count++
		if typ := t.it.Key().Type; typ != table.Value {
			t.close()
			return &damage.Unsupported{File: t.name, What: fmt.Sprintf("an entry of type %#x, which is no row", uint8(typ))}
		}
		return nil
	}
	err := t.it.Err()
	t.close()
	if err == nil && t.count != t.total {
		err = damage.Newf(t.name, -1, damage.Index, "%d entries were found, the table has %d", t.count, t.total)
	}
	return err
}

func (t *run) close() {
	if t.it != nil {
		t.it.Close() // its error was seen
		t.it = nil
	}
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}

// runHeap has the file with the smallest key first, and of one key the last file.
type runHeap []*run

func (h runHeap) Len() int { return len(h) }

func (h runHeap) Less(i, j int) bool {
	if c := bytes.Compare(h[i].key(), h[j].key()); c != 0 {
		return c < 0
	}
	return h[i].rank > h[j].rank
}

func (h runHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *runHeap) Push(any) { panic("files aren't added") }

func (h *runHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	*h = old[:len(old)-1]
	return t
}
