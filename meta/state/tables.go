package state

import (
	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/base/version"
)

var tablesFeature = feature{
	name: "tables",
	commands: []command{
		newCommand[CreateTable](2, version.First),
		newCommand[DropTable](3, version.First),
		newCommand[RecallTable](4, version.First),
		newCommand[RenameTable](5, version.First),
		newCommand[SetEnvs](6, version.First),
		newCommand[SetReplicas](7, version.First),
		newCommand[SetAtomic](8, version.First),
		newCommand[ChangeConfigs](10, version.First),
	},
	sections: []section{{4, tbin.List, version.First, appendTables, readTables}},
}

func appendTables(s *State, b []byte, id int16) []byte {
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, id), tbin.Struct, len(s.tables.ids))
	s.Tables(func(t *Table) { b = tbin.AppendStop(t.appendFields(b)) })
	return b
}

func readTables(s *State, r *tbin.Reader) {
	n := list(r, tbin.Struct, 1)
	for i := 0; i < n && r.Err() == nil; i++ {
		t := &Table{}
		readStruct(r, t.readField)
		if r.Err() != nil {
			return
		}
		if err := s.tables.acceptable(t); err != nil {
			r.Fail(err)
			return
		}
		s.tables.add(t)
	}
}

// CreateTable makes a table of partitions without members; Result.TableID is its id. A
// name in use gives base.ErrAppExist, and that table's id.
type CreateTable struct {
	Name, Type       string
	Stateful         bool
	Partitions       int32
	MaxReplicas      int32
	Envs             []Env
	AtomicIdempotent bool
	Now              int64 // Unix seconds
}

// nextTableID returns the id of a table that is made now. Members whose programs don't know of base.Listing would give another one.
func (s *State) nextTableID() int32 {
	if s.Version().Allows(version.Listings) {
		return base.NextTableID(s.tables.lastID)
	}
	return s.tables.lastID + 1
}

// MayList tells whether a table can be told to clients under another id, see base.MayList.
func (s *State) MayList(id int32) bool {
	return base.MayList(id, func(other int32) bool { return s.tables.byID[other] != nil || s.Purged(other) })
}

func (c *CreateTable) apply(s *State) Result {
	if t := s.tables.byName[c.Name]; t != nil {
		return Result{Err: base.ErrAppExist, TableID: t.ID}
	}
	if c.Name == "" || c.Partitions <= 0 || c.MaxReplicas <= 0 {
		return failed(base.ErrInvalidParameters)
	}
	t := &Table{
		ID:               s.nextTableID(),
		Status:           Available,
		Name:             c.Name,
		Type:             c.Type,
		Stateful:         c.Stateful,
		MaxReplicas:      c.MaxReplicas,
		InitPartitions:   c.Partitions,
		CreateSecond:     c.Now,
		AtomicIdempotent: c.AtomicIdempotent,
		Envs:             mergeEnvs(nil, nil, c.Envs),
		Parts:            make([]Config, c.Partitions),
	}
	s.tables.add(t)
	return Result{Err: base.ErrOK, TableID: t.ID}
}

func (c *CreateTable) appendFields(b []byte) []byte {
	b = appendString(b, 1, c.Name)
	b = appendString(b, 2, c.Type)
	b = appendBool(b, 3, c.Stateful)
	b = appendI64(b, 4, int64(c.Partitions))
	b = appendI64(b, 5, int64(c.MaxReplicas))
	b = appendEnvs(b, 6, c.Envs)
	b = appendBool(b, 7, c.AtomicIdempotent)
	return appendI64(b, 8, c.Now)
}

func (c *CreateTable) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.String}:
		c.Name = r.String()
	case field{2, tbin.String}:
		c.Type = r.String()
	case field{3, tbin.Bool}:
		c.Stateful = r.Bool()
	case field{4, tbin.I64}:
		c.Partitions = int32(r.I64())
	case field{5, tbin.I64}:
		c.MaxReplicas = int32(r.I64())
	case field{6, tbin.Map}:
		c.Envs = readEnvs(r)
	case field{7, tbin.Bool}:
		c.AtomicIdempotent = r.Bool()
	case field{8, tbin.I64}:
		c.Now = r.I64()
	default:
		unknownField(r, id)
	}
}

// DropTable takes a table out of service; its name is free at once.
type DropTable struct {
	ID          int32
	Now, Expire int64 // Unix seconds
}

func (c *DropTable) apply(s *State) Result {
	t, code := s.tables.available(c.ID)
	if t == nil {
		return failed(code)
	}
	if t.Splitting() {
		return failed(base.ErrSplitting)
	}
	if s.Loading(t.ID) { // its members would keep what they made of the files
		return failed(base.ErrBusy)
	}
	s.tables.withdraw(t)
	t.Status = Dropped
	t.DropSecond = c.Now
	t.ExpireSecond = c.Expire
	t.raiseBallots()
	return Result{Err: base.ErrOK, TableID: t.ID}
}

func (c *DropTable) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(c.ID))
	b = appendI64(b, 2, c.Now)
	return appendI64(b, 3, c.Expire)
}

func (c *DropTable) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = int32(r.I64())
	case field{2, tbin.I64}:
		c.Now = r.I64()
	case field{3, tbin.I64}:
		c.Expire = r.I64()
	default:
		unknownField(r, id)
	}
}

// RecallTable puts a dropped table back into service, under Name or, if that is empty, its
// own name: base.ErrAppExist if it isn't dropped, base.ErrInvalidParameters if the name is
// in use. Its partitions get a new ballot.
type RecallTable struct {
	ID   int32
	Name string
}

func (c *RecallTable) apply(s *State) Result {
	t := s.tables.byID[c.ID]
	switch {
	case t == nil:
		return failed(base.ErrAppNotExist)
	case t.Status != Dropped:
		return failed(base.ErrAppExist)
	}
	name := c.Name
	if name == "" {
		name = t.Name
	}
	if s.tables.byName[name] != nil {
		return failed(base.ErrInvalidParameters)
	}
	t.Name = name
	t.Status = Available
	t.raiseBallots()
	s.tables.publish(t)
	restored.of(s).recalled(t)
	return Result{Err: base.ErrOK, TableID: t.ID}
}

func (c *RecallTable) appendFields(b []byte) []byte { return appendIDName(b, c.ID, c.Name) }

func (c *RecallTable) readField(r *tbin.Reader, t tbin.Type, id int16) {
	readIDName(r, t, id, &c.ID, &c.Name)
}

// RenameTable gives a table another name.
type RenameTable struct {
	ID   int32
	Name string
}

func (c *RenameTable) apply(s *State) Result {
	t, code := s.tables.available(c.ID)
	if t == nil {
		return failed(code)
	}
	if c.Name == "" || s.tables.byName[c.Name] != nil {
		return failed(base.ErrInvalidParameters)
	}
	delete(s.tables.byName, t.Name)
	t.Name = c.Name
	s.tables.byName[t.Name] = t
	return Result{Err: base.ErrOK, TableID: t.ID}
}

func (c *RenameTable) appendFields(b []byte) []byte { return appendIDName(b, c.ID, c.Name) }

func (c *RenameTable) readField(r *tbin.Reader, t tbin.Type, id int16) {
	readIDName(r, t, id, &c.ID, &c.Name)
}

// SetEnvs removes settings, then adds or replaces others.
type SetEnvs struct {
	ID  int32
	Del []string
	Set []Env
}

func (c *SetEnvs) apply(s *State) Result {
	t, code := s.tables.available(c.ID)
	if t == nil {
		return failed(code)
	}
	t.Envs = mergeEnvs(t.Envs, c.Del, c.Set)
	return Result{Err: base.ErrOK, TableID: t.ID}
}

func (c *SetEnvs) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(c.ID))
	b = appendStrings(b, 2, c.Del)
	return appendEnvs(b, 3, c.Set)
}

func (c *SetEnvs) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = int32(r.I64())
	case field{2, tbin.List}:
		c.Del = readStrings(r)
	case field{3, tbin.Map}:
		c.Set = readEnvs(r)
	default:
		unknownField(r, id)
	}
}

// SetReplicas sets how many replicas a table shall have.
type SetReplicas struct{ ID, Count int32 }

func (c *SetReplicas) apply(s *State) Result {
	t, code := s.tables.available(c.ID)
	if t == nil {
		return failed(code)
	}
	if c.Count <= 0 {
		return failed(base.ErrInvalidParameters)
	}
	t.MaxReplicas = c.Count
	return Result{Err: base.ErrOK, TableID: t.ID}
}

func (c *SetReplicas) appendFields(b []byte) []byte {
	return appendI64(appendI64(b, 1, int64(c.ID)), 2, int64(c.Count))
}

func (c *SetReplicas) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = int32(r.I64())
	case field{2, tbin.I64}:
		c.Count = int32(r.I64())
	default:
		unknownField(r, id)
	}
}

// SetAtomic says whether atomic operations are turned into plain ones before replication.
type SetAtomic struct {
	ID int32
	On bool
}

func (c *SetAtomic) apply(s *State) Result {
	t, code := s.tables.available(c.ID)
	if t == nil {
		return failed(code)
	}
	t.AtomicIdempotent = c.On
	return Result{Err: base.ErrOK, TableID: t.ID}
}

func (c *SetAtomic) appendFields(b []byte) []byte {
	return appendBool(appendI64(b, 1, int64(c.ID)), 2, c.On)
}

func (c *SetAtomic) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = int32(r.I64())
	case field{2, tbin.Bool}:
		c.On = r.Bool()
	default:
		unknownField(r, id)
	}
}

// ChangeConfigs changes configurations, each on its own: one that is refused doesn't
// hinder the others.
type ChangeConfigs struct{ Changes []Change }

func (c *ChangeConfigs) apply(s *State) Result {
	res := Result{Err: base.ErrOK, Changes: make([]ChangeResult, len(c.Changes))}
	for i := range c.Changes {
		res.Changes[i] = s.change(&c.Changes[i])
	}
	return res
}

// change applies one Change.
func (s *State) change(c *Change) ChangeResult {
	t, old, ok := s.Config(c.Gpid)
	if !ok {
		return ChangeResult{Err: base.ErrObjectNotFound}
	}
	if c.Config.Ballot != old.Ballot+1 {
		return ChangeResult{base.ErrInvalidVersion, old}
	}
	if err := CheckChange(&old, c); err != nil {
		return ChangeResult{base.CodeOf(err), old}
	}
	if s.NeedsSeed(t, &old) && c.Config.LastCommitted <= 0 {
		return ChangeResult{base.ErrInvalidState, old}
	}
	n := c.Config
	n.LastDrops = nextDrops(&old, &n)
	n.LastCommitted = max(old.LastCommitted, n.LastCommitted)
	s.tables.index(c.Gpid, &old, false)
	t.Parts[c.Gpid.PartitionIndex] = n
	s.tables.index(c.Gpid, &n, true)
	return ChangeResult{base.ErrOK, n}
}

func (c *ChangeConfigs) appendFields(b []byte) []byte {
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, 1), tbin.Struct, len(c.Changes))
	for i := range c.Changes {
		ch := &c.Changes[i]
		b = appendI64(b, 1, ch.Gpid.Word())
		b = tbin.AppendField(b, tbin.Struct, 2)
		b = tbin.AppendStop(ch.Config.appendFields(b))
		b = appendI64(b, 3, int64(ch.Adds))
		b = tbin.AppendStop(b)
	}
	return b
}

func (c *ChangeConfigs) readField(r *tbin.Reader, t tbin.Type, id int16) {
	if (field{id, t}) != (field{1, tbin.List}) {
		unknownField(r, id)
		return
	}
	n := list(r, tbin.Struct, 1)
	c.Changes = nil
	for i := 0; i < n && r.Err() == nil; i++ {
		c.Changes = append(c.Changes, Change{})
		ch := &c.Changes[i]
		readStruct(r, func(r *tbin.Reader, t tbin.Type, id int16) {
			switch (field{id, t}) {
			case field{1, tbin.I64}:
				ch.Gpid = base.GpidFromWord(r.I64())
			case field{2, tbin.Struct}:
				readStruct(r, ch.Config.readField)
			case field{3, tbin.I64}:
				ch.Adds = Addr(r.I64())
			default:
				unknownField(r, id)
			}
		})
	}
}
