package state

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"pegasus/base"
	"pegasus/base/version"
)

// parseSplit reads a command about splits of a script; nil if it is none.
func parseSplit(t *testing.T, d *datadriven.TestData) Command {
	t.Helper()
	var table, count, parent int
	d.MaybeScanArgs(t, "table", &table)
	d.MaybeScanArgs(t, "count", &count)
	d.MaybeScanArgs(t, "parent", &parent)
	switch d.Cmd {
	case "found-newest":
		return &Init{Cluster: "x", Quorum: "q", Version: version.Newest, ID: "i"}
	case "start-split":
		return &StartSplit{Table: int32(table), Count: int32(count)}
	case "pause-split":
		return &ControlSplit{Table: int32(table), Do: SplitPause, Parent: int32(parent)}
	case "restart-split":
		return &ControlSplit{Table: int32(table), Do: SplitRestart, Parent: int32(parent)}
	case "cancel-split":
		return &ControlSplit{Table: int32(table), Do: SplitCancel, Parent: int32(parent)}
	case "control-split":
		return &ControlSplit{Table: int32(table), Do: SplitControl(count), Parent: int32(parent)}
	case "order-switch":
		return &OrderSwitch{Table: int32(table), Parent: int32(parent)}
	case "register-child": // the child's configuration, as a change's
		c := parseChange(t, append([]string{"0.0"}, strings.Fields(d.Input)...))
		return &RegisterChild{Parent: base.Gpid{AppID: int32(table), PartitionIndex: int32(parent)}, Config: c.Config}
	}
	return nil
}

func showSplits(b *strings.Builder, s *State) {
	for _, sp := range s.Splits() {
		fmt.Fprintf(b, "table %d is being split, looks at hashes since %v:", sp.Table, sp.Added)
		for p, is := range sp.Status {
			fmt.Fprintf(b, " %d %s", p, [...]string{"done", "waits", "paused", "ordered"}[is])
		}
		b.WriteString("\n")
	}
}

// splitCommands are seeds of the fuzz test.
func splitCommands() []Command {
	return []Command{
		&CreateTable{Name: "split", Partitions: 1, MaxReplicas: 3},
		&ChangeConfigs{[]Change{{Gpid: base.Gpid{AppID: 6}, Config: Config{Ballot: 1, Primary: addr(1)}}}},
		&StartSplit{Table: 6, Count: 2},
		&ControlSplit{Table: 6, Do: SplitPause, Parent: -1},
		&ControlSplit{Table: 6, Do: SplitRestart},
		&OrderSwitch{Table: 6},
		&RegisterChild{Parent: base.Gpid{AppID: 6}, Config: Config{Ballot: 2, Primary: addr(1), LastCommitted: 9}},
	}
}

// splitting returns a State of that version with a table of two partitions that have members, and what becomes of commands.
func splitting(t *testing.T, v version.Version) (*State, func(base.ErrorCode, ...Command)) {
	t.Helper()
	s := New()
	must := func(want base.ErrorCode, cs ...Command) {
		t.Helper()
		for _, c := range cs {
			entry, err := s.EncodeFor(c)
			if err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
			if res, err := s.Apply(entry); err != nil || res.Err != want {
				t.Fatalf("%+v: %v, %v, want %v", c, res.Err, err, want)
			}
			checkSame(t, s)
			checkIndex(t, s)
		}
	}
	must(base.ErrOK, &Init{Cluster: "x", Version: v, ID: "i"}, &CreateTable{Name: "a", Partitions: 2, MaxReplicas: 3},
		&ChangeConfigs{[]Change{{Gpid: base.Gpid{AppID: 1}, Config: Config{Ballot: 1, Primary: addr(1)}}, {Gpid: base.Gpid{AppID: 1, PartitionIndex: 1}, Config: Config{Ballot: 1, Primary: addr(1)}}}})
	return s, must
}

// A cluster in which programs may run that can't split a duplicated table refuses it, as they do.
func TestSplitOfDuplicatedHasVersion(t *testing.T) {
	dup := []Command{&AddDuplication{Table: 1, ID: 7, Remote: "b", RemoteTable: "a", RemoteReplicas: 1, Now: 5},
		&ConfirmDuplications{[]Confirmation{{Table: 1, ID: 7, Decree: 3, Ballot: 1}, {Table: 1, ID: 7, Partition: 1, Decree: 3, Ballot: 1}}}}
	s, must := splitting(t, version.DuplicatedSplits.Since()-1)
	must(base.ErrOK, dup...)
	must(base.ErrInvalidState, &StartSplit{1, 4})
	if _, err := s.EncodeFor(&ConfirmDuplications{[]Confirmation{{Copied: 4}}}); err == nil {
		t.Error("a copy is told to programs that don't know it")
	}
	must(base.ErrOK, &SetVersion{To: version.DuplicatedSplits.Since(), ID: "i"}, &StartSplit{1, 4})
}

// What a reader got of a duplication stays as it was when partitions are split.
func TestHalvesAreReplaced(t *testing.T) {
	s, must := splitting(t, version.Newest)
	must(base.ErrOK, &AddDuplication{Table: 1, ID: 7, Remote: "b", RemoteTable: "a", RemoteReplicas: 1, Now: 5},
		&ConfirmDuplications{[]Confirmation{{Table: 1, ID: 7, Decree: 3, Ballot: 1, Copied: 2}, {Table: 1, ID: 7, Partition: 1, Decree: 3, Ballot: 1}}},
		&StartSplit{1, 4}, &OrderSwitch{1, 0}, &OrderSwitch{1, 1})
	before := s.DuplicationsOf(1)[0]
	must(base.ErrOK, &RegisterChild{Parent: base.Gpid{AppID: 1}, Config: Config{Ballot: 2, Primary: addr(1), LastCommitted: 9}},
		&RegisterChild{Parent: base.Gpid{AppID: 1, PartitionIndex: 1}, Config: Config{Ballot: 2, Primary: addr(1), LastCommitted: 20}})
	half := s.DuplicationsOf(1)[0]
	must(base.ErrOK, &ConfirmDuplications{[]Confirmation{{Table: 1, ID: 7, Decree: 9, Ballot: 1}, {Table: 1, ID: 7, Partition: 1, Decree: 30, Ballot: 1, Copied: 25}}})
	after := s.DuplicationsOf(1)[0]
	if len(before.Confirmed) != 2 || len(before.Halves) != 0 || !half.Waits(2) || !half.Waits(3) || half.Confirms(2) != 8 || half.Confirms(3) != 19 || half.Confirms(0) != 3 {
		t.Errorf("%+v, then %+v", before, half)
	}
	// One goes on with its log. The other's parent was copied when it had those rows no more.
	if after.Waits(2) || after.Copies(2) || after.Confirms(2) != 9 || after.Waits(3) || !after.Copies(3) || after.Confirms(3) != 19 {
		t.Errorf("%+v", after)
	}
}

// A State that was restored from a backup goes on where the replica servers are; what became of two partitions since then is copied to
// other clusters. A split that doesn't fit its table is refused.
func TestRecoverGoesOn(t *testing.T) {
	part := func(ballot, committed int64) Config {
		return Config{Ballot: ballot, Primary: addr(1), LastCommitted: committed}
	}
	for committed, confirmed := range map[int64]int64{70: 49, 20: 19} { // of the child, which may have less than its parent by now
		table := Table{ID: 1, Name: "a", Status: Available, MaxReplicas: 3, Parts: []Config{part(4, 50), part(4, 60), part(5, committed), {Ballot: ChildBallot}}}
		split := Split{Table: 1, Status: []SplitStatus{SplitDone, SplitOrdered}}
		s, must := splitting(t, version.Newest)
		must(base.ErrOK, &AddDuplication{Table: 1, ID: 7, Remote: "b", RemoteTable: "a", RemoteReplicas: 1, Now: 5},
			&ConfirmDuplications{[]Confirmation{{Table: 1, ID: 7, Decree: 3, Ballot: 1}, {Table: 1, ID: 7, Partition: 1, Decree: 3, Ballot: 1}}})
		s.BeginQuorum("other", true)
		if !s.Restored() {
			t.Fatal("not restored")
		}
		wrong := table
		wrong.Parts = table.Parts[:2]
		must(base.ErrInvalidParameters, &Recover{Tables: []Table{table}, Merged: true}, &Recover{Tables: []Table{wrong}, Merged: true, Splits: []Split{split}},
			&Recover{Tables: []Table{table}, Merged: true, Splits: []Split{{Table: 1, Status: []SplitStatus{SplitOrdered, SplitDone}}}},
			&Recover{Tables: []Table{table}, Merged: true, Splits: []Split{{Table: 1, Status: []SplitStatus{SplitOrdered, SplitOrdered}}}})
		must(base.ErrOK, &Recover{Tables: []Table{table}, Merged: true, Splits: []Split{split}})
		d := s.DuplicationsOf(1)[0]
		if len(s.Splits()) != 1 || !d.Waits(2) || !d.Copies(2) || d.Confirms(2) != confirmed || d.Confirms(3) != NotConfirmed {
			t.Errorf("%+v, %+v", s.Splits(), d)
		}
		must(base.ErrOK, &RegisterChild{Parent: base.Gpid{AppID: 1, PartitionIndex: 1}, Config: Config{Ballot: 5, Primary: addr(1), LastCommitted: 55}})
		if d := s.DuplicationsOf(1)[0]; len(s.Splits()) != 0 || !d.Waits(3) || d.Copies(3) || d.Confirms(3) != 54 {
			t.Errorf("%+v, %+v", s.Splits(), d)
		}
	}
}
