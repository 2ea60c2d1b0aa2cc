package build

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"

	"pegasus/rowfile"
)

// record is a row on its way. Its slices are good until the next one.
type record struct {
	partition int32
	file      int32 // of the inputs
	line      int64
	key       []byte // as stored
	value     []byte // as stored
}

// compare orders by partition and key, and rows with the same keys as they came.
func (r *record) compare(o *record) int {
	return cmp.Or(cmp.Compare(r.partition, o.partition), bytes.Compare(r.key, o.key), cmp.Compare(r.file, o.file), cmp.Compare(r.line, o.line))
}

// sorter sorts records, in files of a directory where memory doesn't suffice.
type sorter struct {
	dir    string
	memory int
	fanIn  int // files that are merged at a time
	arena  []byte
	heads  []head
	levels [][]string // files of sorted records, by how often they were merged
	made   int
}

// head is a record in the arena: key, then value.
type head struct {
	at              int
	keyLen, valLen  int
	partition, file int32
	line            int64
}

const (
	headSize     = 48 // bytes of a head in memory
	defaultFanIn = 64
	ioBuffer     = 64 << 10 // of each
)

func (s *sorter) add(r *record) error {
	n := len(r.key) + len(r.value) + headSize
	if len(s.heads) > 0 && len(s.arena)+len(s.heads)*headSize+n > s.memory {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.heads = append(s.heads, head{len(s.arena), len(r.key), len(r.value), r.partition, r.file, r.line})
	s.arena = append(append(s.arena, r.key...), r.value...)
	return nil
}

func (s *sorter) record(h *head) record {
	b := s.arena[h.at:]
	return record{h.partition, h.file, h.line, b[:h.keyLen:h.keyLen], b[h.keyLen : h.keyLen+h.valLen]}
}

// sort sorts what is in memory.
func (s *sorter) sort() {
	slices.SortFunc(s.heads, func(a, b head) int {
		x, y := s.record(&a), s.record(&b)
		return x.compare(&y)
	})
}

// spill writes what is in memory to a file.
func (s *sorter) spill() error {
	s.sort()
	i := 0
	err := s.write(0, func() (*record, error) {
		if i == len(s.heads) {
			return nil, io.EOF
		}
		r := s.record(&s.heads[i])
		i++
		return &r, nil
	})
	s.arena, s.heads = s.arena[:0], s.heads[:0]
	return err
}

// write writes a file of sorted records. When a level has fanIn files they become one of the next.
func (s *sorter) write(level int, next func() (*record, error)) error {
	s.made++
	name := fmt.Sprintf("%s/%d", s.dir, s.made)
	if err := writeRun(name, next); err != nil {
		return fmt.Errorf("write the file %s of sorted rows: %w; give a --tmp with more room", name, err)
	}
	for len(s.levels) <= level {
		s.levels = append(s.levels, nil)
	}
	s.levels[level] = append(s.levels[level], name)
	if len(s.levels[level]) < s.fanIn {
		return nil
	}
	names := s.levels[level]
	s.levels[level] = nil
	m, err := openMerge(names)
	if err != nil {
		return err
	}
	defer m.close()
	if err := s.write(level+1, m.next); err != nil {
		return err
	}
	for _, n := range names {
		os.Remove(n)
	}
	return nil
}

// sorted returns all records in order: next returns io.EOF at the end. close frees what it holds.
func (s *sorter) sorted() (*merge, error) {
	if len(s.levels) > 0 && len(s.heads) > 0 {
		if err := s.spill(); err != nil {
			return nil, err
		}
	}
	if len(s.levels) == 0 {
		s.sort()
		i := 0
		return &merge{memory: func() (*record, error) {
			if i == len(s.heads) {
				return nil, io.EOF
			}
			r := s.record(&s.heads[i])
			i++
			return &r, nil
		}}, nil
	}
	s.arena, s.heads = nil, nil
	return openMerge(slices.Concat(s.levels...))
}

func writeRun(name string, next func() (*record, error)) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, ioBuffer)
	var b []byte
	for {
		r, err := next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		b = b[:0]
		for _, n := range []uint64{uint64(r.partition), uint64(r.file), uint64(r.line), uint64(len(r.key)), uint64(len(r.value))} {
			b = binary.AppendUvarint(b, n)
		}
		for _, p := range [][]byte{b, r.key, r.value} {
			if _, err := w.Write(p); err != nil {
				return err
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// merge goes through sorted files.
type merge struct {
	runs   runs
	moved  bool // the first run's record was given
	memory func() (*record, error)
}

func openMerge(names []string) (*merge, error) {
	m := &merge{}
	for _, n := range names {
		f, err := os.Open(n)
		if err == nil {
			r := &run{f: f, r: bufio.NewReaderSize(f, ioBuffer)}
			m.runs = append(m.runs, r)
			err = r.next()
		}
		if err != nil {
			m.close()
			return nil, fmt.Errorf("read a file of sorted rows: %w", err)
		}
	}
	heap.Init(&m.runs)
	return m, nil
}

func (m *merge) next() (*record, error) {
	if m.memory != nil {
		return m.memory()
	}
	if m.moved {
		r := m.runs[0]
		switch err := r.next(); err {
		case nil:
			heap.Fix(&m.runs, 0)
		case io.EOF:
			r.f.Close()
			heap.Pop(&m.runs)
		default:
			return nil, fmt.Errorf("read %s, a file of sorted rows: %w", r.f.Name(), err)
		}
		m.moved = false
	}
	if len(m.runs) == 0 {
		return nil, io.EOF
	}
	m.moved = true
	return &m.runs[0].rec, nil
}

func (m *merge) close() {
	for _, r := range m.runs {
		r.f.Close()
	}
	m.runs = nil
}

type run struct {
	f   *os.File
	r   *bufio.Reader
	rec record
}

// next reads a record: io.EOF at the end of the file.
func (r *run) next() error {
	var n [5]uint64
	for i := range n {
		v, err := binary.ReadUvarint(r.r)
		if err != nil {
			if i > 0 && err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		n[i] = v
	}
	if n[3] > rowfile.MostRow || n[4] > rowfile.MostRow {
		return fmt.Errorf("a row of %d and %d bytes: the disk gives back what wasn't written", n[3], n[4])
	}
	r.rec = record{int32(n[0]), int32(n[1]), int64(n[2]), grow(r.rec.key, n[3]), grow(r.rec.value, n[4])}
	for _, p := range [][]byte{r.rec.key, r.rec.value} {
		if _, err := io.ReadFull(r.r, p); err != nil {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

func grow(b []byte, n uint64) []byte {
	if uint64(cap(b)) < n {
		return make([]byte, n)
	}
	return b[:n]
}

type runs []*run

func (h runs) Len() int           { return len(h) }
func (h runs) Less(i, j int) bool { return h[i].rec.compare(&h[j].rec) < 0 }
func (h runs) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runs) Push(any)          { panic("files aren't added") }

func (h *runs) Pop() any {
	old := *h
	r := old[len(old)-1]
	*h = old[:len(old)-1]
	return r
}
