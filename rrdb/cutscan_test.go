package rrdb

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
)

// wholeScan is a client's scan of a whole partition.
type wholeScan struct {
	t    *testing.T
	s    *Store
	arg  idl.GetScannerRequest
	hash uint64
	id   int64
	rows map[string]int
}

func startWhole(t *testing.T, s *Store, hash uint64, by int32) *wholeScan {
	w := &wholeScan{t: t, s: s, hash: hash, rows: map[string]int{}}
	w.arg = idl.GetScannerRequest{FullScan: base.Some(true), BatchSize: 10, StartKey: rowKey("", ""), StartInclusive: true, StopKey: unorderedStop, PartitionCount: base.NonZero(by)}
	return w
}

// page reads a page, the first one of a new scan if there is none.
func (w *wholeScan) page(watch ScanWatch) error {
	w.t.Helper()
	q := &ReadRequest{Code: base.RPCScan, Arg: argReader(&idl.ScanRequest{ContextId: w.id}), PartitionHash: w.hash, Watch: watch}
	if w.id == 0 {
		q.Code, q.Arg = base.RPCGetScanner, argReader(&w.arg)
	}
	res, err := w.s.Read(q)
	if err != nil {
		return err
	}
	defer res.Release()
	var r idl.ScanResponse
	(&harness{t: w.t}).decode(res, &r)
	if r.Error != 0 {
		w.t.Fatalf("error %d", r.Error)
	}
	w.id = r.ContextId
	for _, kv := range r.Kvs {
		w.rows[string(kv.Key)]++
	}
	return nil
}

// rest reads to the end.
func (w *wholeScan) rest() map[string]int {
	w.t.Helper()
	for w.id != scanCompleted {
		if err := w.page(nil); err != nil {
			w.t.Fatal(err)
		}
	}
	return w.rows
}

// putMine writes n rows of partition 2 of 4.
func (h *harness) putMine(n int) {
	h.t.Helper()
	for i := 0; n > 0; i++ {
		if key := rowKey(fmt.Sprint("row", i), ""); inPartition(key, 2, 4) {
			h.payload = AppendOp(h.payload, Op{Key: key, Value: []byte("v")})
			n--
		}
	}
	h.propose()
	h.apply()
}

func (h *harness) cut(count int32) {
	h.t.Helper()
	h.payload = AppendCut(h.payload, 2, count)
	h.propose()
	h.apply()
}

// halves checks that walks of both halves have met each row once, and those of its half only.
func halves(t *testing.T, rows int, parent, child map[string]int) {
	t.Helper()
	n := 0
	for p, m := range map[int32]map[string]int{2: parent, 6: child} {
		for k, times := range m {
			if n += times; !inPartition([]byte(k), p, 8) || times != 1 {
				t.Fatalf("row %q is met %d times in a scan of partition %d", k, times, p)
			}
		}
	}
	if n != rows {
		t.Fatalf("%d rows are met of %d", n, rows)
	}
}

func sweepAll(t *testing.T, s *Store) int64 {
	t.Helper()
	st, err := s.Sweep(context.Background(), 0, 1<<40, nil)
	if err != nil {
		t.Fatal(err)
	}
	return st.Rows
}

// A scan that began before the cut meets the rows of both halves, and until it ended none are removed.
func TestScanFromBeforeTheCut(t *testing.T) {
	h := newHarness(t, nil)
	const rows = 400
	h.putMine(rows)
	h.store.SetPartitionCount(4)
	h.store.SetEnvs(map[string]string{"replica.split.validate_partition_hash": "true"})
	w, parent, child := startWhole(t, h.store, 2, 0), startWhole(t, h.store, 2, 8), startWhole(t, h.store, 6, 8)
	for _, w := range []*wholeScan{w, parent, child} {
		if err := w.page(nil); err != nil || w.id == scanCompleted {
			t.Fatal(w.id, err)
		}
	}
	h.cut(8)
	for _, w := range []*wholeScan{w, parent, child} {
		if err := w.page(nil); err != nil {
			t.Fatal(err)
		}
	}
	h.store.SetPartitionCount(8)
	if n := sweepAll(t, h.store); n != 0 {
		t.Fatalf("%d rows are removed", n)
	}
	if n := len(w.rest()); n != rows {
		t.Fatalf("%d rows are met of %d", n, rows)
	}
	halves(t, rows, parent.rest(), child.rest())
	for k, n := range w.rows {
		if n != 1 {
			t.Fatalf("row %q is met %d times", k, n)
		}
	}
	if n := sweepAll(t, h.store); int(n) != len(child.rows) {
		t.Errorf("%d rows are removed once the scans have ended, want %d", n, len(child.rows))
	}
}

// A scan that lasts holds the removal up for some time only, and then fails: it doesn't miss rows.
func TestScanFromBeforeTheCutIsGivenUp(t *testing.T) {
	h := newHarness(t, nil)
	h.putMine(400)
	h.store.SetPartitionCount(4)
	w := startWhole(t, h.store, 2, 0)
	if err := w.page(nil); err != nil {
		t.Fatal(err)
	}
	h.cut(8)
	h.store.SetPartitionCount(8)
	for began := h.clock.now(); h.clock.now().Sub(began) < scansWait; h.clock.pass(time.Minute) {
		if n := sweepAll(t, h.store); n != 0 {
			t.Fatalf("%d rows are removed after %v", n, h.clock.now().Sub(began))
		}
		if err := w.page(nil); err != nil {
			t.Fatal(err)
		}
	}
	if sweepAll(t, h.store) == 0 {
		t.Fatal("no rows are removed")
	}
	if err := w.page(nil); !errors.Is(err, base.ErrParentPartitionMisused) {
		t.Errorf("the scan goes on: %v", err)
	}
}

// A client that says by how many partitions it goes gets the rows of that partition, before the cut and after it; with fewer
// than there are it is refused.
func TestScanByCount(t *testing.T) {
	h := newHarness(t, nil)
	const rows = 300
	h.putMine(rows)
	check := func(by int32, hash uint64, code base.ErrorCode) map[string]int {
		t.Helper()
		w := startWhole(t, h.store, hash, by)
		if err := w.page(nil); code != base.ErrOK || err != nil {
			if !errors.Is(err, code) {
				t.Fatalf("partition %d of %d: %v, want %v", hash, by, err, code)
			}
			return nil
		}
		return w.rest()
	}
	for _, known := range []int32{0, 4} {
		h.store.SetPartitionCount(known)
		if n := len(check(4, 2, base.ErrOK)); n != rows && known > 0 {
			t.Fatalf("%d rows are met of %d", n, rows)
		}
		if known > 0 {
			halves(t, rows, check(8, 2, base.ErrOK), check(8, 6, base.ErrOK))
			check(16, 2, base.ErrParentPartitionMisused)
			check(2, 0, base.ErrParentPartitionMisused)
			check(4, 3, base.ErrParentPartitionMisused)
			check(8, 3, base.ErrParentPartitionMisused)
			check(4, 6, base.ErrParentPartitionMisused)
		}
	}
	h.cut(8)
	for _, known := range []int32{4, 8} {
		h.store.SetPartitionCount(known)
		check(4, 2, base.ErrParentPartitionMisused)
		check(8, 6, base.ErrParentPartitionMisused) // the child has it
		if n := len(check(8, 2, base.ErrOK)); n == 0 || n == rows {
			t.Fatalf("%d rows", n)
		}
		if n, m := len(check(8, 2, base.ErrOK)), len(check(16, 2, base.ErrOK))+len(check(16, 10, base.ErrOK)); n != m {
			t.Fatalf("%d rows, %d in halves", n, m)
		}
	}
}

// watcher is a ScanWatch that says what it is told to.
type watcher struct {
	code  base.ErrorCode
	said  []int32
	older int
}

func (w *watcher) Begins(count int32) base.ErrorCode {
	w.said = append(w.said, count)
	return w.code
}

func (w *watcher) Older() { w.older++ }

// Clients that don't say by how many partitions they go are watched, and one that goes on behind a row that the partition had before it
// was cut is refused.
func TestScanIsWatched(t *testing.T) {
	h := newHarness(t, nil)
	h.putMine(300)
	h.store.SetPartitionCount(4)
	v := &watcher{code: base.ErrOK}
	w := startWhole(t, h.store, 2, 0)
	for range 2 {
		if err := w.page(v); err != nil {
			t.Fatal(err)
		}
	}
	unborn := startWhole(t, h.store, 6, 0)
	if err := unborn.page(v); err != nil || unborn.id != scanCompleted || len(unborn.rows) != 0 {
		t.Errorf("the scan of a child that isn't there: %d rows, %v", len(unborn.rows), err)
	}
	h.cut(8)
	if err := w.page(v); err != nil || v.older != 1 || fmt.Sprint(v.said) != "[0]" {
		t.Errorf("%v, older %d, begun %v", err, v.older, v.said)
	}
	foreign, own := "", ""
	for k := range w.rest() {
		if inPartition([]byte(k), 2, 8) {
			own = k
		} else {
			foreign = k
		}
	}
	for _, c := range []struct {
		after string
		watch base.ErrorCode
		want  base.ErrorCode
	}{{"", base.ErrOK, base.ErrOK}, {"", base.ErrSplitting, base.ErrSplitting}, {own, base.ErrOK, base.ErrOK}, {foreign, base.ErrOK, base.ErrParentPartitionMisused}} {
		v := &watcher{code: c.watch}
		w := startWhole(t, h.store, 2, 0)
		if c.after != "" {
			w.arg.StartKey, w.arg.StartInclusive = []byte(c.after), false
		}
		err := w.page(v)
		if fmt.Sprint(v.said) != "[8]" || (err == nil) != (c.want == base.ErrOK) || err != nil && !errors.Is(err, c.want) {
			t.Errorf("behind %q: %v, begun %v", c.after, err, v.said)
		}
	}
	// A scan of one hash key isn't.
	v = &watcher{code: base.ErrSplitting}
	w = startWhole(t, h.store, 2, 0)
	key, _, _ := base.SplitKey([]byte(own))
	w.arg = idl.GetScannerRequest{StartKey: base.AppendKey(nil, key, nil), StartInclusive: true, StopKey: base.NextKey(nil, base.AppendKey(nil, key, nil))}
	if err := w.page(v); err != nil || len(v.said) > 0 || len(w.rows) != 1 {
		t.Errorf("%v, %d rows, begun %v", err, len(w.rows), v.said)
	}
}

// A client that speaks THFT goes by the partitions that its listing says: one that lacks a child is refused, and one that knows of it gets one half,
// whether the partition is cut yet or not. A table that was never split has no listing.
func TestListedScans(t *testing.T) {
	h := newHarness(t, nil)
	const rows = 200
	h.putMine(rows)
	h.store.SetPartitionCount(4)
	h.store.SetEnvs(map[string]string{"replica.split.validate_partition_hash": "true"})
	scan := func(hash uint64, by int32) (map[string]int, error) {
		w := startWhole(t, h.store, hash, 0)
		q := &ReadRequest{Code: base.RPCGetScanner, Arg: argReader(&w.arg), PartitionHash: hash, Listed: true, Listing: base.ListingOf(by)}
		res, err := w.s.Read(q)
		if err != nil {
			return nil, err
		}
		defer res.Release()
		var r idl.ScanResponse
		h.decode(res, &r)
		w.id = r.ContextId
		for _, kv := range r.Kvs {
			w.rows[string(kv.Key)]++
		}
		return w.rest(), nil
	}
	all := func(hash uint64, by int32) map[string]int {
		t.Helper()
		m, err := scan(hash, by)
		if err != nil {
			t.Fatalf("a scan of partition %d of %d: %v", hash, by, err)
		}
		return m
	}
	for _, by := range []int32{0, 4} {
		if n := len(all(2, by)); n != rows {
			t.Errorf("by %d partitions: %d rows of %d", by, n, rows)
		}
	}
	child := all(6, 8)
	halves(t, rows, all(2, 8), child)
	h.cut(8)
	for _, by := range []int32{0, 4, 2} {
		if m, err := scan(2, by); !errors.Is(err, base.ErrParentPartitionMisused) {
			t.Errorf("by %d partitions, after the cut: %d rows, %v", by, len(m), err)
		}
	}
	halves(t, rows, all(2, 8), child)
	h.store.SetPartitionCount(8)
	sweepAll(t, h.store)
	for k := range all(2, 8) {
		if !inPartition([]byte(k), 2, 8) {
			t.Errorf("row %q", k)
		}
	}
	for _, by := range []int32{0, 4} {
		if m, err := scan(2, by); !errors.Is(err, base.ErrParentPartitionMisused) {
			t.Errorf("by %d partitions, later: %d rows, %v", by, len(m), err)
		}
	}
}

// TestCutIsNotRestored: a store that is made of the rows of one that was cut, as a restore does, has no cut. So a scan by a client that was told nothing
// of partitions is answered: the table was never split.
func TestCutIsNotRestored(t *testing.T) {
	h := newHarness(t, nil)
	h.putMine(100)
	h.store.SetPartitionCount(4)
	h.cut(8)
	c := h.copyOf("copy")
	if c.Cut().Count != 8 {
		t.Fatalf("the copy has %+v", c.Cut())
	}
	rows, err := c.Rows(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	b, err := Build(h.build("restored"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rows.Next() {
		r := rows.Row()
		if err := b.Add(r.Key, r.ExpireTS, r.Timetag, r.Data); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if rows.Err() != nil || n == 0 || n == 100 {
		t.Fatalf("%d rows, %v", n, rows.Err())
	}
	if err := b.Finish(t.Context(), 5, 1); err != nil {
		t.Fatal(err)
	}
	s, err := Open(h.build("restored"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.SetPartitionCount(8)
	if s.Cut() != (Cut{}) {
		t.Errorf("it has %+v", s.Cut())
	}
	w := startWhole(t, s, 2, 0)
	res, err := s.Read(&ReadRequest{Code: base.RPCGetScanner, Arg: argReader(&w.arg), PartitionHash: 2, Listed: true})
	if err != nil {
		t.Fatalf("a scan: %v", err)
	}
	defer res.Release()
	if res.count == 0 {
		t.Error("the first page has no rows")
	}
}
