package state

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"pegasus/base"
)

// backups are the plans of regular backups, and the backups that were begun and weren't deleted.
type backups struct {
	policies []BackupPolicy // by name
	list     []Backup       // by id
	lastID   int64          // the highest id that a backup had
}

var backupFeature = addFeature("backup",
	[]command{
		newCommand[SetBackupPolicy](40, 2),
		newCommand[RemoveBackupPolicy](41, 2),
		newCommand[StartBackup](42, 2),
		newCommand[NoteBackupTable](43, 2),
		newCommand[EndBackup](44, 2),
		newCommand[DeleteBackup](45, 2),
		newCommand[CleanedBackup](46, 2),
	},
	func(of func(*State) *backups) []section {
		return []section{structSection(40, 2, func(s *State) resettable { return of(s) })}
	})

// AnyTime is the start of a policy that may begin at any time of the day.
const AnyTime = 24 * 60

// BackupPolicy is a plan of regular backups of some tables.
type BackupPolicy struct {
	Name, Provider string
	Tables         []int32 // ascending; they may be dropped
	Interval       int64   // seconds from one to the next
	Keep           int32   // how many are kept
	Start          int32   // minute of the day from 0, or AnyTime
	Disabled       bool
	LastStart      int64 // when its last backup began, Unix milliseconds; 0: there was none
}

// BackupStatus is how far a backup came.
type BackupStatus int32

// The values are those of backup_status (idl/backup_admin.thrift).
const (
	BackupRunning   BackupStatus = 0
	BackupCompleted BackupStatus = 1
	BackupFailed    BackupStatus = 2
	BackupCancelled BackupStatus = 3
)

// Backup is one backup of some tables.
type Backup struct {
	ID           int64  // Unix milliseconds of its begin, or more
	Policy       string // "": it was asked for once
	Provider     string
	Path, Root   string // where it is at the provider: [Path/]Root/ID
	Began, Ended int64  // Unix milliseconds; Ended is 0 while it runs
	Status       BackupStatus
	Why          string // it failed or was cancelled
	Cleaning     bool   // its files are to be removed, and the record stays
	Deleting     bool   // its files are to be removed, and then the record
	Tables       []BackupTable
}

// BackupTable is a table in a backup.
type BackupTable struct {
	ID         int32
	Name       string // when the backup began
	Partitions int32
	Done       bool // all its partitions are there, or it is skipped
	Bytes      int64
	Skipped    string // why it isn't in the backup, "" if it is
}

// Running tells whether the backup goes on.
func (b *Backup) Running() bool { return b.Status == BackupRunning }

// BackupPolicies returns all policies, by name. Nothing in them may be changed.
func (s *State) BackupPolicies() []BackupPolicy { return backupFeature.of(s).policies }

// BackupPolicy returns a policy.
func (s *State) BackupPolicy(name string) (p BackupPolicy, ok bool) {
	b := backupFeature.of(s)
	i, ok := b.policy(name)
	if ok {
		p = b.policies[i]
	}
	return p, ok
}

// Backups returns all backups, by id: those that run, and those that have ended and weren't deleted.
// Nothing in them may be changed.
func (s *State) Backups() []Backup { return backupFeature.of(s).list }

// Backup returns a backup.
func (s *State) Backup(id int64) (v Backup, ok bool) {
	b := backupFeature.of(s)
	i, ok := b.find(id)
	if ok {
		v = b.list[i]
	}
	return v, ok
}

// LastBackup returns the highest id that a backup had, 0 if there never was one.
func (s *State) LastBackup() int64 { return backupFeature.of(s).lastID }

// lies tells whether a backup is at that place.
func (b *Backup) lies(provider, dir string, id int64) bool {
	return b.ID == id && b.Provider == provider && path.Join("/", b.Path, b.Root) == path.Join("/", dir)
}

// backupGoing tells whether the files that a restore is to read are being removed, or are about to be.
func (s *State) backupGoing(r *Restoration) bool {
	b, ok := s.Backup(r.BackupID)
	return ok && (b.Cleaning || b.Deleting) && b.lies(r.Provider, path.Join(r.Path, r.Cluster, r.Policy), r.BackupID)
}

func (b *backups) policy(name string) (int, bool) {
	return slices.BinarySearchFunc(b.policies, name, func(p BackupPolicy, n string) int { return strings.Compare(p.Name, n) })
}

func (b *backups) find(id int64) (int, bool) {
	return slices.BinarySearchFunc(b.list, id, func(v Backup, id int64) int { return cmp.Compare(v.ID, id) })
}

// running returns the backup of a policy that goes on, 0 if none does.
func (b *backups) running(policy string) int64 {
	for i := range b.list {
		if b.list[i].Running() && b.list[i].Policy == policy {
			return b.list[i].ID
		}
	}
	return 0
}

// change replaces a backup by what f makes of a copy: readers keep the old list.
func (b *backups) change(i int, f func(*Backup)) {
	b.list = slices.Clone(b.list)
	f(&b.list[i])
}

// SetBackupPolicy makes a policy, or changes it; when it began last stays as it is.
// base.ErrInvalidParameters: there is one, and New is set; base.ErrObjectNotFound: there is none.
type SetBackupPolicy struct {
	Policy BackupPolicy
	New    bool
}

func (c *SetBackupPolicy) apply(s *State) Result {
	b := backupFeature.of(s)
	p := c.Policy
	i, there := b.policy(p.Name)
	switch {
	case there && c.New || p.Name == "" || !ascending(p.Tables):
		return failed(base.ErrInvalidParameters)
	case !there && !c.New:
		return failed(base.ErrObjectNotFound)
	}
	b.policies = slices.Clone(b.policies)
	if there {
		p.LastStart = b.policies[i].LastStart
		b.policies[i] = p
	} else {
		p.LastStart = 0
		b.policies = slices.Insert(b.policies, i, p)
	}
	return Result{Err: base.ErrOK}
}

// RemoveBackupPolicy forgets a policy. Its backups stay. base.ErrObjectNotFound if there is none,
// base.ErrBusy while a backup of it runs.
type RemoveBackupPolicy struct{ Name string }

func (c *RemoveBackupPolicy) apply(s *State) Result {
	b := backupFeature.of(s)
	i, ok := b.policy(c.Name)
	switch {
	case !ok:
		return failed(base.ErrObjectNotFound)
	case b.running(c.Name) != 0:
		return failed(base.ErrBusy)
	}
	b.policies = slices.Delete(slices.Clone(b.policies), i, i+1)
	return Result{Err: base.ErrOK}
}

// BackedUp returns the id of a backup that hasn't got all of a table yet, and takes it with so many partitions; 0 if there is none.
func (s *State) BackedUp(table, partitions int32) int64 {
	list := backupFeature.of(s).list
	for i := range list {
		if list[i].Running() && slices.ContainsFunc(list[i].Tables, func(t BackupTable) bool { return t.ID == table && t.Partitions == partitions && !t.Done }) {
			return list[i].ID
		}
	}
	return 0
}

// StartBackup begins a backup, whose tables are those of the ids in Tables: their names and partitions
// are taken from the State. base.ErrInvalidVersion: the id isn't above all earlier ones;
// base.ErrInvalidState: one of the tables is being backed up, or the policy is (TableID tells the table);
// base.ErrObjectNotFound: there is no such policy, or it is disabled; base.ErrAppNotExist: none of the tables is
// there. A table that isn't there is left out.
type StartBackup struct {
	ID                           int64
	Policy, Provider, Path, Root string
	Tables                       []int32
	Now                          int64 // Unix milliseconds
}

// CheckBackup says what would become of a StartBackup: base.ErrOK, or why not.
func (s *State) CheckBackup(c *StartBackup) Result {
	_, res := s.newBackup(c)
	return res
}

func (s *State) newBackup(c *StartBackup) (v Backup, res Result) {
	b := backupFeature.of(s)
	policy, known := b.policy(c.Policy)
	switch {
	case c.ID <= b.lastID || c.ID <= 0:
		return v, failed(base.ErrInvalidVersion)
	case !ascending(c.Tables):
		return v, failed(base.ErrInvalidParameters)
	case c.Policy != "" && (!known || b.policies[policy].Disabled):
		return v, failed(base.ErrObjectNotFound)
	case c.Policy != "" && b.running(c.Policy) != 0:
		return v, failed(base.ErrInvalidState)
	}
	v = Backup{ID: c.ID, Policy: c.Policy, Provider: c.Provider, Path: c.Path, Root: c.Root, Began: max(c.Now, 1)}
	for _, id := range c.Tables {
		if t, _ := s.tables.available(id); t != nil {
			v.Tables = append(v.Tables, BackupTable{ID: id, Name: t.Name, Partitions: int32(len(t.Parts))})
		}
	}
	if len(v.Tables) == 0 {
		return v, failed(base.ErrAppNotExist)
	}
	for i := range b.list {
		if !b.list[i].Running() {
			continue
		}
		for _, t := range b.list[i].Tables {
			if !t.Done && slices.ContainsFunc(v.Tables, func(o BackupTable) bool { return o.ID == t.ID }) {
				return v, Result{Err: base.ErrInvalidState, TableID: t.ID}
			}
		}
	}
	return v, Result{Err: base.ErrOK}
}

func (c *StartBackup) apply(s *State) Result {
	v, res := s.newBackup(c)
	if res.Err != base.ErrOK {
		return res
	}
	b := backupFeature.of(s)
	b.lastID = c.ID
	b.list = append(slices.Clip(b.list), v)
	if i, known := b.policy(c.Policy); known {
		b.policies = slices.Clone(b.policies)
		b.policies[i].LastStart = v.Began
	}
	return res
}

// NoteBackupTable notes that a table of a backup that runs is there with so many bytes, or why it isn't.
// base.ErrInvalidState: the backup doesn't run, or hasn't that table.
type NoteBackupTable struct {
	ID      int64
	Table   int32
	Bytes   int64
	Skipped string
}

func (c *NoteBackupTable) apply(s *State) Result {
	b := backupFeature.of(s)
	i, ok := b.find(c.ID)
	if !ok || !b.list[i].Running() {
		return failed(base.ErrInvalidState)
	}
	k := slices.IndexFunc(b.list[i].Tables, func(t BackupTable) bool { return t.ID == c.Table })
	if k < 0 {
		return failed(base.ErrInvalidState)
	}
	b.change(i, func(v *Backup) {
		v.Tables = slices.Clone(v.Tables)
		v.Tables[k].Done, v.Tables[k].Bytes, v.Tables[k].Skipped = true, c.Bytes, c.Skipped
	})
	return Result{Err: base.ErrOK}
}

// EndBackup ends a backup that runs. The files of one that isn't completed are to be removed.
// base.ErrInvalidState: it doesn't run.
type EndBackup struct {
	ID     int64
	Status BackupStatus
	Now    int64 // Unix milliseconds
	Why    string
}

func (c *EndBackup) apply(s *State) Result {
	b := backupFeature.of(s)
	i, ok := b.find(c.ID)
	switch {
	case c.Status <= BackupRunning || c.Status > BackupCancelled:
		return failed(base.ErrInvalidParameters)
	case !ok || !b.list[i].Running():
		return failed(base.ErrInvalidState)
	}
	b.change(i, func(v *Backup) {
		v.Status, v.Ended, v.Why, v.Cleaning = c.Status, max(c.Now, v.Began, 1), c.Why, c.Status != BackupCompleted
	})
	return Result{Err: base.ErrOK}
}

// maxFailedBackups is how many records of backups are kept that failed or were cancelled.
const maxFailedBackups = 100

// CleanedBackup notes that the files of a backup that was to be removed are gone. base.ErrInvalidState if it isn't such a
// one.
type CleanedBackup struct{ ID int64 }

func (c *CleanedBackup) apply(s *State) Result {
	b := backupFeature.of(s)
	i, ok := b.find(c.ID)
	if !ok || !b.list[i].Cleaning && !b.list[i].Deleting {
		return failed(base.ErrInvalidState)
	}
	if b.list[i].Deleting {
		b.list = slices.Delete(slices.Clone(b.list), i, i+1)
		return Result{Err: base.ErrOK}
	}
	b.change(i, func(v *Backup) { v.Cleaning = false })
	ended := 0
	for i := len(b.list) - 1; i >= 0; i-- {
		if v := &b.list[i]; v.Status > BackupCompleted && !v.Cleaning && !v.Deleting {
			if ended++; ended > maxFailedBackups {
				b.list = slices.Delete(b.list, i, i+1) // the list is a copy already
			}
		}
	}
	return Result{Err: base.ErrOK}
}

func ascending(ids []int32) bool {
	for i, id := range ids {
		if id <= 0 || i > 0 && ids[i-1] >= id {
			return false
		}
	}
	return true
}
