package cppconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Key is one key of a C++ server's configuration.
type Key struct {
	Section string `json:"section"`
	Name    string `json:"name"`
	Value   string `json:"value"`
	Line    int    `json:"line,omitempty"` // 0: it wasn't read from lines
}

// maxInput bounds what is read: such a file has some hundred lines.
const maxInput = 4 << 20

// Parse reads a configuration file of a C++ server, or what its page /configs answers. The variables replace %{NAME}, %NAME%
// and @NAME@, which those who deploy the server fill in. What the server would ignore with a warning is in warnings; what it
// would not start with is an error.
func Parse(data []byte, variables map[string]string) (keys []Key, warnings []string, err error) {
	switch {
	case len(data) > maxInput:
		return nil, nil, fmt.Errorf("it has %d bytes, more than any configuration has: give the server's config.ini", len(data))
	case len(bytes.TrimSpace(data)) == 0:
		return nil, nil, errors.New("it is empty")
	case bytes.IndexByte(data, 0) >= 0:
		return nil, nil, errors.New("it is not text: give the server's config.ini")
	}
	if bytes.TrimSpace(data)[0] == '{' {
		return parsePage(data)
	}
	return parseLines(fill(string(data), variables))
}

// fill replaces the variables.
func fill(text string, variables map[string]string) string {
	if len(variables) == 0 {
		return text
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		for _, form := range []string{"%{" + name + "}", "%" + name + "%", "@" + name + "@"} {
			pairs = append(pairs, form, variables[name])
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// placeholder is what whoever deploys the server replaces.
var placeholder = regexp.MustCompile(`%\{[^}]*\}|%[A-Za-z0-9_.-]+%|@[A-Za-z0-9_.-]+@`)

// parseLines reads as the C++ server does: # and ; begin a comment anywhere, unless ^ stands before; a key that is there
// twice counts once, the first time; a section that is there twice is an error.
func parseLines(text string) (keys []Key, warnings []string, err error) {
	section, sections := "", map[string]bool{}
	seen := map[[2]string]int{}
	for i, line := range strings.Split(text, "\n") {
		n := i + 1
		line = strings.Trim(withoutComment(strings.TrimLeft(line, " \t\r")), " \t\r\v\f")
		name, value, assigned := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case line == "":
		case line[0] == '[':
			end := strings.IndexByte(line, ']')
			if assigned || end < 0 {
				return nil, nil, fmt.Errorf("line %d: %q is no section: write [NAME]", n, line)
			}
			section = strings.TrimSpace(line[1:end])
			if section == "" {
				return nil, nil, fmt.Errorf("line %d: the section has no name", n)
			}
			if sections[section] {
				return nil, nil, fmt.Errorf("line %d: the section [%s] is there twice: a C++ server doesn't start with that", n, section)
			}
			sections[section] = true
		case section == "":
			return nil, nil, fmt.Errorf("line %d: %q stands before the first section: this is no configuration of a C++ server", n, line)
		case name == "":
			return nil, nil, fmt.Errorf("line %d: %q has no key before the =", n, line)
		default:
			at := [2]string{section, name}
			if first, there := seen[at]; there {
				warnings = append(warnings, fmt.Sprintf("line %d: [%s] %s is there twice: that of line %d counts", n, section, name, first))
				continue
			}
			seen[at] = n
			keys = append(keys, Key{Section: section, Name: name, Value: value, Line: n})
		}
	}
	return keys, warnings, nil
}

// withoutComment cuts a comment off. A ^ before # or ; makes it a plain character, and is dropped itself.
func withoutComment(line string) string {
	var b []byte
	for i := range len(line) {
		if c := line[i]; c == '#' || c == ';' {
			if i == 0 || line[i-1] != '^' {
				break
			}
			b = b[:len(b)-1]
		}
		b = append(b, line[i])
	}
	return string(b)
}

// parsePage reads the answer of /configs: an object of objects, each with section, name and value.
func parsePage(data []byte) (keys []Key, warnings []string, err error) {
	var page map[string]struct{ Section, Name, Value *string }
	if err := json.Unmarshal(data, &page); err != nil {
		return nil, nil, fmt.Errorf("it begins as the answer of /configs, and isn't one: %w", err)
	}
	for name, k := range page {
		if k.Section == nil || k.Name == nil || k.Value == nil {
			return nil, nil, fmt.Errorf("it begins as the answer of /configs, and %q has not all of section, name and value", name)
		}
		keys = append(keys, Key{Section: *k.Section, Name: *k.Name, Value: *k.Value})
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return strings.Compare(a.Section+"\x00"+a.Name, b.Section+"\x00"+b.Name)
	})
	return keys, nil, nil
}
