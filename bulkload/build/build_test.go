package build

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/blob/stores"
	"pegasus/bulkload"
	"pegasus/rocks/pegasus"
	"pegasus/rowfile"
)

var (
	place = bulkload.Place{Root: "loads", Cluster: "c1", Table: "shop"}
	now   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func store(t testing.TB, root string) *blob.Store {
	t.Helper()
	c := config.DefaultBlob()
	c.Path = root
	s, err := stores.New(nil, nil).Make(t.Context(), "s", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func options(partitions int32, from ...string) Options {
	return Options{WriterOptions: bulkload.WriterOptions{Place: place, AppID: 3, Partitions: partitions}, From: from, Now: now}
}

// randomRows are n rows with keys that differ, in no order.
func randomRows(n int) []pegasus.Row {
	rnd := rand.New(rand.NewPCG(4, uint64(n)))
	var rows []pegasus.Row
	for i := range n {
		b := make([]byte, rnd.IntN(200))
		for j := range b {
			b[j] = byte(rnd.Uint32())
		}
		hash, sort := fmt.Appendf(nil, "\x00%d\xff", i/3), fmt.Appendf(nil, "s,\"%d\n", i%3)
		if i%50 == 0 {
			hash, sort = nil, fmt.Appendf(nil, "only%d", i)
		}
		r := pegasus.Row{Key: base.AppendKey(nil, hash, sort), HashKey: hash, SortKey: sort, Value: pegasus.Value{Data: b, Timetag: uint64(1+i) << 8}}
		if i%4 == 0 {
			r.ExpireTS = uint32(now.Unix()-base.EpochBegin) + 1 + rnd.Uint32N(1e6)
		}
		rows = append(rows, r)
	}
	rnd.Shuffle(n, func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows
}

func show(r pegasus.Row) string {
	return fmt.Sprintf("%x %x %d %d", r.Key, r.Data, r.ExpireTS, r.Timetag)
}

func readAll(t *testing.T, s *blob.Store, count int32) []string {
	t.Helper()
	info, err := bulkload.ReadInfo(t.Context(), s, place)
	if err != nil || info != (bulkload.Info{AppID: 3, AppName: "shop", Partitions: count}) {
		t.Fatalf("%+v: %v", info, err)
	}
	var rows []string
	for i := range count {
		p, err := bulkload.OpenPartition(t.Context(), s, place, i, count)
		if err != nil {
			t.Fatal(err)
		}
		it, err := p.Rows(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for it.Next() {
			rows = append(rows, show(it.Row()))
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

// What `pegasus backup export` writes is built again in each form, also where little of it fits into memory.
func TestBuild(t *testing.T) {
	rows := randomRows(3000)
	var want []string
	for _, r := range rows {
		want = append(want, show(r))
	}
	slices.Sort(want)
	for _, format := range rowfile.Formats() {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			from := []string{filepath.Join(dir, "a."+format), filepath.Join(dir, "b."+format)}
			for i, name := range from {
				var b bytes.Buffer
				w, err := rowfile.NewWriter(format, &b, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range rows[i*len(rows)/2 : (i+1)*len(rows)/2] {
					if err := w.Write(9, r); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			s := store(t, t.TempDir())
			o := options(5, from...)
			o.Memory, o.TableSize, o.Temp = 1, 30<<10, filepath.Join(dir, "tmp")
			if err := os.Mkdir(o.Temp, 0o755); err != nil {
				t.Fatal(err)
			}
			o.Bad = func(p Problem) { t.Error(p) }
			res, err := Run(t.Context(), s, o)
			if err != nil || res.Read != 3000 || res.Rows != 3000 || res.Files < 10 {
				t.Fatalf("%+v: %v", res, err)
			}
			got := readAll(t, s, 5)
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Fatalf("%d rows, want %d", len(got), len(want))
			}
			if left, _ := os.ReadDir(o.Temp); len(left) > 0 {
				t.Fatalf("%v is left", left)
			}
		})
	}
}

// Many files of sorted rows are merged in several steps.
func TestSorter(t *testing.T) {
	for _, n := range []int{0, 1, 100, 300} {
		s := sorter{dir: t.TempDir(), memory: 100, fanIn: 4} // a row or two
		rnd := rand.New(rand.NewPCG(1, 2))
		var want []string
		for i := range n {
			r := record{rnd.Int32N(3), 1, int64(i), fmt.Append(nil, rnd.IntN(n)), fmt.Append(nil, i)}
			if err := s.add(&r); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprintf("%d %s %08d %s", r.partition, r.key, r.line, r.value))
		}
		slices.SortFunc(want, func(a, b string) int { return strings.Compare(a, b) })
		m, err := s.sorted()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			r, err := m.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%d %s %08d %s", r.partition, r.key, r.line, r.value))
		}
		m.close()
		if !slices.Equal(got, want) {
			t.Fatalf("%d records are sorted wrongly: %d came", n, len(got))
		}
		if n == 300 && len(s.levels) < 4 {
			t.Fatalf("%d levels", len(s.levels))
		}
	}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func jsonLine(hash, sort, value, more string) string {
	return fmt.Sprintf(`{"hash_key":%q,"sort_key":%q,"value":%q%s}`, b64(hash), b64(sort), b64(value), more)
}

func save(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Rows that can't be loaded are told by file and line, and nothing is written; with Skip the others are.
func TestBadRows(t *testing.T) {
	a := save(t, "a.jsonl", strings.Join([]string{
		jsonLine("h1", "s", "first", ""),
		`{"hash_key":"!!!","sort_key":"","value":""}`,
		"",
		jsonLine("h2", "s", "v", `,"expires":1800000000,"written":1700000000000000`),
		`{"hash_key":"","sort_key":""}`,
		`{"hash_key":"","sort_key":"","value":"","ttl":5}`,
		jsonLine(strings.Repeat("x", 65535), "", "", ""),
		jsonLine("h3", "s", "v", `,"expires":100`),
		jsonLine("h3", "s", "v", `,"expires":3700000000`),
		jsonLine("h3", "s", "v", `,"written":-1`),
		jsonLine("h3", "s", "gone", `,"expires":1700000000`),
		"[1]", jsonLine("h4", "", "", "") + "{}", "{",
		jsonLine("h1", "s", "second", ""),
	}, "\r\n"))
	b := save(t, "b.csv", "value,hash_key,sort_key,expires\n"+b64("third")+","+b64("h1")+","+b64("s")+",\n"+b64("v")+",?,,\nx,y\n"+b64("v")+","+b64("h5")+",,never\n\""+b64("last")+"\","+b64("h6")+",,\n")
	s := store(t, t.TempDir())
	o := options(4, a, b)
	var told []string
	o.Bad = func(p Problem) { told = append(told, fmt.Sprintf("%s:%d: %v", filepath.Base(p.File), p.Line, p.Err)) }
	want := []string{
		`^a.jsonl:2: hash_key: illegal base64`, `^a.jsonl:5: hash_key, sort_key or value isn't there`, `^a.jsonl:6: .*unknown field "ttl"`,
		`^a.jsonl:7: hash key has 65535 bytes`, `^a.jsonl:8: it expires at 100: give Unix seconds`, `^a.jsonl:9: it expires at 3700000000`,
		`^a.jsonl:10: it was written at -1`, `^a.jsonl:12: it is no JSON object`, `^a.jsonl:13: there is more than one`, `^a.jsonl:14: it is no JSON object`,
		`^b.csv:3: hash_key: illegal base64`, `^b.csv:4: it has 2 columns, the first line has 4`, `^b.csv:5: expires is "never"`,
	}
	check := func(want []string) {
		t.Helper()
		if len(told) != len(want) {
			t.Fatalf("%d problems, want %d: %q", len(told), len(want), told)
		}
		for i, w := range want {
			if !regexp.MustCompile(w).MatchString(told[i]) {
				t.Errorf("problem %d is %q, want %s", i, told[i], w)
			}
		}
		told = nil
	}
	_, err := Run(t.Context(), s, o)
	var wrong *BadRowsError
	if !errors.As(err, &wrong) || *wrong != (BadRowsError{13, 0, 19}) {
		t.Fatalf("got %v", err)
	}
	check(want)
	nothing(t, s)

	o.Skip = true
	res, err := Run(t.Context(), s, o)
	if err != nil || res.Rows != 3 || res.Bad != 13 || res.Replaced != 2 || res.Expired != 1 || res.Read != 19 {
		t.Fatalf("%+v: %v", res, err)
	}
	check(append(want, `^a.jsonl:1: .*a.jsonl:15 has the same keys`, `^a.jsonl:15: .*b.csv:2 has the same keys`))
	got := strings.Join(readAll(t, s, 4), "\n")
	for _, value := range []string{"third", "last"} {
		if !strings.Contains(got, fmt.Sprintf(" %x 0 %d", value, now.UnixMicro()<<8)) {
			t.Errorf("no row with %q in %s", value, got)
		}
	}
	if !strings.Contains(got, fmt.Sprintf(" %x %d %d", "v", 1800000000-base.EpochBegin, int64(1700000000000000)<<8)) {
		t.Errorf("the row of h2 is wrong in %s", got)
	}
}

func nothing(t *testing.T, s *blob.Store) {
	t.Helper()
	if list, err := s.List(t.Context(), place.Dir()); !errors.Is(err, blob.ErrNotFound) && len(list) > 0 {
		t.Fatalf("%v is left", list)
	}
}

func TestCollisions(t *testing.T) {
	a := save(t, "a.jsonl", jsonLine("h", "s", "1", "")+"\n"+jsonLine("i", "s", "1", "")+"\n"+jsonLine("h", "s", "2", "")+"\n")
	s := store(t, t.TempDir())
	o := options(4, a)
	n := 0
	o.Bad = func(p Problem) {
		n++
		if p.Line != 1 || !strings.Contains(p.Err.Error(), "a.jsonl:3 has the same keys") {
			t.Error(p)
		}
	}
	_, err := Run(t.Context(), s, o)
	if err == nil || !strings.Contains(err.Error(), "1 of 3 rows have the keys of a later one, so nothing was written") || n != 1 {
		t.Fatalf("%d problems: %v", n, err)
	}
	nothing(t, s)
}

func TestBadFiles(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"a.txt", "", "the name of .*a.txt doesn't say what it is"},
		{"a.csv", "", "a.csv: read the names of the columns in the first line: it is empty"},
		{"a.csv", "hash_key,sort_key\n", "there is no column value"},
		{"a.csv", "hash_key,sort_key,value,colour\n", `unknown column "colour"`},
		{"a.csv", "hash_key,sort_key,value,value\n", "column value is there twice"},
		{"a.csv", "hash_key,sort_key,value\nx,\"y\n", `a.csv:2: line \d: extraneous or missing " in quoted-field`},
		{"a.parquet", "PAR1", "a.parquet: "},
		{"a.parquet", "", "a.parquet: "},
	} {
		s := store(t, t.TempDir())
		_, err := Run(t.Context(), s, options(4, save(t, tc.name, tc.text)))
		if err == nil || !regexp.MustCompile(tc.want).MatchString(err.Error()) {
			t.Errorf("%s with %q: %v, want %s", tc.name, tc.text, err, tc.want)
		}
		nothing(t, s)
	}
	s := store(t, t.TempDir())
	if _, err := Run(t.Context(), s, options(4, "/no/such/file.csv")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Run(t.Context(), s, options(4)); err == nil {
		t.Error("no files are accepted")
	}
}

// A command that is interrupted leaves nothing.
func TestInterrupted(t *testing.T) {
	var b strings.Builder
	for i := range 10000 {
		b.WriteString(jsonLine(fmt.Sprint(i), "", "v", "") + "\n")
	}
	a := save(t, "a.jsonl", b.String())
	for _, at := range []int64{0, 4096} {
		s := store(t, t.TempDir())
		ctx, cancel := context.WithCancel(t.Context())
		o := options(4, a)
		o.TableSize, o.Temp = 20000, t.TempDir()
		o.Progress = func(_, written int64) {
			if written >= at {
				cancel()
			}
		}
		if _, err := Run(ctx, s, o); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		nothing(t, s)
		if left, _ := os.ReadDir(o.Temp); len(left) > 0 {
			t.Fatalf("%v is left", left)
		}
	}
}
