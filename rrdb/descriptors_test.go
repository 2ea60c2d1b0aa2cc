package rrdb

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/rrdb/engine"
)

// TestDescriptorsOfAStore: an open store holds no more descriptors than is said, beside those of
// its table files.
func TestDescriptorsOfAStore(t *testing.T) {
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(list)
	}
	shared := (&testConfig{Engine: engine.Options{Compactions: 1, OpenFiles: 64}}).shared(t, SharedOptions{})
	defer shared.Close()
	const stores = 20
	dir := t.TempDir()
	before := count()
	for i := range stores {
		s, err := Open(Options{Dir: filepath.Join(dir, fmt.Sprint(i)), Shared: shared, Gpid: base.Gpid{AppID: 1, PartitionIndex: int32(i)}, Create: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	if n := count() - before; n > stores*(engine.Descriptors+1) { // and a table file
		t.Errorf("%d stores hold %d descriptors", stores, n)
	}
}

// shortFS has no descriptor for the next few files.
type shortFS struct {
	vfs.FS
	short *atomic.Int64
}

func (f shortFS) lack(name string) error {
	if f.short.Add(-1) >= 0 {
		return &os.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	return nil
}

func (f shortFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.lack(name); err != nil {
		return nil, err
	}
	return f.FS.Create(name, c)
}

func (f shortFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	if err := f.lack(name); err != nil {
		return nil, err
	}
	return f.FS.Open(name, o...)
}

func (f shortFS) OpenDir(name string) (vfs.File, error) {
	if err := f.lack(name); err != nil {
		return nil, err
	}
	return f.FS.OpenDir(name)
}

// TestStoresWaitForDescriptors: a store for whose files there is no descriptor at the moment waits,
// and neither fails nor is taken for damaged.
func TestStoresWaitForDescriptors(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 20 {
		h.put("h", fmt.Sprint(i), "v", 0)
	}
	h.close()
	var short atomic.Int64
	of := h.fs
	fs := shortFS{of, &short}
	for range 3 {
		short.Store(3)
		s, err := Open(Options{Dir: "data/1.2/rdb", FS: fs, Shared: h.shared, Gpid: base.Gpid{AppID: 1, PartitionIndex: 2}})
		if err != nil {
			t.Fatal(err)
		}
		short.Store(3)
		if err := s.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		short.Store(0)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
