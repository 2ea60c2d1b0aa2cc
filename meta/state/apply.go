package state

import (
	"maps"
	"slices"
	"strings"

	"pegasus/base"
)

// Apply executes an encoded command. An error means that the entry can't be understood;
// the State is unchanged then, and must not be used further.
func (s *State) Apply(entry []byte) (Result, error) {
	c, err := Decode(entry)
	if err != nil {
		return Result{}, err
	}
	return c.apply(s), nil
}

func failed(code base.ErrorCode) Result { return Result{Err: code} }

func (c *Init) apply(s *State) Result {
	if s.cluster != "" && s.cluster != c.Cluster {
		return failed(base.ErrClusterAlreadyExist)
	}
	s.cluster = c.Cluster
	if s.quorum == "" {
		s.quorum = c.Quorum
	}
	return Result{Err: base.ErrOK}
}

func (c *CreateTable) apply(s *State) Result {
	if t := s.byName[c.Name]; t != nil {
		return Result{Err: base.ErrAppExist, TableID: t.ID}
	}
	if c.Name == "" || c.Partitions <= 0 || c.MaxReplicas <= 0 {
		return failed(base.ErrInvalidParameters)
	}
	t := &Table{
		ID:               s.lastID + 1,
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
	s.addTable(t)
	return Result{Err: base.ErrOK, TableID: t.ID}
}

// addTable puts a table of a new, higher id in.
func (s *State) addTable(t *Table) {
	s.lastID = max(s.lastID, t.ID)
	s.tables[t.ID] = t
	s.ids = append(s.ids, t.ID)
	if t.Status == Available {
		s.byName[t.Name] = t
		s.indexTable(t, true)
	}
}

// available returns the available table of that id, or why there is none.
func (s *State) available(id int32) (*Table, base.ErrorCode) {
	switch t := s.tables[id]; {
	case t == nil:
		return nil, base.ErrAppNotExist
	case t.Status != Available:
		return nil, base.ErrAppDropped
	default:
		return t, base.ErrOK
	}
}

func (c *DropTable) apply(s *State) Result {
	t, code := s.available(c.ID)
	if t == nil {
		return failed(code)
	}
	s.indexTable(t, false)
	delete(s.byName, t.Name)
	t.Status = Dropped
	t.DropSecond = c.Now
	t.ExpireSecond = c.Expire
	t.raiseBallots()
	return Result{Err: base.ErrOK, TableID: t.ID}
}

// raiseBallots gives each partition that has members a new ballot, so that whatever was
// under way under the old one fails.
func (t *Table) raiseBallots() {
	for i := range t.Parts {
		if t.Parts[i].Members() > 0 {
			t.Parts[i].Ballot++
		}
	}
}

func (c *RecallTable) apply(s *State) Result {
	t := s.tables[c.ID]
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
	if s.byName[name] != nil {
		return failed(base.ErrInvalidParameters)
	}
	t.Name = name
	t.Status = Available
	t.raiseBallots()
	s.byName[name] = t
	s.indexTable(t, true)
	return Result{Err: base.ErrOK, TableID: t.ID}
}

func (c *RenameTable) apply(s *State) Result {
	t, code := s.available(c.ID)
	if t == nil {
		return failed(code)
	}
	if c.Name == "" || s.byName[c.Name] != nil {
		return failed(base.ErrInvalidParameters)
	}
	delete(s.byName, t.Name)
	t.Name = c.Name
	s.byName[t.Name] = t
	return Result{Err: base.ErrOK, TableID: t.ID}
}

func (c *SetEnvs) apply(s *State) Result {
	t, code := s.available(c.ID)
	if t == nil {
		return failed(code)
	}
	t.Envs = mergeEnvs(t.Envs, c.Del, c.Set)
	return Result{Err: base.ErrOK, TableID: t.ID}
}

// mergeEnvs returns old without del, with set added or replaced, in a slice of its own.
func mergeEnvs(old []Env, del []string, set []Env) []Env {
	m := make(map[string]string, len(old)+len(set))
	for _, e := range old {
		m[e.Key] = e.Val
	}
	for _, k := range del {
		delete(m, k)
	}
	for _, e := range set {
		m[e.Key] = e.Val
	}
	envs := make([]Env, 0, len(m))
	for _, k := range slices.SortedFunc(maps.Keys(m), strings.Compare) {
		envs = append(envs, Env{Key: k, Val: m[k]})
	}
	return envs
}

func (c *SetReplicas) apply(s *State) Result {
	t, code := s.available(c.ID)
	if t == nil {
		return failed(code)
	}
	if c.Count <= 0 {
		return failed(base.ErrInvalidParameters)
	}
	t.MaxReplicas = c.Count
	return Result{Err: base.ErrOK, TableID: t.ID}
}

func (c *SetAtomic) apply(s *State) Result {
	t, code := s.available(c.ID)
	if t == nil {
		return failed(code)
	}
	t.AtomicIdempotent = c.On
	return Result{Err: base.ErrOK, TableID: t.ID}
}

func (c *SetLevel) apply(s *State) Result {
	if !c.Level.valid() {
		return failed(base.ErrInvalidParameters)
	}
	s.level = c.Level
	return Result{Err: base.ErrOK}
}

func (c *ChangeConfigs) apply(s *State) Result {
	res := Result{Err: base.ErrOK, Changes: make([]ChangeResult, len(c.Changes))}
	for i := range c.Changes {
		res.Changes[i] = s.change(&c.Changes[i])
	}
	return res
}
