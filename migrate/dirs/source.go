package dirs

import (
	"context"
	"fmt"
	"sync/atomic"

	"pegasus/base"
	"pegasus/client"
	"pegasus/cppdata"
	"pegasus/rows"
)

// Source is a table's directories as a table that is read.
type Source struct {
	t       *Table
	partial bool
	now     uint32 // the time by which rows have expired
	// late is told of a partition that isn't whole, as is found only when its log is replayed, before any of its rows is given; nil: nobody.
	late func(partition int, why error) error

	Expired, Foreign atomic.Int64 // rows that were left out
}

var _ rows.Source = (*Source)(nil)

// Source reads the table. partial: what can be read of partitions that aren't whole.
func (t *Table) Source(partial bool, now uint32) *Source {
	return &Source{t: t, partial: partial, now: now}
}

// Partitions implements rows.Source.
func (s *Source) Partitions() int { return len(s.t.Parts) }

// Still implements rows.Source: nobody writes there.
func (s *Source) Still(context.Context) error { return nil }

// Scan implements rows.Source.
func (s *Source) Scan(partition int, o client.ScanOptions) rows.Rows {
	return &walk{s: s, p: &s.t.Parts[partition], after: o.After}
}

// walk goes through the rows of a partition.
type walk struct {
	s     *Source
	p     *cppdata.Partition
	after []byte
	it    *cppdata.Rows
	row   client.Row
	err   error
}

func (w *walk) Next(ctx context.Context) bool {
	if w.err != nil || w.p.Best == nil && w.s.partial {
		return false
	}
	if w.it == nil {
		if !w.s.partial && !w.p.Whole() {
			w.err = &Lacking{[]string{fmt.Sprintf("partition %v", w.p.Gpid)}}
			return false
		}
		whole := w.p.Best.Err == nil
		if w.it, w.err = w.p.Best.Rows(ctx, w.after, w.s.partial); w.err != nil {
			return false
		}
		if why := w.p.Best.Err; whole && why != nil && w.s.late != nil {
			if w.err = w.s.late(int(w.p.Gpid.PartitionIndex), why); w.err != nil {
				return false
			}
		}
	}
	for w.it.Next() {
		r := w.it.Row()
		switch {
		case !base.InPartition(base.HashOfKey(r.Key), w.p.Gpid.PartitionIndex, w.s.t.Partitions):
			w.s.Foreign.Add(1)
			continue
		case r.Expired(w.s.now):
			w.s.Expired.Add(1)
			continue
		}
		// The memory of the rows is used again, and a row waits for its turn.
		key := append(make([]byte, 0, len(r.Key)+len(r.Data)), r.Key...)
		hash, sort, _ := base.SplitKey(key)
		w.row = client.Row{HashKey: hash, SortKey: sort, Value: append(key[len(key):], r.Data...), ExpireTS: r.ExpireTS, Timetag: r.Timetag}
		return true
	}
	w.err = w.it.Err()
	return false
}

func (w *walk) Row() client.Row { return w.row }

func (w *walk) Err() error { return w.err }

func (w *walk) Close() {
	if w.it != nil {
		w.it.Close()
	}
}
