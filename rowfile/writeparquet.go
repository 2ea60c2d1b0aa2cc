package rowfile

import (
	"bytes"
	"io"

	"github.com/parquet-go/parquet-go"

	"pegasus/rocks/pegasus"
)

// writtenRow is the schema.
type writtenRow struct {
	Partition int32  `parquet:"partition"`
	HashKey   []byte `parquet:"hash_key"`
	SortKey   []byte `parquet:"sort_key"`
	Value     []byte `parquet:"value"`
	Expires   *int64 `parquet:"expires,optional,timestamp(millisecond)"`
	Written   *int64 `parquet:"written,optional,timestamp(microsecond)"`
}

const (
	groupBytes = 32 << 20 // of rows in a row group, which is held in memory
	batchRows  = 512
)

type parquetWriter struct {
	w     *parquet.GenericWriter[writtenRow]
	batch []writtenRow
	times []int64 // of the batch
	bytes int     // of the row group
}

func newParquetWriter(w io.Writer) Writer {
	return &parquetWriter{
		w:     parquet.NewGenericWriter[writtenRow](w, parquet.Compression(&parquet.Snappy), parquet.CreatedBy("pegasus", "", "")),
		batch: make([]writtenRow, 0, batchRows), times: make([]int64, 0, 2*batchRows),
	}
}

func (p *parquetWriter) Write(partition int32, row pegasus.Row) error {
	r := writtenRow{Partition: partition, HashKey: bytes.Clone(row.HashKey), SortKey: bytes.Clone(row.SortKey), Value: bytes.Clone(row.Data)}
	// An empty slice is a value, nil would be one too: no column of bytes is optional.
	if at, ok := expires(row.Value); ok {
		p.times = append(p.times, at*1000)
		r.Expires = &p.times[len(p.times)-1]
	}
	if at, ok := written(row.Value); ok {
		p.times = append(p.times, at)
		r.Written = &p.times[len(p.times)-1]
	}
	p.batch = append(p.batch, r)
	p.bytes += len(row.HashKey) + len(row.SortKey) + len(row.Data) + 32
	if len(p.batch) == batchRows || p.bytes >= groupBytes {
		return p.flush()
	}
	return nil
}

func (p *parquetWriter) flush() error {
	if _, err := p.w.Write(p.batch); err != nil {
		return err
	}
	p.batch, p.times = p.batch[:0], p.times[:0]
	if p.bytes < groupBytes {
		return nil
	}
	p.bytes = 0
	return p.w.Flush()
}

func (p *parquetWriter) Close() error {
	if err := p.flush(); err != nil {
		return err
	}
	return p.w.Close()
}
