package state

import (
	"slices"

	"pegasus/base/appenv"
	"pegasus/base/tbin"
	"pegasus/base/version"
)

// restores are the restores of tables from cold backups: what is under way, and the last ones that ended.
type restores struct {
	list []*Restoration // by ascending id of the table
}

var restored = addFeature("restore",
	[]command{
		newCommand[StartRestore](60, 2),
		newCommand[EndRestore](61, 2),
		newCommand[SkipPartition](62, 2),
	},
	func(of func(*State) *restores) []section {
		return []section{{60, tbin.List, 2,
			func(s *State, b []byte, id int16) []byte { return of(s).append(b, id) },
			func(s *State, r *tbin.Reader) { of(s).read(r) }}}
	})

// RestoreStatus is how far a restore is.
type RestoreStatus int32

// The values are written to disk.
const (
	RestoreRuns   RestoreStatus = 1
	RestoreDone   RestoreStatus = 2
	RestoreFailed RestoreStatus = 3
)

// maxRestores is how many restores are remembered; those that run don't count.
const maxRestores = 100

// maxReason bounds the text that is remembered of a failure, in bytes.
const maxReason = 2000

// Restoration is a table that is, or was to be, made of a cold backup. While it runs, a partition that never
// had a member gets only one that says that it holds the partition's content (see needsSeed).
type Restoration struct {
	TableID    int32
	Name       string // of the table, when it was made
	Partitions int32

	// What it is restored from: the table App (id AppID) in [Path/]Cluster[/Policy]/BackupID of the
	// blob store Provider.
	Provider, Path, Cluster, Policy string
	BackupID                        int64
	App                             string
	AppID                           int32
	SkipBad                         bool

	Status       RestoreStatus
	Reason       string // why it failed
	Begun, Ended int64  // Unix time in milliseconds; Ended is 0 while it runs
	Skipped      []Skipped
}

// Skipped is a partition that is made empty, because its backup can't be used and the restore is to go
// on all the same.
type Skipped struct {
	Partition int32
	Reason    string
}

// Restores returns what is remembered of restores, by ascending id of the table. Nothing of it may be
// changed.
func (s *State) Restores() []Restoration {
	of := restored.of(s)
	list := make([]Restoration, len(of.list))
	for i, r := range of.list {
		list[i] = *r
	}
	return list
}

// RestoreOf returns the restore that made a table.
func (s *State) RestoreOf(id int32) (Restoration, bool) {
	if r := restored.of(s).get(id); r != nil {
		return *r, true
	}
	return Restoration{}, false
}

// Restoring tells that a table is being restored.
func (s *State) Restoring(id int32) bool {
	r := restored.of(s).get(id)
	return r != nil && r.Status == RestoreRuns
}

// NeedsSeed tells that the first member of a partition must be one that holds what is restored, or what the
// table that is followed has: that has a committed decree. An empty replica, or one of a program that knows nothing
// of restores, isn't.
func (s *State) NeedsSeed(t *Table, c *Config) bool {
	return c.Ballot == 0 && c.Members() == 0 && (s.Restoring(t.ID) || s.Follows(t))
}

// Follows tells that the first members of a table's partitions hold what a table of another cluster has.
func (s *State) Follows(t *Table) bool {
	if !s.Version().Allows(version.Origins) {
		return false
	}
	envs := map[string]string{}
	for _, e := range t.Envs {
		envs[e.Key] = e.Val
	}
	_, ok := appenv.MasterOf(t.Name, envs)
	return ok
}

func (s *restores) find(id int32) (int, bool) {
	return slices.BinarySearchFunc(s.list, id, func(r *Restoration, id int32) int { return int(r.TableID) - int(id) })
}

func (s *restores) get(id int32) *Restoration {
	if i, ok := s.find(id); ok {
		return s.list[i]
	}
	return nil
}

// change replaces what is remembered of a table: what State hands out stays as it is.
func (s *restores) change(id int32, f func(*Restoration)) {
	if i, ok := s.find(id); ok {
		r := *s.list[i]
		f(&r)
		s.list[i] = &r
	}
}

// add remembers a restore, and forgets the one that ended first if there are too many.
func (s *restores) add(r *Restoration) {
	i, ok := s.find(r.TableID)
	if ok {
		s.list[i] = r
		return
	}
	s.list = slices.Insert(s.list, i, r)
	ended, first := 0, -1
	for i, r := range s.list {
		if r.Status == RestoreRuns {
			continue
		}
		ended++
		if first < 0 || r.Ended < s.list[first].Ended {
			first = i
		}
	}
	if ended > maxRestores {
		s.list = slices.Delete(s.list, first, first+1)
	}
}

// recalled goes on with the restore of a table that was dropped before all its partitions were there.
func (s *restores) recalled(t *Table) {
	r := s.get(t.ID)
	if r == nil || r.Status == RestoreRuns || !slices.ContainsFunc(t.Parts, func(c Config) bool { return c.Ballot == 0 }) {
		return
	}
	s.change(t.ID, func(r *Restoration) { r.Status, r.Reason, r.Ended = RestoreRuns, "", 0 })
}

func (r *Restoration) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(r.TableID))
	b = appendString(b, 2, r.Name)
	b = appendI64(b, 3, int64(r.Partitions))
	b = appendString(b, 4, r.Provider)
	b = appendString(b, 5, r.Path)
	b = appendString(b, 6, r.Cluster)
	b = appendString(b, 7, r.Policy)
	b = appendI64(b, 8, r.BackupID)
	b = appendString(b, 9, r.App)
	b = appendI64(b, 10, int64(r.AppID))
	b = appendBool(b, 11, r.SkipBad)
	b = appendI64(b, 12, int64(r.Status))
	b = appendString(b, 13, r.Reason)
	b = appendI64(b, 14, r.Begun)
	b = appendI64(b, 15, r.Ended)
	if len(r.Skipped) == 0 {
		return b
	}
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, 16), tbin.Struct, len(r.Skipped))
	for _, k := range r.Skipped {
		b = tbin.AppendStop(appendString(appendI64(b, 1, int64(k.Partition)), 2, k.Reason))
	}
	return b
}

func (r *Restoration) readField(rd *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		r.TableID = int32(rd.I64())
	case field{2, tbin.String}:
		r.Name = rd.String()
	case field{3, tbin.I64}:
		r.Partitions = int32(rd.I64())
	case field{4, tbin.String}:
		r.Provider = rd.String()
	case field{5, tbin.String}:
		r.Path = rd.String()
	case field{6, tbin.String}:
		r.Cluster = rd.String()
	case field{7, tbin.String}:
		r.Policy = rd.String()
	case field{8, tbin.I64}:
		r.BackupID = rd.I64()
	case field{9, tbin.String}:
		r.App = rd.String()
	case field{10, tbin.I64}:
		r.AppID = int32(rd.I64())
	case field{11, tbin.Bool}:
		r.SkipBad = rd.Bool()
	case field{12, tbin.I64}:
		r.Status = RestoreStatus(rd.I64())
	case field{13, tbin.String}:
		r.Reason = rd.String()
	case field{14, tbin.I64}:
		r.Begun = rd.I64()
	case field{15, tbin.I64}:
		r.Ended = rd.I64()
	case field{16, tbin.List}:
		n := list(rd, tbin.Struct, 1)
		r.Skipped = nil
		for i := 0; i < n && rd.Err() == nil; i++ {
			var k Skipped
			readStruct(rd, k.readField)
			r.Skipped = append(r.Skipped, k)
		}
	default:
		unknownField(rd, id)
	}
}

func (k *Skipped) readField(r *tbin.Reader, t tbin.Type, id int16) {
	readIDName(r, t, id, &k.Partition, &k.Reason)
}

func (s *restores) append(b []byte, id int16) []byte {
	if len(s.list) == 0 {
		return b
	}
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, id), tbin.Struct, len(s.list))
	for _, r := range s.list {
		b = tbin.AppendStop(r.appendFields(b))
	}
	return b
}

func (s *restores) read(r *tbin.Reader) {
	s.list = nil
	n := list(r, tbin.Struct, 1)
	for i := 0; i < n && r.Err() == nil; i++ {
		v := new(Restoration)
		readStruct(r, v.readField)
		if r.Err() != nil {
			return
		}
		if v.Status < RestoreRuns || v.Status > RestoreFailed || i > 0 && v.TableID <= s.list[i-1].TableID {
			r.Fail(tbin.ErrMalformed)
			return
		}
		s.list = append(s.list, v)
	}
}
