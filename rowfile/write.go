package rowfile

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"pegasus/rocks/pegasus"
)

// Writer writes rows in a form. Close ends the form, not what it is written to.
type Writer interface {
	// Write writes a row of a partition. The row's slices are the caller's again when it returns.
	Write(partition int32, row pegasus.Row) error
	Close() error
}

// Text shows bytes so that they can be turned back. nil: base64.
type Text func([]byte) string

var makers = map[string]func(io.Writer, Text) Writer{
	"jsonl":   func(w io.Writer, t Text) Writer { return &jsonlWriter{w: bufio.NewWriterSize(w, bufferSize), text: t} },
	"csv":     newCSVWriter,
	"parquet": func(w io.Writer, _ Text) Writer { return newParquetWriter(w) },
}

// Formats lists what there are.
func Formats() []string {
	list := make([]string, 0, len(makers))
	for f := range makers {
		list = append(list, f)
	}
	slices.Sort(list)
	return list
}

// NewWriter makes a Writer of a form.
func NewWriter(format string, w io.Writer, text Text) (Writer, error) {
	m := makers[format]
	if m == nil {
		return nil, fmt.Errorf("unknown format %q: give one of %s", format, strings.Join(Formats(), ", "))
	}
	return m(w, text), nil
}
