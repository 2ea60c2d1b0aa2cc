package rrdb

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestOverlayAgainstList compares lookups with a search through everything in flight.
func TestOverlayAgainstList(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		o := NewOverlay()
		var list []flight
		var payload []byte
		decree := int64(0)
		for step := range 400 {
			switch n := rng.IntN(20); {
			case n < 9:
				for range 1 + rng.IntN(3) {
					op := Op{Key: rowKey("h", fmt.Sprint(rng.IntN(12))), Value: fmt.Append(nil, step), Delete: rng.IntN(4) == 0}
					payload = AppendOp(payload, op)
				}
			case n < 12:
				decree++
				o.Add(decree, 1, payload)
				list = append(list, flight{decree: decree, payload: payload})
				payload = nil
			case n < 13:
				payload = nil
				o.Discard()
			case n < 15 && len(list) > 0:
				n := rng.IntN(len(list)) + 1
				o.Remove(list[n-1].decree)
				list = list[n:]
			case n == 15 && rng.IntN(10) == 0:
				o.Reset()
				list, payload = nil, nil
			default:
				key := rowKey("h", fmt.Sprint(rng.IntN(12)))
				want, found := lastOp(payload, key)
				for i := len(list) - 1; i >= 0 && !found; i-- {
					want, found = lastOp(list[i].payload, key)
				}
				got, ok := o.Lookup(key, payload)
				if ok != found || got.Delete != want.Delete || !bytes.Equal(got.Value, want.Value) || ok && !bytes.Equal(got.Key, key) {
					t.Fatalf("seed %d step %d: %q is %+v %t, should be %+v %t", seed, step, key, got, ok, want, found)
				}
			}
			if o.Len() != len(list) {
				t.Fatalf("seed %d step %d: %d mutations, should be %d", seed, step, o.Len(), len(list))
			}
		}
		o.Remove(decree)
		payload = nil
		o.Discard()
		if _, ok := o.Lookup(rowKey("h", "1"), payload); ok || o.Len() != 0 {
			t.Errorf("seed %d: something is left", seed)
		}
	}
}

// TestOverlayHashCollision puts two keys into one place of the index.
func TestOverlayHashCollision(t *testing.T) {
	o := NewOverlay()
	a, b := rowKey("h", "a"), rowKey("h", "b")
	o.Add(1, 1, AppendOp(AppendOp(nil, Op{Key: a, Value: []byte("1")}), Op{Key: b, Value: []byte("2")}))
	if _, ok := o.Lookup(a, nil); !ok {
		t.Fatal("not found")
	}
	for h := range o.index {
		o.index[h] = place{0, len(AppendOp(nil, Op{Key: a, Value: []byte("1")}))}
	}
	if op, ok := o.Lookup(a, nil); !ok || string(op.Value) != "1" {
		t.Errorf("the key that lost its place: %+v, %t", op, ok)
	}
	if op, ok := o.Lookup(b, nil); !ok || string(op.Value) != "2" {
		t.Errorf("the key that has it: %+v, %t", op, ok)
	}
}

// TestEvaluateWithoutOverlay sees the payload alone.
func TestEvaluateWithoutOverlay(t *testing.T) {
	h := newHarness(t, nil)
	h.ov = nil
	key := rowKey("h", "n")
	h.payload = AppendOp(nil, Op{Key: key, Value: []byte("41")})
	if op, ok := lastOp(h.payload, key); !ok || string(op.Value) != "41" {
		t.Fatalf("%+v", op)
	}
	e := evaluation{s: h.store.reader, payload: h.payload}
	if r, code := e.current(key); code != codeOK || string(r.data) != "41" {
		t.Errorf("%q, %d", r.data, code)
	}
}
