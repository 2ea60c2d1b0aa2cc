package meta

import (
	"errors"
	"reflect"
	"testing"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
)

func TestChoose(t *testing.T) {
	rep := func(node base.RPCAddress, status metadata.PartitionStatus, ballot, prepared, committed int64) found {
		return found{node, metadata.ReplicaInfo{Ballot: ballot, Status: status, LastPreparedDecree: prepared, LastCommittedDecree: committed}}
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
	tables, lost := rebuild([]inventory{
		{node: 1, tables: []layer2.AppInfo{app(2, "old", 2), app(4, "same", 1)}, replicas: []metadata.ReplicaInfo{has(2, 0, 3), has(4, 0, 1)}},
		{node: 2, tables: []layer2.AppInfo{app(2, "new", 2), app(7, "same", 1)}, replicas: []metadata.ReplicaInfo{has(2, 0, 5), has(7, 0, 1)}},
		{node: 3, err: errors.New("unreachable"), tables: []layer2.AppInfo{app(9, "x", 1)}},
	}, nil, 100)
	var got []string
	for _, x := range tables {
		got = append(got, x.Name)
	}
	if want := []string{"new", "same__4", "same"}; !reflect.DeepEqual(got, want) {
		t.Errorf("tables %v, want %v", got, want)
	}
	if c := tables[0].Parts[0]; c.Primary != 2 || c.Ballot != 6 || tables[0].CreateSecond != 100 {
		t.Errorf("the first is %+v", tables[0])
	}
	if want := []base.Gpid{{AppID: 2, PartitionIndex: 1}}; !reflect.DeepEqual(lost, want) {
		t.Errorf("lost %v, want %v", lost, want)
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
	// The fake replica server doesn't know the questions.
	if code := ask(&metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: []base.RPCAddress{c.reps[0].addr}}); code != base.ErrTryAgain || r.HintMessage == "" {
		t.Errorf("from a node that doesn't answer: %v %q", code, r.HintMessage)
	}
	c.mustCreate("t", 1, 1)
	if code := ask(&metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: []base.RPCAddress{c.reps[0].addr}}); code != base.ErrServiceAlreadyRunning {
		t.Errorf("where there is a table: %v", code)
	}
}
