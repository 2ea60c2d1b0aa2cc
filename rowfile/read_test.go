package rowfile

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

func jsonLine(hash, sort, value, more string) string {
	e := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	return fmt.Sprintf(`{"hash_key":"%s","sort_key":"%s","value":"%s"%s}`, e(hash), e(sort), e(value), more)
}

// all reads a file, a line for each row or bad row.
func all(t *testing.T, name string, o ReadOptions) string {
	t.Helper()
	in, end, err := Open(name, o)
	if err != nil {
		return "open: " + strings.TrimPrefix(err.Error(), name+": ")
	}
	defer end.Close()
	var out strings.Builder
	for {
		var r Row
		line, err := in.Next(&r)
		var bad *BadRow
		switch {
		case err == io.EOF:
			return out.String()
		case errors.As(err, &bad):
			fmt.Fprintf(&out, "%d bad: %v\n", line, err)
		case err != nil:
			fmt.Fprintf(&out, "%d ends: %v\n", line, err)
			return out.String()
		default:
			fmt.Fprintf(&out, "%d %q %q %q %d\n", line, r.HashKey, r.SortKey, r.Value, r.Expires)
		}
	}
}

func save(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// Rows are made of a file's own columns by templates.
func TestMapping(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	const csv = "id,country,name,ttl,at\n7,DE,\"A \"\"B\"\"\",60,\n8,,x,,1900000005\n9,FR,y,soon,\n"
	for _, tc := range []struct {
		name, text string
		o          ReadOptions
		m          Mapping
		want       string
	}{
		{"a.csv", csv, ReadOptions{}, Mapping{HashKey: "user:{id}", SortKey: "{country}/{{x}}", Value: "{name}", TTL: "ttl"},
			"2 \"user:7\" \"DE/{x}\" \"A \\\"B\\\"\" 1900000060\n3 \"user:8\" \"/{x}\" \"x\" 0\n4 bad: column ttl is \"soon\": give a number\n"},
		{"a.csv", csv, ReadOptions{}, Mapping{HashKey: "{id}", Expires: "at"},
			`2 "7" "" "{\"id\":\"7\",\"country\":\"DE\",\"name\":\"A \\\"B\\\"\",\"ttl\":\"60\",\"at\":\"\"}" 0` + "\n" +
				`3 "8" "" "{\"id\":\"8\",\"country\":\"\",\"name\":\"x\",\"ttl\":\"\",\"at\":\"1900000005\"}" 1900000005` + "\n" +
				`4 "9" "" "{\"id\":\"9\",\"country\":\"FR\",\"name\":\"y\",\"ttl\":\"soon\",\"at\":\"\"}" 0` + "\n"},
		{"a.csv", "1;2\n3\n", ReadOptions{Columns: []string{"a", "b"}, Comma: ';'}, Mapping{HashKey: "{b}", Value: "{a}"},
			"1 \"2\" \"\" \"1\" 0\n2 bad: it has 1 columns, there are to be 2\n"},
		{"a.jsonl", `{"id":7,"n":"ä","d":{"x":[1]}}` + "\n{\"n\":1}\n[]\n", ReadOptions{}, Mapping{HashKey: "{id}", SortKey: "{n}", Value: "{d}"},
			"1 \"7\" \"ä\" \"{\\\"x\\\":[1]}\" 0\n2 bad: column id, which is part of a key, has nothing\n3 bad: it is no JSON object: json: cannot unmarshal array into Go value of type map[string]json.RawMessage\n"},
		{"a.csv", csv, ReadOptions{}, Mapping{HashKey: "{user}"}, "open: there is no column user; there are id, country, name, ttl, at"},
		{"a.csv", csv, ReadOptions{}, Mapping{SortKey: "{id}"}, "open: there is no template for the hash key"},
		{"a.csv", csv, ReadOptions{}, Mapping{HashKey: "{id"}, `open: template "{id" of the hash key: a { at byte 0 has no }: write {{ for a brace`},
		{"a.csv", csv, ReadOptions{}, Mapping{HashKey: "id}"}, `open: template "id}" of the hash key: a } at byte 2 has no {: write }} for a brace`},
		{"a.csv", csv, ReadOptions{}, Mapping{HashKey: "{}"}, `open: template "{}" of the hash key: {} at byte 0 names no column`},
		{"a.csv", csv, ReadOptions{}, Mapping{HashKey: "{id}", TTL: "ttl", Expires: "at"}, "open: give a column for the expiry, or one for the time to live, not both"},
		{"a.csv", "a,a\n", ReadOptions{}, Mapping{HashKey: "{a}"}, "open: column a is there twice"},
	} {
		tc.m.Now = now
		tc.o.Mapping = &tc.m
		if got := all(t, save(t, tc.name, tc.text), tc.o); got != tc.want {
			t.Errorf("%+v:\n%s\nwant\n%s", tc.m, got, tc.want)
		}
	}
}

type flatEvent struct {
	ID    int64   `parquet:"id"`
	Name  *string `parquet:"name,optional"`
	Raw   []byte  `parquet:"raw"`
	Score float64 `parquet:"score"`
	On    bool    `parquet:"on"`
	Small int32   `parquet:"small"`
}

type event struct {
	flatEvent
	Labels []string `parquet:"labels,list"`
}

// A Parquet file of any flat columns can be read; nested ones can't be used.
func TestMappingOfParquet(t *testing.T) {
	var b, flat bytes.Buffer
	w := parquet.NewGenericWriter[event](&b, parquet.MaxRowsPerRowGroup(100))
	fw := parquet.NewGenericWriter[flatEvent](&flat, parquet.MaxRowsPerRowGroup(100))
	name := "n"
	var want, objects strings.Builder
	for i := range 250 {
		e := event{flatEvent{ID: int64(i), Name: &name, Raw: []byte{0xff, byte(i)}, Score: 1.5, On: i%2 == 0, Small: -3}, []string{"x", "y"}}
		if i == 3 {
			e.Name = nil
			fmt.Fprintf(&want, "4 bad: column name, which is part of a key, has nothing\n")
		} else {
			fmt.Fprintf(&want, "%d %q %q %q 0\n", i+1, "n-"+fmt.Sprint(i), fmt.Sprintf("%t-3", e.On), append([]byte("1.5"), e.Raw...))
		}
		text := `"n"`
		if e.Name == nil {
			text = "null"
		}
		fmt.Fprintf(&objects, "%d %q \"\" %q 0\n", i+1, fmt.Sprint(i), fmt.Sprintf(`{"id":%d,"name":%s,"raw":"%s","score":1.5,"on":%t,"small":-3}`, i, text, base64.StdEncoding.EncodeToString(e.Raw), e.On))
		_, err := w.Write([]event{e})
		_, ferr := fw.Write([]flatEvent{e.flatEvent})
		if err := errors.Join(err, ferr); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), fw.Close()); err != nil {
		t.Fatal(err)
	}
	file, flatFile := save(t, "a.parquet", b.String()), save(t, "a.parquet", flat.String())
	for _, tc := range []struct {
		m    Mapping
		want string
	}{
		{Mapping{HashKey: "{name}-{id}", SortKey: "{on}{small}", Value: "{score}{raw}"}, want.String()},
		{Mapping{HashKey: "{id}"}, objects.String()},
		{Mapping{HashKey: "{labels}", Value: "{id}"}, "open: column labels is nested or repeated: only flat columns can be used"},
		{Mapping{HashKey: "{x}", Value: "{id}"}, "open: there is no column x; there are id, name, raw, score, on, small"},
	} {
		file := file
		if tc.m.Value == "" {
			if got := all(t, file, ReadOptions{Mapping: &tc.m}); !strings.HasPrefix(got, "open: {*} would leave out labels") {
				t.Error(got)
			}
			file = flatFile
		}
		if got := all(t, file, ReadOptions{Mapping: &tc.m}); got != tc.want {
			t.Errorf("%+v:\n%.2000s\nwant\n%.2000s", tc.m, got, tc.want)
		}
	}
	if got := all(t, file, ReadOptions{}); got != "open: it has no column hash_key of bytes" {
		t.Error(got)
	}
}

// A line that is too long isn't held in memory, and the next one is read.
func TestLongLine(t *testing.T) {
	in := &jsonReader{r: bufio.NewReaderSize(strings.NewReader(strings.Repeat("x", 10000)+"\n"+jsonLine("h", "s", "v", "")), 16), most: 100}
	var row Row
	line, err := in.Next(&row)
	if wrong := (*BadRow)(nil); line != 1 || !errors.As(err, &wrong) || wrong.Err != ErrLong || cap(in.buf) > 200 {
		t.Fatalf("line %d, %d bytes: %v", line, cap(in.buf), err)
	}
	if line, err := in.Next(&row); line != 2 || err != nil || string(row.Value) != "v" {
		t.Fatalf("line %d: %+v: %v", line, row, err)
	}
	if _, err := in.Next(&row); err != io.EOF {
		t.Fatal(err)
	}
	c, err := newCSVReader(bufio.NewReader(strings.NewReader("hash_key,sort_key,value\n\""+strings.Repeat("x", 10000))), ReadOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.limit.left = 100
	if _, err := c.r.Read(); !errors.Is(err, ErrLong) {
		t.Fatalf("got %v", err)
	}
}

// FuzzInput reads anything as each form: no panic, and an end. What is read quickly, because it looks as we write it, is what JSON says.
func FuzzInput(f *testing.F) {
	f.Add([]byte(jsonLine("h", "s", "v", `,"expires":1800000000`)+"\n"), uint8(1))
	f.Add([]byte(`{"partition":7,"hash_key":"aA==","sort_key":"","value":"dg==","expires":0,"written":12}`+"\n{\"hash_key\":\"a\rA==\"}"), uint8(1))
	f.Add([]byte("hash_key,sort_key,value\nYQ==,,\n"), uint8(0))
	var b bytes.Buffer
	w, err := NewWriter("parquet", &b, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range hard(20) {
		w.Write(r.partition, r.row)
	}
	w.Close()
	f.Add(b.Bytes(), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, format uint8) {
		name := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		o := ReadOptions{Format: Formats()[int(format)%3]}
		if format >= 128 {
			o.Mapping = &Mapping{HashKey: "{hash_key}", Value: "{value}{*}", TTL: "expires"}
		}
		in, end, err := Open(name, o)
		if err != nil {
			return
		}
		defer end.Close()
		var slow Reader
		if o.Format == "jsonl" && o.Mapping == nil {
			o.Text = base64.StdEncoding.DecodeString
			r, end, err := Open(name, o)
			if err != nil {
				t.Fatal(err)
			}
			defer end.Close()
			slow = r
		}
		var row, same Row
		var wrong *BadRow
		for range len(b) + 2 {
			line, err := in.Next(&row)
			if slow != nil {
				if l, e := slow.Next(&same); l != line || fmt.Sprint(e) != fmt.Sprint(err) || err == nil && fmt.Sprint(row) != fmt.Sprint(same) {
					t.Fatalf("line %d: %v, %v; JSON says %d: %v, %v", line, row, err, l, same, e)
				}
			}
			if err != nil && !errors.As(err, &wrong) {
				return
			}
		}
		if format%3 == 2 { // a page of Parquet may have many rows in few bytes
			return
		}
		t.Fatalf("%d bytes have more rows", len(b))
	})
}
