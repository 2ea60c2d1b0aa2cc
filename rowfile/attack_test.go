package rowfile

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
)

func parquetOf[T any](t *testing.T, rows ...T) string {
	t.Helper()
	var b bytes.Buffer
	if err := parquet.Write(&b, rows); err != nil {
		t.Fatal(err)
	}
	return save(t, "a.parquet", b.String())
}

type expiring[T any] struct {
	HashKey []byte `parquet:"hash_key"`
	SortKey []byte `parquet:"sort_key"`
	Value   []byte `parquet:"value"`
	Expires T      `parquet:"expires"`
}

type inMicros struct {
	HashKey string `parquet:"hash_key,optional,dict"`
	SortKey string `parquet:"sort_key,snappy"`
	Value   []byte `parquet:"value"`
	Expires *int64 `parquet:"expires,optional,timestamp(microsecond)"`
}

type withNulls struct {
	HashKey *string `parquet:"hash_key,optional"`
	SortKey string  `parquet:"sort_key"`
	Value   *string `parquet:"value,optional"`
}

type odd struct {
	ID    uint64           `parquet:"id"`
	Small uint32           `parquet:"small"`
	Score float64          `parquet:"score"`
	Price int64            `parquet:"price,decimal(2:10)"`
	Old   deprecated.Int96 `parquet:"old"`
}

type notANumber struct {
	ID    uint64  `parquet:"id"`
	Small uint32  `parquet:"small"`
	Score float64 `parquet:"score"`
}

// What a Parquet file has in a type that would be taken for something else is an error, not another value.
func TestParquetTypes(t *testing.T) {
	k, empty := []byte("k"), []byte{}
	at, word, none := int64(1_900_000_000_000_000), "w", ""
	const no = "open: column expires is of type "
	for _, tc := range []struct{ name, want string }{
		{parquetOf(t, inMicros{"h", "s", k, &at}, inMicros{"h", "", empty, nil}), "1 \"h\" \"s\" \"k\" 1900000000\n2 \"h\" \"\" \"\" 0\n"},
		{parquetOf(t, expiring[int64]{k, k, k, 1_900_000_000}), no + "INT(64,true)"},
		{parquetOf(t, expiring[int32]{k, k, k, 1_900_000_000}), no + "INT(32,true)"},
		{parquetOf(t, expiring[string]{k, k, k, "1900000000"}), no + "STRING"},
		{parquetOf(t, expiring[[]int64]{k, k, k, []int64{1}}), no + "INT(64,true)"},
		{parquetOf(t, expiring[deprecated.Int96]{k, k, k, deprecated.Int96{1, 2, 3}}), no + "INT96"},
		{parquetOf(t, withNulls{&word, "", &none}, withNulls{nil, "s", &word}, withNulls{&none, "s", nil}),
			"1 \"w\" \"\" \"\" 0\n2 bad: hash_key, sort_key or value isn't there\n3 bad: hash_key, sort_key or value isn't there\n"},
	} {
		if got := all(t, tc.name, ReadOptions{}); got != tc.want && !(strings.HasPrefix(tc.want, no) && strings.HasPrefix(got, tc.want)) {
			t.Errorf("%s\nwant\n%s", got, tc.want)
		}
	}
	file := parquetOf(t, odd{ID: math.MaxUint64, Small: math.MaxUint32, Price: 1234})
	for value, want := range map[string]string{"{id} {small}": `1 "18446744073709551615" "" "18446744073709551615 4294967295" 0`,
		"{price}": "1 bad: column price has values of type DECIMAL(10,2)", "{*}": "1 bad: column price has", "{old}": "1 bad: column old has values of type INT96"} {
		if got := all(t, file, ReadOptions{Mapping: &Mapping{HashKey: "{id}", Value: value}}); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", value, got)
		}
	}
	file = parquetOf(t, notANumber{1, 2, math.NaN()}, notANumber{1, 2, math.Inf(-1)})
	want := fmt.Sprintf("1 \"1\" \"\" %q 0\n2 \"1\" \"\" %q 0\n", `{"id":1,"small":2,"score":"NaN"}`, `{"id":1,"small":2,"score":"-Inf"}`)
	if got := all(t, file, ReadOptions{Mapping: &Mapping{HashKey: "{id}"}}); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// A Parquet file that is cut, or of which bytes are changed, gives rows and then an error, or the rows that it has.
func TestDamagedParquet(t *testing.T) {
	var rows []expiringNot
	for i := range 500 {
		rows = append(rows, expiringNot{fmt.Append(nil, "h", i), fmt.Append(nil, i), []byte("v")})
	}
	whole, err := os.ReadFile(parquetOf(t, rows...))
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(whole); cut += 97 {
		if got := all(t, save(t, "a.parquet", string(whole[:cut])), ReadOptions{}); !strings.HasPrefix(got, "open: ") {
			t.Errorf("cut at %d: %.200s", cut, got)
		}
	}
	for at := 0; at < len(whole); at += 211 {
		b := bytes.Clone(whole)
		b[at] ^= 0xff
		got := all(t, save(t, "a.parquet", string(b)), ReadOptions{})
		if n := strings.Count(got, "\n"); n < 500 && !strings.Contains(got, " ends: ") && !strings.Contains(got, "open: ") {
			t.Errorf("byte %d changed: %d rows and no error", at, n)
		}
	}
}

type expiringNot struct {
	HashKey []byte `parquet:"hash_key"`
	SortKey []byte `parquet:"sort_key"`
	Value   []byte `parquet:"value"`
}

// Text that isn't what it seems: bytes that are no UTF-8 don't become other keys, and a byte order mark belongs to no column.
func TestText(t *testing.T) {
	asIs := ReadOptions{Text: func(s string) ([]byte, error) { return []byte(s), nil }}
	row := func(h string) string { return `{"hash_key":"` + h + `","sort_key":"","value":""}` + "\n" }
	for _, tc := range []struct {
		name, text, want string
		o                ReadOptions
	}{
		{"a.jsonl", byteOrder + row("a") + row("\xff"), "1 \"a\" \"\" \"\" 0\n2 bad: it isn't UTF-8\n", asIs},
		{"a.jsonl", row(`\ud800`) + row(`\udc00x`) + row(`\ud83d\ud83d`) + row(`\ud83d\ude00`) + row(`\\ud800`) + row(`\ufffd`),
			strings.Repeat("N bad: it has a half of a surrogate pair, which is no character\n", 3) + "N \"😀\" \"\" \"\" 0\nN \"\\\\ud800\" \"\" \"\" 0\nN \"�\" \"\" \"\" 0\n", asIs},
		{"a.csv", byteOrder + "\"hash_key\",sort_key,value\r\na,b,c\r\n", "2 \"a\" \"b\" \"c\" 0\n", asIs},
		{"a.csv", byteOrder + "a,b\n\xff,b\n", "1 \"a\" \"\" \"a\" 0\n2 \"\\xff\" \"\" \"\\xff\" 0\n", ReadOptions{Columns: []string{"x", "y"}, Mapping: &Mapping{HashKey: "{x}", Value: "{x}"}}},
		{"a.csv", "x,y\na,\xff\nb,c\n", "2 bad: column \"y\": it isn't UTF-8, and can't be in a JSON object\n3 \"b\" \"\" \"{\\\"x\\\":\\\"b\\\",\\\"y\\\":\\\"c\\\"}\" 0\n", ReadOptions{Mapping: &Mapping{HashKey: "{x}"}}},
		{"a.csv", "hash_key,sort_key,value\n", "", asIs},
		{"a.csv", "", "open: read the names of the columns in the first line: it is empty", asIs},
		{"a.csv", "hash_key,sort_key,value\na\x00b,,\"x\ny\"\n\"open,b\n", "2 \"a\\x00b\" \"\" \"x\\ny\" 0\n4 ends: line 4: extraneous or missing \" in quoted-field\n", asIs},
	} {
		got := all(t, save(t, tc.name, tc.text), tc.o)
		if strings.HasPrefix(tc.want, "N ") {
			for i := range 6 {
				tc.want = strings.Replace(tc.want, "N ", fmt.Sprint(i+1, " "), 1)
			}
		}
		if got != tc.want {
			t.Errorf("%q:\n%s\nwant\n%s", tc.text, got, tc.want)
		}
	}
}

// A row of CSV that doesn't end is an error after the row before, in bounded memory.
func TestLongCSV(t *testing.T) {
	r, err := NewReader(strings.NewReader("hash_key,sort_key,value\na,,\n\""+strings.Repeat("x", 1<<20)), ReadOptions{Format: "csv"})
	if err != nil {
		t.Fatal(err)
	}
	r.(*csvReader).most = 64 << 10
	var row Row
	_, err1 := r.Next(&row)
	line, err := r.Next(&row)
	if err1 == nil || line != 2 || err == nil || !strings.Contains(err.Error(), "after this line: the row has more than") {
		t.Errorf("%v; %d, %v", err1, line, err)
	}
}
