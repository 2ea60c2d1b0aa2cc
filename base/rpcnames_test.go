package base

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestRPCNames reads the constants of rpcnames.go and looks for each in the table.
func TestRPCNames(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "rpcnames.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			if !v.Names[0].IsExported() {
				continue
			}
			name, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(name, "RPC_") || len(name) > 47 {
				t.Errorf("%s = %q: want RPC_ and at most 47 bytes, which rDSN's header holds", v.Names[0], name)
			}
			declared = append(declared, name)
		}
	}
	table := RPCNames()
	slices.Sort(declared)
	slices.Sort(table)
	if len(declared) < 50 || !slices.Equal(declared, table) {
		t.Errorf("%d constants, %d in the table; in one and not the other: %v", len(declared), len(table), difference(declared, table))
	}
	if d := slices.Compact(declared); len(d) != len(table) {
		t.Error("a name is declared twice")
	}
	for _, n := range ServerRPCs() {
		if !slices.Contains(table, n) {
			t.Errorf("%s is sent by servers and not in the table", n)
		}
	}
}

func difference(a, b []string) (d []string) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			d = append(d, x)
		}
	}
	for _, x := range b {
		if !slices.Contains(a, x) {
			d = append(d, x)
		}
	}
	return d
}

func TestShortRPC(t *testing.T) {
	if ShortRPC(RPCMultiGet) != "MULTI_GET" || ShortRPC(RPCLearn) != "RPC_LEARN" {
		t.Error(ShortRPC(RPCMultiGet), ShortRPC(RPCLearn))
	}
}

// TestRPCNamesOnce: programs name a request by its constant. Tests may spell names, to see that the
// constants are right.
func TestRPCNamesOnce(t *testing.T) {
	table := RPCNames()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || filepath.Base(path) == "rpcnames.go" {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if name, err := strconv.Unquote(l.Value); err == nil && slices.Contains(table, name) {
					t.Errorf("%v: %q: use its constant in rpcnames.go", fset.Position(l.Pos()), name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
