package rrdb

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
)

// puts writes rows n to m-1, each of one hash key.
func (h *harness) putRows(n, m int) {
	h.t.Helper()
	for i := n; i < m; i++ {
		h.payload = AppendOp(h.payload, Op{Key: rowKey(fmt.Sprint("row", i), ""), Value: []byte("v")})
	}
	h.propose()
	h.apply()
}

func scanRows(t *testing.T, s *Store) (n int, keys map[string]bool) {
	t.Helper()
	keys = map[string]bool{}
	res, err := s.Read(&ReadRequest{Code: base.RPCGetScanner, Arg: argReader(&idl.GetScannerRequest{FullScan: base.Some(true), BatchSize: 100000, StartKey: rowKey("", ""), StartInclusive: true, StopKey: unorderedStop, ValidatePartitionHash: base.Some(false)})})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Release()
	var r idl.ScanResponse
	h := &harness{t: t}
	h.decode(res, &r)
	for _, kv := range r.Kvs {
		keys[string(kv.Key)] = true
	}
	return len(r.Kvs), keys
}

// A partition is cut: the rows of the other half are hidden at once, refused, left out of copies and digests; the child that
// is made of a copy of the parent, at a later decree, has them, at the cut. What is hidden goes once the child is there.
func TestCut(t *testing.T) {
	h := newHarness(t, nil) // partition 2
	const rows = 400
	h.putRows(0, rows)
	if n, _ := scanRows(t, h.store); n != rows {
		t.Fatalf("%d rows", n)
	}
	mine := func(key string, partition int32) bool { return inPartition([]byte(key), partition, 8) }
	want := map[int32]int{}
	_, keys := scanRows(t, h.store)
	for k := range keys {
		for _, p := range []int32{2, 6} {
			if mine(k, p) {
				want[p]++
			}
		}
	}
	if want[2] == 0 || want[6] == 0 {
		t.Fatal(want)
	}
	h.payload = AppendCut(h.payload, 2, 8)
	if !IsServerWrite(h.payload) {
		t.Error("a cut is taken for a write of a client")
	}
	d := h.propose()
	h.apply()
	cut := Cut{Partition: 2, Count: 8, Decree: d, Timestamp: h.timestamp(d)}
	if got := h.store.Cut(); got != cut {
		t.Fatalf("%+v, want %+v", got, cut)
	}
	// Again, and with fewer: nothing changes.
	h.payload = AppendCut(AppendCut(h.payload, 2, 8), 2, 4)
	h.propose()
	h.apply()
	if n, _ := scanRows(t, h.store); n != want[2] || h.store.Cut() != cut {
		t.Fatalf("%d rows, want %d; %+v", n, want[2], h.store.Cut())
	}
	// A write of another partition's row is refused, one of its own isn't.
	for k := range keys {
		hash, _, _ := base.SplitKey([]byte(k))
		_, _, _, err := h.store.Evaluate(&WriteRequest{Code: base.RPCPut, Arg: argReader(&idl.UpdateRequest{Key: base.AppendKey(nil, hash, []byte("x")), Value: []byte("v")}), Count: 8}, nil, nil)
		if mine(k, 2) != (err == nil) || err != nil && !errors.Is(err, base.ErrParentPartitionMisused) {
			t.Fatalf("row %q: %v", k, err)
		}
	}
	// Rows of its own that come later aren't the child's.
	for k := range keys {
		if mine(k, 2) {
			h.payload = AppendOp(h.payload, Op{Key: []byte(k), Delete: true})
			want[2]--
			break
		}
	}
	h.propose()
	h.apply()
	o := h.options()
	o.Dir, o.Gpid = "child", base.Gpid{AppID: 1, PartitionIndex: 6}
	if _, err := h.store.Checkpoint(o.Dir); err != nil {
		t.Fatal(err)
	}
	of, err := MakeChild(t.Context(), o)
	childs := cut
	childs.Partition = 6
	if err != nil || of != childs {
		t.Fatalf("%+v, %v", of, err)
	}
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.LastApplied() != d || c.LastFlushed() != d || c.LastTimestamp() != cut.Timestamp || c.Cut() != childs {
		t.Errorf("the child is at decree %d, flushed %d, time %d, %+v", c.LastApplied(), c.LastFlushed(), c.LastTimestamp(), c.Cut())
	}
	n, has := scanRows(t, c)
	if n != want[6] {
		t.Errorf("the child has %d rows, want %d", n, want[6])
	}
	for k := range has {
		if !mine(k, 6) {
			t.Errorf("row %q isn't the child's", k)
		}
	}
	o.Gpid.PartitionIndex = 5
	if _, err := h.store.Checkpoint("other"); err != nil {
		t.Fatal(err)
	}
	o.Dir = "other"
	if _, err := MakeChild(t.Context(), o); !errors.Is(err, base.ErrInvalidState) {
		t.Errorf("partition 5 is made of partition 2: %v", err)
	}
	// A copy has the partition's rows only, and so has a digest.
	now := ExpiryTime(h.clock.now())
	m, sum := readCopyRows(t, h.copyOf("copy"), now)
	digest, err := h.store.Digest(t.Context(), now)
	if err != nil || len(m) != want[2] || int(digest.Rows) != want[2] || digest.Hash != sum {
		t.Errorf("a copy has %d rows, a digest %d, want %d, %v", len(m), digest.Rows, want[2], err)
	}
	// Nothing is removed before the table has 8 partitions.
	count := func(s *Store) (n int) {
		it, err := s.db.NewIter(nil)
		if err != nil {
			t.Fatal(err)
		}
		for valid := it.First(); valid; valid = it.Next() {
			if validKey(it.Key()) {
				n++
			}
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	sweep := func(s *Store) {
		if _, err := s.Sweep(context.Background(), 0, 1<<40, nil); err != nil {
			t.Fatal(err)
		}
	}
	h.store.SetPartitionCount(4)
	sweep(h.store)
	if n := count(h.store); n != rows-1 {
		t.Errorf("%d rows are left before the child is registered, want %d", n, rows-1)
	}
	h.store.SetPartitionCount(8)
	sweep(h.store)
	c.SetPartitionCount(8)
	sweep(c)
	if n, m := count(h.store), count(c); n != want[2] || m != want[6] {
		t.Errorf("%d and %d rows are left, want %d and %d", n, m, want[2], want[6])
	}
	// A crash leaves the cut.
	if err := h.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.crash()
	if h.store.Cut() != cut {
		t.Errorf("after a crash: %+v", h.store.Cut())
	}
}

func FuzzCut(f *testing.F) {
	c := Cut{Partition: 2, Count: 8, Decree: 7, Timestamp: 9}
	f.Add(c.append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseCut(b); err == nil && string(c.append(nil)) != string(b) {
			t.Errorf("%x is read as %+v", b, c)
		}
	})
}
