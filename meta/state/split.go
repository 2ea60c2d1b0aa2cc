package state

import (
	"cmp"
	"fmt"
	"slices"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/tbin"
	"pegasus/base/version"
	"pegasus/pacifica/split"
)

// splits are the tables that are being split.
type splits struct {
	list []Split // by table
}

var splitFeature = addFeature("split",
	[]command{
		newCommand[StartSplit](80, 5),
		newCommand[ControlSplit](81, 5),
		newCommand[OrderSwitch](82, 5),
		newCommand[RegisterChild](83, 5),
	},
	func(of func(*State) *splits) []section {
		return []section{structSection(80, 5, func(s *State) resettable { return of(s) })}
	})

// SplitStatus is how far a partition is whose table is being split.
type SplitStatus int32

// A partition is SplitWaits until the meta orders its switch, from when on it can't be held up, and
// SplitDone once its child is registered.
const (
	SplitDone SplitStatus = iota
	SplitWaits
	SplitPaused
	SplitOrdered
)

// Split is a table whose partitions are being split. The second half of its partitions are the children: those that
// aren't registered have the ballot ChildBallot, and no members.
type Split struct {
	Table int32
	// Added: the setting that has rows looked at was not there before.
	Added bool
	// Status is that of each parent.
	Status []SplitStatus
}

// Switched tells whether a partition of the table, parent or child, has switched.
func (sp *Split) Switched(partition int32) bool {
	return sp.Status[int(partition)%len(sp.Status)] == SplitDone
}

// Begun tells whether a partition has switched, or was ordered to. Before, the table has the rows of its partitions where they were.
func (sp *Split) Begun() bool {
	return slices.ContainsFunc(sp.Status, func(s SplitStatus) bool { return s == SplitDone || s == SplitOrdered })
}

// SplitOf returns the split of a table; ok is false if it isn't being split. Nothing in it may be changed.
func (s *State) SplitOf(table int32) (sp Split, ok bool) {
	l := splitFeature.of(s).list
	i, ok := splitFeature.of(s).find(table)
	if !ok {
		return Split{}, false
	}
	return l[i], true
}

// Splits returns all tables that are being split, by id. Nothing in them may be changed.
func (s *State) Splits() []Split { return splitFeature.of(s).list }

func (s *splits) find(table int32) (int, bool) {
	return slices.BinarySearchFunc(s.list, table, func(sp Split, t int32) int { return cmp.Compare(sp.Table, t) })
}

// set gives parents of a table that is being split another status.
func (s *splits) set(i int, to SplitStatus, parents ...int32) {
	s.list = slices.Clone(s.list)
	sp := &s.list[i]
	sp.Status = slices.Clone(sp.Status)
	for _, p := range parents {
		sp.Status[p] = to
	}
}

func (s *splits) end(i int) { s.list = slices.Delete(slices.Clone(s.list), i, i+1) }

// MaySplit says why a table can't be split to count partitions: base.ErrBusy if it is being split, base.ErrInvalidParameters
// if that isn't twice as many, base.ErrInvalidState if something else goes on that the split doesn't get on with.
func (s *State) MaySplit(t *Table, count int32) error {
	if err := split.Check(int32(len(t.Parts)), count); err != nil {
		return fmt.Errorf("%w: %w", err, base.ErrInvalidParameters)
	}
	if _, ok := s.SplitOf(t.ID); ok {
		return fmt.Errorf("app(%s) is already executing partition split: %w", t.Name, base.ErrBusy)
	}
	for _, d := range s.DuplicationsOf(t.ID) {
		switch {
		case !s.Version().Allows(version.DuplicatedSplits):
			return fmt.Errorf("table %s is duplicated to another cluster: remove its duplications, and add them again once it is split, or raise the cluster's version to %d: %w",
				t.Name, version.DuplicatedSplits.Since(), base.ErrInvalidState)
		case d.Status == DupPrepare || d.Status == DupApp || !d.begun():
			return fmt.Errorf("duplication %d of table %s to cluster %s is being copied, or hasn't begun on each partition: split the table once the duplication sends what is written: %w", d.ID, t.Name, d.Remote, base.ErrInvalidState)
		}
	}
	if t.BulkLoading || s.Loading(t.ID) {
		return fmt.Errorf("table %s is being loaded with files: %w", t.Name, base.ErrInvalidState)
	}
	for i := range t.Parts {
		if t.Parts[i].Members() == 0 {
			return fmt.Errorf("partition %d of table %s has no replica yet: %w", i, t.Name, base.ErrInvalidState)
		}
	}
	return nil
}

// StartSplit gives a table Count partitions, twice as many: the new ones are unborn. See MaySplit for errors.
type StartSplit struct{ Table, Count int32 }

func (c *StartSplit) apply(s *State) Result {
	t, code := s.tables.available(c.Table)
	if t == nil {
		return failed(code)
	}
	if err := s.MaySplit(t, c.Count); err != nil {
		return failed(base.CodeOf(err))
	}
	sp := splitFeature.of(s)
	one := Split{Table: t.ID, Status: slices.Repeat([]SplitStatus{SplitWaits}, len(t.Parts))}
	if _, ok := t.Env(appenv.ValidateHash); !ok {
		one.Added = true
	}
	t.Envs = mergeEnvs(t.Envs, nil, []Env{{Key: appenv.ValidateHash, Val: "true"}})
	t.Parts = append(slices.Clone(t.Parts), slices.Repeat([]Config{{Ballot: ChildBallot}}, len(t.Parts))...)
	i, _ := sp.find(t.ID)
	sp.list = slices.Insert(slices.Clone(sp.list), i, one)
	return Result{Err: base.ErrOK, TableID: t.ID}
}

// SplitControl is what is done to a split that is under way.
type SplitControl int32

// The values are those of split_control_type.
const (
	SplitPause SplitControl = iota
	SplitRestart
	SplitCancel
)

// ControlSplit pauses a partition's split, goes on with it, or cancels that of the table. Parent -1 is all that it can
// be done to. base.ErrInvalidState: the table isn't being split, or the partition isn't in a state for that;
// base.ErrChildRegistered: the partition, or for a cancellation some partition, was ordered to switch.
type ControlSplit struct {
	Table  int32
	Do     SplitControl
	Parent int32
}

func (c *ControlSplit) apply(s *State) Result {
	t, code := s.tables.available(c.Table)
	if t == nil {
		return failed(code)
	}
	sp := splitFeature.of(s)
	i, ok := sp.find(c.Table)
	if !ok || c.Do < SplitPause || c.Do > SplitCancel {
		return failed(base.ErrInvalidState)
	}
	is := &sp.list[i]
	if c.Do == SplitCancel {
		if is.Begun() {
			return failed(base.ErrChildRegistered)
		}
		t.Parts = slices.Clone(t.Parts[:len(is.Status)])
		if is.Added {
			t.Envs = mergeEnvs(t.Envs, []string{appenv.ValidateHash}, nil)
		}
		sp.end(i)
		return Result{Err: base.ErrOK, TableID: t.ID}
	}
	from, to := SplitWaits, SplitPaused
	if c.Do == SplitRestart {
		from, to = to, from
	}
	var parents []int32
	for p, status := range is.Status {
		if status == from && (c.Parent < 0 || int(c.Parent) == p) {
			parents = append(parents, int32(p))
		}
	}
	switch {
	case c.Parent < 0 || len(parents) > 0:
	case int(c.Parent) >= len(is.Status):
		return failed(base.ErrInvalidParameters)
	case c.Do == SplitPause && (is.Status[c.Parent] == SplitDone || is.Status[c.Parent] == SplitOrdered):
		return failed(base.ErrChildRegistered)
	default:
		return failed(base.ErrInvalidState)
	}
	sp.set(i, to, parents...)
	return Result{Err: base.ErrOK, TableID: t.ID}
}

// OrderSwitch has a partition switch: from now on it can't be paused, nor the split canceled. base.ErrInvalidState if it
// doesn't wait for that.
type OrderSwitch struct{ Table, Parent int32 }

func (c *OrderSwitch) apply(s *State) Result {
	t, code := s.tables.available(c.Table)
	if t == nil {
		return failed(code)
	}
	sp := splitFeature.of(s)
	i, ok := sp.find(c.Table)
	if !ok || c.Parent < 0 || int(c.Parent) >= len(sp.list[i].Status) || sp.list[i].Status[c.Parent] != SplitWaits {
		return failed(base.ErrInvalidState)
	}
	sp.set(i, SplitOrdered, c.Parent)
	return Result{Err: base.ErrOK, TableID: t.ID}
}

// RegisterChild gives a child its first configuration, which is its parent's with the ballot after: base.ErrInvalidVersion if
// the parent's isn't Config with the ballot before, base.ErrChildRegistered if the child has one, base.ErrInvalidState if the parent
// wasn't ordered to switch. The result has the child's configuration.
type RegisterChild struct {
	Parent base.Gpid
	// Config is the child's. Its LastCommitted is the decree with which the child begins.
	Config Config
}

func (c *RegisterChild) apply(s *State) Result {
	refused := func(code base.ErrorCode, now Config) Result {
		return Result{Err: code, Changes: []ChangeResult{{code, now}}}
	}
	t, parent, ok := s.Config(c.Parent)
	sp := splitFeature.of(s)
	i, splitting := sp.find(c.Parent.AppID)
	if !ok || !splitting || int(c.Parent.PartitionIndex) >= len(sp.list[i].Status) {
		return refused(base.ErrInvalidState, Config{})
	}
	child := base.Gpid{AppID: t.ID, PartitionIndex: split.Child(c.Parent.PartitionIndex, int32(len(t.Parts)))}
	old := &t.Parts[child.PartitionIndex]
	switch {
	case !old.Unborn():
		return refused(base.ErrChildRegistered, *old)
	case sp.list[i].Status[c.Parent.PartitionIndex] != SplitOrdered:
		return refused(base.ErrInvalidState, *old)
	}
	before := c.Config
	before.Ballot--
	if !before.SameGroup(&parent) || parent.Primary == 0 {
		return refused(base.ErrInvalidVersion, *old)
	}
	n := Config{Ballot: c.Config.Ballot, Primary: parent.Primary, Secondaries: slices.Clone(parent.Secondaries), LastCommitted: c.Config.LastCommitted}
	t.Parts = slices.Clone(t.Parts)
	t.Parts[child.PartitionIndex] = n
	s.tables.index(child, &n, true)
	duplicationFeature.of(s).part(t.ID, c.Parent.PartitionIndex, child.PartitionIndex, n.LastCommitted, false)
	sp.set(i, SplitDone, c.Parent.PartitionIndex)
	if !slices.ContainsFunc(sp.list[i].Status, func(s SplitStatus) bool { return s != SplitDone }) {
		sp.end(i)
	}
	return Result{Err: base.ErrOK, TableID: t.ID, Changes: []ChangeResult{{base.ErrOK, n}}}
}

func (s *splits) empty() bool { return len(s.list) == 0 }

func (s *splits) reset() { *s = splits{} }

func (s *splits) appendFields(b []byte) []byte { return appendStructs[Split](b, 1, s.list) }

func (s *splits) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.List}:
		s.list = readStructs[Split](r)
	default:
		unknownField(r, id)
	}
	for i := range s.list {
		if sp := &s.list[i]; len(sp.Status) == 0 || i > 0 && s.list[i-1].Table >= sp.Table ||
			slices.ContainsFunc(sp.Status, func(s SplitStatus) bool { return s < SplitDone || s > SplitOrdered }) {
			r.Fail(tbin.ErrMalformed)
			return
		}
	}
}

func (sp *Split) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(sp.Table))
	b = appendBool(b, 2, sp.Added)
	up := make([]Addr, len(sp.Status))
	for i, s := range sp.Status {
		up[i] = Addr(s)
	}
	return appendAddrs(b, 3, up)
}

func (sp *Split) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		sp.Table = int32(r.I64())
	case field{2, tbin.Bool}:
		sp.Added = r.Bool()
	case field{3, tbin.List}:
		for _, a := range readAddrs(r) {
			sp.Status = append(sp.Status, SplitStatus(int32(a)))
		}
	default:
		unknownField(r, id)
	}
}

func (c *StartSplit) appendFields(b []byte) []byte {
	return appendI64(appendI64(b, 1, int64(c.Table)), 2, int64(c.Count))
}

func (c *StartSplit) readField(r *tbin.Reader, t tbin.Type, id int16) {
	readTwo(r, t, id, &c.Table, &c.Count)
}

func (c *OrderSwitch) appendFields(b []byte) []byte {
	return appendI64(appendI64(b, 1, int64(c.Table)), 2, int64(c.Parent))
}

func (c *OrderSwitch) readField(r *tbin.Reader, t tbin.Type, id int16) {
	readTwo(r, t, id, &c.Table, &c.Parent)
}

func (c *ControlSplit) appendFields(b []byte) []byte {
	return appendI64(appendI64(appendI64(b, 1, int64(c.Table)), 2, int64(c.Do)), 3, int64(c.Parent))
}

func (c *ControlSplit) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{2, tbin.I64}:
		c.Do = SplitControl(r.I64())
	case field{3, tbin.I64}:
		c.Parent = int32(r.I64())
	default:
		readTwo(r, t, id, &c.Table, new(int32))
	}
}

func (c *RegisterChild) appendFields(b []byte) []byte {
	b = appendI64(b, 1, c.Parent.Word())
	return tbin.AppendStop(c.Config.appendFields(tbin.AppendField(b, tbin.Struct, 2)))
}

func (c *RegisterChild) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.Parent = base.GpidFromWord(r.I64())
	case field{2, tbin.Struct}:
		readStruct(r, c.Config.readField)
	default:
		unknownField(r, id)
	}
}
