package state

import (
	"slices"
	"strings"

	"pegasus/base"
)

// Addr names a replica server: its packed address.
type Addr = base.RPCAddress

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

// Level limits what the meta does by itself and lets be done; the values are upstream's
// meta_function_level.
type Level int32

// The levels. Below LevelSteady nothing is repaired and no configuration changes.
const (
	LevelStopped Level = 100
	LevelBlind   Level = 200
	LevelFreezed Level = 300
	LevelSteady  Level = 400
	LevelLively  Level = 500
)

func (l Level) valid() bool {
	switch l {
	case LevelStopped, LevelBlind, LevelFreezed, LevelSteady, LevelLively:
		return true
	}
	return false
}

// MaxLastDrops is how many former members a configuration remembers.
const MaxLastDrops = 3

// Config is the group of one partition. The zero value is a partition that never had a
// member.
type Config struct {
	Ballot        int64
	Primary       Addr // 0: none
	Secondaries   []Addr
	LastDrops     []Addr // former members, the newest last
	LastCommitted int64  // decree that a primary reported with its last change; may be old
}

// Members returns how many members c has.
func (c *Config) Members() int {
	n := len(c.Secondaries)
	if c.Primary != 0 {
		n++
	}
	return n
}

// Has tells whether a is a member.
func (c *Config) Has(a Addr) bool {
	return a != 0 && (c.Primary == a || slices.Contains(c.Secondaries, a))
}

// AppendMembers appends the members to b, the primary first.
func (c *Config) AppendMembers(b []Addr) []Addr {
	if c.Primary != 0 {
		b = append(b, c.Primary)
	}
	return append(b, c.Secondaries...)
}

// SameGroup tells whether c and o have the same ballot and members in the same roles; the
// order of secondaries doesn't count.
func (c *Config) SameGroup(o *Config) bool {
	if c.Ballot != o.Ballot || c.Primary != o.Primary || len(c.Secondaries) != len(o.Secondaries) {
		return false
	}
	for _, s := range c.Secondaries {
		if !slices.Contains(o.Secondaries, s) {
			return false
		}
	}
	return true
}

// Without returns a copy of c whose members are those that drop doesn't hold, with the
// same ballot. The primary may be missing in it.
func (c *Config) Without(drop func(Addr) bool) Config {
	n := *c
	if n.Primary != 0 && drop(n.Primary) {
		n.Primary = 0
	}
	n.Secondaries = slices.DeleteFunc(slices.Clone(c.Secondaries), drop)
	return n
}

// WithPrimary returns a copy of c in which p, a member, is the primary and the former
// primary, if there is one, a secondary.
func (c *Config) WithPrimary(p Addr) Config {
	if c.Primary == p {
		return *c
	}
	n := *c
	n.Primary = p
	n.Secondaries = nil
	for _, s := range c.Secondaries {
		switch {
		case s != p:
			n.Secondaries = append(n.Secondaries, s)
		case c.Primary != 0:
			n.Secondaries = append(n.Secondaries, c.Primary)
		}
	}
	return n
}

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

// State is everything. Make it with New or Restore.
type State struct {
	cluster string // "": nothing was ever written
	// quorum tells this quorum's log from that of any other, also of a cluster with the
	// same name; "" in data of before there was one.
	quorum string
	// restored: this comes from a backup, or from a quorum that lost its majority, and what it
	// says of partitions may be past.
	restored bool
	level    Level
	lastID   int32
	tables   map[int32]*Table
	byName   map[string]*Table // available ones
	ids      []int32           // of all tables, ascending
	nodes    map[Addr]*node
	roles    map[Addr]Role // other than RoleFull
	run      Run           // the last one
	purged   []idRange     // ids of tables that were forgotten, ascending, with gaps between
}

// New returns the State before the first command.
func New() *State {
	return &State{level: LevelSteady, tables: map[int32]*Table{}, byName: map[string]*Table{}, nodes: map[Addr]*node{}, roles: map[Addr]Role{}}
}

// Cluster returns the name of the cluster, "" before the Init command.
func (s *State) Cluster() string { return s.cluster }

// Quorum returns what tells this quorum's log from any other, "" before the Init command.
func (s *State) Quorum() string { return s.quorum }

// Restored tells whether the State comes from a backup, or from a quorum that lost its
// majority, and wasn't compared with the replica servers since (Recover does).
func (s *State) Restored() bool { return s.restored }

// Reborn makes the State the beginning of another quorum's log. If what it
// says of partitions may be past, restored, no configuration changes until a Recover. It is called before any server has it.
func (s *State) Reborn(quorum string, restored bool) {
	s.quorum = quorum
	s.restored = s.restored || restored
	if s.run.Active() {
		s.run.Ended, s.run.Why = max(s.run.Began, 1), "the quorum was made anew"
	}
}

// Level returns the function level in force.
func (s *State) Level() Level {
	if s.restored {
		return min(s.level, LevelFreezed)
	}
	return s.level
}

// Table returns the table of that id, dropped or not, nil if there never was one.
func (s *State) Table(id int32) *Table { return s.tables[id] }

// TableNamed returns the available table of that name, nil if there is none.
func (s *State) TableNamed(name string) *Table { return s.byName[name] }

// Tables calls f for each table, dropped ones included, by ascending id.
func (s *State) Tables(f func(*Table)) {
	for _, id := range s.ids {
		f(s.tables[id])
	}
}

// TablesFrom calls f for each table, dropped ones included, whose id is at least from, by
// ascending id, as long as f returns true.
func (s *State) TablesFrom(from int32, f func(*Table) bool) {
	i, _ := slices.BinarySearch(s.ids, from)
	for _, id := range s.ids[i:] {
		if !f(s.tables[id]) {
			return
		}
	}
}

// Config returns the configuration of a partition of an available table; ok is false for
// any other.
func (s *State) Config(g base.Gpid) (t *Table, c Config, ok bool) {
	t = s.tables[g.AppID]
	if t == nil || t.Status != Available || g.PartitionIndex < 0 || int(g.PartitionIndex) >= len(t.Parts) {
		return t, Config{}, false
	}
	return t, t.Parts[g.PartitionIndex], true
}

// LastID returns the highest id that a table has or had, 0 if there never was one.
func (s *State) LastID() int32 { return s.lastID }
