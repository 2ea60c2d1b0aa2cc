package disk

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/faults/hook"
)

// hurtDisks makes all disks do from now on what the function
// that it returns is told.
func hurtDisks(t *testing.T) func(hook.Control) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "control")
	h := hook.New(file, func(int64) {})
	was := vfs.Default
	t.Cleanup(func() { vfs.Default = was })
	vfs.Default = h.FS(was)
	return func(c hook.Control) {
		t.Helper()
		if err := hook.Write(file, c); err != nil {
			t.Fatal(err)
		}
		h.Poll()
	}
}

func TestFlappingDiskIsLeftAlone(t *testing.T) {
	v, now := revival{}, time.Now()
	for i := range ReviveTimes {
		if !v.failed(now, time.Second) || v.wait != time.Second<<i {
			t.Fatalf("failure %d: %+v", i, v)
		}
		if v.due(now) || !v.due(now.Add(v.wait)) {
			t.Errorf("failure %d: due at the wrong time: %+v", i, v)
		}
		now = now.Add(time.Minute)
		v.revived(now, false)
	}
	late := v
	first := v.times[0]
	if v.failed(now, time.Second) || v.due(first.Add(reviveWindow-time.Second)) || !v.due(first.Add(reviveWindow)) {
		t.Errorf("a disk that failed %d times is not left alone for the rest of the hour: %+v", ReviveTimes+1, v)
	}
	if now = now.Add(reviveWindow); !late.failed(now, time.Second) || late.wait > 2*time.Second {
		t.Errorf("an hour later: %+v", late)
	}
}

// TestShortageSaysNothingAgainstTheDisk: what ran short is tried again at once, for ever, and not
// counted.
func TestShortageSaysNothingAgainstTheDisk(t *testing.T) {
	v, now := revival{}, time.Now()
	for range 3 * ReviveTimes {
		v.ranShort(now)
		if !v.due(now) {
			t.Fatalf("not due: %+v", v)
		}
		for range 10 {
			v.missed(now)
		}
		if v.due(now) || !v.due(now.Add(maxRetry)) {
			t.Fatalf("missed ten times: %+v", v)
		}
		v.revived(now, true)
		if len(v.times) > 0 || !v.next.IsZero() {
			t.Fatalf("revived: %+v", v)
		}
	}
}

func TestProbe(t *testing.T) {
	set := hurtDisks(t)
	dir := t.TempDir()
	if err := probe(dir); err != nil {
		t.Fatal(err)
	}
	for _, op := range []hook.Op{hook.OpRead, hook.OpWrite, hook.OpSync, hook.OpCreate} {
		set(hook.Control{Error: "EIO", Ops: []hook.Op{op}, Path: dir})
		if err := probe(dir); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s fails: %v", op, err)
		}
	}
	set(hook.Control{})
	if es, err := os.ReadDir(dir); err != nil || len(es) > 0 {
		t.Errorf("left behind: %v, %v", es, err)
	}
}
