package state

import (
	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/base/version"
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

// cluster is what the State knows of the cluster as a whole.
type cluster struct {
	name string // "": nothing was ever written
	// quorum tells this quorum's log from that of any other, also of a cluster with the
	// same name; "" in data of before there was one.
	quorum  string
	version version.Version // see Version
	id      string          // see ID
	// restored: this comes from a backup, or from a quorum that lost its majority, and what it
	// says of partitions may be past.
	restored bool
	level    Level
}

func newCluster() cluster { return cluster{version: version.First, level: LevelSteady} }

var clusterFeature = feature{
	name: "cluster",
	commands: []command{
		newCommand[Init](1, version.First),
		newCommand[SetLevel](9, version.First),
		newCommand[SetVersion](24, 2), // but see its needs
	},
	sections: []section{
		{1, tbin.String, version.First,
			func(s *State, b []byte, id int16) []byte { return appendString(b, id, s.cluster.name) },
			func(s *State, r *tbin.Reader) { s.cluster.name = r.String() }},
		{2, tbin.I64, version.First,
			func(s *State, b []byte, id int16) []byte { return appendI64(b, id, int64(s.cluster.level)) },
			func(s *State, r *tbin.Reader) {
				if l := Level(r.I64()); l.valid() {
					s.cluster.level = l
				}
			}},
		// It has always stood between these, and a State is written as it always was.
		{3, tbin.I64, version.First,
			func(s *State, b []byte, id int16) []byte { return appendI64(b, id, int64(s.tables.lastID)) },
			func(s *State, r *tbin.Reader) { s.tables.lastID = max(s.tables.lastID, int32(r.I64())) }},
		{5, tbin.String, version.First,
			func(s *State, b []byte, id int16) []byte { return appendString(b, id, s.cluster.quorum) },
			func(s *State, r *tbin.Reader) { s.cluster.quorum = r.String() }},
		{6, tbin.Bool, version.First,
			func(s *State, b []byte, id int16) []byte { return appendBool(b, id, s.cluster.restored) },
			func(s *State, r *tbin.Reader) { s.cluster.restored = r.Bool() }},
		{7, tbin.String, version.ClusterID.Since(),
			func(s *State, b []byte, id int16) []byte { return appendString(b, id, s.cluster.id) },
			func(s *State, r *tbin.Reader) { s.cluster.id = r.String() }},
	},
}

// Cluster returns the name of the cluster, "" before the Init command.
func (s *State) Cluster() string { return s.cluster.name }

// Quorum returns what tells this quorum's log from any other, "" before the Init command.
func (s *State) Quorum() string { return s.cluster.quorum }

// Restored tells whether the State comes from a backup, or from a quorum that lost its
// majority, and wasn't compared with the replica servers since (Recover does).
func (s *State) Restored() bool { return s.cluster.restored }

// BeginQuorum makes the State the beginning of another quorum's log. If what it
// says of partitions may be past, restored, no configuration changes until a Recover. It is called before any server has it.
func (s *State) BeginQuorum(quorum string, restored bool) {
	s.cluster.quorum = quorum
	s.cluster.restored = s.cluster.restored || restored
	if r := &s.placement.run; r.Active() {
		r.Ended, r.Why = max(r.Began, 1), "the quorum was made anew"
	}
}

// Level returns the function level in force.
func (s *State) Level() Level {
	if s.cluster.restored {
		return min(s.cluster.level, LevelFreezed)
	}
	return s.cluster.level
}

// Version is what the cluster's members agreed to write.
func (s *State) Version() version.Version { return s.cluster.version }

// ID is the cluster's identity, which tells it from any other, also of the same name. It is
// made once; "" as long as the version is below that of version.ClusterID.
func (s *State) ID() string { return s.cluster.id }

// Init names the cluster. It fails with base.ErrClusterAlreadyExist if the State has
// another name. Quorum is what State.Quorum is from then on, if it has none. Version is the
// version of a cluster that begins, and ID its identity; both are left out where it has begun.
type Init struct {
	Cluster, Quorum string
	Version         version.Version
	ID              string
}

func (c *Init) apply(s *State) Result {
	if s.cluster.name != "" && s.cluster.name != c.Cluster {
		return failed(base.ErrClusterAlreadyExist)
	}
	if s.cluster.name == "" && c.Version.Allows(version.ClusterID) {
		s.cluster.version, s.cluster.id = c.Version, c.ID
	}
	s.cluster.name = c.Cluster
	if s.cluster.quorum == "" {
		s.cluster.quorum = c.Quorum
	}
	return Result{Err: base.ErrOK}
}

func (c *Init) appendFields(b []byte) []byte {
	b = appendString(appendString(b, 1, c.Cluster), 2, c.Quorum)
	return appendString(appendI64(b, 3, int64(c.Version)), 4, c.ID)
}

func (c *Init) needs() version.Version {
	if c.Version == 0 && c.ID != "" {
		return 2
	}
	return c.Version
}

func (c *Init) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.String}:
		c.Cluster = r.String()
	case field{2, tbin.String}:
		c.Quorum = r.String()
	case field{3, tbin.I64}:
		c.Version = readVersion(r)
	case field{4, tbin.String}:
		c.ID = r.String()
	default:
		unknownField(r, id)
	}
}

// SetLevel sets the function level; base.ErrInvalidParameters if there is no such level.
type SetLevel struct{ Level Level }

func (c *SetLevel) apply(s *State) Result {
	if !c.Level.valid() {
		return failed(base.ErrInvalidParameters)
	}
	s.cluster.level = c.Level
	return Result{Err: base.ErrOK}
}

func (c *SetLevel) appendFields(b []byte) []byte { return appendI64(b, 1, int64(c.Level)) }

func (c *SetLevel) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.Level = Level(r.I64())
	default:
		unknownField(r, id)
	}
}

// SetVersion raises the version of the cluster. It is base.ErrInvalidParameters if To isn't
// higher than the one it has. ID is the cluster's identity from then on, if it has none. Who
// proposes it has asked every member whether it understands To: one that doesn't stops here.
type SetVersion struct {
	To version.Version
	ID string
}

func (c *SetVersion) needs() version.Version { return c.To }

func (c *SetVersion) apply(s *State) Result {
	if c.To <= s.cluster.version || c.To.Allows(version.ClusterID) && s.cluster.id == "" && c.ID == "" {
		return failed(base.ErrInvalidParameters)
	}
	s.cluster.version = c.To
	if s.cluster.id == "" {
		s.cluster.id = c.ID
	}
	return Result{Err: base.ErrOK}
}

func (c *SetVersion) appendFields(b []byte) []byte {
	return appendString(appendI64(b, 1, int64(c.To)), 2, c.ID)
}

func (c *SetVersion) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.To = readVersion(r)
	case field{2, tbin.String}:
		c.ID = r.String()
	default:
		unknownField(r, id)
	}
}
