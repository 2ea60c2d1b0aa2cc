package config

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Sections of which there may be many, each [section.NAME]: a map of structs in Config.

// goodName is what a section may be called without quotes.
var goodName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// mapFields returns the fields of Config that are such sections.
func mapFields() []reflect.StructField {
	var out []reflect.StructField
	for f := range reflect.TypeFor[Config]().Fields() {
		if f.Type.Kind() == reflect.Map {
			out = append(out, f)
		}
	}
	return out
}

// templates lists the keys of these sections, as those of [section.NAME]; of one of them only, if
// in is a section's name with or without a name behind it.
func templates(in string) []key {
	var out []key
	of, name, _ := strings.Cut(in, ".")
	if name == "" {
		name = "NAME"
	}
	for _, f := range mapFields() {
		section := f.Tag.Get("toml")
		if in == "" || section == of {
			out = append(out, keysOf(section+"."+name, f.Tag.Get("doc"), f.Type.Elem(), nil)...)
		}
	}
	return out
}

// named lists the keys of the sections that c has, sorted by name.
func (c *Config) named() []key {
	var out []key
	for _, f := range mapFields() {
		m := reflect.ValueOf(c).Elem().FieldByIndex(f.Index)
		for _, n := range mapNames(m) {
			out = append(out, keysOf(f.Tag.Get("toml")+"."+n.String(), f.Tag.Get("doc"), f.Type.Elem(), func(c *Config) reflect.Value {
				return reflect.ValueOf(c).Elem().FieldByIndex(f.Index).MapIndex(n)
			})...)
		}
	}
	return out
}

// setDefaults sets the fields of a struct to what its tags say.
func setDefaults(v any) {
	var text strings.Builder
	for f := range reflect.TypeOf(v).Elem().Fields() {
		fmt.Fprintf(&text, "%s = %s\n", f.Tag.Get("toml"), f.Tag.Get("def"))
	}
	if _, err := toml.Decode(text.String(), v); err != nil {
		// The tags are checked by a test: this is a mistake in the source.
		panic(fmt.Sprintf("defaults of %T: %v", v, err))
	}
}

// overlayNamed reads the named sections of a file.
func overlayNamed(c *Config, file string, data []byte, root map[string]toml.Primitive, md toml.MetaData) error {
	for _, f := range mapFields() {
		section := f.Tag.Get("toml")
		prim, there := root[section]
		if !there {
			continue
		}
		var sections map[string]toml.Primitive
		if err := md.PrimitiveDecode(prim, &sections); err != nil || !isTable(md.Type(section)) {
			return &Error{File: file, Line: lineOf(data, "", section), Key: section, Problem: "is a section, not a value",
				Fix: "write [" + section + ".NAME] on a line of its own, and its keys below it", cause: err}
		}
		m := reflect.MakeMap(f.Type)
		for _, n := range slices.Sorted(maps.Keys(sections)) {
			path := section + "." + n
			var sec map[string]toml.Primitive
			if err := md.PrimitiveDecode(sections[n], &sec); err != nil || !isTable(md.Type(section, n)) {
				return &Error{File: file, Line: max(lineOf(data, section, n), lineOf(data, path, "")), Key: path, Problem: "is a value, or a list of sections",
					Fix: "write [" + section + ".NAME] on a line of its own, and its keys below it", cause: err}
			}
			if !goodName.MatchString(n) {
				return &Error{File: file, Line: lineOf(data, path, ""), Key: path, Problem: fmt.Sprintf("%q is no valid name", n),
					Fix: "write 1 to 64 characters of a-z A-Z 0-9 _ -"}
			}
			elem := reflect.New(f.Type.Elem())
			setDefaults(elem.Interface())
			for j, k := range keysOf(path, "", f.Type.Elem(), nil) {
				v, there := sec[k.name]
				if !there {
					continue
				}
				if err := md.PrimitiveDecode(v, elem.Elem().Field(j).Addr().Interface()); err != nil {
					return &Error{File: file, Line: lineOf(data, path, k.name), Key: k.path(),
						Problem: "the value must be " + k.kind(), Fix: "write, for example, " + k.name + " = " + k.def, cause: err}
				}
			}
			m.SetMapIndex(reflect.ValueOf(n), elem.Elem())
		}
		reflect.ValueOf(c).Elem().FieldByIndex(f.Index).Set(m)
	}
	return nil
}

// appendNamed appends the named sections: what differs from the defaults.
func (c *Config) appendNamed(b []byte) ([]byte, error) {
	for _, f := range mapFields() {
		def := reflect.New(f.Type.Elem())
		setDefaults(def.Interface())
		m := reflect.ValueOf(c).Elem().FieldByIndex(f.Index)
		for _, n := range mapNames(m) {
			if b != nil {
				b = append(b, '\n')
			}
			b = fmt.Appendf(b, "[%s.%s]\n", f.Tag.Get("toml"), n)
			v := m.MapIndex(n)
			for j, k := range keysOf("", "", v.Type(), nil) {
				value := v.Field(j).Interface()
				if reflect.DeepEqual(value, def.Elem().Field(j).Interface()) {
					continue
				}
				var line bytes.Buffer
				if err := toml.NewEncoder(&line).Encode(map[string]any{k.name: value}); err != nil {
					return nil, fmt.Errorf("write %s.%s.%s: %w", f.Tag.Get("toml"), n, k.name, err)
				}
				b = append(b, line.Bytes()...)
			}
		}
	}
	return b, nil
}

// mapNames returns the names of a map, sorted.
func mapNames(m reflect.Value) []reflect.Value {
	return slices.SortedFunc(slices.Values(m.MapKeys()), func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
}
