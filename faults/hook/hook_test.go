package hook

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestControl(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "control")
	var offsets []int64
	h := New(file, func(s int64) { offsets = append(offsets, s) })
	fs := h.FS(vfs.NewMem())
	if err := fs.MkdirAll("/wal", 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Create("/wal/1", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	set := func(c Control) {
		t.Helper()
		if err := Write(file, c); err != nil {
			t.Fatal(err)
		}
		h.Poll()
	}
	write := func() error { _, err := f.Write([]byte("x")); return err }
	for range 3 {
		if err := errors.Join(write(), f.SyncData()); err != nil {
			t.Fatalf("without faults: %v", err)
		}
	}

	set(Control{Error: "EIO", Ops: []Op{OpSync}})
	if err := f.SyncData(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	if err := write(); err != nil {
		t.Errorf("write, while syncs fail: %v", err)
	}

	set(Control{Error: "ENOSPC", Ops: []Op{OpWrite, OpCreate}, OneIn: 2})
	bad := 0
	for range 10 {
		if err := write(); errors.Is(err, syscall.ENOSPC) {
			bad++
		} else if err != nil {
			t.Error(err)
		}
	}
	if bad != 5 {
		t.Errorf("%d of 10 writes failed, want 5", bad)
	}

	set(Control{Error: "EIO", Ops: []Op{OpWrite}, Path: "/reps/"})
	if err := write(); err != nil {
		t.Errorf("write to a file that isn't meant: %v", err)
	}

	set(Control{SyncDelayMS: 30, ClockOffsetS: 3600})
	start := time.Now()
	if err := f.Sync(); err != nil || time.Since(start) < 30*time.Millisecond {
		t.Errorf("slow sync: %v after %v", err, time.Since(start))
	}

	if err := os.WriteFile(file, []byte("nonsense"), 0o644); err != nil {
		t.Fatal(err)
	}
	h.Poll() // what isn't understood changes nothing
	if c := h.now.Load(); c.SyncDelayMS != 30 {
		t.Errorf("after nonsense: %+v", c)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	h.Poll()
	if c := h.now.Load(); c.SyncDelayMS != 0 || len(offsets) != 2 || offsets[0] != 3600 || offsets[1] != 0 {
		t.Errorf("after removal: %+v, clock %v", c, offsets)
	}
}
