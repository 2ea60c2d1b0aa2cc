// Package rowfiletest reads what package rowfile writes, for tests: with a schema of its own, so that a change there is noticed.
package rowfiletest

import (
	"io"

	"github.com/parquet-go/parquet-go"

	"pegasus/base"
	"pegasus/rocks/pegasus"
)

// row is what readers find.
type row struct {
	Partition int32  `parquet:"partition"`
	HashKey   []byte `parquet:"hash_key"`
	SortKey   []byte `parquet:"sort_key"`
	Value     []byte `parquet:"value"`
	Expires   *int64 `parquet:"expires,optional,timestamp(millisecond)"`
	Written   *int64 `parquet:"written,optional,timestamp(microsecond)"`
}

// ReadParquet reads what package rowfile wrote, f for each row.
func ReadParquet(from io.ReaderAt, size int64, f func(partition int32, r pegasus.Row) error) error {
	file, err := parquet.OpenFile(from, size)
	if err != nil {
		return err
	}
	rows := parquet.NewGenericReader[row](file)
	defer rows.Close()
	batch := make([]row, 512)
	for {
		n, err := rows.Read(batch)
		for _, b := range batch[:n] {
			r := pegasus.Row{HashKey: b.HashKey, SortKey: b.SortKey, Value: pegasus.Value{Data: b.Value}}
			if b.Expires != nil {
				r.ExpireTS = uint32(*b.Expires/1000 - base.EpochBegin)
			}
			if b.Written != nil {
				r.Timetag = uint64(*b.Written) << 8
			}
			if err := f(b.Partition, r); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
