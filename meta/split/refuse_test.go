package split

import (
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/meta/state"
)

// A table that is being split, loaded, restored, that has partitions nowhere, or as many as a table may have, isn't split, and the hint says why.
func TestRefuse(t *testing.T) {
	st := state.New()
	apply := func(c state.Command) int32 {
		t.Helper()
		r, err := st.Apply(state.Encode(c))
		if err != nil || r.Err != base.ErrOK {
			t.Fatalf("%+v: %v, %v", c, r.Err, err)
		}
		return r.TableID
	}
	at := func(id, n int32) {
		for p := range n {
			apply(&state.ChangeConfigs{Changes: []state.Change{{Gpid: base.Gpid{AppID: id, PartitionIndex: p}, Config: state.Config{Ballot: 1, Primary: 1, LastCommitted: 1}}}})
		}
	}
	create := func(name string) int32 {
		id := apply(&state.CreateTable{Name: name, Type: "pegasus", Partitions: 4, MaxReplicas: 1})
		at(id, 4)
		return id
	}
	apply(&state.Init{Cluster: "x", Version: version.Newest, ID: "i"})
	create("fine")
	apply(&state.StartSplit{Table: create("split"), Count: 8})
	apply(&state.StartBulkLoad{From: state.BulkLoad{Table: create("loaded"), Provider: "p", Root: "r", Cluster: "c"}})
	restored := apply(&state.StartRestore{Table: state.CreateTable{Name: "restored", Type: "pegasus", Partitions: 4, MaxReplicas: 1}, From: state.Restoration{Provider: "p", Cluster: "c", BackupID: 1, App: "a", AppID: 1}})
	at(restored, 4)
	apply(&state.CreateTable{Name: "nowhere", Type: "pegasus", Partitions: 4, MaxReplicas: 1})
	s := New(nil, Options{Enabled: true, MaxPartitions: 8})
	for _, x := range []struct {
		table string
		count int32
		code  base.ErrorCode
		why   string
	}{
		{"fine", 8, "", ""},
		{"fine", 7, base.ErrInvalidParameters, "should be 8"},
		{"fine", 1 << 30, base.ErrInvalidParameters, "should be 8"},
		{"split", 8, base.ErrInvalidParameters, "should be 16"},
		{"split", 16, base.ErrBusy, "already executing partition split"},
		{"loaded", 8, base.ErrInvalidState, "is being loaded"},
		{"restored", 8, base.ErrInvalidState, "is being restored"},
		{"nowhere", 8, base.ErrInvalidState, "has no replica yet"},
	} {
		tb := st.TableNamed(x.table)
		if code, why := s.refuse(st, tb, x.count); code != x.code || !strings.Contains(why, x.why) || (why == "") != (x.why == "") {
			t.Errorf("%s to %d: %v, %q", x.table, x.count, code, why)
		}
	}
	s.o.MaxPartitions = 7
	if code, why := s.refuse(st, st.TableNamed("fine"), 8); code != base.ErrInvalidParameters || !strings.Contains(why, "meta.max_partition_count") {
		t.Errorf("more than a table may have: %v, %q", code, why)
	}
}
