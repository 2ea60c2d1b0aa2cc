package backup

import (
	"context"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/rrdb"
)

// TestDigestIsTheStores: the digest of a manifest is the one that a replica with the same rows tells.
func TestDigestIsTheStores(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	m, err := WritePartition(ctx, s, &made{n: 10_000}, options(0))
	if err != nil {
		t.Fatal(err)
	}
	p, err := OpenPartition(ctx, s, ourTable.Partition(0), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := p.Rows(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	shared, err := rrdb.NewShared(rrdb.SharedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	o := rrdb.Options{Dir: t.TempDir() + "/store", Shared: shared, Gpid: base.Gpid{AppID: 7}, Server: "node:34801"}
	b, err := rrdb.Build(o)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		v := rows.Value()
		if err := b.Add(rows.Key(), v.ExpireTS, v.Timetag, v.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.Finish(ctx, m.Decree, 1); err != nil {
		t.Fatal(err)
	}
	store, err := rrdb.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, now := range []uint32{m.Clock, Clock(time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC))} {
		got, err := store.Digest(ctx, now)
		if err != nil {
			t.Fatal(err)
		}
		want := NewDigest(now)
		for r := (&made{n: 10_000}); r.Next(); {
			want.Add(r.Key(), r.Value())
		}
		if sum := want.Sum(); got.Rows != sum.Rows || got.Hash != sum.Hash || got.Decree != m.Decree || now == m.Clock && m.Sum() != sum {
			t.Errorf("at %d the store says %+v, want %+v; the manifest has %+v", now, got, sum, m)
		}
	}
}
