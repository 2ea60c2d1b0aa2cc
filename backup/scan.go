package backup

import (
	"bytes"
	"context"
	"slices"

	"pegasus/base"
	"pegasus/blob"
	"pegasus/rocks"
	"pegasus/rocks/pegasus"
)

// Measure returns the bytes of the files of a table's partitions, as far as backup_metadata of each can be read. Errors are those of
// the place.
func Measure(ctx context.Context, s *blob.Store, t Table, partitions int32) (int64, error) {
	all := int64(0)
	for i := range partitions {
		m, err := measure(ctx, s, t.Partition(i))
		if err != nil && !Damaged(err) {
			return 0, err
		}
		all += m.Bytes
	}
	return all, nil
}

func measure(ctx context.Context, s *blob.Store, dir string) (Metadata, error) {
	checkpoint, err := Current(ctx, s, dir)
	if err != nil || checkpoint == "" {
		return Metadata{}, err
	}
	return ReadMetadata(ctx, s, dir, checkpoint)
}

// Scan calls f for each row of a table, expired ones too, by partition and key. An error of f ends it. progress hears of the bytes of
// files that were read, and of all there are; nil: nobody does.
func Scan(ctx context.Context, s *blob.Store, t Table, partitions int32, progress func(done, all int64), f func(partition int32, row pegasus.Row) error) error {
	var o OpenOptions
	if progress != nil {
		all, err := Measure(ctx, s, t, partitions)
		if err != nil {
			return err
		}
		done := int64(0)
		o.Read = func(n int64) {
			done += n
			progress(done, all)
		}
	}
	for i := range partitions {
		if err := scanPartition(ctx, s, t.Partition(i), o, func(row pegasus.Row) error { return f(i, row) }); err != nil {
			return err
		}
	}
	return nil
}

func scanPartition(ctx context.Context, s *blob.Store, dir string, o OpenOptions, f func(pegasus.Row) error) error {
	p, err := OpenPartition(ctx, s, dir, o)
	if err != nil {
		return err
	}
	rows, err := p.Rows(ctx)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Row()); err != nil {
			return err
		}
	}
	return rows.Close()
}

// Lookup returns the row of a hash key and a sort key, or all rows of the hash key if sortKey is nil; expired ones, too. Where the hash key is
// empty, a row's partition depends on its sort key, and all rows of it lie in several partitions.
func Lookup(ctx context.Context, s *blob.Store, t Table, partitions int32, hashKey, sortKey []byte) ([]pegasus.Row, error) {
	var out []pegasus.Row
	for i := range partitions {
		if !(len(hashKey) == 0 && sortKey == nil) && !base.InPartition(base.HashOf(hashKey, sortKey), i, partitions) {
			continue
		}
		p, err := OpenPartition(ctx, s, t.Partition(i), OpenOptions{})
		if err != nil {
			return nil, err
		}
		lower := base.AppendKey(nil, hashKey, sortKey)
		rows, err := p.Range(ctx, rocks.Bounds{Lower: lower})
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			row := rows.Row()
			if !bytes.Equal(row.HashKey, hashKey) || sortKey != nil && !bytes.Equal(row.SortKey, sortKey) {
				break
			}
			key := slices.Clone(row.Key)
			row.Data = slices.Clone(row.Data)
			row.Key, row.HashKey, row.SortKey = key, key[2:2+len(hashKey)], key[2+len(hashKey):]
			out = append(out, row)
		}
		if err := rows.Close(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
