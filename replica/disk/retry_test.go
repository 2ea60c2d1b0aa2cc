package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/replica/wal"
)

// fakeHost has the replicas that a test gives it.
type fakeHost struct {
	clockHost
	here []Replica
}

func (h *fakeHost) Replicas() []Replica { return h.here }

// openSet opens so many data directories.
func openSet(t *testing.T, n int, host Host) *Set {
	t.Helper()
	o := Options{Cluster: "c", Node: "n", WAL: wal.Options{}}
	parent := t.TempDir()
	for i := range n {
		o.Dirs = append(o.Dirs, Place{fmt.Sprintf("d%d", i), filepath.Join(parent, fmt.Sprint(i))})
	}
	s, err := Open(o, host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// What may pass is opened again, some at a time and later each time; what is damaged isn't, and
// after a shortage nothing is for a while.
func TestRetries(t *testing.T) {
	d := openSet(t, 1, &fakeHost{}).All()[0]
	g := func(i int) base.Gpid { return base.Gpid{AppID: 1, PartitionIndex: int32(i)} }
	idle := func(base.Gpid) bool { return false }
	now := time.Now()
	r := &retries{}
	passing := Broken{Dir: d, Err: syscall.EIO, Opened: true}
	all := map[base.Gpid]Broken{g(0): {Dir: d, Err: errors.New("damaged"), Opened: true, Damaged: true}, g(1): passing}
	if due := r.due(now, all, idle); len(due) != 1 || due[0] != g(1) || r.tries(g(1)) != 1 || r.tries(g(0)) != 0 {
		t.Fatalf("due: %v", due)
	}
	r.done(nil)
	if due := r.due(now.Add(time.Second), all, idle); len(due) != 0 {
		t.Errorf("due again after a second: %v", due)
	}
	if due := r.due(now.Add(2*retryFirst), all, idle); len(due) != 1 {
		t.Errorf("not due after %v: %v", 2*retryFirst, due)
	}
	r.done(nil)

	many := map[base.Gpid]Broken{}
	for i := range 3 * retryAtOnce {
		many[g(10+i)] = passing
	}
	now = now.Add(time.Minute)
	if due := r.due(now, many, idle); len(due) != retryAtOnce || len(r.due(now, many, idle)) != 0 {
		t.Errorf("%d at a time", len(due))
	}
	r.done(syscall.EMFILE)
	if now = time.Now(); len(r.due(now, many, idle)) != 0 {
		t.Error("opened again right after descriptors were short")
	}
	if due := r.due(now.Add(retryFirst+time.Second), many, idle); len(due) != 1 {
		t.Errorf("%d are opened where there is place for one", len(due))
	}
	if !r.will(g(1), syscall.ENOSPC) || r.will(g(1), errors.New("damaged")) {
		t.Error("moved aside for want of space, or opened again though damaged")
	}

	// What has worked for long enough starts anew.
	if r.due(now.Add(maxRetry+2*retryCalm), nil, func(base.Gpid) bool { return true }); r.tries(g(1)) != 2 {
		t.Errorf("forgotten while it is being opened: %d tries", r.tries(g(1)))
	}
	if r.due(now.Add(maxRetry+2*retryCalm), nil, idle); r.tries(g(1)) != 0 {
		t.Errorf("%d tries are remembered", r.tries(g(1)))
	}
}

// A replica comes to the directory that has fewest of its table, then fewest of all, and never to
// one that is short or given up.
func TestPick(t *testing.T) {
	h := &fakeHost{}
	s := openSet(t, 3, h)
	d := s.All()
	put := func(dir, table, n int) {
		for i := range n {
			h.here = append(h.here, Replica{Gpid: base.Gpid{AppID: int32(table), PartitionIndex: int32(i)}, Dir: d[dir], Open: true})
		}
	}
	put(0, 1, 1)
	put(1, 2, 3)
	put(2, 2, 2)
	h.here = append(h.here, Replica{Gpid: base.Gpid{AppID: 1, PartitionIndex: 7}, Dir: d[2], Broken: true}) // not in use
	for table, want := range map[int32]*Dir{1: d[2], 2: d[0], 3: d[0]} {
		if got := s.Pick(table); got != want {
			t.Errorf("table %d: %s, want %s", table, got.Tag, want.Tag)
		}
	}
	d[0].short.Store(true)
	if got := s.Pick(3); got != d[2] {
		t.Errorf("with a short one: %s", got.Tag)
	}
	d[1].short.Store(true)
	d[2].short.Store(true)
	if got := s.Pick(3); base.CodeOf(got.Usable()) != base.ErrDiskInsufficient {
		t.Errorf("all are short: %v", got.Usable())
	}
}

// Of a replica in two directories the older is moved aside, unless nothing tells which that is.
func TestFindInTwoDirectories(t *testing.T) {
	s := openSet(t, 2, &fakeHost{})
	d, g := s.All(), base.Gpid{AppID: 3}
	for _, d := range d {
		if err := os.Mkdir(d.ReplicaPath(g), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	unknown := errors.New("nobody knows")
	if _, err := s.Find(func(base.Gpid, *Dir, *Dir) (*Dir, error) { return nil, unknown }); !errors.Is(err, unknown) || !d[0].Has(g) || !d[1].Has(g) {
		t.Fatalf("%v", err)
	}
	found, err := s.Find(func(_ base.Gpid, a, b *Dir) (*Dir, error) { return b, nil })
	if err != nil || found[g] != d[1] || d[0].Has(g) || !s.Holds(g) {
		t.Fatalf("found %v, %v", found, err)
	}
	if aside, err := filepath.Glob(filepath.Join(d[0].Path, "reps", g.String()+".*"+AsideSuffix)); err != nil || len(aside) != 1 {
		t.Errorf("aside: %v, %v", aside, err)
	}
}
