package compare

import (
	"bytes"
	"context"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/rows"
)

type table struct {
	rows.Source
	t *client.Table
}

// Of makes a Side of a table of a cluster.
func Of(t *client.Table) Side { return table{rows.Of(t), t} }

// Get implements Side.
func (t table) Get(ctx context.Context, hashKey, sortKey []byte) (r client.Row, found bool, err error) {
	if len(hashKey) == 0 {
		return t.getByTTL(ctx, sortKey)
	}
	o := client.ScanOptions{Batch: 1, From: sortKey, ExpireTS: true}
	if len(sortKey) > 0 {
		o.To, o.ToInclusive = sortKey, true
	}
	s, err := t.t.ScanHash(hashKey, o)
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
	ttl, found, err := t.t.TTL(ctx, nil, sortKey)
	if err != nil || !found {
		return r, false, err
	}
	r.SortKey = sortKey
	if ttl >= 0 {
		r.ExpireTS = uint32(time.Now().Unix() + int64(ttl) - base.EpochBegin)
	}
	r.Value, found, err = t.t.Get(ctx, nil, sortKey)
	return r, found, err
}
