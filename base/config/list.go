package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// Entry is one key of a Config with its value, as tools show it.
type Entry struct {
	Section, Name string
	Kind          reflect.Kind // of the value; a duration and a list are strings
	Doc           string
	Value         string
}

// Path returns "section.name".
func (e *Entry) Path() string { return e.Section + "." + e.Name }

// Entries lists every key in the order of the documentation.
func (c *Config) Entries() []Entry {
	ks := append(keys(), c.named()...)
	out := make([]Entry, len(ks))
	for i, k := range ks {
		v := k.field(c)
		e := Entry{Section: k.section, Name: k.name, Kind: v.Kind(), Doc: strings.TrimSpace(k.doc + " " + k.limits())}
		switch x := v.Interface().(type) {
		case Duration:
			e.Kind, e.Value = reflect.String, x.D().String()
		case []string:
			e.Kind, e.Value = reflect.String, strings.Join(x, ",")
		default:
			e.Value = fmt.Sprint(x)
		}
		out[i] = e
	}
	return out
}

// Value returns the value of the key at path ("section.name"): a string, bool, int, int64, float64,
// []string or time.Duration; nil if there is no such key.
func (c *Config) Value(path string) any {
	for _, k := range keys() {
		if k.path() != path {
			continue
		}
		v := k.field(c).Interface()
		if d, ok := v.(Duration); ok {
			return d.D()
		}
		return v
	}
	return nil
}

// Set changes the key at path ("section.name") to a value written as in a file, quotes of
// strings left out, or a list as Entries writes it, and checks the whole. On an error, an *Error, c is unchanged.
func (c *Config) Set(path, value string) error {
	for _, k := range keys() {
		if k.path() != path {
			continue
		}
		n := *c
		text := value
		if k.kind() == "a string" || k.kind() == "a duration" {
			text = fmt.Sprintf("%q", value)
		}
		if k.kind() == "a list of strings" && !strings.HasPrefix(value, "[") { // as Entries writes it
			var items []string
			for _, item := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' }) {
				items = append(items, fmt.Sprintf("%q", item))
			}
			text = "[" + strings.Join(items, ", ") + "]"
		}
		if strings.ContainsAny(value, "\r\n") {
			return &Error{Key: path, Problem: "a value is one line"}
		}
		if _, err := toml.Decode("["+k.section+"]\n"+k.name+" = "+text+"\n", &n); err != nil {
			return &Error{Key: path, Problem: fmt.Sprintf("%q is not %s", value, k.kind()), Fix: "write, for example, " + strings.Trim(k.def, `"`), cause: err}
		}
		if err := n.Validate(); err != nil {
			return err
		}
		*c = n
		return nil
	}
	return &Error{Key: path, Problem: "unknown key", Fix: "/configs lists every key"}
}
