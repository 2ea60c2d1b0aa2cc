package state

import (
	"maps"
	"slices"
	"strings"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/pacifica/split"
)

// Env is one setting of a table.
type Env = base.Pair[string, string]

// Status is the life of a table. Transient states of upstream (creating, dropping,
// recalling) don't exist: each change is one command.
type Status int32

// The values are upstream's app_status.
const (
	Available Status = 1
	Dropped   Status = 6
)

// Table is one table.
type Table struct {
	ID               int32
	Status           Status
	Name             string
	Type             string // "pegasus"
	Stateful         bool
	MaxReplicas      int32
	InitPartitions   int32 // partition count at creation
	CreateSecond     int64 // Unix seconds
	DropSecond       int64 // when it was last dropped, 0: never
	ExpireSecond     int64 // from when on its data may go
	AtomicIdempotent bool
	Duplicating      bool
	BulkLoading      bool
	Envs             []Env    // sorted by key
	Parts            []Config // by partition index
}

// Expired tells whether the table was dropped, and its data might go before that time, in Unix
// seconds.
func (t *Table) Expired(before int64) bool {
	return t.Status == Dropped && t.ExpireSecond != 0 && t.ExpireSecond < before
}

// Env returns the value of a setting.
func (t *Table) Env(key string) (string, bool) {
	i, ok := slices.BinarySearchFunc(t.Envs, key, func(e Env, k string) int { return strings.Compare(e.Key, k) })
	if !ok {
		return "", false
	}
	return t.Envs[i].Val, true
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

// maxPartitions bounds what Restore allocates for one table.
const maxPartitions = 1 << 24

func (t *Table) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(t.ID))
	b = appendI64(b, 2, int64(t.Status))
	b = appendString(b, 3, t.Name)
	b = appendString(b, 4, t.Type)
	b = appendBool(b, 5, t.Stateful)
	b = appendI64(b, 6, int64(t.MaxReplicas))
	b = appendI64(b, 7, int64(t.InitPartitions))
	b = appendI64(b, 8, t.CreateSecond)
	b = appendI64(b, 9, t.DropSecond)
	b = appendI64(b, 10, t.ExpireSecond)
	b = appendBool(b, 11, t.AtomicIdempotent)
	b = appendBool(b, 12, t.Duplicating)
	b = appendBool(b, 13, t.BulkLoading)
	b = appendEnvs(b, 14, t.Envs)
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, 15), tbin.Struct, len(t.Parts))
	for i := range t.Parts {
		b = tbin.AppendStop(t.Parts[i].appendFields(b))
	}
	return b
}

func (t *Table) readField(r *tbin.Reader, ft tbin.Type, id int16) {
	switch (field{id, ft}) {
	case field{1, tbin.I64}:
		t.ID = int32(r.I64())
	case field{2, tbin.I64}:
		t.Status = Status(r.I64())
	case field{3, tbin.String}:
		t.Name = r.String()
	case field{4, tbin.String}:
		t.Type = r.String()
	case field{5, tbin.Bool}:
		t.Stateful = r.Bool()
	case field{6, tbin.I64}:
		t.MaxReplicas = int32(r.I64())
	case field{7, tbin.I64}:
		t.InitPartitions = int32(r.I64())
	case field{8, tbin.I64}:
		t.CreateSecond = r.I64()
	case field{9, tbin.I64}:
		t.DropSecond = r.I64()
	case field{10, tbin.I64}:
		t.ExpireSecond = r.I64()
	case field{11, tbin.Bool}:
		t.AtomicIdempotent = r.Bool()
	case field{12, tbin.Bool}:
		t.Duplicating = r.Bool()
	case field{13, tbin.Bool}:
		t.BulkLoading = r.Bool()
	case field{14, tbin.Map}:
		t.Envs = mergeEnvs(nil, nil, readEnvs(r))
	case field{15, tbin.List}:
		n := list(r, tbin.Struct, 1)
		if n > maxPartitions {
			r.Fail(tbin.ErrMalformed)
			return
		}
		t.Parts = slices.Grow([]Config(nil), n) // none is nil, as without the field
		for i := 0; i < n && r.Err() == nil; i++ {
			var c Config
			readStruct(r, c.readField)
			t.Parts = append(t.Parts, c)
		}
	default:
		unknownField(r, id)
	}
}

// ChildBallot is that of a partition that will come of another one, and isn't there yet.
const ChildBallot = -1

// Unborn tells whether this is a child that isn't registered yet.
func (c *Config) Unborn() bool { return c.Ballot == ChildBallot }

// Count is how many partitions there are for the members of a partition of the table: as many as will be once it is split itself.
func (t *Table) Count(partition int32) int32 {
	n := int32(len(t.Parts))
	if child := split.Child(partition, n); n%2 == 0 && child < n && t.Parts[child].Unborn() {
		return n / 2
	}
	return n
}

// Splitting tells whether the table is being split: some child isn't registered.
func (t *Table) Splitting() bool {
	return slices.ContainsFunc(t.Parts, func(c Config) bool { return c.Unborn() })
}
