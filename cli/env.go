package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"pegasus/client"
)

// Env is what a command works with.
type Env struct {
	Client *client.Client
	Out    io.Writer
	JSON   bool
	Lines  bool // with JSON: each item of a list is a document of its own
	Escape bool // arguments are read with Unescape
	DryRun bool // nothing is changed: the commands that know it say what they would do
}

// printable: shown as it is. Spaces other than the common one are escaped, as they can't
// be told apart.
func printable(r rune) bool { return unicode.IsPrint(r) }

// bytes reads an argument that is a key or value.
func (e *Env) bytes(arg string) ([]byte, error) {
	if !e.Escape {
		return []byte(arg), nil
	}
	return Unescape(arg)
}

func (e *Env) manyBytes(args ...string) ([][]byte, error) {
	out := make([][]byte, len(args))
	for i, a := range args {
		var err error
		if out[i], err = e.bytes(a); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// print writes v as JSON, or else the text.
func (e *Env) print(v any, format string, args ...any) error {
	if e.JSON {
		return e.json(v)
	}
	_, err := fmt.Fprintf(e.Out, format+"\n", args...)
	return err
}

// would says what a command would have done, and nothing is changed.
func (e *Env) would(v map[string]any, format string, args ...any) error {
	v["dry_run"] = true
	return e.print(v, "would be done, and isn't: "+format, args...)
}

func (e *Env) json(v any) error {
	enc := json.NewEncoder(e.Out)
	enc.SetEscapeHTML(false)
	if l := reflect.ValueOf(v); e.Lines && l.Kind() == reflect.Slice {
		for i := range l.Len() {
			if err := enc.Encode(l.Index(i).Interface()); err != nil {
				return err
			}
		}
		return nil
	}
	return enc.Encode(v)
}

// grid is a table under construction: columns as wide as their widest cell, two spaces
// between, numbers to the right.
type grid struct {
	head  []string
	right []bool
	rows  [][]string
}

// newGrid makes a grid; a head that begins with "#" is a column of numbers.
func newGrid(head ...string) *grid {
	g := &grid{right: make([]bool, len(head))}
	for i, h := range head {
		h, g.right[i] = strings.CutPrefix(h, "#")
		g.head = append(g.head, strings.ToUpper(h))
	}
	return g
}

func (g *grid) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	g.rows = append(g.rows, row)
}

func (g *grid) print(w io.Writer) error {
	width := make([]int, len(g.head))
	all := append([][]string{g.head}, g.rows...)
	for _, row := range all {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, row := range all {
		var line strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if g.right[i] {
				line.WriteString(pad + c)
			} else {
				line.WriteString(c + pad)
			}
			line.WriteString("  ")
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
