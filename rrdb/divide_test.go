package rrdb

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/dupinternal"
	idl "pegasus/gen/rrdb"
)

// partitionOf is a partition of a table, with what it was given.
type partitionOf struct {
	*harness
	lost, writes int
}

// receiveDivided gives a request to a partition of a table, and its parts to theirs, as a server does.
func receiveDivided(t *testing.T, table []*partitionOf, here int32, arg tbin.Encoder, most int) (parts int) {
	t.Helper()
	give := func(to int32, arg tbin.Encoder) error {
		h := table[to]
		payload, _, touched, err := h.store.Evaluate(&WriteRequest{Code: base.RPCDuplicate, Arg: argReader(arg), Cluster: 2, MaxBytes: most}, h.ov, nil)
		if err != nil {
			if len(payload) > 0 {
				t.Fatal("an error, and a payload")
			}
			return err
		}
		h.lost += touched.Dup.Lost
		h.writes += touched.Dup.Writes
		if len(payload) > 0 {
			h.payload = payload
			h.propose()
			h.apply()
		}
		return nil
	}
	err := give(here, arg)
	if err == nil {
		return 0
	}
	if !errors.Is(err, ErrDivide) {
		t.Fatal(err)
	}
	list, _, err := Divide(argReader(arg), here, int32(len(table)))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.Partition != here && int32(p.Hash%uint64(len(table))) != p.Partition {
			t.Fatalf("hash %x doesn't lead to partition %d", p.Hash, p.Partition)
		}
		if err := give(p.Partition, p.Request); err != nil {
			t.Fatalf("part %+v: %v", p, err)
		}
	}
	return len(list)
}

func newTable(t *testing.T, partitions int32) (table []*partitionOf) {
	for i := range partitions {
		h := newReceiver(t)
		h.store.id.partition = i
		h.store.SetPartitionCount(partitions)
		table = append(table, &partitionOf{harness: h})
	}
	return table
}

// A batch goes to the partition of its last write in both forms; whatever partitions its rows belong to, and however much
// they take with their hash keys, each is applied where it belongs, in the order that it was sent in.
func TestDivide(t *testing.T) {
	const ts = 1_700_000_000_000_000
	for _, partitions := range []int32{1, 3, 8} {
		table := newTable(t, partitions)
		want := map[string]string{}
		put := func(k, v string) { want[k] = v }
		var q dupinternal.DuplicateRequest
		for i := range 40 {
			h := fmt.Sprint("h", i)
			q.Entries = append(q.Entries,
				sent(base.RPCPut, ts+int64(i), 3, &idl.UpdateRequest{Key: rowKey(h, "s"), Value: []byte("1")}),
				sent(base.RPCPut, ts+int64(i), 3, &idl.UpdateRequest{Key: rowKey(h, "s"), Value: []byte("2")}), // of the same mutation
				sent(base.RPCMultiPut, ts+int64(i), 3, &idl.MultiPutRequest{HashKey: []byte(h), Kvs: []idl.KeyValue{{Key: []byte("m"), Value: []byte("3")}, {Key: []byte("gone"), Value: []byte("3")}}}),
				sent(base.RPCMultiRemove, ts+int64(i), 3, &idl.MultiRemoveRequest{HashKey: []byte(h), SortKeys: [][]byte{[]byte("gone"), []byte("x")}}))
			put(string(rowKey(h, "s")), "2")
			put(string(rowKey(h, "m")), "3")
		}
		// A multi_put without a hash key has a row in each partition.
		var kvs []idl.KeyValue
		for i := range 40 {
			s := fmt.Sprint("free", i)
			kvs = append(kvs, idl.KeyValue{Key: []byte(s), Value: []byte("4")})
			put(string(rowKey("", s)), "4")
		}
		bad := sent(base.RPCIncr, ts, 3, &idl.IncrRequest{Key: rowKey("h", "bad"), Increment: 1})
		q.Entries = append(q.Entries, sent(base.RPCMultiPut, ts, 3, &idl.MultiPutRequest{Kvs: kvs}), bad)
		here := int32(0)
		parts := receiveDivided(t, table, here, &q, 1<<20)
		if int32(parts) != partitions && partitions > 1 || partitions == 1 && parts != 0 {
			t.Errorf("%d partitions: %d parts", partitions, parts)
		}
		// The form of before upstream's 2.4.
		for i := range 10 {
			h := fmt.Sprint("one", i)
			one := sent(base.RPCPut, ts, 3, &idl.UpdateRequest{Key: rowKey(h, "s"), Value: []byte("5")})
			receiveDivided(t, table, here, &one, 1<<20)
			put(string(rowKey(h, "s")), "5")
		}
		// Again: nothing changes.
		receiveDivided(t, table, partitions-1, &q, 1<<20)

		// More than a mutation may have: cut, also within a multi_put.
		long := strings.Repeat("l", 60000)
		var many idl.MultiPutRequest
		many.HashKey = []byte(long)
		for i := range 100 {
			s := fmt.Sprint(i)
			many.Kvs = append(many.Kvs, idl.KeyValue{Key: []byte(s), Value: []byte("6")})
			put(string(rowKey(long, s)), "6")
		}
		large := &dupinternal.DuplicateRequest{Entries: []dupinternal.DuplicateEntry{sent(base.RPCMultiPut, ts, 3, &many)}}
		if n := receiveDivided(t, table, int32(base.HashOfKey(rowKey(long, ""))%uint64(partitions)), large, 5<<20); n != 2 {
			t.Errorf("6 MB travel in %d parts", n)
		}

		lost, rows := 0, map[string]string{}
		for i, p := range table {
			lost += p.lost
			for k := range want {
				if r, code := p.store.lookup([]byte(k), 1); code == codeOK {
					if !inPartition([]byte(k), int32(i), partitions) {
						t.Errorf("%d partitions: row %.20q is in partition %d", partitions, k, i)
					}
					rows[k] = string(bytes.Clone(r.data))
					_ = r.closer.Close()
				}
			}
			if p.has(rowKey("h1", "gone")) {
				t.Error("a removed row is there")
			}
		}
		if !maps.Equal(rows, want) {
			t.Errorf("%d partitions: %d rows, want %d", partitions, len(rows), len(want))
		}
		if lost != 2 {
			t.Errorf("%d partitions: %d lost, want the increment, twice", partitions, lost)
		}
	}
}

// A part for another partition, since the number of partitions changed meanwhile, isn't taken apart again, and not lost: it's an error.
func TestDividedOnce(t *testing.T) {
	h := newReceiver(t)
	h.store.SetPartitionCount(4)
	q := &dupinternal.DuplicateRequest{Divided: base.Some(true), Entries: []dupinternal.DuplicateEntry{
		sent(base.RPCPut, 7, 3, &idl.UpdateRequest{Key: keyIn(t, 2, 4, "here"), Value: []byte("v")}), sent(base.RPCPut, 7, 3, &idl.UpdateRequest{Key: keyIn(t, 1, 4, "there"), Value: []byte("v")})}}
	payload, _, touched, err := h.store.Evaluate(&WriteRequest{Code: base.RPCDuplicate, Arg: argReader(q), Cluster: 2}, h.ov, nil)
	if base.CodeOf(err) != base.ErrInconsistentState || errors.Is(err, ErrDivide) || len(payload) > 0 || touched.Dup != nil {
		t.Errorf("%d bytes, %+v, %v", len(payload), touched, err)
	}
	if _, _, err := Divide(*tbin.NewReader([]byte{15, 0, 1}), 0, 4); base.CodeOf(err) != base.ErrInvalidData {
		t.Error(err)
	}
}

// Whatever a request is, no row of it gets lost or doubled by being taken apart, and its parts are small.
func FuzzDivide(f *testing.F) {
	q := &dupinternal.DuplicateRequest{Entries: []dupinternal.DuplicateEntry{
		sentPut(1, 3, "a", "v"), sentRemove(2, 3, "b"),
		sent(base.RPCMultiPut, 3, 3, &idl.MultiPutRequest{HashKey: []byte("h"), Kvs: []idl.KeyValue{{Key: []byte("d"), Value: []byte("4")}, {Key: []byte("e")}}}),
		sent(base.RPCMultiRemove, 4, 3, &idl.MultiRemoveRequest{SortKeys: [][]byte{[]byte("b"), []byte("x")}})}}
	f.Add(q.AppendThrift(nil), int32(4))
	one := sentPut(1, 3, "a", "v")
	f.Add(one.AppendThrift(nil), int32(1))
	f.Fuzz(func(t *testing.T, b []byte, partitions int32) {
		partitions = partitions&15 + 1
		parts, _, err := Divide(*tbin.NewReader(b), 0, partitions)
		if err != nil {
			return
		}
		count := func(ws []dupinternal.DuplicateEntry) (rows map[string]int) {
			rows = map[string]int{}
			for i := range ws {
				list, _ := decodeSent(&ws[i], nil)
				for k := range list {
					rows[fmt.Sprintf("%x %x %d %t %v", list[k].key(), list[k].value, list[k].expireTS, list[k].remove, ws[i].Timestamp)]++
				}
			}
			return rows
		}
		r := tbin.NewReader(b)
		whole := readDuplicates(r)
		all := map[string]int{}
		for _, p := range parts {
			var back dupinternal.DuplicateRequest
			back.ReadThrift(tbin.NewReader(p.Request.AppendThrift(nil)))
			for k, n := range count(back.Entries) {
				all[k] += n
			}
		}
		if !maps.Equal(all, count(whole.Entries)) {
			t.Fatalf("%d rows, want %d", len(all), len(count(whole.Entries)))
		}
	})
}
