package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/base/judge"
	"pegasus/gen/backupadmin"
	"pegasus/gen/bulkload"
	"pegasus/gen/duplication"
	"pegasus/gen/layer2"
	"pegasus/gen/metadata"
	"pegasus/gen/metaquorum"
	"pegasus/gen/placement"
	"pegasus/gen/restore"
	"pegasus/gen/split"
	"pegasus/meta/events"
	"pegasus/meta/probe"
	"pegasus/meta/usage"
	"pegasus/remotecmd/answer"
)

// markup is text that mustn't become markup.
const markup = `<script>alert(1)</script>"'&`

// fake is a cluster of any size that nobody runs.
type fake struct {
	nodes  []placement.NodePlacement
	tables []layer2.AppInfo
	health placement.ClusterVerdict
	down   error // of every question, if set

	mu   sync.Mutex
	done []string // what was changed
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, fmt.Sprintf(format, args...))
}

func (f *fake) changes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.done)
}

func address(i int) base.RPCAddress {
	a, err := base.ParseAddr(fmt.Sprintf("10.0.%d.%d:34801", i/250, i%250+1))
	if err != nil {
		panic(err)
	}
	return a
}

// newFake returns a cluster in which the first server is dead, and the first table can't be written.
func newFake(nodes, tables int) *fake {
	f := &fake{}
	for i := range nodes {
		f.nodes = append(f.nodes, placement.NodePlacement{Node: address(i), Alive: i > 0, Primaries: 40, Replicas: 120, Bytes: 3 << 33, Rack: fmt.Sprint("rack ", i%7), Disks: 4,
			DisksShort: int32(i % 50 / 49), CapacityMb: 4 << 20, AvailableMb: 3 << 20, StartTime: time.Now().Add(-time.Hour).UnixMilli()})
	}
	f.health = placement.ClusterVerdict{State: int32(judge.Ill), Why: []placement.Reason{{What: "server 10.0.0.1:34801 is dead", ToDo: "start it " + markup}}}
	for i := range tables {
		name := fmt.Sprintf("table_%05d", i)
		f.tables = append(f.tables, layer2.AppInfo{Status: layer2.AS_AVAILABLE, AppName: name, AppId: int32(i + 1), PartitionCount: 8, MaxReplicaCount: 3, CreateSecond: 1.7e9,
			Envs: []base.Pair[string, string]{{Key: "default_ttl", Val: "86400"}, {Key: "business.info", Val: markup}}})
		if i == 2 { // it is being split, and loaded: no real one is both
			f.tables[i].InitPartitionCount, f.tables[i].PartitionCount, f.tables[i].IsBulkLoading = 8, 16, base.Some(true)
		}
		v := placement.TableVerdict{AppId: int32(i + 1), AppName: name, Partitions: 8, Healthy: 8, Readable: 8, Writable: 8, FewestCopies: 3}
		if i == 0 {
			v.State, v.Writable, v.Healthy, v.Why = int32(judge.Unwritable), 7, 7, []placement.Reason{{What: "partition 3 has one copy " + markup, ToDo: "wait"}}
			f.health.State = v.State
		}
		f.health.Tables = append(f.health.Tables, v)
	}
	return f
}

func (f *fake) Health(context.Context) (*placement.ClusterVerdict, error) { return &f.health, f.down }
func (f *fake) Explain(_ context.Context, table string, _ int) (*placement.ExplainResponse, error) {
	r := &placement.ExplainResponse{}
	for i := range f.health.Tables {
		if f.health.Tables[i].AppName == table {
			r.Table = base.Some(f.health.Tables[i])
		}
	}
	for i := range int32(8) {
		p := placement.PartitionExplanation{Pid: base.Gpid{AppID: r.Table.V.AppId, PartitionIndex: i}, Health: judge.Healthy.String(), Verdict: base.Some(placement.Verdict{})}
		if i == 3 && r.Table.V.State != 0 {
			p.Health, p.Why, p.Verdict.V.State = judge.Unwritable.String(), []string{markup}, int32(judge.Unwritable)
			p.Events = []placement.PartitionEvent{{TimeMs: 1.7e12, What: "primary gone", Why: markup}}
		}
		r.Partitions = append(r.Partitions, p)
	}
	return r, f.down
}
func (f *fake) NodeRoles(context.Context) (*placement.NodeRoleResponse, error) {
	return &placement.NodeRoleResponse{Nodes: f.nodes}, f.down
}
func (f *fake) SetNodeRole(_ context.Context, node base.RPCAddress, role placement.NodeRole) (*placement.NodeRoleResponse, error) {
	f.note("role of %v: %v", node, role)
	return &placement.NodeRoleResponse{}, f.down
}
func (f *fake) Rebalance(_ context.Context, action placement.RebalanceAction, _ string, _ bool) (*placement.RebalanceResponse, error) {
	if action != placement.REBALANCE_STATUS {
		f.note("rebalance: %v", action)
	}
	r := &placement.RebalanceResponse{Active: true, Done: 3}
	for i := range 200 {
		r.Moves = append(r.Moves, placement.Move{Pid: base.Gpid{AppID: 1, PartitionIndex: int32(i)}, Source: address(1), Target: address(2), Bytes: 1 << 30, Why: markup, Running: i < 2})
	}
	return r, f.down
}
func (f *fake) ListTables(context.Context, layer2.AppStatus) ([]layer2.AppInfo, error) {
	return append(slices.Clone(f.tables), layer2.AppInfo{Status: layer2.AS_DROPPED, AppName: "dropped"}), f.down
}
func (f *fake) QueryConfig(_ context.Context, table string) (*layer2.QueryCfgResponse, error) {
	r := &layer2.QueryCfgResponse{AppId: 1, PartitionCount: 8}
	for i := range int32(8) {
		r.Partitions = append(r.Partitions, layer2.PartitionConfiguration{Pid: base.Gpid{AppID: 1, PartitionIndex: i}, Ballot: 7, Primary: address(int(i%3) + 1), Secondaries: []base.RPCAddress{address(4), address(5)}})
	}
	if f.down == nil && !slices.ContainsFunc(f.tables, func(t layer2.AppInfo) bool { return t.AppName == table }) {
		return nil, base.ErrObjectNotFound
	}
	return r, f.down
}
func (f *fake) SetEnvs(_ context.Context, table string, envs []base.Pair[string, string]) error {
	f.note("settings of %s: %v", table, envs)
	return f.down
}
func (f *fake) DelEnvs(_ context.Context, table string, keys []string) error {
	f.note("settings of %s are removed: %v", table, keys)
	return f.down
}
func (f *fake) StartBackup(_ context.Context, table int32, provider, _ string) (int64, error) {
	f.note("backup of %d to %s", table, provider)
	return 17, f.down
}
func (f *fake) ListBackups(context.Context, backupadmin.ListBackupsRequest) ([]backupadmin.BackupState, error) {
	return []backupadmin.BackupState{{BackupId: 17, Provider: "disk", Directory: "c/17", StartMs: 1.7e12, Status: backupadmin.BACKUP_RUNNING, Tables: []backupadmin.BackupTable{{AppName: markup, Partitions: 8, PartitionsDone: 3}}}}, f.down
}
func (f *fake) Restores(context.Context, int32) ([]restore.RestoreState, error) {
	return []restore.RestoreState{{AppName: "r", Partitions: 8, PartitionsDone: 2, Provider: "disk"}}, f.down
}
func (f *fake) ListDuplications(context.Context) ([]duplication.DuplicationAppState, error) {
	e := duplication.DuplicationEntry{Dupid: 1, Remote: "west", Status: duplication.DS_LOG,
		PartitionStates: base.Some([]base.Pair[int32, duplication.DuplicationPartitionState]{{Key: 2, Val: duplication.DuplicationPartitionState{ConfirmedDecree: 5, LastCommittedDecree: 12, Why: base.Some(markup)}}})}
	return []duplication.DuplicationAppState{{AppName: "table_00001", Duplications: []base.Pair[int32, duplication.DuplicationEntry]{{Key: 1, Val: e}}}}, f.down
}
func (f *fake) QuerySplit(_ context.Context, table string) (*split.QuerySplitResponse, error) {
	if table != "table_00002" {
		return nil, base.ErrInvalidState
	}
	return &split.QuerySplitResponse{NewPartitionCount: 16, Status: make([]base.Pair[int32, metadata.SplitStatus], 5), HintMsg: base.Some(markup)}, f.down
}
func (f *fake) QueryBulkLoad(_ context.Context, table string) (*bulkload.QueryBulkLoadResponse, error) {
	if table != "table_00002" {
		return nil, errors.New("none")
	}
	return &bulkload.QueryBulkLoadResponse{AppStatus: bulkload.BLS_DOWNLOADING, BytesRead: base.Some(int64(7 << 30)), BytesTotal: base.Some(int64(20 << 30)), SecondsLeft: base.Some(int64(93)), HintMsg: base.Some(markup)}, f.down
}
func (f *fake) Replicas(_ context.Context, addr base.RPCAddress) ([]metadata.ReplicaInfo, error) {
	var l []metadata.ReplicaInfo
	for i := range 1000 {
		l = append(l, metadata.ReplicaInfo{Pid: base.Gpid{AppID: int32(i/8 + 1), PartitionIndex: int32(i % 8)}, Ballot: 3, LastCommittedDecree: 1e9, LastDurableDecree: 1e9, DiskTag: "ssd1", Bytes: base.Some(int64(i) << 20)})
	}
	return l, f.down
}
func (f *fake) RemoteCommand(_ context.Context, addr, cmd string, _ ...string) (string, error) {
	var v any
	switch cmd {
	case "meta.events":
		var l []events.Event
		for i := range 300 {
			l = append(l, events.Event{Time: time.Unix(1.7e9-int64(i), 0), Level: []string{"info", "warning", "error"}[i%3], What: "node 10.0.0.1:34801 is dead " + markup})
		}
		v = l
	case "replica.disks":
		v = []answer.Disk{{Tag: "ssd1", Path: "/data1", State: "NORMAL", Total: 1 << 40, Available: 1 << 39, Replicas: 3}, {Tag: "ssd2", Path: "/data2", State: "IO_ERROR", Error: markup}}
	case "replica.slow":
		r := answer.SlowRequest{Time: time.Unix(1.7e9, 0), Op: "PUT", Table: "table_00000", Partition: "1.3", From: "10.1.1.1:5555", Took: 0.7123, Bytes: 1 << 20, Others: 4, What: strings.Repeat(markup, 10),
			Trace: &answer.Trace{ID: "5eed", Stages: []answer.Stage{{What: "received"}, {What: "sent", Server: "10.0.0.4:34801", At: 0.6}}}}
		v = answer.SlowRequests{Requests: slices.Repeat([]answer.SlowRequest{r}, 10)}
	case "replica.hotkeys":
		v = []answer.HotKeys{{Partition: "1.3", Reads: []answer.HotKey{{Key: []byte(markup), PerSecond: 1000, Percent: 60}}}}
	}
	b, err := json.Marshal(v)
	return string(b), errors.Join(err, f.down)
}
func (f *fake) MetaStatus(_ context.Context, addr string) (*metaquorum.QuorumStatusResponse, error) {
	if f.down != nil {
		return nil, f.down
	}
	r := &metaquorum.QuorumStatusResponse{Cluster: "test", Server: addr, Role: "follower", Leader: "10.0.0.1:34601", Term: 4,
		Members: []metaquorum.QuorumMember{{Address: "10.0.0.1:34601", Voter: true}, {Address: "10.0.0.2:34601", Voter: true}, {Address: "10.0.0.3:34601", Voter: true}}}
	switch addr {
	case r.Leader:
		r.Role = "leader"
	case "10.0.0.3:34601":
		return nil, errors.New("no answer within 1s")
	}
	return r, nil
}

func (f *fake) Page(_ context.Context, leader, path string, query url.Values) ([]byte, error) {
	if f.down == nil && leader != "10.0.0.1:34601" {
		return nil, fmt.Errorf("%q has no page %s", leader, path)
	}
	table := query.Get("name")
	var v any
	switch path {
	case "meta/usage":
		v = map[string]any{"tables": f.use(table)}
	case "meta/availability":
		v = f.probes(table)
	case "meta/latency":
		h := probe.History{Every: 30}
		for i := range 59 {
			h.ReadP99, h.WriteP99 = append(h.ReadP99, uint32(900+100*(i%7))), append(h.WriteP99, uint32(4000*(1+i%5)))
			h.ReadRate, h.WriteRate = append(h.ReadRate, float32(i)), append(h.WriteRate, 0)
		}
		v = h
	default:
		return nil, fmt.Errorf("there is no page %s", path)
	}
	b, err := json.Marshal(v)
	return b, errors.Join(err, f.down)
}

func (f *fake) use(table string) []usage.Table {
	l := []usage.Table{}
	for i := range f.tables {
		if t := &f.tables[i]; table == "" || t.AppName == table {
			u := usage.Table{ID: t.AppId, Name: t.AppName, ReadPerSec: 120, WritePerSec: 30, Bytes: 1 << 30}
			if table != "" {
				u.Hot = []usage.HotPartition{{Partition: 3, Kind: "read", PerSec: 100, Node: markup}}
				for h := range 48 {
					u.Hours = append(u.Hours, usage.Hour{Began: time.Date(2026, 1, 1, h, 0, 0, 0, time.UTC), ReadUnits: int64(h), WriteUnits: 7})
				}
			}
			l = append(l, u)
		}
	}
	return l
}

// probes are those of all tables, of which the first has a partition that fails.
func (f *fake) probes(table string) *probe.Answer {
	a := &probe.Answer{Every: 10, Rounds: 100, Tables: []probe.Table{}}
	for i := range f.tables {
		if t := &f.tables[i]; table == "" || t.AppName == table {
			p := probe.Table{ID: t.AppId, Name: t.AppName, Hour: 1, Day: 1, HourProbes: 2880, DayProbes: 69000, Now: []probe.FailingNow{}}
			if i == 0 {
				p.Hour, p.Day, p.Failing = 0.99899, 0.9999, 1
				p.Now = append(p.Now, probe.FailingNow{Partition: 3, Since: time.Unix(1.7e9, 0), Write: markup})
			}
			a.Tables = append(a.Tables, p)
		}
	}
	return a
}
