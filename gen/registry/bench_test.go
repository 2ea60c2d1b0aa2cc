package registry_test

import (
	"bytes"
	"context"
	"reflect"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"pegasus/base/tbin"
	"pegasus/gen/rrdb"
)

// std is what Apache's compiler makes of a struct.
type std interface {
	Write(ctx context.Context, p thrift.TProtocol) error
	Read(ctx context.Context, p thrift.TProtocol) error
}

func stdEncode(t testing.TB, v std) []byte {
	t.Helper()
	buf := thrift.NewTMemoryBuffer()
	if err := v.Write(context.Background(), thrift.NewTBinaryProtocolConf(buf, nil)); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestMeasuredFormsAgree: what the benchmarks compare are the same bytes.
func TestMeasuredFormsAgree(t *testing.T) {
	ctx := context.Background()
	put, stdPutV, multi, stdMulti := samples(1024)
	for _, c := range []struct {
		ours tbin.Encoder
		std  std
		back tbin.Decoder
	}{{&put, &stdPutV, new(rrdb.UpdateRequest)}, {&multi, &stdMulti, new(rrdb.MultiPutRequest)}} {
		ours, theirs := c.ours.AppendThrift(nil), stdEncode(t, c.std)
		if !bytes.Equal(ours, theirs) {
			t.Errorf("%T:\n%x\napache:\n%x", c.ours, ours, theirs)
		}
		buf := &thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(ours)}
		w := reflect.New(reflect.TypeOf(c.std).Elem()).Interface().(std)
		if err := w.Read(ctx, thrift.NewTBinaryProtocolConf(buf, nil)); err != nil || !reflect.DeepEqual(w, c.std) {
			t.Errorf("apache reads %+v, %v", w, err)
		}
		read(t, theirs, c.back)
		if !reflect.DeepEqual(c.back, c.ours) {
			t.Errorf("%T reads back as %+v", c.ours, c.back)
		}
	}
}

// TestNoCopyNoAlloc: a decoded put points into the frame, and neither direction allocates.
func TestNoCopyNoAlloc(t *testing.T) {
	put, _, _, _ := samples(1024)
	frame := put.AppendThrift(nil)
	var got rrdb.UpdateRequest
	r := tbin.NewReader(nil)
	if n := testing.AllocsPerRun(100, func() {
		r.Reset(frame)
		got.ReadThrift(r)
	}); n != 0 {
		t.Errorf("decoding a put allocates %v times", n)
	}
	if r.Err() != nil || !bytes.Equal(got.Value, put.Value) {
		t.Fatalf("decoded %d bytes of value, error %v", len(got.Value), r.Err())
	}
	at := bytes.Index(frame, put.Value)
	if at < 0 || &got.Value[0] != &frame[at] {
		t.Error("the value was copied")
	}
	if cap(got.Value) != len(got.Value) {
		t.Error("appending to the value would overwrite the frame")
	}
	buf := make([]byte, 0, len(frame))
	if n := testing.AllocsPerRun(100, func() { buf = put.AppendThrift(buf[:0]) }); n != 0 {
		t.Errorf("encoding a put allocates %v times", n)
	}
}

func BenchmarkEncode(b *testing.B) {
	put100, stdPut100, multi, stdMulti := samples(100)
	put1k, stdPut1k, _, _ := samples(1024)
	for _, c := range []struct {
		name string
		ours tbin.Encoder
		std  std
	}{{"put100", &put100, &stdPut100}, {"put1k", &put1k, &stdPut1k}, {"multiput10", &multi, &stdMulti}} {
		b.Run(c.name+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = c.ours.AppendThrift(buf[:0])
			}
		})
		b.Run(c.name+"/apache", func(b *testing.B) {
			b.ReportAllocs()
			ctx := context.Background()
			buf := thrift.NewTMemoryBuffer()
			p := thrift.NewTBinaryProtocolConf(buf, nil)
			for b.Loop() {
				buf.Reset()
				if err := c.std.Write(ctx, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	put100, _, multi, _ := samples(100)
	put1k, _, _, _ := samples(1024)
	for _, c := range []struct {
		name  string
		frame []byte
		ours  tbin.Decoder
		std   func() std
	}{
		{"put100", put100.AppendThrift(nil), new(rrdb.UpdateRequest), func() std { return new(stdPut) }},
		{"put1k", put1k.AppendThrift(nil), new(rrdb.UpdateRequest), func() std { return new(stdPut) }},
		{"multiput10", multi.AppendThrift(nil), new(rrdb.MultiPutRequest), func() std { return new(stdMultiPut) }},
	} {
		b.Run(c.name+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			r := tbin.NewReader(nil)
			for b.Loop() {
				r.Reset(c.frame)
				c.ours.ReadThrift(r)
			}
			if r.Err() != nil {
				b.Fatal(r.Err())
			}
		})
		b.Run(c.name+"/apache", func(b *testing.B) {
			b.ReportAllocs()
			ctx := context.Background()
			buf := thrift.NewTMemoryBuffer()
			p := thrift.NewTBinaryProtocolConf(buf, nil)
			for b.Loop() {
				*buf.Buffer = *bytes.NewBuffer(c.frame)
				if err := c.std().Read(ctx, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
