package goclient

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/apache/incubator-pegasus/go-client/idl/base"
	"github.com/apache/incubator-pegasus/go-client/idl/rrdb"
	"github.com/apache/incubator-pegasus/go-client/pegasus"
)

func (w *walk) set(t *testing.T, h, s, v []byte) {
	t.Helper()
	noError(t, fmt.Sprintf("set %.20q", h), w.tb.Set(ctx(t), h, s, v))
}

// want checks that a record is there; a nil value says that it isn't.
func (w *walk) want(t *testing.T, h, s, v []byte) {
	t.Helper()
	got, err := w.tb.Get(ctx(t), h, s)
	noError(t, fmt.Sprintf("get %.20q", h), err)
	if (got == nil) != (v == nil) || !bytes.Equal(got, v) {
		t.Errorf("get %.20q %.20q: %d bytes %.40q (nil %v), want %d bytes %.40q", h, s, len(got), got, got == nil, len(v), v)
	}
}

func (w *walk) single(t *testing.T) {
	for i := range 40 { // all partitions
		h, s, v := w.key("single.%d", i), []byte("s"), []byte(fmt.Sprint("v", i))
		w.want(t, h, s, nil)
		exist, err := w.tb.Exist(ctx(t), h, s)
		noError(t, "exist", err)
		equal(t, "exist before set", exist, false)

		w.set(t, h, s, v)
		w.want(t, h, s, v)
		w.set(t, h, s, append(v, '2'))
		w.want(t, h, s, append(v, '2'))
		exist, err = w.tb.Exist(ctx(t), h, s)
		noError(t, "exist", err)
		equal(t, "exist", exist, true)

		noError(t, "del", w.tb.Del(ctx(t), h, s))
		w.want(t, h, s, nil)
		noError(t, "del of what is gone", w.tb.Del(ctx(t), h, s))
	}
}

func (w *walk) binary(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	h := append(w.key("bin"), all...)
	keys := [][]byte{{0}, {0, 0}, {0xff}, {0xff, 0xff}, {0xff, 0xff, 0xff, 0xff}, []byte("a\x00b"), {0x80, 0xc3, 0x28}, all}
	for _, s := range keys {
		w.set(t, h, s, append([]byte{0}, s...))
	}
	for _, s := range keys {
		w.want(t, h, s, append([]byte{0}, s...))
	}
	n, err := w.tb.SortKeyCount(ctx(t), h)
	noError(t, "count", err)
	equal(t, "sort keys", n, int64(len(keys)))
	kvs, _, err := w.tb.MultiGet(ctx(t), h, nil)
	noError(t, "multi get", err)
	equal(t, "rows", len(kvs), len(keys))
	for i := 1; i < len(kvs); i++ {
		if bytes.Compare(kvs[i-1].SortKey, kvs[i].SortKey) >= 0 {
			t.Errorf("rows aren't in the order of their bytes: %x before %x", kvs[i-1].SortKey, kvs[i].SortKey)
		}
	}
	noError(t, "multi del", w.tb.MultiDel(ctx(t), h, keys))

	long := bytes.Repeat([]byte{0xfe}, 65534) // the longest hash key
	copy(long, w.phase)
	w.set(t, long, []byte("s"), []byte("v"))
	w.want(t, long, []byte("s"), []byte("v"))
	noError(t, "del", w.tb.Del(ctx(t), long, []byte("s")))
	w.want(t, long, []byte("s"), nil)
}

func (w *walk) empty(t *testing.T) {
	h := w.key("empty")
	w.set(t, h, []byte{}, []byte("no sort key"))
	w.set(t, h, []byte("s"), []byte{})
	w.want(t, h, []byte{}, []byte("no sort key"))
	w.want(t, h, []byte("s"), []byte{})
	n, err := w.tb.SortKeyCount(ctx(t), h)
	noError(t, "count", err)
	equal(t, "sort keys", n, 2)
	kvs, all, err := w.tb.MultiGet(ctx(t), h, [][]byte{{}, []byte("s")})
	noError(t, "multi get", err)
	equal(t, "all fetched", all, true)
	if len(kvs) != 2 || len(kvs[0].SortKey) != 0 || string(kvs[0].Value) != "no sort key" || len(kvs[1].Value) != 0 {
		t.Errorf("multi get: %v", show(kvs))
	}
	noError(t, "del", w.tb.Del(ctx(t), h, []byte{}))
	w.want(t, h, []byte{}, nil)
}

// big: the limit of a write counts the whole body of the request, 1 MiB.
func (w *walk) big(t *testing.T) {
	for i, n := range []int{1000, 64 << 10, 1 << 19, 1000000, 1<<20 - 256} {
		h, v := w.key("big.%d", i), bytes.Repeat([]byte{byte(i), 0xff, 0}, n/3+1)[:n]
		w.set(t, h, []byte("s"), v)
		w.want(t, h, []byte("s"), v)
	}
	// Over the limit the server answers ERR_INVALID_DATA. The client's table retries that
	// until its time is over, so look at the answer one layer below.
	h := w.key("big.1") // some key, so that its partition can be asked for
	err := w.put(t, h, make([]byte, 1<<20))
	if err != base.ERR_INVALID_DATA {
		t.Errorf("a value of 1 MiB: %v, want ERR_INVALID_DATA", err)
	}
	w.want(t, h, []byte("s"), bytes.Repeat([]byte{1, 0xff, 0}, 64<<10/3+1)[:64<<10])
	w.set(t, h, []byte("s"), []byte("still served"))
	w.want(t, h, []byte("s"), []byte("still served"))
}

// put sends one put to the primary of the key's partition and returns the answer's error.
func (w *walk) put(t *testing.T, h, v []byte) error {
	t.Helper()
	cfg, err := w.meta.QueryConfig(ctx(t), table)
	noError(t, "query config", err)
	hash := crc64(h)
	part := cfg.Partitions[hash%uint64(len(cfg.Partitions))]
	key := append([]byte{byte(len(h) >> 8), byte(len(h))}, h...)
	_, err = w.nodes.GetReplica(part.Primary.GetAddress()).Put(ctx(t), part.Pid, hash,
		&rrdb.UpdateRequest{Key: &base.Blob{Data: append(key, 's')}, Value: &base.Blob{Data: v}})
	return err
}

func (w *walk) ttl(t *testing.T) {
	h, s := w.key("ttl"), []byte("s")
	left, err := w.tb.TTL(ctx(t), h, s)
	noError(t, "ttl", err)
	equal(t, "ttl of nothing", left, -2)
	w.set(t, h, s, []byte("v"))
	left, err = w.tb.TTL(ctx(t), h, s)
	noError(t, "ttl", err)
	equal(t, "ttl without expiry", left, -1)
	noError(t, "set ttl", w.tb.SetTTL(ctx(t), h, s, []byte("v"), 1000*time.Second))
	left, err = w.tb.TTL(ctx(t), h, s)
	noError(t, "ttl", err)
	if left < 970 || left > 1000 {
		t.Errorf("ttl: %d, want about 1000", left)
	}
	if err := w.tb.SetTTL(ctx(t), h, s, []byte("v"), -10*time.Second); err == nil {
		t.Error("a negative ttl was accepted")
	}

	// Expired records are gone for every kind of read.
	e := w.key("ttl.short")
	noError(t, "multi set", w.tb.MultiSetOpt(ctx(t), e, bs("a", "b"), bs("1", "2"), 2*time.Second))
	noError(t, "set ttl", w.tb.SetTTL(ctx(t), e, []byte("c"), []byte("3"), time.Second))
	w.set(t, e, []byte("d"), []byte("4"))
	n, err := w.tb.SortKeyCount(ctx(t), e)
	noError(t, "count", err)
	if n < 3 {
		t.Errorf("count before expiry: %d", n)
	}
	deadline := time.Now().Add(20 * time.Second)
	for n != 1 {
		if time.Now().After(deadline) {
			t.Fatalf("%d records after 20 s, want 1", n)
		}
		<-time.After(50 * time.Millisecond)
		n, err = w.tb.SortKeyCount(ctx(t), e)
		noError(t, "count", err)
	}
	for _, gone := range bs("a", "b", "c") {
		w.want(t, e, gone, nil)
		left, err := w.tb.TTL(ctx(t), e, gone)
		noError(t, "ttl", err)
		equal(t, "ttl of an expired record", left, -2)
	}
	kvs, all, err := w.tb.MultiGet(ctx(t), e, nil)
	noError(t, "multi get", err)
	if len(kvs) != 1 || !all || string(kvs[0].SortKey) != "d" {
		t.Errorf("multi get: %v all %v", show(kvs), all)
	}
	equal(t, "rows of a scan", len(w.scan(t, e, nil, nil, pegasus.NewScanOptions())), 1)
}

func (w *walk) batchGet(t *testing.T) {
	var keys []pegasus.CompositeKey
	for i := range 20 {
		h, s := w.key("batch.%d", i), []byte(fmt.Sprint(i))
		if i%4 != 0 {
			w.set(t, h, s, []byte(fmt.Sprint("v", i)))
		}
		keys = append(keys, pegasus.CompositeKey{HashKey: h, SortKey: s})
	}
	vs, err := w.tb.BatchGet(ctx(t), keys)
	noError(t, "batch get", err)
	equal(t, "values", len(vs), 20)
	for i, v := range vs {
		if want := fmt.Sprint("v", i); (i%4 == 0) != (v == nil) || v != nil && string(v) != want {
			t.Errorf("value %d: %q", i, v)
		}
	}
	if _, err := w.tb.BatchGet(ctx(t), nil); err == nil {
		t.Error("a batch get of nothing was accepted")
	}
}

func (w *walk) errors(t *testing.T) {
	c, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	_, err := w.client.OpenTable(c, "no_such_table")
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("ERR_OBJECT_NOT_FOUND")) {
		t.Errorf("open of a table that isn't there: %v, want ERR_OBJECT_NOT_FOUND", err)
	}
	// A gpid that isn't there.
	cfg, err := w.meta.QueryConfig(ctx(t), table)
	noError(t, "query config", err)
	rs := w.nodes.GetReplica(cfg.Partitions[0].Primary.GetAddress())
	_, err = rs.Get(ctx(t), &base.Gpid{Appid: 77, PartitionIndex: 3}, 3, &base.Blob{Data: []byte{0, 1, 'a'}})
	if err != base.ERR_OBJECT_NOT_FOUND {
		t.Errorf("get of gpid 77.3: %v, want ERR_OBJECT_NOT_FOUND", err)
	}
	// A secondary refuses reads and writes.
	if sec := cfg.Partitions[0].Secondaries; len(sec) == 0 {
		t.Error("partition 0 has no secondary")
	} else {
		_, err = w.nodes.GetReplica(sec[0].GetAddress()).Get(ctx(t), cfg.Partitions[0].Pid, 0, &base.Blob{Data: []byte{0, 1, 'a'}})
		if err != base.ERR_INVALID_STATE {
			t.Errorf("get from a secondary: %v, want ERR_INVALID_STATE", err)
		}
	}
	// What the client refuses itself never reaches a server, and doesn't hurt it.
	if err := w.tb.Set(ctx(t), make([]byte, 65536), []byte("s"), []byte("v")); err == nil {
		t.Error("a hash key of 65536 bytes was accepted")
	}
	w.set(t, w.key("after errors"), []byte("s"), []byte("v"))
}

// crc64 is the client's hash of a hash key, taken from the definition (reversed polynomial,
// all ones in and out), not from the client.
func crc64(b []byte) uint64 {
	crc := ^uint64(0)
	for _, c := range b {
		crc ^= uint64(c)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0x9a6c9329ac4bc9b5
			} else {
				crc >>= 1
			}
		}
	}
	return ^crc
}
