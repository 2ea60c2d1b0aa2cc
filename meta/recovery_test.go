package meta

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/meta/state"
)

func TestDiagnose(t *testing.T) {
	c := newCluster(t, 1, 2, nil)
	id := c.mustCreate("t", 2, 2)
	c.whole("t", 2)
	ask := func(app, part int32) *metaadmin.DddDiagnoseResponse {
		var r metaadmin.DddDiagnoseResponse
		c.ask("RPC_CM_DDD_DIAGNOSE", &metaadmin.DddDiagnoseRequest{Pid: base.Gpid{AppID: app, PartitionIndex: part}}, &r)
		return &r
	}
	if r := ask(-1, -1); r.Err != base.ErrOK || len(r.Partitions) != 0 {
		t.Errorf("of a whole cluster: %+v", r)
	}
	if r := ask(99, -1); r.Err != base.ErrAppNotExist {
		t.Errorf("of no table: %v", r.Err)
	}
	for _, f := range c.reps {
		f.kill()
	}
	until(t, "both partitions have no living member", func() bool { return len(ask(-1, -1).Partitions) == 2 })
	r := ask(id, 1)
	if len(r.Partitions) != 1 || r.Partitions[0].Config.Pid != (base.Gpid{AppID: id, PartitionIndex: 1}) ||
		len(r.Partitions[0].Dropped) == 0 || r.Partitions[0].Dropped[0].IsAlive || r.Partitions[0].Reason == "" {
		t.Errorf("of one partition: %+v", r)
	}
	if r := ask(id, -1); len(r.Partitions) != 2 {
		t.Errorf("of the table: %d partitions", len(r.Partitions))
	}
}

func TestChoose(t *testing.T) {
	rep := func(node base.RPCAddress, status metadata.PartitionStatus, ballot, prepared, committed int64) found {
		return found{node, metadata.ReplicaInfo{Ballot: ballot, Status: status, LastPreparedDecree: prepared, LastCommittedDecree: committed}}
	}
	member := func(f found, ballot int64) found {
		f.MemberBallot = base.Some(ballot)
		return f
	}
	const in, learns, bad = metadata.PS_INACTIVE, metadata.PS_POTENTIAL_SECONDARY, metadata.PS_ERROR
	for _, c := range []struct {
		name    string
		list    []found
		primary base.RPCAddress
		ballot  int64
	}{
		{"none", nil, 0, 0},
		{"the newer ballot", []found{rep(1, in, 3, 10, 9), rep(2, in, 4, 10, 9)}, 2, 5},
		{"the more prepared of one ballot", []found{rep(1, in, 4, 10, 9), rep(2, in, 4, 12, 9)}, 2, 5},
		{"not who lacks what somebody committed", []found{rep(1, in, 9, 5, 5), rep(2, in, 4, 12, 10)}, 2, 10},
		{"a learner only when there is nobody else", []found{rep(1, learns, 9, 12, 9), rep(2, in, 4, 12, 10)}, 2, 10},
		{"a learner alone", []found{rep(1, learns, 9, 12, 9)}, 1, 10},
		{"not a broken one, whose ballot counts", []found{rep(1, bad, 9, 12, 9), rep(2, in, 4, 9, 9)}, 2, 10},
		{"who leads, before who prepared as much", []found{rep(1, in, 4, 10, 9), rep(2, metadata.PS_PRIMARY, 4, 10, 9)}, 2, 5},
		{"not who led under an older ballot", []found{rep(1, in, 4, 10, 9), rep(2, metadata.PS_PRIMARY, 3, 10, 9)}, 1, 5},
		{"not who was only ever a learner, before it was restarted", []found{member(rep(1, in, 9, 12, 9), 0), member(rep(2, in, 4, 11, 10), 4)}, 2, 10},
		{"who was a member last, not who heard of ballots since", []found{member(rep(1, in, 9, 12, 9), 3), member(rep(2, in, 4, 11, 10), 4)}, 2, 10},
		{"only a broken one", []found{rep(1, bad, 9, 12, 9)}, 0, 0},
	} {
		if got := choose(c.list); got.Primary != c.primary || got.Ballot != c.ballot || len(got.Secondaries) != 0 {
			t.Errorf("%s: %+v, want primary %v, ballot %d", c.name, got, c.primary, c.ballot)
		}
	}
}

func TestRebuild(t *testing.T) {
	app := func(id int32, name string, parts int32) layer2.AppInfo {
		return layer2.AppInfo{AppId: id, AppName: name, AppType: "pegasus", IsStateful: true, PartitionCount: parts, MaxReplicaCount: 3, Status: layer2.AS_AVAILABLE}
	}
	has := func(app, part int32, ballot int64) metadata.ReplicaInfo {
		return metadata.ReplicaInfo{Pid: base.Gpid{AppID: app, PartitionIndex: part}, Ballot: ballot, Status: metadata.PS_INACTIVE, LastPreparedDecree: 5}
	}
	// A server that learned a replica may have been told of its table by nobody yet.
	all := []inventory{
		{node: 4, tables: []layer2.AppInfo{{AppId: 2, MaxReplicaCount: 3}, {AppId: 6, MaxReplicaCount: 3}}, replicas: []metadata.ReplicaInfo{has(2, 0, 9), has(6, 0, 9)}},
		{node: 1, tables: []layer2.AppInfo{app(2, "old", 2), app(4, "same", 1)}, replicas: []metadata.ReplicaInfo{has(2, 0, 3), has(4, 0, 1)}},
		{node: 2, tables: []layer2.AppInfo{app(2, "new", 2), app(7, "same", 1)}, replicas: []metadata.ReplicaInfo{has(2, 0, 5), has(7, 0, 1)}},
		{node: 3, err: errors.New("unreachable"), tables: []layer2.AppInfo{app(9, "x", 1)}},
	}
	tables, _, lost := rebuild(all, nil, 100)
	var got []string
	for _, x := range tables {
		got = append(got, x.Name)
	}
	if want := []string{"new", "same__4", "same"}; !reflect.DeepEqual(got, want) {
		t.Errorf("tables %v, want %v", got, want)
	}
	if c := tables[0].Parts[0]; c.Primary != 4 || c.Ballot != 10 || tables[0].CreateSecond != 100 {
		t.Errorf("the first is %+v", tables[0])
	}
	if want := []base.Gpid{{AppID: 2, PartitionIndex: 1}}; !reflect.DeepEqual(lost, want) {
		t.Errorf("lost %v, want %v", lost, want)
	}
	if got := nameless(all, tables); !reflect.DeepEqual(got, []int32{6}) {
		t.Errorf("tables that nobody knows: %v, want 6", got)
	}
}

// What a backup says of tables is kept where only the meta knows it; of partitions the
// replica servers are believed.
func TestRebuildMerges(t *testing.T) {
	part := func(p base.RPCAddress) state.Config { return state.Config{Ballot: 4, Primary: p} }
	old := []state.Table{
		{ID: 1, Status: state.Available, Name: "was", Type: "pegasus", Stateful: true, MaxReplicas: 3, InitPartitions: 1, CreateSecond: 50, Parts: []state.Config{part(9)}},
		{ID: 2, Status: state.Dropped, Name: "was", Type: "pegasus", Stateful: true, MaxReplicas: 3, InitPartitions: 2, CreateSecond: 51, DropSecond: 60, ExpireSecond: 70, Parts: []state.Config{part(9), part(9)}},
		{ID: 5, Status: state.Dropped, Name: "soon", Type: "pegasus", Stateful: true, MaxReplicas: 3, InitPartitions: 1, CreateSecond: 53, DropSecond: 53, ExpireSecond: 70, Parts: []state.Config{part(9)}},
		{ID: 3, Status: state.Available, Name: "gone", Type: "pegasus", Stateful: true, MaxReplicas: 1, InitPartitions: 1, CreateSecond: 52, Parts: []state.Config{part(9)}},
	}
	has := func(app, part int32, ballot int64, status metadata.PartitionStatus) metadata.ReplicaInfo {
		return metadata.ReplicaInfo{Pid: base.Gpid{AppID: app, PartitionIndex: part}, Ballot: ballot, Status: status, LastPreparedDecree: 5}
	}
	app := func(id int32, name string, parts int32) layer2.AppInfo {
		return layer2.AppInfo{AppId: id, AppName: name, AppType: "pegasus", IsStateful: true, PartitionCount: parts, MaxReplicaCount: 2, AtomicIdempotent: base.Some(true)}
	}
	tables, _, lost := rebuild([]inventory{
		{node: 1, tables: []layer2.AppInfo{app(1, "renamed", 1), app(2, "was", 2), app(8, "later", 1)},
			replicas: []metadata.ReplicaInfo{has(1, 0, 7, metadata.PS_SECONDARY), has(2, 0, 5, metadata.PS_INACTIVE), has(8, 0, 3, metadata.PS_PRIMARY)}},
		{node: 2, tables: []layer2.AppInfo{{AppId: 2, MaxReplicaCount: 3}}, replicas: []metadata.ReplicaInfo{has(1, 0, 7, metadata.PS_PRIMARY)}},
		{node: 3, tables: []layer2.AppInfo{{AppId: 5, MaxReplicaCount: 3}}, replicas: []metadata.ReplicaInfo{has(5, 0, 2, metadata.PS_INACTIVE)}},
	}, old, 100)
	if want := []base.Gpid{{AppID: 3}}; !reflect.DeepEqual(lost, want) {
		t.Errorf("lost %v, want %v", lost, want)
	}
	if len(tables) != 5 {
		t.Fatalf("tables: %+v", tables)
	}
	if a := tables[0]; a.Name != "renamed" || a.MaxReplicas != 2 || a.CreateSecond != 50 || !a.AtomicIdempotent || a.Parts[0].Primary != 2 || a.Parts[0].Ballot != 8 {
		t.Errorf("a table with newer replicas: %+v", a)
	}
	if d := tables[1]; d.Status != state.Dropped || d.ExpireSecond != 70 || d.Parts[0].Primary != 1 || d.Parts[0].Ballot != 6 || d.Parts[1].Primary != 9 {
		t.Errorf("a dropped one: %+v", d)
	}
	if g := tables[2]; g.Name != "gone" || g.Parts[0].Primary != 0 {
		t.Errorf("one without replicas: %+v", g)
	}
	if d := tables[3]; d.ID != 5 || d.Name != "soon" || d.Status != state.Dropped || d.Parts[0].Primary != 3 {
		t.Errorf("one that was dropped before its replica server knew it: %+v", d)
	}
	if l := tables[4]; l.Name != "later" || l.CreateSecond != 100 || l.Parts[0].Primary != 1 {
		t.Errorf("one made after the backup: %+v", l)
	}
}

func TestRecoveryRefused(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	var r metaadmin.ConfigurationRecoveryResponse
	ask := func(q *metaadmin.ConfigurationRecoveryRequest) base.ErrorCode {
		r = metaadmin.ConfigurationRecoveryResponse{}
		c.ask("RPC_CM_START_RECOVERY", q, &r)
		return r.Err
	}
	if code := ask(&metaadmin.ConfigurationRecoveryRequest{}); code != base.ErrInvalidParameters || r.HintMessage == "" {
		t.Errorf("from no node: %v %q", code, r.HintMessage)
	}
	if code := ask(&metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: []base.RPCAddress{c.reps[0].addr, 0x7f000001_00010001}}); code != base.ErrTryAgain || r.HintMessage == "" {
		t.Errorf("from a node that doesn't answer: %v %q", code, r.HintMessage)
	}
	c.mustCreate("t", 1, 1)
	if code := ask(&metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: []base.RPCAddress{c.reps[0].addr}}); code != base.ErrServiceAlreadyRunning {
		t.Errorf("where there is a table: %v", code)
	}
	if code := ask(&metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: []base.RPCAddress{c.reps[0].addr, 0x7f000001_00010001}}); code != base.ErrServiceAlreadyRunning || r.HintMessage == "" {
		t.Errorf("where there is a table, also from a node that doesn't answer: %v %q", code, r.HintMessage)
	}
}

// A table that was being split when the metas lost their state: what its members know of it differs. No partition with rows is
// forgotten, none begins empty, and what wasn't split yet is split.
func TestRebuildSplit(t *testing.T) {
	type rep struct {
		node           base.RPCAddress
		part           int32
		ballot         int64
		count, cut     int32
		knows, decrees int64 // what its server says of the count; its last decree
	}
	done, ordered := state.SplitDone, state.SplitOrdered
	for _, c := range []struct {
		name   string
		reps   []rep
		parts  []int64 // ballots; 0: none
		status []state.SplitStatus
		lost   []int32
	}{
		{"not begun, or only in the metas", []rep{{1, 0, 3, 2, 0, 2, 9}, {1, 1, 3, 2, 0, 2, 9}}, []int64{4, 4}, nil, nil},
		{"one is cut, nobody has a child", []rep{{1, 0, 3, 2, 4, 2, 9}, {1, 1, 3, 2, 0, 2, 9}}, []int64{4, 4, -1, -1}, []state.SplitStatus{ordered, ordered}, nil},
		{"a child is made, and nobody was told of it", []rep{{1, 0, 3, 2, 4, 2, 9}, {1, 1, 3, 2, 0, 2, 9}, {1, 2, 0, 4, 4, 2, 9}}, []int64{4, 4, 1, -1}, []state.SplitStatus{done, ordered}, nil},
		{"a child serves, its table is known with the old count", []rep{{1, 0, 3, 2, 4, 2, 9}, {2, 1, 8, 2, 0, 2, 9}, {1, 2, 4, 4, 4, 2, 20}}, []int64{4, 9, 5, -1}, []state.SplitStatus{done, ordered}, nil},
		{"all serve, one server was told late", []rep{{1, 0, 3, 4, 4, 4, 9}, {2, 1, 8, 2, 4, 2, 9}, {1, 2, 4, 4, 4, 4, 20}, {2, 3, 9, 4, 4, 2, 20}}, []int64{4, 9, 5, 10}, nil, nil},
		{"all serve, and all know", []rep{{1, 0, 3, 4, 4, 4, 9}, {2, 1, 8, 4, 4, 4, 9}, {1, 2, 4, 4, 4, 4, 20}, {2, 3, 9, 4, 4, 4, 20}}, []int64{4, 9, 5, 10}, nil, nil},
		{"a child is lost that was registered", []rep{{1, 0, 3, 4, 4, 4, 9}, {1, 1, 3, 4, 4, 4, 9}, {1, 3, 4, 4, 4, 4, 9}}, []int64{4, 4, 0, 5}, nil, []int32{2}},
		{"a program that doesn't tell counts", []rep{{1, 0, 3, 0, 0, 4, 9}, {1, 1, 3, 0, 0, 4, 9}, {1, 3, 4, 0, 0, 4, 9}}, []int64{4, 4, 0, 5}, nil, []int32{2}},
		{"a child and its parent are lost", []rep{{1, 1, 3, 4, 4, 4, 9}, {1, 3, 4, 4, 4, 4, 9}}, []int64{0, 4, 0, 5}, nil, []int32{0, 2}},
	} {
		by := map[base.RPCAddress]*inventory{}
		for _, r := range c.reps {
			inv := by[r.node]
			if inv == nil {
				inv = &inventory{node: r.node, tables: []layer2.AppInfo{{AppId: 1, AppName: "t", IsStateful: true, PartitionCount: int32(r.knows), MaxReplicaCount: 2}}}
				by[r.node] = inv
			}
			inv.replicas = append(inv.replicas, metadata.ReplicaInfo{Pid: base.Gpid{AppID: 1, PartitionIndex: r.part}, Ballot: r.ballot, Status: metadata.PS_INACTIVE,
				LastCommittedDecree: r.decrees, LastPreparedDecree: r.decrees, PartitionCount: base.NonZero(r.count), CutCount: base.NonZero(r.cut)})
		}
		var all []inventory
		for n := base.RPCAddress(1); n < 4; n++ {
			if by[n] != nil {
				all = append(all, *by[n])
			}
		}
		tables, splits, lost := rebuild(all, nil, 100)
		if slices.ContainsFunc(c.reps, func(r rep) bool { return r.cut > 0 }) && int(tables[0].InitPartitions) == len(tables[0].Parts) {
			t.Errorf("%s: the table is as one that was never split: scans of it are refused", c.name)
		}
		var ballots []int64
		for _, p := range tables[0].Parts {
			ballots = append(ballots, p.Ballot)
		}
		var status []state.SplitStatus
		if len(splits) > 0 {
			status = splits[0].Status
		}
		var missing []int32
		for _, g := range lost {
			missing = append(missing, g.PartitionIndex)
		}
		if !reflect.DeepEqual(ballots, c.parts) || !reflect.DeepEqual(status, c.status) || !reflect.DeepEqual(missing, c.lost) {
			t.Errorf("%s: ballots %v status %v lost %v, want %v %v %v", c.name, ballots, status, missing, c.parts, c.status, c.lost)
		}
		if len(lost) > 0 {
			continue
		}
		// The metas take it, and go on.
		s := state.New()
		for _, cmd := range []state.Command{&state.Init{Cluster: "x", Version: version.Newest, ID: "i"}, &state.Recover{Tables: tables, Splits: splits}} {
			if res, err := s.Apply(state.Encode(cmd)); err != nil || res.Err != base.ErrOK {
				t.Fatalf("%s: %+v: %v, %v", c.name, cmd, res.Err, err)
			}
		}
		if is, ok := s.SplitOf(1); ok != (c.status != nil) || !reflect.DeepEqual(is.Status, c.status) {
			t.Errorf("%s: recovered as %+v", c.name, is)
		}
	}
}

func TestGrown(t *testing.T) {
	for _, c := range []struct {
		n, before int
		want      bool
	}{{4, 4, true}, {8, 4, true}, {16, 4, true}, {12, 4, false}, {2, 4, true}, {1, 4, false}, {4, 0, false}, {6, 4, false}} {
		if got := grown(c.n, c.before); got != c.want {
			t.Errorf("%d partitions, %d before: %v", c.n, c.before, got)
		}
	}
}
