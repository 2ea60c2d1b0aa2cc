package rows

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/client/clienttest"
	"pegasus/gen/rrdb"
	"pegasus/rowfile"
	"pegasus/rpc"
)

var now = time.Unix(1_800_000_000, 0)

func open(t *testing.T, k *clienttest.Cluster, name string) *client.Table {
	t.Helper()
	c := client.New([]string{k.Meta}, client.Options{Timeout: 20 * time.Second})
	t.Cleanup(c.Close)
	tb, err := c.Table(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

func cluster(t *testing.T, tables ...string) *clienttest.Cluster {
	t.Helper()
	k := clienttest.Start(t, 2)
	k.SetNow(func() time.Time { return now })
	for i, name := range tables {
		k.CreateTable(name, 4+i, 1)
	}
	return k
}

// content is what a table has, a line for each row.
func content(t *testing.T, tb *client.Table) []string {
	t.Helper()
	var list []string
	s := tb.ScanAll(client.ScanOptions{ExpireTS: true})
	defer s.Close()
	for s.Next(t.Context()) {
		r := s.Row()
		list = append(list, fmt.Sprintf("%q %q %q %d", r.HashKey, r.SortKey, r.Value, r.ExpireTS))
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	slices.Sort(list)
	return list
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %d rows, want %d:\n%.1000q\nwant\n%.1000q", what, len(got), len(want), got, want)
	}
}

// text is an input of JSON lines with keys and values as they are.
func text(name, s string) Input {
	return Input{Name: name, Format: "jsonl", Open: func(context.Context) (io.ReadCloser, int64, error) {
		return io.NopCloser(strings.NewReader(s)), int64(len(s)), nil
	}}
}

func asIs(s string) ([]byte, error) { return []byte(s), nil }

func line(h, s, v string, expires int64) string {
	return fmt.Sprintf("{\"hash_key\":%q,\"sort_key\":%q,\"value\":%q,\"expires\":%d}\n", h, s, v, expires)
}

type badRows struct{ list []string }

func (b *badRows) add(r BadRow) error {
	b.list = append(b.list, fmt.Sprintf("%s %q %q", r, r.HashKey, r.SortKey))
	return nil
}

func options(b *badRows) ImportOptions {
	return ImportOptions{Read: rowfile.ReadOptions{Text: asIs}, Table: "t", Now: now, Bad: b.add}
}

// What is exported in each format is imported again, in one file and in one for each partition, also rows without a hash key.
func TestRoundTrip(t *testing.T) {
	k := cluster(t, "t", "u")
	from, to := open(t, k, "t"), open(t, k, "u")
	var in strings.Builder
	for i := range 5000 {
		h, at := fmt.Sprintf("h%d", i%700), int64(0)
		if i%50 == 0 {
			h = ""
		}
		if i%3 == 1 {
			at = now.Unix() + int64(i)
		}
		in.WriteString(line(h, fmt.Sprintf("s%d", i), strings.Repeat("v", i%100), at))
	}
	in.WriteString(line("gone", "s", "v", now.Unix()-1) + line("h1", "s1", "the last one counts", 0) + line("h2", "s2", "a", 0) + line("h2", "s2", "b", now.Unix()+9))
	var bad badRows
	res, err := Import(t.Context(), from, []Input{text("a.jsonl", in.String())}, options(&bad))
	if err != nil || res.Read != 5004 || res.Expired != 1 || res.Bad != 0 || res.Written < 5000 || res.Written > 5003 {
		t.Fatalf("%+v, %v, %q", res, err, bad.list)
	}
	want := content(t, from)
	if len(want) != 5000 || !slices.Contains(want, `"h1" "s1" "the last one counts" 0`) || !slices.Contains(want, fmt.Sprintf(`"h2" "s2" "b" %d`, now.Unix()+9-base.EpochBegin)) {
		t.Fatalf("%d rows", len(want))
	}
	for _, format := range rowfile.Formats() {
		for _, split := range []bool{false, true} {
			dir := t.TempDir()
			name := filepath.Join(dir, "out."+format)
			o := ExportOptions{Format: format, Name: name, Split: split, Table: "t", AppID: 1}
			out, err := Export(t.Context(), Of(from), Files{}, o)
			if err != nil || out.Rows != 5000 || out.Kept != 0 {
				t.Fatalf("%+v, %v", out, err)
			}
			names := []string{name}
			if split {
				if names, err = filepath.Glob(filepath.Join(name, "part-*")); err != nil || len(names) != 4 || out.Files != 4 {
					t.Fatalf("%q, %v, %+v", names, err, out)
				}
				if out, err := Export(t.Context(), Of(from), Files{}, o); err != nil || out.Kept != 4 || out.Files != 0 || out.Rows != 0 {
					t.Fatalf("once more: %+v, %v", out, err)
				}
				o.AppID = 2
				if _, err := Export(t.Context(), Of(from), Files{}, o); err == nil || !strings.Contains(err.Error(), "is of another export") {
					t.Fatal(err)
				}
			}
			if _, err := Clear(t.Context(), Of(to), to, CopyOptions{Bad: bad.add}); err != nil {
				t.Fatal(err)
			}
			equal(t, "cleared", content(t, to), nil)
			var inputs []Input
			for _, n := range names {
				inputs = append(inputs, Input{Name: n, Format: format, Open: func(context.Context) (io.ReadCloser, int64, error) {
					f, err := os.Open(n)
					return f, -1, err
				}})
			}
			io := options(&bad)
			io.Read.Text = nil
			if res, err := Import(t.Context(), to, inputs, io); err != nil || res.Written != 5000 {
				t.Fatalf("%+v, %v, %q", res, err, bad.list)
			}
			equal(t, format, content(t, to), want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(t.TempDir(), "*")); len(left) > 0 {
		t.Error(left)
	}
}

// Rows that can't be read or that the table refuses are told with their place, and the others are written; an error of Bad ends the import.
func TestBadRows(t *testing.T) {
	k := cluster(t, "t")
	tb := open(t, k, "t")
	k.SetHook(func(_ int, r *rpc.Request) bool {
		var refuse bool
		switch r.Code {
		case base.RPCPut:
			var q rrdb.UpdateRequest
			refuse = r.DecodeArg(&q) == nil && bytes.Contains(q.Value, []byte("large"))
		case base.RPCMultiPut:
			var q rrdb.MultiPutRequest
			refuse = r.DecodeArg(&q) == nil && slices.ContainsFunc(q.Kvs, func(kv rrdb.KeyValue) bool { return bytes.Contains(kv.Value, []byte("large")) })
		}
		if refuse {
			r.ReplyError(base.ErrInvalidData)
		}
		return refuse
	})
	in := line("h", "1", "v", 0) + "{\n" + line("h", "2", "large", 0) + line("h", "3", "v", 0) + line("x", "1", "large", 0) +
		line(strings.Repeat("k", 70000), "", "", 0) + line("e", "", "v", 1)
	var bad badRows
	res, err := Import(t.Context(), tb, []Input{text("a", in)}, options(&bad))
	if err != nil || res != (Result{Read: 7, Written: 2, Bad: 5}) {
		t.Fatalf("%+v, %v", res, err)
	}
	equal(t, "rows", content(t, tb), []string{`"h" "1" "v" 0`, `"h" "3" "v" 0`})
	slices.Sort(bad.list)
	for i, want := range []string{`a:2: it is no JSON object`, `a:3: .*ERR_INVALID_DATA.* "h" "2"`, `a:5: .*ERR_INVALID_DATA.* "x" "1"`, "a:6: ", `a:7: it expires at 1: give Unix seconds`} {
		first, rest, _ := strings.Cut(want, ".*")
		last := rest[strings.LastIndex(rest, "* ")+1:]
		if i >= len(bad.list) || !strings.HasPrefix(bad.list[i], first) || !strings.HasSuffix(bad.list[i], last) {
			t.Fatalf("%d: %.300q, want %s", i, bad.list, want)
		}
	}
	enough := errors.New("enough")
	o := options(&bad)
	o.Bad = func(BadRow) error { return enough }
	for _, in := range []string{"{\n", line("h", "2", "large", 0)} {
		if _, err := Import(t.Context(), tb, []Input{text("a", in)}, o); !errors.Is(err, enough) {
			t.Errorf("%q: %v", in, err)
		}
	}
	o = options(&bad)
	o.DryRun = true
	k.SetHook(nil)
	if res, err := Import(t.Context(), tb, []Input{text("a", line("new", "", "v", 0))}, o); err != nil || res.Read != 1 || res.Written != 0 || len(content(t, tb)) != 2 {
		t.Errorf("dry run: %+v, %v", res, err)
	}
}

// A row that no request can carry is a bad one, and isn't sent.
func TestRowTooLarge(t *testing.T) {
	var bad badRows
	o := options(&bad)
	im := &importer{o: &o}
	w := &window{}
	for _, size := range []int{mostRow, mostRow - 1} {
		row := rowfile.Row{HashKey: []byte("h"), Value: make([]byte, size)}
		if err := im.take(w, place{"a", 7}, &row, nil); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "bad rows", bad.list, []string{fmt.Sprintf(`a:7: the row has %d bytes, the most that can be sent is %d "h" ""`, mostRow+1, mostRow)})
	if w.sums.Bad != 1 || len(w.changes) != 1 {
		t.Errorf("%+v, %d rows to write", w.sums, len(w.changes))
	}
}

// An import that is ended at any moment goes on from its state file: every row is there in the end, and not all are written again.
func TestImportGoesOn(t *testing.T) {
	k := cluster(t, "t")
	tb := open(t, k, "t")
	var a, b strings.Builder
	var want []string
	for i := range 12000 {
		to := &a
		if i >= 7000 {
			to = &b
		}
		to.WriteString(line(fmt.Sprintf("h%d", i), "", "v", 0))
		want = append(want, fmt.Sprintf(`"h%d" "" "v" 0`, i))
	}
	slices.Sort(want)
	inputs := []Input{text("a", a.String()), text("b", b.String())}
	state := filepath.Join(t.TempDir(), "state")
	var bad badRows
	o := options(&bad)
	o.State = state
	var written int64
	for run := 0; ; run++ {
		if run == 20 {
			t.Fatal("it doesn't end")
		}
		ctx, cancel := context.WithCancel(t.Context())
		var n atomic.Int64
		k.SetHook(func(_ int, r *rpc.Request) bool {
			if r.Code == base.RPCPut && n.Add(1) == 5000 {
				cancel()
			}
			return false
		})
		res, err := Import(ctx, tb, inputs, o)
		cancel()
		written += res.Written
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	equal(t, "rows", content(t, tb), want)
	if written > 12000+20*2*windowRows {
		t.Errorf("%d rows were written", written)
	}
	if res, err := Import(t.Context(), tb, inputs, o); err != nil || res.Read != 0 || res.Before != 12000 {
		t.Errorf("it is done: %+v, %v", res, err)
	}
	if _, err := Import(t.Context(), tb, inputs[:1], o); err == nil || !strings.Contains(err.Error(), "is of an import of") {
		t.Error(err)
	}
	if err := os.WriteFile(state, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Import(t.Context(), tb, inputs, o); err == nil || !strings.Contains(err.Error(), "read the state file") {
		t.Error(err)
	}
}

// An import goes on with the file that it read before, which may have got longer, and with no other; also one that was done.
func TestFileChanges(t *testing.T) {
	k := cluster(t, "t")
	tb := open(t, k, "t")
	var bad badRows
	o := options(&bad)
	o.State = filepath.Join(t.TempDir(), "state")
	one, two, three := line("h", "1", "v", 0), "{\n", line("h", "3", "v", 0)
	for _, x := range []struct{ in, want string }{
		{one + two + three, ""},
		{one + two + three + line("h", "4", "v", 0), ""},
		{one + two + line("h", "3", "w", 0) + line("h", "4", "v", 0), "its first 4 rows, which were read before, are others"},
		{one + three + line("h", "2", "v", 0) + line("h", "4", "v", 0), "are others"},
		{one + two, "a has 2 rows, and 4 were read of it before"},
	} {
		before := content(t, tb)
		_, err := Import(t.Context(), tb, []Input{text("a", x.in)}, o)
		if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Fatalf("%q: %v, want %q", x.in, err, x.want)
		}
		if x.want != "" {
			equal(t, "rows", content(t, tb), before)
		}
	}
	if len(content(t, tb)) != 3 {
		t.Errorf("%q", content(t, tb))
	}
}

// A server that fails for a while is waited for; one that fails for ever, or a table that is gone, ends the import with the place.
func TestTargetFails(t *testing.T) {
	k := cluster(t, "t")
	tb := open(t, k, "t")
	var n atomic.Int64
	k.SetHook(func(_ int, r *rpc.Request) bool {
		if r.Code != base.RPCPut || n.Add(1) > 3 {
			return false
		}
		r.Reply(&rrdb.UpdateResponse{Error: base.StoreTryAgain})
		return true
	})
	var bad badRows
	if res, err := Import(t.Context(), tb, []Input{text("a", line("h", "", "v", 0))}, options(&bad)); err != nil || res.Written != 1 || n.Load() != 4 {
		t.Fatalf("%+v, %v after %d", res, err, n.Load())
	}
	k.SetHook(func(_ int, r *rpc.Request) bool {
		if r.Code != base.RPCPut {
			return false
		}
		r.Reply(&rrdb.UpdateResponse{Error: base.StoreTryAgain})
		return true
	})
	o := options(&bad)
	o.Patience = time.Millisecond
	state := filepath.Join(t.TempDir(), "s")
	o.State = state
	if res, err := Import(t.Context(), tb, []Input{text("a", line("h", "", "v", 0))}, o); err == nil || !strings.Contains(err.Error(), "write a:1: ") || res.Written != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	k.SetHook(nil)
	if res, err := Import(t.Context(), tb, []Input{text("a", line("h", "", "w", 0))}, o); err != nil || res.Written != 1 {
		t.Fatalf("what wasn't written is done: %+v, %v", res, err)
	}
	if len(bad.list) > 0 {
		t.Error(bad.list)
	}
}

// delayed has writes end in another order than they begin.
type delayed struct {
	stays
	mu   sync.Mutex
	busy map[string]int
	rows map[string]string
	most int
}

func (d *delayed) Go(op client.Op, _ time.Duration, done func([]byte, error)) {
	arg := op.Arg.(*rrdb.UpdateRequest)
	h, _, _ := base.SplitKey(arg.Key)
	d.mu.Lock()
	d.busy[string(h)]++
	d.most = max(d.most, d.busy[string(h)])
	n := len(d.rows)
	d.mu.Unlock()
	time.AfterFunc(time.Duration(n%7)*100*time.Microsecond, func() {
		d.mu.Lock()
		d.rows[string(arg.Key)] = string(arg.Value)
		d.busy[string(h)]--
		d.mu.Unlock()
		done((&rrdb.UpdateResponse{}).AppendThrift(nil), nil)
	})
}

// Two writes of a hash key are never on their way at once, so that the last row of a key counts.
func TestOrder(t *testing.T) {
	d := &delayed{busy: map[string]int{}, rows: map[string]string{}}
	var in strings.Builder
	for i := range 40 * windowRows / 10 {
		in.WriteString(line(fmt.Sprintf("h%d", i%11), "s", fmt.Sprint(i), now.Unix()+int64(1+i%2)))
	}
	var bad badRows
	if _, err := Import(t.Context(), d, []Input{text("a", in.String())}, options(&bad)); err != nil || len(bad.list) > 0 {
		t.Fatal(err, bad.list)
	}
	if d.most != 1 || len(d.rows) != 11 {
		t.Fatalf("%d writes of a hash key at once, %d rows", d.most, len(d.rows))
	}
	all := 40 * windowRows / 10
	for i := all - 11; i < all; i++ {
		if got := d.rows[string(base.AppendKey(nil, fmt.Appendf(nil, "h%d", i%11), []byte("s")))]; got != fmt.Sprint(i) {
			t.Errorf("h%d is %s, want %d", i%11, got, i)
		}
	}
}

// A copy keeps expiries, takes the rows that are asked for, and goes on where it was; clear removes those that are asked for.
func TestCopyAndClear(t *testing.T) {
	k := cluster(t, "t", "u")
	from, to := open(t, k, "t"), open(t, k, "u")
	var in strings.Builder
	for i := range 9000 {
		in.WriteString(line(fmt.Sprintf("%c%d", 'a'+i%2, i%900), fmt.Sprintf("s%d", i), "v", now.Unix()+1000+int64(i%3)))
	}
	var bad badRows
	if _, err := Import(t.Context(), from, []Input{text("x", in.String())}, options(&bad)); err != nil {
		t.Fatal(err)
	}
	all := content(t, from)
	o := CopyOptions{From: "t", To: "u", State: filepath.Join(t.TempDir(), "s"), Bad: bad.add, Choice: Choice{Parallel: 1}}
	runs := 0
	for ; ; runs++ {
		ctx, cancel := context.WithCancel(t.Context())
		o.Progress = func(p Progress) {
			if p.Read >= 2000 {
				cancel()
			}
		}
		_, err := Copy(ctx, Of(from), to, o)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) || runs > 20 {
			t.Fatal(runs, err)
		}
	}
	if runs < 2 {
		t.Errorf("%d interruptions", runs)
	}
	equal(t, "copied", content(t, to), all)
	if _, err := Copy(t.Context(), Of(to), from, o); err == nil || !strings.Contains(err.Error(), "is of a copy of t") {
		t.Error(err)
	}
	filter := CopyOptions{Choice: Choice{HashFilter: client.Filter{Type: rrdb.FT_MATCH_PREFIX, Pattern: []byte("a")}}, Bad: bad.add}
	res, err := Clear(t.Context(), Of(to), to, filter)
	if err != nil || res.Written != 4500 {
		t.Fatalf("%+v, %v", res, err)
	}
	var rest []string
	for _, l := range all {
		if strings.HasPrefix(l, `"b`) {
			rest = append(rest, l)
		}
	}
	equal(t, "the rest", content(t, to), rest)
	if len(bad.list) > 0 {
		t.Error(bad.list)
	}
}

// Sums and the largest rows.
func TestLook(t *testing.T) {
	k := cluster(t, "t")
	tb := open(t, k, "t")
	for i := range 300 {
		ttl := 0
		if i%4 == 0 {
			ttl = 100
		}
		if err := tb.Set(t.Context(), fmt.Appendf(nil, "h%d", i/10), fmt.Appendf(nil, "s%03d", i), make([]byte, i), ttl); err != nil {
			t.Fatal(err)
		}
	}
	k.SetNow(time.Now)
	st, err := Look(t.Context(), Of(tb), StatsOptions{Top: 3})
	if err != nil {
		t.Fatal(err)
	}
	var top []string
	for _, l := range st.Top {
		top = append(top, fmt.Sprintf("%s/%s %d", l.HashKey, l.SortKey, l.Bytes))
	}
	equal(t, "top", top, []string{"h29/s299 306", "h29/s298 305", "h29/s297 304"})
	if st.Top = nil; fmt.Sprintf("%+v", st) != "{Rows:300 HashKeys:30 Expiring:75 HashKeyBytes:800 SortKeyBytes:1200 Value:44850 MaxHashKey:3 MaxSortKey:4 MaxValue:299 MaxRowsOfHashKey:10 MaxBytesOfHashKey:3015 Top:[]}" {
		t.Errorf("%+v", st)
	}
}

// An export that fails leaves no file.
func TestExportFails(t *testing.T) {
	k := cluster(t, "t")
	tb := open(t, k, "t")
	if err := tb.Set(t.Context(), []byte("h"), nil, []byte("v"), 0); err != nil {
		t.Fatal(err)
	}
	k.SetHook(func(_ int, r *rpc.Request) bool {
		if r.Code == base.RPCGetScanner && r.Gpid.PartitionIndex == 2 {
			r.ReplyError(base.ErrInvalidParameters)
			return true
		}
		return false
	})
	dir := t.TempDir()
	if _, err := Export(t.Context(), Of(tb), Files{}, ExportOptions{Format: "csv", Name: filepath.Join(dir, "a")}); err == nil || !strings.Contains(err.Error(), "partition 2") {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Error(left)
	}
	if _, err := Export(t.Context(), Of(tb), Files{}, ExportOptions{Format: "xml"}); err == nil {
		t.Error("xml is a format")
	}
}

// BenchmarkImport is the cost of a row without a server.
func BenchmarkImport(b *testing.B) {
	var in strings.Builder
	for i := range b.N {
		in.WriteString(line(fmt.Sprintf("h%d", i/20), fmt.Sprintf("s%d", i), strings.Repeat("v", 100), 0))
	}
	b.ReportAllocs()
	b.ResetTimer()
	var bad badRows
	if _, err := Import(b.Context(), accepts{}, []Input{text("a", in.String())}, options(&bad)); err != nil || len(bad.list) > 0 {
		b.Fatal(err, bad.list)
	}
}

type accepts struct{ stays }

// stays is the part of a table that isn't made anew.
type stays struct{}

func (stays) AppID() int32                  { return 1 }
func (stays) Refresh(context.Context) error { return nil }

func (accepts) Go(op client.Op, _ time.Duration, done func([]byte, error)) {
	go done((&rrdb.UpdateResponse{}).AppendThrift(nil), nil)
}
