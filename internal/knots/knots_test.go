package knots

import (
	"slices"
	"testing"
)

func load(t *testing.T, name string) *Package {
	t.Helper()
	list, err := Load("", "./testdata/"+name)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 {
		t.Fatalf("%d packages", len(list))
	}
	return list[0]
}

// A circle over three files is one knot; what is called by way of an interface isn't in it.
func TestKnots(t *testing.T) {
	k := Knots(load(t, "tied").Calls())
	if len(k) != 1 || !slices.Equal(k[0].Files, []string{"a.go", "b.go", "c.go"}) {
		t.Fatalf("%v", k)
	}
	want := []Call{
		{"a.go", "b.go", []string{"down"}},
		{"b.go", "a.go", []string{"top"}},
		{"b.go", "c.go", []string{"again"}},
		{"c.go", "a.go", []string{"a.up"}},
	}
	if !slices.EqualFunc(k[0].Calls, want, func(a, b Call) bool {
		return a.From == b.From && a.To == b.To && slices.Equal(a.Funcs, b.Funcs)
	}) {
		t.Errorf("%v, want %v", k[0].Calls, want)
	}
}

func TestLayers(t *testing.T) {
	calls := load(t, "layered").Calls()
	if len(calls) != 3 {
		t.Errorf("calls %v", calls)
	}
	if k := Knots(calls); len(k) != 0 {
		t.Errorf("%v", k)
	}
}

func TestLarge(t *testing.T) {
	p := load(t, "tied")
	if l := p.Large(2, 60); len(l) != 1 || l[0].Name != "a" || l[0].Fields != 3 || l[0].Where != "a.go:4" {
		t.Errorf("%+v", l)
	}
	if l := p.Large(30, 0); len(l) != 2 || l[0].Name != "a" || l[1].Name != "b" {
		t.Errorf("%+v", l)
	}
	if l := p.Large(30, 60); len(l) != 0 {
		t.Errorf("%+v", l)
	}
}

// A package that can't be built is an error.
func TestLoadFails(t *testing.T) {
	if list, err := Load("", "./testdata/none"); err == nil {
		t.Errorf("%v", list)
	}
}
