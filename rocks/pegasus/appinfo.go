package pegasus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/rocks/damage"
)

// AppInfoFile is the file of a replica's directory that says of which table it is a part.
const AppInfoFile = ".app-info"

// appInfoMark begins the file: as Thrift's binary protocol has it, field 0 with the i32 0xdeadbeef, and the end of a struct.
var appInfoMark = []byte{0x08, 0, 0, 0xde, 0xad, 0xbe, 0xef, 0}

// ParseAppInfo reads the contents of .app-info: the mark, then a document of Thrift's JSON protocol, in which a field is
// "id":{"type":value} and the struct itself field 0. name is for errors.
func ParseAppInfo(name string, b []byte) (layer2.AppInfo, error) {
	info := layer2.NewAppInfo()
	bad := func(format string, args ...any) (layer2.AppInfo, error) {
		return layer2.AppInfo{}, damage.Newf(name, -1, damage.AppInfo, format, args...)
	}
	text, ok := bytes.CutPrefix(b, appInfoMark)
	if !ok {
		return bad("it doesn't begin with %x", appInfoMark)
	}
	var doc map[string]map[string]map[string]map[string]json.RawMessage
	if err := json.Unmarshal(text, &doc); err != nil {
		return bad("%w", err)
	}
	fields := doc["0"]["rec"]
	if fields == nil {
		return bad("there is no field 0 with a struct")
	}
	for _, f := range appInfoFields(&info) {
		v, ok := fields[f.id]
		if !ok {
			if f.optional {
				continue
			}
			return bad("field %s is missing", f.id)
		}
		raw, ok := v[f.kind]
		if !ok {
			return bad("field %s isn't of type %s", f.id, f.kind)
		}
		if err := f.set(raw); err != nil {
			return bad("field %s: %w", f.id, err)
		}
	}
	if info.AppId <= 0 || info.PartitionCount <= 0 || info.AppName == "" {
		return bad("table %d %q of %d partitions", info.AppId, info.AppName, info.PartitionCount)
	}
	return info, nil
}

// AppendAppInfo appends the contents of .app-info.
func AppendAppInfo(b []byte, info *layer2.AppInfo) ([]byte, error) {
	b = append(b, appInfoMark...)
	b = append(b, `{"0":{"rec":{`...)
	for i, f := range appInfoFields(info) {
		v, err := f.get()
		if err != nil {
			return nil, fmt.Errorf("write field %s of %s: %w", f.id, AppInfoFile, err)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `"%s":{"%s":%s}`, f.id, f.kind, v)
	}
	return append(b, "}}}"...), nil
}

// appInfoField is a field of the document.
type appInfoField struct {
	id, kind string
	optional bool // older releases don't write it
	set      func(json.RawMessage) error
	get      func() (json.RawMessage, error)
}

// appInfoFields ties the fields of info to those of the document.
func appInfoFields(info *layer2.AppInfo) []appInfoField {
	return []appInfoField{
		number("1", "i32", &info.Status),
		text("2", &info.AppType),
		text("3", &info.AppName),
		number("4", "i32", &info.AppId),
		number("5", "i32", &info.PartitionCount),
		envs("6", &info.Envs),
		flag("7", &info.IsStateful),
		number("8", "i32", &info.MaxReplicaCount),
		number("9", "i64", &info.ExpireSecond),
		number("10", "i64", &info.CreateSecond),
		number("11", "i64", &info.DropSecond),
		optional(flagOpt("12", &info.Duplicating)),
		optional(number("13", "i32", &info.InitPartitionCount)),
		optional(flagOpt("14", &info.IsBulkLoading)),
		optional(flagOpt("15", &info.AtomicIdempotent)),
	}
}

func optional(f appInfoField) appInfoField {
	f.optional = true
	return f
}

func number[T ~int32 | ~int64](id, kind string, v *T) appInfoField {
	return appInfoField{id: id, kind: kind,
		set: func(b json.RawMessage) error { return json.Unmarshal(b, v) },
		get: func() (json.RawMessage, error) { return json.Marshal(*v) }}
}

func text(id string, v *string) appInfoField {
	return appInfoField{id: id, kind: "str",
		set: func(b json.RawMessage) error { return json.Unmarshal(b, v) },
		get: func() (json.RawMessage, error) { return json.Marshal(*v) }}
}

func setBool(b json.RawMessage, v *bool) error {
	var n int
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	if n != 0 && n != 1 {
		return fmt.Errorf("%d is no truth value", n)
	}
	*v = n == 1
	return nil
}

func boolJSON(v bool) json.RawMessage {
	if v {
		return json.RawMessage("1")
	}
	return json.RawMessage("0")
}

func flag(id string, v *bool) appInfoField {
	return appInfoField{id: id, kind: "tf",
		set: func(b json.RawMessage) error { return setBool(b, v) },
		get: func() (json.RawMessage, error) { return boolJSON(*v), nil }}
}

func flagOpt(id string, v *base.Opt[bool]) appInfoField {
	return appInfoField{id: id, kind: "tf",
		set: func(b json.RawMessage) error {
			var on bool
			err := setBool(b, &on)
			*v = base.Some(on)
			return err
		},
		get: func() (json.RawMessage, error) { return boolJSON(v.Or(false)), nil }}
}

// envs are a map: ["str","str",count,{...}].
func envs(id string, v *[]base.Pair[string, string]) appInfoField {
	return appInfoField{id: id, kind: "map",
		set: func(b json.RawMessage) error {
			var parts []json.RawMessage
			if err := json.Unmarshal(b, &parts); err != nil {
				return err
			}
			var n int
			m := map[string]string{}
			if len(parts) != 4 {
				return fmt.Errorf("a map of %d parts", len(parts))
			}
			if err := json.Unmarshal(parts[2], &n); err != nil {
				return err
			}
			if err := json.Unmarshal(parts[3], &m); err != nil {
				return err
			}
			if n != len(m) {
				return fmt.Errorf("%d settings, where %d are named", len(m), n)
			}
			*v = nil
			for k, s := range m {
				*v = append(*v, base.Pair[string, string]{Key: k, Val: s})
			}
			slices.SortFunc(*v, func(a, b base.Pair[string, string]) int { return strings.Compare(a.Key, b.Key) })
			return nil
		},
		get: func() (json.RawMessage, error) {
			m := map[string]string{}
			for _, p := range *v {
				m[p.Key] = p.Val
			}
			return json.Marshal([]any{"str", "str", len(m), m})
		}}
}
