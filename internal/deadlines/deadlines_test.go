package deadlines

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// left out are what is generated, and what no server or command runs.
var leftOut = []string{"gen", "bench", "blob/blobtest", "cppmeta/zookeeper/zookeepertest", "faults", "compat_test", "internal", "bin", ".git"}

// unbounded are calls of the standard library that wait as long as the other side likes.
var unbounded = []string{"net.Dial", "http.Get", "http.Post", "http.PostForm", "http.Head", "http.DefaultClient", "http.DefaultTransport", "exec.Command"}

// bounded are those that can have a deadline.
var bounded = []string{"net.DialTimeout", "net.Dialer", "http.Client", "http.Transport", "exec.CommandContext", "zk.Connect"} // in functions

// but are uses of an unbounded one that are no calls to wait for: a child process of onebox.
var but = []string{"onebox/server.go command"}

// outgoing returns what goes out of a file, as "function", and what it must not use.
func outgoing(f *ast.File) (places, wrong []string) {
	for _, d := range f.Decls {
		name := ""
		if fn, ok := d.(*ast.FuncDecl); ok {
			name = fn.Name.Name
		}
		ast.Inspect(d, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			what := sel.Sel.Name
			switch x := sel.X.(type) {
			case *ast.Ident:
				what = x.Name + "." + what
			case *ast.SelectorExpr:
				what = x.Sel.Name + "." + what
			}
			switch {
			case slices.Contains(unbounded, what):
				places, wrong = append(places, name), append(wrong, name)
			case slices.Contains(bounded, what) && name != "", slices.Contains([]string{"pool.Call", "pool.Go", "Pool.Call", "Pool.Go"}, what):
				places = append(places, name)
			}
			return true
		})
	}
	return places, wrong
}

// TestEachOutgoingCallHasALine keeps docs/deadlines.md whole.
func TestEachOutgoingCallHasALine(t *testing.T) {
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains(leftOut, rel) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(p) != ".go" || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		places, wrong := outgoing(f)
		for _, name := range places {
			found[filepath.ToSlash(rel)+" "+name] = true
		}
		for _, name := range wrong {
			if at := filepath.ToSlash(rel) + " " + name; !slices.Contains(but, at) {
				t.Errorf("%s: uses what waits for ever: take one of %v with a deadline", at, bounded)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, "docs", "deadlines.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+\\.go [^`]+)` \\| ([^|]+) \\| ([^|]+) \\|").FindAllStringSubmatch(string(b), -1) {
		listed[m[1]] = true
		if strings.TrimSpace(m[2]) == "" || strings.TrimSpace(m[3]) == "" {
			t.Errorf("docs/deadlines.md says nothing of %s", m[1])
		}
	}
	for at := range found {
		if !listed[at] {
			t.Errorf("docs/deadlines.md has no line for %s: what goes out there, and what bounds it?", at)
		}
	}
	for at := range listed {
		if !found[at] {
			t.Errorf("docs/deadlines.md has a line for %s, from where nothing goes out", at)
		}
	}
}

func TestOutgoing(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "x.go", `package x
import "net/http"
type s struct { client *http.Client }
func a() { p.pool.Call(c, d) }
func b() { pool.Go(d) }
func c() { http.Get("x") }
func d() { var n net.Dialer; n.Dial() }
func e() { wg.Go(f) }
`, 0)
	if err != nil {
		t.Fatal(err)
	}
	places, wrong := outgoing(f)
	if got := strings.Join(places, " "); got != "a b c d" || strings.Join(wrong, " ") != "c" {
		t.Errorf("%q, wrong %q", got, wrong)
	}
}
