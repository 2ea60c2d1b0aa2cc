package knots

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Package is a package with its types.
type Package struct {
	Path  string
	Fset  *token.FileSet
	Files []*ast.File
	Types *types.Package
	Info  *types.Info
}

// listed is what `go list` says of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles, CgoFiles       []string
	DepOnly                 bool
}

// Load loads the packages that the patterns name, built with these tags. What they import is
// taken from the build cache.
func Load(tags string, patterns ...string) ([]*Package, error) {
	cmd := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,CgoFiles,DepOnly", "-tags", tags, "--"}, patterns...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", strings.Join(patterns, " "), err)
	}
	exports := map[string]string{}
	var roots []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("output of go list: %w", err)
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			roots = append(roots, p)
		}
	}
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	var list []*Package
	for _, r := range roots {
		p, err := check(&r, lookup)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func check(r *listed, lookup importer.Lookup) (*Package, error) {
	p := &Package{Path: r.ImportPath, Fset: token.NewFileSet(), Info: &types.Info{
		Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
	}}
	for _, name := range append(r.GoFiles, r.CgoFiles...) {
		f, err := parser.ParseFile(p.Fset, filepath.Join(r.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("package %s: %w", r.ImportPath, err)
		}
		p.Files = append(p.Files, f)
	}
	conf := types.Config{Importer: importer.ForCompiler(p.Fset, "gc", lookup), FakeImportC: true}
	var err error
	if p.Types, err = conf.Check(r.ImportPath, p.Fset, p.Files, p.Info); err != nil {
		return nil, fmt.Errorf("package %s: %w", r.ImportPath, err)
	}
	return p, nil
}

// file is the base name of the file that an object or a node is in.
func (p *Package) file(at token.Pos) string { return filepath.Base(p.Fset.Position(at).Filename) }
