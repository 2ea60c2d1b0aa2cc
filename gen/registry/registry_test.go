package registry_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/consensus"
	"pegasus/gen/layer2"
	"pegasus/gen/prepare"
	"pegasus/gen/registry"
	"pegasus/gen/rrdb"
	"pegasus/gen/value"
)

// values returns a new instance of every type in the registry.
func values() []value.Value {
	var l []value.Value
	for _, c := range registry.Codes() {
		e, _ := registry.Lookup(c)
		l = append(l, e.Arg())
		if e.Result != nil {
			l = append(l, e.Result())
		}
	}
	return l
}

// TestRoundTrip fills every struct with random values, encodes it, and demands the same
// struct and the same bytes back.
func TestRoundTrip(t *testing.T) {
	for _, v := range values() {
		// Of each type its own numbers, whatever else there is.
		h := fnv.New64a()
		h.Write([]byte(reflect.TypeOf(v).String()))
		rnd := rand.New(rand.NewPCG(1, h.Sum64()))
		for range 20 {
			fill(reflect.ValueOf(v).Elem(), rnd)
			body := registry.AppendBody(nil, 0, v)
			w := reflect.New(reflect.TypeOf(v).Elem()).Interface().(value.Value)
			if _, err := registry.ReadBody(body, w); err != nil {
				t.Fatalf("%+v: %v", v, err)
			}
			if !reflect.DeepEqual(v, w) {
				t.Fatalf("sent %+v\ngot  %+v", v, w)
			}
			if again := registry.AppendBody(nil, 0, w); !bytes.Equal(body, again) {
				t.Fatalf("%T: %x encodes to %x", v, body, again)
			}
		}
	}
}

// fill sets everything that v holds; containers and byte strings are never empty, since
// an empty one may come back as nil.
func fill(v reflect.Value, rnd *rand.Rand) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 1)
	case reflect.Int8, reflect.Int32, reflect.Int64:
		v.SetInt(rnd.Int64() >> (64 - v.Type().Bits()))
		if rnd.IntN(2) == 1 {
			v.SetInt(-v.Int())
		}
	case reflect.Uint16, reflect.Uint64:
		v.SetUint(rnd.Uint64() >> (64 - v.Type().Bits()))
	case reflect.String:
		v.SetString(strings.Repeat("s", rnd.IntN(40)))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+rnd.IntN(3), 3))
		for i := range v.Len() {
			if v.Index(i).Kind() == reflect.Uint8 {
				v.Index(i).SetUint(uint64(rnd.IntN(256)))
				continue
			}
			fill(v.Index(i), rnd)
		}
	case reflect.Struct:
		if opt := v.FieldByName("Set"); opt.IsValid() && rnd.IntN(2) == 1 {
			v.SetZero() // an optional field left out
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), rnd)
			}
		}
		if opt := v.FieldByName("Set"); opt.IsValid() {
			opt.SetBool(true)
		}
	default:
		panic("no way to fill a " + v.Kind().String())
	}
}

// TestWorkedExamples are the bodies that were worked out by hand, or taken from the
// published Go client.
func TestWorkedExamples(t *testing.T) {
	tests := []struct {
		name, hex string
		id        int16
		v         value.Value
	}{
		{
			"query_cfg", "0c0001 0b000100000004 74656d70 0f00020800000000 00 00",
			1, &layer2.QueryCfgRequest{AppName: "temp"},
		},
		{
			"query_cfg answer", "0c0000" +
				"0c000100000006 4552525f4f4b 080002 00000002 080003 00000001 020004 01" +
				"0f00050c00000001 0c00010000000000000002 0a00020000000000000003 08000300000003" +
				"0c00047f00000187f10001 0f00050c00000000 0f00060c00000000 0a00070000000000000000" +
				"08000800000000 00 00 00",
			0, &layer2.QueryCfgResponse{Err: base.ErrOK, AppId: 2, PartitionCount: 1, IsStateful: true,
				Partitions: []layer2.PartitionConfiguration{{
					Pid: base.Gpid{AppID: 2}, Ballot: 3, MaxReplicaCount: 3, Primary: 0x7f00000187f10001,
				}}},
		},
		{"get", "0c0001 00000004 00016173 00", 1, blob("\x00\x01as")},
		{
			"get answer", "0c0000 08000100000000 0c0002 00000001 76 08000300000002 08000400000004" +
				"0b000600000008 68313a3334383031 00 00",
			0, &rrdb.ReadResponse{Value: []byte("v"), AppId: 2, PartitionIndex: 4, Server: "h1:34801"},
		},
		{"get over rDSN", "0c0000 00000004 00016173 00", 0, blob("\x00\x01as")},
		{"clear_scanner", "0a0001 0000000000000007 00", 1, i64(7)},
		{"remote command answer", "0b0000 00000002 6f6b 00", 0, text("ok")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, err := hex.DecodeString(strings.ReplaceAll(tt.hex, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if got := registry.AppendBody(nil, tt.id, tt.v); !bytes.Equal(got, want) {
				t.Errorf("encodes to\n%x, want\n%x", got, want)
			}
			w := reflect.New(reflect.TypeOf(tt.v).Elem()).Interface().(value.Value)
			if id, err := registry.ReadBody(want, w); err != nil || id != tt.id {
				t.Errorf("decodes in field %d, %v", id, err)
			}
			if !reflect.DeepEqual(w, tt.v) {
				t.Errorf("decodes to %+v, want %+v", w, tt.v)
			}
		})
	}
}

func blob(s string) *value.Blob { v := value.Blob(s); return &v }
func i64(n int64) *value.I64    { v := value.I64(n); return &v }
func text(s string) *value.Text { v := value.Text(s); return &v }

// TestAbsentFields: what a peer leaves out stays out, unless it has been set since; a
// declared default stands in for it meanwhile.
func TestAbsentFields(t *testing.T) {
	only := tbin.AppendStop(tbin.AppendI32(tbin.AppendField(nil, tbin.I32, 4), 9))
	var a layer2.AppInfo
	read(t, only, &a)
	if a.AppId != 9 || a.InitPartitionCount != -1 || a.AppName != "" || a.Duplicating.Set {
		t.Errorf("decoded %+v", a)
	}
	if got := a.AppendThrift(nil); !bytes.Equal(got, only) {
		t.Errorf("encodes to %x, came from %x", got, only)
	}
	a.AppName = "t"
	want := []byte("\x0b\x00\x03\x00\x00\x00\x01t\x08\x00\x04\x00\x00\x00\x09\x00")
	if got := a.AppendThrift(nil); !bytes.Equal(got, want) {
		t.Errorf("with a name encodes to %x, want %x", got, want)
	}
	// A decoder forgets what it held before.
	read(t, []byte{0}, &a)
	if got := a.AppendThrift(nil); !bytes.Equal(got, []byte{0}) {
		t.Errorf("after an empty struct encodes to %x", got)
	}
	if n := layer2.NewAppInfo(); n.InitPartitionCount != -1 {
		t.Errorf("NewAppInfo has init_partition_count %d", n.InitPartitionCount)
	}
	if h := consensus.NewReadRequestHeader(); h.VersionDecree != -1 || h.Semantic != consensus.ReadLastUpdate {
		t.Errorf("NewReadRequestHeader is %+v", h)
	}
}

func read(t *testing.T, b []byte, v tbin.Decoder) {
	t.Helper()
	r := tbin.NewReader(b)
	v.ReadThrift(r)
	if r.Err() != nil || r.Len() != 0 {
		t.Fatalf("read %x into %T: %v, %d left", b, v, r.Err(), r.Len())
	}
}

// TestUnexpectedFields: an unknown id, and a known one of another type, are passed over.
func TestUnexpectedFields(t *testing.T) {
	b := tbin.AppendString(tbin.AppendField(nil, tbin.String, 99), "new")
	b = tbin.AppendI64(tbin.AppendField(b, tbin.I64, 1), 5) // error is an i32
	b = tbin.AppendI32(tbin.AppendField(b, tbin.I32, 2), 7)
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, -3), tbin.Struct, 1)
	b = tbin.AppendStop(tbin.AppendStop(b))
	var u rrdb.UpdateResponse
	read(t, b, &u)
	if u.Error != 0 || u.AppId != 7 {
		t.Errorf("decoded %+v", u)
	}
}

// TestHostile: lies about sizes and types are errors, found before memory is spent.
func TestHostile(t *testing.T) {
	list := func(elem tbin.Type, n int) []byte {
		return tbin.AppendList(tbin.AppendField(nil, tbin.List, 2), elem, n)
	}
	tests := []struct {
		name string
		b    []byte
		v    value.Value
	}{
		{"count past the end", list(tbin.Struct, 1<<30), new(rrdb.MultiPutRequest)},
		{"negative count", list(tbin.Struct, -1), new(rrdb.MultiPutRequest)},
		{"other elements", tbin.AppendStop(append(list(tbin.I32, 1), 0, 0, 0, 1)), new(rrdb.MultiPutRequest)},
		{"hollow elements", tbin.AppendStop(append(list(tbin.Struct, 100), make([]byte, 1000)...)), new(rrdb.MultiPutRequest)},
		{"truncated", list(tbin.Struct, 0), new(rrdb.MultiPutRequest)},
		{"string past the end", []byte("\x0b\x00\x06\x00\x00\x00\x09abc\x00"), new(rrdb.ReadResponse)},
		{"negative blob", []byte("\x0c\x00\x02\xff\xff\xff\xff\x00"), new(rrdb.ReadResponse)},
		{"skip too deep", bytes.Repeat([]byte{12, 0, 99}, 40), new(rrdb.ReadResponse)},
		{"updates past the end", append(make([]byte, 56), 0xff, 0xff, 0xff, 0x7f), new(prepare.Mutation)},
		{"update longer than the rest", append(make([]byte, 56), 1, 0, 0, 0, 0xff, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0), new(prepare.Mutation)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := tbin.NewReader(tt.b)
			tt.v.ReadThrift(r)
			if !errors.Is(r.Err(), tbin.ErrMalformed) {
				t.Errorf("error is %v", r.Err())
			}
			if n, max := memory(reflect.ValueOf(tt.v)), bound(len(tt.b)); n > max {
				t.Errorf("%d bytes of input made %d bytes of output", len(tt.b), n)
			}
		})
	}
	if _, err := registry.ReadBody([]byte("\x0a\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00"), new(value.I64)); !errors.Is(err, tbin.ErrMalformed) {
		t.Errorf("a byte left over: %v", err)
	}
}

// bound is how much memory a value decoded from n bytes may take: 16 times n for each of
// the levels of containers in any struct, and the structs themselves.
func bound(n int) int { return 64*n + 8192 }

// memory is what v and all it points to takes.
func memory(v reflect.Value) int {
	n := int(v.Type().Size())
	switch v.Kind() {
	case reflect.Pointer:
		n += memory(v.Elem())
	case reflect.String:
		n += v.Len()
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return n // aliases the frame
		}
		for i := range v.Len() {
			n += memory(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Field(i)
			n += memory(f) - int(f.Type().Size())
		}
	}
	return n
}

// FuzzDecode feeds bytes to the decoder that the first one picks. What decodes must
// encode to a fixed point, and nothing may take more memory than the input justifies.
func FuzzDecode(f *testing.F) {
	all := values()
	rnd := rand.New(rand.NewPCG(3, 4))
	for i, v := range all {
		fill(reflect.ValueOf(v).Elem(), rnd)
		f.Add(registry.AppendBody([]byte{byte(i)}, 0, v))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		typ := reflect.TypeOf(all[int(in[0])%len(all)]).Elem()
		v := reflect.New(typ).Interface().(value.Value)
		id, err := registry.ReadBody(in[1:], v)
		if n := memory(reflect.ValueOf(v)); n > bound(len(in)) {
			t.Fatalf("%d bytes of input made %d bytes of %T", len(in), n, v)
		}
		if err != nil {
			return
		}
		once := registry.AppendBody(nil, id, v)
		w := reflect.New(typ).Interface().(value.Value)
		if _, err := registry.ReadBody(once, w); err != nil {
			if len(once) < len(in)-1 {
				return // without the unknown fields, some list's elements are too hollow
			}
			t.Fatalf("%T: own encoding %x is refused: %v", v, once, err)
		}
		if twice := registry.AppendBody(nil, id, w); !bytes.Equal(once, twice) {
			t.Fatalf("%T: %x becomes %x", v, once, twice)
		}
	})
}
