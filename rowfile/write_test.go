package rowfile

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/rocks/pegasus"
	"pegasus/rowfile/rowfiletest"
)

type exported struct {
	partition int32
	row       pegasus.Row
}

func (e exported) String() string {
	return fmt.Sprintf("%d %q %q %q %d %d", e.partition, e.row.HashKey, e.row.SortKey, e.row.Data, e.row.ExpireTS, e.row.Timetag>>8)
}

// hard are rows with all that a form could spoil.
func hard(n int) []exported {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	rows := []exported{
		{0, pegasus.Row{HashKey: []byte("plain"), SortKey: []byte("key"), Value: pegasus.Value{Data: []byte("value"), ExpireTS: 1, Timetag: 1 << 8}}},
		{1, pegasus.Row{HashKey: []byte{}, SortKey: []byte{}, Value: pegasus.Value{Data: []byte{}}}},
		{2, pegasus.Row{HashKey: all, SortKey: all, Value: pegasus.Value{Data: all, ExpireTS: 1<<31 - 1, Timetag: 1795388400586000 << 8}}},
		{3, pegasus.Row{HashKey: []byte(`"a",\n`), SortKey: []byte("a\r\n\"b\","), Value: pegasus.Value{Data: []byte("ünïcode ☃ \u2028\ufeff")}}},
	}
	for i := range n {
		rows = append(rows, exported{int32(i % 8), pegasus.Row{HashKey: fmt.Appendf(nil, "h%d", i/10), SortKey: fmt.Appendf(nil, "s%d", i),
			Value: pegasus.Value{Data: bytes.Repeat([]byte{byte(i)}, i%300), ExpireTS: uint32(i % 5), Timetag: uint64(i%3) << 8}}})
	}
	return rows
}

func write(t *testing.T, format string, text Text, rows []exported) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(format, &out, text)
	if err != nil {
		t.Fatal(err)
	}
	var hashKey, sortKey, data []byte
	for _, r := range rows { // from memory that is used again
		hashKey, sortKey, data = append(hashKey[:0], r.row.HashKey...), append(sortKey[:0], r.row.SortKey...), append(data[:0], r.row.Data...)
		row := pegasus.Row{HashKey: hashKey, SortKey: sortKey, Value: pegasus.Value{Data: data, ExpireTS: r.row.ExpireTS, Timetag: r.row.Timetag}}
		if err := w.Write(r.partition, row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func same(t *testing.T, got, want []exported) {
	t.Helper()
	for i, w := range want {
		if i >= len(got) || got[i].String() != w.String() {
			t.Fatalf("row %d of %d is %v, want %v", i, len(got), got[min(i, len(got)-1)], w)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
}

func unbase64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func value(data []byte, expires, written int64) pegasus.Value {
	v := pegasus.Value{Data: data, Timetag: uint64(written) << 8}
	if expires > 0 {
		v.ExpireTS = uint32(expires - base.EpochBegin)
	}
	return v
}

func TestJSONL(t *testing.T) {
	want := hard(3000)
	var got []exported
	for s := bufio.NewScanner(bytes.NewReader(write(t, "jsonl", nil, want))); s.Scan(); {
		var r struct {
			Partition        *int32
			HashKey          []byte `json:"hash_key"`
			SortKey          []byte `json:"sort_key"`
			Value            []byte
			Expires, Written int64
		}
		d := json.NewDecoder(bytes.NewReader(s.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%s: %v", s.Bytes(), err)
		}
		got = append(got, exported{*r.Partition, pegasus.Row{HashKey: r.HashKey, SortKey: r.SortKey, Value: value(r.Value, r.Expires, r.Written)}})
	}
	same(t, got, want)
	first := write(t, "jsonl", nil, want[:1])
	if w := `{"partition":0,"hash_key":"cGxhaW4=","sort_key":"a2V5","value":"dmFsdWU=","expires":1451606401,"written":1}` + "\n"; string(first) != w {
		t.Errorf("%s, want %s", first, w)
	}
	quoted := write(t, "jsonl", func(b []byte) string { return strconv.QuoteToASCII(string(b)) }, want[:1])
	if w := `{"partition":0,"hash_key":"\"plain\"","sort_key":"\"key\"","value":"\"value\"","expires":1451606401,"written":1}` + "\n"; string(quoted) != w {
		t.Errorf("%s, want %s", quoted, w)
	}
}

func TestCSV(t *testing.T) {
	want := hard(3000)
	text := write(t, "csv", nil, want)
	if !strings.HasPrefix(string(text), "partition,hash_key,sort_key,value,expires,written\n0,cGxhaW4=,a2V5,dmFsdWU=,1451606401,1\n1,,,,,\n") {
		t.Errorf("%.200s", text)
	}
	r := csv.NewReader(bytes.NewReader(text))
	var got []exported
	for i := 0; ; i++ {
		c, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			continue
		}
		n := func(s string) int64 {
			if s == "" {
				return 0
			}
			v, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		got = append(got, exported{int32(n(c[0])), pegasus.Row{HashKey: unbase64(t, c[1]), SortKey: unbase64(t, c[2]), Value: value(unbase64(t, c[3]), n(c[4]), n(c[5]))}})
	}
	same(t, got, want)
	if empty := write(t, "csv", nil, nil); string(empty) != "partition,hash_key,sort_key,value,expires,written\n" {
		t.Errorf("%q", empty)
	}
}

func TestParquet(t *testing.T) {
	for _, n := range []int{0, 3000} {
		want := hard(n)
		if n > 0 { // several row groups
			for i := range 60 {
				want = append(want, exported{1, pegasus.Row{HashKey: []byte("big"), SortKey: []byte{byte(i)}, Value: pegasus.Value{Data: bytes.Repeat([]byte{byte(i)}, 1<<20)}}})
			}
		}
		b := write(t, "parquet", nil, want)
		var got []exported
		err := rowfiletest.ReadParquet(bytes.NewReader(b), int64(len(b)), func(partition int32, row pegasus.Row) error {
			row.HashKey, row.SortKey, row.Data = bytes.Clone(row.HashKey), bytes.Clone(row.SortKey), bytes.Clone(row.Data)
			got = append(got, exported{partition, row})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
	}
}

func TestUnknownFormat(t *testing.T) {
	if _, err := NewWriter("xml", io.Discard, nil); err == nil || !strings.Contains(err.Error(), "csv, jsonl, parquet") {
		t.Error(err)
	}
}
