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
