package meta

import (
	"testing"

	"pegasus/base"
	"pegasus/gen/metadata"
	"pegasus/meta/state"
)

func TestCompactionProgress(t *testing.T) {
	at := func(part int32, st metadata.ManualCompactionStatus) metadata.ReplicaInfo {
		return metadata.ReplicaInfo{Pid: base.Gpid{AppID: 1, PartitionIndex: part}, ManualCompactStatus: base.Some(st)}
	}
	table := &state.Table{ID: 1, MaxReplicas: 2, Parts: []state.Config{
		{Primary: 1, Secondaries: []base.RPCAddress{2}},
		{Primary: 2, Secondaries: []base.RPCAddress{3}},
	}}
	for _, c := range []struct {
		nodes   map[base.RPCAddress][]metadata.ReplicaInfo
		percent int32
		ok      bool
	}{
		{nil, 0, false},
		{map[base.RPCAddress][]metadata.ReplicaInfo{1: {at(0, metadata.IDLE)}, 2: {at(0, metadata.IDLE)}}, 0, false},
		{map[base.RPCAddress][]metadata.ReplicaInfo{1: {at(0, metadata.QUEUING)}}, 0, true},
		{map[base.RPCAddress][]metadata.ReplicaInfo{1: {at(0, metadata.FINISHED)}, 2: {at(0, metadata.RUNNING), at(1, metadata.FINISHED)}}, 50, true},
		// What is no member doesn't count.
		{map[base.RPCAddress][]metadata.ReplicaInfo{3: {at(0, metadata.FINISHED)}, 4: {at(1, metadata.FINISHED)}}, 0, false},
		{map[base.RPCAddress][]metadata.ReplicaInfo{1: {at(0, metadata.FINISHED)}, 2: {at(0, metadata.FINISHED), at(1, metadata.FINISHED)},
			3: {at(1, metadata.FINISHED)}}, 100, true},
	} {
		l := &leader{compacts: map[base.RPCAddress]compacts{}}
		for n, rs := range c.nodes {
			l.compacts[n] = compactsOf(rs)
		}
		if percent, ok := l.progress(table); percent != c.percent || ok != c.ok {
			t.Errorf("%v: %d %% %t, want %d %% %t", c.nodes, percent, ok, c.percent, c.ok)
		}
	}
}
