package rrdb

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
)

func TestParseInt(t *testing.T) {
	good := map[string]int64{
		"0": 0, "-0": 0, "00": 0, "7": 7, "+5": 5, "-12": -12, " 12": 12, "\t\n\v\f\r 12": 12,
		"0x10": 16, "0XfF": 255, "-0x1": -1, "010": 8, "-017": -15,
		"9223372036854775807": 1<<63 - 1, "-9223372036854775808": -1 << 63,
		"0x7fffffffffffffff": 1<<63 - 1, "-0x8000000000000000": -1 << 63,
		"0777777777777777777777": 1<<63 - 1,
	}
	for s, want := range good {
		if v, ok := ParseInt([]byte(s)); !ok || v != want {
			t.Errorf("%q: %d, %t; want %d", s, v, ok, want)
		}
	}
	for _, s := range []string{"", " ", "+", "-", "--1", "+-1", "- 1", "12 ", "1_0", "0b1", "0o7", "08", "0x", "0xg", "x1", "1.0", "1e3",
		"12\x00", "\x0012", "9223372036854775808", "-9223372036854775809", "0x8000000000000000", "01000000000000000000000",
		"99999999999999999999999", "\xa01"} {
		if v, ok := ParseInt([]byte(s)); ok {
			t.Errorf("%q: taken as %d", s, v)
		}
	}
}

func TestComparer(t *testing.T) {
	// Prefixes as Pebble's own check wants them can't be had, since ours tell their length;
	// so the properties that it asks for are checked on random keys.
	rng := rand.New(rand.NewPCG(1, 2))
	var keys [][]byte
	for range 400 {
		k := make([]byte, rng.IntN(7))
		for i := range k {
			k[i] = []byte{0, 0, 0, 1, 2, 3, 0xff}[rng.IntN(7)]
		}
		keys = append(keys, k)
	}
	keys = append(keys, metaKey, rowKey("", ""), rowKey("a", ""), rowKey("a", "b"))
	slices.SortFunc(keys, bytes.Compare)
	c := comparer
	for i, a := range keys {
		pa, sa := c.Split.Prefix(a), a[c.Split(a):]
		if len(sa) > 0 && c.Compare(pa, a) >= 0 {
			t.Fatalf("prefix %x isn't before %x", pa, a)
		}
		if c.Split(pa) != len(pa) {
			t.Fatalf("prefix %x of %x is split again", pa, a)
		}
		if next := c.ImmediateSuccessor(nil, pa); len(pa) < 2 || pa[0] != 0xff {
			if c.Compare(pa, next) >= 0 || c.Split(next) != len(next) {
				t.Fatalf("successor of prefix %x is %x", pa, next)
			}
			for _, b := range keys {
				if pb := c.Split.Prefix(b); c.Compare(pa, pb) < 0 && c.Compare(pb, next) < 0 {
					t.Fatalf("prefix %x is between %x and its successor %x", pb, pa, next)
				}
			}
		}
		for _, b := range keys[i:] {
			pb, sb := c.Split.Prefix(b), b[c.Split(b):]
			order := c.Compare(pa, pb)
			if order > 0 {
				t.Fatalf("%x <= %x, but prefixes %x > %x", a, b, pa, pb)
			}
			if order == 0 && c.Compare(a, b) != c.ComparePointSuffixes(sa, sb) {
				t.Fatalf("%x and %x: suffixes compare otherwise", a, b)
			}
		}
	}
	h, _, _ := base.SplitKey(rowKey("user", "x"))
	if got := comparer.Split(rowKey("user", "x")); got != 2+len(h) {
		t.Errorf("row key is split at %d", got)
	}
	if err := pebble.CheckComparer(comparer, [][]byte{{}}, [][]byte{}); err != nil {
		t.Error(err)
	}
}

func TestOpsRoundTrip(t *testing.T) {
	ops := []Op{
		{Key: rowKey("h", "s"), Value: []byte("v")},
		{Key: rowKey("h", "s"), Value: []byte{}, ExpireTS: 1},
		{Key: rowKey("", ""), Delete: true},
		{Key: rowKey("long", string(make([]byte, 300))), Value: make([]byte, 70000), ExpireTS: 1<<32 - 1},
	}
	var b, parts []byte
	for _, op := range ops {
		b = AppendOp(b, op)
		h, s, _ := base.SplitKey(op.Key)
		parts = appendRowOp(parts, h, s, op)
	}
	if !bytes.Equal(b, parts) {
		t.Error("an op from parts is encoded otherwise")
	}
	r := NewOpReader(b)
	var op Op
	for i := range ops {
		if !r.Next(&op) {
			t.Fatalf("op %d: %v", i, r.Err())
		}
		if !bytes.Equal(op.Key, ops[i].Key) || !bytes.Equal(op.Value, ops[i].Value) || op.ExpireTS != ops[i].ExpireTS || op.Delete != ops[i].Delete {
			t.Errorf("op %d came back as %+v", i, op)
		}
	}
	if r.Next(&op) || r.Err() != nil || r.Offset() != len(b) {
		t.Errorf("after the last op: offset %d of %d, %v", r.Offset(), len(b), r.Err())
	}
	short := AppendOp(nil, Op{Key: rowKey("h", "s"), Value: []byte("value"), ExpireTS: 9})
	for n := 1; n < len(short); n++ {
		r := NewOpReader(short[:n])
		if r.Next(&op) || !errors.Is(r.Err(), base.ErrInvalidData) {
			t.Errorf("cut to %d bytes: %v", n, r.Err())
		}
	}
	for _, bad := range [][]byte{{4, 0}, {3, 0}, {0x80, 0}, {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}} {
		r := NewOpReader(bad)
		if r.Next(&op) || !errors.Is(r.Err(), base.ErrInvalidData) {
			t.Errorf("%x: %+v, %v", bad, op, r.Err())
		}
	}
}

func TestValueEncoding(t *testing.T) {
	b := make([]byte, valueHeader)
	putValueHeader(b, 0x01020304, MakeTimetag(0x11223344556677, 3, true))
	want := []byte{1, 2, 3, 4, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 7}
	if !bytes.Equal(b, want) {
		t.Errorf("header is %x, want %x", b, want)
	}
	e, tag, data, ok := splitValue(append(b, "data"...))
	if !ok || e != 0x01020304 || tag != 0x1122334455667707 || string(data) != "data" {
		t.Errorf("split: %x %x %q %t", e, tag, data, ok)
	}
	if _, _, _, ok := splitValue(b[:11]); ok {
		t.Error("eleven bytes are taken for a value")
	}
	if expired(0, 1<<31) || !expired(5, 5) || !expired(5, 6) || expired(6, 5) {
		t.Error("expiry is judged wrongly")
	}
}

func TestCheckKeyHash(t *testing.T) {
	k := rowKey("user", "x")
	if err := CheckKeyHash(k, base.CRC64([]byte("user"))); err != nil {
		t.Error(err)
	}
	if err := CheckKeyHash(k, 0); err != nil {
		t.Error(err)
	}
	if err := CheckKeyHash(k, 1); !errors.Is(err, base.ErrInvalidParameters) {
		t.Errorf("wrong hash: %v", err)
	}
	h := newHarness(t, nil)
	arg := idl.UpdateRequest{Key: k, Value: []byte("v")}
	w := WriteRequest{Code: base.RPCPut, Arg: argReader(&arg), PartitionHash: 1}
	if p, _, _, err := h.store.Evaluate(&w, nil, nil); !errors.Is(err, base.ErrInvalidParameters) || len(p) != 0 {
		t.Errorf("put with a wrong hash: %v", err)
	}
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		kind             idl.FilterType
		pattern, v       string
		supported, match bool
	}{
		{idl.FT_NO_FILTER, "x", "y", true, true},
		{idl.FT_MATCH_ANYWHERE, "bc", "abcd", true, true},
		{idl.FT_MATCH_ANYWHERE, "bd", "abcd", true, false},
		{idl.FT_MATCH_PREFIX, "ab", "abcd", true, true},
		{idl.FT_MATCH_PREFIX, "bc", "abcd", true, false},
		{idl.FT_MATCH_POSTFIX, "cd", "abcd", true, true},
		{idl.FT_MATCH_POSTFIX, "bc", "abcd", true, false},
		{idl.FT_MATCH_POSTFIX, "", "abcd", true, true},
		{4, "a", "a", false, true},
		{-1, "a", "a", false, true},
	} {
		f := filter{c.kind, []byte(c.pattern)}
		if f.supported() != c.supported || f.match([]byte(c.v)) != c.match {
			t.Errorf("%+v: supported %t, match %t", c, f.supported(), f.match([]byte(c.v)))
		}
	}
}
