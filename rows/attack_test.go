package rows

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pegasus/base"
	"pegasus/client"
	"pegasus/client/clienttest"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

// splits has a table split, or made anew, when it is first read.
func splits(t *testing.T, k *clienttest.Cluster, partitions int) {
	t.Helper()
	var once sync.Once
	k.SetHook(func(_ int, r *rpc.Request) bool {
		if r.Code == base.RPCGetScanner {
			once.Do(func() { k.CreateTable("t", partitions, 1) })
		}
		return false
	})
}

// A table that is split, or dropped and made anew, while it is read is an error, and no file of it appears.
func TestTableThatChanges(t *testing.T) {
	for _, partitions := range []int{4, 8} {
		for what, walk := range map[string]func(tb *client.Table, dir string) error{
			"export": func(tb *client.Table, dir string) error {
				_, err := Export(t.Context(), Of(tb), Files{}, ExportOptions{Format: "jsonl", Name: filepath.Join(dir, "a")})
				return err
			},
			"split export": func(tb *client.Table, dir string) error {
				_, err := Export(t.Context(), Of(tb), Files{}, ExportOptions{Format: "jsonl", Name: filepath.Join(t.TempDir(), "a"), Split: true})
				return err
			},
			"copy": func(tb *client.Table, dir string) error {
				_, err := Copy(t.Context(), Of(tb), accepts{}, CopyOptions{})
				return err
			},
			"clear": func(tb *client.Table, dir string) error {
				_, err := Clear(t.Context(), Of(tb), accepts{}, CopyOptions{})
				return err
			},
			"look": func(tb *client.Table, dir string) error {
				_, err := Look(t.Context(), Of(tb), StatsOptions{})
				return err
			},
		} {
			k := cluster(t, "t")
			tb := open(t, k, "t")
			splits(t, k, partitions)
			dir := t.TempDir()
			if err := walk(tb, dir); !errors.Is(err, base.ErrInvalidState) {
				t.Errorf("%s, %d partitions: %v", what, partitions, err)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%s: %v", what, left)
			}
		}
	}
}

// A state file, and a directory of an export, are of one table, one choice of rows and one way to make them: with another one nothing is
// taken for done.
func TestStateOfAnother(t *testing.T) {
	k := cluster(t, "t", "u")
	tb := open(t, k, "t")
	dir := t.TempDir()
	a := client.Filter{Type: rrdb.FT_MATCH_PREFIX, Pattern: []byte("a")}
	var bad badRows

	io := options(&bad)
	io.State, io.ID = filepath.Join(dir, "import"), 1
	if _, err := Import(t.Context(), tb, []Input{text("f", line("h", "", "v", 0))}, io); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*ImportOptions){func(o *ImportOptions) { o.ID++ }, func(o *ImportOptions) { o.How = "hex" }, func(o *ImportOptions) { o.Table = "u" }} {
		o := io
		change(&o)
		if res, err := Import(t.Context(), tb, []Input{text("f", line("h", "", "v", 0))}, o); err == nil || !strings.Contains(err.Error(), "is of an import of") {
			t.Errorf("%+v, %v", res, err)
		}
	}

	co := CopyOptions{From: "t", To: "u", FromID: 1, ToID: 2, State: filepath.Join(dir, "copy"), Bad: bad.add}
	if _, err := Copy(t.Context(), Of(tb), accepts{}, co); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*CopyOptions){func(o *CopyOptions) { o.FromID++ }, func(o *CopyOptions) { o.ToID++ }, func(o *CopyOptions) { o.HashFilter = a }, func(o *CopyOptions) { o.SortFilter = a }} {
		o := co
		change(&o)
		if res, err := Copy(t.Context(), Of(tb), accepts{}, o); err == nil || !strings.Contains(err.Error(), "is of a copy of t with id 1") {
			t.Errorf("%+v, %v", res, err)
		}
	}

	eo := ExportOptions{Format: "csv", Name: filepath.Join(dir, "export"), Split: true, Table: "t", AppID: 1}
	if _, err := Export(t.Context(), Of(tb), Files{}, eo); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*ExportOptions){func(o *ExportOptions) { o.HashFilter = a }, func(o *ExportOptions) { o.Encoding = "hex" }} {
		o := eo
		change(&o)
		if res, err := Export(t.Context(), Of(tb), Files{}, o); err == nil || !strings.Contains(err.Error(), "is of another export") {
			t.Errorf("%+v, %v", res, err)
		}
	}
}

// A file that has become shorter than what was read of it before isn't taken for done.
func TestFileBecameShorter(t *testing.T) {
	k := cluster(t, "t")
	tb := open(t, k, "t")
	var bad badRows
	o := options(&bad)
	o.State = filepath.Join(t.TempDir(), "state")
	two := line("a", "", "v", 0) + line("b", "", "v", 0)
	if _, err := Import(t.Context(), tb, []Input{text("f", two)}, options(&bad)); err != nil {
		t.Fatal(err)
	}
	if err := writeState(o.State, importState{Format: stateFormat, Table: "t", Files: []string{"f", "g"}, Rows: 2, Read: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := Import(t.Context(), tb, []Input{text("f", line("c", "", "v", 0)), text("g", "")}, o); err == nil || !strings.Contains(err.Error(), "f has 1 rows, and 2 were read of it before") {
		t.Fatal(err)
	}
	if res, err := Import(t.Context(), tb, []Input{text("f", two), text("g", "")}, o); err != nil || res.Before != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
	equal(t, "rows", content(t, tb), []string{`"a" "" "v" 0`, `"b" "" "v" 0`})
}

// pages gives rows of a megabyte, a page of a thousand of them at a time, and knows how many are held by an export.
type pages struct {
	n, given, most int
	wrote          int
}

func (p *pages) Partitions() int                   { return 1 }
func (p *pages) Scan(int, client.ScanOptions) Rows { return p }
func (p *pages) Still(context.Context) error       { return nil }
func (p *pages) Next(context.Context) bool {
	p.given++
	p.most = max(p.most, p.given-p.wrote)
	return p.given <= p.n
}
func (p *pages) Row() client.Row                                    { return client.Row{HashKey: fmt.Append(nil, p.given), Value: large} }
func (p *pages) Err() error                                         { return nil }
func (p *pages) Close()                                             {}
func (p *pages) Read(context.Context, string) ([]byte, bool, error) { return nil, false, nil }
func (p *pages) Has(context.Context, string) (bool, error)          { return false, nil }
func (p *pages) Write(_ context.Context, _ string, write func(io.Writer) error) error {
	return write(writerFunc(func(b []byte) (int, error) { p.wrote = p.given; return len(b), nil }))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

var large = make([]byte, 1<<20)

// Large rows don't wait until there are many of them.
func TestExportOfLargeRows(t *testing.T) {
	p := &pages{n: 20}
	if res, err := Export(t.Context(), p, p, ExportOptions{Format: "jsonl", Name: "a"}); err != nil || res.Rows != 20 || p.most > 3 {
		t.Fatalf("%+v, %v, %d rows were held", res, err, p.most)
	}
}

// renewed is a table that is dropped and made anew while it is written to.
type renewed struct {
	accepts
	id int32
}

func (r *renewed) AppID() int32                  { return r.id }
func (r *renewed) Refresh(context.Context) error { r.id++; return nil }

// Rows that are in a table that is gone aren't told to be written, nor noted in the state file.
func TestTargetIsMadeAnew(t *testing.T) {
	k := cluster(t, "t")
	from := open(t, k, "t")
	if err := from.Set(t.Context(), []byte("h"), nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	var bad badRows
	o := options(&bad)
	o.State = filepath.Join(t.TempDir(), "state")
	_, err := Import(t.Context(), &renewed{id: 7}, []Input{text("a", line("h", "", "v", 0))}, o)
	_, copyErr := Copy(t.Context(), Of(from), &renewed{id: 7}, CopyOptions{Bad: bad.add})
	for _, err := range []error{err, copyErr} {
		if err == nil || !strings.Contains(err.Error(), "made anew meanwhile, with id 8 in place of 7") {
			t.Error(err)
		}
	}
	var st importState
	if _, err := readState(o.State, &st); err != nil || st.Done {
		t.Errorf("%+v, %v", st, err)
	}
}
