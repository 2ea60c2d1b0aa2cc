package state

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"pegasus/base"
)

// parseBackup reads a command about backups of a script; nil if it is none.
func parseBackup(t *testing.T, d *datadriven.TestData) Command {
	t.Helper()
	var id, now, bytes int64
	var table, keep, start, status int
	var name, provider, path, why string
	var on bool
	d.MaybeScanArgs(t, "id", &id)
	d.MaybeScanArgs(t, "now", &now)
	d.MaybeScanArgs(t, "bytes", &bytes)
	d.MaybeScanArgs(t, "table", &table)
	d.MaybeScanArgs(t, "keep", &keep)
	d.MaybeScanArgs(t, "start", &start)
	d.MaybeScanArgs(t, "status", &status)
	d.MaybeScanArgs(t, "name", &name)
	d.MaybeScanArgs(t, "provider", &provider)
	d.MaybeScanArgs(t, "path", &path)
	d.MaybeScanArgs(t, "why", &why)
	d.MaybeScanArgs(t, "on", &on)
	var tables []int32
	for _, a := range d.CmdArgs {
		if a.Key == "tables" {
			for _, v := range a.Vals {
				var n int32
				if _, err := fmt.Sscan(v, &n); err != nil {
					t.Fatalf("%s: %v", d.Pos, err)
				}
				tables = append(tables, n)
			}
		}
	}
	switch d.Cmd {
	case "found":
		return &Init{Cluster: name, Quorum: "q", Version: 2, ID: "i"}
	case "add-policy", "set-policy":
		return &SetBackupPolicy{New: d.Cmd == "add-policy", Policy: BackupPolicy{Name: name, Provider: provider, Tables: tables, Interval: 86400,
			Keep: int32(keep), Start: int32(start), Disabled: on, LastStart: now}}
	case "remove-policy":
		return &RemoveBackupPolicy{name}
	case "backup":
		return &StartBackup{ID: id, Policy: name, Provider: provider, Path: path, Root: "onebox", Tables: tables, Now: now}
	case "backup-table":
		return &NoteBackupTable{id, int32(table), bytes, why}
	case "end-backup":
		return &EndBackup{id, BackupStatus(status), now, why}
	case "delete-backup":
		return &DeleteBackup{id}
	case "cleaned":
		return &CleanedBackup{id}
	}
	return nil
}

func showBackups(b *strings.Builder, s *State) {
	for _, p := range s.BackupPolicies() {
		fmt.Fprintf(b, "policy %s: %s tables %v every %d keep %d at %d disabled %v, last %d\n", p.Name, p.Provider, p.Tables, p.Interval, p.Keep, p.Start, p.Disabled, p.LastStart)
	}
	if s.LastBackup() != 0 {
		fmt.Fprintf(b, "last backup %d\n", s.LastBackup())
	}
	for _, v := range s.Backups() {
		fmt.Fprintf(b, "backup %d of %q: %s/%s/%s from %d to %d status %d %q cleaning %v deleting %v\n", v.ID, v.Policy, v.Provider, v.Path, v.Root, v.Began, v.Ended,
			v.Status, v.Why, v.Cleaning, v.Deleting)
		for _, t := range v.Tables {
			fmt.Fprintf(b, "  %d %s of %d done %v %d bytes %q\n", t.ID, t.Name, t.Partitions, t.Done, t.Bytes, t.Skipped)
		}
	}
}

// backupCommands are one of each kind, which can be applied in that order to a State with table 1.
func backupCommands() []Command {
	return []Command{
		&SetBackupPolicy{BackupPolicy{Name: "daily", Provider: "local_service", Tables: []int32{1, 99}, Interval: 86400, Keep: 3, Start: AnyTime}, true},
		&StartBackup{ID: 5, Policy: "daily", Provider: "local_service", Path: "p", Root: "onebox", Tables: []int32{1, 99}, Now: 4},
		&NoteBackupTable{5, 1, 77, ""},
		&EndBackup{5, BackupCompleted, 6, ""},
		&StartBackup{ID: 8, Provider: "local_service", Root: "onebox", Tables: []int32{1}, Now: 8},
		&EndBackup{8, BackupFailed, 9, "why"},
		&DeleteBackup{5},
		&CleanedBackup{5},
		&RemoveBackupPolicy{"daily"},
	}
}

func backupState(t *testing.T) *State {
	t.Helper()
	s := New()
	for _, c := range []Command{&Init{Cluster: "x", Quorum: "q", Version: 2, ID: "i"}, &CreateTable{Name: "a", Partitions: 1, MaxReplicas: 3}} {
		if res, err := s.Apply(Encode(c)); err != nil || res.Err != base.ErrOK {
			t.Fatal(res.Err, err)
		}
	}
	return s
}

// Each command changes something, and a snapshot after it comes to the same State.
func TestBackupCommands(t *testing.T) {
	s := backupState(t)
	for _, c := range backupCommands() {
		before := show(s)
		if res, err := s.Apply(Encode(c)); err != nil || res.Err != base.ErrOK || show(s) == before {
			t.Fatalf("%T: %v, %v\n%s", c, res.Err, err, show(s))
		}
		checkSame(t, s)
	}
}

// What readers kept stays as it was.
func TestBackupsAreReplaced(t *testing.T) {
	s := backupState(t)
	s.Apply(Encode(backupCommands()[0]))
	s.Apply(Encode(backupCommands()[1]))
	policies, list := s.BackupPolicies(), s.Backups()
	was := fmt.Sprintf("%+v %+v", policies, list)
	for _, c := range backupCommands()[2:] {
		if res, err := s.Apply(Encode(c)); err != nil || res.Err != base.ErrOK {
			t.Fatalf("%T: %v, %v", c, res.Err, err)
		}
		if is := fmt.Sprintf("%+v %+v", policies, list); is != was {
			t.Fatalf("after %T a reader has\n%s\nand had\n%s", c, is, was)
		}
	}
}

// Of backups that failed the newest are remembered.
func TestFailedBackupsAreForgotten(t *testing.T) {
	s := backupState(t)
	for id := int64(1); id <= maxFailedBackups+5; id++ {
		for _, c := range []Command{&StartBackup{ID: id, Tables: []int32{1}, Now: id}, &EndBackup{id, BackupFailed, id, "x"}, &CleanedBackup{id}} {
			if id == 3 {
				if _, ok := c.(*CleanedBackup); ok {
					continue // its files are still there
				}
			}
			if res, err := s.Apply(Encode(c)); err != nil || res.Err != base.ErrOK {
				t.Fatalf("%T: %v, %v", c, res.Err, err)
			}
		}
	}
	l := s.Backups()
	if len(l) != maxFailedBackups+1 || l[0].ID != 3 || l[1].ID != 6 || s.LastBackup() != maxFailedBackups+5 {
		t.Errorf("%d backups, from %d and %d, last %d", len(l), l[0].ID, l[1].ID, s.LastBackup())
	}
	checkSame(t, s)
}

// A backup that a restore reads isn't deleted, and none begins to read one that is being deleted.
func TestBackupsThatAreRead(t *testing.T) {
	s := backupState(t)
	apply := func(c Command) Result {
		t.Helper()
		res, err := s.Apply(Encode(c))
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, s)
		return res
	}
	for _, c := range []Command{&StartBackup{ID: 5, Provider: "p", Path: "x/y", Root: "onebox", Tables: []int32{1}, Now: 5}, &EndBackup{5, BackupCompleted, 6, ""}} {
		if res := apply(c); res.Err != base.ErrOK {
			t.Fatalf("%+v: %v", c, res.Err)
		}
	}
	restore := func(name, provider, path, cluster string, id int64) Result {
		return apply(&StartRestore{CreateTable{Name: name, Partitions: 1, MaxReplicas: 1}, Restoration{Provider: provider, Path: path, Cluster: cluster, BackupID: id, App: "a", AppID: 1}})
	}
	other := restore("other", "p", "x", "onebox", 5)
	reads := restore("reads", "p", "/x/y/", "onebox", 5)
	if other.Err != base.ErrOK || reads.Err != base.ErrOK {
		t.Fatal(other.Err, reads.Err)
	}
	if res := apply(&DeleteBackup{5}); res.Err != base.ErrInvalidState || res.TableID != reads.TableID {
		t.Errorf("delete what is read: %+v", res)
	}
	apply(&EndRestore{ID: reads.TableID, Now: 9})
	if res := apply(&DeleteBackup{5}); res.Err != base.ErrOK {
		t.Errorf("delete: %+v", res)
	}
	if res := restore("late", "p", "x", "y/onebox", 5); res.Err != base.ErrObjectNotFound || s.TableNamed("late") != nil {
		t.Errorf("restore what goes: %+v", res)
	}
	if res := restore("late", "q", "x/y", "onebox", 5); res.Err != base.ErrOK {
		t.Errorf("restore what is elsewhere: %+v", res)
	}
}
