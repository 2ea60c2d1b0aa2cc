package cppconfig

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"pegasus/base/config"
)

// Options say what the configuration is for.
type Options struct {
	Role         string // "meta" or "replica": leave out what is for servers of the other role; "" is both
	Host         string // address of this server; "" takes that of the file
	DropDefaults bool   // leave out what has upstream's default, so that ours holds
}

// Line is what became of a key.
type Line struct {
	Key
	Fate Fate   `json:"fate"`
	To   string `json:"to,omitempty"` // our keys
	TOML string `json:"value_here,omitempty"`
	Why  string `json:"why,omitempty"`
}

// Result is a configuration with the report of how it came about.
type Result struct {
	TOML  []byte
	Lines []Line
}

// Count says how many keys have a fate.
func (r *Result) Count(f Fate) int {
	n := 0
	for i := range r.Lines {
		if r.Lines[i].Fate == f {
			n++
		}
	}
	return n
}

// secret keys are not shown.
var secret = map[string]bool{"server_key": true}

// find returns the rule of a key.
func find(section, name string) (rule, bool) {
	for _, r := range rules {
		prefix, all := strings.CutSuffix(r.section, "*")
		if r.section != section && !(all && strings.HasPrefix(section, prefix)) {
			continue
		}
		if r.names == "*" || slices.Contains(strings.Fields(r.names), name) {
			return r, true
		}
	}
	return rule{}, false
}

// draft is the configuration that is being made.
type draft struct {
	values map[string][]string // TOML by path; of a list each entry
	list   map[string]bool
	from   map[string][]int // the lines of the report that a path is of
}

// Convert makes a configuration of the keys of a C++ server's.
func Convert(keys []Key, o Options) (*Result, error) {
	in := &input{keys: map[[2]string]string{}, host: o.Host}
	for _, k := range keys {
		in.keys[[2]string{k.Section, k.Name}] = k.Value
	}
	if in.host == "" {
		if h := in.get("network", "explicit_host_address"); !placeholder.MatchString(h) {
			in.host = h
		}
	}
	res := &Result{}
	d := &draft{values: map[string][]string{}, list: map[string]bool{}, from: map[string][]int{}}
	defaults := config.Default()
	for i, k := range keys {
		res.Lines = append(res.Lines, d.convert(in, k, o, i, &defaults))
	}
	// What the check refuses is left out, until the rest passes.
	for range len(keys) + 1 {
		text := d.text(res.Lines)
		_, err := config.Parse("", text)
		if err == nil {
			res.TOML = text
			break
		}
		if !d.drop(err, res.Lines) {
			return nil, fmt.Errorf("check the configuration that was made: %w", err)
		}
	}
	if res.TOML == nil {
		return nil, errors.New("check the configuration that was made: it doesn't become valid")
	}
	for i := range res.Lines {
		if secret[res.Lines[i].Name] {
			res.Lines[i].Value = "(not shown)"
		}
	}
	return res, nil
}

func (d *draft) convert(in *input, k Key, o Options, index int, defaults *config.Config) Line {
	l := Line{Key: k}
	r, ok := find(k.Section, k.Name)
	if !ok {
		l.Fate, l.Why = Unknown, "no C++ server from 2.0 on that is known has this key; a server of ours would refuse it"
		return l
	}
	l.Fate, l.Why = r.fate, r.why
	if r.fate == Unsupported && (k.Value == "" || slices.Contains(strings.Split(r.off, "|"), strings.ToLower(k.Value))) {
		l.Fate = Needless
		return l
	}
	if r.fate != Taken {
		return l
	}
	l.To = r.to
	if !utf8.ValidString(k.Section + k.Name + k.Value) {
		l.Fate, l.Why = Refused, "it is not UTF-8"
		return l
	}
	if placeholder.MatchString(k.Section + " " + k.Name + " " + k.Value) {
		l.Fate, l.Why = Open, "give it with --set NAME=VALUE"
		return l
	}
	values, why, err := r.how(in, k, r.to)
	var open errOpen
	switch {
	case errors.As(err, &open):
		l.Fate, l.Why = Open, err.Error()
		return l
	case err != nil:
		l.Fate, l.Why = Refused, err.Error()
		return l
	case len(values) == 0:
		l.Fate, l.To, l.Why = Needless, "", why
		return l
	}
	l.To = values[0].path
	if r.def != "" && slices.Contains(strings.Split(r.def, "|"), k.Value) {
		here := shown(defaults.Value(l.To))
		if o.DropDefaults {
			l.Fate, l.Why = Kept, "it is upstream's default; ours is "+here
			return l
		}
		if here != "" && here != values[0].toml {
			l.Why = strings.TrimPrefix(l.Why+"; it is upstream's default, ours is "+here, "; ")
		}
	}
	var tos, tomls []string
	for _, v := range values {
		section, _, _ := strings.Cut(v.path, ".")
		if o.Role == "meta" && (section == "replica" || section == "wal" || section == "storage") || o.Role == "replica" && section == "meta" {
			l.Fate, l.Why = Other, "it is for the other servers"
			return l
		}
		if have := d.values[v.path]; have != nil && !v.list && have[0] != v.toml {
			l.Fate, l.Why = Refused, fmt.Sprintf("%s is %s already, by another key", v.path, have[0])
			return l
		}
		tos, tomls = append(tos, v.path), append(tomls, v.toml)
	}
	for _, v := range values {
		if v.list {
			d.values[v.path] = append(d.values[v.path], v.toml)
		} else {
			d.values[v.path] = []string{v.toml}
		}
		d.list[v.path] = v.list
		d.from[v.path] = append(d.from[v.path], index)
	}
	l.To, l.TOML = strings.Join(tos, ", "), strings.Join(tomls, ", ")
	return l
}

// shown is a default of ours in TOML.
func shown(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return config.Quote(x)
	case []string:
		return quoteList(x)
	case fmt.Stringer: // a duration
		return config.Quote(x.String())
	}
	return fmt.Sprint(v)
}

// drop leaves out what an error of the check is about, and says so in the report.
func (d *draft) drop(err error, lines []Line) bool {
	var e *config.Error
	if !errors.As(err, &e) || e.Key == "" {
		return false
	}
	section := e.Key
	if i := strings.LastIndexByte(section, '.'); i >= 0 {
		section = section[:i]
	}
	var gone []string
	for path := range d.values {
		if path == e.Key || strings.HasPrefix(path, e.Key+".") {
			gone = append(gone, path)
		}
	}
	if gone == nil { // the value that it names is a default, which doesn't go with one of its section
		for path := range d.values {
			if strings.HasPrefix(path, section+".") {
				gone = append(gone, path)
			}
		}
	}
	for _, path := range gone {
		for _, i := range d.from[path] {
			lines[i].Fate, lines[i].TOML, lines[i].Why = Refused, "", e.Key+" "+e.Problem
		}
		delete(d.values, path)
	}
	return gone != nil
}

const head = `# Made by "pegasus config import" of the configuration of a C++ server. "pegasus config example" prints
# every key with its meaning and default, "pegasus config check FILE" checks a file.
`

// text writes the file, in the order of config.toml.example.
func (d *draft) text(lines []Line) []byte {
	b := []byte(head)
	section := ""
	put := func(in, name string) {
		path := in + "." + name
		v := d.values[path]
		if v == nil {
			return
		}
		if in != section {
			section = in
			b = fmt.Appendf(b, "\n[%s]\n", in)
		}
		toml := v[0]
		if d.list[path] {
			toml = "[" + strings.Join(v, ", ") + "]"
		}
		var from []string
		for _, i := range d.from[path] {
			from = append(from, printable("["+lines[i].Section+"] "+lines[i].Name))
		}
		b = fmt.Appendf(b, "%s = %s # %s\n", name, toml, strings.Join(from, ", "))
	}
	defaults := config.Default()
	for _, e := range defaults.Entries() {
		put(e.Section, e.Name)
	}
	for _, path := range slices.Sorted(maps.Keys(d.values)) {
		if strings.HasPrefix(path, "clusters.") || strings.HasPrefix(path, "blob.") {
			i := strings.LastIndexByte(path, '.')
			put(path[:i], path[i+1:])
		}
	}
	return b
}
