package bulkload

import (
	"context"
	"errors"
	"fmt"

	"pegasus/base"
	"pegasus/blob"
	"pegasus/rocks"
	"pegasus/rocks/pegasus"
	"pegasus/rocks/remote"
	"pegasus/rocks/table"
)

// WriterOptions say what is written, and how.
type WriterOptions struct {
	Place      Place
	AppID      int32
	Partitions int32
	TableSize  int64                      // bytes of a file; 0 for 32 MiB
	Sent       func(name string, n int64) // hears of each table that has arrived, from other goroutines; nil: nobody does
}

const defaultTable = 32 << 20

// Written is what a Writer wrote.
type Written struct {
	Rows  int64
	Files int
	Bytes int64 // of the tables
}

// Writer writes the files for a table. It belongs to one goroutine. Close or Abort ends it.
type Writer struct {
	ctx     context.Context
	s       *blob.Store
	o       WriterOptions
	index   int32 // the partition that is written
	sink    *remote.Sink
	out     rocks.SinkFile
	table   *table.Writer
	tables  int // of the partition
	value   []byte
	written Written
	err     error
}

// Create begins the files of a table, in a directory in which there is nothing: ErrThere if there is.
func Create(ctx context.Context, s *blob.Store, o WriterOptions) (*Writer, error) {
	if err := errors.Join(o.Place.Check(), base.Partitions.Check("the number of partitions", int64(o.Partitions))); err != nil {
		return nil, err
	}
	if o.AppID <= 0 {
		return nil, fmt.Errorf("the table's id is %d: give the one that the table has: %w", o.AppID, base.ErrInvalidParameters)
	}
	if o.TableSize <= 0 {
		o.TableSize = defaultTable
	}
	switch list, err := s.List(ctx, o.Place.Dir()); {
	case errors.Is(err, blob.ErrNotFound):
	case err != nil:
		return nil, err
	case len(list) > 0:
		return nil, bad(s, o.Place.Dir(), ErrThere, "it has files, for example %s", list[0].Name)
	}
	w := &Writer{ctx: ctx, s: s, o: o}
	w.begin(0)
	return w, nil
}

func (w *Writer) begin(index int32) {
	w.index, w.tables = index, 0
	w.sink = remote.NewSink(w.s, w.o.Place.Partition(index), w.o.Sent)
}

// Add writes a row. Its partition is that of the row before or a later one, and keys rise in a partition. After an error the Writer
// only fails.
func (w *Writer) Add(partition int32, key []byte, v pegasus.Value) error {
	if w.err == nil {
		w.err = w.add(partition, key, v)
	}
	return w.err
}

func (w *Writer) add(partition int32, key []byte, v pegasus.Value) error {
	hash, sort, ok := base.SplitKey(key)
	switch {
	case partition < w.index || partition >= w.o.Partitions:
		return fmt.Errorf("a row of partition %d after those of %d, of %d", partition, w.index, w.o.Partitions)
	case !ok || len(hash) > base.MaxHashKey || !base.InPartition(base.HashOf(hash, sort), partition, w.o.Partitions):
		return fmt.Errorf("key %x is no key of partition %d of %d", cut(key), partition, w.o.Partitions)
	case v.ExpireTS>>31 == 1:
		return fmt.Errorf("the row of key %x expires at %d s: data version 1 has 31 bits for it", cut(key), v.ExpireTS)
	}
	for w.index < partition {
		if err := w.end(); err != nil {
			return err
		}
		w.begin(w.index + 1)
	}
	if w.table != nil && w.table.Size() >= w.o.TableSize {
		if err := w.endTable(); err != nil {
			return err
		}
	}
	w.written.Rows++
	return w.put(key, v)
}

// put adds a row to the open table.
func (w *Writer) put(key []byte, v pegasus.Value) error {
	if w.table == nil {
		w.tables++
		var err error
		if w.out, err = w.sink.Create(w.ctx, fmt.Sprintf("%05d.sst", w.tables)); err != nil {
			return err
		}
		if w.table, err = table.NewWriter(w.out, table.WriterOptions{Compression: table.Snappy}); err != nil {
			return err
		}
	}
	w.value = pegasus.AppendValue(w.value[:0], v)
	return w.table.Add(key, w.value)
}

func (w *Writer) endTable() error {
	t, out := w.table, w.out
	w.table, w.out = nil, nil
	if err := t.Close(); err != nil {
		out.Abort()
		return err
	}
	w.written.Bytes += t.Size()
	w.written.Files++
	return out.Commit(w.ctx)
}

// end ends a partition.
func (w *Writer) end() error {
	if w.tables == 0 {
		if err := w.put(nil, pegasus.Value{}); err != nil {
			return err
		}
	}
	if w.table != nil {
		if err := w.endTable(); err != nil {
			return err
		}
	}
	if err := w.sink.Wait(); err != nil {
		return err
	}
	m := Metadata{Files: w.sink.List()}
	for _, f := range m.Files {
		m.Bytes += f.Size
	}
	return write(w.ctx, w.s, w.o.Place.MetadataFile(w.index), m)
}

// Close ends the partitions, and writes bulk_load_info. After an error call Abort.
func (w *Writer) Close() (Written, error) {
	if w.err != nil {
		return Written{}, w.err
	}
	w.err = w.close()
	if w.err != nil {
		return Written{}, w.err
	}
	w.err = errors.New("the files are written already")
	return w.written, nil
}

func (w *Writer) close() error {
	for {
		if err := w.end(); err != nil {
			return err
		}
		if w.index+1 == w.o.Partitions {
			return write(w.ctx, w.s, w.o.Place.InfoFile(), Info{w.o.AppID, w.o.Place.Table, w.o.Partitions})
		}
		w.begin(w.index + 1)
	}
}

// Abort ends the Writer, and removes what it wrote.
func (w *Writer) Abort(ctx context.Context) error {
	w.sink.Stop()
	if w.out != nil {
		w.out.Abort()
		w.out, w.table = nil, nil
	}
	if w.err == nil {
		w.err = errors.New("the files were given up")
	}
	return w.s.DeleteTree(ctx, w.o.Place.Dir())
}
