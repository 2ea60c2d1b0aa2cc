package goclient

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/incubator-pegasus/go-client/pegasus"
)

func bs(ss ...string) [][]byte {
	out := make([][]byte, len(ss))
	for i, s := range ss {
		out[i] = []byte(s)
	}
	return out
}

func show(kvs []*pegasus.KeyValue) string {
	var sb strings.Builder
	for _, kv := range kvs {
		fmt.Fprintf(&sb, "%.10q=%.10q ", kv.SortKey, kv.Value)
	}
	return strings.TrimSpace(sb.String())
}

// names returns the sort keys, one space between.
func names(kvs []*pegasus.KeyValue) string {
	var ss []string
	for _, kv := range kvs {
		ss = append(ss, string(kv.SortKey))
	}
	return strings.Join(ss, " ")
}

func (w *walk) multi(t *testing.T) {
	h := w.key("multi")
	noError(t, "multi set", w.tb.MultiSet(ctx(t), h, bs("a", "b", "c", ""), bs("1", "2", "3", "0")))
	kvs, all, err := w.tb.MultiGet(ctx(t), h, nil)
	noError(t, "multi get all", err)
	equal(t, "rows", show(kvs), `""="0" "a"="1" "b"="2" "c"="3"`)
	equal(t, "all fetched", all, true)
	kvs, all, err = w.tb.MultiGet(ctx(t), h, bs("c", "nope", "a"))
	noError(t, "multi get of some", err)
	equal(t, "all fetched", all, true)
	if n := names(kvs); n != "a c" && n != "c a" {
		t.Errorf("multi get of c, nope, a: %s", show(kvs))
	}
	noError(t, "multi set", w.tb.MultiSetOpt(ctx(t), h, bs("d"), bs("4"), 500*time.Second))
	left, err := w.tb.TTL(ctx(t), h, []byte("d"))
	noError(t, "ttl", err)
	if left < 470 || left > 500 {
		t.Errorf("ttl after multi set: %d", left)
	}
	noError(t, "multi del", w.tb.MultiDel(ctx(t), h, bs("a", "", "nope")))
	kvs, _, err = w.tb.MultiGet(ctx(t), h, nil)
	noError(t, "multi get", err)
	equal(t, "rows left", names(kvs), "b c d")
	kvs, all, err = w.tb.MultiGet(ctx(t), w.key("multi.none"), nil)
	noError(t, "multi get of nothing", err)
	if kvs != nil || !all {
		t.Errorf("multi get of nothing: %s, all %v", show(kvs), all)
	}
}

// fill writes 250 rows s000 ... s249 under a hash key, values of 100 bytes.
func (w *walk) fill(t *testing.T, h []byte) {
	var ks, vs [][]byte
	for i := range 250 {
		ks = append(ks, []byte(fmt.Sprintf("s%03d", i)))
		vs = append(vs, bytes.Repeat([]byte{byte(i)}, 100))
	}
	noError(t, "multi set", w.tb.MultiSet(ctx(t), h, ks, vs))
}

func (w *walk) multiOptions(t *testing.T) {
	h := w.key("options")
	w.fill(t, h)

	kvs, all, err := w.tb.MultiGet(ctx(t), h, nil) // the defaults fetch 100
	noError(t, "multi get", err)
	if len(kvs) != 100 || all || string(kvs[99].SortKey) != "s099" {
		t.Errorf("multi get with defaults: %d rows, all %v", len(kvs), all)
	}

	filter := func(ft pegasus.FilterType, p string) pegasus.Filter {
		return pegasus.Filter{Type: ft, Pattern: []byte(p)}
	}
	for _, c := range []struct {
		name        string
		o           pegasus.MultiGetOptions
		n           int
		all         bool
		first, last string
	}{
		{"everything", pegasus.MultiGetOptions{StartInclusive: true}, 250, true, "s000", "s249"},
		{"count", pegasus.MultiGetOptions{StartInclusive: true, MaxFetchCount: 7}, 7, false, "s000", "s006"},
		{"count reverse", pegasus.MultiGetOptions{StartInclusive: true, MaxFetchCount: 7, Reverse: true}, 7, false, "s243", "s249"},
		{"all reverse", pegasus.MultiGetOptions{StartInclusive: true, Reverse: true}, 250, true, "s000", "s249"},
		// A row is 104 bytes; the one that crosses the limit is in the answer.
		{"size", pegasus.MultiGetOptions{StartInclusive: true, MaxFetchSize: 1000}, 10, false, "s000", "s009"},
		{"one byte", pegasus.MultiGetOptions{StartInclusive: true, MaxFetchSize: 1}, 1, false, "s000", "s000"},
		{"prefix", pegasus.MultiGetOptions{StartInclusive: true, SortKeyFilter: filter(pegasus.FilterTypeMatchPrefix, "s12")}, 10, true, "s120", "s129"},
		{"prefix reverse", pegasus.MultiGetOptions{StartInclusive: true, SortKeyFilter: filter(pegasus.FilterTypeMatchPrefix, "s12"), Reverse: true, MaxFetchCount: 3}, 3, false, "s127", "s129"},
		{"postfix", pegasus.MultiGetOptions{StartInclusive: true, SortKeyFilter: filter(pegasus.FilterTypeMatchPostfix, "7")}, 25, true, "s007", "s247"},
		{"anywhere", pegasus.MultiGetOptions{StartInclusive: true, SortKeyFilter: filter(pegasus.FilterTypeMatchAnywhere, "24")}, 13, true, "s024", "s249"},
		{"no match", pegasus.MultiGetOptions{StartInclusive: true, SortKeyFilter: filter(pegasus.FilterTypeMatchPrefix, "t")}, 0, true, "", ""},
		{"no value", pegasus.MultiGetOptions{StartInclusive: true, NoValue: true, MaxFetchCount: 5}, 5, false, "s000", "s004"},
	} {
		kvs, all, err := w.tb.MultiGetOpt(ctx(t), h, nil, &c.o)
		noError(t, c.name, err)
		if len(kvs) != c.n || all != c.all {
			t.Errorf("%s: %d rows, all %v, want %d, %v", c.name, len(kvs), all, c.n, c.all)
			continue
		}
		if c.n > 0 && (string(kvs[0].SortKey) != c.first || string(kvs[c.n-1].SortKey) != c.last) {
			t.Errorf("%s: %s to %s, want %s to %s", c.name, kvs[0].SortKey, kvs[c.n-1].SortKey, c.first, c.last)
		}
		for _, kv := range kvs {
			if c.o.NoValue != (len(kv.Value) == 0) {
				t.Errorf("%s: value of %s has %d bytes", c.name, kv.SortKey, len(kv.Value))
			}
		}
	}
	// Named sort keys: the limit of the count holds too.
	kvs, all, err = w.tb.MultiGetOpt(ctx(t), h, bs("s001", "s002", "s003"), &pegasus.MultiGetOptions{MaxFetchCount: 2})
	noError(t, "named", err)
	if len(kvs) != 2 || all {
		t.Errorf("2 of 3 named: %s, all %v", show(kvs), all)
	}
}

func (w *walk) multiRange(t *testing.T) {
	h := w.key("range")
	w.fill(t, h)
	kvs, all, err := w.tb.MultiGetRange(ctx(t), h, []byte("s010"), []byte("s020"))
	noError(t, "multi get range", err)
	if len(kvs) != 10 || !all || string(kvs[0].SortKey) != "s010" || string(kvs[9].SortKey) != "s019" {
		t.Errorf("[s010, s020): %s, all %v", names(kvs), all)
	}
	for _, c := range []struct {
		start, stop       string
		startInc, stopInc bool
		reverse           bool
		max               int
		want              string
		all               bool
	}{
		{"s010", "s013", true, true, false, 0, "s010 s011 s012 s013", true},
		{"s010", "s013", false, true, false, 0, "s011 s012 s013", true},
		{"s010", "s013", true, false, false, 0, "s010 s011 s012", true},
		{"s010", "s013", false, false, false, 0, "s011 s012", true},
		{"s010", "s010", true, true, false, 0, "s010", true},
		{"s010", "s010", true, false, false, 0, "", true},
		{"s013", "s010", true, true, false, 0, "", true},
		{"s0105", "s012", true, true, false, 0, "s011 s012", true},
		{"", "s001", true, true, false, 0, "s000 s001", true},
		{"s248", "", true, false, false, 0, "s248 s249", true},
		{"s010", "s020", true, true, true, 2, "s019 s020", false},
		{"s010", "s020", true, false, true, 2, "s018 s019", false},
		{"s010", "s013", false, false, true, 0, "s011 s012", true},
		{"", "", true, false, true, 2, "s248 s249", false},
	} {
		o := &pegasus.MultiGetOptions{StartInclusive: c.startInc, StopInclusive: c.stopInc, Reverse: c.reverse, MaxFetchCount: c.max}
		kvs, all, err := w.tb.MultiGetRangeOpt(ctx(t), h, []byte(c.start), []byte(c.stop), o)
		noError(t, "multi get range", err)
		if names(kvs) != c.want || all != c.all {
			t.Errorf("%+v: %s, all %v", c, names(kvs), all)
		}
	}
}

func (w *walk) sortKeyCount(t *testing.T) {
	h := w.key("count")
	n, err := w.tb.SortKeyCount(ctx(t), h)
	noError(t, "count", err)
	equal(t, "count of nothing", n, 0)
	w.fill(t, h)
	n, err = w.tb.SortKeyCount(ctx(t), h)
	noError(t, "count", err)
	equal(t, "count", n, 250)
}
