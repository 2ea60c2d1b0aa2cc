package rrdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pegasus/base"
)

// build makes the options of a store to be built in dir.
func (h *harness) build(dir string) Options {
	o := h.options()
	o.Dir = dir
	return o
}

// A built store has the rows, digest and decree of one that came by mutations, is durable, and goes on as
// any other.
func TestBuild(t *testing.T) {
	h := newHarness(t, func(c *testConfig) { c.SeparateValues = 4 << 10 })
	rng := rand.New(rand.NewPCG(1, 2))
	ctx := t.Context()
	var payload []byte
	const rows = 3000
	for i := range rows {
		v := bytes.Repeat([]byte{byte(i)}, rng.IntN(8<<10))
		payload = AppendOp(payload[:0], Op{Key: rowKey(fmt.Sprintf("h%d", i%37), fmt.Sprintf("s%06d", i)), Value: v, ExpireTS: uint32(i % 3 * 5000), Timetag: uint64(i+1) << 8})
		if err := h.store.Apply(int64(i+1), int64(i+1), payload); err != nil {
			t.Fatal(err)
		}
	}
	h.flush()
	b, err := Build(h.build("seed/store.1"))
	if err != nil {
		t.Fatal(err)
	}
	it, err := h.store.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for valid := it.First(); valid && bytes.Compare(it.Key(), metaPrefix) < 0; valid = it.Next() {
		e, tag, data, _ := splitValue(it.Value())
		if err := b.Add(it.Key(), e, tag, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	if n, size := b.Rows(); n != rows || size < rows*1000 || b.Newest() != rows {
		t.Errorf("%d rows, %d bytes, newest at %d", n, size, b.Newest())
	}
	if err := b.Finish(ctx, 7, 12345); err != nil {
		t.Fatal(err)
	}
	if names, _ := h.fs.List("seed"); len(names) != 1 {
		t.Errorf("beside the store: %v", names)
	}
	want, err := h.store.Digest(ctx, 1000)
	if err != nil {
		t.Fatal(err)
	}
	// A crash takes nothing of it.
	o := h.build("seed/store.1")
	o.FS = h.fs.CrashClone(vfs.CrashCloneCfg{})
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.Digest(ctx, 1000)
	if err != nil || got.Hash != want.Hash || got.Rows != want.Rows || want.Rows == 0 || got.Decree != 7 {
		t.Errorf("digest %+v, want %+v: %v", got, want, err)
	}
	if s.LastApplied() != 7 || s.LastFlushed() != 7 || s.LastTimestamp() != 12345 {
		t.Errorf("applied %d, flushed %d, at %d", s.LastApplied(), s.LastFlushed(), s.LastTimestamp())
	}
	if m := s.Metrics(); m.Levels[len(m.Levels)-1].TablesSize < m.Levels[0].TablesSize {
		t.Errorf("the rows aren't in the last level: %v", m)
	}
	if err := s.Apply(8, 12346, AppendOp(nil, Op{Key: rowKey("h1", "new"), Value: []byte("v")})); err != nil {
		t.Error(err)
	}
	if next, err := s.Digest(ctx, 1000); err != nil || next.Rows != want.Rows+1 {
		t.Errorf("after a write: %+v, %v", next, err)
	}
	if _, err := s.Checkpoint("seed/copy"); err != nil {
		t.Error(err)
	}
}

// A store without rows is one, too, with a decree.
func TestBuildEmpty(t *testing.T) {
	h := newHarness(t, nil)
	b, err := Build(h.build("seed/store.1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Finish(t.Context(), 1, 5); err != nil {
		t.Fatal(err)
	}
	s, err := Open(h.build("seed/store.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if sum, err := s.Digest(t.Context(), 0); err != nil || sum.Rows != 0 || sum.Decree != 1 || s.LastFlushed() != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// Rows in the wrong order, and keys that are none, are refused; what was begun leaves nothing beside the
// store's directory.
func TestBuildBad(t *testing.T) {
	h := newHarness(t, nil)
	for name, keys := range map[string][][]byte{
		"twice":      {rowKey("a", "b"), rowKey("a", "b")},
		"descending": {rowKey("a", "b"), rowKey("a", "a")},
		"no key":     {{}},
		"short":      {{0, 9, 'a'}},
		"meta":       {metaKey},
	} {
		b, err := Build(h.build("seed/" + name))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			err = b.Add(k, 0, 0, []byte("v"))
		}
		if !errors.Is(err, base.ErrInvalidData) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if err := b.Abort(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := h.fs.Stat("seed/" + name + buildSuffix); err == nil {
			t.Errorf("%s: tables are left", name)
		}
	}
	if _, err := Build(h.build("data/1.2/rdb")); err == nil {
		t.Error("built over a store")
	}
	b, err := Build(h.build("seed/zero"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Finish(context.Background(), 0, 1); !errors.Is(err, base.ErrInvalidParameters) {
		t.Errorf("decree 0: %v", err)
	}
	if err := b.Abort(); err != nil {
		t.Error(err)
	}
}

// Out of space is an error, and no shorter store.
func TestBuildDiskFull(t *testing.T) {
	h := newHarness(t, nil)
	var full atomic.Bool
	o := h.build("seed/full")
	o.FS = errorfs.Wrap(h.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate) {
			return syscall.ENOSPC
		}
		return nil
	}))
	b, err := Build(o)
	if err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	for i := 0; i < 10000 && err == nil; i++ {
		err = b.Add(rowKey("h", fmt.Sprintf("%08d", i)), 0, 1, bytes.Repeat([]byte("x"), 1000))
	}
	if err == nil {
		err = b.Finish(t.Context(), 1, 1)
	}
	if !base.Passing(err) {
		t.Errorf("on a full disk: %v", err)
	}
	full.Store(false)
	if err := b.Abort(); err != nil {
		t.Error(err)
	}
}
