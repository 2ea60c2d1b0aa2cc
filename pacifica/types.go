package pacifica

import (
	"fmt"

	"pegasus/base"
)

// NodeID names a replica server: its packed address. Zero is nobody.
type NodeID = base.RPCAddress

// Status is the role of a replica in its partition.
type Status uint8

// The roles. An Inactive replica has data and takes part in nothing.
const (
	Inactive Status = iota
	Primary
	Secondary
	Learner
)

func (s Status) String() string {
	switch s {
	case Inactive:
		return "inactive"
	case Primary:
		return "primary"
	case Secondary:
		return "secondary"
	case Learner:
		return "learner"
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// Config is a configuration as the meta persisted it.
type Config struct {
	Ballot      int64
	Primary     NodeID
	Secondaries []NodeID
}

// Has tells whether n is a member.
func (c *Config) Has(n NodeID) bool { return n != 0 && (c.Primary == n || c.HasSecondary(n)) }

// HasSecondary tells whether n is a secondary.
func (c *Config) HasSecondary(n NodeID) bool {
	for _, s := range c.Secondaries {
		if s == n {
			return true
		}
	}
	return false
}

// Entry is a mutation with its place: Decree in the partition's order, stamped with the
// Ballot of the primary that prepared it (last). Payload is never changed.
type Entry struct {
	Ballot    int64
	Decree    int64
	Timestamp int64
	Payload   []byte
}

// MsgType is the kind of a Message.
type MsgType uint8

// The messages between members. MsgPrepare, primary to follower, carries zero or more
// entries and the commit point; MsgAck answers it; MsgSnapshot tells a learner that it
// must fetch a checkpoint.
const (
	MsgPrepare MsgType = 1 + iota
	MsgAck
	MsgSnapshot
)

func (t MsgType) String() string {
	switch t {
	case MsgPrepare:
		return "prepare"
	case MsgAck:
		return "ack"
	case MsgSnapshot:
		return "snapshot"
	}
	return fmt.Sprintf("message(%d)", uint8(t))
}

// Message is what two replicas of a partition send each other. Lost, doubled, late and
// reordered messages are all harmless.
type Message struct {
	Type     MsgType
	From, To NodeID
	// Ballot of the sender.
	Ballot int64

	// Role of the receiver, Secondary or Learner, and for a learner the Signature under
	// which the primary added it (MsgPrepare, MsgSnapshot; echoed in MsgAck).
	Role      Status
	Signature int64
	// Base is the primary's commit point when its ballot began (MsgPrepare).
	Base int64
	// Prev is the decree before Entries[0] (MsgPrepare), or after which the log has nothing
	// for the learner (MsgSnapshot).
	Prev int64
	// Commit is the primary's commit point (MsgPrepare); the follower's own in MsgAck.
	Commit int64
	// Last is the highest decree that the primary has prepared (MsgPrepare, MsgSnapshot).
	Last    int64
	Entries []Entry

	// Prepared is the decree up to which the sender holds everything durably under this
	// ballot (MsgAck).
	Prepared int64
	// Gap asks to continue after Prepared: the sender can't use what it was sent (MsgAck).
	Gap bool
	// Reject says that the sender knows a higher ballot, the message's, or if it is the
	// receiver's own, that it is a learner which needs a higher one (MsgAck).
	Reject bool
	// Busy says that a checkpoint is being fetched (MsgAck).
	Busy bool
	// Tip, unless it is 0, is the timestamp of the mutation at Commit that a learner has (MsgAck),
	// or of the one that the primary has at Prev, where the learner has another (MsgSnapshot).
	Tip int64
}

// ChangeKind is what a primary asks of the meta.
type ChangeKind uint8

// The changes. ChangeRefresh asks for the current configuration and changes nothing.
const (
	ChangeAdd ChangeKind = 1 + iota
	ChangeRemove
	ChangeForceBallot
	ChangeRefresh
)

func (k ChangeKind) String() string {
	switch k {
	case ChangeAdd:
		return "add"
	case ChangeRemove:
		return "remove"
	case ChangeForceBallot:
		return "force-ballot"
	case ChangeRefresh:
		return "refresh"
	}
	return fmt.Sprintf("change(%d)", uint8(k))
}

// Change is a request to the meta. Config is the wanted configuration, with the next
// ballot; for ChangeRefresh the one the replica knows. It is to be repeated until the meta
// answers: with a configuration, which goes to Configure, or with a refusal, which goes to
// Refused.
type Change struct {
	Kind      ChangeKind
	Node      NodeID
	Config    Config
	Committed int64
}

// Fetch tells the driver of a learner to fetch a checkpoint from From and install it, and
// to report with Installed. A checkpoint that is not beyond what the store holds is a
// failure, unless Divergent.
type Fetch struct {
	From      NodeID
	Ballot    int64
	Signature int64
	// Divergent: the store holds committed decrees that the group doesn't know; it is to
	// be replaced even by an older one.
	Divergent bool
}

// Ready is what is to be done, in this order: make Ballot durable if it is not zero, hand
// Append to the log (Persisted reports completion; not waited for), send Messages, apply
// Commit, carry out Changes and Fetch.
type Ready struct {
	// Ballot, if not zero, must be durable before any of Messages leaves.
	Ballot int64
	// Append goes to the log in this order; Committed is the commit point to be stored
	// with it.
	Append    []Entry
	Committed int64
	Messages  []Message
	// Commit is applied in this order.
	Commit []Entry
	// Acknowledge: the clients whose writes are in Commit may be told that these are done. It
	// says that this is the primary, and that its configuration, each member of which holds all
	// of Commit durably, has the least number of members, see SetMinMembers. Otherwise what becomes
	// of these writes is open, and nobody may be told that they are done, or that they aren't.
	Acknowledge bool
	Changes     []Change
	Fetch       *Fetch

	// sent is where the entries of Messages lie.
	sent []Entry
}

// Empty tells whether there is nothing to do.
func (r *Ready) Empty() bool {
	return r.Ballot == 0 && len(r.Append) == 0 && len(r.Messages) == 0 && len(r.Commit) == 0 && len(r.Changes) == 0 && r.Fetch == nil
}

// LogReader gives back committed entries that left the window.
type LogReader interface {
	// Entries returns entries from decree from on, consecutive, at most about maxBytes of
	// payload but at least one, none above to. An error means that the log doesn't reach
	// back to from. The slice is the caller's, the payloads are not.
	Entries(from, to, maxBytes int64) ([]Entry, error)
}

// Pacer bounds what learners that are far behind are sent, so that it isn't felt by clients.
type Pacer interface {
	// Ready tells whether more may be sent now. It is asked again each tick, and when a learner
	// has acknowledged something.
	Ready() bool
	// Sent tells of so many bytes.
	Sent(bytes int64)
}

// Options configure a Core. Times are counted in ticks.
type Options struct {
	Self NodeID
	Log  LogReader
	// Pacer, if there is one, is asked before a learner is sent entries that left the window.
	Pacer Pacer
	// MaxInFlight is how many decrees may be between prepare and commit.
	MaxInFlight int64
	// MaxSendBytes bounds the payload of one message, unless it is a single entry, and, four
	// times that, of what is under way to one follower.
	MaxSendBytes int64
	// MaxEntryBytes is how large a payload may be: a larger one can't be sent, so Propose
	// refuses it. A follower that lacks one, which is in the log from former times, isn't sent
	// it: it gets a checkpoint. 0 is no bound.
	MaxEntryBytes int64
	// Apart, if it is set, tells of a payload that it isn't all of what the mutation does: members have the rest, learners don't. So no learner is sent
	// it, but a checkpoint once it is committed, and none joins before.
	Apart func(payload []byte) bool
	// HeartbeatTicks: a follower hears from the primary at least this often.
	HeartbeatTicks int
	// ResendTicks: what isn't acknowledged for so long is sent again.
	ResendTicks int
	// EjectTicks: a secondary that stands still for so long is removed; one that is known
	// to be unreachable after a third of it.
	EjectTicks int
	// LearnTicks: a learner that is silent for so long is dropped; one that was sent entries for
	// half as long and acknowledged none of them is offered a checkpoint.
	LearnTicks int
}

// State is a summary of a Core for the outside.
type State struct {
	Status    Status
	Ballot    int64
	Config    Config
	Committed int64
	Last      int64
	// Serving: a primary that has committed all that it held when it was promoted.
	Serving  bool
	Learners []LearnerState
}

// LearnerState is the progress of a learner as its primary sees it.
type LearnerState struct {
	Node     NodeID
	Match    int64
	Joining  bool
	Snapshot bool
	// Asked: the meta was asked to make it a secondary, and commits wait for it.
	Asked bool
}
