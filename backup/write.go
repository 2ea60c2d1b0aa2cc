package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pegasus/blob"
	"pegasus/rocks/pegasus"
	"pegasus/rocks/remote"
	"pegasus/rocks/table"
)

// Rows are rows by stored key (base.AppendKey), in rising order. Key and value are good until the next one. It belongs to one goroutine.
type Rows interface {
	// Next moves to the next row. False is the end, or an error, which Err tells.
	Next() bool
	Key() []byte
	Value() pegasus.Value
	Err() error
}

// WriteOptions say what a partition is, and how it is written.
type WriteOptions struct {
	Table      Table
	Partition  int32
	Checkpoint string    // the directory's name, see CheckpointName: each server has its own
	Decree     int64     // the rows are those as of it
	Taken      time.Time // when they were so; rows that have expired by then are left out

	// CompactFinish and UsageScenario are what the replica knows of its data (rocks/pegasus.Meta); zero values are fine.
	CompactFinish int64
	UsageScenario string

	TableSize int // bytes of rows in a table of RocksDB, 0 for 16 MiB

	// Progress hears of the bytes of rows (stored keys and values) that were taken, all in all; nil: nobody does. It is called often.
	Progress func(rowBytes int64)
	// Pace is called before n more bytes of rows are taken, and returns when that may be; nil: at once. An error ends the writing.
	Pace func(ctx context.Context, n int) error
	// Sent hears of each file that has arrived; nil: nobody does. It is called from other goroutines.
	Sent func(name string, bytes int64)
}

const (
	defaultTableSize = 16 << 20
	paceEvery        = 64 << 10 // bytes
)

// ErrComplete says that a partition is complete already, and isn't written again.
var ErrComplete = errors.New("the partition is backed up already")

// WritePartition writes a partition. It counts once all of it is there; what an attempt that failed has left is removed by the next one of the same
// Checkpoint. ErrComplete if current_checkpoint is there already. The caller keeps the rows, and closes them.
func WritePartition(ctx context.Context, s *blob.Store, rows Rows, o WriteOptions) (Manifest, error) {
	m, err := writePartition(ctx, s, rows, o)
	if err != nil {
		return Manifest{}, fmt.Errorf("back up %s: %w", o.Table.Partition(o.Partition), err)
	}
	return m, nil
}

func writePartition(ctx context.Context, s *blob.Store, rows Rows, o WriteOptions) (Manifest, error) {
	if err := errors.Join(o.Table.Check(), checkPlain(o.Checkpoint)); err != nil {
		return Manifest{}, err
	}
	if o.TableSize <= 0 {
		o.TableSize = defaultTableSize
	}
	partition := o.Table.Partition(o.Partition)
	dir := blob.Join(partition, o.Checkpoint)
	switch c, err := Current(ctx, s, partition); {
	case err != nil:
		return Manifest{}, err
	case c != "":
		return Manifest{}, fmt.Errorf("%w: %s names %s", ErrComplete, currentFile, c)
	}
	if err := s.DeleteTree(ctx, dir); err != nil {
		return Manifest{}, err
	}
	out := remote.NewSink(s, dir, o.Sent)
	m, err := writeRows(ctx, out, rows, &o)
	if err != nil {
		out.Stop()
		return Manifest{}, err
	}
	meta := Metadata{Decree: o.Decree, Taken: o.Taken.UnixMilli(), Files: m.Files}
	for _, f := range m.Files {
		meta.Bytes += f.Size
	}
	for _, f := range []struct {
		name string
		v    any
	}{{manifestFile, m}, {metadataFile, meta}} {
		if err := write(ctx, s, blob.Join(dir, f.name), f.v); err != nil {
			return Manifest{}, err
		}
	}
	// Another server may have been asked meanwhile, since nobody reached this one. What is complete stays as it is: manifests of the table name it.
	switch c, err := Current(ctx, s, partition); {
	case err != nil:
		return Manifest{}, err
	case c != "":
		return Manifest{}, errors.Join(fmt.Errorf("%w: %s names %s", ErrComplete, currentFile, c), s.DeleteTree(ctx, dir))
	}
	_, err = s.PutBytes(ctx, blob.Join(partition, currentFile), []byte(o.Checkpoint)) // without a newline: upstream takes all of it for the name
	return m, err
}

// writeRows writes the RocksDB directory.
func writeRows(ctx context.Context, out *remote.Sink, rows Rows, o *WriteOptions) (Manifest, error) {
	w, err := pegasus.Create(ctx, out, pegasus.WriterOptions{TableSize: o.TableSize, Compression: table.Snappy})
	if err != nil {
		return Manifest{}, err
	}
	defer w.Abort() // nothing after Close
	m := Manifest{
		Format: ManifestFormat, Table: o.Table.Name, AppID: o.Table.AppID, Partition: o.Partition,
		Decree: o.Decree, Taken: o.Taken.UnixMilli(), Clock: Clock(o.Taken),
	}
	digest := NewDigest(m.Clock)
	unpaced := 0
	pace := func() error {
		if o.Progress != nil {
			o.Progress(m.RowBytes)
		}
		n := unpaced
		unpaced = 0
		if o.Pace == nil || n == 0 {
			return nil
		}
		return o.Pace(ctx, n)
	}
	for rows.Next() {
		key, v := rows.Key(), rows.Value()
		if v.Expired(m.Clock) {
			continue
		}
		if unpaced >= paceEvery {
			if err := pace(); err != nil {
				return Manifest{}, err
			}
		}
		if err := w.Add(key, v); err != nil {
			return Manifest{}, err
		}
		digest.Add(key, v)
		n := len(key) + valueHeader + len(v.Data)
		m.RowBytes += int64(n)
		unpaced += n
	}
	if err := rows.Err(); err != nil {
		return Manifest{}, fmt.Errorf("read the rows: %w", err)
	}
	if err := pace(); err != nil {
		return Manifest{}, err
	}
	if _, err := w.Close(pegasus.Meta{FlushedDecree: o.Decree, CompactFinish: o.CompactFinish, UsageScenario: o.UsageScenario}); err != nil {
		return Manifest{}, err
	}
	if err := out.Wait(); err != nil {
		return Manifest{}, err
	}
	sum := digest.Sum()
	m.Rows, m.Digest, m.Files, m.Written = sum.Rows, sum.Hex(), out.List(), time.Now().UnixMilli()
	return m, nil
}
