package state

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/base/version"
)

// Numbers that are on disks keep their meaning, and the version from which on they are
// written. Who adds a kind or a section adds it here.
func TestRegistry(t *testing.T) {
	kinds := map[byte]string{
		1: "*state.Init 1", 2: "*state.CreateTable 1", 3: "*state.DropTable 1", 4: "*state.RecallTable 1", 5: "*state.RenameTable 1",
		6: "*state.SetEnvs 1", 7: "*state.SetReplicas 1", 8: "*state.SetAtomic 1", 9: "*state.SetLevel 1", 10: "*state.ChangeConfigs 1",
		11: "*state.Recover 1", 20: "*state.SetNodeRole 1", 21: "*state.StartRun 1", 22: "*state.EndRun 1", 23: "*state.PurgeTables 1",
		24: "*state.SetVersion 2", 25: "*state.ReserveIDs 2",
		40: "*state.SetBackupPolicy 2", 41: "*state.RemoveBackupPolicy 2", 42: "*state.StartBackup 2", 43: "*state.NoteBackupTable 2",
		44: "*state.EndBackup 2", 45: "*state.DeleteBackup 2", 46: "*state.CleanedBackup 2",
		60: "*state.StartRestore 2", 61: "*state.EndRestore 2", 62: "*state.SkipPartition 2",
		70: "*state.AddDuplication 2", 71: "*state.ModifyDuplication 2", 72: "*state.ConfirmDuplications 2", 73: "*state.NoteRemoteTable 4",
		80: "*state.StartSplit 5", 81: "*state.ControlSplit 5", 82: "*state.OrderSwitch 5", 83: "*state.RegisterChild 5",
		84: "*state.PlaceServer 7",
		90: "*state.StartBulkLoad 6", 91: "*state.ControlBulkLoad 6", 92: "*state.NoteBulkLoad 6", 93: "*state.FailBulkLoad 6", 94: "*state.EndBulkLoad 6",
		95: "*state.ClearBulkLoad 6",
	}
	if len(commandsByKind) != len(kinds) {
		t.Errorf("there are %d kinds of commands, and the test knows %d", len(commandsByKind), len(kinds))
	}
	for k, c := range commandsByKind {
		if is := fmt.Sprint(c.typ, " ", c.since); is != kinds[k] || version.Understood(c.since) != nil {
			t.Errorf("kind %d is %q, and was %q", k, is, kinds[k])
		}
		if b := Encode(c.make()); b[0] != byte(c.since) || b[1] != k {
			t.Errorf("kind %d of version %d begins with %v", k, c.since, b[:2])
		}
	}
	sections := map[int16]string{
		1: "String 1", 2: "I64 1", 3: "I64 1", 5: "String 1", 6: "Bool 1", 7: "String 2",
		4: "List 1", 20: "List 1", 21: "List 1", 22: "Struct 1", 23: "List 1",
		40: "Struct 2", 70: "Struct 2", 80: "Struct 5", 84: "Struct 7", 90: "Struct 6",
		60: "List 2",
	}
	types := map[tbin.Type]string{tbin.Bool: "Bool", tbin.I64: "I64", tbin.String: "String", tbin.List: "List", tbin.Struct: "Struct"}
	if len(sectionsByID) != len(sections) {
		t.Errorf("there are %d sections, and the test knows %d", len(sectionsByID), len(sections))
	}
	for id, sec := range sectionsByID {
		if is := fmt.Sprint(types[sec.typ], " ", sec.since); is != sections[id] || version.Understood(sec.since) != nil {
			t.Errorf("section %d is %q, and was %q", id, is, sections[id])
		}
	}
}

// A section that a snapshot's version doesn't allow is not written, and not read.
func TestSectionsHaveVersions(t *testing.T) {
	s := New()
	s.cluster.id = "too early"
	if back, err := Restore(s.AppendSnapshot(nil)); err != nil || back.ID() != "" {
		t.Errorf("id %q, %v", back.ID(), err)
	}
	early := append([]byte(snapshotMagic), byte(version.First))
	if _, err := Restore(tbin.AppendStop(appendString(early, 7, "i"))); !errors.Is(err, tbin.ErrMalformed) {
		t.Errorf("an id in a snapshot of version 1: %v", err)
	}
	if _, err := Restore(tbin.AppendStop(appendI64(early, 1, 5))); !errors.Is(err, ErrUnknownCommand) {
		t.Errorf("a section of another type: %v", err)
	}
	if _, err := Restore(tbin.AppendStop(appendI64(early, 99, 5))); !errors.Is(err, ErrUnknownCommand) {
		t.Errorf("an unknown section: %v", err)
	}
}

// What a cluster of the first version writes is what the first release reads: the bytes are
// its.
func TestFirstVersionBytes(t *testing.T) {
	s := New()
	for _, c := range []struct {
		c    Command
		want string
	}{
		{&Init{Cluster: "x", Quorum: "q"}, "\x01\x01\x0b\x00\x01\x00\x00\x00\x01x\x0b\x00\x02\x00\x00\x00\x01q\x00"},
		{&CreateTable{Name: "a", Partitions: 1, MaxReplicas: 1}, "\x01\x02\x0b\x00\x01\x00\x00\x00\x01a\x0a\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x0a\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01\x00"},
	} {
		var b []byte
		var err error
		if _, ok := c.c.(*Init); ok {
			b = Encode(c.c)
		} else if b, err = s.EncodeFor(c.c); err != nil {
			t.Fatal(err)
		}
		if string(b) != c.want {
			t.Errorf("%T: %q, want %q", c.c, b, c.want)
		}
		if _, err := s.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	if snap := s.AppendSnapshot(nil); !bytes.HasPrefix(snap, []byte("PGSMETA\x01\x0b\x00\x01\x00\x00\x00\x01x\x0a\x00\x02")) {
		t.Errorf("snapshot %q", snap)
	}
}

// A command of a newer version is refused before it is in the log, until the version is raised.
func TestVersionIsRaised(t *testing.T) {
	s := New()
	s.Apply(Encode(&Init{Cluster: "x", Quorum: "q"}))
	if s.Version() != version.First || s.ID() != "" {
		t.Fatalf("version %d, id %q", s.Version(), s.ID())
	}
	newer := &Init{Cluster: "x", Version: 2, ID: "other"}
	if _, err := s.EncodeFor(newer); !errors.Is(err, version.ErrTooLow) {
		t.Errorf("a command of version 2: %v", err)
	}
	if _, err := s.EncodeFor(&SetLevel{LevelLively}); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		c    SetVersion
		want base.ErrorCode
	}{
		{SetVersion{To: 1}, base.ErrInvalidParameters},
		{SetVersion{To: 2}, base.ErrInvalidParameters}, // no identity
		{SetVersion{To: 2, ID: "i"}, base.ErrOK},
		{SetVersion{To: 2, ID: "j"}, base.ErrInvalidParameters},
	} {
		b, err := s.EncodeFor(&c.c)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := s.Apply(b); err != nil || res.Err != c.want {
			t.Errorf("%+v: %v %v, want %v", c.c, res.Err, err, c.want)
		}
	}
	// An Init of a later leader changes neither.
	s.Apply(Encode(&Init{Cluster: "x", Quorum: "r", Version: 2, ID: "k"}))
	for range 2 {
		if s.Version() != 2 || s.ID() != "i" || s.Quorum() != "q" {
			t.Fatalf("version %d, id %q, quorum %q", s.Version(), s.ID(), s.Quorum())
		}
		snap := s.AppendSnapshot(nil)
		if !bytes.HasPrefix(snap, []byte("PGSMETA\x02")) {
			t.Fatalf("snapshot %q", snap[:8])
		}
		var err error
		if s, err = Restore(snap); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.EncodeFor(newer); err != nil {
		t.Error(err)
	}
}

// A new cluster begins with what its first leader understands.
func TestNewClusterBegins(t *testing.T) {
	s := New()
	b, err := s.EncodeFor(&Init{Cluster: "x", Quorum: "q", Version: version.Newest, ID: "i"})
	if err != nil || b[0] != byte(version.Newest) {
		t.Fatalf("%q %v", b, err)
	}
	if res, err := s.Apply(b); err != nil || res.Err != base.ErrOK || s.Version() != version.Newest || s.ID() != "i" {
		t.Errorf("%v %v: version %d, id %q", res.Err, err, s.Version(), s.ID())
	}
}
