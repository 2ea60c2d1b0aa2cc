package state

import (
	"cmp"
	"fmt"
	"slices"

	"pegasus/base"
	"pegasus/base/version"
)

// bulkLoads are the loads of files into tables: what is under way, and the last one of each table.
type bulkLoads struct {
	list []BulkLoad // by table
	// last is the id of the load that was begun last.
	last int64
}

var bulkLoadFeature = addFeature("bulkload",
	[]command{
		newCommand[StartBulkLoad](90, version.Loads.Since()),
		newCommand[ControlBulkLoad](91, version.Loads.Since()),
		newCommand[NoteBulkLoad](92, version.Loads.Since()),
		newCommand[FailBulkLoad](93, version.Loads.Since()),
		newCommand[EndBulkLoad](94, version.Loads.Since()),
		newCommand[ClearBulkLoad](95, version.Loads.Since()),
	},
	func(of func(*State) *bulkLoads) []section {
		return []section{structSection(90, version.Loads.Since(), func(s *State) resettable { return of(s) })}
	})

// change replaces a load by what f makes of a copy: readers keep the old one.
func (s *bulkLoads) change(i int, f func(*BulkLoad)) {
	s.list = slices.Clone(s.list)
	l := &s.list[i]
	l.Parts = slices.Clone(l.Parts)
	f(l)
}

// MayLoad says why no files can be loaded into a table now: base.ErrBusy if some are, base.ErrInvalidState if something else goes on
// that a load doesn't get on with.
func (s *State) MayLoad(t *Table) error {
	switch {
	case t.BulkLoading || s.Loading(t.ID):
		return fmt.Errorf("app(%s) is already executing bulk load: %w", t.Name, base.ErrBusy)
	case t.Splitting():
		return fmt.Errorf("table %s is being split: load it when it is (`pegasus table split %s --status`): %w", t.Name, t.Name, base.ErrInvalidState)
	case len(s.DuplicationsOf(t.ID)) > 0:
		return fmt.Errorf("table %s is duplicated to another cluster, which doesn't get rows of files: remove its duplications, and add them again once it is loaded: %w", t.Name, base.ErrInvalidState)
	case s.Restoring(t.ID):
		return fmt.Errorf("table %s is being restored from a backup: load it when it is: %w", t.Name, base.ErrInvalidState)
	case s.Follows(t):
		return fmt.Errorf("table %s follows a table of another cluster: load that one: %w", t.Name, base.ErrInvalidState)
	}
	for i := range t.Parts {
		if t.Parts[i].Members() == 0 {
			return fmt.Errorf("partition %d of table %s has no replica yet: %w", i, t.Name, base.ErrInvalidState)
		}
	}
	return nil
}

// StartBulkLoad begins to load files into a table; see MayLoad for errors. The id is From.ID, or the next one behind that of the last load.
type StartBulkLoad struct {
	From BulkLoad // Table, ID, Provider, Root, Cluster, Behind, Rate, Timetag and Begun
}

func (c *StartBulkLoad) apply(s *State) Result {
	t, code := s.tables.available(c.From.Table)
	if t == nil {
		return failed(code)
	}
	if err := s.MayLoad(t); err != nil {
		return failed(base.CodeOf(err))
	}
	ls := bulkLoadFeature.of(s)
	l := c.From
	l.ID = max(l.ID, ls.last+1)
	l.Name, l.Status, l.Ended, l.Err, l.Reason = t.Name, LoadReads, 0, "", ""
	l.Parts = slices.Repeat([]BulkPart{{Status: PartReads}}, len(t.Parts))
	ls.last = l.ID
	// Those of tables that are gone are forgotten.
	ls.list = slices.DeleteFunc(slices.Clone(ls.list), func(o BulkLoad) bool { return o.Table == t.ID || s.tables.byID[o.Table] == nil })
	i, _ := ls.find(t.ID)
	ls.list = slices.Insert(ls.list, i, l)
	t.BulkLoading = true
	return Result{Err: base.ErrOK, TableID: t.ID}
}

// LoadControl is what is done to a load that is under way.
type LoadControl int32

// The values are those of bulk_load_control_type.
const (
	LoadPause LoadControl = iota
	LoadRestart
	LoadCancel
	LoadForceCancel
)

// ControlBulkLoad pauses a load, goes on with it, or cancels it. base.ErrInactiveState: the table isn't loading;
// base.ErrInvalidState: that can't be done to a load of its status. A load that has ended, and is being forgotten, can't be canceled.
type ControlBulkLoad struct {
	Table int32
	Do    LoadControl
}

func (c *ControlBulkLoad) apply(s *State) Result {
	t, code := s.tables.available(c.Table)
	if t == nil {
		return failed(code)
	}
	ls := bulkLoadFeature.of(s)
	i, ok := ls.find(c.Table)
	if !ok || !ls.list[i].Loading() {
		return failed(base.ErrInactiveState)
	}
	is := ls.list[i].Status
	may := false
	switch c.Do {
	case LoadPause:
		may = is == LoadReads
	case LoadRestart:
		may = is == LoadPaused
	case LoadCancel:
		may = is == LoadReads || is == LoadPaused
	case LoadForceCancel:
		may = is <= LoadTakes
	}
	if !may {
		return failed(base.ErrInvalidState)
	}
	ls.change(i, func(l *BulkLoad) {
		switch c.Do {
		case LoadPause:
			l.Status = LoadPaused
		case LoadRestart:
			if l.Status = LoadReads; l.all(PartReady) {
				l.Status = LoadTakes
			}
		default:
			l.Status, l.Reason = LoadCanceled, "it was canceled"
		}
	})
	return Result{Err: base.ErrOK, TableID: t.ID}
}

// PartNote is what became of a partition.
type PartNote struct {
	Partition int32
	BulkPart
}

// NoteBulkLoad notes how far partitions are of the load with that id. A partition goes from PartReads to PartReady, from there to PartTaking as long as the
// load takes, and from there to PartTaken; notes of other steps are passed over. Once each is ready the load takes, once each has taken it is done.
type NoteBulkLoad struct {
	Table int32
	ID    int64
	Notes []PartNote
}

func (c *NoteBulkLoad) apply(s *State) Result {
	ls := bulkLoadFeature.of(s)
	i, ok := ls.find(c.Table)
	if !ok || ls.list[i].ID != c.ID || !ls.list[i].Loading() {
		return failed(base.ErrInvalidState)
	}
	ls.change(i, func(l *BulkLoad) {
		for _, n := range c.Notes {
			if n.Partition < 0 || int(n.Partition) >= len(l.Parts) {
				continue
			}
			p := &l.Parts[n.Partition]
			switch {
			case p.Status == PartReads && n.Status == PartReady && l.Status <= LoadTakes && n.Digest != "":
				*p = BulkPart{Status: PartReady, Digest: n.Digest, Rows: n.Rows, Bytes: n.Bytes}
			case p.Status == PartReady && n.Status == PartTaking && l.Status == LoadTakes:
				p.Status = PartTaking
			case p.Status == PartTaking && n.Status == PartTaken:
				p.Status, p.Decree, p.HeldMS = PartTaken, n.Decree, n.HeldMS
			}
		}
		switch {
		case l.Status == LoadReads && l.all(PartReady):
			l.Status = LoadTakes
		case l.Status == LoadTakes && l.all(PartTaken):
			l.Status = LoadDone
		}
	})
	return Result{Err: base.ErrOK, TableID: c.Table}
}

// FailBulkLoad ends the load with that id, but for what members are to forget. One that has ended stays as it is: base.ErrInvalidState.
type FailBulkLoad struct {
	Table  int32
	ID     int64
	Err    base.ErrorCode
	Reason string
}

func (c *FailBulkLoad) apply(s *State) Result {
	ls := bulkLoadFeature.of(s)
	i, ok := ls.find(c.Table)
	if !ok || ls.list[i].ID != c.ID || ls.list[i].Status > LoadTakes {
		return failed(base.ErrInvalidState)
	}
	ls.change(i, func(l *BulkLoad) { l.fail(c.Err, c.Reason) })
	return Result{Err: base.ErrOK, TableID: c.Table}
}

func (l *BulkLoad) fail(code base.ErrorCode, reason string) {
	l.Status, l.Err, l.Reason = LoadFailed, cmp.Or(code, base.ErrUnknown), reason[:min(len(reason), maxReason)]
}

// EndBulkLoad ends a load that every member has forgotten, or whose table is gone. What came of it is kept. base.ErrInvalidState: it goes on.
type EndBulkLoad struct {
	Table int32
	ID    int64
	Now   int64 // Unix milliseconds
}

func (c *EndBulkLoad) apply(s *State) Result {
	ls := bulkLoadFeature.of(s)
	i, ok := ls.find(c.Table)
	t := s.tables.byID[c.Table]
	if !ok || ls.list[i].ID != c.ID || !ls.list[i].Loading() || c.Now <= 0 || ls.list[i].Status <= LoadTakes && t != nil && t.Status == Available {
		return failed(base.ErrInvalidState)
	}
	ls.change(i, func(l *BulkLoad) {
		if l.Status <= LoadTakes {
			l.fail(base.ErrAppNotExist, "the table was dropped")
		}
		l.Ended = c.Now
		for i := range l.Parts {
			l.Parts[i].Digest = ""
		}
	})
	if t != nil {
		t.BulkLoading = false
	}
	return Result{Err: base.ErrOK, TableID: c.Table}
}

// ClearBulkLoad forgets what came of the last load of a table. base.ErrInvalidState: one is under way.
type ClearBulkLoad struct{ Table int32 }

func (c *ClearBulkLoad) apply(s *State) Result {
	t, code := s.tables.available(c.Table)
	if t == nil {
		return failed(code)
	}
	ls := bulkLoadFeature.of(s)
	if i, ok := ls.find(c.Table); ok {
		if ls.list[i].Loading() {
			return failed(base.ErrInvalidState)
		}
		ls.list = slices.Delete(slices.Clone(ls.list), i, i+1)
	}
	return Result{Err: base.ErrOK, TableID: t.ID}
}

// replaced ends loads, but for what members are to forget, because the tables were replaced by what the replica servers have:
// it isn't known how far they are.
func (s *bulkLoads) replaced(tables *tables) {
	for i := range s.list {
		if l := &s.list[i]; l.Loading() && l.Status <= LoadTakes {
			s.change(i, func(l *BulkLoad) {
				l.fail(base.ErrInvalidState, "the meta servers' state was made anew (pegasus recover) meanwhile; load the files again")
			})
		}
	}
	for _, t := range tables.byID {
		i, ok := s.find(t.ID)
		t.BulkLoading = ok && s.list[i].Loading()
	}
}
