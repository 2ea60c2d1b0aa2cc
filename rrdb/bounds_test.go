package rrdb

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
)

// everyWrite returns a write of each kind, with a hash key of so many bytes and so many rows.
func everyWrite(hashKey, rows int) map[string]tbin.Encoder {
	h := bytes.Repeat([]byte("h"), hashKey)
	put := &idl.MultiPutRequest{HashKey: h, ExpireTsSeconds: 5000}
	remove := &idl.MultiRemoveRequest{HashKey: h}
	mutate := &idl.CheckAndMutateRequest{HashKey: h, CheckType: idl.CT_NO_CHECK}
	for i := range rows {
		k := []byte(strconv.Itoa(i))
		put.Kvs = append(put.Kvs, idl.KeyValue{Key: k, Value: k})
		remove.SortKeys = append(remove.SortKeys, k)
		mutate.MutateList = append(mutate.MutateList, idl.Mutate{Operation: idl.MutateOperation(i % 2), SortKey: k, Value: k, SetExpireTsSeconds: 5000})
	}
	key := rowKey(string(h), "s")
	return map[string]tbin.Encoder{
		base.RPCPut: &idl.UpdateRequest{Key: key, Value: []byte("v"), ExpireTsSeconds: 5000}, base.RPCRemove: blobArg(key),
		base.RPCMultiPut: put, base.RPCMultiRemove: remove, base.RPCIncr: &idl.IncrRequest{Key: key, Increment: 1, ExpireTsSeconds: 5000},
		base.RPCCheckAndSet:    &idl.CheckAndSetRequest{HashKey: h, CheckType: idl.CT_NO_CHECK, CheckSortKey: []byte("s"), SetValue: []byte("v"), SetExpireTsSeconds: 5000},
		base.RPCCheckAndMutate: mutate,
	}
}

// TestWriteBounds: no write adds more to a payload than it may, whatever it is; one that could
// is refused, and one that doesn't fit into what others have filled is left for the next.
func TestWriteBounds(t *testing.T) {
	h := newHarness(t, nil)
	evaluate := func(code string, arg tbin.Encoder, most, room int, before []byte) ([]byte, Reply, error) {
		p, reply, _, err := h.store.Evaluate(&WriteRequest{Code: code, Arg: argReader(arg), MaxBytes: most, Room: room}, nil, before)
		return p, reply, err
	}
	before := []byte("before")
	for _, rows := range []int{1, 2, 700} {
		for _, hashKey := range []int{1, 300, 60_000} {
			for code, arg := range everyWrite(hashKey, rows) {
				name := fmt.Sprintf("%s, %d rows, hash key of %d bytes", code, rows, hashKey)
				p, reply, err := evaluate(code, arg, 0, 0, before)
				if err != nil || reply.Refused() {
					t.Fatalf("%s: %v, refused: %v", name, err, reply.Refused())
				}
				size := len(p) - len(before)
				// What it takes at most isn't much more than what it takes.
				bound := size + maxOpOverhead*rows + 8*rows + 40
				for most := range map[int]bool{1: true, size / 2: true, size - 1: true, size: true, bound: true} {
					p, reply, err := evaluate(code, arg, most, 0, before)
					switch {
					case err != nil:
						t.Errorf("%s, at most %d bytes: %v", name, most, err)
					case reply.Refused() && (len(p) != len(before) || reply.code != codeInvalidArgument || !reply.TooLarge()):
						t.Errorf("%s, at most %d bytes: refused with code %d, and %d bytes added", name, most, reply.code, len(p)-len(before))
					case reply.Refused() && most >= bound:
						t.Errorf("%s takes %d bytes, and is refused where %d may be", name, size, most)
					case len(p)-len(before) > most:
						t.Errorf("%s takes %d bytes where %d may be", name, len(p)-len(before), most)
					}
					p, _, err = evaluate(code, arg, 0, most, before)
					if err != nil && (!errors.Is(err, ErrNoRoom) || len(p) != len(before)) || err == nil && len(p)-len(before) > most {
						t.Errorf("%s, room for %d bytes: %v, %d bytes added", name, most, err, len(p)-len(before))
					}
				}
			}
		}
	}
}

// TestRefusalTakesNoMemory: a request of 1 MB that would become gigabytes is refused before
// anything of them is made.
func TestRefusalTakesNoMemory(t *testing.T) {
	h := newHarness(t, nil)
	writes := everyWrite(65_000, 60_000)
	for _, code := range []string{base.RPCMultiPut, base.RPCMultiRemove, base.RPCCheckAndMutate} {
		arg := argReader(writes[code])
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		had := m.TotalAlloc
		_, reply, _, err := h.store.Evaluate(&WriteRequest{Code: code, Arg: arg, MaxBytes: 24 << 20}, nil, nil)
		if err != nil || !reply.TooLarge() {
			t.Errorf("%s: %v", code, err)
		}
		runtime.ReadMemStats(&m)
		// The lists of what stands in the request.
		if n := m.TotalAlloc - had; n > 20<<20 {
			t.Errorf("%s: %d bytes of memory", code, n)
		}
	}
}
