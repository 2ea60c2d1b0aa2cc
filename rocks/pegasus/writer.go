package pegasus

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/rocks"
	"pegasus/rocks/table"
)

// WriterOptions say how the database of a replica is written.
type WriterOptions struct {
	TableSize   int               // bytes before compression, 0 for 64 MiB
	Compression table.Compression // NoCompression, Snappy or Zstd
}

// Writer writes the database of a replica, as a C++ server opens it. It belongs to one goroutine. Close or Abort ends it.
type Writer struct {
	w   *rocks.Writer
	buf []byte
}

const dataFamily, metaFamily = 0, 1 // places of the families

// Create begins a database in an empty place. Its first row is the one with the empty key, which the server writes for mutations without effect:
// pegasus-spark leaves the first row of a partition out, whatever it is.
func Create(ctx context.Context, sink rocks.Sink, o WriterOptions) (*Writer, error) {
	w, err := rocks.Create(ctx, sink, rocks.WriterOptions{
		Families: []string{DataFamily, MetaFamily}, TableSize: o.TableSize, Compression: o.Compression,
	})
	if err != nil {
		return nil, err
	}
	p := &Writer{w: w}
	if err := p.add(nil, Value{}); err != nil {
		w.Abort()
		return nil, err
	}
	return p, nil
}

// Add writes a row by its stored key. Keys must rise.
func (w *Writer) Add(key []byte, v Value) error {
	if _, _, ok := base.SplitKey(key); !ok {
		return fmt.Errorf("key %x is shorter than the length of its hash key says", key)
	}
	if v.ExpireTS>>31 == 1 {
		return fmt.Errorf("the row of key %x expires at %d s: data version 1 has 31 bits for it", key, v.ExpireTS)
	}
	return w.add(key, v)
}

func (w *Writer) add(key []byte, v Value) error {
	w.buf = AppendValue(w.buf[:0], v)
	return w.w.Add(dataFamily, key, w.buf)
}

// Close writes what the replica knows of its data, and ends the database. m.DataVersion is the Writer's to say.
func (w *Writer) Close(m Meta) (rocks.Written, error) {
	m.DataVersion = MaxDataVersion
	for _, r := range m.Rows() {
		if err := w.w.Add(metaFamily, []byte(r[0]), []byte(r[1])); err != nil {
			w.w.Abort()
			return rocks.Written{}, err
		}
	}
	return w.w.Close()
}

// Abort ends the Writer. What is left is no database.
func (w *Writer) Abort() { w.w.Abort() }
