package balance

import (
	"pegasus/base"
)

// Addr names a replica server.
type Addr = base.RPCAddress

// Role is what a node may hold.
type Role uint8

// The roles.
const (
	Full        Role = iota
	NoPrimaries      // it is about to be restarted
	Leaving          // it is being taken out
)

// Node is a living replica server.
type Node struct {
	Addr   Addr
	Rack   string // "": not known
	Role   Role
	Closed bool // gets no new replicas
}

// Part is one partition.
type Part struct {
	// Members are the living ones, the primary first.
	Members []Addr
	// Orphan tells that the primary is dead: Members has none.
	Orphan bool
	Bytes  int64
	// Reads and Writes are its load, in capacity units a second: the primary carries the reads, each member the writes.
	Reads, Writes float64
	Disks         []string // of each of Members; nil: not known
	Fixed         bool     // it counts, and isn't moved
}

// Table is one table.
type Table struct {
	ID       int32
	Name     string
	Replicas int    // how many each partition shall have
	Fixed    bool   // it isn't evened out; leaving nodes are relieved of it all the same
	Parts    []Part // by partition index
}

// View is what Plan goes by. Members that aren't in Nodes don't count.
type View struct {
	Nodes  []Node // by ascending address
	Tables []Table
}

// Options say what a plan may contain.
type Options struct {
	// RolesOnly moves primaries between the replicas that are there, and copies nothing.
	RolesOnly bool
	// PrimariesOnly evens out primaries, with copies where it must be, and not replicas.
	PrimariesOnly bool
	// MustOnly relieves nodes that are leaving or mustn't lead, as evenly as that goes without
	// moving anything else.
	MustOnly bool
	// Tolerance is how far above the mean of bytes a node may be, as a part of it. 0: bytes
	// alone are no reason to copy.
	Tolerance float64
	// LoadTolerance is the same for load. 0: load is no reason to move anything.
	LoadTolerance float64
	// LoadMoves is how many moves a plan may have for load alone.
	LoadMoves int
}

// Kind is what a Move does.
type Kind uint8

// The kinds. Promote makes To, a member, the primary in place of From (0: of none). Copy
// gives To a replica and takes that of From away. Add gives To a replica that is missing.
const (
	Promote Kind = iota
	Copy
	Add
)

func (k Kind) String() string {
	switch k {
	case Promote:
		return "move primary"
	case Copy:
		return "copy replica"
	}
	return "add replica"
}

// Move is one change of one partition. Moves of a partition have to be made in their order.
type Move struct {
	Gpid     base.Gpid
	Kind     Kind
	From, To Addr
	Primary  bool  // To becomes the primary (Copy, Add)
	Bytes    int64 // that are copied
	ForLoad  bool  // load alone is the reason
	Why      string
}

// Span is the least and the most that a node has.
type Span struct{ Min, Max int64 }

// Figures describe a placement, over the nodes that aren't leaving.
type Figures struct {
	Primaries, Replicas, Bytes, Load Span // load in capacity units a second
	// The largest difference between nodes that one table has.
	TablePrimaries, TableReplicas int64
}

// Plan is the outcome.
type Plan struct {
	Moves         []Move
	Before, After Figures
	// How many moves of each kind there are; a Copy or Add that makes a primary counts in
	// both, Primaries includes them.
	Primaries, Copies int
	// No plan that reaches the same evenness has less.
	MinPrimaries, MinCopies int
	Bytes                   int64 // that are copied
	// Stuck says why something couldn't be moved that should have been.
	Stuck []string
}
