package rowfile

import (
	"bufio"
	"encoding/base64"
	"encoding/csv"
	"io"
	"strconv"

	"pegasus/rocks/pegasus"
)

const bufferSize = 256 << 10

// jsonlWriter writes the objects itself: no key needs escapes but those of Text, and base64 none.
type jsonlWriter struct {
	w    *bufio.Writer
	text Text
	line []byte
}

func (j *jsonlWriter) Write(partition int32, row pegasus.Row) error {
	b := append(j.line[:0], `{"partition":`...)
	b = strconv.AppendInt(b, int64(partition), 10)
	for _, f := range []struct {
		name string
		v    []byte
	}{{"hash_key", row.HashKey}, {"sort_key", row.SortKey}, {"value", row.Data}} {
		b = append(b, `,"`...)
		b = append(b, f.name...)
		b = append(b, `":"`...)
		if j.text == nil {
			b = base64.StdEncoding.AppendEncode(b, f.v)
		} else {
			b = appendJSON(b, j.text(f.v))
		}
		b = append(b, '"')
	}
	if at, ok := expires(row.Value); ok {
		b = strconv.AppendInt(append(b, `,"expires":`...), at, 10)
	}
	if at, ok := written(row.Value); ok {
		b = strconv.AppendInt(append(b, `,"written":`...), at, 10)
	}
	j.line = append(b, "}\n"...)
	_, err := j.w.Write(j.line)
	return err
}

// appendJSON appends printable text as the inside of a JSON string.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return b
}

func (j *jsonlWriter) Close() error { return j.w.Flush() }

type csvWriter struct {
	w    *csv.Writer
	out  *bufio.Writer
	text Text
	row  []string
	err  error
}

func newCSVWriter(w io.Writer, text Text) Writer {
	if text == nil {
		text = base64.StdEncoding.EncodeToString
	}
	out := bufio.NewWriterSize(w, bufferSize)
	c := &csvWriter{w: csv.NewWriter(out), out: out, text: text}
	c.err = c.w.Write([]string{"partition", "hash_key", "sort_key", "value", "expires", "written"})
	return c
}

func (c *csvWriter) Write(partition int32, row pegasus.Row) error {
	if c.err != nil {
		return c.err
	}
	optional := func(n int64, ok bool) string {
		if !ok {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	c.row = append(c.row[:0], strconv.Itoa(int(partition)), c.text(row.HashKey), c.text(row.SortKey), c.text(row.Data),
		optional(expires(row.Value)), optional(written(row.Value)))
	return c.w.Write(c.row)
}

func (c *csvWriter) Close() error {
	if c.err != nil {
		return c.err
	}
	c.w.Flush()
	if err := c.w.Error(); err != nil {
		return err
	}
	return c.out.Flush()
}
