package replica

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/tbin"
	"pegasus/base/version"
	"pegasus/gen/dupinternal"
	"pegasus/gen/metaadmin"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
)

// sentPut is a put that another cluster sends.
func sentPut(at time.Time, cluster int8, k, v string) dupinternal.DuplicateEntry {
	raw := tbin.AppendField(nil, tbin.Struct, 1)
	raw = tbin.AppendStop((&idl.UpdateRequest{Key: rowKey(k), Value: []byte(v)}).AppendThrift(raw))
	return dupinternal.DuplicateEntry{Timestamp: base.Some(at.UnixMicro()), TaskCode: base.Some(base.TaskCode(base.RPCPut)),
		RawMessage: base.Some(raw), ClusterId: base.Some(cluster), VerifyTimetag: base.Some(true)}
}

func (g *group) duplicate(i int, ws ...dupinternal.DuplicateEntry) (dupinternal.DuplicateResponse, error) {
	var res dupinternal.DuplicateResponse
	err := g.call(i, base.RPCDuplicate, &dupinternal.DuplicateRequest{Entries: ws}, &res)
	return res, err
}

func (g *group) mustDuplicate(i int, ws ...dupinternal.DuplicateEntry) dupinternal.DuplicateResponse {
	g.t.Helper()
	res, err := g.duplicate(i, ws...)
	if err != nil || res.Error != base.Some(int32(0)) {
		g.t.Fatalf("%+v, %v", res, err)
	}
	return res
}

// Writes of another cluster are made as those of clients are, also more of them than a client may
// send; all replicas hold them with their timetags, and what comes of them is counted.
func TestDuplicate(t *testing.T) {
	g := newGroupWith(t, 2, func(c *config.Config) { c.Cluster.ID, c.Replica.MaxWriteBytes = 2, 1<<20 })
	now := time.Now()
	g.mustPut(0, "own", "own")
	g.mustDuplicate(0, sentPut(now.Add(-time.Minute), 3, "a", "theirs"), sentPut(now.Add(-time.Minute), 3, "own", "early"))
	g.wantGet(0, "a", "theirs")
	g.wantGet(0, "own", "own")
	big := strings.Repeat("x", 800<<10)
	g.mustDuplicate(0, sentPut(now, 3, "b", big), sentPut(now, 3, "c", big))
	g.wantGet(0, "c", big)

	// A client's write after one from a clock that is ahead is the later one, for every cluster.
	g.mustDuplicate(0, sentPut(now.Add(10*time.Minute), 3, "clock", "ahead"))
	g.mustPut(0, "clock", "own")
	g.mustDuplicate(0, sentPut(now.Add(10*time.Minute), 3, "clock", "ahead"))
	g.wantGet(0, "clock", "own")
	if ts := g.nodes[0].srv.replica(g.gpid).store.Load().LastTimestamp(); ts <= now.Add(10*time.Minute).UnixMicro() {
		t.Errorf("timestamp %d", ts)
	}
	// One from the far future doesn't move this cluster's clock.
	g.mustDuplicate(0, sentPut(now.Add(1000*time.Hour), 3, "far", "ahead"))
	g.mustPut(0, "far", "own")
	g.mustDuplicate(0, sentPut(now.Add(1000*time.Hour), 3, "far", "ahead"))
	g.wantGet(0, "far", "ahead")

	own, bad := sentPut(now, 2, "circle", "v"), sentPut(now, 3, "bad", "v")
	bad.TaskCode.V = base.RPCIngest
	if res := g.mustDuplicate(0, own, bad, sentPut(now, 5, "good", "v")); !strings.Contains(res.ErrorHint.V, "1 writes were made by this cluster") || !strings.Contains(res.ErrorHint.V, "1 writes can't be applied") {
		t.Errorf("%+v", res)
	}
	g.mustDuplicate(0, bad) // its sender tries again: it is lost once
	g.wantGet(0, "good", "v")
	if err := g.read(0, "circle"); err == nil {
		t.Error("a write of this cluster has come back")
	}
	g.same(0, 1)
	code, body := g.page(0, "/metrics?format=prometheus&types=replica")
	if code != http.StatusOK {
		t.Fatal(code, body)
	}
	for name, want := range map[string]int{"dup_requests": 12, "dup_lagging_writes": 2, "dup_stale_rows": 2, "dup_lost_writes": 1, "dup_own_writes": 1,
		"dup_future_writes": 2, "dup_misrouted_writes": 0} {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^pegasus_replica_%s_total\{.*\} %d$`, name, want)).MatchString(body) {
			t.Errorf("%s isn't %d: %s", name, want, regexp.MustCompile("(?m)^pegasus_replica_"+name+".*$").FindString(body))
		}
	}
	if !regexp.MustCompile(`(?m)^pegasus_replica_requests_total\{.*op="duplicate"\} 6$`).MatchString(body) {
		t.Errorf("not 6 requests with writes of another cluster: %s", regexp.MustCompile("(?m)^pegasus_replica_requests_total.*duplicate.*$").FindString(body))
	}

	// It is for the primary.
	if res, err := g.duplicate(1, sentPut(now, 3, "a", "v")); base.CodeOf(err) != base.ErrInvalidState {
		t.Errorf("%+v, %v", res, err)
	}
}

// Members of an older version don't understand the writes of other clusters, nor the number of this one.
func TestDuplicateNeedsVersion(t *testing.T) {
	meta := newFakeMeta(t, 1)
	meta.become(version.Origins.Since()-1, "a cluster")
	g := &group{t: t, meta: meta, gpid: base.Gpid{AppID: 1}, pool: newGroupPool(t)}
	g.nodes = append(g.nodes, startNodeWith(t, meta, func(c *config.Config) { c.Cluster.ID, c.Replica.MinReplicas = 2, 1 }))
	g.insist("the node is primary", func() bool { return g.serving(0) },
		func() {
			meta.propose(g.gpid, metaadmin.CT_ASSIGN_PRIMARY, g.nodes[0].srv.Addr(), g.nodes[0].srv.Addr())
		})
	srv := g.nodes[0].srv
	g.mustPut(0, "k", "v")
	if _, err := g.duplicate(0, sentPut(time.Now(), 3, "a", "v")); base.CodeOf(err) != base.ErrOperationDisabled || srv.gate.received.Origin() != 0 {
		t.Fatalf("%v, cluster %d", err, srv.gate.received.Origin())
	}
	meta.become(version.Origins.Since(), "a cluster")
	until(t, "the server writes the number of its cluster", func() bool { return srv.gate.received.Origin() == 2 })
	g.mustDuplicate(0, sentPut(time.Now(), 3, "a", "v"))
	g.wantGet(0, "a", "v")
}

// The largest row that a client may write is taken from another cluster, too. A larger one is lost, which is told and counted, and its sender isn't
// asked to try again.
func TestDuplicateLargestRow(t *testing.T) {
	g := newGroupWith(t, 1, func(c *config.Config) {
		c.Cluster.ID, c.Replica.MinReplicas, c.RPC.MaxFrameBytes, c.Replica.MaxWriteBytes = 2, 1, 1<<20, 0
	})
	most := int(g.nodes[0].srv.sizes.Write)
	size := most / 2
	for fits, over := 0, most+1; over-fits > 1; size = (fits + over) / 2 {
		var res idl.UpdateResponse
		err := g.send(0, base.RPCPut, &idl.UpdateRequest{Key: rowKey("largest"), Value: make([]byte, size)}, &res, answerTime, false)
		if err != nil {
			t.Fatal(err)
		}
		if res.Error == 0 {
			fits = size
		} else {
			over = size
		}
	}
	largest := strings.Repeat("x", size)
	if size < most-200 {
		t.Errorf("a client may write %d bytes of %d", size, most)
	}
	res := g.mustDuplicate(0, sentPut(time.Now(), 3, "largest", largest))
	if res.ErrorHint.Set {
		t.Fatalf("the largest: %+v", res)
	}
	arg := value.Blob(rowKey("largest"))
	var got idl.ReadResponse
	if err := g.send(0, base.RPCGet, &arg, &got, answerTime, false); err != nil || string(got.Value) != largest {
		t.Errorf("the largest has %d bytes, want %d: %v", len(got.Value), size, err)
	}
	larger := sentPut(time.Now(), 3, "larger!", largest+"x")
	for range 3 {
		if res := g.mustDuplicate(0, larger, sentPut(time.Now(), 3, "small", "v")); !strings.Contains(res.ErrorHint.V, fmt.Sprintf("a row of it takes more than %d bytes", most)) {
			t.Errorf("a larger one: %+v", res)
		}
	}
	g.wantGet(0, "small", "v")
	if _, body := g.page(0, "/metrics?format=prometheus&types=replica"); !regexp.MustCompile(`(?m)^pegasus_replica_dup_lost_writes_total\{.*\} 1$`).MatchString(body) {
		t.Errorf("%s", regexp.MustCompile("(?m)^pegasus_replica_dup_lost.*$").FindString(body))
	}
}
