package rocks

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"

	"pegasus/rocks/manifest"
	"pegasus/rocks/table"
)

// WriterOptions say how a database is written.
type WriterOptions struct {
	// Families are the column families; the first must be "default", which each database has.
	Families []string
	// TableSize is where a table ends, in bytes before compression; 0 for 64 MiB.
	TableSize int
	// Compression of the blocks: NoCompression, Snappy or Zstd.
	Compression table.Compression
}

// Levels is how many levels a database has that this package writes. All tables are on the last: they don't overlap, and are as RocksDB leaves them after
// a compaction of everything.
const Levels = 6

// Numbers of files. RocksDB counts all files of a directory by one counter.
const (
	manifestNumber = 1
	optionsNumber  = 2
	firstTable     = 3
)

// Writer writes a database. It belongs to one goroutine. Close or Abort ends it.
type Writer struct {
	ctx      context.Context
	sink     Sink
	o        WriterOptions
	families []*familyWriter
	next     uint64
	rows     uint64
	stats    Written
	err      error
}

// Written is what a Writer wrote.
type Written struct {
	Rows  uint64 // of all families
	Bytes int64  // of all files
	Files []string
}

// familyWriter has the open table of a column family, if any.
type familyWriter struct {
	name  string
	last  []byte // key
	rows  uint64
	out   *output
	w     *sstable.Writer
	size  int
	first []byte // key of the open table
	num   uint64
	files []manifest.File
}

// Create begins a database in an empty place. ctx ends its writes.
func Create(ctx context.Context, sink Sink, o WriterOptions) (*Writer, error) {
	if len(o.Families) == 0 || o.Families[0] != "default" {
		return nil, fmt.Errorf("the first column family must be \"default\", not %q", o.Families)
	}
	switch o.Compression {
	case table.NoCompression, table.Snappy, table.Zstd:
	default:
		return nil, fmt.Errorf("tables aren't written with compression %s", o.Compression)
	}
	if o.TableSize <= 0 {
		o.TableSize = 64 << 20
	}
	w := &Writer{ctx: ctx, sink: sink, o: o, next: firstTable}
	for i, name := range o.Families {
		for _, f := range w.families {
			if f.name == name || name == "" {
				return nil, fmt.Errorf("column families %q: number %d is empty or twice there", o.Families, i)
			}
		}
		w.families = append(w.families, &familyWriter{name: name})
	}
	return w, nil
}

// Add writes a row of a column family, by its place in WriterOptions.Families. Keys of a family must rise. After an
// error the Writer only fails.
func (w *Writer) Add(family int, key, value []byte) error {
	if w.err != nil {
		return w.err
	}
	f := w.families[family]
	if err := w.add(f, key, value); err != nil {
		w.err = fmt.Errorf("write a row of column family %s: %w", f.name, err)
	}
	return w.err
}

func (w *Writer) add(f *familyWriter, key, value []byte) error {
	if f.rows > 0 && bytes.Compare(f.last, key) >= 0 {
		return fmt.Errorf("key %x comes after %x", key, f.last)
	}
	if f.w != nil && f.size+len(key)+len(value) > w.o.TableSize {
		if err := w.finish(f); err != nil {
			return err
		}
	}
	if f.w == nil {
		if err := w.begin(f, key); err != nil {
			return err
		}
	}
	if err := f.w.Set(key, value); err != nil {
		return fmt.Errorf("%s: %w", tableName(f.num), err)
	}
	f.last = append(f.last[:0], key...)
	f.size += len(key) + len(value) + 8
	f.rows++
	w.rows++
	return nil
}

// begin opens a table.
func (w *Writer) begin(f *familyWriter, key []byte) error {
	f.num = w.next
	out, err := w.create(tableName(f.num))
	if err != nil {
		return err
	}
	w.next++
	f.out, f.size, f.first = out, 0, bytes.Clone(key)
	compression := block.NoCompression
	switch w.o.Compression {
	case table.Snappy:
		compression = block.SnappyCompression
	case table.Zstd:
		compression = block.ZstdCompression
	}
	f.w = sstable.NewWriter(out, sstable.WriterOptions{
		TableFormat:    sstable.TableFormatRocksDBv2,
		Checksum:       block.ChecksumTypeCRC32c,
		Compression:    compression,
		BlockSize:      4096, // RocksDB's default, which Pegasus leaves
		IndexBlockSize: math.MaxInt32,
		MergerName:     "nullptr", // RocksDB's name for none
	})
	return nil
}

// finish ends the open table of a family.
func (w *Writer) finish(f *familyWriter) error {
	if f.w == nil {
		return nil
	}
	err := f.w.Close()
	if err == nil {
		err = f.out.err // the table's writer may end before the file does
	}
	f.w = nil
	if err != nil {
		f.out.Abort()
		return fmt.Errorf("%s: %w", tableName(f.num), err)
	}
	w.wrote(f.out)
	key := func(user []byte) table.Key { return table.Key{User: user, Type: table.Value} }
	f.files = append(f.files, manifest.File{Number: f.num, Size: uint64(f.out.n), Level: Levels - 1, Smallest: key(f.first), Largest: key(bytes.Clone(f.last))})
	f.out = nil
	return nil
}

// Close ends the tables, and writes the manifest, OPTIONS, IDENTITY, and CURRENT, which makes it a database.
func (w *Writer) Close() (Written, error) {
	if w.err == nil {
		w.err = w.close()
	}
	if w.err != nil {
		err := w.err
		w.Abort()
		return Written{}, err
	}
	w.err = errClosed
	w.stats.Rows = w.rows
	return w.stats, nil
}

var errClosed = errors.New("the database is written already")

func (w *Writer) close() error {
	for _, f := range w.families {
		if err := w.finish(f); err != nil {
			return fmt.Errorf("end column family %s: %w", f.name, err)
		}
	}
	manifestName := fmt.Sprintf("MANIFEST-%06d", manifestNumber)
	for _, file := range []struct {
		name  string
		write func(o *output) error
	}{
		{manifestName, w.writeManifest},
		{fmt.Sprintf("OPTIONS-%06d", optionsNumber), func(o *output) error { return o.Write(optionsFile(w.o.Families, w.o.Compression)) }},
		{"IDENTITY", writeIdentity},
		{"CURRENT", func(o *output) error { return o.Write([]byte(manifestName + "\n")) }},
	} {
		out, err := w.create(file.name)
		if err != nil {
			return err
		}
		if err = file.write(out); err == nil {
			err = out.Finish()
		}
		if err != nil {
			out.Abort()
			return fmt.Errorf("write %s: %w", file.name, err)
		}
		w.wrote(out)
	}
	return nil
}

// Abort ends the Writer. Tables that were finished stay: without CURRENT they are no database.
func (w *Writer) Abort() {
	for _, f := range w.families {
		if f.w != nil {
			f.out.err = errAborted
			f.w.Close()
			f.w = nil
		}
		if f.out != nil {
			f.out.Abort()
			f.out = nil
		}
	}
	if w.err == nil {
		w.err = errAborted
	}
}

var errAborted = errors.New("the database was given up")

// filesPerEdit bounds the length of a record of the manifest.
const filesPerEdit = 1000

func (w *Writer) writeManifest(o *output) error {
	m := manifest.NewWriter(ioWriter{o})
	number := func(n uint64) *uint64 { return &n }
	comparator := manifest.Comparator
	families := uint32(len(w.families) - 1)
	err := m.Add(&manifest.Edit{Comparator: &comparator, LogNumber: number(0), NextFile: number(w.next), LastSequence: number(w.rows), MaxFamily: &families})
	for id, f := range w.families {
		if id > 0 && err == nil { // RocksDB reads nothing else from an edit that adds a family
			err = m.Add(&manifest.Edit{Family: uint32(id), AddFamily: &f.name, Comparator: &comparator})
		}
		if err == nil {
			err = m.Add(&manifest.Edit{Family: uint32(id), LogNumber: number(0)})
		}
		for files := range slices.Chunk(f.files, filesPerEdit) {
			if err == nil {
				err = m.Add(&manifest.Edit{Family: uint32(id), Added: files})
			}
		}
	}
	return errors.Join(err, m.Close())
}

func writeIdentity(o *output) error {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40 // a random UUID
	b[8] = b[8]&0x3f | 0x80
	return o.Write(fmt.Appendf(nil, "%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}

// output is a SinkFile as Pebble writes it. Pebble may change the slices that it hands over.
type output struct {
	ctx  context.Context
	name string
	f    SinkFile
	n    int64
	err  error
	done bool
}

func (w *Writer) create(name string) (*output, error) {
	f, err := w.sink.Create(w.ctx, name)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	return &output{ctx: w.ctx, name: name, f: f}, nil
}

func (w *Writer) wrote(o *output) {
	w.stats.Bytes += o.n
	w.stats.Files = append(w.stats.Files, o.name)
}

func (o *output) Write(p []byte) error {
	if o.err == nil {
		o.err = o.ctx.Err()
	}
	if o.err == nil {
		var n int
		n, o.err = o.f.Write(p)
		o.n += int64(n)
	}
	return o.err
}

// Finish commits the file.
func (o *output) Finish() error {
	if o.err != nil {
		return o.err
	}
	o.done = true
	o.err = o.f.Commit(o.ctx)
	return o.err
}

func (o *output) Abort() {
	if !o.done {
		o.done = true
		o.f.Abort()
	}
}

type ioWriter struct{ o *output }

func (w ioWriter) Write(p []byte) (int, error) {
	if err := w.o.Write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
