package meta

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/blob/stores"
	files "pegasus/bulkload"
	"pegasus/gen/bulkload"
	"pegasus/gen/duplication"
	"pegasus/gen/layer2"
	"pegasus/gen/loading"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
	"pegasus/rocks/pegasus"
	"pegasus/rpc"
)

// fakeLoads are the sets of a fake replica server.
type fakeLoads struct {
	mu   sync.Mutex
	sets map[base.Gpid]*fakeSet
	// hook answers instead, if it returns true.
	hook  func(q *loading.LoadRequest, r *loading.LoadResponse) bool
	asked []loading.LoadRequest
	mute  bool // it answers nothing
	took  map[base.Gpid]int64
}

type fakeSet struct {
	id     int64
	state  loading.LoadState
	digest string
	decree int64
}

// set returns a server's set of a partition; zero: it has none.
func (f *fakeReplica) setOf(g base.Gpid) fakeSet {
	f.loads.mu.Lock()
	defer f.loads.mu.Unlock()
	if s := f.loads.sets[g]; s != nil {
		return *s
	}
	return fakeSet{}
}

func (f *fakeReplica) hook(h func(q *loading.LoadRequest, r *loading.LoadResponse) bool) {
	f.loads.mu.Lock()
	defer f.loads.mu.Unlock()
	f.loads.hook = h
}

// questions counts what it was asked of a step.
func (f *fakeReplica) questions(step loading.LoadStep) (n int) {
	f.loads.mu.Lock()
	defer f.loads.mu.Unlock()
	for i := range f.loads.asked {
		if f.loads.asked[i].Step == step {
			n++
		}
	}
	return n
}

func (f *fakeReplica) onLoad(req *rpc.Request) {
	q := &loading.LoadRequest{}
	if err := req.DecodeArg(q); err != nil {
		f.c.t.Errorf("load: %v", err)
		req.Drop()
		return
	}
	req.Go(func() {
		f.loads.mu.Lock()
		f.loads.asked = append(f.loads.asked, *q)
		hook, mute := f.loads.hook, f.loads.mute
		f.loads.mu.Unlock()
		r := &loading.LoadResponse{Err: base.ErrOK, State: loading.LOAD_NONE}
		switch {
		case mute:
			req.Drop()
			return
		case hook != nil && hook(q, r):
		default:
			f.load(q, r)
		}
		req.Reply(r)
	})
}

// load does what a member does, at once.
func (f *fakeReplica) load(q *loading.LoadRequest, r *loading.LoadResponse) {
	f.mu.Lock()
	conf := f.confs[q.Pid]
	f.mu.Unlock()
	if q.Step == loading.LOAD_TAKE {
		f.take(q, r, append([]base.RPCAddress{conf.Primary}, conf.Secondaries...))
		return
	}
	f.loads.mu.Lock()
	defer f.loads.mu.Unlock()
	if f.loads.sets == nil {
		f.loads.sets = map[base.Gpid]*fakeSet{}
	}
	s := f.loads.sets[q.Pid]
	if q.Step == loading.LOAD_FORGET {
		delete(f.loads.sets, q.Pid)
		return
	}
	if s == nil || s.id != q.LoadId {
		s = &fakeSet{id: q.LoadId, state: loading.LOAD_READY, digest: fmt.Sprint("digest of ", q.Pid)}
		if q.Paused.V {
			s.state = loading.LOAD_READING
		}
		f.loads.sets[q.Pid] = s
	} else if s.state == loading.LOAD_READING && !q.Paused.V {
		s.state = loading.LOAD_READY
	}
	r.State, r.BytesTotal, r.FilesTotal, r.Decree = s.state, 100, 1, s.decree
	if s.state == loading.LOAD_READY {
		r.BytesRead, r.Rows, r.Digest = 100, 7, s.digest
	}
}

// take has all members take.
func (f *fakeReplica) take(q *loading.LoadRequest, r *loading.LoadResponse, members []base.RPCAddress) {
	if members[0] != f.addr {
		r.Err = base.ErrInvalidState
		return
	}
	f.loads.mu.Lock()
	took := f.loads.took[q.Pid] == q.LoadId
	f.loads.mu.Unlock()
	if took {
		r.State, r.Decree = loading.LOAD_TAKEN, 42
		return
	}
	var sets []*fakeSet
	for _, a := range members {
		m := f.c.replica(a)
		m.loads.mu.Lock()
		s := m.loads.sets[q.Pid]
		lacks := s == nil || s.id != q.LoadId || s.state != loading.LOAD_READY && s.state != loading.LOAD_TAKEN
		differs := !lacks && s.digest != q.Digest.V
		m.loads.mu.Unlock()
		if lacks {
			r.Err, r.HintMsg = base.ErrBusy, fmt.Sprintf("%v lacks the set", a)
			return
		}
		if differs {
			r.Err, r.HintMsg = base.ErrInconsistentState, fmt.Sprintf("%v has other rows", a)
			return
		}
		sets = append(sets, s)
	}
	for i, s := range sets {
		m := f.c.replica(members[i])
		m.loads.mu.Lock()
		s.state, s.decree = loading.LOAD_TAKEN, 42
		if m.loads.took == nil {
			m.loads.took = map[base.Gpid]int64{}
		}
		m.loads.took[q.Pid] = q.LoadId
		m.loads.mu.Unlock()
	}
	r.State, r.Decree, r.HeldMs = loading.LOAD_TAKEN, 42, 3
}

// loadCluster is a cluster with a table, and files for it.
type loadCluster struct {
	*cluster
	dir   string
	table int32
}

const loadParts = 3

func newLoadCluster(t *testing.T, metas, replicas int, change func(*config.Config)) *loadCluster {
	t.Helper()
	return newLoadClusterAt(t, 0, metas, replicas, change)
}

func newLoadClusterAt(t *testing.T, begin version.Version, metas, replicas int, change func(*config.Config)) *loadCluster {
	t.Helper()
	l := &loadCluster{dir: t.TempDir()}
	l.cluster = newClusterAt(t, begin, metas, replicas, func(c *config.Config) {
		steady(c)
		c.Blob = l.blobs()
		if change != nil {
			change(c)
		}
	})
	l.table = l.mustCreate("shop", loadParts, 3)
	l.whole("shop", 3)
	l.write("root", files.Info{AppID: l.table, AppName: "shop", Partitions: loadParts})
	return l
}

func (l *loadCluster) blobs() map[string]config.Blob {
	b := config.DefaultBlob()
	b.Path, b.RetryTime = l.dir, config.Duration(time.Second)
	return map[string]config.Blob{"local": b}
}

// write writes files of a table.
func (l *loadCluster) write(root string, info files.Info) {
	l.t.Helper()
	set := stores.New(l.blobs(), nil)
	defer set.Close()
	store, err := set.Get(context.Background(), "local")
	if err != nil {
		l.t.Fatal(err)
	}
	w, err := files.Create(context.Background(), store, files.WriterOptions{Place: files.Place{Root: root, Cluster: "prod", Table: info.AppName}, AppID: info.AppID, Partitions: info.Partitions})
	if err != nil {
		l.t.Fatal(err)
	}
	for p, n := int32(0), 0; p < info.Partitions; n++ {
		key := base.AppendKey(nil, fmt.Append(nil, "k", n), nil)
		if !base.InPartition(base.HashOf(fmt.Append(nil, "k", n), nil), p, info.Partitions) {
			continue
		}
		if err := w.Add(p, key, pegasus.Value{Data: []byte("v")}); err != nil {
			l.t.Fatal(err)
		}
		p, n = p+1, 0
	}
	if _, err := w.Close(); err != nil {
		l.t.Fatal(err)
	}
}

// put stores a file, with its checksum beside it.
func (l *loadCluster) put(name string, b []byte) error {
	set := stores.New(l.blobs(), nil)
	defer set.Close()
	store, err := set.Get(context.Background(), "local")
	if err == nil {
		_, err = store.PutBytes(context.Background(), name, b)
	}
	return err
}

// start begins a load; a hint tells that the leader itself answered.
func (l *loadCluster) start(change func(*bulkload.StartBulkLoadRequest)) (r bulkload.StartBulkLoadResponse) {
	l.t.Helper()
	q := &bulkload.StartBulkLoadRequest{AppName: "shop", ClusterName: "prod", FileProviderType: "local", RemoteRootPath: "/root/"}
	if change != nil {
		change(q)
	}
	until(l.t, "a leader that is ready", func() bool {
		r = bulkload.StartBulkLoadResponse{}
		err := l.call(l.leader().name, base.RPCStartBulkLoad, rpc.THFT0, q, &r)
		return err == nil && r.Err != base.ErrForwardToOthers && (r.Err != base.ErrServiceNotActive || r.HintMsg != "")
	})
	return r
}

func (l *loadCluster) mustStart() {
	l.t.Helper()
	if r := l.start(nil); r.Err != base.ErrOK {
		l.t.Fatalf("%+v", r)
	}
}

func (l *loadCluster) control(do bulkload.BulkLoadControlType) (r bulkload.ControlBulkLoadResponse) {
	l.t.Helper()
	l.ask(base.RPCControlBulkLoad, &bulkload.ControlBulkLoadRequest{AppName: "shop", Type: do}, &r)
	return r
}

// status asks how far the load is.
func (l *loadCluster) status() (r bulkload.QueryBulkLoadResponse) {
	l.t.Helper()
	until(l.t, "how far the load is", func() bool {
		r = bulkload.QueryBulkLoadResponse{}
		err := l.call(l.leader().name, base.RPCQueryBulkLoadStatus, rpc.RDSN, &bulkload.QueryBulkLoadRequest{AppName: "shop"}, &r)
		return err == nil && r.Err != base.ErrForwardToOthers && r.Err != base.ErrServiceNotActive
	})
	return r
}

// ended waits until a load has ended with that status.
func (l *loadCluster) ended(want bulkload.BulkLoadStatus) (r bulkload.QueryBulkLoadResponse) {
	l.t.Helper()
	until(l.t, fmt.Sprintf("the load ends with %v", want), func() bool {
		r = l.status()
		return !r.IsBulkLoading.V
	})
	if r.AppStatus != want {
		l.t.Fatalf("it ends with %+v", r)
	}
	for _, f := range l.reps {
		if f.isUp() {
			for p := range int32(loadParts) {
				if s := f.setOf(base.Gpid{AppID: l.table, PartitionIndex: p}); s.id != 0 {
					l.t.Errorf("%s still has a set of partition %d: %+v", f.name, p, s)
				}
			}
		}
	}
	return r
}

// all waits until each partition has that status.
func (l *loadCluster) all(want bulkload.BulkLoadStatus) {
	l.t.Helper()
	until(l.t, fmt.Sprintf("all partitions are %v", want), func() bool {
		return !slices.ContainsFunc(l.status().PartitionsStatus, func(s bulkload.BulkLoadStatus) bool { return s != want })
	})
}

// hooks sets the hook of all servers.
func (l *loadCluster) hooks(h func(f *fakeReplica, q *loading.LoadRequest, r *loading.LoadResponse) bool) {
	for _, f := range l.reps {
		if h == nil {
			f.hook(nil)
			continue
		}
		f.hook(func(q *loading.LoadRequest, r *loading.LoadResponse) bool { return h(f, q, r) })
	}
}

func (l *loadCluster) primary(p int) *fakeReplica {
	return l.replica(l.query("shop").Partitions[p].Primary)
}

// reading is a hook under which nothing becomes ready.
func reading(_ *fakeReplica, q *loading.LoadRequest, r *loading.LoadResponse) bool {
	if q.Step == loading.LOAD_PREPARE {
		r.State, r.BytesTotal, r.BytesRead = loading.LOAD_READING, 200, 100
		return true
	}
	return false
}

// A load runs to its end: members are asked in the protocol's order with what they need, the answers have upstream's form, the result stays until it is cleared.
func TestBulkLoad(t *testing.T) {
	l := newLoadCluster(t, 1, 3, nil)
	r := l.status()
	if r.Err != base.ErrOK || r.AppStatus != bulkload.BLS_INVALID || len(r.PartitionsStatus) != loadParts || len(r.BulkLoadStates) != loadParts || len(r.HpBulkLoadStates.V) != loadParts ||
		r.MaxReplicaCount != 3 || r.IsBulkLoading != base.Some(false) || r.HintMsg.V != "app(shop) is not during bulk load, return last time result" {
		t.Errorf("before: %+v", r)
	}
	l.hooks(reading)
	if r := l.start(func(q *bulkload.StartBulkLoadRequest) { q.BytesPerSecond = base.Some[int64](-1) }); r.Err != base.ErrInvalidParameters {
		t.Errorf("a negative rate: %+v", r)
	}
	if r := l.start(func(q *bulkload.StartBulkLoadRequest) { q.BytesPerSecond = base.Some[int64](12345) }); r.Err != base.ErrOK {
		t.Fatalf("%+v", r)
	}
	left := []loading.LoadLeft{{Pid: base.Gpid{AppID: l.table}, LoadId: 1}, {Pid: base.Gpid{AppID: 99}, LoadId: 7}}
	until(t, "a member is asked", func() bool { return l.reps[0].questions(loading.LOAD_PREPARE) > 0 })
	l.reps[0].loads.mu.Lock()
	id := l.reps[0].loads.asked[0].LoadId
	l.reps[0].loads.mu.Unlock()
	present := loading.LoadLeft{Pid: base.Gpid{AppID: l.table, PartitionIndex: 1}, LoadId: id}
	_, own := l.leader().srv.fsm.cluster()
	gone := func() (r loading.LoadsEndedResponse) {
		l.ask(base.RPCLoadsEnded, &loading.LoadsEndedRequest{Left: append(left, present), ClusterId: base.NonZero(own)}, &r)
		return r
	}
	var other loading.LoadsEndedResponse
	l.ask(base.RPCLoadsEnded, &loading.LoadsEndedRequest{Left: left, ClusterId: base.Some("theirs")}, &other)
	if other.Err != base.ErrClusterNotFound || len(other.Ended) > 0 || other.ClusterId.V != own {
		t.Errorf("a server of another cluster: %+v", other)
	}
	if r := gone(); r.Err != base.ErrOK || !slices.Equal(r.Ended, left) {
		t.Errorf("which have ended, while it goes on: %+v", r)
	}
	until(t, "all members are heard", func() bool {
		r = l.status()
		n := 0
		for _, m := range r.BulkLoadStates {
			for _, is := range m {
				if is.Val.DownloadProgress.V == 49 && is.Val.DownloadStatus.V == base.ErrOK {
					n++
				}
			}
		}
		return n == 3*loadParts && len(r.HpBulkLoadStates.V[0]) == 3
	})
	if r.BytesRead.V != 100*3*loadParts || r.BytesTotal.V != 200*3*loadParts || r.SecondsLeft.Set {
		t.Errorf("how much is read: %+v", r)
	}
	if r.AppStatus != bulkload.BLS_DOWNLOADING || r.PartitionsStatus[0] != bulkload.BLS_DOWNLOADING || !r.IsBulkLoading.V || r.HintMsg.Set {
		t.Errorf("while it reads: %+v", r)
	}
	var apps metaadmin.ConfigurationListAppsResponse
	l.ask(base.RPCListApps, &metaadmin.ConfigurationListAppsRequest{Status: layer2.AS_AVAILABLE}, &apps)
	if len(apps.Infos) != 1 || !apps.Infos[0].IsBulkLoading.V {
		t.Errorf("the table: %+v", apps)
	}
	l.hooks(nil)
	r = l.ended(bulkload.BLS_SUCCEED)
	if r.Err != base.ErrOK || r.PartitionsStatus[2] != bulkload.BLS_SUCCEED || len(r.BulkLoadStates[1]) != 3 || !r.BulkLoadStates[1][0].Val.IsCleanedUp.V ||
		r.HintMsg.V != "app(shop) is not during bulk load, return last time result" {
		t.Errorf("at the end: %+v", r)
	}
	if r := gone(); !slices.Equal(r.Ended, append(left, present)) {
		t.Errorf("which have ended, later: %+v", r)
	}
	takes := 0
	for _, f := range l.reps {
		f.loads.mu.Lock()
		first := f.loads.asked[0]
		f.loads.mu.Unlock()
		s := first.Source.V
		if first.Step != loading.LOAD_PREPARE || s.Provider != "local" || s.RootPath != "root" || s.ClusterName != "prod" || s.AppName != "shop" || s.PartitionCount != loadParts ||
			s.AppId != l.table || s.BytesPerSecond != 12345 || s.IngestBehind || s.TimetagUs <= 0 || first.LoadId <= 0 || first.Paused.V || first.ClusterId.V == "" {
			t.Errorf("%s was asked %+v", f.name, first)
		}
		takes += f.questions(loading.LOAD_TAKE)
	}
	if takes != loadParts {
		t.Errorf("%d orders to take", takes)
	}
	var c bulkload.ClearBulkLoadStateResponse
	l.ask(base.RPCClearBulkLoad, &bulkload.ClearBulkLoadStateRequest{AppName: "shop"}, &c)
	if c.Err != base.ErrOK || c.HintMsg != "clear app(shop) bulk load result succeed, remove bulk load dir succeed" || l.status().AppStatus != bulkload.BLS_INVALID {
		t.Errorf("cleared: %+v", c)
	}
	for code, q := range map[string]struct {
		do  func() base.ErrorCode
		err base.ErrorCode
	}{
		"control":      {func() base.ErrorCode { return l.control(bulkload.BLC_PAUSE).Err }, base.ErrInactiveState},
		"what is that": {func() base.ErrorCode { return l.control(9).Err }, base.ErrInvalidParameters},
	} {
		if err := q.do(); err != q.err {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// A leader that is deposed at any step leaves a load that the next one goes on with; each partition takes once.
func TestBulkLoadLeaders(t *testing.T) {
	l := newLoadCluster(t, 3, 3, nil)
	depose := func(step string) {
		t.Helper()
		was := l.leader()
		l.stopMeta(was)
		until(t, "another meta leads, "+step, func() bool { return l.leader() != was })
		l.startMeta(was, nil)
	}
	l.hooks(reading)
	l.mustStart()
	l.all(bulkload.BLS_DOWNLOADING)
	depose("while members read")
	busy := func(step loading.LoadStep) func(*fakeReplica, *loading.LoadRequest, *loading.LoadResponse) bool {
		return func(f *fakeReplica, q *loading.LoadRequest, r *loading.LoadResponse) bool {
			if q.Step == step {
				r.Err, r.HintMsg = base.ErrBusy, "not now"
				return true
			}
			return false
		}
	}
	l.hooks(busy(loading.LOAD_TAKE))
	until(t, "the load takes, and says what it waits for", func() bool {
		r := l.status()
		return r.AppStatus == bulkload.BLS_INGESTING && strings.Contains(r.HintMsg.V, "ERR_BUSY: not now")
	})
	depose("before any took")
	// One took, and its answer got lost.
	one := base.Gpid{AppID: l.table, PartitionIndex: 1}
	l.hooks(func(f *fakeReplica, q *loading.LoadRequest, r *loading.LoadResponse) bool {
		if q.Step != loading.LOAD_TAKE {
			return false
		}
		if q.Pid == one {
			f.load(q, &loading.LoadResponse{})
		}
		r.Err = base.ErrTimeout
		return true
	})
	until(t, "one took", func() bool { return l.primary(1).setOf(one).state == loading.LOAD_TAKEN })
	depose("when one took and nobody knows")
	l.hooks(busy(loading.LOAD_FORGET))
	until(t, "all took", func() bool { return l.status().AppStatus == bulkload.BLS_SUCCEED })
	depose("when all took")
	if r := l.status(); !r.IsBulkLoading.V || r.AppStatus != bulkload.BLS_SUCCEED {
		t.Errorf("before it is forgotten: %+v", r)
	}
	l.hooks(nil)
	l.ended(bulkload.BLS_SUCCEED)
	depose("when it has ended")
	if r := l.status(); r.IsBulkLoading.V || r.AppStatus != bulkload.BLS_SUCCEED {
		t.Errorf("later: %+v", r)
	}
}

// A member that is lost between the steps is replaced, and its successor prepared; then the load goes on. What is silent is asked again.
func TestBulkLoadMembers(t *testing.T) {
	l := newLoadCluster(t, 1, 4, func(c *config.Config) { mortal(c); c.Meta.ReplaceWait = config.Duration(200 * time.Millisecond) })
	l.hooks(func(f *fakeReplica, q *loading.LoadRequest, r *loading.LoadResponse) bool {
		if q.Step == loading.LOAD_TAKE {
			r.Err, r.HintMsg = base.ErrBusy, "not now"
			return true
		}
		return false
	})
	l.mustStart()
	until(t, "it takes", func() bool { return l.status().AppStatus == bulkload.BLS_INGESTING })
	lost := l.replica(l.query("shop").Partitions[0].Secondaries[0])
	lost.kill()
	p := l.whole("shop", 3).Partitions
	for i := range p {
		if p[i].Primary == lost.addr || slices.Contains(p[i].Secondaries, lost.addr) {
			t.Fatalf("%+v still has %v", p[i], lost.addr)
		}
	}
	mute := l.replica(p[0].Primary) // a primary: without it its partition can't take the set, however quick the others are
	mute.loads.mu.Lock()
	mute.loads.mute = true
	mute.loads.mu.Unlock()
	l.hooks(nil)
	until(t, "it waits for who is silent", func() bool {
		r := l.status()
		return r.AppStatus == bulkload.BLS_INGESTING && strings.Contains(r.HintMsg.V, mute.name)
	})
	mute.loads.mu.Lock()
	mute.loads.mute = false
	mute.loads.mu.Unlock()
	l.ended(bulkload.BLS_SUCCEED)
	for i := range p {
		for _, a := range append([]base.RPCAddress{p[i].Primary}, p[i].Secondaries...) {
			if l.replica(a).questions(loading.LOAD_PREPARE) == 0 {
				t.Errorf("%v was never asked to prepare", a)
			}
		}
	}
}

// What can't succeed fails with the partition, the server and the reason, and leaves nothing behind; what took its rows by then is told.
func TestBulkLoadFails(t *testing.T) {
	l := newLoadCluster(t, 1, 3, func(c *config.Config) { c.Meta.LoadTries, c.Meta.LoadsAtOnce = 2, 1 })
	last := base.Gpid{AppID: l.table, PartitionIndex: loadParts - 1}
	fails := func(q *loading.LoadRequest, r *loading.LoadResponse, bad bool) bool {
		if q.Step != loading.LOAD_PREPARE || q.Pid != last {
			return false
		}
		r.State, r.LoadErr, r.Reason, r.BadFiles = loading.LOAD_FAILED, base.ErrFsInternal, "file 00001.sst: torn", bad
		return true
	}
	for _, x := range []struct {
		what, reason string
		err          base.ErrorCode
		taken        int
		hook         func(f *fakeReplica, q *loading.LoadRequest, r *loading.LoadResponse) bool
	}{
		{"bad files", "partition 2 on 127.0.0.3:", base.ErrFsInternal, 0, func(_ *fakeReplica, q *loading.LoadRequest, r *loading.LoadResponse) bool { return fails(q, r, true) }},
		{"failures", "partition 2 failed 2 times, the last time on 127.0.0.3:", base.ErrFsInternal, 0,
			func(f *fakeReplica, q *loading.LoadRequest, r *loading.LoadResponse) bool {
				return f == l.reps[0] && fails(q, r, false)
			}},
		{"other sets", "another set of rows", base.ErrCorruption, 0, func(f *fakeReplica, q *loading.LoadRequest, r *loading.LoadResponse) bool {
			if f == l.reps[0] && q.Step == loading.LOAD_PREPARE {
				r.State, r.Digest = loading.LOAD_READY, "another"
				return true
			}
			return false
		}},
		{"other sets, as the primary says", "has other rows", base.ErrCorruption, 0, func(_ *fakeReplica, q *loading.LoadRequest, r *loading.LoadResponse) bool {
			if q.Step == loading.LOAD_TAKE {
				r.Err, r.HintMsg = base.ErrInconsistentState, "a member has other rows"
				return true
			}
			return false
		}},
		{"one that can't take", "partition 2 failed 2 times", base.ErrFsInternal, 2, func(_ *fakeReplica, q *loading.LoadRequest, r *loading.LoadResponse) bool {
			if q.Step == loading.LOAD_TAKE && q.Pid == last {
				r.State, r.LoadErr, r.Reason = loading.LOAD_FAILED, base.ErrFsInternal, "no space left"
				return true
			}
			return false
		}},
		{"a member that took what nobody ordered", "wasn't told to", base.ErrCorruption, 0, func(_ *fakeReplica, q *loading.LoadRequest, r *loading.LoadResponse) bool {
			if q.Step == loading.LOAD_PREPARE && q.Pid == last {
				r.State, r.Decree = loading.LOAD_TAKEN, 5
				return true
			}
			return false
		}},
	} {
		t.Run(x.what, func(t *testing.T) {
			l.hooks(x.hook)
			l.mustStart()
			r := l.ended(bulkload.BLS_FAILED)
			l.hooks(nil)
			taken := 0
			for _, s := range r.PartitionsStatus {
				if s == bulkload.BLS_SUCCEED {
					taken++
				} else if s != bulkload.BLS_FAILED {
					t.Errorf("a partition is %v", s)
				}
			}
			told := "no partition took rows, the table is as it was"
			if x.taken > 0 {
				told = "partitions 0-1 took their rows and keep them, the other 1 are as they were"
			}
			if r.Err != x.err || taken != x.taken || !strings.Contains(r.HintMsg.V, x.reason) || !strings.Contains(r.HintMsg.V, told) {
				t.Errorf("%+v", r)
			}
		})
	}
	l.mustStart()
	l.ended(bulkload.BLS_SUCCEED)
}

// A load is paused, goes on, and is canceled; once it takes only by force, and what took keeps its rows.
func TestBulkLoadControl(t *testing.T) {
	l := newLoadCluster(t, 1, 3, func(c *config.Config) { c.Meta.LoadsAtOnce = 1 })
	l.hooks(reading)
	l.mustStart()
	if r := l.control(bulkload.BLC_RESTART); r.Err != base.ErrInvalidState || r.HintMsg.V != "can not restart bulk load for app(shop) with status(replication::bulk_load_status::BLS_DOWNLOADING)" {
		t.Errorf("%+v", r)
	}
	if r := l.control(bulkload.BLC_PAUSE); r.Err != base.ErrOK || r.HintMsg.Set {
		t.Errorf("%+v", r)
	}
	until(t, "it stands still", func() bool {
		r := l.status()
		return r.AppStatus == bulkload.BLS_PAUSED && r.PartitionsStatus[0] == bulkload.BLS_PAUSED && len(r.BulkLoadStates[0]) == 3 && r.BulkLoadStates[0][0].Val.IsPaused.V
	})
	for _, f := range l.reps {
		f.loads.mu.Lock()
		if q := f.loads.asked[len(f.loads.asked)-1]; !q.Paused.V {
			t.Errorf("%s was asked %+v", f.name, q)
		}
		f.loads.mu.Unlock()
	}
	if r := l.control(bulkload.BLC_RESTART); r.Err != base.ErrOK || l.status().AppStatus != bulkload.BLS_DOWNLOADING {
		t.Errorf("%+v", r)
	}
	if r := l.control(bulkload.BLC_CANCEL); r.Err != base.ErrOK {
		t.Errorf("%+v", r)
	}
	if r := l.ended(bulkload.BLS_CANCELED); r.Err != base.ErrOK || r.PartitionsStatus[1] != bulkload.BLS_CANCELED || !strings.Contains(r.HintMsg.V, "the table is as it was") {
		t.Errorf("%+v", r)
	}

	// The first partition took, the second one took and nobody heard so, the third one waits.
	second := base.Gpid{AppID: l.table, PartitionIndex: 1}
	l.hooks(func(f *fakeReplica, q *loading.LoadRequest, r *loading.LoadResponse) bool {
		if q.Step == loading.LOAD_TAKE && q.Pid == second && f.setOf(second).id != 0 {
			f.load(q, &loading.LoadResponse{})
			r.Err = base.ErrTimeout
			return true
		}
		return false
	})
	l.mustStart()
	until(t, "the second one took", func() bool { return l.primary(1).setOf(second).state == loading.LOAD_TAKEN })
	if r := l.control(bulkload.BLC_CANCEL); r.Err != base.ErrInvalidState || !strings.Contains(r.HintMsg.V, "can not cancel bulk load for app(shop) with status(replication::bulk_load_status::BLS_INGESTING)") {
		t.Errorf("%+v", r)
	}
	if r := l.control(bulkload.BLC_FORCE_CANCEL); r.Err != base.ErrOK {
		t.Errorf("%+v", r)
	}
	r := l.ended(bulkload.BLS_CANCELED)
	if want := []bulkload.BulkLoadStatus{bulkload.BLS_SUCCEED, bulkload.BLS_SUCCEED, bulkload.BLS_CANCELED}; !slices.Equal(r.PartitionsStatus, want) ||
		!strings.Contains(r.HintMsg.V, "it was canceled; partitions 0-1 took their rows and keep them, the other 1 are as they were") {
		t.Errorf("%+v", r)
	}
}

// What can't be loaded is refused with upstream's code and words, and what to do; nothing is begun.
func TestBulkLoadRefused(t *testing.T) {
	l := newLoadCluster(t, 1, 3, nil)
	good := files.Info{AppID: l.table, AppName: "shop", Partitions: loadParts}
	edit := func(root, file string, f func([]byte) []byte) string {
		t.Helper()
		l.write(root, good)
		path := filepath.Join(l.dir, root, "prod", "shop", file)
		b, err := os.ReadFile(path)
		if err == nil {
			if b = f(b); b == nil {
				err = os.Remove(path)
			} else {
				err = l.put(filepath.Join(root, "prod", "shop", file), b)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
	swap := func(a, b string) func([]byte) []byte {
		return func(was []byte) []byte {
			is := strings.Replace(string(was), a, b, 1)
			if is == string(was) {
				t.Fatalf("%q isn't in %s", a, was)
			}
			return []byte(is)
		}
	}
	cut := func(b []byte) []byte { return b[:len(b)-1] }
	gone := func([]byte) []byte { return nil }
	place := func(root string) func(*bulkload.StartBulkLoadRequest) {
		return func(q *bulkload.StartBulkLoadRequest) { q.RemoteRootPath = root }
	}
	for _, x := range []struct {
		what   string
		change func(*bulkload.StartBulkLoadRequest)
		err    base.ErrorCode
		hint   string
	}{
		{"no table", func(q *bulkload.StartBulkLoadRequest) { q.AppName = "nosuch" }, base.ErrAppNotExist, "app not existed is "},
		{"no place", func(q *bulkload.StartBulkLoadRequest) { q.FileProviderType = "nosuch" }, base.ErrInvalidParameters, "invalid file_provider: "},
		{"a bad name", func(q *bulkload.StartBulkLoadRequest) { q.ClusterName = "../x" }, base.ErrInvalidParameters, "invalid remote_root_path, cluster_name or app_name"},
		{"no files", place("nosuch"), base.ErrObjectNotFound, "read bulk_load_info failed: "},
		{"rubbish", place(edit("rubbish", "bulk_load_info", func([]byte) []byte { return []byte("{") })), base.ErrCorruption, "bulk_load_info damaged: "},
		{"another id", place(edit("id", "bulk_load_info", swap(fmt.Sprintf(`"app_id":%d`, l.table), `"app_id":77`))), base.ErrInconsistentState, "app_id or partition_count is inconsistent: "},
		{"another count", place(edit("count", "bulk_load_info", swap(`"partition_count":3`, `"partition_count":6`))), base.ErrInconsistentState, "app_id or partition_count is inconsistent: "},
		{"another name", place(edit("name", "bulk_load_info", swap(`"shop"`, `"other"`))), base.ErrInconsistentState, "app_name is inconsistent: "},
		{"no metadata", place(edit("nometa", "1/bulk_load_metadata", gone)), base.ErrObjectNotFound, "check partition 1 failed: "},
		{"rubbish as metadata", place(edit("meta", "2/bulk_load_metadata", cut)), base.ErrCorruption, "check partition 2 failed: "},
		{"nothing in a partition", place(edit("empty", "0/bulk_load_metadata", func([]byte) []byte { return []byte(`{"files":[],"file_total_size":0}`) })), base.ErrCorruption, "check partition 0 failed: "},
		{"no file", place(edit("nofile", "1/00001.sst", gone)), base.ErrObjectNotFound, "check partition 1 failed: "},
		{"a torn file", place(edit("torn", "1/00001.sst", cut)), base.ErrCorruption, "check partition 1 failed: "},
		{"an unknown format", place(edit("format", "0/00001.sst", func(b []byte) []byte { return append(b[:len(b)-8], "\x00\x00\x00\x00\x00\x00\x00\x00"...) })), "", "check partition 0 failed: "},
		{"behind, and not prepared for that", func(q *bulkload.StartBulkLoadRequest) { q.IngestBehind = true }, base.ErrInconsistentState, "inconsistent ingestion behind option: set rocksdb.allow_ingest_behind=true"},
	} {
		r := l.start(x.change)
		if r.Err != x.err && (x.err != "" || r.Err == base.ErrOK) || !strings.HasPrefix(r.HintMsg, x.hint) {
			t.Errorf("%s: %+v", x.what, r)
		}
	}
	if r := l.status(); r.AppStatus != bulkload.BLS_INVALID || r.IsBulkLoading.V {
		t.Errorf("something was begun: %+v", r)
	}
	for _, f := range l.reps {
		if f.questions(loading.LOAD_PREPARE) > 0 {
			t.Error("somebody was asked")
		}
	}
	// With the setting members are told to keep what is there.
	var e metaadmin.ConfigurationUpdateAppEnvResponse
	l.ask(base.RPCUpdateAppEnv, &metaadmin.ConfigurationUpdateAppEnvRequest{AppName: "shop", Op: metaadmin.APP_ENV_OP_SET, Keys: base.Some([]string{"rocksdb.allow_ingest_behind"}), Values: base.Some([]string{"true"})}, &e)
	if e.Err != base.ErrOK {
		t.Fatal(e)
	}
	if r := l.start(func(q *bulkload.StartBulkLoadRequest) { q.IngestBehind = true }); r.Err != base.ErrOK {
		t.Fatalf("%+v", r)
	}
	l.ended(bulkload.BLS_SUCCEED)
	for _, f := range l.reps {
		f.loads.mu.Lock()
		if len(f.loads.asked) == 0 || !f.loads.asked[0].Source.V.IngestBehind {
			t.Errorf("%s isn't told", f.name)
		}
		f.loads.mu.Unlock()
	}
}

// While a table is loading nothing else is begun with it, nor it dropped, nor its replicas moved. An older cluster loads nothing.
func TestBulkLoadExcludes(t *testing.T) {
	l := newLoadCluster(t, 1, 3, func(c *config.Config) {
		c.Meta.PartitionSplit = true
		c.Cluster.ID = 1
		c.Clusters = map[string]config.Remote{"east": {ID: 2, MetaServers: []string{"127.0.0.1:1"}}}
		c.Meta.BalanceInterval = config.Duration(100 * time.Millisecond)
	})
	l.hooks(reading)
	l.mustStart()
	if r := l.start(nil); r.Err != base.ErrBusy || r.HintMsg != "app(shop) is already executing bulk load" {
		t.Errorf("a second load: %+v", r)
	}
	var c bulkload.ClearBulkLoadStateResponse
	l.ask(base.RPCClearBulkLoad, &bulkload.ClearBulkLoadStateRequest{AppName: "shop"}, &c)
	if c.Err != base.ErrInvalidState || c.HintMsg != "app(shop) is executing bulk load" {
		t.Errorf("clear: %+v", c)
	}
	var drop metaadmin.ConfigurationDropAppResponse
	l.ask(base.RPCDropApp, &metaadmin.ConfigurationDropAppRequest{AppName: "shop"}, &drop)
	if drop.Err != base.ErrBusy {
		t.Errorf("drop: %+v", drop)
	}
	if r := l.startSplit("shop", 2*loadParts); r.Err != base.ErrInvalidState || !strings.Contains(r.HintMsg, "being loaded") {
		t.Errorf("split: %+v", r)
	}
	var dup duplication.DuplicationAddResponse
	l.ask(base.RPCAddDuplication, &duplication.DuplicationAddRequest{AppName: "shop", RemoteClusterName: "east"}, &dup)
	if dup.Err != base.ErrBusy || !strings.Contains(dup.Hint.V, "being loaded") {
		t.Errorf("duplicate: %+v", dup)
	}
	before := l.query("shop").Partitions
	added := l.addReplica()
	l.level(metaadmin.MetaFunctionLevel(state.LevelLively))
	l.reported()
	for _, p := range before {
		if p.Primary == added.addr {
			t.Fatal("it was there before")
		}
	}
	if load := func() int {
		n := 0
		for _, p := range l.query("shop").Partitions {
			if slices.Contains(append([]base.RPCAddress{p.Primary}, p.Secondaries...), added.addr) {
				n++
			}
		}
		return n
	}; load() != 0 {
		t.Error("replicas are moved while files are loaded")
	} else {
		l.hooks(nil)
		added.hook(nil)
		l.ended(bulkload.BLS_SUCCEED)
		until(t, "then they are moved", func() bool { return load() > 0 })
	}
	l.ask(base.RPCDropApp, &metaadmin.ConfigurationDropAppRequest{AppName: "shop"}, &drop)
	if drop.Err != base.ErrOK {
		t.Errorf("drop: %+v", drop)
	}
}

func TestBulkLoadVersion(t *testing.T) {
	l := newLoadClusterAt(t, version.Loads.Since()-1, 1, 3, nil)
	if r := l.start(nil); r.Err != base.ErrServiceNotActive || !strings.Contains(r.HintMsg, "pegasus meta upgrade-version") {
		t.Errorf("%+v", r)
	}
}

// The pages begin a load, and show it, as upstream's do.
func TestBulkLoadPages(t *testing.T) {
	l := newLoadCluster(t, 1, 3, nil)
	get := func(r *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(r.StatusCode, " ", strings.TrimSpace(string(b)))
	}
	url := "http://" + l.leader().name + "/meta/app/"
	for _, x := range []struct{ body, want string }{
		{`{`, "400 invalid request structure"},
		{`{"app_name":"shop"}`, "400 cluster_name should not be empty"},
		{`{"app_name":"shop","cluster_name":"prod","file_provider_type":"local"}`, "400 remote_root_path should not be empty"},
		{`{"app_name":"nosuch","cluster_name":"prod","file_provider_type":"local","remote_root_path":"root"}`, `200 {"error":"ERR_APP_NOT_EXIST","hint_msg":"app not existed is "}`},
		{`{"app_name":"shop","cluster_name":"prod","file_provider_type":"local","remote_root_path":"root"}`, `200 {"error":"ERR_OK","hint_msg":""}`},
	} {
		if got := get(http.Post(url+"start_bulk_load", "application/json", strings.NewReader(x.body))); got != x.want {
			t.Errorf("%s: %s", x.body, got)
		}
	}
	l.ended(bulkload.BLS_SUCCEED)
	if got := get(http.Get(url + "query_bulk_load?name=shop")); !strings.HasPrefix(got, `200 {"error":"ERR_OK","app_status":"BLS_SUCCEED"`) {
		t.Error(got)
	}
	if got := get(http.Get(url + "query_bulk_load?name=nosuch")); got != `200 {"error":"ERR_APP_NOT_EXIST","app_status":""}` {
		t.Error(got)
	}
}
