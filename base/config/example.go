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

const exampleHead = `# Every configuration key of a Pegasus server, with its meaning and its default. "make gen" writes
# this file from base/config/config.go: copy it, don't edit it.
#
# All servers of a cluster can share one file. A meta server reads [meta], a replica server reads
# [replica], and both read the other sections. A missing key has its default. An unknown key is an
# error. To check a file, run: pegasus config check FILE
#
# Units: a duration is a string such as "500ms", "3s" or "24h". A key with "bytes" in its name
# counts bytes. The comment of any other key that has a unit names it.
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
	for _, k := range templates("") {
		if k.section != section {
			section = k.section
			b = append(b, '\n')
			b = appendComment(b, k.sectionDoc)
			b = fmt.Appendf(b, "#[%s]\n", section)
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
	return c.appendNamed(b)
}

// limits says the unit, unless the name or the type of the key does, and the range.
func (k key) limits() string {
	var parts []string
	t := k.typ
	if k.unit != "" {
		parts = append(parts, "Unit: "+k.unit+".")
	}
	lo, hi := k.tag.Get("min"), k.tag.Get("max")
	if t != durationType && t.Kind() != reflect.Int && t.Kind() != reflect.Int64 || lo == "0" && hi == "" {
		lo = ""
	}
	switch {
	case lo != "" && hi != "":
		parts = append(parts, fmt.Sprintf("Range: %s to %s.", lo, hi))
	case lo != "":
		parts = append(parts, "Minimum: "+lo+".")
	case hi != "":
		parts = append(parts, "Maximum: "+hi+".")
	}
	if n, err := strconv.ParseInt(k.def, 10, 64); err == nil && n >= 1<<20 && n%(1<<20) == 0 {
		parts = append(parts, fmt.Sprintf("Default: %d MiB.", n>>20))
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
