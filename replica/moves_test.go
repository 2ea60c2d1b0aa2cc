package replica

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/faults/hook"
	"pegasus/gen/metaadmin"
	"pegasus/gen/replicaadmin"
	"pegasus/pacifica"
	"pegasus/remotecmd/answer"
	"pegasus/replica/disk"
	"pegasus/rrdb"
)

// moveGroup is a group of that many nodes, each with two data directories, of which the partition is in the first.
func moveGroup(t testing.TB, nodes int, change func(*config.Config)) *group {
	t.Helper()
	g := newGroupWith(t, nodes, func(c *config.Config) {
		c.Replica.DiskMinSpace = 0
		change(c)
	})
	for i, n := range g.nodes {
		d := n.srv.disks.All()[0]
		if err := n.srv.disks.Add(disk.Place{Tag: "two", Path: filepath.Join(filepath.Dir(d.Path), "two")}); err != nil {
			t.Fatal(err)
		}
		g.mover(i).patience.Store(int64(time.Minute))
	}
	return g
}

func (g *group) mover(i int) *mover { return partOf[*mover](g.nodes[i].srv) }

// disk returns the directory that the partition of node i is in, and the other one.
func (g *group) diskOf(i int) (in, other *disk.Dir) {
	g.t.Helper()
	ds := g.nodes[i].srv.disks.All()
	r := g.nodes[i].srv.replica(g.gpid)
	if r == nil {
		g.t.Fatalf("node %d has no replica", i)
	}
	if r.dir.Dir == ds[0] {
		return ds[0], ds[1]
	}
	return ds[1], ds[0]
}

// askMove sends the request of upstream's tool.
func (g *group) askMove(i int, from, to string) (base.ErrorCode, string) {
	g.t.Helper()
	var res replicaadmin.ReplicaDiskMigrateResponse
	if err := g.call(i, base.RPCReplicaDiskMigrate, &replicaadmin.ReplicaDiskMigrateRequest{Pid: g.gpid, OriginDisk: from, TargetDisk: to}, &res); err != nil {
		g.t.Fatal(err)
	}
	return res.Err, res.Hint.V
}

// move moves the replica of node i to its other directory, and returns how that ended.
func (g *group) move(i int) answer.DiskMove {
	g.t.Helper()
	in, other := g.diskOf(i)
	before := len(g.mover(i).list())
	if code, hint := g.askMove(i, in.Tag, other.Tag); code != base.ErrOK {
		g.t.Fatalf("%v: %s", code, hint)
	}
	return g.moved(i, before)
}

// moved waits until a move that wasn't there before has ended.
func (g *group) moved(i, before int) answer.DiskMove {
	g.t.Helper()
	var last answer.DiskMove
	ended := func() bool {
		var list []answer.DiskMove
		g.command(i, &list, "replica.disk-moves")
		if len(list) <= before {
			return false
		}
		last = list[len(list)-1]
		return last.State == "CLOSED" || last.State == "IDLE"
	}
	// One that copies gigabytes takes its time; it is given up when it copies nothing for so long.
	for copied := int64(-1); copied != last.Done && !ended(); {
		copied = last.Done
		until(g.t, "the move has ended, or copied more", func() bool { return ended() || last.Done > copied })
	}
	return last
}

// leftovers are what isn't a replica's in the directories of node i, and what their logs know of replicas that
// aren't there.
func (g *group) leftovers(i int) (left []string) {
	g.t.Helper()
	for _, d := range g.nodes[i].srv.disks.All() {
		for _, dir := range []string{d.Scratch(), filepath.Join(d.Path, "reps")} {
			es, err := os.ReadDir(dir)
			if err != nil {
				g.t.Fatal(err)
			}
			for _, e := range es {
				if dir == d.Scratch() || e.Name() != g.gpid.String()+disk.ReplicaSuffix {
					left = append(left, filepath.Join(dir, e.Name()))
				}
			}
		}
		for _, r := range d.Log().Replicas() {
			if !d.Has(r) {
				left = append(left, fmt.Sprintf("%v in the log of %s", r, d.Tag))
			}
		}
	}
	return left
}

// TestMoveUnderLoad moves the primary and a secondary of three between two disks and back, while clients write
// and read. Nothing is lost, and nobody is refused.
func TestMoveUnderLoad(t *testing.T) {
	for _, sync := range []string{"always", "os"} {
		t.Run(sync, func(t *testing.T) { moveUnderLoad(t, sync) })
	}
}

func moveUnderLoad(t *testing.T, sync string) {
	g := moveGroup(t, 3, func(c *config.Config) { c.WAL.Sync = sync })
	for i := range 200 {
		g.mustPut(0, fmt.Sprintf("old%d", i), string(noise(2000, uint64(i))))
	}
	l := g.load(4)
	for round, i := range []int{2, 0, 0} {
		l.more(50)
		in, other := g.diskOf(i)
		m := g.move(i)
		if m.State != "CLOSED" || m.Error != "" || m.Replica != g.gpid.String() || m.From != in.Tag || m.To != other.Tag || m.Done == 0 {
			t.Fatalf("round %d: %+v", round, m)
		}
		t.Logf("round %d: %+v", round, m)
		if now, _ := g.diskOf(i); now != other || in.Has(g.gpid) {
			t.Errorf("round %d: it is in %s; in the one of before: %t", round, now.Tag, in.Has(g.gpid))
		}
		l.more(50)
		if c := g.meta.config(g.gpid); len(c.Secondaries) != 2 || c.Primary != g.nodes[0].addr {
			t.Errorf("round %d: the members are %v, %v", round, c.Primary, c.Secondaries)
		}
	}
	l.end(0)
	g.same(0, 1, 2)
	for i := range g.nodes {
		until(t, "nothing is left", func() bool { return len(g.leftovers(i)) == 0 })
	}
	for i := range g.nodes {
		g.nodes[i].stop()
	}
	for i := range g.nodes {
		g.nodes[i].start()
	}
	until(t, "it serves again", func() bool { return g.serving(0) })
	for k := range l.acked {
		g.wantGet(0, k, "v"+k)
	}
	g.same(0, 1, 2)
}

// digest sums up the rows of a replica.
func digest(t *testing.T, r *replica) string {
	t.Helper()
	d, err := r.store.Load().Digest(t.Context(), rrdb.ExpiryTime(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%+v", d)
}

// moveSteps are those at which tests end a move.
var moveSteps = []string{"files", "copied", "ended", "logged", "informed", "switched", "opened", "detached", "serving", "tidied"}

// TestKilledWhileMoving starts a server with what each step of a move leaves on the disks. There is one replica, with
// all that was acknowledged.
func TestKilledWhileMoving(t *testing.T) {
	for _, leads := range []bool{true, false} {
		t.Run(fmt.Sprintf("primary %t", leads), func(t *testing.T) { killedWhileMoving(t, leads) })
	}
}

func killedWhileMoving(t *testing.T, leads bool) {
	g := moveGroup(t, 2, func(*config.Config) {})
	i := 1
	if leads {
		i = 0
	}
	for k := range 60 {
		g.mustPut(0, fmt.Sprintf("old%d", k), string(noise(500, uint64(k))))
	}
	n := g.nodes[i]
	dirs := []string{n.srv.disks.All()[0].Path, n.srv.disks.All()[1].Path}
	type left struct {
		at     string
		last   int64
		digest string
		dirs   []string
	}
	var lefts []left
	more := 0
	hook := func(step string) {
		if step == "copied" || step == "serving" { // what follows the copy is in logs alone
			for range 10 {
				more++
				g.mustPut(0, fmt.Sprintf("new%d", more), "x")
			}
		}
		l := left{at: step}
		if k := len(lefts); step == "files" || step == "copied" || step == "serving" {
			until(t, "all have applied it", func() bool { return g.view(0).applied == g.view(1).applied && g.view(0).applied >= g.view(0).Last })
			l.last, l.digest = g.view(1-i).Last, digest(t, g.nodes[1-i].srv.replica(g.gpid))
		} else {
			l.last, l.digest = lefts[k-1].last, lefts[k-1].digest
		}
		for _, d := range dirs {
			to := filepath.Join(t.TempDir(), filepath.Base(d))
			copyQuiet(t, d, to) // a store that was just opened may give its manifest another name
			l.dirs = append(l.dirs, to)
		}
		lefts = append(lefts, l)
	}
	g.mover(i).reached.Store(&hook)
	if m := g.move(i); m.State != "CLOSED" {
		t.Fatalf("%+v", m)
	}
	until(t, "all steps were reached", func() bool { return len(g.mover(i).srv.moving()) == 0 })
	g.same(0, 1)
	n.stop()
	if len(lefts) < len(moveSteps) {
		t.Fatalf("%d steps were reached: %+v", len(lefts), lefts)
	}
	addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(n.cfg.Replica.Listen))
	for _, l := range lefts {
		for k, d := range dirs {
			if err := os.RemoveAll(d); err != nil {
				t.Fatal(err)
			}
			copyDir(t, l.dirs[k], d)
		}
		for start := range 2 {
			s, err := New(n.cfg, addr, quiet())
			if err != nil {
				t.Fatalf("%s: start %d: %v", l.at, start, err)
			}
			r := s.replica(g.gpid)
			if r == nil {
				t.Fatalf("%s: start %d: there is no replica; broken: %v", l.at, start, s.brokenReplicas())
			}
			if v := r.look(); v.failed != nil || v.suspect || v.Last != l.last {
				t.Errorf("%s: start %d: it has decrees up to %d of %d, suspect %t, failed %v", l.at, start, v.Last, l.last, v.suspect, v.failed)
			}
			has := 0
			for _, d := range s.disks.All() {
				if d.Has(g.gpid) {
					has++
				}
				until(t, l.at+": the logs know no replica that isn't there", func() bool { return d.Has(g.gpid) || len(d.Log().Replicas()) == 0 })
			}
			if has != 1 {
				t.Errorf("%s: start %d: %d directories have the replica", l.at, start, has)
			}
			if start == 1 {
				r.post(func(r *driver) { r.core.Configure(pacifica.Config{Ballot: r.core.Ballot() + 1, Primary: s.addr}) })
				until(t, l.at+": it leads", func() bool { return r.view.Load().Serving })
				if got := digest(t, r); got != l.digest {
					t.Errorf("%s: the rows are %s, want %s", l.at, got, l.digest)
				}
			}
			if err := s.Close(t.Context()); err != nil {
				t.Errorf("%s: start %d: close: %v", l.at, start, err)
			}
		}
	}
}

// TestKilledWhileMovingThenDiskIsAway: a server that was killed when the replica was in both directories starts without the disk of the
// copy. What it goes on with counts when that disk is back.
func TestKilledWhileMovingThenDiskIsAway(t *testing.T) {
	g := moveGroup(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	g.mustPut(0, "a", "1")
	n := g.nodes[0]
	in, other := g.diskOf(0)
	reached, release := g.holdMove(0, "switched")
	t.Cleanup(release)
	if code, hint := g.askMove(0, in.Tag, other.Tag); code != base.ErrOK {
		t.Fatalf("%v: %s", code, hint)
	}
	<-reached
	dirs, killed := []string{in.Path, other.Path}, t.TempDir()
	for _, d := range dirs {
		copyQuiet(t, d, filepath.Join(killed, filepath.Base(d)))
	}
	release()
	if m := g.moved(0, 0); m.State != "CLOSED" {
		t.Fatalf("%+v", m)
	}
	n.stop()
	for _, d := range dirs {
		if err := os.RemoveAll(d); err != nil {
			t.Fatal(err)
		}
		copyDir(t, filepath.Join(killed, filepath.Base(d)), d)
	}
	addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(n.cfg.Replica.Listen))
	start := func(when string) {
		t.Helper()
		s, err := New(n.cfg, addr, quiet())
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if r := s.replica(g.gpid); r == nil || r.dir.Path != in.Path || r.look().failed != nil || r.look().suspect {
			t.Errorf("%s: the replica isn't usable in %s", when, in.Path)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	away := filepath.Join(killed, "away")
	if err := os.Rename(other.Path, away); err != nil {
		t.Fatal(err)
	}
	start("without the copy")
	if err := os.Rename(away, other.Path); err != nil {
		t.Fatal(err)
	}
	start("the copy is back")
	if other.Has(g.gpid) {
		t.Error("the copy is still there")
	}
}

// TestMoveSweep lets each call to the file system fail that a move makes, once. The replica is in one of the two
// places afterwards, serves all that was acknowledged, and a restart finds the same.
func TestMoveSweep(t *testing.T) {
	was := vfs.Default
	t.Cleanup(func() { vfs.Default = was })
	var count, at atomic.Int64
	var on atomic.Bool
	var hit atomic.Pointer[errorfs.Op]
	var dirs atomic.Pointer[[]string]
	vfs.Default = errorfs.Wrap(was, errorfs.InjectorFunc(func(op errorfs.Op) error {
		ds := dirs.Load()
		if strings.Contains(op.Path, "/reps/") && strings.HasPrefix(filepath.Base(op.Path), "store.") {
			return nil // Pebble panics if it can't sync the directory of a store that is in use
		}
		if !on.Load() || ds == nil || op.Kind == errorfs.OpFileClose || !strings.HasPrefix(op.Path, (*ds)[0]) && !strings.HasPrefix(op.Path, (*ds)[1]) {
			return nil
		}
		if count.Add(1) != at.Load() {
			return nil
		}
		hit.Store(&op)
		return &os.PathError{Op: "planted", Path: op.Path, Err: syscall.EIO}
	}))
	g := moveGroup(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	g.meta.set(func() { g.meta.refuseLast = base.ErrInvalidState }) // as the real one
	n := g.nodes[0]
	all := n.srv.disks.All()
	dirs.Store(&[]string{all[0].Path, all[1].Path})
	rows := 0
	put := func() {
		t.Helper()
		until(t, "a write is taken", func() bool { return g.put(0, fmt.Sprintf("k%d", rows), fmt.Sprint(rows)) == nil })
		rows++
	}
	for range 30 {
		put()
	}
	stride := int64(11)
	if s, err := strconv.Atoi(os.Getenv("PEGASUS_MOVE_STRIDE")); err == nil {
		stride = int64(s)
	}
	moved, stayed := 0, 0
	for k := int64(1); ; k += stride {
		put()
		in, other := g.diskOf(0)
		for _, d := range all {
			if other.Tag == d.Tag && d.Has(g.gpid) {
				t.Fatalf("the replica is in both places before call %d", k)
			}
		}
		hit.Store(nil)
		count.Store(0)
		at.Store(k)
		hook := func(step string) {
			if step == "copied" {
				on.Store(false)
				put() // it is in the log alone
				on.Store(true)
			}
		}
		g.mover(0).reached.Store(&hook)
		before := g.mover(0).done.Load() + g.mover(0).failed.Load()
		on.Store(true)
		code, _ := g.askMove(0, in.Tag, other.Tag)
		what := fmt.Sprintf("call %d", k)
		if code == base.ErrOK {
			until(t, "it is over", func() bool { return g.mover(0).done.Load()+g.mover(0).failed.Load() > before })
			list := g.mover(0).list()
			m := list[len(list)-1]
			what = fmt.Sprintf("call %d: %v: %s", k, m.State, m.Error)
			if m.State == "CLOSED" {
				moved++
			} else {
				stayed++
			}
		} else {
			stayed++
		}
		on.Store(false)
		op := hit.Load()
		what = fmt.Sprintf("%s (%+v)", what, op)
		now := time.Now()
		until(t, what+": it serves", func() bool {
			now = now.Add(time.Minute)
			n.srv.disks.Tick(now)
			return g.serving(0)
		})
		put()
		check := func(when string) {
			t.Helper()
			for r := range rows {
				g.wantGet(0, fmt.Sprintf("k%d", r), fmt.Sprint(r))
			}
			here := 0
			for _, d := range n.srv.disks.All() {
				if d.Has(g.gpid) {
					here++
				}
			}
			if here != 1 && when != "" {
				t.Errorf("%s%s: %d directories have it", what, when, here)
			}
		}
		check("")
		if m := k / stride % 4; op == nil || m == 0 || stride == 1 {
			n.stop()
			n.start()
			g.mover(0).patience.Store(int64(time.Minute))
			all = n.srv.disks.All()
			until(t, what+": it serves after a restart", func() bool { return g.serving(0) })
			check(" after a restart")
		}
		if op == nil {
			t.Logf("%d calls; moved in spite of an error %d times, stayed %d times, %d rows", k, moved, stayed, rows)
			if k < 60 || moved == 0 || stayed == 0 {
				t.Errorf("the test tests little")
			}
			return
		}
	}
}

// TestRefusedMoves: what can't be moved is told with upstream's codes at once, and nothing changes.
func TestRefusedMoves(t *testing.T) {
	set := hurtDisks(t)
	g := moveGroup(t, 2, func(*config.Config) {})
	g.mustPut(0, "a", "1")
	in, other := g.diskOf(1)
	ask := func(what, from, to string, code base.ErrorCode, text string) {
		t.Helper()
		if got, hint := g.askMove(1, from, to); got != code || !strings.Contains(hint, text) {
			t.Errorf("%s: %v, %q; want %v, %q", what, got, hint, code, text)
		}
	}
	ask("the same", in.Tag, in.Tag, base.ErrInvalidParameters, "both directories are")
	ask("no such source", "x", other.Tag, base.ErrObjectNotFound, `no data directory has the tag "x"`)
	ask("no such target", in.Tag, "x", base.ErrObjectNotFound, `no data directory has the tag "x"`)
	ask("it is there", other.Tag, in.Tag, base.ErrPathAlreadyExist, "already")
	if err := g.nodes[1].srv.disks.Add(disk.Place{Tag: "three", Path: filepath.Join(filepath.Dir(in.Path), "three")}); err != nil {
		t.Fatal(err)
	}
	ask("it is elsewhere", "three", other.Tag, base.ErrObjectNotFound, "but in "+in.Tag)
	is := g.gpid
	g.gpid = base.Gpid{AppID: 77}
	ask("no replica", in.Tag, other.Tag, base.ErrObjectNotFound, "isn't here")
	g.gpid = is
	set(hook.Control{Error: "EROFS", Ops: []hook.Op{hook.OpCreate}, Path: filepath.Join(other.Path, "tmp")})
	ask("it can't be written", in.Tag, other.Tag, base.ErrFileOperationFailed, "can't be written")
	set(hook.Control{})
	set(hook.Control{Error: "ENOSPC", Ops: []hook.Op{hook.OpWrite}, Path: filepath.Join(other.Path, "tmp")})
	m := g.move(1)
	set(hook.Control{})
	if m.State != "IDLE" || !strings.Contains(m.Error, "no space") {
		t.Errorf("full: %+v", m)
	}
	if err := os.MkdirAll(filepath.Join(in.ReplicaPath(g.gpid), "store.1.taken"), 0o755); err != nil {
		t.Fatal(err)
	}
	ask("something else is there", in.Tag, other.Tag, base.ErrInvalidState, "store.1.taken")
	if err := os.Remove(filepath.Join(in.ReplicaPath(g.gpid), "store.1.taken")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(other.ReplicaPath(g.gpid), 0o755); err != nil {
		t.Fatal(err)
	}
	ask("a directory is there", in.Tag, other.Tag, base.ErrPathAlreadyExist, "already")
	if err := os.Remove(other.ReplicaPath(g.gpid)); err != nil {
		t.Fatal(err)
	}
	g.nodes[1].srv.disks.Tick(time.Now())
	run := g.run(1, "replica.disks")
	if strings.Contains(run, "moves") {
		t.Errorf("nothing is moved: %s", run)
	}
	other.Log().Fail(syscall.EIO)
	ask("the disk failed", in.Tag, other.Tag, base.ErrDiskIoError, "out of service")
	if left := g.leftovers(1); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if now, _ := g.diskOf(1); now != in {
		t.Errorf("it is in %s", now.Path)
	}
	g.mustPut(0, "b", "2")
	g.same(0, 1)
}

// TestOneMoveOfADisk: while a replica is moved, another one isn't moved from or to the same directories; afterwards
// it is.
func TestOneMoveOfADisk(t *testing.T) {
	g := &group{t: t, meta: newFakeMeta(t, 2), gpid: base.Gpid{AppID: 1}, pool: newGroupPool(t)}
	g.nodes = append(g.nodes, startNodeWith(t, g.meta, func(c *config.Config) { c.Replica.MinReplicas, c.Replica.DiskMinSpace = 1, 0 }))
	g.heard(0)
	n := g.nodes[0].srv
	ps := []base.Gpid{{AppID: 1}, {AppID: 1, PartitionIndex: 1}}
	for _, p := range ps {
		g.gpid = p
		g.insist("it is primary", func() bool { return g.serving(0) },
			func() { g.meta.propose(p, metaadmin.CT_ASSIGN_PRIMARY, n.Addr(), n.Addr()) })
	}
	one := n.disks.All()[0]
	for _, tag := range []string{"two", "three"} {
		if err := n.disks.Add(disk.Place{Tag: tag, Path: filepath.Join(filepath.Dir(one.Path), tag)}); err != nil {
			t.Fatal(err)
		}
	}
	g.mover(0).patience.Store(int64(time.Minute))
	reached, release := g.holdMove(0, "copied")
	t.Cleanup(release)
	g.gpid = ps[0]
	if code, hint := g.askMove(0, one.Tag, "two"); code != base.ErrOK {
		t.Fatalf("%v: %s", code, hint)
	}
	<-reached
	g.gpid = ps[1]
	for _, to := range []string{"two", "three"} {
		if code, hint := g.askMove(0, one.Tag, to); code != base.ErrBusy || !strings.Contains(hint, "replica 1.0 is being moved") {
			t.Errorf("a second move, to %s: %v, %s", to, code, hint)
		}
	}
	release()
	if m := g.moved(0, 0); m.State != "CLOSED" {
		t.Errorf("%+v", m)
	}
	if m := g.move(0); m.State != "CLOSED" || m.Replica != ps[1].String() {
		t.Errorf("%+v", m)
	}
	for _, e := range n.disks.All() {
		if es, err := os.ReadDir(e.Scratch()); err != nil || len(es) > 0 {
			t.Errorf("left behind in %s: %v, %v", e.Tag, es, err)
		}
	}
}

// holdMove stops the moves of node i at a step until the function that it returns is called.
func (g *group) holdMove(i int, step string) (reached <-chan struct{}, release func()) {
	at, let := make(chan struct{}), make(chan struct{})
	var once sync.Once
	hook := func(s string) {
		if s == step {
			once.Do(func() { close(at) })
			<-let
		}
	}
	g.mover(i).reached.Store(&hook)
	var let1 sync.Once
	return at, func() { let1.Do(func() { close(let) }) }
}

// TestMoveMeetsChanges: what happens to a replica while it is copied.
func TestMoveMeetsChanges(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(g *group)
		want string // the error, "" if it is moved
	}{
		{"another move", func(g *group) {
			in, other := g.diskOf(1)
			if code, _ := g.askMove(1, in.Tag, other.Tag); code != base.ErrBusy {
				g.t.Errorf("a second move: %v", code)
			}
			ds := g.disksOf(1)
			if k := slices.IndexFunc(ds, func(d answer.Disk) bool { return d.Tag == in.Tag }); len(ds[k].Moves) != 1 || ds[k].Moves[0].State != "MOVING" || ds[k].Moves[0].To != other.Tag || ds[k].Moves[0].Done == 0 {
				g.t.Errorf("it is shown as %+v", ds)
			}
		}, ""},
		{"a new ballot", func(g *group) {
			g.meta.promote(g.gpid, g.nodes[1].addr, g.nodes[0].addr)
			until(g.t, "it leads", func() bool { return g.serving(1) })
		}, ""},
		{"opened again", func(g *group) {
			was := g.nodes[1].srv.replica(g.gpid)
			g.run(1, "replica.kill_partition", "1", "0")
			until(g.t, "it is opened again", func() bool { r := g.nodes[1].srv.replica(g.gpid); return r != nil && r != was })
		}, "opened again"},
		{"it failed", func(g *group) {
			g.fail(1, errors.New("planted")) // returns once it is out, or opened again already
		}, "replica 1.0"},
		{"the other disk failed", func(g *group) {
			_, other := g.diskOf(1)
			other.Log().Fail(syscall.EIO)
		}, "out of service"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := moveGroup(t, 2, func(*config.Config) {})
			g.mustPut(0, "a", "1")
			in, other := g.diskOf(1)
			reached, release := g.holdMove(1, "copied")
			t.Cleanup(release)
			if code, hint := g.askMove(1, in.Tag, other.Tag); code != base.ErrOK {
				t.Fatalf("%v: %s", code, hint)
			}
			<-reached
			c.do(g)
			release()
			m := g.moved(1, 0)
			if (m.State == "CLOSED") != (c.want == "") || !strings.Contains(m.Error, c.want) {
				t.Errorf("%+v, want %q", m, c.want)
			}
			lead := 0
			if g.meta.config(g.gpid).Primary == g.nodes[1].addr {
				lead = 1
			}
			until(t, "it is a member again", func() bool {
				g.proposeAdd(1)
				return g.view(1).Status == pacifica.Secondary || g.serving(1)
			})
			until(t, "a write is taken", func() bool { return g.put(lead, "b", "2") == nil })
			// A slow machine may lose it again, and no meta here makes it a member by itself. One that is listed needs no help.
			g.insist("the other one is a member, and has the write", func() bool {
				return slices.Contains(g.meta.config(g.gpid).Secondaries, g.nodes[1-lead].addr) && g.view(0).applied == g.view(1).applied
			}, func() {
				if !slices.Contains(g.meta.config(g.gpid).Secondaries, g.nodes[1-lead].addr) {
					g.proposeAdd(1 - lead)
				}
			})
			g.same(0, 1)
		})
	}
}

// TestStopWhileMoving: a server that is stopped doesn't wait for a copy, and leaves a replica that is whole.
func TestStopWhileMoving(t *testing.T) {
	for _, step := range []string{"files", "logged", "switched", "detached"} {
		t.Run(step, func(t *testing.T) {
			g := moveGroup(t, 2, func(*config.Config) {})
			for i := range 20 {
				g.mustPut(0, fmt.Sprint(i), "v")
			}
			in, other := g.diskOf(1)
			reached, release := g.holdMove(1, step)
			t.Cleanup(release)
			if code, hint := g.askMove(1, in.Tag, other.Tag); code != base.ErrOK {
				t.Fatalf("%v: %s", code, hint)
			}
			<-reached
			n := g.nodes[1]
			srv := n.srv
			go func() {
				<-srv.ctx.Done() // the stop has come as far as that
				release()
			}()
			n.stop()
			n.start()
			g.add(1)
			until(t, "a write is taken", func() bool { return g.put(0, "after", "v") == nil })
			g.same(0, 1)
			if left := g.leftovers(1); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestSlowDiskUndoesMove: a replica doesn't wait for the disk that it is to be on: it goes on where it was.
func TestSlowDiskUndoesMove(t *testing.T) {
	for _, op := range []string{"/wal/", "info.json", "/reps"} {
		t.Run(op, func(t *testing.T) {
			was := vfs.Default
			t.Cleanup(func() { vfs.Default = was })
			var on atomic.Bool
			var path atomic.Pointer[string]
			let := make(chan struct{})
			vfs.Default = errorfs.Wrap(was, errorfs.InjectorFunc(func(o errorfs.Op) error {
				p := path.Load()
				if on.Load() && p != nil && strings.HasPrefix(o.Path, *p) && strings.Contains(o.Path, op) && o.Kind != errorfs.OpFileClose && o.Kind != errorfs.OpStat && o.Kind != errorfs.OpList {
					<-let
				}
				return nil
			}))
			g := moveGroup(t, 2, func(*config.Config) {})
			release := sync.OnceFunc(func() { close(let) })
			t.Cleanup(release)
			for i := range 20 {
				g.mustPut(0, fmt.Sprint(i), "v")
			}
			in, other := g.diskOf(0)
			path.Store(&other.Path)
			g.mover(0).patience.Store(int64(300 * time.Millisecond))
			back := make(chan struct{})
			hook := func(step string) {
				switch step {
				case "ended":
					on.Store(true)
				case "serving":
					until(t, "a write is taken", func() bool { return g.put(0, "serving", "v") == nil })
					close(back)
				}
			}
			g.mover(0).reached.Store(&hook)
			if code, hint := g.askMove(0, in.Tag, other.Tag); code != base.ErrOK {
				t.Fatalf("%v: %s", code, hint)
			}
			until(t, "it serves again, and the other disk has done nothing", func() bool {
				select {
				case <-back:
					return true
				default:
					return false
				}
			})
			if now, _ := g.diskOf(0); now != in {
				t.Errorf("it serves in %s", now.Tag)
			}
			// The log of the other directory is waited for by nobody, files are.
			if op != "/wal/" && g.nodes[0].srv.moveOf(g.gpid) == nil {
				t.Error("the move has ended, and what it waits for hasn't")
			}
			until(t, "a write is taken", func() bool { return g.put(0, "after", "v") == nil })
			on.Store(false)
			release()
			if m := g.moved(0, 0); m.State != "IDLE" || !strings.Contains(m.Error, "in time") {
				t.Errorf("%+v", m)
			}
			g.same(0, 1)
			n := g.nodes[0]
			until(t, "nothing is left", func() bool { return len(g.leftovers(0)) == 0 && !other.Has(g.gpid) })
			n.stop()
			n.start()
			until(t, "it serves", func() bool { return g.serving(0) })
			g.wantGet(0, "after", "v")
			g.wantGet(0, "serving", "v")
			if now, _ := g.diskOf(0); now.Tag != in.Tag {
				t.Errorf("it is in %s after a restart", now.Tag)
			}
		})
	}
}

// TestMoveCarriesHolds: the log of the new place has what others hold, and a hold of too much keeps the replica
// where it is.
func TestMoveCarriesHolds(t *testing.T) {
	g := moveGroup(t, 2, func(*config.Config) {})
	r := g.nodes[1].srv.replica(g.gpid)
	g.mustPut(0, "a", "1")
	until(t, "applied", func() bool { return g.view(1).applied > 0 })
	held := g.view(1).applied + 1
	for i := range 50 {
		g.mustPut(0, fmt.Sprint(i), "v")
	}
	if first := r.kept.Hold("a duplication", held); first != held {
		t.Fatalf("held from %d on, not %d", first, held)
	}
	if m := g.move(1); m.State != "CLOSED" {
		t.Fatalf("%+v", m)
	}
	r = g.nodes[1].srv.replica(g.gpid)
	if first := r.kept.Hold("a duplication", held); first != held {
		t.Errorf("in the new place the log begins at %d, %d was held", first, held)
	}
	es, err := r.dir.Log().Read(g.gpid, held, 1<<20)
	if err != nil || len(es) == 0 || es[0].Decree != held {
		t.Errorf("%d entries, %v", len(es), err)
	}
	// More than is copied while the replica is in neither place. The error names who holds most: the server itself holds all from decree 1 on until
	// its meta has told what is duplicated, which may not have come to pass yet.
	r.kept.Hold("a duplication", 0)
	big := string(noise(1<<19, 1))
	for i := range moveTail>>19 + 2 {
		g.mustPut(0, fmt.Sprint("big", i), big)
	}
	if m := g.move(1); m.State != "IDLE" || !strings.Contains(m.Error, "for a duplication") {
		t.Errorf("%+v", m)
	}
	g.mustPut(0, "b", "2")
	g.same(0, 1)
}

// TestTargetIsUnmountedWhileMoving: the disk that a replica is copied to is gone in the midst of it. The replica stays where it was, and
// goes on; nothing is made in the mount point; and once the disk is there again, nothing is on it that a move left.
func TestTargetIsUnmountedWhileMoving(t *testing.T) {
	g := moveGroup(t, 2, func(*config.Config) {})
	for k := range 60 {
		g.mustPut(0, fmt.Sprintf("old%d", k), string(noise(500, uint64(k))))
	}
	for _, at := range []string{"files", "copied", "ended"} {
		in, other := g.diskOf(1)
		var mount func()
		hook := func(step string) {
			if step == at && mount == nil {
				mount = mountPoint(t, other)
			}
		}
		g.mover(1).reached.Store(&hook)
		if m := g.move(1); m.State != "IDLE" || m.Error == "" {
			t.Errorf("%s: %+v", at, m)
		} else {
			t.Logf("%s: %s", at, m.Error)
		}
		g.mover(1).reached.Store(nil)
		g.mustPut(0, at, "1")
		g.same(0, 1)
		until(t, at+": the disk is missed", func() bool {
			return slices.ContainsFunc(g.disksOf(1), func(d answer.Disk) bool { return d.Tag == other.Tag && d.State == "IO_ERROR" })
		})
		if code, hint := g.askMove(1, in.Tag, other.Tag); code == base.ErrOK {
			t.Errorf("%s: it is moved to a disk that isn't there: %s", at, hint)
		}
		mount()
		until(t, at+": the disk is used", func() bool {
			return slices.ContainsFunc(g.disksOf(1), func(d answer.Disk) bool { return d.Tag == other.Tag && d.State == "NORMAL" })
		})
		if m := g.move(1); m.State != "CLOSED" {
			t.Errorf("%s: then %+v", at, m)
		}
		until(t, at+": nothing is left", func() bool { return len(g.leftovers(1)) == 0 })
		g.mustPut(0, at, "2")
		g.same(0, 1)
	}
}

// TestAsAdminCLI does what admin-cli's disk-balance does, and reads the answers as it does.
func TestAsAdminCLI(t *testing.T) {
	g := moveGroup(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	g.mustPut(0, "a", string(noise(1000, 1)))
	interval := func(seconds string) {
		t.Helper()
		var said map[string]string
		code, text := g.page(0, "/updateConfig?gc_disk_migration_origin_replica_interval_seconds="+seconds)
		if err := json.Unmarshal([]byte(text), &said); code != 200 || err != nil || said["update_status"] == "" {
			t.Errorf("%d, %s, %v", code, text, err)
		}
	}
	interval("1")
	var disks replicaadmin.QueryDiskInfoResponse
	if err := g.call(0, base.RPCQueryDiskInfo, &replicaadmin.QueryDiskInfoRequest{}, &disks); err != nil || disks.Err != base.ErrOK || len(disks.DiskInfos) != 2 {
		t.Fatalf("%+v, %v", disks, err)
	}
	in, other := g.diskOf(0)
	for _, d := range disks.DiskInfos {
		if holds := len(d.HoldingPrimaryReplicas) > 0; holds != (d.Tag == in.Tag) || d.DiskCapacityMb == 0 {
			t.Errorf("%+v", d)
		}
	}
	var counters struct {
		Counters []struct {
			Name  string
			Value float64
		}
	}
	g.command(0, &counters, "perf-counters-by-substr", "disk.storage.sst(MB)")
	sizes := map[string]float64{}
	for _, c := range counters.Counters {
		_, replica, _ := strings.Cut(c.Name, "@")
		sizes[replica] = c.Value
	}
	if size := sizes[g.gpid.String()]; size <= 0 || size > 64 || len(sizes) != 1 {
		t.Errorf("the replicas are of %v MiB", sizes)
	}
	// It asks again and again, until that is neither OK nor ERR_BUSY.
	until(t, "the replica is moved", func() bool {
		code, hint := g.askMove(0, in.Tag, other.Tag)
		if code != base.ErrOK && code != base.ErrBusy && code != base.ErrPathAlreadyExist && code != base.ErrInvalidState {
			t.Fatalf("%v: %s", code, hint)
		}
		return code == base.ErrPathAlreadyExist
	})
	interval("86400")
	g.wantGet(0, "a", string(noise(1000, 1)))
}

// TestMoveFigures measures what clients feel of a move of PEGASUS_MOVE_MB MiB; without that it is skipped.
func TestMoveFigures(t *testing.T) {
	mb, err := strconv.Atoi(os.Getenv("PEGASUS_MOVE_MB"))
	if err != nil {
		t.Skip("PEGASUS_MOVE_MB isn't set")
	}
	g := moveGroup(t, 3, func(c *config.Config) {
		c.Storage.MemtableBytes, c.Storage.BlockCacheBytes, c.WAL.SegmentBytes = 64<<20, 64<<20, 64<<20
	})
	for i := range g.nodes {
		g.mover(i).patience.Store(int64(moveDisk))
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < mb*8; i += 4 {
				g.mustPut(0, fmt.Sprintf("row%d", i), string(noise(128<<10, uint64(i))))
			}
		})
	}
	wg.Wait()
	g.same(0, 1, 2)
	for _, i := range []int{0, 1} {
		var mu sync.Mutex
		var took []time.Duration
		stop := make(chan struct{})
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				v := string(noise(1000, uint64(w)))
				for k := 0; ; k++ {
					select {
					case <-stop:
						return
					default:
					}
					began := time.Now()
					g.mustPut(0, fmt.Sprintf("w%d.%d", w, k), v)
					mu.Lock()
					took = append(took, time.Since(began))
					mu.Unlock()
				}
			})
		}
		figures := func(f func()) (p50, p99, worst time.Duration, n int) {
			mu.Lock()
			took = nil
			mu.Unlock()
			f()
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(took)
			n = len(took)
			return took[n/2], took[n*99/100], took[n-1], n
		}
		// What the machine does besides changes, too: the load without a move is measured on both sides of it.
		var without []time.Duration
		idle := func(when string) {
			p50, p99, worst, n := figures(func() { time.Sleep(20 * time.Second) })
			without = append(without, p99)
			t.Logf("node %d, %s the move: p50 %v, p99 %v, worst %v of %d puts", i, when, p50, p99, worst, n)
		}
		idle("before")
		var m answer.DiskMove
		p50, p99, worst, n := figures(func() { m = g.move(i) })
		t.Logf("node %d, moved: p50 %v, p99 %v, worst %v of %d puts; %d MiB in %.1f s: %.1f MB/s, gap %.0f ms, %s %s", i, p50, p99, worst, n, m.Done>>20, m.Seconds, float64(m.Done)/m.Seconds/1e6, m.Gap*1000, m.State, m.Error)
		idle("after")
		t.Logf("node %d: p99 is %.2f times that without a move", i, 2*float64(p99)/float64(without[0]+without[1]))
		close(stop)
		writers.Wait()
	}
	g.same(0, 1, 2)
}
