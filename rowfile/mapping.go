package rowfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Mapping makes rows of a file's own columns. Keys and value are templates: text with {NAME} for what a column has, {*} for a JSON object
// of all columns, {{ and }} for braces.
type Mapping struct {
	HashKey, SortKey, Value string // SortKey may be empty; an empty Value is {*}
	Expires                 string // column with Unix seconds; empty: none
	TTL                     string // column with seconds from Now on; empty: none
	Now                     time.Time
}

type piece struct {
	text string
	kind pieceKind
}

type pieceKind uint8

const (
	literal pieceKind = iota
	column
	object
)

type mapping struct {
	hashKey, sortKey, value []piece
	expires, ttl            string
	now                     int64
	uses                    []string
	buf                     []byte
}

// fields are the columns of a row.
type fields interface {
	// field appends what a column has; false: nothing.
	field(b []byte, name string) ([]byte, bool, error)
	object(b []byte) ([]byte, error)
}

func (m *Mapping) compile() (*mapping, error) {
	if m.HashKey == "" {
		return nil, errors.New("there is no template for the hash key")
	}
	if m.Expires != "" && m.TTL != "" {
		return nil, errors.New("give a column for the expiry, or one for the time to live, not both")
	}
	c := &mapping{expires: m.Expires, ttl: m.TTL, now: m.Now.Unix()}
	value := m.Value
	if value == "" {
		value = "{*}"
	}
	for _, t := range []struct {
		name, text string
		to         *[]piece
	}{{"hash key", m.HashKey, &c.hashKey}, {"sort key", m.SortKey, &c.sortKey}, {"value", value, &c.value}} {
		var err error
		if *t.to, err = parseTemplate(t.text); err != nil {
			return nil, fmt.Errorf("template %q of the %s: %w", t.text, t.name, err)
		}
		for _, p := range *t.to {
			if p.kind == column {
				c.uses = append(c.uses, p.text)
			}
		}
	}
	for _, name := range []string{m.Expires, m.TTL} {
		if name != "" {
			c.uses = append(c.uses, name)
		}
	}
	slices.Sort(c.uses)
	c.uses = slices.Compact(c.uses)
	return c, nil
}

// object tells whether a template has {*}.
func (m *mapping) object() bool {
	for _, t := range [][]piece{m.hashKey, m.sortKey, m.value} {
		if slices.ContainsFunc(t, func(p piece) bool { return p.kind == object }) {
			return true
		}
	}
	return false
}

func parseTemplate(s string) (list []piece, err error) {
	var text []byte
	flush := func() {
		if len(text) > 0 {
			list = append(list, piece{text: string(text)})
			text = nil
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case (c == '{' || c == '}') && i+1 < len(s) && s[i+1] == c:
			text = append(text, c)
			i++
		case c == '}':
			return nil, fmt.Errorf("a } at byte %d has no {: write }} for a brace", i)
		case c == '{':
			n := strings.IndexByte(s[i:], '}')
			if n < 0 {
				return nil, fmt.Errorf("a { at byte %d has no }: write {{ for a brace", i)
			}
			flush()
			switch name := s[i+1 : i+n]; name {
			case "":
				return nil, fmt.Errorf("{} at byte %d names no column", i)
			case "*":
				list = append(list, piece{kind: object})
			default:
				list = append(list, piece{name, column})
			}
			i += n
		default:
			text = append(text, c)
		}
	}
	flush()
	return list, nil
}

// row makes a row of the columns. The row's slices are the mapping's.
func (m *mapping) row(f fields, r *Row) (err error) {
	*r = Row{}
	m.buf = m.buf[:0]
	var ends [3]int
	for i, t := range [][]piece{m.hashKey, m.sortKey, m.value} {
		for _, p := range t {
			switch p.kind {
			case literal:
				m.buf = append(m.buf, p.text...)
			case object:
				m.buf, err = f.object(m.buf)
			case column:
				var ok bool
				m.buf, ok, err = f.field(m.buf, p.text)
				if err == nil && !ok && i < 2 {
					err = fmt.Errorf("column %.100s, which is part of a key, has nothing", p.text)
				}
			}
			if err != nil {
				return err
			}
		}
		if ends[i] = len(m.buf); ends[i] > MostRow {
			return ErrLong
		}
	}
	r.HashKey, r.SortKey, r.Value = m.buf[:ends[0]:ends[0]], m.buf[ends[0]:ends[1]:ends[1]], m.buf[ends[1]:ends[2]:ends[2]]
	at, err := number(f, m.expires)
	if err != nil {
		return err
	}
	ttl, err := number(f, m.ttl)
	switch {
	case err != nil:
		return err
	case ttl < 0 || ttl > 1<<40:
		return fmt.Errorf("the time to live in column %.100s is %d: give seconds", m.ttl, ttl)
	case ttl > 0:
		at = m.now + ttl
	}
	r.Expires = at
	return nil
}

func number(f fields, name string) (int64, error) {
	if name == "" {
		return 0, nil
	}
	b, ok, err := f.field(nil, name)
	if err != nil || !ok || len(b) == 0 {
		return 0, err
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("column %.100s is %.100q: give a number", name, b)
	}
	return n, nil
}

type csvFields struct {
	c      *csvReader
	record []string
}

func (f csvFields) field(b []byte, name string) ([]byte, bool, error) {
	return append(b, f.record[f.c.columns[name]]...), true, nil
}

func (f csvFields) object(b []byte) ([]byte, error) {
	for i, name := range f.c.names {
		if !utf8.ValidString(f.record[i]) {
			return b, fmt.Errorf("column %.100q: %w, and can't be in a JSON object", name, errNoUTF8)
		}
		b = appendMember(b, i, name, func(b []byte) []byte { return appendString(b, f.record[i]) })
	}
	return append(b, '}'), nil
}

// appendMember appends a member of a JSON object, the first one with its brace.
func appendMember(b []byte, i int, name string, value func([]byte) []byte) []byte {
	if i == 0 {
		b = append(b, '{')
	} else {
		b = append(b, ',')
	}
	return value(append(appendString(b, name), ':'))
}

// appendString appends a JSON string. What isn't UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string and a buffer
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte{'\n'})...)
}

// jsonFields are the members of a line.
type jsonFields struct {
	line    []byte
	members map[string]json.RawMessage
}

func parseObject(line []byte) (jsonFields, error) {
	f := jsonFields{line: line}
	d := json.NewDecoder(bytes.NewReader(line))
	if err := d.Decode(&f.members); err != nil || f.members == nil {
		return f, fmt.Errorf("it is no JSON object: %w", errors.Join(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return f, errors.New("there is more than one JSON object in the line")
	}
	return f, nil
}

func (f jsonFields) field(b []byte, name string) ([]byte, bool, error) {
	raw := f.members[name]
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return b, false, nil
	case raw[0] == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return b, false, fmt.Errorf("%.100s: %w", name, err)
		}
		return append(b, s...), true, nil
	}
	return append(b, raw...), true, nil // a number, a truth, or a document
}

func (f jsonFields) object(b []byte) ([]byte, error) {
	return append(b, f.line...), nil
}
