package replica

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/tbin"
	"pegasus/gen/command"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/replicaadmin"
	"pegasus/pacifica"
	"pegasus/replica/disk"
	"pegasus/rpc"
)

// run runs a remote command of node i and returns its text.
func (g *group) run(i int, name string, args ...string) string {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	var text rpc.Str
	if err := g.pool.Call(ctx, g.nodes[i].srv.Addr().String(), rpc.Outgoing{Code: "RPC_CLI_CLI_CALL", Arg: &command.Command{Cmd: name, Arguments: args}}, &text); err != nil {
		g.t.Fatal(err)
	}
	return string(text)
}

// page gets a page of node i.
func (g *group) page(i int, path string) (int, string) {
	g.t.Helper()
	res, err := http.Get("http://" + g.nodes[i].srv.Addr().String() + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestUpstreamCommands(t *testing.T) {
	g := newGroup(t, 2)
	g.mustPut(0, "a", "1")
	n := g.nodes[0].srv.name
	one := "1 processed, 0 not found\n    1.0@" + n + "@P : "
	for _, x := range []struct{ line, want string }{
		{"replica.query-compact", one + `{"last_finish":"-","last_used_ms":"-","recent_enqueue_at":"-","recent_start_at":"-"}`},
		{"replica.query-compact 1", one + `{"last_finish":"-","last_used_ms":"-","recent_enqueue_at":"-","recent_start_at":"-"}`},
		{"replica.query-compact 99.0", "0 processed, 1 not found\n    99.0@" + n + " : not found"},
		{"replica.query-compact 99", "0 processed, 0 not found"},
		{"replica.query-compact x", "invalid arguments"},
		{"replica.query-compact ,", "invalid arguments"},
		{"replica.query-app-envs 1.0", one},
		{"replica.disable-plog-gc 1.0", one + "disabled"},
		{"replica.query-plog-gc-enabled-status", one + "disabled"},
		{"replica.enable-plog-gc 1.0,", one + "enabled"},
		{"replica.query-plog-gc-enabled-status 1.0", one + "enabled"},
		{"replica.trigger-checkpoint 1.0", one + "triggered"},
		{"replica.kill_partition 99.0", "ERR_OK"},
		{"replica.kill_partition x", "ERR_OK"},
		{"replica.kill_partition 1 2 3", "ERR_INVALID_PARAMETERS"},
		{"nfs.max_send_rate_megabytes_per_disk 5", "{\n  \"error\": \"ok\"\n}"},
		{"nfs.max_send_rate_megabytes_per_disk", "{\n  \"error\": \"ok\",\n  \"nfs.max_send_rate_megabytes_per_disk\": \"5\"\n}"},
		{"nfs.max_send_rate_megabytes_per_disk 0", "{\n  \"error\": \"ok\"\n}"},
		{"nfs.max_send_rate_megabytes_per_disk", "{\n  \"error\": \"ok\",\n  \"nfs.max_send_rate_megabytes_per_disk\": \"0\"\n}"},
		{"nfs.max_send_rate_megabytes_per_disk -1", "{\n  \"error\": \"ERR: invalid argument '-1', the value is not acceptable\"\n}"},
	} {
		f := strings.Fields(x.line)
		if got := g.run(0, f[0], f[1:]...); got != x.want {
			t.Errorf("%s: %q, want %q", x.line, got, x.want)
		}
	}
	until(t, "the flush is done", func() bool {
		return strings.Contains(g.run(0, "replica.query-progress", "1.0"), fmt.Sprintf(`"last_durable_decree": %d,`, g.view(0).applied))
	})
	if s := g.run(0, "server-stat"); !strings.Contains(s, "replicas=1, primaries=1,") {
		t.Errorf("server-stat: %s", s)
	}
}

func TestDenyClient(t *testing.T) {
	g := newGroup(t, 2)
	g.mustPut(0, "a", "1")
	g.run(0, "replica.deny-client", "true")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := g.pool.Call(ctx, g.nodes[0].srv.Addr().String(), rpc.Outgoing{Code: "RPC_RRDB_RRDB_TTL", Gpid: g.gpid, Arg: &command.Command{}}, nil)
	if base.CodeOf(err) != base.ErrTimeout {
		t.Errorf("a read while clients are denied: %v", err)
	}
	g.run(0, "replica.deny-client", "false")
	g.wantGet(0, "a", "1")
}

func TestKilledPartitionComesBack(t *testing.T) {
	g := newGroup(t, 2)
	g.mustPut(0, "a", "1")
	was := g.nodes[0].srv.replica(g.gpid)
	if s := g.run(0, "replica.kill_partition", "1", "0"); s != "ERR_OK" {
		t.Fatal(s)
	}
	until(t, "another replica object serves as primary", func() bool {
		r := g.nodes[0].srv.replica(g.gpid)
		return r != nil && r != was && g.serving(0) && g.view(0).Status == pacifica.Primary
	})
	g.wantGet(0, "a", "1")
	g.mustPut(0, "b", "2")
	g.same(0, 1)
}

func TestAdminRPCs(t *testing.T) {
	g := newGroup(t, 2)
	g.mustPut(0, "a", "1")
	var held replicaadmin.QueryDiskInfoResponse
	ask := func(code string, q tbin.Encoder, r tbin.Decoder) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), answerTime)
		defer cancel()
		if err := g.pool.Call(ctx, g.nodes[0].srv.Addr().String(), rpc.Outgoing{Code: code, Arg: q}, r); err != nil {
			t.Fatalf("%s: %v", code, err)
		}
	}
	ask("RPC_QUERY_DISK_INFO", &replicaadmin.QueryDiskInfoRequest{}, &held)
	if held.Err != base.ErrOK || len(held.DiskInfos) != 1 || held.TotalCapacityMb < held.TotalAvailableMb || held.TotalAvailableMb == 0 {
		t.Fatalf("%+v", held)
	}
	if h := held.DiskInfos[0].HoldingPrimaryReplicas; len(h) != 1 || h[0].Key != 1 || h[0].Val[0] != g.gpid {
		t.Errorf("holds as primary %v", h)
	}
	ask("RPC_QUERY_DISK_INFO", &replicaadmin.QueryDiskInfoRequest{AppName: "nosuch"}, &held)
	if held.Err != base.ErrObjectNotFound {
		t.Errorf("disks of no table: %v", held.Err)
	}
	var reps replicaadmin.QueryReplicaInfoResponse
	ask("RPC_QUERY_REPLICA_INFO", &replicaadmin.QueryReplicaInfoRequest{}, &reps)
	v := g.view(0)
	if len(reps.Replicas) != 1 || reps.Replicas[0].Pid != g.gpid || reps.Replicas[0].Ballot != v.Ballot ||
		reps.Replicas[0].LastCommittedDecree != v.Committed || reps.Replicas[0].Status != metadata.PS_PRIMARY {
		t.Errorf("replicas %+v, view %+v", reps.Replicas, v)
	}
	var apps metaadmin.QueryAppInfoResponse
	ask("RPC_QUERY_APP_INFO", &metaadmin.QueryAppInfoRequest{}, &apps)
	if len(apps.Apps) != 1 || apps.Apps[0].AppId != 1 || apps.Apps[0].PartitionCount != v.info.Partitions || apps.Apps[0].AppName != v.info.AppName {
		t.Errorf("tables %+v", apps.Apps)
	}
	var decree replicaadmin.QueryReplicaDecreeResponse
	ask("RPC_QUERY_PN_DECREE", &replicaadmin.QueryReplicaDecreeRequest{Pid: g.gpid}, &decree)
	if decree.Err != base.ErrOK || decree.LastDecree != v.Committed {
		t.Errorf("decree %+v, committed %d", decree, v.Committed)
	}
	ask("RPC_QUERY_PN_DECREE", &replicaadmin.QueryReplicaDecreeRequest{Pid: base.Gpid{AppID: 9}}, &decree)
	if decree.Err != base.ErrObjectNotFound {
		t.Errorf("decree of no replica: %+v", decree)
	}
	var hot replicaadmin.DetectHotkeyResponse
	ask("RPC_DETECT_HOTKEY", &replicaadmin.DetectHotkeyRequest{Pid: base.Gpid{AppID: 9}}, &hot)
	if hot.Err != base.ErrObjectNotFound {
		t.Errorf("hot keys of no replica: %+v", hot)
	}
}

// TestCompactionStatus: the page, QUERY_REPLICA_INFO and a config sync tell the same of manual
// compactions, and of how far a replica is durable.
func TestCompactionStatus(t *testing.T) {
	g := newGroup(t, 2)
	g.mustPut(0, "a", "1")
	s := g.nodes[0].srv
	r := s.replica(g.gpid)
	if err := r.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.mustPut(0, "b", "2")
	until(t, "what was flushed is noted", func() bool { return r.flushedAt.Load() > 0 && r.flushedAt.Load() == r.store.Load().LastFlushed() })
	set := func(st metadata.ManualCompactionStatus) {
		r.compactions.mu.Lock()
		defer r.compactions.mu.Unlock()
		r.compactions.state = st
	}
	for st, want := range map[metadata.ManualCompactionStatus]string{
		metadata.IDLE:     `{"status":{"finished":0,"idle":1,"queuing":0,"running":0}}`,
		metadata.RUNNING:  `{"status":{"finished":0,"idle":0,"queuing":0,"running":1}}`,
		metadata.FINISHED: `{"status":{"finished":1,"idle":0,"queuing":0,"running":0}}`,
	} {
		set(st)
		if _, body := g.page(0, "/replica/manual_compaction?app_id=1"); body != want {
			t.Errorf("%v: the page says %s", st, body)
		}
		var res replicaadmin.QueryReplicaInfoResponse
		partOf[administrator](s).queryReplicas(nil, nil, &res)
		if len(res.Replicas) != 1 {
			t.Fatalf("%d replicas", len(res.Replicas))
		}
		i := res.Replicas[0]
		if i.ManualCompactStatus != base.Some(st) || i.LastDurableDecree != r.store.Load().LastFlushed() || i.LastDurableDecree >= i.LastCommittedDecree || !i.Bytes.Set {
			t.Errorf("%v: told %+v, of which %d are flushed", st, i, r.store.Load().LastFlushed())
		}
	}
	set(metadata.FINISHED)
	until(t, "the meta is told so too", func() bool {
		s.meta.SyncSoon()
		i, ok := g.meta.reported(s.addr, g.gpid)
		return ok && i.ManualCompactStatus == base.Some(metadata.FINISHED) && i.LastDurableDecree == r.store.Load().LastFlushed()
	})
}

func TestReplicaPages(t *testing.T) {
	g := newGroup(t, 2)
	for range 5 {
		g.mustPut(0, "a", "1")
	}
	g.wantGet(0, "a", "1")
	for _, x := range []struct {
		path   string
		status int
		want   string
	}{
		{"/replica/data_version?app_id=1", 200, `{"0":{"data_version":"1"}}`},
		{"/replica/data_version?app_id=9", 404, "app_id=9 not found"},
		{"/replica/data_version", 400, "app_id should not be empty"},
		{"/replica/data_version?app_id=-1", 400, "invalid app_id=-1"},
		{"/replica/manual_compaction?app_id=1", 200, `{"status":{"finished":0,"idle":1,"queuing":0,"running":0}}`},
		{"/replica/duplication?appid=1", 404, "no duplication assigned for app [appid=1]"},
		{"/replica/nosuch", 404, `service not found for "replica/nosuch"`},
		{"/readyz", 200, "ok\n"},
		{"/updateConfig?replica.learn_bytes_per_second=1048576", 200, `{"update_status":"ERR_OK"}` + "\n"},
	} {
		if status, body := g.page(0, x.path); status != x.status || body != x.want {
			t.Errorf("%s: %d %q, want %d %q", x.path, status, body, x.status, x.want)
		}
	}
	if got := g.run(0, "perf-counters-by-substr", "disk.storage.sst(MB)"); !strings.Contains(got, `"counters":[{"name":"replica*app.pegasus*disk.storage.sst(MB)@1.0","type":"NUMBER","value":0`) {
		t.Errorf("the sizes of replicas: %s", got)
	}
	if got := g.run(0, "nfs.max_send_rate_megabytes_per_disk"); !strings.Contains(got, `"1"`) {
		t.Errorf("the rate after the change: %s", got)
	}
	var m struct {
		Role     string
		Entities []struct {
			Type, ID   string
			Attributes map[string]string
			Metrics    []struct {
				Name  string
				Value int64
				P99   int64
			}
		}
	}
	_, body := g.page(0, "/metrics")
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	value := map[string]int64{}
	for _, e := range m.Entities {
		for _, x := range e.Metrics {
			value[e.ID+" "+x.Name] = x.Value + x.P99
		}
	}
	for name, atLeast := range map[string]int64{
		"server primary_replicas": 1, "server total_replicas": 1, "server lease_valid": 1, "server resident_mem_usage_mb": 1, "server network_server_sessions": 1,
		"replica@1.0 put_requests": 5, "replica@1.0 put_latency_ns": 1, "replica@1.0 get_requests": 1, "replica@1.0 get_latency_ns": 1,
		"replica@1.0 committed_decree": 5, "replica@1.0 role": 1, "replica@1.0 rdb_memtable_mem_usage_bytes": 1,
		"profiler@RPC_RRDB_RRDB_PUT profiler_server_rpc_latency_ns": 1,
		"disk@" + g.nodes[0].srv.disks.All()[0].Tag + " wal_syncs":  1, "disk@" + g.nodes[0].srv.disks.All()[0].Tag + " disk_capacity_total_mb": 1,
	} {
		if got, ok := value[name]; !ok || got < atLeast {
			t.Errorf("%s is %d, want %d or more", name, got, atLeast)
		}
	}
	if m.Role != "replica" || value["replica@1.0 multi_get_requests"] != 0 {
		t.Errorf("role %s, %d multi_gets", m.Role, value["replica@1.0 multi_get_requests"])
	}
}

// TestAskedWhileDirectoryIsAdded: a directory that is added, and gets a replica, while somebody is told of the others isn't in his way.
func TestAskedWhileDirectoryIsAdded(t *testing.T) {
	g := moveGroup(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	in, other := g.diskOf(0)
	for _, dirs := range [][]*disk.Dir{{other}, {in}} {
		var r replicaadmin.QueryDiskInfoResponse
		administrator{srv: g.nodes[0].srv}.tellDisks(dirs, &replicaadmin.QueryDiskInfoRequest{}, &r)
		if r.Err != base.ErrOK || len(r.DiskInfos) != 1 || (len(r.DiskInfos[0].HoldingPrimaryReplicas) == 1) != (dirs[0] == in) {
			t.Errorf("%+v", r)
		}
	}
}
