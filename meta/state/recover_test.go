package state

import (
	"bytes"
	"testing"

	"pegasus/base"
)

func TestRecover(t *testing.T) {
	table := func(id int32, name string) Table {
		return Table{ID: id, Status: Available, Name: name, Type: "pegasus", Stateful: true, MaxReplicas: 3, InitPartitions: 2,
			Envs: []Env{{Key: "default_ttl", Val: "5"}}, Parts: []Config{{Ballot: 7, Primary: 1}, {Ballot: 9, Primary: 2}}}
	}
	for _, c := range []struct {
		name   string
		tables []Table
		want   base.ErrorCode
	}{
		{"two tables with a gap between their ids", []Table{table(2, "a"), table(5, "b")}, base.ErrOK},
		{"none", nil, base.ErrOK},
		{"out of order", []Table{table(5, "a"), table(2, "b")}, base.ErrInvalidParameters},
		{"one name twice", []Table{table(2, "a"), table(5, "a")}, base.ErrInvalidParameters},
		{"no name", []Table{table(2, "a"), table(5, "")}, base.ErrInvalidParameters},
		{"no partitions", []Table{table(2, "a"), {ID: 3, Status: Available, Name: "b", MaxReplicas: 1}}, base.ErrInvalidParameters},
	} {
		s := New()
		empty := s.AppendSnapshot(nil)
		res, err := s.Apply(Encode(&Recover{Tables: c.tables}))
		if err != nil || res.Err != c.want {
			t.Errorf("%s: %v %v, want %v", c.name, res.Err, err, c.want)
			continue
		}
		if c.want != base.ErrOK || len(c.tables) == 0 {
			if !bytes.Equal(s.AppendSnapshot(nil), empty) {
				t.Errorf("%s: the state changed", c.name)
			}
			continue
		}
		again, err := Restore(s.AppendSnapshot(nil))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := again.TableNamed("b"); again.LastID() != 5 || got == nil || got.Parts[1].Primary != 2 || got.Parts[1].Ballot != 9 || len(got.Envs) != 1 {
			t.Errorf("%s: %+v, last id %d", c.name, got, again.LastID())
		}
		if l := again.Load(2); l.Primaries != 2 {
			t.Errorf("%s: node 2 has %d primaries, want 2", c.name, l.Primaries)
		}
		if res, err := s.Apply(Encode(&Recover{Tables: c.tables})); err != nil || res.Err != base.ErrServiceAlreadyRunning {
			t.Errorf("%s: a second time: %v %v", c.name, res.Err, err)
		}
	}
}

// A State from a backup changes no configuration until it was merged with what the replica
// servers have; that takes the place of its tables.
func TestRecoverMerges(t *testing.T) {
	s := New()
	for _, c := range []Command{&Init{Cluster: "x", Quorum: "Q"}, &CreateTable{Name: "a", Partitions: 1, MaxReplicas: 3}, &CreateTable{Name: "b", Partitions: 1, MaxReplicas: 3}} {
		if _, err := s.Apply(Encode(c)); err != nil {
			t.Fatal(err)
		}
	}
	if s.Quorum() != "Q" || s.Level() != LevelSteady {
		t.Errorf("quorum %q, level %v", s.Quorum(), s.Level())
	}
	s.BeginQuorum("R", true)
	s, err := Restore(s.AppendSnapshot(nil))
	if err != nil || s.Quorum() != "R" || !s.Restored() || s.Level() != LevelFreezed {
		t.Fatalf("restored: %q %v %v, %v", s.Quorum(), s.Restored(), s.Level(), err)
	}
	tables := []Table{{ID: 1, Status: Available, Name: "c", MaxReplicas: 3, Parts: []Config{{Ballot: 5, Primary: 7}}}}
	for _, c := range []struct {
		merged bool
		want   base.ErrorCode
	}{{false, base.ErrServiceAlreadyRunning}, {true, base.ErrOK}, {true, base.ErrServiceAlreadyRunning}} {
		if res, err := s.Apply(Encode(&Recover{Tables: tables, Merged: c.merged})); err != nil || res.Err != c.want {
			t.Errorf("merged %v: %v %v, want %v", c.merged, res.Err, err, c.want)
		}
	}
	if s.Restored() || s.Level() != LevelSteady || s.TableNamed("a") != nil || s.TableNamed("c") == nil || s.Load(7).Primaries != 1 {
		t.Errorf("merged: restored %v, level %v, %v", s.Restored(), s.Level(), s.TableNamed("c"))
	}
	// The ids of tables that the merge left out aren't used again.
	if res, err := s.Apply(Encode(&CreateTable{Name: "d", Partitions: 1, MaxReplicas: 3})); err != nil || res.TableID != 3 {
		t.Errorf("the next table: %+v %v", res, err)
	}
}

// Tables that the State doesn't know come beside its own; nothing of those changes.
func TestRecoverUnknown(t *testing.T) {
	s := New()
	apply := func(c Command, want base.ErrorCode) Result {
		t.Helper()
		res, err := s.Apply(Encode(c))
		if err != nil || res.Err != want {
			t.Fatalf("%+v: %v %v, want %v", c, res.Err, err, want)
		}
		return res
	}
	apply(&ReserveIDs{Last: 7}, base.ErrOK)
	apply(&ReserveIDs{Last: 3}, base.ErrOK)
	apply(&ReserveIDs{Last: 0}, base.ErrInvalidParameters)
	apply(&ReserveIDs{Last: MaxTableID + 1}, base.ErrInvalidParameters)
	if res := apply(&CreateTable{Name: "new", Partitions: 1, MaxReplicas: 3}, base.ErrOK); res.TableID != 8 {
		t.Fatalf("the first table has id %d", res.TableID)
	}
	table := func(id int32, name string) Table {
		return Table{ID: id, Status: Available, Name: name, MaxReplicas: 3, Parts: []Config{{Ballot: 5, Primary: addr(7)}}}
	}
	old := []Table{table(2, "a"), table(9, "b")}
	apply(&Recover{Tables: old}, base.ErrServiceAlreadyRunning)
	apply(&Recover{Tables: old, Unknown: true, Merged: true}, base.ErrServiceAlreadyRunning)
	apply(&Recover{Tables: []Table{table(2, "a"), table(8, "b")}, Unknown: true}, base.ErrServiceAlreadyRunning)
	apply(&Recover{Tables: []Table{table(2, "a"), table(9, "new")}, Unknown: true}, base.ErrInvalidParameters)
	apply(&Recover{Tables: old, Unknown: true}, base.ErrOK)
	again, err := Restore(s.AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*State{s, again} {
		if s.LastID() != 9 || s.TableNamed("a") == nil || s.TableNamed("b") == nil || s.TableNamed("new").ID != 8 || s.Load(addr(7)).Primaries != 2 {
			t.Errorf("last id %d, %+v", s.LastID(), s.Load(addr(7)))
		}
	}
	checkSame(t, s)
	if needed(&Recover{}) != 1 || needed(&Recover{Unknown: true}) != 2 || needed(&ReserveIDs{}) != 2 {
		t.Error("what 086adc4 doesn't know needs version 2")
	}
}
