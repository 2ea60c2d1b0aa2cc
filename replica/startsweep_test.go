package replica

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pegasus/base"
	"pegasus/gen/metadata"
	"pegasus/pacifica"
	"pegasus/replica/wal"
	"pegasus/rrdb"
)

// TestStartSweep lets each call to the file system fail that a server makes while it starts. A
// replica either holds all that was acknowledged, or says that it can't be used; and once the
// error is gone it holds all, without a restart unless the server didn't start at all.
func TestStartSweep(t *testing.T) {
	g := newGroup(t, 3)
	const rows = 40
	for i := range rows {
		g.mustPut(0, rowName(i), fmt.Sprint(i))
		if i == rows/2 {
			until(t, "applied", func() bool { return g.view(2).applied > rows/4 })
			if err := g.nodes[2].srv.replica(g.gpid).flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	g.same(0, 1, 2)
	w := sweep{t: t, gpid: g.gpid, cfg: g.nodes[2], last: g.view(2).Last, left: filepath.Join(t.TempDir(), "left")}
	w.dir = w.cfg.srv.disks.All()[0].Path
	d, err := w.cfg.srv.replica(g.gpid).store.Load().Digest(t.Context(), rrdb.ExpiryTime(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	w.digest = fmt.Sprintf("%+v", d)
	copyDir(t, w.dir, w.left) // as if it was killed
	for _, n := range g.nodes {
		n.stop()
	}
	stride := int64(1)
	if testing.Short() || raceEnabled {
		stride = 7
	}
	for _, mode := range []struct {
		errno syscall.Errno
		calls int64 // that fail in a row
	}{{syscall.EIO, 1}, {syscall.EMFILE, 1 << 40}} {
		n := int64(1)
		for ; w.start(n, mode.calls, mode.errno); n += stride {
		}
		t.Logf("%v: %d calls", mode.errno, n-1)
		if n < 50 {
			t.Errorf("%v: a start has %d calls to the file system: the test tests nothing", mode.errno, n)
		}
	}
}

type sweep struct {
	t         *testing.T
	gpid      base.Gpid
	cfg       *node
	last      int64
	digest    string
	dir, left string
}

// start starts a server of which the calls from number n on fail, and tells whether any did.
func (w *sweep) start(n, calls int64, errno syscall.Errno) bool {
	t := w.t
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	copyDir(t, w.left, w.dir)
	var count atomic.Int64
	var on atomic.Bool
	var hit atomic.Pointer[errorfs.Op]
	was := vfs.Default
	defer func() { vfs.Default = was }()
	on.Store(true)
	vfs.Default = errorfs.Wrap(was, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !on.Load() || !strings.HasPrefix(op.Path, w.dir) || op.Kind == errorfs.OpFileClose {
			return nil
		}
		if k := count.Add(1); k < n || k >= n+calls {
			return nil
		}
		hit.CompareAndSwap(nil, &op)
		return &os.PathError{Op: "planted", Path: op.Path, Err: errno}
	}))
	addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(w.cfg.cfg.Replica.Listen))
	s, err := New(w.cfg.cfg, addr, quiet())
	on.Store(false)
	op := hit.Load()
	what := fmt.Sprintf("%v at call %d: %+v", errno, n, op)
	if err != nil {
		if op == nil {
			t.Fatalf("start: %v", err)
		}
		if s, err = New(w.cfg.cfg, addr, quiet()); err != nil {
			t.Fatalf("%s: it doesn't start once the error is gone: %v", what, err)
		}
	}
	defer func() {
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("%s: close: %v", what, err)
		}
	}()
	if r := s.replica(w.gpid); r != nil {
		if v := r.look(); v.failed == nil && !v.suspect && v.Last != w.last {
			t.Errorf("%s: a replica in order has decrees up to %d, %d were acknowledged", what, v.Last, w.last)
		}
	} else if _, told := s.brokenReplicas()[w.gpid]; !told {
		t.Errorf("%s: the replica is not here, and not among those that can't be used", what)
	}
	now := time.Now()
	until(t, what+": it is in use again by itself", func() bool {
		now = now.Add(time.Minute)
		s.disks.Tick(now)
		r := s.replica(w.gpid)
		return r != nil && r.view.Load().failed == nil && r.dir.Log().Failed() == nil
	})
	r := s.replica(w.gpid)
	if v := r.look(); v.suspect || v.Last != w.last {
		t.Errorf("%s: once it is gone the replica has decrees up to %d of %d, suspect %v", what, v.Last, w.last, v.suspect)
		return op != nil
	}
	r.post(func(r *driver) {
		r.driver.core.Configure(pacifica.Config{Ballot: r.driver.core.Ballot() + 1, Primary: s.addr})
	})
	until(t, what+": it leads", func() bool { return r.view.Load().Serving })
	d, err := r.store.Load().Digest(t.Context(), rrdb.ExpiryTime(time.Now()))
	if got := fmt.Sprintf("%+v", d); err != nil || got != w.digest {
		t.Errorf("%s: the rows are %s, want %s; %v", what, got, w.digest, err)
	}
	return op != nil
}

// TestHoleInTheLog: the log says that it has decrees up to one, and lacks some below.
func TestHoleInTheLog(t *testing.T) {
	g := newGroup(t, 3)
	for i := range 20 {
		g.mustPut(0, rowName(i), "v")
	}
	g.same(0, 1, 2)
	n := g.nodes[2]
	last, dir := g.view(2).Last, n.srv.disks.All()[0].Path
	n.stop()
	l, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "wal"), SegmentBytes: n.cfg.WAL.SegmentBytes, Logger: quiet(), Replicas: []base.Gpid{g.gpid}})
	if err != nil {
		t.Fatal(err)
	}
	e := wal.Entry{Gpid: g.gpid, Ballot: l.State(g.gpid).MaxBallot, Decree: last + 3, Committed: last + 2, Timestamp: time.Now().UnixMicro()}
	if err := wal.Wait(func(done func(error)) { l.Append([]wal.Entry{e}, done) }); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	g.mustPut(0, "without", "it")
	n.start()
	if r := n.srv.replica(g.gpid); r == nil || !r.look().suspect || wireStatus(r.look()) != metadata.PS_ERROR {
		t.Fatal("the replica isn't suspect")
	}
	g.add(2)
	g.mustPut(0, "b", "1")
	g.same(0, 1, 2)
}
