package rrdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
)

// scanAll reads a whole scan; it begins anew where it was when its session is gone.
func (h *harness) scanAll(first idl.GetScannerRequest) (rows []idl.KeyValue, pages int) {
	h.t.Helper()
	var res idl.ScanResponse
	begin := func() {
		if _, err := h.read(base.RPCGetScanner, &first, &res); err != nil {
			h.t.Fatal(err)
		}
	}
	for begin(); ; {
		switch {
		case res.Error == codeNotFound && len(rows) > 0:
			first.StartKey, first.StartInclusive = rows[len(rows)-1].Key, false
			begin()
			continue
		case res.Error == codeNotFound:
			begin()
			continue
		case res.Error != codeOK:
			h.t.Fatalf("page %d: storage code %d", pages, res.Error)
		}
		pages++
		for _, kv := range res.Kvs {
			rows = append(rows, idl.KeyValue{Key: bytes.Clone(kv.Key), Value: bytes.Clone(kv.Value)})
		}
		if res.ContextId < 0 {
			return rows, pages
		}
		next := idl.ScanRequest{ContextId: res.ContextId}
		res = idl.ScanResponse{}
		if _, err := h.read(base.RPCScan, &next, &res); err != nil {
			h.t.Fatal(err)
		}
	}
}

// A scan returns every row that was there throughout exactly once, in order, whatever is
// written, expires, is flushed, swept and compacted meanwhile.
func TestScanWhileEverythingChanges(t *testing.T) {
	h := newHarness(t, func(c *testConfig) { c.MemtableBytes = 256 << 10 })
	const stable = 2000
	name := func(i int) string { return fmt.Sprintf("h%03d", i/10) }
	for i := range stable {
		h.payload = appendRowOp(h.payload, []byte(name(i)), fmt.Appendf(nil, "stable%d", i%10), Op{Value: []byte("v")})
	}
	h.propose()
	h.apply()
	h.flush()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var writes, compactions atomic.Int64
	wg.Add(2)
	go func() {
		defer wg.Done()
		r := rand.New(rand.NewPCG(3, 4))
		value := make([]byte, 500)
		for ctx.Err() == nil {
			var payload []byte
			for range 20 {
				key := base.AppendKey(nil, []byte(name(r.IntN(stable))), fmt.Appendf(nil, "%c%d", "az"[r.IntN(2)], r.IntN(30)))
				op := Op{Key: key, Value: value, ExpireTS: uint32(r.IntN(3) * 1000)}
				if r.IntN(3) == 0 {
					op = Op{Key: key, Delete: true}
				}
				payload = AppendOp(payload, op)
			}
			// A row that is there throughout may be written anew.
			i := r.IntN(stable)
			payload = appendRowOp(payload, []byte(name(i)), fmt.Appendf(nil, "stable%d", i%10), Op{Value: []byte("v")})
			d := h.store.LastApplied() + 1
			if err := h.store.Apply(d, h.timestamp(d), payload); err != nil {
				t.Errorf("apply: %v", err)
				return
			}
			writes.Add(1)
		}
	}()
	go func() {
		defer wg.Done()
		for ctx.Err() == nil {
			if err := h.store.Compact(ctx, time.Second); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("compact: %v", err)
				return
			}
			compactions.Add(1)
		}
	}()
	least := int64(3)
	if raceEnabled { // each takes many times as long
		least = 1
	}
	for scan := 0; scan < 5 || compactions.Load() < least; scan++ {
		before := writes.Load()
		rows, pages := h.scanAll(idl.GetScannerRequest{StopKey: unorderedStop, BatchSize: int32(20 + scan%300)})
		waitFor(t, "writes go on", func() bool { return writes.Load() > before })
		found := 0
		for i, kv := range rows {
			if i > 0 && bytes.Compare(rows[i-1].Key, kv.Key) >= 0 {
				t.Fatalf("scan %d: row %q comes after %q", scan, kv.Key, rows[i-1].Key)
			}
			if _, sortKey, _ := base.SplitKey(kv.Key); bytes.HasPrefix(sortKey, []byte("stable")) {
				found++
			}
		}
		if found != stable || pages < 5 {
			t.Fatalf("scan %d found %d rows of those that are there throughout in %d pages, want %d", scan, found, pages, stable)
		}
	}
	cancel()
	wg.Wait()
	if n := h.shared.sessions.len(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestScanBadInput(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 5 {
		h.put("h", fmt.Sprint(i), "v", 0)
	}
	long := bytes.Repeat([]byte("h"), 300)
	for _, c := range []struct {
		name string
		arg  idl.GetScannerRequest
		code int32
		rows int
	}{
		{"reversed", idl.GetScannerRequest{StartKey: rowKey("h", "4"), StopKey: rowKey("h", "1"), StartInclusive: true, StopInclusive: true}, codeOK, 0},
		{"empty", idl.GetScannerRequest{StartKey: rowKey("h", "4"), StopKey: rowKey("h", "4"), StartInclusive: true}, codeOK, 0},
		{"one row", idl.GetScannerRequest{StartKey: rowKey("h", "4"), StopKey: rowKey("h", "4"), StartInclusive: true, StopInclusive: true}, codeOK, 1},
		{"hash key filter longer than the keys", idl.GetScannerRequest{StopKey: unorderedStop, HashKeyFilterType: idl.FT_MATCH_ANYWHERE, HashKeyFilterPattern: long}, codeOK, 0},
		{"prefix longer than the keys", idl.GetScannerRequest{StopKey: unorderedStop, HashKeyFilterType: idl.FT_MATCH_PREFIX, HashKeyFilterPattern: long}, codeOK, 0},
		{"postfix longer than the keys", idl.GetScannerRequest{StopKey: unorderedStop, SortKeyFilterType: idl.FT_MATCH_POSTFIX, SortKeyFilterPattern: long}, codeOK, 0},
		{"prefix above the start", idl.GetScannerRequest{StartKey: rowKey("a", ""), StopKey: unorderedStop, HashKeyFilterType: idl.FT_MATCH_PREFIX, HashKeyFilterPattern: []byte("h")}, codeOK, 5},
		{"unknown filter", idl.GetScannerRequest{StopKey: unorderedStop, SortKeyFilterType: 9}, codeInvalidArgument, 0},
		{"a start that is no key", idl.GetScannerRequest{StartKey: []byte{0, 9, 'h'}, StopKey: unorderedStop}, codeInvalidArgument, 0},
	} {
		var res idl.ScanResponse
		if _, err := h.read(base.RPCGetScanner, &c.arg, &res); err != nil || res.Error != c.code || len(res.Kvs) != c.rows {
			t.Errorf("%s: code %d, %d rows, %v; want %d, %d", c.name, res.Error, len(res.Kvs), err, c.code, c.rows)
		}
		if c.code == codeOK && res.ContextId != scanCompleted {
			t.Errorf("%s: context %d, want that the scan is over", c.name, res.ContextId)
		}
	}
	for _, id := range []int64{0, -1, -2, 1 << 40} {
		var res idl.ScanResponse
		if _, err := h.read(base.RPCScan, &idl.ScanRequest{ContextId: id}, &res); err != nil || res.Error != codeNotFound {
			t.Errorf("context %d: code %d, %v", id, res.Error, err)
		}
	}
	var res idl.MultiGetResponse
	arg := idl.MultiGetRequest{HashKey: []byte("h"), StartSortkey: []byte("4"), StopSortkey: []byte("1"), StartInclusive: true, StopInclusive: true}
	if _, err := h.read(base.RPCMultiGet, &arg, &res); err != nil || res.Error != codeOK || len(res.Kvs) != 0 {
		t.Errorf("multi_get of a reversed range: code %d, %d rows, %v", res.Error, len(res.Kvs), err)
	}
}

// counter is a Memory with a limit.
type counter struct{ used, limit int64 }

func (c *counter) Reserve(n int64) bool { c.used += n; return true }
func (c *counter) Crowded() bool        { return c.used > c.limit }

// TestLargeResultsAreCounted: what a result takes is told while it grows, and a scan's page ends
// when there is too much of it everywhere; the scan goes on.
func TestLargeResultsAreCounted(t *testing.T) {
	h := newHarness(t, nil)
	const rows, size = 100, 10 << 10
	value := strings.Repeat("v", size)
	for i := range rows {
		h.put("h", fmt.Sprintf("%03d", i), value, 0)
	}
	read := func(c *counter, code string, arg tbin.Encoder, answer tbin.Decoder) {
		t.Helper()
		res, err := h.store.Read(&ReadRequest{Code: code, Arg: argReader(arg), Memory: c})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Release()
		h.decode(res, answer)
	}
	c := &counter{limit: 1 << 40}
	var got idl.MultiGetResponse
	read(c, base.RPCMultiGet, &idl.MultiGetRequest{HashKey: []byte("h"), StartInclusive: true}, &got)
	if len(got.Kvs) != rows || c.used < rows*size || c.used > 4*rows*size {
		t.Errorf("multi_get: %d rows, %d bytes are counted", len(got.Kvs), c.used)
	}
	c = &counter{limit: 200 << 10}
	all, pages := 0, 0
	var page idl.ScanResponse
	read(c, base.RPCGetScanner, &idl.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}}, &page)
	for ; ; pages++ {
		all += len(page.Kvs)
		if c.used > 800<<10 {
			t.Errorf("page %d: %d bytes", pages, c.used)
		}
		if page.ContextId < 0 || pages > rows {
			break
		}
		c.used = 0
		id := page.ContextId
		page = idl.ScanResponse{}
		read(c, base.RPCScan, &idl.ScanRequest{ContextId: id}, &page)
	}
	if all != rows || pages < 2 {
		t.Errorf("%d rows in %d pages after the first", all, pages)
	}
	c = new(counter)
	read(c, base.RPCMultiGet, &idl.MultiGetRequest{HashKey: []byte("h"), StartInclusive: true, NoValue: true}, new(idl.MultiGetResponse))
	if c.used != 0 {
		t.Errorf("a small result: %d bytes", c.used)
	}
}
