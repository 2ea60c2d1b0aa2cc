package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"
)

// Error is what is wrong with a configuration: one line that says where, what, and what
// to do about it.
type Error struct {
	File    string // the file as it was named to Load; "" if there is none
	Line    int    // counted from 1; 0 if unknown
	Key     string // "section.key", or "section"; "" if the file as a whole is meant
	Problem string
	Fix     string
	cause   error
}

// Error returns the line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Problem)
	if e.Fix != "" {
		b.WriteString("; " + e.Fix)
	}
	return b.String()
}

// Unwrap returns the error underneath, if there is one.
func (e *Error) Unwrap() error { return e.cause }

// Default returns the configuration of an empty file.
func Default() Config {
	c := defaults()
	for _, k := range keys() {
		if k.typ.Kind() == reflect.Slice { // who gets it may change it
			f := k.field(&c)
			f.Set(reflect.AppendSlice(reflect.MakeSlice(k.typ, 0, f.Len()), f))
		}
	}
	return c
}

// defaults is read once: a server that starts asks for it with each setting that can be changed.
var defaults = sync.OnceValue(func() (c Config) {
	for _, k := range keys() {
		if err := setDefault(&c, k); err != nil {
			// The tags are checked by a test: this is a mistake in the source of config.go.
			panic(fmt.Sprintf("default of %s: %v", k.path(), err))
		}
	}
	return c
})

// Load reads a file over the defaults. Every error is an *Error.
func Load(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, &Error{File: path, Problem: "can't be read: " + rootCause(err),
			Fix: "give the path of a configuration file (`pegasus config example` prints one)", cause: err}
	}
	return Parse(path, data)
}

// Parse is Load for data that was read already; name stands for the file in errors.
func Parse(name string, data []byte) (Config, error) {
	c := Default()
	if err := overlay(&c, name, data); err != nil {
		return Config{}, err
	}
	if err := c.validate(name, data); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Validate checks values that didn't come from a file (flags, generated ones); the
// returned *Error names no file.
func (c *Config) Validate() error { return c.validate("", nil) }

func overlay(c *Config, name string, data []byte) error {
	// Strings too must be valid UTF-8 in TOML; the library says so with a position.
	var root map[string]toml.Primitive
	md, err := toml.Decode(string(data), &root)
	if err != nil {
		return syntaxError(name, err)
	}
	sections := map[string]map[string]toml.Primitive{}
	for _, k := range keys() {
		prim, there := root[k.section]
		if !there {
			continue
		}
		sec, read := sections[k.section]
		if !read {
			if err := md.PrimitiveDecode(prim, &sec); err != nil || !isTable(md.Type(k.section)) {
				return &Error{File: name, Line: lineOf(data, "", k.section), Key: k.section, Problem: "is a section, not a value",
					Fix: "write [" + k.section + "] on a line of its own, and its keys below it", cause: err}
			}
			sections[k.section] = sec
		}
		v, there := sec[k.name]
		if !there {
			continue
		}
		if err := md.PrimitiveDecode(v, k.field(c).Addr().Interface()); err != nil {
			return &Error{File: name, Line: lineOf(data, k.section, k.name), Key: k.path(),
				Problem: "the value must be " + k.kind(), Fix: "write, for example, " + k.name + " = " + k.def, cause: err}
		}
	}
	if err := overlayNamed(c, name, data, root, md); err != nil {
		return err
	}
	// The types are right; decoding once more, into the struct, tells what found no place.
	md, err = toml.Decode(string(data), new(Config))
	if err != nil {
		return syntaxError(name, err)
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		return unknownKey(name, data, unknown[0])
	}
	return nil
}

// isTable: a section that only [section.sub] headers imply has no type of its own.
func isTable(tomlType string) bool { return tomlType == "Hash" || tomlType == "" }

func syntaxError(name string, err error) error {
	var pe toml.ParseError
	if errors.As(err, &pe) {
		return &Error{File: name, Line: pe.Position.Line, Problem: "not valid TOML: " + oneLine(pe.Message),
			Fix: "correct that line (strings and durations are quoted, lists are in [ ])", cause: err}
	}
	return &Error{File: name, Problem: "not valid TOML: " + oneLine(err.Error()), Fix: "correct the file", cause: err}
}

func unknownKey(name string, data []byte, key toml.Key) error {
	section, field := "", key[0]
	if n := len(key) - 1; n > 0 {
		section, field = key[:n].String(), key[n]
	}
	e := &Error{File: name, Key: key.String(), Line: lineOf(data, section, field), Problem: "unknown key"}
	if e.Line == 0 {
		e.Line = lineOf(data, key.String(), "")
	}
	if e.Line == 0 && len(key) > 1 {
		e.Line = lineOf(data, key[:len(key)-1].String(), key[len(key)-1])
	}
	best, dist := "", 4
	for _, k := range append(keys(), templates(section)...) {
		for _, cand := range []string{k.path(), k.section} {
			if d := editDistance(key.String(), cand, dist); d < dist {
				best, dist = cand, d
			}
		}
		if k.name == field && dist > 2 {
			best, dist = k.path(), 2
		}
	}
	if best != "" {
		e.Fix = fmt.Sprintf("did you mean %s?", best)
	} else {
		e.Fix = "remove it (`pegasus config example` prints every key)"
	}
	return e
}

// lineOf finds the line on which a key, or with name "" a section header, stands. It is a
// scan of the text, good enough for a message: 0 when it finds nothing.
func lineOf(data []byte, section, name string) int {
	in := ""
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			head, _, _ := strings.Cut(strings.TrimLeft(line, "["), "]")
			in = strings.TrimSpace(head)
			if name == "" && in == section {
				return i + 1
			}
			continue
		}
		k, _, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		k = strings.Trim(strings.TrimSpace(k), `"'`)
		if in == section && k == name || in == "" && section != "" && k == section+"."+name {
			return i + 1
		}
	}
	return 0
}

// editDistance is Levenshtein's, given up at limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := prev
			if a[i-1] != b[j-1] {
				cost++
			}
			prev = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// key is one configuration key, as its struct tags describe it.
type key struct {
	section, name string // the section of a named one is "section.NAME"
	doc, def      string
	unit          string
	sectionDoc    string
	typ           reflect.Type
	tag           reflect.StructTag
	field         func(c *Config) reflect.Value // addressable, unless the key is of a named section
}

func (k key) path() string { return k.section + "." + k.name }

var durationType = reflect.TypeFor[Duration]()

// kind says in words what a value has to be.
func (k key) kind() string {
	t := k.typ
	switch {
	case t == durationType:
		return "a duration"
	case t.Kind() == reflect.Slice:
		return "a list of strings"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Float64:
		return "a number"
	case t.Kind() == reflect.String:
		return "a string"
	}
	return "a whole number"
}

// keys lists every key of the sections that are there once, in the order of the source.
func keys() []key { return allKeys() }

var allKeys = sync.OnceValue(func() (out []key) {
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		if s := t.Field(i); s.Type.Kind() == reflect.Struct {
			out = append(out, keysOf(s.Tag.Get("toml"), s.Tag.Get("doc"), s.Type,
				func(c *Config) reflect.Value { return reflect.ValueOf(c).Elem().Field(i) })...)
		}
	}
	return slices.Clip(out) // what is appended goes into a copy
})

// keysOf lists the keys of a section.
func keysOf(section, doc string, t reflect.Type, of func(*Config) reflect.Value) []key {
	var out []key
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous { // a group of keys; they follow
			continue
		}
		out = append(out, key{
			section: section, name: f.Tag.Get("toml"), sectionDoc: doc,
			doc: f.Tag.Get("doc"), def: f.Tag.Get("def"), unit: f.Tag.Get("unit"), typ: f.Type, tag: f.Tag,
			field: func(c *Config) reflect.Value { return of(c).FieldByIndex(f.Index) },
		})
	}
	return out
}

func setDefault(c *Config, k key) error {
	_, err := toml.Decode("["+k.section+"]\n"+k.name+" = "+k.def+"\n", c)
	return err
}

// rootCause drops "open path:" from an error of the file system: the path stands
// before it already.
func rootCause(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
