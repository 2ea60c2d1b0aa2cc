package compare

import (
	"bytes"
	"context"
	"time"

	"pegasus/base"
	"pegasus/client"
)

// pageRows keeps pages small: as many are held as partitions are read at a time.
const pageRows = 500

type table struct {
	*client.Table
	id         int32
	partitions int
}

// Of makes a Side of a table of a cluster.
func Of(t *client.Table) Side { return table{t, t.AppID(), t.Partitions()} }

// Partitions implements Side: as many as there were at first.
func (t table) Partitions() int { return t.partitions }

// Still implements Side.
func (t table) Still(ctx context.Context) error {
	return t.Table.Still(ctx, t.id, t.partitions)
}

// Rows implements Side.
func (t table) Rows(partition int, values bool) Rows {
	return t.ScanAll(client.ScanOptions{Batch: pageRows, NoValue: !values, ExpireTS: true}, partition)
}

// Get implements Side.
func (t table) Get(ctx context.Context, hashKey, sortKey []byte) (r client.Row, found bool, err error) {
	if len(hashKey) == 0 {
		return t.getByTTL(ctx, sortKey)
	}
	o := client.ScanOptions{Batch: 1, From: sortKey, ExpireTS: true}
	if len(sortKey) > 0 {
		o.To, o.ToInclusive = sortKey, true
	}
	s, err := t.ScanHash(hashKey, o)
	if err != nil {
		return r, false, err
	}
	defer s.Close()
	if s.Next(ctx) && bytes.Equal(s.Row().SortKey, sortKey) {
		return s.Row(), true, nil
	}
	return r, false, s.Err()
}

// getByTTL is for rows without a hash key, which no scan of a hash key finds.
func (t table) getByTTL(ctx context.Context, sortKey []byte) (r client.Row, found bool, err error) {
	ttl, found, err := t.TTL(ctx, nil, sortKey)
	if err != nil || !found {
		return r, false, err
	}
	r.SortKey = sortKey
	if ttl >= 0 {
		r.ExpireTS = uint32(time.Now().Unix() + int64(ttl) - base.EpochBegin)
	}
	r.Value, found, err = t.Table.Get(ctx, nil, sortKey)
	return r, found, err
}
