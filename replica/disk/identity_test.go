package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/base/version"
)

// A data directory says which version of the cluster what is in it may be of, and a program that
// doesn't understand it doesn't use it.
func TestDirSaysVersion(t *testing.T) {
	dir := t.TempDir()
	id := newIdentity("c", "1.2.3.4:5", "")
	if err := id.prepare(Place{Path: dir}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(IdentName(dir))
	if err != nil || !strings.Contains(string(b), `"format": 1`) {
		t.Fatalf("%s %v", b, err)
	}
	raised := id.ident()
	raised.Format = version.Newest
	if err := WriteJSON(IdentName(dir), &raised); err != nil {
		t.Fatal(err)
	}
	id = newIdentity("c", "1.2.3.4:5", "")
	if err := id.prepare(Place{Path: dir}); err != nil || id.ident().Format != version.Newest {
		t.Fatalf("version %d, %v", id.ident().Format, err)
	}
	// What is made beside it is of the same version.
	other := filepath.Join(dir, "other")
	if err := id.prepare(Place{Path: other}); err != nil {
		t.Fatal(err)
	}
	var made Ident
	if err := ReadJSON(IdentName(other), &made); err != nil || made.Format != version.Newest {
		t.Errorf("%+v %v", made, err)
	}
	raised.Format++
	if err := WriteJSON(IdentName(dir), &raised); err != nil {
		t.Fatal(err)
	}
	if err := newIdentity("c", "1.2.3.4:5", "").prepare(Place{Path: dir}); !errors.Is(err, version.ErrUnknown) {
		t.Errorf("of a newer version: %v", err)
	}
}

// Data directories of two clusters are no server's.
func TestDirsOfTwoClusters(t *testing.T) {
	dir := t.TempDir()
	i := newIdentity("c", "n", "")
	for _, id := range []string{"one", "two"} {
		path := filepath.Join(dir, id)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := WriteJSON(IdentName(path), &Ident{Format: version.Newest, Cluster: "c", Node: "n", ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.prepare(Place{Path: filepath.Join(dir, "one")}); err != nil {
		t.Fatal(err)
	}
	err := i.prepare(Place{Path: filepath.Join(dir, "two")})
	if err == nil || !strings.Contains(err.Error(), "id one") || !strings.Contains(err.Error(), "id two") {
		t.Errorf("%v", err)
	}
}

// A directory with replicas and without its file is of no cluster that is known, also when the server
// that looks at it has one.
func TestDirThatLostItsFile(t *testing.T) {
	path := t.TempDir()
	if err := os.MkdirAll(filepath.Join(path, "reps", "1.0"+ReplicaSuffix), 0o755); err != nil {
		t.Fatal(err)
	}
	i := newIdentity("c", "n", "")
	i.is.ID = "ours"
	if err := i.prepare(Place{Path: path}); err == nil || !strings.Contains(err.Error(), "doesn't say of which cluster") {
		t.Errorf("%v", err)
	}
	var is Ident
	if err := ReadJSON(IdentName(path), &is); err == nil && is.ID != "" {
		t.Errorf("it was given the id %q", is.ID)
	}
}

// A server that is known by a name keeps its directories when the name leads to another address, from the cluster version on
// that lets it; nobody else gets them.
func TestNamedServerMoves(t *testing.T) {
	dir := t.TempDir()
	begin := func(i *identity) error {
		p := Place{Tag: "d1", Path: dir}
		i.look([]Place{p}, 1)
		if err := i.prepare(p); err != nil {
			return err
		}
		i.begin()
		return nil
	}
	write := func(change func(*Ident)) {
		t.Helper()
		var id Ident
		err := ReadJSON(IdentName(dir), &id)
		change(&id)
		if err := errors.Join(err, WriteJSON(IdentName(dir), &id)); err != nil {
			t.Fatal(err)
		}
	}
	first := newIdentity("c", "10.0.0.1:5", "s1:5")
	if err := begin(first); err != nil {
		t.Fatal(err)
	}
	server := first.ident().Server
	if server == "" {
		t.Fatal("its data has no id")
	}
	moved := func() *identity { return newIdentity("c", "10.0.0.2:5", "s1:5") }
	if err := begin(moved()); err == nil || !strings.Contains(err.Error(), "upgrade-version") {
		t.Errorf("it moved in a cluster of version 1: %v", err)
	}
	write(func(id *Ident) { id.Format = version.NamedServers.Since() })
	there := moved()
	if err := begin(there); err != nil || there.ident().Server != server {
		t.Errorf("it moved: %v, and its data has the id %q, not %q", err, there.ident().Server, server)
	}
	for what, i := range map[string]*identity{
		"another name":              newIdentity("c", "10.0.0.2:5", "s2:5"),
		"an address without a name": newIdentity("c", "10.0.0.2:5", ""),
		"another cluster":           newIdentity("d", "10.0.0.2:5", "s1:5"),
	} {
		if err := begin(i); err == nil || !strings.Contains(err.Error(), "belongs to") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Two directories of two servers of one name.
	other := Place{Tag: "d2", Path: t.TempDir()}
	both := moved()
	both.look([]Place{{Tag: "d1", Path: dir}}, 1)
	if err := WriteJSON(IdentName(other.Path), &Ident{Format: version.Newest, Cluster: "c", Node: "10.0.0.2:5", Name: "s1:5", Server: "another", Dir: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := both.prepare(other); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("the directories of two servers: %v", err)
	}
}
