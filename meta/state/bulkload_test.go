package state

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"pegasus/base"
	"pegasus/base/version"
)

// parseBulkLoad reads a command about bulk loads of a script; nil if it is none.
func parseBulkLoad(t *testing.T, d *datadriven.TestData) Command {
	t.Helper()
	var id, table, do, partition, status int
	var decree, now int64
	var digest, why, code string
	d.MaybeScanArgs(t, "id", &id)
	d.MaybeScanArgs(t, "table", &table)
	d.MaybeScanArgs(t, "do", &do)
	d.MaybeScanArgs(t, "partition", &partition)
	d.MaybeScanArgs(t, "status", &status)
	d.MaybeScanArgs(t, "decree", &decree)
	d.MaybeScanArgs(t, "now", &now)
	d.MaybeScanArgs(t, "digest", &digest)
	d.MaybeScanArgs(t, "why", &why)
	d.MaybeScanArgs(t, "err", &code)
	switch d.Cmd {
	case "found-newest":
		return &Init{Cluster: "x", Version: version.Newest, ID: "i"}
	case "start-load":
		return &StartBulkLoad{BulkLoad{Table: int32(table), ID: int64(id), Provider: "p", Root: "r", Cluster: "c", Behind: true, Timetag: 7, Begun: 8}}
	case "control-load":
		return &ControlBulkLoad{Table: int32(table), Do: LoadControl(do)}
	case "note-load":
		return &NoteBulkLoad{Table: int32(table), ID: int64(id), Notes: []PartNote{{int32(partition), BulkPart{Status: PartStatus(status), Digest: digest, Rows: 5, Bytes: 6, Decree: decree, HeldMS: 9}}}}
	case "fail-load":
		return &FailBulkLoad{Table: int32(table), ID: int64(id), Err: base.ErrorCode(code), Reason: why}
	case "end-load":
		return &EndBulkLoad{Table: int32(table), ID: int64(id), Now: now}
	case "clear-load":
		return &ClearBulkLoad{Table: int32(table)}
	}
	return nil
}

func showBulkLoads(b *strings.Builder, s *State) {
	for _, l := range s.BulkLoads() {
		fmt.Fprintf(b, "load %d of table %d from %s/%s/%s/%s behind %v timetag %d begun %d ended %d status %d %s %q\n",
			l.ID, l.Table, l.Provider, l.Root, l.Cluster, l.Name, l.Behind, l.Timetag, l.Begun, l.Ended, l.Status, l.Err, l.Reason)
		for i, p := range l.Parts {
			fmt.Fprintf(b, "  %d %+v\n", i, p)
		}
	}
	s.Tables(func(t *Table) {
		if t.BulkLoading {
			fmt.Fprintf(b, "table %d is loading\n", t.ID)
		}
	})
}

// bulkLoadCommands are seeds of the fuzz test; they are of a State with a table of two partitions that have members.
func bulkLoadCommands() []Command {
	return []Command{
		&StartBulkLoad{BulkLoad{Table: 1, ID: 7, Provider: "p", Root: "r", Cluster: "c", Behind: true, Timetag: 5, Begun: 6}},
		&ControlBulkLoad{Table: 1, Do: LoadPause}, &ControlBulkLoad{Table: 1, Do: LoadRestart},
		&NoteBulkLoad{Table: 1, ID: 7, Notes: []PartNote{{0, BulkPart{Status: PartReady, Digest: "d"}}, {1, BulkPart{Status: PartReady, Digest: "e", Rows: 5}}}},
		&NoteBulkLoad{Table: 1, ID: 7, Notes: []PartNote{{0, BulkPart{Status: PartTaking}}, {0, BulkPart{Status: PartTaken, Decree: 8, HeldMS: 9}}}},
		&FailBulkLoad{Table: 1, ID: 7, Err: base.ErrCorruption, Reason: "why"},
		&EndBulkLoad{Table: 1, ID: 7, Now: 10},
		&ClearBulkLoad{Table: 1},
	}
}

// loadable returns a State with a table whose two partitions have members.
func loadable(t testing.TB) *State {
	t.Helper()
	s := New()
	for _, c := range []Command{&Init{Cluster: "x", Version: version.Newest, ID: "i"}, &CreateTable{Name: "a", Partitions: 2, MaxReplicas: 3},
		&ChangeConfigs{[]Change{{Gpid: base.Gpid{AppID: 1}, Config: Config{Ballot: 1, Primary: addr(1)}}, {Gpid: base.Gpid{AppID: 1, PartitionIndex: 1}, Config: Config{Ballot: 1, Primary: addr(2)}}}}} {
		if res, err := s.Apply(Encode(c)); err != nil || res.Err != base.ErrOK {
			t.Fatalf("%+v: %v, %v", c, res, err)
		}
	}
	return s
}

// What a reader got stays as it was; and a State that was read back goes on as the one that was written, at each step.
func TestBulkLoadsAreReplaced(t *testing.T) {
	s := loadable(t)
	var was []BulkLoad
	for _, c := range bulkLoadCommands() {
		if l, ok := s.BulkLoadOf(1); ok {
			was = append(was, l)
		}
		if res, err := s.Apply(Encode(c)); err != nil || res.Err != base.ErrOK {
			t.Fatalf("%+v: %v, %v", c, res, err)
		}
		back, err := Restore(s.AppendSnapshot(nil))
		if err != nil || show(back) != show(s) {
			t.Fatalf("after %+v, restored (%v):\n%s\nwas:\n%s", c, err, show(back), show(s))
		}
		s = back
	}
	for i, want := range []struct {
		status BulkLoadStatus
		parts  [2]PartStatus
	}{{LoadReads, [2]PartStatus{PartReads, PartReads}}, {LoadPaused, [2]PartStatus{PartReads, PartReads}}, {LoadReads, [2]PartStatus{PartReads, PartReads}},
		{LoadTakes, [2]PartStatus{PartReady, PartReady}}, {LoadTakes, [2]PartStatus{PartTaken, PartReady}}, {LoadFailed, [2]PartStatus{PartTaken, PartReady}}} {
		if was[i].Status != want.status || was[i].Parts[0].Status != want.parts[0] || was[i].Parts[1].Status != want.parts[1] {
			t.Errorf("step %d: %+v", i, was[i])
		}
	}
	if _, ok := s.BulkLoadOf(1); ok || s.Table(1).BulkLoading {
		t.Error("it is still there")
	}
}

// Nothing else is begun with a table that is loading, nor it dropped; nor a load with one that something goes on with.
func TestBulkLoadExcludes(t *testing.T) {
	s := loadable(t)
	do := func(want base.ErrorCode, c Command) {
		t.Helper()
		if res, err := s.Apply(Encode(c)); err != nil || res.Err != want {
			t.Errorf("%T: %v, %v, want %v", c, res.Err, err, want)
		}
	}
	start := bulkLoadCommands()[0]
	dup := &AddDuplication{Table: 1, ID: 7, Remote: "b", RemoteTable: "a", Now: 5}
	do(base.ErrOK, dup)
	do(base.ErrInvalidState, start)
	do(base.ErrOK, &ModifyDuplication{Table: 1, ID: 7, Status: DupRemoved})
	do(base.ErrOK, &StartSplit{1, 4})
	do(base.ErrInvalidState, start)
	do(base.ErrOK, &ControlSplit{1, SplitCancel, -1})
	do(base.ErrOK, start)
	do(base.ErrBusy, start)
	do(base.ErrBusy, &DropTable{ID: 1, Now: 1, Expire: 2})
	do(base.ErrBusy, dup)
	do(base.ErrInvalidState, &StartSplit{1, 4})
	do(base.ErrInvalidState, &EndBulkLoad{Table: 1, ID: 7, Now: 1})
	do(base.ErrOK, &RenameTable{ID: 1, Name: "renamed"})
	do(base.ErrOK, &CreateTable{Name: "a", Partitions: 1, MaxReplicas: 3})
	if l, _ := s.BulkLoadOf(1); l.Name != "a" || !l.Loading() || s.Loading(2) { // where the files are
		t.Errorf("after it was renamed: %+v", l)
	}
	do(base.ErrOK, &ControlBulkLoad{Table: 1, Do: LoadCancel})
	do(base.ErrBusy, dup)
	do(base.ErrInvalidState, &StartSplit{1, 4})
	do(base.ErrBusy, &DropTable{ID: 1, Now: 1, Expire: 2}) // its members may still have something
	do(base.ErrOK, &EndBulkLoad{Table: 1, ID: 7, Now: 1})
	do(base.ErrOK, &DropTable{ID: 1, Now: 1, Expire: 2})
	do(base.ErrAppDropped, start)
	do(base.ErrOK, &RecallTable{ID: 1})
	if l, _ := s.BulkLoadOf(1); l.Status != LoadCanceled || l.Loading() || s.Table(1).BulkLoading {
		t.Errorf("after it was recalled: %+v", l)
	}
	do(base.ErrOK, start)
	do(base.ErrOK, &StartRestore{Table: CreateTable{Name: "r", Type: "pegasus", Partitions: 1, MaxReplicas: 3}, From: Restoration{Begun: 1}})
	do(base.ErrInvalidState, &StartBulkLoad{BulkLoad{Table: 3, ID: 1}})
	do(base.ErrOK, &CreateTable{Name: "new", Partitions: 1, MaxReplicas: 3})
	do(base.ErrInvalidState, &StartBulkLoad{BulkLoad{Table: 4, ID: 1}})
	if _, err := s.EncodeFor(start); err != nil {
		t.Error(err)
	}
	s.cluster.version = version.Loads.Since() - 1
	if _, err := s.EncodeFor(start); err == nil {
		t.Error("it is proposed to a cluster that doesn't know it")
	}
}

// When the tables were replaced by what the replica servers have, a load fails, and is still to be forgotten; ids go on.
func TestBulkLoadAfterRecover(t *testing.T) {
	s := loadable(t)
	s.Apply(Encode(bulkLoadCommands()[0]))
	tables := []Table{*s.Table(1)}
	s.BeginQuorum("again", true)
	if res, err := s.Apply(Encode(&Recover{Tables: tables, Merged: true})); err != nil || res.Err != base.ErrOK {
		t.Fatal(res, err)
	}
	l, _ := s.BulkLoadOf(1)
	if l.Status != LoadFailed || !strings.Contains(l.Reason, "pegasus recover") || !l.Loading() || !s.Table(1).BulkLoading {
		t.Errorf("%+v", l)
	}
	s.Apply(Encode(&EndBulkLoad{Table: 1, ID: 7, Now: 1}))
	s.Apply(Encode(&ClearBulkLoad{1}))
	s.Apply(Encode(&StartBulkLoad{BulkLoad{Table: 1, ID: 3}}))
	if l, _ := s.BulkLoadOf(1); l.ID != 8 {
		t.Errorf("the id is %d", l.ID)
	}
}
