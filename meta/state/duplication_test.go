package state

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"pegasus/base/version"
)

// parseDuplication reads a command about duplications of a script; nil if it is none.
func parseDuplication(t *testing.T, d *datadriven.TestData) Command {
	t.Helper()
	var id, table, status, mode, partition int
	var decree, ballot, copied int64
	d.MaybeScanArgs(t, "copied", &copied)
	var remote, to string
	var on, setMode bool
	d.MaybeScanArgs(t, "id", &id)
	d.MaybeScanArgs(t, "table", &table)
	d.MaybeScanArgs(t, "status", &status)
	setMode = d.MaybeScanArgs(t, "mode", &mode)
	d.MaybeScanArgs(t, "partition", &partition)
	d.MaybeScanArgs(t, "decree", &decree)
	d.MaybeScanArgs(t, "ballot", &ballot)
	d.MaybeScanArgs(t, "remote", &remote)
	d.MaybeScanArgs(t, "to", &to)
	d.MaybeScanArgs(t, "checkpoint", &on)
	switch d.Cmd {
	case "add-dup":
		return &AddDuplication{Table: int32(table), ID: int32(id), Remote: remote, RemoteTable: to, RemoteReplicas: 3, Checkpoint: on, Now: 5000}
	case "modify-dup":
		return &ModifyDuplication{Table: int32(table), ID: int32(id), Status: DuplicationStatus(status), SetMode: setMode, Mode: DuplicationMode(mode)}
	case "note-remote":
		return &NoteRemoteTable{Table: int32(table), ID: int32(id), RemoteID: int32(decree), Made: on}
	case "confirm-dup":
		return &ConfirmDuplications{[]Confirmation{{Table: int32(table), ID: int32(id), Partition: int32(partition), Decree: decree, Ballot: ballot, Copied: copied}}}
	}
	return nil
}

func showDuplications(b *strings.Builder, s *State) {
	for _, d := range duplicationFeature.of(s).list {
		fmt.Fprintf(b, "dup %d of table %d to %s/%s with %d replicas, checkpoint %v, status %d mode %d confirmed %v",
			d.ID, d.Table, d.Remote, d.RemoteTable, d.RemoteReplicas, d.Checkpoint, d.Status, d.Mode, d.Confirmed)
		if len(d.Copied)+len(d.Halves) > 0 {
			fmt.Fprintf(b, " copied %v halves %+v", d.Copied, d.Halves)
		}
		b.WriteString("\n")
	}
	s.Tables(func(t *Table) {
		if t.Duplicating {
			fmt.Fprintf(b, "table %d is duplicated\n", t.ID)
		}
	})
}

// duplicationCommands are seeds of the fuzz test.
func duplicationCommands() []Command {
	return []Command{
		&AddDuplication{Table: 1, ID: 7, Remote: "b", RemoteTable: "a", RemoteReplicas: 3, Checkpoint: true, Now: 5},
		&ModifyDuplication{Table: 1, ID: 7, Status: DupApp, SetMode: true, Mode: DupSkip},
		&ConfirmDuplications{[]Confirmation{{Table: 1, ID: 7}, {Table: 1, ID: 7, Partition: 1, Decree: 5, Copied: 3}}},
		&NoteRemoteTable{Table: 1, ID: 7, RemoteID: 9, Made: true},
	}
}

// What a reader got stays as it was.
func TestDuplicationsAreReplaced(t *testing.T) {
	s := New()
	for _, c := range append([]Command{&Init{Cluster: "x", Version: version.Newest, ID: "i"}, &CreateTable{Name: "a", Partitions: 2, MaxReplicas: 3}}, duplicationCommands()[:1]...) {
		if res, err := s.Apply(Encode(c)); err != nil || res.Err != "ERR_OK" {
			t.Fatalf("%+v: %v, %v", c, res, err)
		}
	}
	was := s.DuplicationsOf(1)
	for _, c := range duplicationCommands()[1:] {
		s.Apply(Encode(c))
	}
	if is := s.DuplicationsOf(1); was[0].Status != DupPrepare || was[0].Confirms(1) != NotConfirmed || is[0].Status != DupLog || is[0].Confirms(1) != 5 || was[0].RemoteID != 0 || is[0].RemoteID != 9 || !is[0].RemoteMade {
		t.Errorf("%+v, then %+v", was, is)
	}
}
