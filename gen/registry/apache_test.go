package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/backup"
	"pegasus/gen/command"
	"pegasus/gen/duplication"
	"pegasus/gen/metaadmin"
	"pegasus/gen/reqmeta"
	"pegasus/gen/rrdb"
	"pegasus/gen/value"
)

// Apache's own protocol, given the same struct as a tree of ids and values, is a second
// opinion on what our codecs write and read.
type (
	tField struct {
		id  int16
		val any
	}
	tStruct []tField
	tList   struct {
		set  bool
		elem thrift.TType
		vals []any
	}
	tMap struct {
		key, val thrift.TType
		pairs    [][2]any
	}
)

// oracleCases are structs without base types, whose bodies any Thrift peer can read.
func oracleCases() []struct {
	v    value.Value
	tree tStruct
} {
	state := tStruct{{1, int64(5)}, {2, int64(6)}}
	entry := tStruct{
		{1, int32(77)}, {2, int32(3)}, {3, "other"}, {4, int64(-1)},
		{5, tMap{thrift.I32, thrift.I64, [][2]any{{int32(2), int64(9)}, {int32(1), int64(8)}}}},
		{7, int32(1)}, {11, tMap{thrift.I32, thrift.STRUCT, [][2]any{{int32(0), state}}}},
	}
	return []struct {
		v    value.Value
		tree tStruct
	}{
		{
			&command.Command{Cmd: "help", Arguments: []string{"a", "", "c"}},
			tStruct{{1, "help"}, {2, tList{false, thrift.STRING, []any{"a", "", "c"}}}},
		},
		{
			&reqmeta.ThriftRequestMetaV1{AppId: base.Some[int32](-1), ClientPartitionHash: base.Some[int64](-3), IsBackupRequest: base.Some(true)},
			tStruct{{1, int32(-1)}, {4, int64(-3)}, {5, true}},
		},
		{
			&backup.PolicyEntry{PolicyName: "p", AppIds: []int32{3, 1}, BackupHistoryCountToKeep: 4, IsDisable: true},
			tStruct{
				{1, "p"}, {2, ""}, {3, ""}, {4, tList{true, thrift.I32, []any{int32(3), int32(1)}}},
				{5, int32(4)}, {6, ""}, {7, true},
			},
		},
		{
			&metaadmin.CreateAppOptions{PartitionCount: 8, ReplicaCount: 3, AppType: "pegasus", IsStateful: true,
				Envs:             []base.Pair[string, string]{{Key: "z", Val: "1"}, {Key: "a", Val: "2"}},
				AtomicIdempotent: base.Some(false)},
			tStruct{
				{1, int32(8)}, {2, int32(3)}, {3, false}, {4, "pegasus"}, {5, true},
				{6, tMap{thrift.STRING, thrift.STRING, [][2]any{{"z", "1"}, {"a", "2"}}}}, {7, false},
			},
		},
		{
			&duplication.DuplicationAppState{Appid: 2, AppName: "t", PartitionCount: 4,
				Duplications: []base.Pair[int32, duplication.DuplicationEntry]{{Key: 77, Val: duplication.DuplicationEntry{
					Dupid: 77, Status: duplication.DS_LOG, Remote: "other", CreateTs: -1,
					Progress: base.Some([]base.Pair[int32, int64]{{Key: 2, Val: 9}, {Key: 1, Val: 8}}),
					FailMode: base.Some(duplication.FAIL_SKIP),
					PartitionStates: base.Some([]base.Pair[int32, duplication.DuplicationPartitionState]{
						{Key: 0, Val: duplication.DuplicationPartitionState{ConfirmedDecree: 5, LastCommittedDecree: 6}}}),
				}}}},
			tStruct{{1, int32(2)}, {2, tMap{thrift.I32, thrift.STRUCT, [][2]any{{int32(77), entry}}}}, {3, "t"}, {4, int32(4)}},
		},
	}
}

func TestAgainstApacheProtocol(t *testing.T) {
	ctx := context.Background()
	for _, tt := range oracleCases() {
		t.Run(fmt.Sprintf("%T", tt.v), func(t *testing.T) {
			ours := tt.v.AppendThrift(nil)

			buf := thrift.NewTMemoryBuffer()
			buf.Write(ours)
			tree := apacheRead(t, thrift.NewTBinaryProtocolConf(buf, nil), thrift.STRUCT)
			if !reflect.DeepEqual(tree, tt.tree) {
				t.Errorf("apache reads\n%+v, want\n%+v", tree, tt.tree)
			}
			if buf.Len() != 0 {
				t.Errorf("apache leaves %d bytes", buf.Len())
			}

			out := thrift.NewTMemoryBuffer()
			apacheWrite(t, thrift.NewTBinaryProtocolConf(out, nil), tt.tree)
			if !bytes.Equal(out.Bytes(), ours) {
				t.Errorf("apache writes\n%x, we\n%x", out.Bytes(), ours)
			}
			w := reflect.New(reflect.TypeOf(tt.v).Elem()).Interface().(value.Value)
			read(t, out.Bytes(), w)
			if !reflect.DeepEqual(w, tt.v) {
				t.Errorf("we read\n%+v, want\n%+v", w, tt.v)
			}

			skip := thrift.NewTMemoryBuffer()
			skip.Write(ours)
			if err := thrift.SkipDefaultDepth(ctx, thrift.NewTBinaryProtocolConf(skip, nil), thrift.STRUCT); err != nil || skip.Len() != 0 {
				t.Errorf("apache skips it with %v, %d bytes left", err, skip.Len())
			}
			r := tbin.NewReader(ours)
			if r.Skip(tbin.Struct); r.Err() != nil || r.Len() != 0 {
				t.Errorf("we skip it with %v, %d bytes left", r.Err(), r.Len())
			}
		})
	}
}

// must stops the test on a protocol error.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
		return v
	}
}

func apacheRead(t *testing.T, p thrift.TProtocol, typ thrift.TType) any {
	t.Helper()
	ctx := context.Background()
	elems := func(typ thrift.TType, n int) (l []any) {
		for range n {
			l = append(l, apacheRead(t, p, typ))
		}
		return l
	}
	switch typ {
	case thrift.BOOL:
		return must[bool](t)(p.ReadBool(ctx))
	case thrift.BYTE:
		return must[int8](t)(p.ReadByte(ctx))
	case thrift.I32:
		return must[int32](t)(p.ReadI32(ctx))
	case thrift.I64:
		return must[int64](t)(p.ReadI64(ctx))
	case thrift.STRING:
		return must[string](t)(p.ReadString(ctx))
	case thrift.LIST:
		elem, n, err := p.ReadListBegin(ctx)
		return tList{false, elem, elems(elem, must[int](t)(n, err))}
	case thrift.SET:
		elem, n, err := p.ReadSetBegin(ctx)
		return tList{true, elem, elems(elem, must[int](t)(n, err))}
	case thrift.MAP:
		k, v, n, err := p.ReadMapBegin(ctx)
		m := tMap{key: k, val: v}
		for range must[int](t)(n, err) {
			m.pairs = append(m.pairs, [2]any{apacheRead(t, p, k), apacheRead(t, p, v)})
		}
		return m
	case thrift.STRUCT:
		var s tStruct
		for {
			_, ft, id, err := p.ReadFieldBegin(ctx)
			if must[thrift.TType](t)(ft, err) == thrift.STOP {
				return s
			}
			s = append(s, tField{id, apacheRead(t, p, ft)})
		}
	}
	t.Fatalf("no way to read a %v", typ)
	return nil
}

func apacheWrite(t *testing.T, p thrift.TProtocol, v any) (typ thrift.TType) {
	t.Helper()
	ctx := context.Background()
	var err error
	check := func(e error) {
		if err == nil {
			err = e
		}
	}
	switch v := v.(type) {
	case bool:
		check(p.WriteBool(ctx, v))
	case int8:
		check(p.WriteByte(ctx, v))
	case int32:
		check(p.WriteI32(ctx, v))
	case int64:
		check(p.WriteI64(ctx, v))
	case string:
		check(p.WriteString(ctx, v))
	case tList:
		if v.set {
			check(p.WriteSetBegin(ctx, v.elem, len(v.vals)))
		} else {
			check(p.WriteListBegin(ctx, v.elem, len(v.vals)))
		}
		for _, e := range v.vals {
			apacheWrite(t, p, e)
		}
	case tMap:
		check(p.WriteMapBegin(ctx, v.key, v.val, len(v.pairs)))
		for _, e := range v.pairs {
			apacheWrite(t, p, e[0])
			apacheWrite(t, p, e[1])
		}
	case tStruct:
		for _, f := range v {
			check(p.WriteFieldBegin(ctx, "", apacheType(f.val), f.id))
			apacheWrite(t, p, f.val)
		}
		check(p.WriteFieldStop(ctx))
	}
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

func apacheType(v any) thrift.TType {
	switch v := v.(type) {
	case bool:
		return thrift.BOOL
	case int8:
		return thrift.BYTE
	case int32:
		return thrift.I32
	case int64:
		return thrift.I64
	case string:
		return thrift.STRING
	case tMap:
		return thrift.MAP
	case tList:
		if v.set {
			return thrift.SET
		}
		return thrift.LIST
	}
	return thrift.STRUCT
}

// stdPut and stdMultiPut are update_request and multi_put_request in the way that
// Apache's compiler lays such structs out, with Apache's runtime underneath. They are
// what the generated codecs are measured against.
type stdBlob struct{ data []byte }

func (s *stdBlob) Write(ctx context.Context, p thrift.TProtocol) error {
	return p.WriteBinary(ctx, s.data)
}

func (s *stdBlob) Read(ctx context.Context, p thrift.TProtocol) (err error) {
	s.data, err = p.ReadBinary(ctx)
	return err
}

type stdPut struct {
	key, value *stdBlob
	expire     int32
}

type stdKV struct {
	key, value *stdBlob
	expire     *int32
}

type stdMultiPut struct {
	hashKey *stdBlob
	kvs     []*stdKV
	expire  int32
}

func writeField(ctx context.Context, p thrift.TProtocol, name string, t thrift.TType, id int16, body func() error) error {
	if err := p.WriteFieldBegin(ctx, name, t, id); err != nil {
		return thrift.PrependError("field begin", err)
	}
	if err := body(); err != nil {
		return thrift.PrependError("field", err)
	}
	return p.WriteFieldEnd(ctx)
}

func writeEnd(ctx context.Context, p thrift.TProtocol) error {
	if err := p.WriteFieldStop(ctx); err != nil {
		return err
	}
	return p.WriteStructEnd(ctx)
}

// nextField reads a field's header; at the end of the struct it reports false.
func nextField(ctx context.Context, p thrift.TProtocol) (t thrift.TType, id int16, more bool, err error) {
	_, t, id, err = p.ReadFieldBegin(ctx)
	if err != nil || t == thrift.STOP {
		return t, id, false, err
	}
	return t, id, true, nil
}

func (s *stdPut) Write(ctx context.Context, p thrift.TProtocol) error {
	if err := p.WriteStructBegin(ctx, "update_request"); err != nil {
		return err
	}
	if err := writeField(ctx, p, "key", thrift.STRUCT, 1, func() error { return s.key.Write(ctx, p) }); err != nil {
		return err
	}
	if err := writeField(ctx, p, "value", thrift.STRUCT, 2, func() error { return s.value.Write(ctx, p) }); err != nil {
		return err
	}
	if err := writeField(ctx, p, "expire_ts_seconds", thrift.I32, 3, func() error { return p.WriteI32(ctx, s.expire) }); err != nil {
		return err
	}
	return writeEnd(ctx, p)
}

func (s *stdPut) Read(ctx context.Context, p thrift.TProtocol) error {
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return err
	}
	t, id, more, err := nextField(ctx, p)
	for ; more; t, id, more, err = nextField(ctx, p) {
		switch {
		case id == 1 && t == thrift.STRUCT:
			s.key = &stdBlob{}
			err = s.key.Read(ctx, p)
		case id == 2 && t == thrift.STRUCT:
			s.value = &stdBlob{}
			err = s.value.Read(ctx, p)
		case id == 3 && t == thrift.I32:
			s.expire, err = p.ReadI32(ctx)
		default:
			err = p.Skip(ctx, t)
		}
		if err != nil {
			return err
		}
		if err := p.ReadFieldEnd(ctx); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return p.ReadStructEnd(ctx)
}

func (s *stdKV) Write(ctx context.Context, p thrift.TProtocol) error {
	if err := p.WriteStructBegin(ctx, "key_value"); err != nil {
		return err
	}
	if err := writeField(ctx, p, "key", thrift.STRUCT, 1, func() error { return s.key.Write(ctx, p) }); err != nil {
		return err
	}
	if err := writeField(ctx, p, "value", thrift.STRUCT, 2, func() error { return s.value.Write(ctx, p) }); err != nil {
		return err
	}
	if s.expire != nil {
		if err := writeField(ctx, p, "expire_ts_seconds", thrift.I32, 3, func() error { return p.WriteI32(ctx, *s.expire) }); err != nil {
			return err
		}
	}
	return writeEnd(ctx, p)
}

func (s *stdKV) Read(ctx context.Context, p thrift.TProtocol) error {
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return err
	}
	t, id, more, err := nextField(ctx, p)
	for ; more; t, id, more, err = nextField(ctx, p) {
		switch {
		case id == 1 && t == thrift.STRUCT:
			s.key = &stdBlob{}
			err = s.key.Read(ctx, p)
		case id == 2 && t == thrift.STRUCT:
			s.value = &stdBlob{}
			err = s.value.Read(ctx, p)
		case id == 3 && t == thrift.I32:
			s.expire = new(int32)
			*s.expire, err = p.ReadI32(ctx)
		default:
			err = p.Skip(ctx, t)
		}
		if err != nil {
			return err
		}
		if err := p.ReadFieldEnd(ctx); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return p.ReadStructEnd(ctx)
}

func (s *stdMultiPut) Write(ctx context.Context, p thrift.TProtocol) error {
	if err := p.WriteStructBegin(ctx, "multi_put_request"); err != nil {
		return err
	}
	if err := writeField(ctx, p, "hash_key", thrift.STRUCT, 1, func() error { return s.hashKey.Write(ctx, p) }); err != nil {
		return err
	}
	if err := writeField(ctx, p, "kvs", thrift.LIST, 2, func() error {
		if err := p.WriteListBegin(ctx, thrift.STRUCT, len(s.kvs)); err != nil {
			return err
		}
		for _, kv := range s.kvs {
			if err := kv.Write(ctx, p); err != nil {
				return err
			}
		}
		return p.WriteListEnd(ctx)
	}); err != nil {
		return err
	}
	if err := writeField(ctx, p, "expire_ts_seconds", thrift.I32, 3, func() error { return p.WriteI32(ctx, s.expire) }); err != nil {
		return err
	}
	return writeEnd(ctx, p)
}

func (s *stdMultiPut) Read(ctx context.Context, p thrift.TProtocol) error {
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return err
	}
	t, id, more, err := nextField(ctx, p)
	for ; more; t, id, more, err = nextField(ctx, p) {
		switch {
		case id == 1 && t == thrift.STRUCT:
			s.hashKey = &stdBlob{}
			err = s.hashKey.Read(ctx, p)
		case id == 2 && t == thrift.LIST:
			err = s.readKVs(ctx, p)
		case id == 3 && t == thrift.I32:
			s.expire, err = p.ReadI32(ctx)
		default:
			err = p.Skip(ctx, t)
		}
		if err != nil {
			return err
		}
		if err := p.ReadFieldEnd(ctx); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return p.ReadStructEnd(ctx)
}

func (s *stdMultiPut) readKVs(ctx context.Context, p thrift.TProtocol) error {
	_, n, err := p.ReadListBegin(ctx)
	if err != nil {
		return err
	}
	s.kvs = make([]*stdKV, 0, n)
	for range n {
		kv := &stdKV{}
		if err := kv.Read(ctx, p); err != nil {
			return err
		}
		s.kvs = append(s.kvs, kv)
	}
	return p.ReadListEnd(ctx)
}

// samples returns the measured requests in our form and in Apache's.
func samples(valueSize int) (put rrdb.UpdateRequest, std stdPut, multi rrdb.MultiPutRequest, stdMulti stdMultiPut) {
	key, val := bytes.Repeat([]byte{'k'}, 32), bytes.Repeat([]byte{'v'}, valueSize)
	put = rrdb.UpdateRequest{Key: key, Value: val, ExpireTsSeconds: 7}
	std = stdPut{&stdBlob{key}, &stdBlob{val}, 7}
	multi = rrdb.MultiPutRequest{HashKey: key, ExpireTsSeconds: 7}
	stdMulti = stdMultiPut{hashKey: &stdBlob{key}, expire: 7}
	for i := range 10 {
		k, v := bytes.Repeat([]byte{byte('a' + i)}, 16), bytes.Repeat([]byte{byte('0' + i)}, 100)
		multi.Kvs = append(multi.Kvs, rrdb.KeyValue{Key: k, Value: v})
		stdMulti.kvs = append(stdMulti.kvs, &stdKV{&stdBlob{k}, &stdBlob{v}, nil})
	}
	return put, std, multi, stdMulti
}
