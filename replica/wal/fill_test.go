package wal

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pegasus/base"
)

// fillingOptions are for a log that prepares segments.
func fillingOptions(fs vfs.FS) Options {
	o := testOptions(fs)
	o.tick = time.Millisecond
	o.SegmentBytes, o.KeepBytes = 16<<10, 1<<20
	return o
}

// TestFill: segments are written in full before they are needed, and the log that is written
// over them is whole after a crash.
func TestFill(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l := mustOpen(t, fillingOptions(fs))
	g := base.Gpid{AppID: 1}
	deadline := time.Now().Add(30 * time.Second)
	last := int64(0)
	for l.Stats().Filled < 3 || l.Stats().Rotations < 4 {
		if time.Now().After(deadline) {
			t.Fatalf("after %d entries: %+v", last, l.Stats())
		}
		last++
		mustAppend(t, l, entry(g, 1, last, 300))
	}
	clone := fs.CrashClone(vfs.CrashCloneCfg{})
	mustClose(t, l)
	l = mustOpen(t, fillingOptions(clone))
	if ds := decrees(t, l, g); int64(len(ds)) != last || ds[0] != 1 || len(l.Damaged()) > 0 {
		t.Errorf("%d entries of %d, damaged %v", len(ds), last, l.Damaged())
	}
	mustClose(t, l)
}

// TestFillFails: the log doesn't need what was prepared.
func TestFillFails(t *testing.T) {
	fs := vfs.NewMem()
	failed := make(chan struct{}, 1)
	o := fillingOptions(errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fs.PathBase(op.Path) != fillingName || op.Kind != errorfs.OpFileWrite {
			return nil
		}
		select {
		case failed <- struct{}{}:
		default:
		}
		return errors.New("no space, says the test")
	})))
	l := mustOpen(t, o)
	g := base.Gpid{AppID: 1}
	last := int64(0)
	for deadline := time.Now().Add(30 * time.Second); len(failed) == 0 || l.Stats().Rotations < 2; {
		if time.Now().After(deadline) {
			t.Fatalf("after %d entries: %+v", last, l.Stats())
		}
		last++
		mustAppend(t, l, entry(g, 1, last, 300))
	}
	if n := l.Stats().Filled; n != 0 || l.Failed() != nil {
		t.Errorf("filled %d, failed: %v", n, l.Failed())
	}
	mustClose(t, l)
	if _, err := fs.Stat(fs.PathJoin(testDir, fillingName)); err == nil {
		t.Error("half a segment is left behind")
	}
	l = mustOpen(t, testOptions(fs))
	if ds := decrees(t, l, g); int64(len(ds)) != last {
		t.Errorf("%d entries of %d", len(ds), last)
	}
	mustClose(t, l)
}
