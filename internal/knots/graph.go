package knots

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/types"
	"slices"
	"strings"
)

// Call says which functions of one file another one calls.
type Call struct {
	From, To string   // files
	Funcs    []string // of To, in alphabetical order
}

// Calls returns the calls between the files of the package, ordered by From and To.
func (p *Package) Calls() []Call {
	found := map[[2]string]map[string]bool{}
	for _, f := range p.Files {
		from := p.file(f.Package)
		ast.Inspect(f, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			fn, ok := p.Info.Uses[id].(*types.Func)
			if !ok || fn.Pkg() != p.Types {
				return true
			}
			fn = fn.Origin()
			to := p.file(fn.Pos())
			name := fn.Name()
			if recv := fn.Signature().Recv(); recv != nil {
				if types.IsInterface(recv.Type()) {
					return true
				}
				name = types.TypeString(recv.Type(), func(*types.Package) string { return "" }) + "." + name
			}
			if to == from {
				return true
			}
			key := [2]string{from, to}
			if found[key] == nil {
				found[key] = map[string]bool{}
			}
			found[key][strings.TrimPrefix(name, "*")] = true
			return true
		})
	}
	var list []Call
	for key, funcs := range found {
		c := Call{From: key[0], To: key[1]}
		for f := range funcs {
			c.Funcs = append(c.Funcs, f)
		}
		slices.Sort(c.Funcs)
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Call) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return list
}

// Knot is files each of which calls, directly or not, each other one.
type Knot struct {
	Files []string
	Calls []Call // between them
}

// Knots returns the knots of the calls, the largest first.
func Knots(calls []Call) []Knot {
	next := map[string][]string{}
	for _, c := range calls {
		next[c.From] = append(next[c.From], c.To)
	}
	var knots []Knot
	for _, files := range components(next) {
		if len(files) < 2 {
			continue
		}
		slices.Sort(files)
		k := Knot{Files: files}
		for _, c := range calls {
			if slices.Contains(files, c.From) && slices.Contains(files, c.To) {
				k.Calls = append(k.Calls, c)
			}
		}
		knots = append(knots, k)
	}
	slices.SortFunc(knots, func(a, b Knot) int {
		return cmp.Or(-cmp.Compare(len(a.Files), len(b.Files)), cmp.Compare(a.Files[0], b.Files[0]))
	})
	return knots
}

// String lists the files and the calls between them.
func (k Knot) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d files call each other: %s", len(k.Files), strings.Join(k.Files, " "))
	for _, c := range k.Calls {
		fmt.Fprintf(&b, "\n\t%s calls %s: %s", c.From, c.To, strings.Join(c.Funcs, " "))
	}
	return b.String()
}

// components returns the strongly connected components of a graph, by Tarjan's algorithm.
func components(next map[string][]string) [][]string {
	t := tarjan{next: next, index: map[string]int{}, low: map[string]int{}, on: map[string]bool{}}
	var nodes []string
	for n := range next {
		nodes = append(nodes, n)
	}
	slices.Sort(nodes)
	for _, n := range nodes {
		if t.index[n] == 0 {
			t.visit(n)
		}
	}
	return t.found
}

type tarjan struct {
	next       map[string][]string
	index, low map[string]int // from 1
	on         map[string]bool
	stack      []string
	found      [][]string
}

func (t *tarjan) visit(n string) {
	i := len(t.index) + 1
	t.index[n], t.low[n] = i, i
	t.stack, t.on[n] = append(t.stack, n), true
	for _, m := range t.next[n] {
		switch {
		case t.index[m] == 0:
			t.visit(m)
			t.low[n] = min(t.low[n], t.low[m])
		case t.on[m]:
			t.low[n] = min(t.low[n], t.index[m])
		}
	}
	if t.low[n] != i {
		return
	}
	at := slices.Index(t.stack, n)
	files := slices.Clone(t.stack[at:])
	t.stack = t.stack[:at]
	for _, f := range files {
		t.on[f] = false
	}
	t.found = append(t.found, files)
}
