package meta

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/blob/stores"
	backupidl "pegasus/gen/backup"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/placement"
	"pegasus/gen/restore"
	"pegasus/rpc"
)

// restoreCluster is a cluster of which the metas know a blob store with a backup of a table of two partitions. Its replica servers
// do nothing by themselves.
type restoreCluster struct {
	*cluster
	dir string
	of  backup.Table
}

func newRestoreCluster(t *testing.T, begin version.Version, metas int) *restoreCluster {
	t.Helper()
	r := &restoreCluster{cluster: &cluster{t: t}, dir: t.TempDir(), of: backup.Location{Path: "a/path", Cluster: "there", ID: 77}.Table("was", 5)}
	blobs := r.blobs()
	r.describe(2)
	for p := range int32(2) {
		if err := os.Mkdir(filepath.Join(r.dir, r.of.Partition(p)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.cluster = newClusterAt(t, begin, metas, 3, func(c *config.Config) { steady(c); c.Blob = blobs })
	for _, f := range r.reps {
		f.set(false, true)
	}
	return r
}

func (r *restoreCluster) blobs() map[string]config.Blob {
	b := config.DefaultBlob()
	b.Path, b.RetryTime = r.dir, config.Duration(time.Second)
	return map[string]config.Blob{"local_service": b}
}

// describe writes what the table is that was backed up.
func (r *restoreCluster) describe(partitions int32) {
	r.t.Helper()
	set := stores.New(r.blobs(), nil)
	defer set.Close()
	store, err := set.Get(context.Background(), "local_service")
	if err != nil {
		r.t.Fatal(err)
	}
	info := layer2.NewAppInfo()
	info.Status, info.AppType, info.AppName, info.AppId, info.PartitionCount, info.MaxReplicaCount = layer2.AS_AVAILABLE, "pegasus", r.of.Name, r.of.AppID, partitions, 3
	info.AtomicIdempotent = base.Some(true)
	if err := backup.WriteTable(context.Background(), store, r.of.Location, &info); err != nil {
		r.t.Fatal(err)
	}
}

func (r *restoreCluster) request(name string) *backupidl.ConfigurationRestoreRequest {
	return &backupidl.ConfigurationRestoreRequest{ClusterName: r.of.Cluster, TimeStamp: r.of.ID, AppName: r.of.Name, AppId: r.of.AppID, NewAppName: name,
		BackupProviderName: "local_service", RestorePath: base.Some(r.of.Path)}
}

func (r *restoreCluster) start(q *backupidl.ConfigurationRestoreRequest) metaadmin.ConfigurationCreateAppResponse {
	r.t.Helper()
	var a metaadmin.ConfigurationCreateAppResponse
	r.ask(base.RPCStartRestore, q, &a)
	return a
}

func (r *restoreCluster) mustStart(name string, skip bool) int32 {
	r.t.Helper()
	q := r.request(name)
	q.SkipBadPartition = skip
	a := r.start(q)
	if a.Err != base.ErrOK {
		r.t.Fatalf("%+v", a)
	}
	return a.Appid
}

// report is what server i says of a partition, and what it is answered.
func (r *restoreCluster) report(i int, g base.Gpid, status base.ErrorCode, progress int32, reason string) base.ErrorCode {
	r.t.Helper()
	q := &backupidl.ConfigurationReportRestoreStatusRequest{Pid: g, RestoreStatus: status, Progress: progress}
	if reason != "" {
		q.Reason = base.Some(reason)
	}
	code := base.ErrForwardToOthers
	until(r.t, "a leader takes the report", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), maxWait)
		defer cancel()
		var a backupidl.ConfigurationReportRestoreStatusResponse
		if err := r.pool.Call(ctx, r.leader().name, rpc.Outgoing{Code: base.RPCReportRestoreStatus, Arg: q, From: r.reps[i].addr}, &a); err != nil {
			return false
		}
		code = a.Err
		return code != base.ErrForwardToOthers
	})
	return code
}

// lead is what server i wants, which says that so much is committed.
func (r *restoreCluster) lead(i int, g base.Gpid, committed int64) base.ErrorCode {
	r.t.Helper()
	a := r.reps[i].addr
	q := &metaadmin.ConfigurationUpdateRequest{Type: metaadmin.CT_ASSIGN_PRIMARY, Node: a, Config: layer2.PartitionConfiguration{Pid: g, Ballot: 1, Primary: a, LastCommittedDecree: committed}}
	var res metaadmin.ConfigurationUpdateResponse
	r.identify(r.leader().name, q)
	r.ask(base.RPCUpdatePartitionConfiguration, q, &res)
	return res.Err
}

func (r *restoreCluster) list(id int32) restore.RestoreState {
	r.t.Helper()
	var a restore.ListRestoresResponse
	r.ask(base.RPCListRestores, &restore.ListRestoresRequest{AppId: base.Some(id)}, &a)
	if a.Err != base.ErrOK || len(a.Restores) != 1 {
		r.t.Fatalf("%+v", a)
	}
	return a.Restores[0]
}

func (r *restoreCluster) status(id int32) backupidl.ConfigurationQueryRestoreResponse {
	r.t.Helper()
	var a backupidl.ConfigurationQueryRestoreResponse
	r.ask(base.RPCQueryRestoreStatus, &backupidl.ConfigurationQueryRestoreRequest{RestoreAppId: id}, &a)
	return a
}

// asked returns the servers that were asked to be the first of a partition, and how often.
func (r *restoreCluster) asked(g base.Gpid) map[int]int {
	n := map[int]int{}
	for i, f := range r.reps {
		f.mu.Lock()
		for _, p := range f.proposals {
			if p.Type == metaadmin.CT_ASSIGN_PRIMARY && p.Config.Pid == g {
				n[i]++
			}
		}
		f.mu.Unlock()
	}
	return n
}

// A restore makes a table like the one that was backed up, has its partitions restored by whom the planner asks, makes nobody the first
// member that has nothing of it, and ends once every partition has one.
func TestRestore(t *testing.T) {
	r := newRestoreCluster(t, 0, 1)
	id := r.mustStart("back", false)
	g0, g1 := base.Gpid{AppID: id}, base.Gpid{AppID: id, PartitionIndex: 1}
	apps := metaadmin.ConfigurationListAppsResponse{}
	r.ask(base.RPCListApps, &metaadmin.ConfigurationListAppsRequest{Status: layer2.AS_AVAILABLE}, &apps)
	want := appenv.Restore{Provider: "local_service", Cluster: "there", App: "was", AppID: 5, BackupID: 77, Path: base.Some("a/path")}
	if len(apps.Infos) != 1 || apps.Infos[0].AppName != "back" || apps.Infos[0].PartitionCount != 2 || apps.Infos[0].MaxReplicaCount != 3 || !apps.Infos[0].AtomicIdempotent.V || !slices.Equal(apps.Infos[0].Envs, want.Envs()) {
		t.Errorf("%+v", apps.Infos)
	}
	until(t, "somebody is asked for each partition", func() bool { return len(r.asked(g0)) > 0 && len(r.asked(g1)) > 0 })
	for i := range r.asked(g0) {
		r.reps[i].mu.Lock()
		envs := map[string]string{}
		for _, e := range r.reps[i].proposals[0].Info.Envs {
			envs[e.Key] = e.Val
		}
		r.reps[i].mu.Unlock()
		if of, ok := appenv.RestoreOf(envs); !ok || of != want {
			t.Errorf("it was asked with %v", envs)
		}
	}
	if code := r.lead(0, g0, 0); code != base.ErrInvalidState {
		t.Errorf("a server with nothing of it leads: %v", code)
	}
	// Who reports is left at it: longer than a server may take that doesn't.
	if code := r.report(1, g0, base.ErrOK, 250, ""); code != base.ErrOK {
		t.Errorf("report: %v", code)
	}
	if code := r.report(2, g0, base.ErrOK, 100, ""); code != base.ErrBusy {
		t.Errorf("a second one at it: %v", code)
	}
	var why placement.ExplainResponse
	r.ask(base.RPCExplain, &placement.ExplainRequest{AppName: "back", Partition: 0}, &why)
	if text := fmt.Sprintf("%+v", why); !strings.Contains(text, r.reps[1].addr.String()+" restores it from a backup: 25.0 %") {
		t.Errorf("explained: %s", text)
	}
	before := r.asked(g0)
	until(t, "it is asked again and again", func() bool {
		r.report(1, g0, base.ErrOK, 300, "")
		return r.asked(g0)[1] >= before[1]+5
	})
	if now := r.asked(g0); now[0] != before[0] || now[2] != before[2] {
		t.Errorf("others were asked, too: %v, before %v", now, before)
	}
	if s := r.status(id); s.Err != base.ErrOK || !slices.Equal(s.RestoreProgress, []int32{300, 0}) || !slices.Equal(s.RestoreStatus, []base.ErrorCode{base.ErrOK, base.ErrOK}) {
		t.Errorf("%+v", s)
	}
	if l := r.list(id); l.Status != restore.RESTORE_RUNNING || l.Progress != 150 || l.PartitionsDone != 0 || len(l.Pending) != 2 || l.Pending[0].Node != r.reps[1].addr || l.Directory != r.of.Dir() || l.EndMs != 0 {
		t.Errorf("%+v", l)
	}
	if code := r.lead(1, g0, 1); code != base.ErrOK {
		t.Errorf("who has it doesn't lead: %v", code)
	}
	if code := r.report(1, g0, base.ErrOK, 990, ""); code != base.ErrInvalidState {
		t.Errorf("a report of a partition that is there: %v", code)
	}
	if l := r.list(id); l.PartitionsDone != 1 || len(l.Pending) != 1 || l.Pending[0].Partition != 1 {
		t.Errorf("%+v", l)
	}
	if code := r.lead(0, g1, 1); code != base.ErrOK {
		t.Errorf("%v", code)
	}
	until(t, "it is done", func() bool { return r.list(id).Status == restore.RESTORE_COMPLETED })
	if l := r.list(id); l.Progress != 1000 || l.PartitionsDone != 2 || len(l.Pending) != 0 || l.EndMs == 0 || l.Reason != "" {
		t.Errorf("%+v", l)
	}
	if s := r.status(id); !slices.Equal(s.RestoreProgress, []int32{1000, 1000}) {
		t.Errorf("%+v", s)
	}
	if s := r.status(id + 1); s.Err != base.ErrAppNotExist {
		t.Errorf("no such table: %+v", s)
	}
	if code := r.report(0, base.Gpid{AppID: id + 1}, base.ErrOK, 0, ""); code != base.ErrObjectNotFound {
		t.Errorf("a report of no table: %v", code)
	}
}

// A bad backup ends the restore, and the table with it; other failures do if they go on. A new leader knows what was noted.
func TestRestoreEnds(t *testing.T) {
	r := newRestoreCluster(t, 0, 3)
	id := r.mustStart("bad", false)
	g := base.Gpid{AppID: id, PartitionIndex: 1}
	if code := r.report(0, g, base.ErrIgnoreBadData, 1000, "x"); code != base.ErrInvalidState {
		t.Errorf("a partition is left empty that may not be: %v", code)
	}
	if code := r.report(0, g, base.ErrCorruption, 0, "a/path/000012.sst is bad"); code != base.ErrOK {
		t.Errorf("%v", code)
	}
	if l := r.list(id); l.Status != restore.RESTORE_FAILED || l.Reason != "partition 1: a/path/000012.sst is bad" {
		t.Errorf("%+v", l)
	}
	if s := r.status(id); s.Err != base.ErrAppDropped {
		t.Errorf("%+v", s)
	}
	if code := r.lead(0, g, 1); code != base.ErrObjectNotFound {
		t.Errorf("a member of a table that is gone: %v", code)
	}

	id = r.mustStart("bad", true) // the name is free
	g = base.Gpid{AppID: id, PartitionIndex: 1}
	if code := r.report(0, g, base.ErrIgnoreBadData, 1000, "a/path/000012.sst is bad"); code != base.ErrOK {
		t.Errorf("%v", code)
	}
	r.stopMeta(r.leader())
	if l := r.list(id); l.Status != restore.RESTORE_RUNNING || len(l.Pending) != 2 || !l.Pending[1].Skipped || !strings.Contains(l.Pending[1].Reason, "000012.sst") {
		t.Errorf("after a change of the leader: %+v", l)
	}
	if code := r.lead(0, g, 0); code != base.ErrInvalidState {
		t.Errorf("also an empty partition is made by who knows of it: %v", code)
	}
	if code := r.lead(0, g, 1); code != base.ErrOK {
		t.Errorf("%v", code)
	}
	if s := r.status(id); s.RestoreStatus[1] != base.ErrIgnoreBadData || s.RestoreProgress[1] != 1000 {
		t.Errorf("%+v", s)
	}
	// The other partition fails for reasons that may pass.
	g.PartitionIndex = 0
	for i := range 8 {
		if l := r.list(id); l.Status != restore.RESTORE_RUNNING {
			t.Fatalf("attempt %d: %+v", i, l)
		}
		if code := r.report(i%3, g, base.ErrFsInternal, 0, fmt.Sprintf("attempt %d", i)); code != base.ErrOK {
			t.Errorf("%v", code)
		}
	}
	if l := r.list(id); l.Status != restore.RESTORE_FAILED || !strings.Contains(l.Reason, "8 times") || !strings.Contains(l.Reason, "attempt 7") || !strings.Contains(l.Reason, "ERR_FS_INTERNAL") {
		t.Errorf("%+v", l)
	}
}

// What can't begin is refused, with the reason, and leaves nothing.
func TestRestoreRefused(t *testing.T) {
	r := newRestoreCluster(t, 0, 1)
	r.mustStart("there", false)
	for name, c := range map[string]struct {
		change func(*backupidl.ConfigurationRestoreRequest)
		code   base.ErrorCode
		hint   string
	}{
		"no such provider": {func(q *backupidl.ConfigurationRestoreRequest) { q.BackupProviderName = "nosuch" }, base.ErrInvalidParameters, "nosuch"},
		"no such backup":   {func(q *backupidl.ConfigurationRestoreRequest) { q.TimeStamp++ }, base.ErrObjectNotFound, "78/was_5/meta/app_metadata"},
		"a bad id":         {func(q *backupidl.ConfigurationRestoreRequest) { q.TimeStamp = -1 }, base.ErrInvalidParameters, "-1"},
		"a bad path":       {func(q *backupidl.ConfigurationRestoreRequest) { q.RestorePath.V = "../x" }, base.ErrInvalidParameters, "../x"},
		"another table":    {func(q *backupidl.ConfigurationRestoreRequest) { q.AppId = 6 }, base.ErrObjectNotFound, "was_6"},
		"a bad name": {func(q *backupidl.ConfigurationRestoreRequest) {
			q.NewAppName = strings.Repeat("x", base.MaxTableName+1)
		}, base.ErrInvalidParameters, "bytes"},
		"a name in use": {func(q *backupidl.ConfigurationRestoreRequest) { q.NewAppName = "there" }, base.ErrInvalidParameters, `"there"`},
	} {
		q := r.request("new")
		c.change(q)
		if a := r.start(q); a.Err != c.code || !strings.Contains(a.HintMessage.V, c.hint) || a.Appid != -1 {
			t.Errorf("%s: %+v", name, a)
		}
	}
	r.describe(1<<31 - 1)
	for _, skip := range []bool{false, true} {
		q := r.request("new")
		q.SkipBadPartition = skip
		if a := r.start(q); a.Err == base.ErrOK || a.Appid != -1 {
			t.Errorf("more partitions than there can be: %+v", a)
		}
	}
	if err := os.WriteFile(filepath.Join(r.dir, r.of.MetadataFile()), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if a := r.start(r.request("new")); a.Err != base.ErrCorruption || !strings.Contains(a.HintMessage.V, "app_metadata") {
		t.Errorf("a damaged description: %+v", a)
	}
	var all restore.ListRestoresResponse
	r.ask(base.RPCListRestores, &restore.ListRestoresRequest{}, &all)
	if len(all.Restores) != 1 {
		t.Errorf("%+v", all.Restores)
	}
}

// A table isn't restored from a backup of it that still runs: partitions that aren't there yet would be taken for bad ones, and the files go if it
// is cancelled.
func TestRestoreOfRunningBackup(t *testing.T) {
	r := newRestoreCluster(t, 0, 1)
	app := r.mustCreate("shop", 1, 3)
	var b backupidl.StartBackupAppResponse
	r.ask(base.RPCStartBackupApp, &backupidl.StartBackupAppRequest{BackupProviderType: "local_service", AppId: app, BackupPath: base.Some("/p/")}, &b)
	if b.Err != base.ErrOK {
		t.Fatalf("%+v", b)
	}
	roots, err := filepath.Glob(filepath.Join(r.dir, "p", "*", fmt.Sprint(b.BackupId.V)))
	if err != nil || len(roots) != 1 {
		t.Fatal(roots, err)
	}
	q := &backupidl.ConfigurationRestoreRequest{ClusterName: filepath.Base(filepath.Dir(roots[0])), TimeStamp: b.BackupId.V, AppName: "shop", AppId: app, NewAppName: "again",
		BackupProviderName: "local_service", RestorePath: base.Some("p"), SkipBadPartition: true}
	if a := r.start(q); a.Err != base.ErrBusy || !strings.Contains(a.HintMessage.V, "still runs") {
		t.Errorf("%+v", a)
	}
}

// In a cluster of the first version some servers would make empty partitions: it restores nothing.
func TestRestoreInOldCluster(t *testing.T) {
	r := newRestoreCluster(t, version.First, 1)
	if a := r.start(r.request("new")); a.Err == base.ErrOK {
		t.Errorf("%+v", a)
	}
	var all restore.ListRestoresResponse
	r.ask(base.RPCListRestores, &restore.ListRestoresRequest{}, &all)
	if q := r.query("new"); len(all.Restores) != 0 || q.Err != base.ErrObjectNotFound {
		t.Errorf("%+v, %v", all.Restores, q.Err)
	}
}
