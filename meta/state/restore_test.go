package state

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/version"
)

// newRestoring is a State of a cluster of the newest version.
func newRestoring(t *testing.T) *State {
	t.Helper()
	s := New()
	if res := (&Init{Cluster: "c", Quorum: "q", Version: version.Newest, ID: "i"}).apply(s); res.Err != base.ErrOK {
		t.Fatal(res.Err)
	}
	return s
}

func startRestore(t *testing.T, s *State, name string, skip bool) int32 {
	t.Helper()
	b, err := s.EncodeFor(&StartRestore{Table: CreateTable{Name: name, Partitions: 2, MaxReplicas: 3, Envs: []Env{{Key: "restore.app_id", Val: "7"}}, Now: 5},
		From: Restoration{Provider: "p", Path: "a/b", Cluster: "c", Policy: "pol", BackupID: 99, App: "was", AppID: 7, SkipBad: skip, Begun: 5000}})
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Apply(b)
	if err != nil || res.Err != base.ErrOK {
		t.Fatal(res.Err, err)
	}
	return res.TableID
}

func first(g base.Gpid, committed int64) *ChangeConfigs {
	return &ChangeConfigs{Changes: []Change{{Gpid: g, Config: Config{Ballot: 1, Primary: 1, LastCommitted: committed}}}}
}

func again(t *testing.T, s *State) {
	t.Helper()
	back, err := Restore(s.AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back.Restores(), s.Restores()) {
		t.Errorf("restored %+v, was %+v", back.Restores(), s.Restores())
	}
}

// While a table is restored nobody becomes the first member of a partition who has nothing of it.
func TestRestoreNeedsSeed(t *testing.T) {
	s := newRestoring(t)
	id := startRestore(t, s, "t", false)
	want := Restoration{TableID: id, Name: "t", Partitions: 2, Provider: "p", Path: "a/b", Cluster: "c", Policy: "pol", BackupID: 99, App: "was", AppID: 7,
		Status: RestoreRuns, Begun: 5000}
	if r, ok := s.RestoreOf(id); !ok || !reflect.DeepEqual(r, want) || !s.Restoring(id) || s.Restoring(id+1) {
		t.Errorf("%+v", r)
	}
	again(t, s)
	g := base.Gpid{AppID: id}
	if res := first(g, 0).apply(s); res.Changes[0].Err != base.ErrInvalidState {
		t.Errorf("an empty replica leads: %+v", res)
	}
	if res := first(g, 1).apply(s); res.Changes[0].Err != base.ErrOK {
		t.Errorf("a restored one doesn't: %+v", res)
	}
	if res := (&SkipPartition{ID: id, Partition: 1, Reason: "bad"}).apply(s); res.Err != base.ErrInvalidState {
		t.Errorf("a partition is skipped though none may be: %v", res.Err)
	}
	if res := (&EndRestore{ID: id, Now: 6000}).apply(s); res.Err != base.ErrOK || s.Restoring(id) {
		t.Errorf("end: %v", res.Err)
	}
	if res := first(base.Gpid{AppID: id, PartitionIndex: 1}, 0).apply(s); res.Changes[0].Err != base.ErrOK {
		t.Errorf("after the end: %+v", res)
	}
	if res := (&EndRestore{ID: id, Failed: true, Now: 6000}).apply(s); res.Err != base.ErrObjectNotFound || s.TableNamed("t") == nil {
		t.Errorf("ended twice: %v", res.Err)
	}
	again(t, s)
}

// A restore that fails takes its table with it, and remembers why. Who recalls the table goes on with it.
func TestRestoreFails(t *testing.T) {
	s := newRestoring(t)
	id := startRestore(t, s, "t", true)
	if res := (&StartRestore{Table: CreateTable{Name: "t", Partitions: 1, MaxReplicas: 1}}).apply(s); res.Err != base.ErrAppExist || len(s.Restores()) != 1 {
		t.Errorf("over a table that is there: %v", res.Err)
	}
	if res := (&SkipPartition{ID: id, Partition: 5}).apply(s); res.Err != base.ErrObjectNotFound {
		t.Errorf("no such partition: %v", res.Err)
	}
	for _, why := range []string{"first", "second"} {
		if res := (&SkipPartition{ID: id, Partition: 1, Reason: why}).apply(s); res.Err != base.ErrOK {
			t.Fatal(res.Err)
		}
	}
	if r, _ := s.RestoreOf(id); len(r.Skipped) != 1 || r.Skipped[0] != (Skipped{1, "second"}) {
		t.Errorf("%+v", r.Skipped)
	}
	long := strings.Repeat("x", 2*maxReason)
	if res := (&EndRestore{ID: id, Failed: true, Reason: long, Now: 7000, Expire: 8}).apply(s); res.Err != base.ErrOK {
		t.Fatal(res.Err)
	}
	tab := s.Table(id)
	if r, _ := s.RestoreOf(id); r.Status != RestoreFailed || len(r.Reason) != maxReason || r.Ended != 7000 || tab.Status != Dropped || tab.ExpireSecond != 8 || s.TableNamed("t") != nil {
		t.Errorf("%+v, %+v", r, tab)
	}
	again(t, s)
	if res := (&RecallTable{ID: id}).apply(s); res.Err != base.ErrOK || !s.Restoring(id) {
		t.Errorf("recalled: %v", res.Err)
	}
	for i := range int32(2) {
		first(base.Gpid{AppID: id, PartitionIndex: i}, 1).apply(s)
	}
	(&EndRestore{ID: id}).apply(s)
	(&DropTable{ID: id}).apply(s)
	if res := (&RecallTable{ID: id}).apply(s); res.Err != base.ErrOK || s.Restoring(id) {
		t.Error("a table that was restored is restored again")
	}
}

// The list of what ended doesn't grow without end; what runs stays.
func TestRestoresAreForgotten(t *testing.T) {
	s := newRestoring(t)
	runs := startRestore(t, s, "runs", false)
	for i := range maxRestores + 5 {
		id := startRestore(t, s, fmt.Sprint(i), false)
		(&EndRestore{ID: id, Failed: true, Now: int64(i + 1)}).apply(s)
	}
	startRestore(t, s, "last", false)
	n := 0
	for _, r := range s.Restores() {
		if r.Status != RestoreRuns {
			n++
		}
	}
	if n != maxRestores || !s.Restoring(runs) {
		t.Errorf("%d are remembered", n)
	}
	if _, ok := s.RestoreOf(runs + 1); ok {
		t.Error("the first is remembered still")
	}
	again(t, s)
}

// A cluster of the first version has none: servers of it would make empty partitions.
func TestRestoreNeedsVersion(t *testing.T) {
	s := New()
	(&Init{Cluster: "c", Quorum: "q"}).apply(s)
	if _, err := s.EncodeFor(&StartRestore{}); !errors.Is(err, version.ErrTooLow) {
		t.Errorf("%v", err)
	}
}
