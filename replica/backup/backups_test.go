package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/tbin"
	"pegasus/blob"
	"pegasus/blob/local"
	idl "pegasus/gen/backup"
	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/replica/part"
	"pegasus/rrdb"
)

// server is a part.Host with one replica.
type server struct {
	t      testing.TB
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	r      *fakeReplica
}

func (s *server) Replica(g base.Gpid) (part.Replica, bool) { return s.r, g == s.r.Gpid() }
func (s *server) Replicas() []part.Replica                 { return []part.Replica{s.r} }
func (s *server) Name() string                             { return "node:34801" }
func (s *server) Now() time.Time                           { return time.Now() }
func (s *server) Go(f func(context.Context))               { s.wg.Go(func() { f(s.ctx) }) }
func (s *server) Log() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// stop ends the server, and returns how long that took.
func (s *server) stop() time.Duration {
	began := time.Now()
	s.cancel()
	s.wg.Wait()
	return time.Since(began)
}

// fakeReplica has a real store; the rest is what a test says.
type fakeReplica struct {
	part.Replica // what no test needs
	store        *rrdb.Store
	scratch      string
	view         atomic.Pointer[part.View]
	disk         atomic.Pointer[error]
	checkpoint   atomic.Pointer[error]
}

func (r *fakeReplica) Gpid() base.Gpid { return r.store.Gpid() }
func (r *fakeReplica) View() part.View { return *r.view.Load() }
func (r *fakeReplica) Scratch() string { return r.scratch }
func (r *fakeReplica) DiskUsable() error {
	if err := r.disk.Load(); err != nil {
		return *err
	}
	return nil
}

func (r *fakeReplica) Checkpoint(_ context.Context, dir string) (int64, error) {
	decree, err := r.store.Checkpoint(dir)
	if e := r.checkpoint.Load(); e != nil {
		return 0, *e // the directory is there
	}
	return decree, err
}

// oneStore is a store under the name s.
type oneStore struct{ s *blob.Store }

func (o oneStore) Get(_ context.Context, name string) (*blob.Store, error) {
	if name != "s" {
		return nil, blob.Failf(blob.ErrNotFound, "no store %q", name)
	}
	return o.s, nil
}

// driver is a local directory; put takes part in each write.
type driver struct {
	blob.Driver
	put func(ctx context.Context, name string, then func() (blob.Info, error)) (blob.Info, error)
}

func (d *driver) Put(ctx context.Context, name string, src *blob.Source) (blob.Info, error) {
	then := func() (blob.Info, error) { return d.Driver.Put(ctx, name, src) }
	if d.put == nil {
		return then()
	}
	return d.put(ctx, name, then)
}

// pace lets through what its channel does; nil: all.
type pace struct{ turn chan struct{} }

func (p *pace) Wait(ctx context.Context, _ int) error {
	if p.turn == nil {
		return ctx.Err()
	}
	select {
	case <-p.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
func (*pace) Limit(int64)         {}
func (*pace) Rate() int64         { return 0 }
func (*pace) Run(context.Context) {}

// world is all of it.
type world struct {
	*server
	*Backups
	d     *driver
	p     *pace
	store *blob.Store
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	shared, err := rrdb.NewShared(rrdb.SharedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	st, err := rrdb.Open(rrdb.Options{Dir: filepath.Join(dir, "rdb"), Shared: shared, Gpid: base.Gpid{AppID: 3, PartitionIndex: 1}, Server: "node:34801", Create: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, r: &fakeReplica{store: st, scratch: filepath.Join(dir, "tmp")}}
	if err := os.Mkdir(s.r.scratch, 0o755); err != nil {
		t.Fatal(err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	t.Cleanup(func() {
		s.stop()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		shared.Close()
	})
	s.r.view.Store(&part.View{Role: pacifica.Secondary, Usable: true, Prepared: 1, Applied: 1})
	var payload []byte
	for i := range 100 {
		payload = rrdb.AppendOp(payload, rrdb.Op{Key: base.AppendKey(nil, []byte("h"), fmt.Append(nil, i)), Value: []byte(strings.Repeat("v", 5000))})
	}
	if err := st.Apply(1, 1, payload); err != nil {
		t.Fatal(err)
	}
	c := config.DefaultBlob()
	c.Path = filepath.Join(dir, "blobs")
	if err := os.Mkdir(c.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := local.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{server: s, d: &driver{Driver: files}, p: &pace{}}
	w.store = blob.NewStore("s", w.d, blob.Options{Timeout: time.Minute})
	w.Backups = New(s, Options{Stores: oneStore{w.store}, Pace: w.p, Root: "c", HostName: "node", Port: 34801})
	return w
}

func (w *world) request(id int64, policy string) idl.BackupRequest {
	return idl.BackupRequest{Pid: w.r.Gpid(), Policy: idl.PolicyInfo{PolicyName: policy, BackupProviderType: "s"}, AppName: "t", BackupId: id}
}

func (w *world) send(q idl.BackupRequest) (a idl.BackupResponse) {
	w.backup(nil, &q, &a)
	return a
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// ends asks until a backup isn't under way any more.
func (w *world) ends(q idl.BackupRequest) (a idl.BackupResponse) {
	w.t.Helper()
	until(w.t, "the backup ends", func() bool { a = w.send(q); return a.Err != base.ErrBusy })
	return a
}

// reaches waits until a backup is in a stage.
func (w *world) reaches(q idl.BackupRequest, stage int32) *job {
	w.t.Helper()
	var j *job
	until(w.t, "a stage is reached", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		j = w.jobs[key{q.Pid, q.Policy.PolicyName}]
		return j != nil && j.stage.Load() == stage
	})
	return j
}

// clean tells that no checkpoint is left.
func (w *world) clean() {
	w.t.Helper()
	until(w.t, "no checkpoint is left", func() bool {
		es, err := os.ReadDir(w.r.scratch)
		if err != nil {
			w.t.Fatal(err)
		}
		return len(es) == 0
	})
}

// value returns a metric of the replica.
func (w *world) value(m *metrics.Metric) string {
	var sn metrics.Snapshot
	w.Collect(&sn)
	return string(sn.JSON(&metrics.Filter{Metrics: []string{m.Name}, Fields: []string{"value"}}))
}

func (w *world) expect(m *metrics.Metric, n int) {
	w.t.Helper()
	if got := strings.Join(strings.Fields(w.value(m)), ""); !strings.Contains(got, fmt.Sprintf(`{"value":%d}`, n)) {
		w.t.Errorf("%s is not %d: %s", m.Name, n, got)
	}
}

// A backup that nobody asks for any more ends; one that has ended is forgotten.
func TestForgotten(t *testing.T) {
	w := newWorld(t)
	w.p.turn = make(chan struct{})
	q := w.request(7, "p")
	w.send(q)
	j := w.reaches(q, stageWriting)
	w.Tick(time.Now())
	w.mu.Lock()
	j.asked = j.asked.Add(-2 * patience)
	w.mu.Unlock()
	w.Tick(time.Now())
	<-j.ended
	w.clean()
	w.expect(metricCancelled, 1)
	close(w.p.turn)
	if a := w.ends(q); a.Err != base.ErrOK {
		t.Fatalf("asked again: %+v", a)
	}
	w.mu.Lock()
	w.jobs[key{q.Pid, "p"}].asked = time.Now().Add(-2 * patience)
	w.mu.Unlock()
	w.Tick(time.Now())
	w.mu.Lock()
	n := len(w.jobs)
	w.mu.Unlock()
	if n != 0 {
		t.Errorf("%d are remembered", n)
	}
	if a := w.ends(q); a.Err != base.ErrOK || a.CheckpointTotalSize == 0 {
		t.Errorf("forgotten and complete: %+v", a)
	}
}

// The end of the server doesn't wait for a store that hangs.
func TestStopWhileStoreHangs(t *testing.T) {
	w := newWorld(t)
	release, hangs := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.d.put = func(_ context.Context, name string, then func() (blob.Info, error)) (blob.Info, error) {
		if strings.HasSuffix(name, ".sst") {
			once.Do(func() { close(hangs) })
			<-release
		}
		return then()
	}
	q := w.request(7, "p")
	w.send(q)
	j := w.reaches(q, stageWriting)
	<-hangs
	took := w.stop()
	if took > 5*time.Second { // on a machine that has other things to do
		t.Errorf("it took %v", took)
	}
	t.Logf("it took %v", took)
	close(release)
	<-j.ended
	if c, err := backup.Current(t.Context(), w.store, j.table.Partition(1)); err != nil || c != "" {
		t.Errorf("it counts: %q, %v", c, err)
	}
}

// A backup whose last file arrived without an answer is complete, and nothing of it is removed.
func TestLastAnswerLost(t *testing.T) {
	w := newWorld(t)
	w.d.put = func(_ context.Context, name string, then func() (blob.Info, error)) (blob.Info, error) {
		info, err := then()
		if strings.HasSuffix(name, "current_checkpoint") && err == nil {
			err = blob.Failf(blob.ErrDenied, "the answer is lost")
		}
		return info, err
	}
	q := w.request(7, "p")
	w.send(q)
	if a := w.ends(q); a.Err != base.ErrOK {
		t.Fatalf("%+v", a)
	}
	p, err := backup.OpenPartition(t.Context(), w.store, backup.Location{Cluster: "c", ID: 7}.Table("t", 3).Partition(1), backup.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Manifest.Rows != 100 {
		t.Errorf("%d rows", p.Manifest.Rows)
	}
	w.clean()
}

// What fails is told with its cause, once; nothing of it is left, here or in the store.
func TestFailures(t *testing.T) {
	full := fmt.Errorf("link: %w", syscall.ENOSPC)
	short := fmt.Errorf("it has too little free space: %w", base.ErrDiskInsufficient)
	for name, c := range map[string]struct {
		before func(w *world)
		during func(w *world) // once rows are being written
		reason string
		file   bool // the store is to blame
	}{
		"a disk that is full": {before: func(w *world) { w.r.checkpoint.Store(&full) }, reason: "no space left on device"},
		"a store that is full": {before: func(w *world) {
			w.d.put = func(_ context.Context, name string, then func() (blob.Info, error)) (blob.Info, error) {
				if strings.Contains(name, "MANIFEST") {
					return blob.Info{}, blob.Fail(blob.ErrNoSpace, syscall.ENOSPC)
				}
				return then()
			}
		}, reason: "free space there", file: true},
		"a disk that gets short": {during: func(w *world) { w.r.disk.Store(&short); w.Tick(time.Now()) }, reason: "the backup was given up, since its checkpoint takes room: it has too little free space"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.p.turn = make(chan struct{})
			if c.before != nil {
				c.before(w)
			}
			q := w.request(7, "p")
			if a := w.send(q); a.Err != base.ErrBusy {
				t.Fatalf("%+v", a)
			}
			if c.during != nil {
				w.reaches(q, stageWriting)
				c.during(w)
			}
			close(w.p.turn)
			if a := w.ends(q); a.Err != base.ErrLocalAppFailure || !strings.Contains(a.Reason.V, c.reason) {
				t.Fatalf("%+v", a)
			}
			w.clean()
			w.expect(metricFailed, 1)
			w.expect(metricFilesBad, map[bool]int{true: 1}[c.file])
			if l, err := w.store.List(t.Context(), "c/7/t_3/1"); err == nil && len(l) > 0 {
				t.Errorf("left in the store: %+v", l)
			}
			w.r.checkpoint.Store(nil)
			w.r.disk.Store(nil)
			w.d.put = nil
			if a := w.ends(q); a.Err != base.ErrOK {
				t.Errorf("asked again: %+v", a)
			}
		})
	}
}

// A replica that hasn't applied what it prepared is waited for; one that stops being a member fails the backup.
func TestCatchUp(t *testing.T) {
	w := newWorld(t)
	is := func(role pacifica.Status, prepared, applied int64) {
		w.r.view.Store(&part.View{Role: role, Usable: true, Prepared: prepared, Applied: applied})
	}
	waits := func(id int64) idl.BackupRequest {
		q := w.request(id, "p")
		w.send(q)
		w.reaches(q, stageCopying)
		return q
	}
	is(pacifica.Secondary, 9, 8)
	q := waits(7)
	if err := w.r.store.Apply(2, 2, rrdb.AppendOp(nil, rrdb.Op{Key: base.AppendKey(nil, []byte("last"), nil), Value: []byte("v")})); err != nil {
		t.Fatal(err)
	}
	is(pacifica.Secondary, 9, 9)
	if a := w.ends(q); a.Err != base.ErrOK {
		t.Fatalf("%+v", a)
	}
	m, err := backup.ReadManifest(t.Context(), w.store, "c/7/t_3/1", "chkpt_node_34801")
	if err != nil || m.Rows != 101 || m.Decree != 2 {
		t.Errorf("%+v, %v", m, err)
	}
	is(pacifica.Secondary, 9, 1)
	q = waits(8)
	is(pacifica.Secondary, 1, 1) // the rest was never committed, and is gone
	if a := w.ends(q); a.Err != base.ErrOK {
		t.Fatalf("%+v", a)
	}
	is(pacifica.Secondary, 9, 8)
	q = waits(9)
	is(pacifica.Learner, 9, 8)
	if a := w.ends(q); a.Err != base.ErrLocalAppFailure || !strings.Contains(a.Reason.V, "neither primary nor secondary") {
		t.Errorf("%+v", a)
	}
	w.clean()
}

// A replica has only so many backups, and what isn't usable has none.
func TestBounds(t *testing.T) {
	w := newWorld(t)
	w.p.turn = make(chan struct{})
	for i := range manyOfReplica {
		if a := w.send(w.request(int64(i+1), fmt.Sprint("p", i))); a.Err != base.ErrBusy {
			t.Fatalf("%d: %+v", i, a)
		}
	}
	if a := w.send(w.request(100, "one more")); a.Err != base.ErrBusy || !strings.Contains(a.Reason.V, "16 backups") {
		t.Errorf("%+v", a)
	}
	close(w.p.turn)
	for i := range manyOfReplica {
		if a := w.ends(w.request(int64(i+1), fmt.Sprint("p", i))); a.Err != base.ErrOK {
			t.Errorf("%d: %+v", i, a)
		}
	}
	w.expect(metricOK, manyOfReplica)
	w.clean()
	for name, c := range map[string]struct {
		v    part.View
		want base.ErrorCode
	}{
		"a learner":             {part.View{Role: pacifica.Learner, Usable: true}, base.ErrInvalidState},
		"an inactive one":       {part.View{Role: pacifica.Inactive, Usable: true}, base.ErrInvalidState},
		"one out of service":    {part.View{Role: pacifica.Primary}, base.ErrInvalidState},
		"a primary is also one": {part.View{Role: pacifica.Primary, Usable: true}, base.ErrBusy},
	} {
		w := newWorld(t)
		w.r.view.Store(&c.v)
		if a := w.send(w.request(5, "p")); a.Err != c.want {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// Slots are given in turn; their number can be changed, and who gives up takes none.
func TestSlots(t *testing.T) {
	s := newSlots(0)
	ctx := t.Context()
	if s.limit() != 1 || s.take(ctx) != nil {
		t.Fatal("the first")
	}
	waits := func(n int) {
		t.Helper()
		until(t, fmt.Sprint(n, " wait"), func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.waiting) == n
		})
	}
	order := make(chan int, 3)
	why := errors.New("enough")
	gone, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			c := ctx
			if i == 1 {
				c = gone
			}
			if err := s.take(c); err != nil {
				if i != 1 || !errors.Is(err, why) {
					t.Errorf("%d: %v", i, err)
				}
				return
			}
			order <- i
		})
		waits(i + 1)
	}
	cancel(why)
	waits(2)
	s.free()
	if i := <-order; i != 0 {
		t.Errorf("%d was next", i)
	}
	s.set(2)
	if i := <-order; i != 2 {
		t.Errorf("%d was next", i)
	}
	wg.Wait()
	s.free()
	s.free()
	if s.used != 0 || len(s.waiting) != 0 {
		t.Errorf("%d are used, %d wait", s.used, len(s.waiting))
	}
	// One that ends while its turn comes gives it back.
	for range 200 {
		if err := s.take(ctx); err != nil {
			t.Fatal(err)
		}
		s.set(1)
		c, cancel := context.WithCancel(ctx)
		got := make(chan error, 1)
		go func() { got <- s.take(c) }()
		waits(1)
		go cancel()
		s.free()
		if <-got == nil {
			s.free()
		}
		cancel()
	}
	if s.used != 0 {
		t.Errorf("%d are used", s.used)
	}
}

// Options that can't work are refused.
func TestOptions(t *testing.T) {
	good := Options{Stores: oneStore{}, Pace: &pace{}, Root: "c", HostName: "h", Port: 1}
	for name, change := range map[string]func(*Options){
		"Stores":      func(o *Options) { o.Stores = nil },
		"Pace":        func(o *Options) { o.Pace = nil },
		"Root":        func(o *Options) { o.Root = "" },
		"HostName":    func(o *Options) { o.HostName = "" },
		"Port":        func(o *Options) { o.Port = 0 },
		"Concurrency": func(o *Options) { o.Concurrency = -1 },
	} {
		o := good
		change(&o)
		o.EnsureDefaults()
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good.EnsureDefaults()
	if err := good.Validate(); err != nil || good.Concurrency != 1 {
		t.Errorf("%+v, %v", good, err)
	}
}

// Whatever a request says is refused or done; none leads out of the place for backups.
func FuzzRequest(f *testing.F) {
	w := newWorld(f)
	q := w.request(1, "p")
	f.Add(q.AppendThrift(nil))
	q.BackupPath, q.BackupRoot = base.Some("a/b"), base.Some("../c")
	f.Add(q.AppendThrift(nil))
	q.BackupRoot, q.AppName = base.Opt[string]{}, "a/b"
	f.Add(q.AppendThrift(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var q idl.BackupRequest
		r := tbin.NewReader(b)
		q.ReadThrift(r)
		if r.Err() != nil {
			return
		}
		j, err := w.plan(&q)
		if err != nil {
			if base.CodeOf(err) != base.ErrInvalidParameters {
				t.Fatalf("%+v: %v", q, err)
			}
			return
		}
		dir := j.table.Partition(q.Pid.PartitionIndex)
		if err := blob.CheckName(dir); err != nil || strings.Count(dir, "/") != strings.Count(j.table.Location.Dir(), "/")+2 {
			t.Fatalf("%+v: %q, %v", q, dir, err)
		}
	})
}
