package state

import (
	"cmp"
	"slices"

	"pegasus/base"
	"pegasus/base/version"
)

// duplications are what goes to other clusters.
type duplications struct {
	list []Duplication // by table and id
}

var duplicationFeature = addFeature("duplication",
	[]command{
		newCommand[AddDuplication](70, 2),
		newCommand[ModifyDuplication](71, 2),
		newCommand[ConfirmDuplications](72, 2),
		newCommand[NoteRemoteTable](73, version.RemoteTables.Since()),
	},
	func(of func(*State) *duplications) []section {
		return []section{structSection(70, 2, func(s *State) resettable { return of(s) })}
	})

// DuplicationStatus is how far a duplication is.
type DuplicationStatus int32

// The values are those of duplication_status (idl/duplication.thrift).
const (
	DupPrepare DuplicationStatus = 1 // the remote table is to be made
	DupApp     DuplicationStatus = 2 // partitions are being copied
	DupLog     DuplicationStatus = 3 // what is written is sent
	DupPause   DuplicationStatus = 4
	DupRemoved DuplicationStatus = 5 // never stands in the State
)

// DuplicationMode says what happens with what can't be sent.
type DuplicationMode int32

// The values are those of duplication_fail_mode.
const (
	DupSlow DuplicationMode = 0 // it is tried for ever
	DupSkip DuplicationMode = 1 // it is left out and counted
	DupFast DuplicationMode = 2 // as DupSlow here
)

// NotConfirmed is the confirmed decree of a partition of which nothing was confirmed.
const NotConfirmed = -1

// Duplication sends what is written to a table to a table of another cluster.
type Duplication struct {
	Table, ID      int32
	Remote         string // name of the other cluster
	RemoteTable    string
	RemoteReplicas int32
	Created        int64 // Unix milliseconds
	Status         DuplicationStatus
	Mode           DuplicationMode
	Checkpoint     bool // it begins with a copy of what is there
	// Confirmed are the decrees up to which the other cluster has each partition, or NotConfirmed.
	Confirmed []int64
	// RemoteID is the id of the table in the other cluster, 0 as long as nobody has told it. It doesn't change:
	// a table that is made anew there has another one, and lacks what was sent before.
	RemoteID int32
	// RemoteMade tells that the table with RemoteID was made for this duplication, and began empty.
	RemoteMade bool
	// Halves are partitions that a split has made of others, as long as they don't go on by themselves. Copied are the decrees whose
	// states partitions were copied with last, or NotConfirmed; it may be shorter than Confirmed. Both from
	// version.DuplicatedSplits on.
	Halves []Half
	Copied []int64
}

// begun tells whether each partition has begun to send what is written.
func (d *Duplication) begun() bool { return !slices.Contains(d.Confirmed, NotConfirmed) }

// Duplications returns those of all tables that are there, dropped ones included, by table and id.
// Nothing in them may be changed.
func (s *State) Duplications() []Duplication {
	all := duplicationFeature.of(s).list
	gone := func(d Duplication) bool { return s.tables.byID[d.Table] == nil }
	if !slices.ContainsFunc(all, gone) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), gone)
}

// DuplicationsOf returns those of a table, by id.
func (s *State) DuplicationsOf(table int32) []Duplication {
	all := duplicationFeature.of(s).list
	from, _ := slices.BinarySearchFunc(all, table, func(d Duplication, t int32) int { return cmp.Compare(d.Table, t) })
	to := from
	for to < len(all) && all[to].Table == table {
		to++
	}
	return all[from:to:to]
}

func (s *duplications) find(table, id int32) (int, bool) {
	return slices.BinarySearchFunc(s.list, Duplication{Table: table, ID: id}, func(a, b Duplication) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.ID, b.ID))
	})
}

// mark sets whether a table is duplicated.
func (s *duplications) mark(t *Table) {
	t.Duplicating = slices.ContainsFunc(s.list, func(d Duplication) bool { return d.Table == t.ID })
}

// change replaces a duplication by what f makes of a copy: readers keep the old list.
func (s *duplications) change(i int, f func(*Duplication)) {
	s.list = slices.Clone(s.list)
	f(&s.list[i])
}

// part notes of all duplications of a table that a partition has become two.
func (s *duplications) part(table, parent, child int32, cut int64, copy bool) {
	for i := range s.list {
		if s.list[i].Table == table {
			s.change(i, func(d *Duplication) { d.part(parent, child, cut, copy) })
		}
	}
}

// AddDuplication makes a duplication with the first free id from ID on, which Result.TableID returns.
// base.ErrAppNotExist: there is no such table; base.ErrDupExist: it has one to that cluster (TableID is its id);
// base.ErrInvalidParameters: another table is duplicated to the same one (TableID is that table).
type AddDuplication struct {
	Table, ID      int32
	Remote         string
	RemoteTable    string
	RemoteReplicas int32
	Checkpoint     bool
	Now            int64 // Unix milliseconds
}

func (c *AddDuplication) apply(s *State) Result {
	ds := duplicationFeature.of(s)
	t, code := s.tables.available(c.Table)
	switch {
	case t == nil:
		return failed(code)
	case c.Remote == "" || c.RemoteTable == "" || c.ID <= 0:
		return failed(base.ErrInvalidParameters)
	}
	if t.Splitting() {
		return failed(base.ErrSplitting)
	}
	if s.Loading(t.ID) {
		return failed(base.ErrBusy)
	}
	live := s.Duplications()
	for _, d := range live {
		switch {
		case d.Remote != c.Remote:
		case d.Table == c.Table:
			return Result{Err: base.ErrDupExist, TableID: d.ID}
		case d.RemoteTable == c.RemoteTable && s.tables.byID[d.Table].Status == Available:
			return Result{Err: base.ErrInvalidParameters, TableID: d.Table}
		}
	}
	ds.list = slices.Clone(live)
	d := Duplication{Table: c.Table, ID: c.ID, Remote: c.Remote, RemoteTable: c.RemoteTable, RemoteReplicas: c.RemoteReplicas,
		Checkpoint: c.Checkpoint, Created: c.Now, Status: DupLog, Confirmed: slices.Repeat([]int64{NotConfirmed}, len(t.Parts))}
	if c.Checkpoint {
		d.Status = DupPrepare
	}
	at, taken := ds.find(d.Table, d.ID)
	for ; taken; at, taken = ds.find(d.Table, d.ID) {
		d.ID++
	}
	ds.list = slices.Insert(ds.list, at, d)
	ds.mark(t)
	return Result{Err: base.ErrOK, TableID: d.ID}
}

// ModifyDuplication changes the status, the mode or both. DupRemoved removes it. base.ErrObjectNotFound: there is none;
// base.ErrInvalidParameters: the status can't become that one.
type ModifyDuplication struct {
	Table, ID int32
	Status    DuplicationStatus // 0: as it is
	SetMode   bool
	Mode      DuplicationMode
}

// follows tells whether a status may become another one.
func (to DuplicationStatus) follows(from DuplicationStatus) bool {
	switch {
	case to == from, to == DupRemoved:
		return true
	case from == DupPrepare:
		return to == DupApp
	case from == DupApp:
		return to == DupLog
	}
	return from == DupLog && to == DupPause || from == DupPause && to == DupLog
}

func (c *ModifyDuplication) apply(s *State) Result {
	ds := duplicationFeature.of(s)
	t, code := s.tables.available(c.Table)
	if t == nil {
		return failed(code)
	}
	i, ok := ds.find(c.Table, c.ID)
	switch {
	case !ok:
		return failed(base.ErrObjectNotFound)
	case c.Status != 0 && !c.Status.follows(ds.list[i].Status), c.SetMode && (c.Mode < DupSlow || c.Mode > DupFast):
		return failed(base.ErrInvalidParameters)
	case c.Status == DupRemoved:
		ds.list = slices.Delete(slices.Clone(ds.list), i, i+1)
		ds.mark(t)
		return Result{Err: base.ErrOK}
	}
	ds.change(i, func(d *Duplication) {
		if c.Status != 0 {
			d.Status = c.Status
		}
		if c.SetMode {
			d.Mode = c.Mode
		}
	})
	return Result{Err: base.ErrOK}
}

// NoteRemoteTable notes the id of the table that a duplication goes to, unless one is noted, and whether it was made for it.
// Until anything is sent one that is made takes the place of an earlier one.
type NoteRemoteTable struct {
	Table, ID, RemoteID int32
	Made                bool
}

func (c *NoteRemoteTable) apply(s *State) Result {
	ds := duplicationFeature.of(s)
	i, ok := ds.find(c.Table, c.ID)
	switch {
	case !ok:
		return failed(base.ErrObjectNotFound)
	case c.RemoteID <= 0:
		return failed(base.ErrInvalidParameters)
	case ds.list[i].RemoteID == 0, c.Made && ds.list[i].Status == DupPrepare:
		ds.change(i, func(d *Duplication) { d.RemoteID, d.RemoteMade = c.RemoteID, c.Made })
	}
	return Result{Err: base.ErrOK}
}

// Confirmation is a decree up to which the other cluster has a partition, says who is its primary at that ballot.
type Confirmation struct {
	Table, ID, Partition int32
	Decree, Ballot       int64
	// Copied is the decree whose state the partition was copied with last, by who confirms; 0: it was not. From version.DuplicatedSplits on.
	Copied int64
}

// ConfirmDuplications notes confirmed decrees, which never fall. What is confirmed of something that isn't
// there, or under another ballot than the present one, is passed over: the first decree that is confirmed is the
// one that a duplication begins with, and a former primary may have begun with another. Once each partition of a copied table has begun, the duplication is DupLog.
type ConfirmDuplications struct{ List []Confirmation }

func (c *ConfirmDuplications) apply(s *State) Result {
	ds := duplicationFeature.of(s)
	for _, n := range c.List {
		_, now, there := s.Config(base.Gpid{AppID: n.Table, PartitionIndex: n.Partition})
		i, ok := ds.find(n.Table, n.ID)
		if !ok || !there || now.Ballot != n.Ballot || n.Partition < 0 || int(n.Partition) >= len(ds.list[i].Confirmed) || n.Decree <= ds.list[i].Confirmed[n.Partition] || !ds.list[i].mayConfirm(&n) {
			continue
		}
		ds.change(i, func(d *Duplication) {
			d.confirm(n.Partition, n.Decree, n.Copied)
			if d.Status == DupApp && d.begun() {
				d.Status = DupLog
			}
		})
	}
	return Result{Err: base.ErrOK}
}
