package replica

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/blob"
	"pegasus/blob/stores"
	"pegasus/bulkload"
	"pegasus/gen/loading"
	"pegasus/gen/metaadmin"
	"pegasus/internal/repo"
	"pegasus/pacifica"
	loader "pegasus/replica/bulkload"
	"pegasus/replica/disk"
	"pegasus/replica/wal"
	"pegasus/rocks/pegasus"
	"pegasus/rrdb"
)

// loadTest is a group with a place for files that all of its nodes have.
type loadTest struct {
	*group
	root  string // of the place
	store *blob.Store
	at    time.Time // of the rows
}

func newLoadTest(t testing.TB, nodes int, more ...func(*config.Config)) *loadTest {
	t.Helper()
	l := &loadTest{root: t.TempDir(), at: time.Now().Add(-time.Hour)}
	c := config.DefaultBlob()
	c.Path, c.RetryTime = l.root, config.Duration(time.Second)
	blobs := map[string]config.Blob{"files": c}
	l.group = newGroupWith(t, nodes, func(c *config.Config) {
		c.Blob, c.Replica.LoadRate = blobs, 0
		for _, f := range more {
			f(c)
		}
	})
	set := stores.New(blobs, nil)
	t.Cleanup(set.Close)
	var err error
	if l.store, err = set.Get(t.Context(), "files"); err != nil {
		t.Fatal(err)
	}
	return l
}

// files writes the files of a load with rows loaded0 to loaded<n-1>. The first three of them don't expire, expire an hour hence, and have expired when the rows
// count as written.
func (l *loadTest) files(load int64, n int) {
	l.t.Helper()
	l.filesOf(load, n, func(k string) []byte { return fmt.Append(nil, k, " of ", load, strings.Repeat("x", 100)) })
}

// filesOf is files with values of another kind.
func (l *loadTest) filesOf(load int64, n int, value func(key string) []byte) {
	l.t.Helper()
	w, err := bulkload.Create(l.t.Context(), l.store, bulkload.WriterOptions{Place: bulkload.Place{Cluster: fmt.Sprint("c", load), Table: "temp"}, AppID: 1, Partitions: 1, TableSize: 64 << 10})
	if err != nil {
		l.t.Fatal(err)
	}
	keys := make([]string, n)
	for i := range n {
		keys[i] = fmt.Sprintf("loaded%d", i)
	}
	slices.SortFunc(keys, func(a, b string) int { return strings.Compare(string(rowKey(a)), string(rowKey(b))) })
	for _, k := range keys {
		v := pegasus.Value{Data: value(k)}
		switch k {
		case "loaded1":
			v.ExpireTS = rrdb.ExpiryTime(time.Now().Add(time.Hour))
		case "loaded2":
			v.ExpireTS = rrdb.ExpiryTime(l.at.Add(-time.Second))
		}
		if err := w.Add(0, rowKey(k), v); err != nil {
			l.t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		l.t.Fatal(err)
	}
}

func (l *loadTest) request(load int64, step loading.LoadStep) *loading.LoadRequest {
	return &loading.LoadRequest{Pid: l.gpid, LoadId: load, Step: step, Source: base.Some(loading.LoadSource{Provider: "files", ClusterName: fmt.Sprint("c", load), AppName: "temp",
		PartitionCount: 1, AppId: 1, TimetagUs: l.at.UnixMicro()}), ClusterId: base.Some("ours")}
}

func (l *loadTest) send(i int, q *loading.LoadRequest) (a loading.LoadResponse) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), answerTime)
	defer cancel()
	if err := l.callWith(ctx, i, base.RPCLoadRows, q, &a); err != nil {
		l.t.Fatalf("node %d: %v", i, err)
	}
	return a
}

// ends prepares a load until that has ended.
func (l *loadTest) ends(i int, q *loading.LoadRequest) (a loading.LoadResponse) {
	l.t.Helper()
	until(l.t, fmt.Sprintf("node %d has prepared load %d, or failed", i, q.LoadId), func() bool {
		a = l.send(i, q)
		return a.Err == base.ErrOK && a.State != loading.LOAD_READING && a.State != loading.LOAD_NONE
	})
	return a
}

// prepare prepares a load on nodes, and returns the digest, which is the same on all.
func (l *loadTest) prepare(load int64, nodes ...int) (digest string) {
	l.t.Helper()
	for _, i := range nodes {
		a := l.ends(i, l.request(load, loading.LOAD_PREPARE))
		if a.State != loading.LOAD_READY || a.Digest == "" || digest != "" && a.Digest != digest {
			l.t.Fatalf("node %d: %+v, digest of others %s", i, a, digest)
		}
		digest = a.Digest
	}
	return digest
}

func (l *loadTest) tryTake(i int, load int64, digest string) loading.LoadResponse {
	l.t.Helper()
	q := l.request(load, loading.LOAD_TAKE)
	q.Source, q.Digest = base.Opt[loading.LoadSource]{}, base.Some(digest)
	return l.send(i, q)
}

// take has a load taken.
func (l *loadTest) take(i int, load int64, digest string) (a loading.LoadResponse) {
	l.t.Helper()
	until(l.t, fmt.Sprintf("load %d is taken", load), func() bool {
		a = l.tryTake(i, load, digest)
		if a.Err != base.ErrOK && a.Err != base.ErrBusy && a.Err != base.ErrInvalidState || a.Err == base.ErrOK && a.State != loading.LOAD_TAKEN {
			l.t.Fatalf("%+v", a)
		}
		return a.Err == base.ErrOK
	})
	if a.Decree <= 0 {
		l.t.Fatalf("%+v", a)
	}
	return a
}

// loaded waits until nodes have the rows of a load, and nothing else of it.
func (l *loadTest) loaded(load int64, n int, nodes ...int) {
	l.t.Helper()
	until(l.t, fmt.Sprintf("all have taken load %d", load), func() bool {
		for _, i := range nodes {
			if r := l.nodes[i].srv.replica(l.gpid); r == nil || r.store.Load().Taken().Load != load {
				return false
			}
		}
		return true
	})
	l.same(nodes...)
	primary := slices.IndexFunc(l.nodes, func(n *node) bool { return n.addr == l.meta.config(l.gpid).Primary })
	for k := range n {
		if k == 2 {
			continue
		}
		key := fmt.Sprintf("loaded%d", k)
		l.wantGet(primary, key, fmt.Sprint(key, " of ", load, strings.Repeat("x", 100)))
	}
	if err := l.read(primary, "loaded2"); err == nil || !strings.Contains(err.Error(), "storage code 1") {
		l.t.Fatalf("a row that had expired: %v", err)
	}
}

// sets lists the sets that a node has.
func (l *loadTest) sets(i int) []string {
	l.t.Helper()
	names, err := filepath.Glob(filepath.Join(l.nodes[i].cfg.Replica.DataDirs[0], "reps", "*", rrdb.SetPrefix+"*"))
	if err != nil {
		l.t.Fatal(err)
	}
	return names
}

// Each member prepares a load, the primary has it taken under writes, and it is there once, also after restarts.
func TestLoad(t *testing.T) {
	l := newLoadTest(t, 3, patient)
	l.files(7, 500)
	for k := range 10 {
		if k != 2 {
			l.mustPut(0, fmt.Sprintf("loaded%d", k), "before")
		}
	}
	digest := l.prepare(7, 0, 1, 2)
	a := l.ends(1, l.request(7, loading.LOAD_PREPARE))
	if a.Rows != 499 || a.FilesTotal < 1 || a.BytesTotal <= 0 || a.BytesRead != a.BytesTotal {
		t.Errorf("%+v", a)
	}
	l.wantGet(0, "loaded4", "before")
	stop, ended, written := make(chan struct{}), make(chan struct{}), atomic.Int64{}
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := l.put(0, fmt.Sprintf("other%d", i), "x"); err != nil {
				t.Errorf("a write meanwhile: %v", err)
				return
			}
			written.Add(1)
		}
	}()
	until(t, "there are writes", func() bool { return written.Load() > 10 })
	a = l.take(0, 7, digest)
	now := written.Load()
	until(t, "writes go on", func() bool { return written.Load() > now+10 })
	close(stop)
	<-ended
	l.loaded(7, 500, 0, 1, 2)
	l.wantGet(0, "other3", "x")
	l.mustPut(0, "loaded4", "after")
	for i := range 3 {
		if b := l.tryTake(i, 7, digest); b.State != loading.LOAD_TAKEN || i == 0 && b.Decree != a.Decree {
			t.Errorf("node %d, a second time: %+v", i, b)
		}
		if b := l.send(i, l.request(7, loading.LOAD_PREPARE)); b.State != loading.LOAD_TAKEN || b.Decree != a.Decree {
			t.Errorf("node %d, prepared again: %+v", i, b)
		}
	}
	for _, n := range l.nodes {
		n.stop()
	}
	for _, n := range l.nodes {
		n.start()
	}
	until(t, "the primary serves again", func() bool { return l.serving(0) })
	if b := l.tryTake(0, 7, digest); b.State != loading.LOAD_TAKEN || b.Decree != a.Decree {
		t.Errorf("after a restart: %+v", b)
	}
	l.wantGet(0, "loaded4", "after")
	for i := range 3 {
		if len(l.sets(i)) != 1 {
			t.Errorf("node %d has %v", i, l.sets(i))
		}
		if b := l.send(i, l.request(7, loading.LOAD_FORGET)); b.Err != base.ErrOK || len(l.sets(i)) != 0 {
			t.Errorf("node %d forgets: %+v, has %v", i, b, l.sets(i))
		}
	}
	if b := l.send(0, l.request(6, loading.LOAD_PREPARE)); b.Err != base.ErrVersionOutdated {
		t.Errorf("an older load: %+v", b)
	}
	// A later load takes the place of one that isn't forgotten.
	l.files(8, 50)
	l.files(9, 50)
	l.prepare(8, 0, 1, 2)
	digest = l.prepare(9, 0, 1, 2)
	if s := l.sets(2); len(s) != 1 || !strings.HasSuffix(s[0], ".9") {
		t.Errorf("%v", s)
	}
	l.take(0, 9, digest)
	l.loaded(9, 50, 0, 1, 2)
}

// The primary changes between the steps; who is the primary finds what was done.
func TestLoadPrimaryChanges(t *testing.T) {
	l := newLoadTest(t, 3)
	l.files(7, 50)
	digest := l.prepare(7, 0, 1, 2)
	lead := func(i, j, k int) {
		t.Helper()
		l.meta.promote(l.gpid, l.nodes[i].srv.Addr(), l.nodes[j].srv.Addr(), l.nodes[k].srv.Addr())
		until(t, "the new primary serves", func() bool { return l.serving(i) })
	}
	lead(1, 0, 2)
	until(t, "the old one knows", func() bool { return l.view(0).Status == pacifica.Secondary })
	if a := l.tryTake(0, 7, digest); a.Err != base.ErrInvalidState {
		t.Errorf("a secondary: %+v", a)
	}
	first := l.take(1, 7, digest)
	l.mustPut(1, "loaded5", "after")
	lead(2, 1, 0)
	if a := l.take(2, 7, digest); a.Decree != first.Decree {
		t.Errorf("%+v, before it was %+v", a, first)
	}
	l.wantGet(2, "loaded5", "after")
	l.mustPut(2, "loaded5", "loaded5 of 7"+strings.Repeat("x", 100))
	l.loaded(7, 50, 2, 1, 0)
}

// While a member has no set, or another one, nothing is taken; the answer says who.
func TestLoadMemberLacksSet(t *testing.T) {
	l := newLoadTest(t, 3)
	l.files(7, 50)
	digest := l.prepare(7, 0, 1)
	if a := l.tryTake(0, 7, digest); a.Err != base.ErrBusy || !strings.Contains(a.HintMsg, l.nodes[2].srv.Addr().String()) {
		t.Errorf("%+v", a)
	}
	q := l.request(7, loading.LOAD_PREPARE)
	q.Source.V.TimetagUs++
	if a := l.ends(2, q); a.State != loading.LOAD_READY || a.Digest == digest {
		t.Fatalf("%+v", a)
	}
	if a := l.tryTake(0, 7, digest); a.Err != base.ErrInconsistentState || !strings.Contains(a.HintMsg, l.nodes[2].srv.Addr().String()) {
		t.Errorf("%+v", a)
	}
	// What was asked for is kept for a while.
	if a := l.send(1, l.request(7, loading.LOAD_FORGET)); a.Err != base.ErrBusy || len(l.sets(1)) != 1 {
		t.Errorf("%+v, %v", a, l.sets(1))
	}
	if r := l.nodes[0].srv.replica(l.gpid); r.store.Load().Taken().Load != 0 || r.taking.pending() {
		t.Error("it is taken")
	}
	l.mustPut(0, "k", "v")
	// A restart forgets the promise.
	l.nodes[2].stop()
	l.nodes[2].start()
	until(t, "the member is back", func() bool {
		return l.view(2).Status == pacifica.Secondary || !slices.Contains(l.meta.config(l.gpid).Secondaries, l.nodes[2].addr)
	})
	l.add(2)
	if a := l.send(2, l.request(7, loading.LOAD_FORGET)); a.Err != base.ErrOK || len(l.sets(2)) != 0 {
		t.Fatalf("%+v", a)
	}
	l.prepare(7, 2)
	l.take(0, 7, digest)
	l.loaded(7, 50, 0, 1, 2)
}

// A member whose set goes after it said that it has it never goes on without the rows: it leaves, and comes back with a copy.
func TestLoadSetGoes(t *testing.T) {
	l := newLoadTest(t, 3)
	l.files(7, 50)
	digest := l.prepare(7, 0, 1, 2)
	var once atomic.Bool
	l.nodes[2].srv.hooks.Store(&roundHooks{at: func(r *replica, s step) {
		if s == stepTaken && r.taking.pending() && once.CompareAndSwap(false, true) {
			for _, dir := range l.sets(2) {
				os.RemoveAll(dir)
			}
		}
	}})
	l.take(0, 7, digest)
	l.mustPut(0, "after", "1")
	if !once.Load() {
		t.Fatal("the set didn't go: the test tests nothing")
	}
	until(t, "the member has left", func() bool { return l.view(2).suspect || l.view(2).info.Store == 2 })
	l.add(2)
	l.mustPut(0, "later", "1")
	l.loaded(7, 50, 0, 1, 2)
	if n := l.view(2).info.Store; n != 2 {
		t.Errorf("its store is number %d: it didn't come from a copy", n)
	}
}

// A replica isn't moved to another disk while it has a set, nor if a load was taken since it was copied: the copy has nothing to take.
func TestLoadMeetsMove(t *testing.T) {
	l := newLoadTest(t, 1, func(c *config.Config) { c.Replica.MinReplicas, c.Replica.DiskMinSpace = 1, 0 })
	d := l.nodes[0].srv.disks.All()[0]
	if err := l.nodes[0].srv.disks.Add(disk.Place{Tag: "two", Path: filepath.Join(filepath.Dir(d.Path), "two")}); err != nil {
		t.Fatal(err)
	}
	l.mover(0).patience.Store(int64(time.Minute))
	l.mustPut(0, "before", "1")
	l.files(7, 50)
	in, other := l.diskOf(0)
	reached, release := l.holdMove(0, "copied")
	t.Cleanup(release)
	if code, hint := l.askMove(0, in.Tag, other.Tag); code != base.ErrOK {
		t.Fatalf("%v: %s", code, hint)
	}
	<-reached
	l.take(0, 7, l.prepare(7, 0))
	if a := l.send(0, l.request(7, loading.LOAD_FORGET)); a.Err != base.ErrOK || len(l.sets(0)) != 0 {
		t.Fatalf("%+v, %v", a, l.sets(0))
	}
	release()
	if m := l.moved(0, 0); m.State != "IDLE" || !strings.Contains(m.Error, "files were loaded into it") {
		t.Errorf("%+v", m)
	}
	until(t, "it serves where it was", func() bool { now, _ := l.diskOf(0); return l.serving(0) && now == in })
	l.loaded(7, 50, 0)
	// With a set.
	l.files(8, 50)
	l.prepare(8, 0)
	if code, hint := l.askMove(0, in.Tag, other.Tag); code != base.ErrInvalidState || !strings.Contains(hint, rrdb.SetPrefix) {
		t.Errorf("%v: %s", code, hint)
	}
	if a := l.send(0, l.request(8, loading.LOAD_FORGET)); a.Err != base.ErrOK {
		t.Fatalf("%+v", a)
	}
	if m := l.move(0); m.State != "CLOSED" {
		t.Errorf("%+v", m)
	}
	l.loaded(7, 50, 0)
}

// Who learns gets a copy, although the log has all; what was taken comes with it.
func TestLoadLearner(t *testing.T) {
	l := newLoadTest(t, 2)
	l.mustPut(0, "k", "v")
	l.files(7, 50)
	digest := l.prepare(7, 0, 1)
	first := l.take(0, 7, digest)
	l.mustPut(0, "loaded5", "after")
	c := l.nodes[0].cfg
	l.nodes = append(l.nodes, startNodeWith(t, l.meta, func(n *config.Config) { n.Blob = c.Blob }))
	l.add(2)
	l.mustPut(0, "last", "1")
	l.same(0, 1, 2)
	if n := l.view(2).info.Store; n != 2 {
		t.Errorf("the learner's store is number %d: it didn't come from a copy", n)
	}
	if a := l.send(2, l.request(7, loading.LOAD_PREPARE)); a.State != loading.LOAD_TAKEN || a.Decree != first.Decree {
		t.Errorf("%+v", a)
	}
	l.meta.promote(l.gpid, l.nodes[2].srv.Addr(), l.nodes[0].srv.Addr(), l.nodes[1].srv.Addr())
	until(t, "the new primary serves", func() bool { return l.serving(2) })
	if a := l.tryTake(2, 7, digest); a.State != loading.LOAD_TAKEN || a.Decree != first.Decree {
		t.Errorf("%+v", a)
	}
	l.wantGet(2, "loaded5", "after")
	// One that is there before the load, and has no set, keeps it from being taken until it has.
	l.files(8, 50)
	digest = l.prepare(8, 2, 0)
	if a := l.tryTake(2, 8, digest); a.Err != base.ErrBusy {
		t.Errorf("%+v", a)
	}
	l.prepare(8, 1)
	l.take(2, 8, digest)
	l.loaded(8, 50, 0, 1, 2)
}

// copyQuiet copies a directory whose names don't change meanwhile: the store may be about to remove what it doesn't need any more.
func copyQuiet(t *testing.T, from, to string) {
	names := func() string {
		var list []string
		_ = filepath.WalkDir(from, func(p string, _ fs.DirEntry, _ error) error {
			list = append(list, p)
			return nil
		})
		return strings.Join(list, "\n")
	}
	for end := time.Now().Add(20 * time.Second); ; {
		before := names()
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil && names() == before {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s doesn't come to rest: %v", from, err)
			return
		}
		if err := os.RemoveAll(to); err != nil {
			t.Error(err)
			return
		}
	}
}

// A server is killed at each step of a round while the set is being taken: it takes it from its folder when it comes back, or is a member no more.
func TestLoadKilled(t *testing.T) {
	for _, at := range []step{stepAppended, stepSent, stepApplied} {
		l := newLoadTest(t, 3)
		l.files(7, 50)
		digest := l.prepare(7, 0, 1, 2)
		data := l.nodes[2].cfg.Replica.DataDirs[0]
		image := filepath.Join(t.TempDir(), "image")
		var once atomic.Bool
		l.nodes[2].srv.hooks.Store(&roundHooks{at: func(r *replica, s step) {
			if s == at && r.taking.pending() != (at == stepApplied) && r.store.Load().Taken().Load == 7 == (at == stepApplied) && once.CompareAndSwap(false, true) {
				// What a kill leaves: nothing of this process is needed for it.
				copyQuiet(t, data, image)
			}
		}})
		l.take(0, 7, digest)
		until(t, "the server is at the step", func() bool { return once.Load() })
		l.nodes[2].stop()
		if err := errors.Join(os.RemoveAll(data), os.Rename(image, data)); err != nil {
			t.Fatal(err)
		}
		l.nodes[2].start()
		until(t, "the member is back", func() bool {
			return l.view(2).Status == pacifica.Secondary || !slices.Contains(l.meta.config(l.gpid).Secondaries, l.nodes[2].addr)
		})
		l.add(2)
		l.mustPut(0, "after", "1")
		l.loaded(7, 50, 0, 1, 2)
	}
}

// A server that restarts has its set at once if it is complete, and begins anew if it isn't.
func TestLoadRestart(t *testing.T) {
	l := newLoadTest(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	l.files(7, 500)
	digest := l.prepare(7, 0)
	if err := os.RemoveAll(filepath.Join(l.root, "c7")); err != nil {
		t.Fatal(err)
	}
	restart := func(leave string) {
		l.nodes[0].stop()
		if leave != "" { // what a kill leaves
			dir := filepath.Join(l.nodes[0].cfg.Replica.DataDirs[0], "reps", "1.0.pegasus", leave)
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "0.sst"), []byte("half a table"), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		l.nodes[0].start()
		until(t, "it serves again", func() bool { return l.serving(0) })
	}
	restart("")
	if got := l.prepare(7, 0); got != digest {
		t.Errorf("digest %s, was %s", got, digest)
	}
	if a := l.take(0, 7, digest); a.HeldMs > 20000 {
		t.Errorf("%+v", a)
	}
	l.files(8, 5000)
	q := l.request(8, loading.LOAD_PREPARE)
	q.Paused = base.Some(true) // else it may end before anybody looks
	if a := l.send(0, q); a.Err != base.ErrOK || a.State != loading.LOAD_READING {
		t.Fatalf("%+v", a)
	}
	if a := l.tryTake(0, 8, "1-0"); a.Err != base.ErrBusy {
		t.Errorf("%+v", a)
	}
	restart("load.8")
	if len(l.sets(0)) == 0 {
		t.Error("nothing is left of it: the test tests nothing")
	}
	l.take(0, 8, l.prepare(8, 0))
	l.loaded(8, 5000, 0)
}

// With ingest_behind rows that are there stay, of all members; what is too much is refused.
func TestLoadBehind(t *testing.T) {
	l := newLoadTest(t, 3, func(c *config.Config) {
		c.Replica.PrepareTimeout, c.Replica.LoadBehind = config.Duration(30*time.Second), 1<<20
	})
	there := map[string]bool{}
	for k := 0; k < 500; k += 3 {
		key := fmt.Sprintf("loaded%d", k)
		there[key] = true
		l.mustPut(0, key, "there")
	}
	behind := func(load int64, i int) loading.LoadResponse {
		q := l.request(load, loading.LOAD_PREPARE)
		q.Source.V.IngestBehind = true
		return l.ends(i, q)
	}
	l.files(6, 5000)
	if a := behind(6, 0); a.State != loading.LOAD_FAILED || a.LoadErr != base.ErrInvalidParameters || !a.BadFiles || !strings.Contains(a.Reason, "bulk_load_behind_bytes") || len(l.sets(0)) != 0 {
		t.Errorf("%+v, %v", a, l.sets(0))
	}
	l.files(7, 500)
	digest := ""
	for i := range 3 {
		a := behind(7, i)
		if a.State != loading.LOAD_READY || digest != "" && a.Digest != digest {
			t.Fatalf("%+v", a)
		}
		digest = a.Digest
	}
	l.mustPut(0, "loaded10", "meanwhile")
	there["loaded10"] = true
	l.take(0, 7, digest)
	until(t, "all have taken it", func() bool {
		return !slices.ContainsFunc(l.nodes, func(n *node) bool { return n.srv.replica(l.gpid).store.Load().Taken().Load != 7 })
	})
	l.same(0, 1, 2)
	for k := range 500 {
		key, want := fmt.Sprintf("loaded%d", k), fmt.Sprintf("loaded%d of 7%s", k, strings.Repeat("x", 100))
		switch {
		case k == 2:
			continue
		case k == 10:
			want = "meanwhile"
		case there[key]:
			want = "there"
		}
		l.wantGet(0, key, want)
	}
	l.mustPut(0, "loaded4", "after")
	l.wantGet(0, "loaded4", "after")
}

// A server that nobody told that a load has ended asks, and removes what it has of it; of one that goes on it keeps everything.
func TestLoadLeftovers(t *testing.T) {
	l := newLoadTest(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	look := func() {
		for _, p := range l.nodes[0].srv.parts {
			if p, is := p.(*loader.Loader); is {
				p.LookSoon()
			}
		}
	}
	asked := func(load int64) (n int) {
		l.meta.mu.Lock()
		defer l.meta.mu.Unlock()
		for _, a := range l.meta.asked {
			if a == (loading.LoadLeft{Pid: l.gpid, LoadId: load}) {
				n++
			}
		}
		return n
	}
	upTo := func(load int64) {
		l.meta.mu.Lock()
		defer l.meta.mu.Unlock()
		l.meta.loads = load
	}
	look()
	l.files(7, 50)
	digest := l.prepare(7, 0)
	insist := func(what string, ok func() bool) {
		t.Helper()
		until(t, what, func() bool { look(); return ok() })
	}
	insist("the meta is asked", func() bool { return asked(7) >= 3 })
	if len(l.sets(0)) != 1 {
		t.Fatal("a set of a load that goes on is removed")
	}
	// A meta of another cluster knows of no load.
	l.meta.set(func() { l.meta.loads, l.meta.loadsID = 7, "theirs" })
	now := asked(7)
	insist("a meta of another cluster is asked", func() bool { return asked(7) >= now+3 })
	if len(l.sets(0)) != 1 {
		t.Fatal("a set is removed because a meta of another cluster doesn't know its load")
	}
	l.meta.set(func() { l.meta.loads, l.meta.loadsID = 0, "" })
	// The server is away when the load ends.
	l.nodes[0].stop()
	upTo(7)
	l.nodes[0].start()
	insist("the set is removed", func() bool { return len(l.sets(0)) == 0 })
	until(t, "it serves again", func() bool { return l.serving(0) })
	if a := l.tryTake(0, 7, digest); a.Err != base.ErrBusy {
		t.Errorf("%+v", a)
	}
	// One that was made meanwhile is seen, also when it has ended as a failure, or was taken.
	l.files(8, 50)
	l.take(0, 8, l.prepare(8, 0))
	insist("the meta is asked", func() bool { return asked(8) > 0 })
	if len(l.sets(0)) != 1 {
		t.Error("a set is removed before its load has ended")
	}
	upTo(8)
	insist("the set is removed", func() bool { return len(l.sets(0)) == 0 })
	l.loaded(8, 50, 0)
}

// A suspect replica keeps the set that its log takes, though the load has ended: it goes on with that if an administrator accepts what else is lost.
func TestLoadSuspectKeepsSet(t *testing.T) {
	l := newLoadTest(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	l.files(7, 50)
	digest := l.prepare(7, 0)
	l.mustPut(0, "before", "1")
	l.meta.set(func() { l.meta.refuseLast = base.ErrInvalidState })
	done := make(chan error, 1)
	// What opening it does with a log that is damaged behind that mutation.
	suspect := func(r *driver) error {
		take := rrdb.Take{Load: 7, Digest: digest, Partitions: 1, TimetagUS: l.at.UnixMicro()}
		last := r.core.Last()
		e := wal.Entry{Gpid: l.gpid, Ballot: r.core.Ballot(), Decree: last + 1, Committed: last, Timestamp: time.Now().UnixMicro(), Payload: rrdb.AppendTake(nil, take)}
		if err := wal.Wait(func(done func(error)) { r.dir.Log().Append([]wal.Entry{e}, done) }); err != nil {
			return err
		}
		r.core.Retire()
		r.abandon()
		r.suspectFor("a test")
		r.newCore(nil)
		r.publish()
		r.srv.meta.SyncSoon()
		if r.intact.decree != last+1 {
			return fmt.Errorf("of use up to %d, not %d", r.intact.decree, last+1)
		}
		return nil
	}
	l.nodes[0].srv.replica(l.gpid).post(func(r *driver) { done <- suspect(r) })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if a := l.send(0, l.request(7, loading.LOAD_FORGET)); a.Err != base.ErrBusy || len(l.sets(0)) != 1 {
		t.Errorf("%+v, sets: %v", a, l.sets(0))
	}
	l.meta.set(func() { l.meta.accept = true })
	until(t, "it serves", func() bool { return l.serving(0) })
	if got := l.nodes[0].srv.replica(l.gpid).store.Load().Taken().Load; got != 7 {
		t.Fatalf("load %d is taken", got)
	}
	if a := l.send(0, l.request(7, loading.LOAD_FORGET)); a.Err != base.ErrOK || len(l.sets(0)) != 0 {
		t.Errorf("%+v, sets: %v", a, l.sets(0))
	}
	l.loaded(7, 50, 0)
	l.wantGet(0, "before", "1")
}

// The partitions of a load share its rate, and take turns as far as there are places.
func TestLoadPace(t *testing.T) {
	m := newFakeMeta(t, 2)
	dir := t.TempDir()
	n := startNodeWith(t, m, func(c *config.Config) {
		c.Replica.MinReplicas, c.Replica.LoadConcurrency, c.Replica.LoadRate = 1, 1, 0
		b := config.DefaultBlob()
		b.Path = dir
		c.Blob = map[string]config.Blob{"files": b}
	})
	var parts []*loadTest
	for i := range int32(2) {
		l := &loadTest{group: &group{t: t, meta: m, nodes: []*node{n}, gpid: base.Gpid{AppID: 1, PartitionIndex: i}, pool: newGroupPool(t)}, root: dir, at: time.Now()}
		l.insist("there is a primary", func() bool { return l.serving(0) }, func() { m.propose(l.gpid, metaadmin.CT_ASSIGN_PRIMARY, n.addr, n.addr) })
		parts = append(parts, l)
	}
	c := config.DefaultBlob()
	c.Path = dir
	set := stores.New(map[string]config.Blob{"files": c}, nil)
	defer set.Close()
	store, err := set.Get(t.Context(), "files")
	if err != nil {
		t.Fatal(err)
	}
	w, err := bulkload.Create(t.Context(), store, bulkload.WriterOptions{Place: bulkload.Place{Cluster: "c7", Table: "temp"}, AppID: 1, Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	keys := [2][][]byte{}
	for i := range 4000 {
		k := base.AppendKey(nil, fmt.Appendf(nil, "%08d", i), nil)
		hash, sort, _ := base.SplitKey(k)
		p := base.HashOf(hash, sort) % 2
		keys[p] = append(keys[p], k)
	}
	for p, list := range keys {
		for i, k := range list {
			v := make([]byte, 1000)
			r := rand.New(rand.NewPCG(uint64(p), uint64(i)))
			for j := range v {
				v[j] = byte(r.Uint32())
			}
			if err := w.Add(int32(p), k, pegasus.Value{Data: v}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	request := func(i int) *loading.LoadRequest {
		q := parts[i].request(7, loading.LOAD_PREPARE)
		q.Source.V.PartitionCount, q.Source.V.BytesPerSecond = 2, 1<<20
		return q
	}
	state := func(i int) loading.LoadResponse { return parts[i].send(0, request(i)) }
	// Stopped before it has read much.
	q := request(0)
	q.Source.V.BytesPerSecond = 1 << 20
	began := time.Now()
	parts[0].send(0, q)
	until(t, "the first one reads", func() bool { return state(0).BytesRead > 0 })
	parts[1].send(0, request(1))
	q.Paused = base.Some(true)
	parts[0].send(0, q)
	for range 5 {
		if a := state(1); a.BytesRead > 0 || a.State != loading.LOAD_READING {
			t.Fatalf("both are read: %+v", a)
		}
	}
	if s := parts[0].run(0, "replica.max-concurrent-bulk-load-downloading-count"); !strings.Contains(s, `"1"`) {
		t.Error(s)
	}
	if s := parts[0].run(0, "replica.max-concurrent-bulk-load-downloading-count", "0"); !strings.Contains(s, "ERR") {
		t.Error(s)
	}
	parts[0].run(0, "replica.max-concurrent-bulk-load-downloading-count", "2")
	until(t, "the other one reads", func() bool { return state(1).BytesRead > 0 })
	bytes := int64(0)
	for i := range 2 {
		bytes += parts[i].ends(0, request(i)).BytesTotal
	}
	// What is in the bucket at first comes at once.
	if took := time.Since(began); bytes < 3<<20 || took < time.Duration(bytes-1<<20)*time.Second/(1<<20) {
		t.Errorf("%d bytes in %v", bytes, took)
	}
}

// Files that can't be loaded, and places and disks that don't let them.
func TestLoadFails(t *testing.T) {
	l := newLoadTest(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	load := int64(0)
	for name, c := range map[string]struct {
		change func(dir string, q *loading.LoadRequest)
		code   base.ErrorCode
		bad    bool
		want   string
	}{
		"no files":          {func(dir string, _ *loading.LoadRequest) { os.RemoveAll(dir) }, base.ErrObjectNotFound, true, "not found"},
		"a file is missing": {func(dir string, _ *loading.LoadRequest) { os.Remove(filepath.Join(dir, "0", "00001.sst")) }, base.ErrObjectNotFound, true, "00001.sst"},
		"a file is changed": {func(dir string, _ *loading.LoadRequest) {
			name := filepath.Join(dir, "0", "00001.sst")
			b, _ := os.ReadFile(name)
			b[len(b)/2] ^= 1
			os.Remove(name)
			os.WriteFile(name, b, 0o644)
		}, base.ErrCorruption, true, "00001.sst"},
		"another table":    {func(_ string, q *loading.LoadRequest) { q.Source.V.AppId = 2 }, base.ErrCorruption, true, "id 1"},
		"an unknown place": {func(_ string, q *loading.LoadRequest) { q.Source.V.Provider = "none" }, base.ErrInvalidParameters, false, "none"},
	} {
		load++
		l.files(load, 300)
		q := l.request(load, loading.LOAD_PREPARE)
		c.change(filepath.Join(l.root, fmt.Sprint("c", load), "temp"), q)
		a := l.ends(0, q)
		if a.State != loading.LOAD_FAILED || a.LoadErr != c.code || a.BadFiles != c.bad || !strings.Contains(a.Reason, c.want) {
			t.Errorf("%s: %+v", name, a)
		}
		if b := l.send(0, q); b.State != loading.LOAD_FAILED {
			t.Errorf("%s: it doesn't stay so: %+v", name, b)
		}
		if s := l.sets(0); len(s) != 0 {
			t.Errorf("%s: %v is left", name, s)
		}
		if a := l.tryTake(0, load, "1-0"); a.Err != base.ErrBusy {
			t.Errorf("%s: %+v", name, a)
		}
		if a := l.send(0, l.request(load, loading.LOAD_FORGET)); a.Err != base.ErrOK {
			t.Errorf("%s: %+v", name, a)
		}
	}
	// Requests that can't be obeyed.
	load++
	l.files(load, 10)
	for name, c := range map[string]struct {
		change func(q *loading.LoadRequest)
		code   base.ErrorCode
	}{
		"another cluster":   {func(q *loading.LoadRequest) { q.ClusterId = base.Some("theirs") }, base.ErrClusterNotFound},
		"no number":         {func(q *loading.LoadRequest) { q.LoadId = 0 }, base.ErrInvalidParameters},
		"no source":         {func(q *loading.LoadRequest) { q.Source.Set = false }, base.ErrInvalidParameters},
		"other partitions":  {func(q *loading.LoadRequest) { q.Source.V.PartitionCount = 2 }, base.ErrInvalidState},
		"another partition": {func(q *loading.LoadRequest) { q.Pid.PartitionIndex = 1 }, base.ErrObjectNotFound},
		"an unknown step":   {func(q *loading.LoadRequest) { q.Step = 9 }, base.ErrInvalidParameters},
	} {
		q := l.request(load, loading.LOAD_PREPARE)
		c.change(q)
		if a := l.send(0, q); a.Err != c.code || a.HintMsg == "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	l.setRoom("100")
	until(t, "the disk has too little room", func() bool { return l.nodes[0].srv.replica(l.gpid).dir.Usable() != nil })
	if a := l.ends(0, l.request(load, loading.LOAD_PREPARE)); a.State != loading.LOAD_FAILED || a.LoadErr != base.ErrDiskInsufficient || a.BadFiles {
		t.Errorf("a full disk: %+v", a)
	}
	l.setRoom("0")
	until(t, "the disk has room", func() bool { return l.nodes[0].srv.replica(l.gpid).dir.Usable() == nil })
	l.send(0, l.request(load, loading.LOAD_FORGET))
	l.take(0, load, l.prepare(load, 0))
	l.loaded(load, 10, 0)
}

// A disk that is full or read-only ends a load, which leaves nothing behind, and goes well once the disk does; that a set can't be removed is told.
func TestLoadDiskFails(t *testing.T) {
	for _, x := range []struct {
		errno syscall.Errno
		code  base.ErrorCode
	}{{syscall.ENOSPC, base.ErrDiskInsufficient}, {syscall.EROFS, base.ErrFsInternal}} {
		t.Run(x.errno.Error(), func(t *testing.T) {
			write := plantUnder(t, x.errno, errorfs.OpCreate, errorfs.OpFileWrite)
			remove := plantUnder(t, x.errno, errorfs.OpRemoveAll)
			l := newLoadTest(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
			l.mustPut(0, "loaded5", "before")
			l.files(7, 50)
			dir := l.nodes[0].srv.replica(l.gpid).store.Load().SetDir(7)
			write.Store(&dir)
			a := l.ends(0, l.request(7, loading.LOAD_PREPARE))
			if a.State != loading.LOAD_FAILED || a.LoadErr != x.code || a.BadFiles || !strings.Contains(a.Reason, x.errno.Error()) || !strings.Contains(a.Reason, dir) {
				t.Errorf("%+v", a)
			}
			if s := l.sets(0); len(s) != 0 {
				t.Errorf("%v is left", s)
			}
			l.wantGet(0, "loaded5", "before")
			write.Store(nil)
			forget := l.request(7, loading.LOAD_FORGET)
			if a := l.send(0, forget); a.Err != base.ErrOK {
				t.Errorf("%+v", a)
			}
			l.take(0, 7, l.prepare(7, 0))
			l.loaded(7, 50, 0)
			remove.Store(&dir)
			if a := l.send(0, forget); a.Err != base.ErrFsInternal || !strings.Contains(a.HintMsg, x.errno.Error()) || len(l.sets(0)) != 1 {
				t.Errorf("it can't be removed: %+v, sets: %v", a, l.sets(0))
			}
			remove.Store(nil)
			if a := l.send(0, forget); a.Err != base.ErrOK || len(l.sets(0)) != 0 {
				t.Errorf("%+v, sets: %v", a, l.sets(0))
			}
		})
	}
}

// A source that vanishes or changes while it is read, and a disk that fills up meanwhile, end the load with what is wrong with which file. Nothing is left on the disk, the
// replica serves, and another load goes well.
func TestLoadSourceVanishes(t *testing.T) {
	l := newLoadTest(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	l.mustPut(0, "loaded5", "before")
	live := &backupTest{group: l.group}
	last := func(dir string) string {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(dir, "0", "*.sst"))
		if err != nil || len(names) < 4 {
			t.Fatalf("%v, %v", names, err)
		}
		return names[len(names)-1]
	}
	load := int64(0)
	for _, x := range []struct {
		what   string
		vanish func(dir string) error
		code   base.ErrorCode
		bad    bool
		want   string
	}{
		{"the last file is removed", func(dir string) error { return os.Remove(last(dir)) }, base.ErrObjectNotFound, true, ".sst: "},
		{"the last file is cut", func(dir string) error { return os.Truncate(last(dir), 1000) }, base.ErrCorruption, true, ".sst: "},
		{"the last file is replaced by the first", func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, "0", "00001.sst"))
			return errors.Join(err, os.WriteFile(last(dir), b, 0o644))
		}, base.ErrCorruption, true, ".sst: "},
		{"the files are removed", os.RemoveAll, base.ErrObjectNotFound, true, ".sst: "},
		{"the place is unmounted", func(string) error { return os.Rename(l.root, l.root+".away") }, base.ErrFsInternal, false, "is its disk mounted?"},
		{"the disk is nearly full", func(string) error {
			l.setRoom("100")
			l.ends(0, l.request(load, loading.LOAD_PREPARE)) // while it is slow
			return nil
		}, base.ErrDiskInsufficient, false, "free"},
	} {
		load++
		live.setLive(0, "replica.bulk_load_bytes_per_second", "65536")
		l.filesOf(load, 1500, func(k string) []byte {
			b := make([]byte, 1000)
			rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32s", k)))).Read(b)
			return append([]byte(k), b...)
		})
		q := l.request(load, loading.LOAD_PREPARE)
		until(t, x.what+": it is read", func() bool {
			a := l.send(0, q)
			if a.State != loading.LOAD_READING {
				t.Fatalf("%s: %+v", x.what, a)
			}
			return a.Rows > 0 && a.BytesRead > 0 && a.BytesRead < a.BytesTotal/2
		})
		if s := l.sets(0); len(s) != 1 {
			t.Fatalf("%s: %v", x.what, s)
		}
		if err := x.vanish(filepath.Join(l.root, fmt.Sprint("c", load), "temp")); err != nil {
			t.Fatal(err)
		}
		live.setLive(0, "replica.bulk_load_bytes_per_second", "0")
		a := l.ends(0, q)
		if a.State != loading.LOAD_FAILED || a.LoadErr != x.code || a.BadFiles != x.bad || !strings.Contains(a.Reason, x.want) {
			t.Errorf("%s: %+v", x.what, a)
		}
		t.Logf("%s: %s", x.what, a.Reason)
		if s := l.sets(0); len(s) != 0 {
			t.Errorf("%s: %v is left", x.what, s)
		}
		if a := l.send(0, l.request(load, loading.LOAD_FORGET)); a.Err != base.ErrOK {
			t.Errorf("%s: %+v", x.what, a)
		}
		l.wantGet(0, "loaded5", "before")
		switch err := os.Rename(l.root+".away", l.root); {
		case err == nil || errors.Is(err, fs.ErrNotExist):
		default:
			t.Fatal(err)
		}
	}
	l.setRoom("0")
	until(t, "the disk has room", func() bool { return l.nodes[0].srv.replica(l.gpid).dir.Usable() == nil })
	load++
	l.files(load, 10)
	l.take(0, load, l.prepare(load, 0))
	l.loaded(load, 10, 0)
}

// In a cluster whose members may not know the mutation nothing of it is done.
func TestLoadInOlderCluster(t *testing.T) {
	m := newFakeMeta(t, 1)
	m.become(version.Loads.Since()-1, "ours")
	n := startNode(t, m)
	l := &loadTest{group: &group{t: t, meta: m, nodes: []*node{n}, gpid: base.Gpid{AppID: 1}, pool: newGroupPool(t)}}
	until(t, "the server knows the version", func() bool { return n.srv.clusterVersion() == version.Loads.Since()-1 })
	for _, s := range []loading.LoadStep{loading.LOAD_PREPARE, loading.LOAD_TAKE, loading.LOAD_HOLD} {
		if a := l.send(0, l.request(1, s)); a.Err != base.ErrOperationDisabled || !strings.Contains(a.HintMsg, "upgrade-version") {
			t.Errorf("%v: %+v", s, a)
		}
	}
}

func (l *loadTest) setRoom(percent string) {
	(&backupTest{group: l.group}).setLive(0, "replica.disk_min_available_space_ratio", percent)
}

// A place that doesn't answer holds up neither the answers nor the end of a load, nor that of the server.
func TestLoadFromSilentPlace(t *testing.T) {
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("[default]\naws_access_key_id = a\naws_secret_access_key = b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLoadTest(t, 1, func(c *config.Config) {
		c.Replica.MinReplicas = 1
		b := config.DefaultBlob()
		b.Type, b.Endpoint, b.Bucket, b.Credentials, b.Profile = "s3", "http://"+silent.Addr().String(), "b", keys, "default"
		c.Blob = map[string]config.Blob{"files": b}
	})
	for load := int64(1); load < 3; load++ {
		if a := l.send(0, l.request(load, loading.LOAD_PREPARE)); a.Err != base.ErrOK || a.State != loading.LOAD_READING {
			t.Fatalf("%+v", a)
		}
	}
	l.mustPut(0, "k", "v")
	if a := l.send(0, l.request(2, loading.LOAD_FORGET)); a.Err != base.ErrOK {
		t.Errorf("%+v", a)
	}
	if a := l.send(0, l.request(3, loading.LOAD_PREPARE)); a.State != loading.LOAD_READING {
		t.Errorf("%+v", a)
	}
	began := time.Now()
	l.nodes[0].stop()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the server took %v to stop", took)
	}
	l.nodes[0].start()
}

// What a C++ cluster was given to load is loaded to the same rows.
func TestLoadRecorded(t *testing.T) {
	root := filepath.Join(repo.Golden(t), "bulk-load-source")
	type row struct {
		Partition int32  `json:"partition"`
		Hash      []byte `json:"hash_key"`
		Sort      []byte `json:"sort_key"`
		Value     []byte `json:"value"`
		TTL       bool   `json:"ttl"`
	}
	b, err := os.ReadFile(filepath.Join(root, "expected.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range bytes.Lines(b) {
		var r row
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("%d %x %x %x %v", r.Partition, r.Hash, r.Sort, r.Value, r.TTL))
	}
	m := newFakeMeta(t, 4)
	n := startNodeWith(t, m, func(c *config.Config) {
		c.Replica.MinReplicas = 1
		b := config.DefaultBlob()
		b.Path = root
		c.Blob = map[string]config.Blob{"files": b}
	})
	var got []string
	for i := range int32(4) {
		l := &loadTest{group: &group{t: t, meta: m, nodes: []*node{n}, gpid: base.Gpid{AppID: 1, PartitionIndex: i}, pool: newGroupPool(t)}}
		l.insist("there is a primary", func() bool { return l.serving(0) }, func() { m.propose(l.gpid, metaadmin.CT_ASSIGN_PRIMARY, n.addr, n.addr) })
		q := l.request(1, loading.LOAD_PREPARE)
		q.Source = base.Some(loading.LoadSource{Provider: "files", RootPath: "/bulk_root/", ClusterName: "onebox", AppName: "bl", PartitionCount: 4, AppId: 1,
			TimetagUs: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC).UnixMicro()})
		a := l.ends(0, q)
		if a.State != loading.LOAD_READY {
			t.Fatalf("%+v", a)
		}
		l.take(0, 1, a.Digest)
		dir := filepath.Join(t.TempDir(), "copy")
		store := n.srv.replica(l.gpid).store.Load()
		if n, err := store.CountEstimate(); err != nil || n < a.Rows || n > a.Rows+5 {
			t.Errorf("partition %d has about %d rows, loaded were %d: %v", i, n, a.Rows, err)
		}
		at, err := store.Checkpoint(dir)
		if err != nil {
			t.Fatal(err)
		}
		c, err := rrdb.OpenCopy(rrdb.CopyOptions{Dir: dir, Decree: at, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := c.Rows(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			r := rows.Row()
			hash, sort, _ := base.SplitKey(r.Key)
			got = append(got, fmt.Sprintf("%d %x %x %x %v", i, hash, sort, r.Data, r.ExpireTS > 0))
		}
		if err := errors.Join(rows.Err(), rows.Close(), c.Close()); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
}
