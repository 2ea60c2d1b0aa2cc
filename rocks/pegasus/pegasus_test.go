package pegasus

import (
	"bytes"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/gen/layer2"
)

func TestValues(t *testing.T) {
	for _, c := range []struct {
		version int
		b       string
		want    Value
		err     string
	}{
		{0, "\x00\x00\x00\x05data", Value{5, 0, []byte("data")}, ""},
		{0, "\x00\x00\x00\x00", Value{0, 0, nil}, ""},
		{1, "\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x01\x02data", Value{5, 0x102, []byte("data")}, ""},
		{0, "\x82\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x01\x02data", Value{5, 0x102, []byte("data")}, ""},
		{1, "\x82\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x01\x02", Value{5, 0x102, nil}, ""},
		{0, "\x00\x00\x05", Value{}, "3 bytes"},
		{1, "\x00\x00\x00\x05data", Value{}, "8 bytes"},
		{1, "", Value{}, "0 bytes"},
		{1, "\x82\x00", Value{}, "1 bytes"},
		{1, "\x83\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x01\x02", Value{}, "version is 3"},
		{2, "\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x01\x02", Value{}, "doesn't begin with it"},
		{3, "\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x01\x02", Value{}, "version 3"},
	} {
		v, err := ParseValue(c.version, []byte(c.b))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("version %d, %q: %v, want %q", c.version, c.b, err, c.err)
			}
			continue
		}
		if err != nil || v.ExpireTS != c.want.ExpireTS || v.Timetag != c.want.Timetag || !bytes.Equal(v.Data, c.want.Data) {
			t.Errorf("version %d, %q: %+v, %v", c.version, c.b, v, err)
		}
	}
	v := Value{ExpireTS: 7}
	if v.Expired(6) || !v.Expired(7) || (Value{}).Expired(7) {
		t.Error("a row expires at its second, one without expiry never")
	}
}

func TestAppInfo(t *testing.T) {
	info := layer2.AppInfo{Status: 1, AppType: "pegasus", AppName: `a "name"`, AppId: 7, PartitionCount: 8, MaxReplicaCount: 3, InitPartitionCount: 4,
		IsStateful: true, Envs: []base.Pair[string, string]{{Key: "rocksdb.allow_ingest_behind", Val: "true"}}, AtomicIdempotent: base.Some(true),
		Duplicating: base.Some(false), IsBulkLoading: base.Some(false)}
	b, err := AppendAppInfo(nil, &info)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseAppInfo("x", b)
	if err != nil || got.AppName != info.AppName || len(got.Envs) != 1 || got.Envs[0] != info.Envs[0] || !got.AtomicIdempotent.V || got.InitPartitionCount != 4 {
		t.Fatalf("%+v, %v", got, err)
	}
	for want, change := range map[string]func(s string) string{
		"begin with":         func(s string) string { return s[1:] },
		"field 3 is missing": func(s string) string { return strings.Replace(s, `"3":`, `"33":`, 1) },
		"type i32":           func(s string) string { return strings.Replace(s, `{"i32":7}`, `{"i64":7}`, 1) },
		"field 5":            func(s string) string { return strings.Replace(s, `{"i32":8}`, `{"i32":"x"}`, 1) },
		"0 partitions":       func(s string) string { return strings.Replace(s, `{"i32":8}`, `{"i32":0}`, 1) },
		"end of JSON":        func(s string) string { return s[:len(s)-1] },
		"no field 0":         func(s string) string { return s[:8] + "{}" },
	} {
		if _, err := ParseAppInfo("/d/.app-info", []byte(change(string(b)))); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "/d/.app-info") {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func FuzzValue(f *testing.F) {
	f.Add(0, []byte("\x00\x00\x00\x05data"))
	f.Add(1, []byte("\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x01\x02data"))
	f.Add(1, []byte("\x82\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x01\x02data"))
	f.Fuzz(func(t *testing.T, version int, b []byte) {
		v, err := ParseValue(version, b)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(b, v.Data) || b[0] < 0x80 && version != 0 && version != 1 {
			t.Fatalf("version %d: %x is %+v", version, b, v)
		}
		if v.ExpireTS>>31 == 1 {
			return // as version 1 its first byte would say a version
		}
		again, err := ParseValue(1, AppendValue(nil, v))
		if err != nil || again.ExpireTS != v.ExpireTS || again.Timetag != v.Timetag || !bytes.Equal(again.Data, v.Data) {
			t.Fatalf("%+v is %+v as version 1: %v", v, again, err)
		}
	})
}

func FuzzAppInfo(f *testing.F) {
	info := layer2.AppInfo{AppType: "pegasus", AppName: "t", AppId: 1, PartitionCount: 8, Envs: []base.Pair[string, string]{{Key: "k", Val: "v"}}}
	b, err := AppendAppInfo(nil, &info)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := ParseAppInfo("x", b)
		if err != nil {
			return
		}
		again, err := AppendAppInfo(nil, &info)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseAppInfo("x", again); err != nil || got.AppName != info.AppName || got.AppId != info.AppId || len(got.Envs) != len(info.Envs) {
			t.Fatalf("%+v is %+v when it was written and read: %v", info, got, err)
		}
	})
}
