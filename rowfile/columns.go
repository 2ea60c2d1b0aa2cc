package rowfile

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// columnsReader reads a Parquet file of any flat columns, by a mapping.
type columnsReader struct {
	m      *mapping
	file   *parquet.File
	groups []parquet.RowGroup
	rows   parquet.Rows // of the group that is read; nil: none
	batch  []parquet.Row
	n, i   int
	row    int64
	kinds  []parquet.Type

	names  []string // of the columns, by index; those that aren't flat have none
	index  map[string]int
	values []parquet.Value // of the present row
}

func newColumnsReader(f io.ReaderAt, size int64, m *mapping) (c *columnsReader, err error) {
	defer guard(&err)
	file, err := openParquet(f, size)
	if err != nil {
		return nil, err
	}
	c = &columnsReader{m: m, file: file, groups: file.RowGroups(), batch: make([]parquet.Row, 64), index: map[string]int{}}
	c.names = make([]string, len(file.Schema().Columns()))
	c.values = make([]parquet.Value, len(c.names))
	c.kinds = make([]parquet.Type, len(c.names))
	var nested []string
	for _, field := range file.Schema().Fields() {
		if !field.Leaf() || field.Repeated() {
			nested = append(nested, field.Name())
			continue
		}
		leaf, ok := file.Schema().Lookup(field.Name())
		if !ok {
			continue
		}
		c.names[leaf.ColumnIndex] = field.Name()
		c.kinds[leaf.ColumnIndex] = leaf.Node.Type()
		c.index[field.Name()] = leaf.ColumnIndex
	}
	if len(nested) > 0 && m.object() {
		return nil, fmt.Errorf("{*} would leave out %.1000s: nested or repeated columns can't be read; name the others in the templates", strings.Join(nested, ", "))
	}
	for _, name := range m.uses {
		if _, ok := c.index[name]; ok {
			continue
		}
		for _, n := range nested {
			if n == name {
				return nil, fmt.Errorf("column %.100s is nested or repeated: only flat columns can be used", name)
			}
		}
		return nil, noColumn(name, c.known())
	}
	return c, nil
}

func (c *columnsReader) known() (list []string) {
	for _, n := range c.names {
		if n != "" {
			list = append(list, n)
		}
	}
	return list
}

// Next implements Reader.
func (c *columnsReader) Next(r *Row) (line int64, err error) {
	defer guard(&err)
	for c.i == c.n {
		if err := c.fill(); err != nil {
			return c.row, err
		}
	}
	row := c.batch[c.i]
	c.i++
	c.row++
	clear(c.values)
	for _, v := range row {
		if k := v.Column(); k >= 0 && k < len(c.values) {
			c.values[k] = v
		}
	}
	if err := c.m.row(c, r); err != nil {
		return c.row, &BadRow{err}
	}
	return c.row, nil
}

// fill reads the next rows.
func (c *columnsReader) fill() error {
	if c.rows == nil {
		if len(c.groups) == 0 {
			return io.EOF
		}
		c.rows, c.groups = c.groups[0].Rows(), c.groups[1:]
	}
	n, err := c.rows.ReadRows(c.batch)
	c.i, c.n = 0, n
	if err == io.EOF {
		err = c.rows.Close()
		c.rows = nil
	} else if err == nil && n == 0 {
		err = io.ErrNoProgress
	}
	return err
}

func (c *columnsReader) field(b []byte, name string) ([]byte, bool, error) {
	v := c.values[c.index[name]]
	if v.IsNull() {
		return b, false, nil
	}
	if l := c.kinds[v.Column()].LogicalType(); l != nil {
		switch l := l.Value.(type) {
		case *format.DecimalType, *format.Float16Type:
			return b, false, fmt.Errorf("column %.100s has values of type %v, which can't be read", name, c.kinds[v.Column()])
		case *format.IntType:
			if !l.IsSigned && v.Kind() == parquet.Int32 {
				return strconv.AppendUint(b, uint64(v.Uint32()), 10), true, nil
			} else if !l.IsSigned && v.Kind() == parquet.Int64 {
				return strconv.AppendUint(b, v.Uint64(), 10), true, nil
			}
		}
	}
	switch v.Kind() {
	case parquet.Boolean:
		b = strconv.AppendBool(b, v.Boolean())
	case parquet.Int32:
		b = strconv.AppendInt(b, int64(v.Int32()), 10)
	case parquet.Int64:
		b = strconv.AppendInt(b, v.Int64(), 10)
	case parquet.Float:
		b = strconv.AppendFloat(b, float64(v.Float()), 'g', -1, 32)
	case parquet.Double:
		b = strconv.AppendFloat(b, v.Double(), 'g', -1, 64)
	case parquet.ByteArray, parquet.FixedLenByteArray:
		b = append(b, v.ByteArray()...)
	default:
		return b, false, fmt.Errorf("column %.100s has values of type %v, which can't be read", name, v.Kind())
	}
	return b, true, nil
}

func (c *columnsReader) object(b []byte) ([]byte, error) {
	n := 0
	for _, name := range c.names {
		if name == "" {
			continue
		}
		text, ok, err := c.field(nil, name)
		if err != nil {
			return b, err
		}
		b = appendMember(b, n, name, func(b []byte) []byte {
			switch k := c.values[c.index[name]].Kind(); {
			case !ok:
				return append(b, "null"...)
			case k == parquet.ByteArray || k == parquet.FixedLenByteArray:
				if !utf8.Valid(text) {
					return appendString(b, base64.StdEncoding.EncodeToString(text))
				}
				return appendString(b, string(text))
			case (k == parquet.Float || k == parquet.Double) && bytes.ContainsAny(text, "NI"):
				return appendString(b, string(text)) // JSON has no number for NaN and infinity
			}
			return append(b, text...)
		})
		n++
	}
	if n == 0 {
		b = append(b, '{')
	}
	return append(b, '}'), nil
}
