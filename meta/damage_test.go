package meta

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"pegasus/gen/layer2"
)

// TestDamagedLog: a meta whose log is damaged says so, and what to do; it doesn't panic, and
// doesn't go on with what it has left.
func TestDamagedLog(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	for i := range 20 {
		c.mustCreate(fmt.Sprint("t", i), 1, 1)
	}
	m := c.leader()
	name := filepath.Join(m.cfg.Meta.DataDir, "raft.db")
	c.stopMeta(m)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	write := func(b []byte) error { return os.WriteFile(name, b, 0o600) }
	fill := func(from int, with byte) error {
		b := bytes.Clone(whole)
		for i := from; i < len(b); i++ {
			b[i] = with
		}
		return write(b)
	}
	for what, damage := range map[string]func() error{
		"cut behind the first page":  func() error { return write(whole[:page]) },
		"cut behind the third page":  func() error { return write(whole[:3*page]) },
		"nothing but rubbish":        func() error { return fill(0, 0xa5) },
		"rubbish from page three on": func() error { return fill(2*page, 0xa5) },
		"zeros from page three on":   func() error { return fill(2*page, 0) },
		"entries are missing": func() error {
			if err := write(whole); err != nil {
				return err
			}
			db, err := raftboltdb.NewBoltStore(name)
			if err != nil {
				return err
			}
			return errors.Join(db.DeleteRange(2, 3), db.Close())
		},
		"the beginning is missing, and there is no snapshot": func() error {
			if err := write(whole); err != nil {
				return err
			}
			db, err := raftboltdb.NewBoltStore(name)
			if err != nil {
				return err
			}
			return errors.Join(db.DeleteRange(1, 3), db.Close())
		},
	} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		l := listen(t, m.name)
		srv, err := New(Options{Config: m.cfg, Listener: l, Log: testLog(), Clock: c.wall})
		if err == nil {
			err = srv.Start()
		}
		l.Close()
		if !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := errors.Join(os.Remove(name), write(whole)); err != nil {
		t.Fatal(err)
	}
	c.startMeta(m, nil)
	if n := len(c.list(layer2.AS_AVAILABLE)); n != 20 {
		t.Errorf("with the log as it was there are %d tables", n)
	}
}
