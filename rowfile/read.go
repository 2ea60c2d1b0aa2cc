package rowfile

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
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// Row is a row of a file.
type Row struct {
	HashKey, SortKey, Value []byte
	Expires                 int64 // Unix seconds; 0 is never
	Written                 int64 // Unix microseconds; 0 is unknown
}

// BadRow says that a row can't be read, and that the next one may be.
type BadRow struct{ Err error }

func (e *BadRow) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *BadRow) Unwrap() error { return e.Err }

// Reader gives rows. Next returns the line (of Parquet the number of the row, from 1) where the row begins, io.EOF at the end, and *BadRow for one
// that can't be read. A row is good until the next call.
type Reader interface {
	Next(*Row) (line int64, err error)
}

// MostRow bounds a row that is read, in bytes.
const MostRow = 64 << 20

var errNoKeys = errors.New("hash_key, sort_key or value isn't there")

// errNoUTF8 says so. JSON has nothing else: what isn't would be another key when it is read.
var errNoUTF8 = errors.New("it isn't UTF-8")

// ErrLong says that a row is longer than MostRow.
var ErrLong = fmt.Errorf("the row has more than %d bytes", MostRow)

// Bytes turns text of a file into bytes. nil: base64.
type Bytes func(string) ([]byte, error)

// ReadOptions say how rows are read.
type ReadOptions struct {
	Format  string   // one of Formats; empty: by the end of the name
	Text    Bytes    // how keys and values are written in JSON lines and CSV, without a Mapping
	Mapping *Mapping // how rows are made of columns; nil: the columns are those that NewWriter writes
	Columns []string // of CSV: the names of the columns, if the first line hasn't them
	Comma   rune     // of CSV; 0: a comma
}

var ends = map[string]string{".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}

// FormatOf returns the format that a file has by the end of its name.
func FormatOf(name string) (string, error) {
	if f := ends[strings.ToLower(filepath.Ext(name))]; f != "" {
		return f, nil
	}
	return "", fmt.Errorf("the name of %s doesn't say what it is: give the format, one of %s", name, strings.Join(Formats(), ", "))
}

// Open opens a file.
func Open(name string, o ReadOptions) (Reader, io.Closer, error) {
	if o.Format == "" {
		var err error
		if o.Format, err = FormatOf(name); err != nil {
			return nil, nil, err
		}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	r, err := NewReader(f, o)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, f, nil
}

// NewReader reads rows of the format that o names. Parquet needs a file: f must be an *os.File.
func NewReader(f io.Reader, o ReadOptions) (Reader, error) {
	if !slices.Contains(Formats(), o.Format) {
		return nil, fmt.Errorf("unknown format %q: give one of %s", o.Format, strings.Join(Formats(), ", "))
	}
	var m *mapping
	if o.Mapping != nil {
		var err error
		if m, err = o.Mapping.compile(); err != nil {
			return nil, err
		}
	}
	if o.Format != "parquet" {
		in := bufio.NewReaderSize(f, 256<<10)
		if begin, _ := in.Peek(len(gzipBegin)); string(begin) == gzipBegin {
			return nil, errors.New("it is packed by gzip: unpack it, for example with gzip -dc FILE and - in its place")
		}
		if o.Format == "csv" {
			return newCSVReader(in, o, m)
		}
		return &jsonReader{r: in, bytes: decoder{text: o.Text}, m: m, most: MostRow}, nil
	}
	file, ok := f.(*os.File)
	if !ok {
		return nil, errors.New("a Parquet file can't be read from a stream")
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if m != nil {
		return newColumnsReader(file, info.Size(), m)
	}
	return newParquetReader(file, info.Size())
}

// byteOrder is what some programs write before UTF-8 (the byte order mark).
const byteOrder = "\ufeff"

const gzipBegin = "\x1f\x8b"

type jsonReader struct {
	r     *bufio.Reader
	bytes decoder
	m     *mapping
	most  int // bytes of a line
	line  int64
	buf   []byte
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

func (j *jsonReader) Next(r *Row) (int64, error) {
	for {
		b, err := j.readLine()
		if err != nil {
			return j.line, err
		}
		if j.line == 1 {
			b = bytes.TrimPrefix(b, []byte(byteOrder))
		}
		if b = bytes.TrimSpace(b); len(b) > 0 {
			if err := j.parse(b, r); err != nil {
				return j.line, &BadRow{err}
			}
			return j.line, nil
		}
	}
}

// readLine returns the next line. A line that is too long is skipped, and is a BadRow.
func (j *jsonReader) readLine() ([]byte, error) {
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
			err = &BadRow{ErrLong}
		}
		return j.buf, err
	}
}

// halfPair finds a half of a surrogate pair that stands alone: it is no text, and would be read as another character.
func halfPair(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+1 >= len(b) {
			return false
		}
		unit := func(at int) uint64 {
			if at+6 > len(b) || b[at] != '\\' || b[at+1] != 'u' {
				return 0
			}
			n, _ := strconv.ParseUint(string(b[at+2:at+6]), 16, 16)
			return n
		}
		switch u := unit(i); {
		case u >= 0xdc00 && u < 0xe000:
			return true
		case u >= 0xd800 && u < 0xdc00:
			if low := unit(i + 6); low < 0xdc00 || low >= 0xe000 {
				return true
			}
			b = b[i+12:]
		default:
			b = b[i+2:]
		}
	}
}

func (j *jsonReader) parse(b []byte, r *Row) error {
	if j.m == nil && j.bytes.text == nil && j.asWritten(b, r) {
		return nil
	}
	if !utf8.Valid(b) {
		return errNoUTF8
	}
	if halfPair(b) {
		return errors.New("it has a half of a surrogate pair, which is no character")
	}
	if j.m != nil {
		f, err := parseObject(b)
		if err != nil {
			return err
		}
		return j.m.row(f, r)
	}
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
		return errNoKeys
	}
	*r = Row{Expires: row.Expires, Written: row.Written}
	return decode(&j.bytes, r, *row.HashKey, *row.SortKey, *row.Value)
}

// asWritten reads a line that looks as NewWriter writes it, with base64, many times faster than JSON is read. What it doesn't take may be right as well.
func (j *jsonReader) asWritten(b []byte, r *Row) bool {
	ok := true
	word := func(s string) bool {
		if len(b) < len(s) || string(b[:len(s)]) != s {
			return false
		}
		b = b[len(s):]
		return true
	}
	text := func(name string) (s []byte) {
		ok = ok && word(name)
		i := bytes.IndexByte(b, '"')
		if ok = ok && i >= 0 && bytes.IndexByte(b[:max(i, 0)], '\r') < 0; ok { // in base64 it would be passed over
			s, b = b[:i], b[i+1:]
		}
		return s
	}
	number := func(name string) (n int64) {
		if !ok || !word(name) {
			return 0
		}
		i := 0
		for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
			n = n*10 + int64(b[i]-'0')
		}
		ok = i > 0 && i <= 18 && (b[0] != '0' || i == 1)
		b = b[i:]
		return n
	}
	first := `{"hash_key":"`
	if number(`{"partition":`); len(b) > 0 && b[0] == ',' {
		first = `,"hash_key":"`
	}
	h, s, v := text(first), text(`,"sort_key":"`), text(`,"value":"`)
	row := Row{Expires: number(`,"expires":`), Written: number(`,"written":`)}
	if !ok || !word("}") || len(b) > 0 || decode(&j.bytes, &row, h, s, v) != nil {
		return false
	}
	*r = row
	return true
}

// decoder makes keys and values of what a file has.
type decoder struct {
	text Bytes  // nil: base64
	room []byte // that they are in
	from []byte
}

// decode makes a row's keys and value. They are the decoder's until the next call.
func decode[T string | []byte](d *decoder, r *Row, hashKey, sortKey, value T) error {
	d.room = slices.Grow(d.room[:0], len(hashKey)+len(sortKey)+len(value))
	for _, f := range []struct {
		name string
		from T
		to   *[]byte
	}{{"hash_key", hashKey, &r.HashKey}, {"sort_key", sortKey, &r.SortKey}, {"value", value, &r.Value}} {
		var err error
		if d.text != nil {
			*f.to, err = d.text(string(f.from))
		} else {
			at := len(d.room)
			d.from = append(d.from[:0], f.from...)
			d.room, err = base64.StdEncoding.AppendDecode(d.room, d.from)
			*f.to = d.room[at:len(d.room):len(d.room)]
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
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
		return 0, ErrLong
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

type csvReader struct {
	r       *csv.Reader
	limit   *limited
	bytes   decoder
	m       *mapping
	columns map[string]int
	own     [5]int // of hash_key, sort_key, value, expires, written; -1: there is none
	names   []string
	given   bool  // names isn't from the first line
	line    int   // of the row before
	most    int64 // bytes of a row
}

var ownColumns = []string{"hash_key", "sort_key", "value", "expires", "written"}

func newCSVReader(in *bufio.Reader, o ReadOptions, m *mapping) (*csvReader, error) {
	if begin, _ := in.Peek(len(byteOrder)); string(begin) == byteOrder {
		_, _ = in.Discard(len(byteOrder)) // they are there
	}
	c := &csvReader{limit: &limited{r: in, left: MostRow}, most: MostRow, bytes: decoder{text: o.Text}, m: m, columns: map[string]int{}, names: o.Columns, given: len(o.Columns) > 0}
	c.r = csv.NewReader(c.limit)
	c.r.ReuseRecord = true
	if o.Comma != 0 {
		c.r.Comma = o.Comma
	}
	if !c.given {
		head, err := c.r.Read()
		if err != nil {
			if err == io.EOF {
				err = errors.New("it is empty")
			}
			return nil, fmt.Errorf("read the names of the columns in the first line: %w", err)
		}
		c.names = slices.Clone(head)
	}
	c.r.FieldsPerRecord = len(c.names)
	if len(c.names) == 1 && strings.ContainsAny(c.names[0], ";\t|,") {
		return nil, fmt.Errorf("the only column is %.200q: give the delimiter, if it isn't %q", c.names[0], c.r.Comma)
	}
	for i, name := range c.names {
		if _, twice := c.columns[name]; twice {
			return nil, fmt.Errorf("column %.100s is there twice", name)
		}
		c.columns[name] = i
		if m == nil && name != "partition" && !slices.Contains(ownColumns, name) {
			return nil, fmt.Errorf("unknown column %.100q: name each of hash_key, sort_key, value, and if you have them expires, written, partition", name)
		}
	}
	need := ownColumns[:3]
	if m != nil {
		need = m.uses
	}
	for _, name := range need {
		if _, ok := c.columns[name]; !ok {
			return nil, noColumn(name, c.names)
		}
	}
	for k, name := range ownColumns {
		if c.own[k] = -1; slices.Contains(c.names, name) {
			c.own[k] = c.columns[name]
		}
	}
	return c, nil
}

func noColumn(name string, names []string) error {
	return fmt.Errorf("there is no column %.100s; there are %.1000s", name, strings.Join(names, ", "))
}

func (c *csvReader) Next(r *Row) (int64, error) {
	c.limit.left = c.most
	record, err := c.r.Read()
	var wrong *csv.ParseError
	if errors.As(err, &wrong) {
		if wrong.Err != csv.ErrFieldCount {
			return int64(wrong.StartLine), fmt.Errorf("line %d: %w", wrong.Line, wrong.Err) // what follows could be read as anything
		}
		want := "the first line has"
		if c.given {
			want = "there are to be"
		}
		return int64(wrong.StartLine), &BadRow{fmt.Errorf("it has %d columns, %s %d", len(record), want, c.r.FieldsPerRecord)}
	}
	if err == ErrLong {
		return int64(c.line), fmt.Errorf("after this line: %w", err)
	}
	if err != nil {
		return int64(c.line), err
	}
	line, _ := c.r.FieldPos(0)
	c.line = line
	if err := c.parse(record, r); err != nil {
		return int64(line), &BadRow{err}
	}
	return int64(line), nil
}

func (c *csvReader) parse(record []string, r *Row) (err error) {
	if c.m != nil {
		return c.m.row(csvFields{c, record}, r)
	}
	*r = Row{}
	for k, to := range []*int64{&r.Expires, &r.Written} {
		if i := c.own[3+k]; i >= 0 && record[i] != "" {
			if *to, err = strconv.ParseInt(record[i], 10, 64); err != nil {
				return fmt.Errorf("%s is %.100q: give a number", c.names[i], record[i])
			}
		}
	}
	return decode(&c.bytes, r, record[c.own[0]], record[c.own[1]], record[c.own[2]])
}

// parquetRow is the schema that `pegasus backup export` writes. Columns of a file that aren't here are left out.
type parquetRow struct {
	HashKey *[]byte `parquet:"hash_key,optional"`
	SortKey *[]byte `parquet:"sort_key,optional"`
	Value   *[]byte `parquet:"value,optional"`
	Expires *int64  `parquet:"expires,optional,timestamp(millisecond)"`
	Written *int64  `parquet:"written,optional,timestamp(microsecond)"`
}

type parquetReader struct {
	r     *parquet.GenericReader[parquetRow]
	batch [64]parquetRow
	n, i  int
	err   error // after the rows of the batch
	row   int64
	all   int64 // rows that the file says it has
}

func newParquetReader(f io.ReaderAt, size int64) (in *parquetReader, err error) {
	defer guard(&err)
	file, err := openParquet(f, size)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"hash_key", "sort_key", "value"} {
		column, ok := file.Schema().Lookup(name)
		if !ok || column.Node.Type().Kind() != parquet.ByteArray || column.Node.Repeated() {
			return nil, fmt.Errorf("it has no column %s of bytes", name)
		}
	}
	for _, name := range []string{"expires", "written"} {
		// What has another type would be taken for another time.
		column, ok := file.Schema().Lookup(name)
		if !ok {
			continue
		}
		t := column.Node.Type()
		is := false
		if l := t.LogicalType(); l != nil && t.Kind() == parquet.Int64 && !column.Node.Repeated() {
			_, is = l.Value.(*format.TimestampType)
		}
		if !is {
			return nil, fmt.Errorf("column %s is of type %v and no timestamp: leave it out, or give templates and the column with Unix seconds", name, t)
		}
	}
	return &parquetReader{r: parquet.NewGenericReader[parquetRow](file), all: file.NumRows()}, nil
}

func openParquet(f io.ReaderAt, size int64) (*parquet.File, error) {
	file, err := parquet.OpenFile(f, size)
	if err != nil {
		return nil, fmt.Errorf("it is no Parquet file, or not a whole one: %w", err)
	}
	return file, nil
}

// guard makes an error of a panic of the library, which trusts files more than it should.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the Parquet file can't be read: %v", p)
	}
}

func (p *parquetReader) Next(r *Row) (line int64, err error) {
	defer guard(&err)
	if p.i == p.n {
		if p.i, p.n = 0, 0; p.err == nil {
			clear(p.batch[:])
			p.n, p.err = p.r.Read(p.batch[:])
		}
		switch {
		case p.n > 0:
		case p.err == nil:
			return p.row, io.ErrNoProgress
		case p.err == io.EOF && p.row != p.all:
			return p.row, fmt.Errorf("the Parquet file says that it has %d rows, and has %d", p.all, p.row)
		default:
			return p.row, p.err
		}
	}
	from := &p.batch[p.i]
	p.i++
	p.row++
	if from.HashKey == nil || from.SortKey == nil || from.Value == nil {
		return p.row, &BadRow{errNoKeys}
	}
	*r = Row{HashKey: *from.HashKey, SortKey: *from.SortKey, Value: *from.Value}
	if from.Expires != nil {
		r.Expires = *from.Expires / 1000
	}
	if from.Written != nil {
		r.Written = *from.Written
	}
	return p.row, nil
}
