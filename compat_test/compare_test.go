package compat

import (
	"fmt"
	"reflect"
	"testing"

	"pegasus/base"
	"pegasus/compat_test/cluster"
	"pegasus/compat_test/wire"
	"pegasus/gen/rrdb"
	"pegasus/gen/value"
)

// TestCompare checks the comparison itself: that it finds nothing between equal answers, and
// what it must find between others.
func TestCompare(t *testing.T) {
	make := func(change func(*rrdb.MultiGetResponse)) value.Value {
		r := &rrdb.MultiGetResponse{
			Error: 7, AppId: 1, PartitionIndex: 3, Server: "127.0.0.1:34801",
			Kvs: []rrdb.KeyValue{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b"), Value: []byte{0, 0xff}, ExpireTsSeconds: base.Some[int32](5)}},
		}
		if change != nil {
			change(r)
		}
		return r
	}
	p := &player{t: t, c: new(cluster.Cluster), decrees: map[base.Gpid]int64{}, differences: map[string]int{}}
	c := &call{frame: &wire.Frame{Code: "RPC_RRDB_RRDB_MULTI_GET"}, addr: "127.0.0.1:1"}
	if bad := p.compare(c, make(nil), make(nil)); len(bad) != 0 {
		t.Errorf("equal answers differ: %v", bad)
	}
	for name, change := range map[string]func(*rrdb.MultiGetResponse){
		"error":        func(r *rrdb.MultiGetResponse) { r.Error = 0 },
		"partition":    func(r *rrdb.MultiGetResponse) { r.PartitionIndex = 2 },
		"server":       func(r *rrdb.MultiGetResponse) { r.Server = "127.0.0.1:2" },
		"row less":     func(r *rrdb.MultiGetResponse) { r.Kvs = r.Kvs[:1] },
		"row more":     func(r *rrdb.MultiGetResponse) { r.Kvs = append(r.Kvs, rrdb.KeyValue{}) },
		"order":        func(r *rrdb.MultiGetResponse) { r.Kvs[0], r.Kvs[1] = r.Kvs[1], r.Kvs[0] },
		"key":          func(r *rrdb.MultiGetResponse) { r.Kvs[0].Key = []byte("A") },
		"value":        func(r *rrdb.MultiGetResponse) { r.Kvs[1].Value = []byte{0, 0xfe} },
		"expiry":       func(r *rrdb.MultiGetResponse) { r.Kvs[1].ExpireTsSeconds.V = 6 },
		"field absent": func(r *rrdb.MultiGetResponse) { r.Kvs[1].ExpireTsSeconds.Set = false },
		"field there":  func(r *rrdb.MultiGetResponse) { r.Kvs[0].ExpireTsSeconds = base.Some[int32](0) },
	} {
		if bad := p.compare(c, make(nil), make(change)); len(bad) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
	if bad := p.compare(c, make(nil), make(func(r *rrdb.MultiGetResponse) { r.Server = c.addr })); len(bad) != 0 {
		t.Errorf("a server's own name isn't tolerated: %v", bad)
	}
}

// TestShiftExpiry: times of expiry are moved, TTLs sent in their place are not.
func TestShiftExpiry(t *testing.T) {
	p := &player{shift: 1000}
	for _, c := range []struct {
		in, out int32
	}{{0, 0}, {100, 100}, {343785868, 343786868}} {
		put := &rrdb.UpdateRequest{ExpireTsSeconds: c.in}
		cas := &rrdb.CheckAndSetRequest{SetExpireTsSeconds: c.in}
		cam := &rrdb.CheckAndMutateRequest{MutateList: []rrdb.Mutate{{}, {SetExpireTsSeconds: c.in}}}
		for _, v := range []any{put, cas, cam} {
			if changed := p.shiftExpiry(reflect.ValueOf(v).Elem()); changed != (c.in != c.out) {
				t.Errorf("%T with %d: changed %v", v, c.in, changed)
			}
		}
		if got := fmt.Sprint(put.ExpireTsSeconds, cas.SetExpireTsSeconds, cam.MutateList[1].SetExpireTsSeconds); got != fmt.Sprint(c.out, c.out, c.out) {
			t.Errorf("%d became %s, want %d", c.in, got, c.out)
		}
	}
}
