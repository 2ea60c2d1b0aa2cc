package build

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// Row is a row as an input has it.
type Row struct {
	HashKey, SortKey, Value []byte
	Expires                 int64 // Unix seconds; 0 is never
	Written                 int64 // Unix microseconds; 0 is unknown
}

// badRow says that a row can't be read, and that the next one may be.
type badRow struct{ err error }

func (e *badRow) Error() string { return e.err.Error() }

// input gives rows. next returns the line (of Parquet the number of the row) where the row begins, io.EOF at the end, and *badRow for one
// that can't be read. A row is good until the next call.
type input interface {
	next(*Row) (line int64, err error)
}

// mostRow bounds a row of an input, in bytes.
const mostRow = 64 << 20

var errLong = fmt.Errorf("the row has more than %d bytes", mostRow)

// Bytes turns text of an input into bytes. nil: base64.
type Bytes func(string) ([]byte, error)

// Formats are what a file can have, by the ends of their names.
var formats = map[string]string{".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}

// Formats lists the formats.
func Formats() []string { return []string{"csv", "jsonl", "parquet"} }

// openInput opens a file; format may be empty.
func openInput(name, format string, text Bytes) (input, io.Closer, error) {
	if format == "" {
		if format = formats[strings.ToLower(filepath.Ext(name))]; format == "" {
			return nil, nil, fmt.Errorf("the name of %s doesn't say what it is: give the format, one of %s", name, strings.Join(Formats(), ", "))
		}
	}
	if !slices.Contains(Formats(), format) {
		return nil, nil, fmt.Errorf("unknown format %q: give one of %s", format, strings.Join(Formats(), ", "))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	in, err := newInput(f, format, text)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return in, f, nil
}

func newInput(f *os.File, format string, text Bytes) (input, error) {
	if text == nil {
		text = base64.StdEncoding.DecodeString
	}
	switch format {
	case "jsonl":
		return &jsonInput{r: bufio.NewReaderSize(f, 256<<10), text: text, most: mostRow}, nil
	case "csv":
		return newCSV(f, text)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return newParquet(f, info.Size())
}

type jsonInput struct {
	r    *bufio.Reader
	text Bytes
	most int // bytes of a line
	line int64
	buf  []byte
}

// jsonRow is a line, as `pegasus backup export` writes it. partition isn't used: the keys tell it.
type jsonRow struct {
	Partition *int64  `json:"partition"`
	HashKey   *string `json:"hash_key"`
	SortKey   *string `json:"sort_key"`
	Value     *string `json:"value"`
	Expires   int64   `json:"expires"`
	Written   int64   `json:"written"`
}

func (j *jsonInput) next(r *Row) (int64, error) {
	for {
		b, err := j.readLine()
		if err != nil {
			return j.line, err
		}
		if b = bytes.TrimSpace(b); len(b) > 0 {
			if err := j.parse(b, r); err != nil {
				return j.line, &badRow{err}
			}
			return j.line, nil
		}
	}
}

// readLine returns the next line. A line that is too long is skipped, and is a badRow.
func (j *jsonInput) readLine() ([]byte, error) {
	j.buf = j.buf[:0]
	j.line++
	long := false
	for {
		part, err := j.r.ReadSlice('\n')
		if long = long || len(j.buf)+len(part) > j.most; !long {
			j.buf = append(j.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF && (len(j.buf) > 0 || long):
			err = nil
		}
		if err == nil && long {
			err = &badRow{errLong}
		}
		return j.buf, err
	}
}

func (j *jsonInput) parse(b []byte, r *Row) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var row jsonRow
	if err := d.Decode(&row); err != nil {
		return fmt.Errorf("it is no JSON object of a row: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is more than one JSON object in the line")
	}
	if row.HashKey == nil || row.SortKey == nil || row.Value == nil {
		return errors.New("hash_key, sort_key or value isn't there")
	}
	*r = Row{Expires: row.Expires, Written: row.Written}
	return r.set(j.text, *row.HashKey, *row.SortKey, *row.Value)
}

func (r *Row) set(text Bytes, hashKey, sortKey, value string) error {
	for _, f := range []struct {
		name, from string
		to         *[]byte
	}{{"hash_key", hashKey, &r.HashKey}, {"sort_key", sortKey, &r.SortKey}, {"value", value, &r.Value}} {
		b, err := text(f.from)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		*f.to = b
	}
	return nil
}

// limited ends with an error where a row is too long, before it is in memory.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLong
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

type csvInput struct {
	r       *csv.Reader
	limit   *limited
	text    Bytes
	columns map[string]int
}

func newCSV(r io.Reader, text Bytes) (*csvInput, error) {
	c := &csvInput{limit: &limited{r: r, left: mostRow}, text: text, columns: map[string]int{}}
	c.r = csv.NewReader(c.limit)
	c.r.ReuseRecord = true
	head, err := c.r.Read()
	if err != nil {
		if err == io.EOF {
			err = errors.New("it is empty")
		}
		return nil, fmt.Errorf("read the names of the columns in the first line: %w", err)
	}
	for i, name := range head {
		name = strings.TrimPrefix(name, "\ufeff")
		if !slices.Contains([]string{"partition", "hash_key", "sort_key", "value", "expires", "written"}, name) {
			return nil, fmt.Errorf("line 1: unknown column %.100q: name each of hash_key, sort_key, value, and if you have them expires, written, partition", name)
		}
		if _, twice := c.columns[name]; twice {
			return nil, fmt.Errorf("line 1: column %s is there twice", name)
		}
		c.columns[name] = i
	}
	for _, name := range []string{"hash_key", "sort_key", "value"} {
		if _, ok := c.columns[name]; !ok {
			return nil, fmt.Errorf("line 1: there is no column %s", name)
		}
	}
	return c, nil
}

func (c *csvInput) next(r *Row) (int64, error) {
	c.limit.left = mostRow
	record, err := c.r.Read()
	var wrong *csv.ParseError
	if errors.As(err, &wrong) {
		if wrong.Err != csv.ErrFieldCount {
			return int64(wrong.StartLine), fmt.Errorf("line %d: %w", wrong.Line, wrong.Err) // what follows could be read as anything
		}
		return int64(wrong.StartLine), &badRow{fmt.Errorf("it has %d columns, the first line has %d", len(record), c.r.FieldsPerRecord)}
	}
	if err != nil {
		return 0, err
	}
	line, _ := c.r.FieldPos(0)
	*r = Row{}
	for name, to := range map[string]*int64{"expires": &r.Expires, "written": &r.Written} {
		if i, ok := c.columns[name]; ok && record[i] != "" {
			if *to, err = strconv.ParseInt(record[i], 10, 64); err != nil {
				return int64(line), &badRow{fmt.Errorf("%s is %.100q: give a number", name, record[i])}
			}
		}
	}
	if err := r.set(c.text, record[c.columns["hash_key"]], record[c.columns["sort_key"]], record[c.columns["value"]]); err != nil {
		return int64(line), &badRow{err}
	}
	return int64(line), nil
}

// parquetRow is the schema that `pegasus backup export` writes. Columns of a file that aren't here are left out.
type parquetRow struct {
	HashKey []byte `parquet:"hash_key"`
	SortKey []byte `parquet:"sort_key"`
	Value   []byte `parquet:"value"`
	Expires *int64 `parquet:"expires,optional,timestamp(millisecond)"`
	Written *int64 `parquet:"written,optional,timestamp(microsecond)"`
}

type parquetInput struct {
	r     *parquet.GenericReader[parquetRow]
	batch [64]parquetRow
	n, i  int
	row   int64
}

func newParquet(f io.ReaderAt, size int64) (in *parquetInput, err error) {
	defer guard(&err)
	file, err := parquet.OpenFile(f, size)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"hash_key", "sort_key", "value"} {
		column, ok := file.Schema().Lookup(name)
		if !ok || column.Node.Type().Kind() != parquet.ByteArray || column.Node.Repeated() {
			return nil, fmt.Errorf("it has no column %s of bytes", name)
		}
	}
	return &parquetInput{r: parquet.NewGenericReader[parquetRow](file)}, nil
}

// guard makes an error of a panic of the library, which trusts files more than it should.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the Parquet file can't be read: %v", p)
	}
}

func (p *parquetInput) next(r *Row) (line int64, err error) {
	defer guard(&err)
	if p.i == p.n {
		p.i = 0
		clear(p.batch[:])
		if p.n, err = p.r.Read(p.batch[:]); p.n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return p.row, err
		}
	}
	from := &p.batch[p.i]
	p.i++
	p.row++
	*r = Row{HashKey: from.HashKey, SortKey: from.SortKey, Value: from.Value}
	if from.Expires != nil {
		r.Expires = *from.Expires / 1000
	}
	if from.Written != nil {
		r.Written = *from.Written
	}
	return p.row, nil
}
