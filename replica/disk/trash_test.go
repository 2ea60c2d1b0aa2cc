package disk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"pegasus/base"
	"pegasus/replica/metalink"
)

func TestTrashHasBounds(t *testing.T) {
	path := t.TempDir()
	if err := newIdentity("c", "n", "").prepare(Place{Path: path}); err != nil {
		t.Fatal(err)
	}
	d := &Dir{Path: path}
	now := time.Now()
	for i := range 4 {
		g := base.Gpid{AppID: 1, PartitionIndex: int32(i)}
		if err := os.MkdirAll(d.ReplicaPath(g), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d.ReplicaPath(g), "x"), make([]byte, 1000), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := d.SetAside(g, "unused", now.Add(-time.Duration(4-i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	stranger := filepath.Join(path, TrashDir, "not of us")
	if err := os.Mkdir(stranger, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		age  time.Duration
		most int64
		left int
	}{{10 * time.Hour, 1 << 20, 4}, {210 * time.Minute, 1 << 20, 3}, {10 * time.Hour, 2500, 2}, {10 * time.Hour, 0, 0}} {
		left, bytes, err := d.tidyTrash(now, c.age, c.most)
		if err != nil || left != c.left || bytes != int64(c.left)*1000 {
			t.Errorf("age %v, at most %d bytes: %d left of %d bytes, %v; want %d", c.age, c.most, left, bytes, err, c.left)
		}
		list, err := d.Trash()
		if err != nil || len(list) != c.left {
			t.Errorf("%d are there, %v", len(list), err)
		}
		if c.left > 0 && !strings.Contains(list[len(list)-1].Path, "/1.3.") {
			t.Errorf("the newest went: %v", list)
		}
	}
	if _, err := os.Stat(stranger); err != nil {
		t.Error(err)
	}
}

// clockHost has a clock and nothing else.
type clockHost struct {
	Host
	clock *metalink.Clock
}

func (h clockHost) DeleteTime() (time.Time, error) { return h.clock.DeleteTime() }

// A server whose clock is days ahead at its start doesn't empty its trash by that, and one whose
// disk is short for a moment loses the oldest alone.
func TestTrashOutlivesClockAndShortage(t *testing.T) {
	path := t.TempDir()
	if err := newIdentity("c", "n", "").prepare(Place{Path: path}); err != nil {
		t.Fatal(err)
	}
	d := &Dir{Path: path}
	right := time.Now()
	for i := range 3 {
		g := base.Gpid{AppID: 1, PartitionIndex: int32(i)}
		if err := os.MkdirAll(d.ReplicaPath(g), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d.ReplicaPath(g), "x"), make([]byte, 1000), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := d.SetAside(g, "unused", right.Add(-time.Duration(3-i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	ahead := right.Add(30 * 24 * time.Hour)
	log, _ := test.NewNullLogger()
	clock := metalink.NewClock(10*time.Second, func() time.Time { return ahead }, logrus.NewEntry(log))
	s := &Set{o: Options{TrashAge: time.Hour}, host: clockHost{clock: clock}}
	bound := func(state State, left int64) {
		t.Helper()
		when, age := s.trashTime(ahead)
		if err := d.boundTrash(state, when, age, 1<<40); err != nil {
			t.Fatal(err)
		}
		if n := d.trashCount.Load(); n != left {
			t.Errorf("%d are left, want %d", n, left)
		}
	}
	bound(Normal, 3) // no meta was heard yet
	clock.Heard(time.Now(), right.UnixMilli(), false)
	bound(Normal, 3) // the leader's clock is another one
	bound(Short, 2)
	bound(Failed, 2)
	clock.Heard(time.Now(), ahead.UnixMilli(), false)
	bound(Normal, 0)
}
