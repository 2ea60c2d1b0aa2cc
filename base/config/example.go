package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

const exampleHead = `# Pegasus in Go: every configuration key, with its default, unit and meaning.
# Written from base/config/config.go by "make gen"; don't edit this file, copy it.
#
# All servers of a cluster can share one file: a meta server reads [meta], a replica
# server [replica]; the rest is for both. A key that is left out has its default. An
# unknown key is an error. Check a file with: pegasus config check FILE
`

// Example returns the text of config.toml.example: each section, and each key commented
// out with its default.
func Example() []byte {
	b := []byte(exampleHead)
	section := ""
	for _, k := range keys() {
		if k.section != section {
			section = k.section
			b = append(b, '\n')
			b = appendComment(b, k.sectionDoc)
			b = fmt.Appendf(b, "[%s]\n", section)
		}
		b = append(b, '\n')
		b = appendComment(b, strings.TrimSpace(k.doc+" "+k.limits()))
		b = fmt.Appendf(b, "#%s = %s\n", k.name, k.def)
	}
	return b
}

// Marshal returns a file that Load reads as c: only what differs from the defaults.
func Marshal(c Config) ([]byte, error) {
	var b []byte
	def := Default()
	section := ""
	for _, k := range keys() {
		v := k.field(&c)
		if reflect.DeepEqual(v.Interface(), k.field(&def).Interface()) {
			continue
		}
		if k.section != section {
			section = k.section
			if b != nil {
				b = append(b, '\n')
			}
			b = fmt.Appendf(b, "[%s]\n", section)
		}
		var line bytes.Buffer
		if err := toml.NewEncoder(&line).Encode(map[string]any{k.name: v.Interface()}); err != nil {
			return nil, fmt.Errorf("write %s: %w", k.path(), err)
		}
		b = append(b, line.Bytes()...)
	}
	return b, nil
}

// limits says the unit and the range of a key, where its documentation needn't.
func (k key) limits() string {
	var parts []string
	t := reflect.TypeFor[Config]().Field(k.index[0]).Type.Field(k.index[1]).Type
	unit := k.unit
	if unit == "" && (strings.HasSuffix(k.name, "_bytes") || strings.HasSuffix(k.name, "_bytes_per_second")) {
		unit = strings.ReplaceAll(k.name[strings.Index(k.name, "bytes"):], "_", " ")
	}
	if t == durationType {
		unit = `a duration ("500ms", "3s", "24h")`
	}
	if unit != "" {
		parts = append(parts, "Unit: "+unit+".")
	}
	number := t == durationType || t.Kind() == reflect.Int || t.Kind() == reflect.Int64
	if lo := k.tag.Get("min"); number && lo != "" {
		parts = append(parts, "At least "+lo+".")
	}
	if hi := k.tag.Get("max"); hi != "" {
		parts = append(parts, "At most "+hi+".")
	}
	if n, err := strconv.ParseInt(k.def, 10, 64); err == nil && n >= 1<<20 && n%(1<<20) == 0 {
		parts = append(parts, fmt.Sprintf("The default is %d MiB.", n>>20))
	}
	return strings.Join(parts, " ")
}

// appendComment appends text as comment lines of at most 95 characters.
func appendComment(b []byte, text string) []byte {
	n := 0
	for _, w := range strings.Fields(text) {
		if n == 0 || n+1+len(w) > 95 {
			if n > 0 {
				b = append(b, '\n')
			}
			b = append(b, '#')
			n = 1
		}
		b = append(append(b, ' '), w...)
		n += 1 + len(w)
	}
	return append(b, '\n')
}

// String returns the written form.
func (d Duration) String() string { return time.Duration(d).String() }
