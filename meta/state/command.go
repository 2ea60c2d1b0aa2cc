package state

import (
	"errors"
	"fmt"

	"pegasus/base"
	"pegasus/base/tbin"
)

// Command is one entry of the quorum's log. Encode writes it: a version byte, a kind byte,
// and the command as a Thrift struct, so that fields can be added later.
type Command interface {
	kind() kind
	appendFields(b []byte) []byte
	readField(r *tbin.Reader, t tbin.Type, id int16)
	apply(s *State) Result
}

type kind byte

// Kinds are written to disk: never reuse a number.
const (
	kindInit        kind = 1
	kindCreateTable kind = 2
	kindDropTable   kind = 3
	kindRecallTable kind = 4
	kindRenameTable kind = 5
	kindSetEnvs     kind = 6
	kindSetReplicas kind = 7
	kindSetAtomic   kind = 8
	kindSetLevel    kind = 9
	kindChange      kind = 10
	kindRecover     kind = 11
	kindSetNodeRole kind = 20
	kindStartRun    kind = 21
	kindEndRun      kind = 22
	kindPurgeTables kind = 23
)

const commandVersion = 1

// ErrUnknownCommand is what Decode wraps when the entry was written by a version that
// knows more. Who meets it must stop: going on would leave its State different from the
// others'.
var ErrUnknownCommand = errors.New("the meta's log has an entry that this version doesn't know")

// Result is what a command did. Err is base.ErrOK, or why nothing was changed.
type Result struct {
	Err     base.ErrorCode
	TableID int32
	// Changes has one entry for each Change of a ChangeConfigs.
	Changes []ChangeResult
}

// Init names the cluster. It fails with base.ErrClusterAlreadyExist if the State has
// another name. Quorum is what State.Quorum is from then on, if it has none.
type Init struct{ Cluster, Quorum string }

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

// DropTable takes a table out of service; its name is free at once.
type DropTable struct {
	ID          int32
	Now, Expire int64 // Unix seconds
}

// RecallTable puts a dropped table back into service, under Name or, if that is empty, its
// own name: base.ErrAppExist if it isn't dropped, base.ErrInvalidParameters if the name is
// in use. Its partitions get a new ballot.
type RecallTable struct {
	ID   int32
	Name string
}

// RenameTable gives a table another name.
type RenameTable struct {
	ID   int32
	Name string
}

// SetEnvs removes settings, then adds or replaces others.
type SetEnvs struct {
	ID  int32
	Del []string
	Set []Env
}

// SetReplicas sets how many replicas a table shall have.
type SetReplicas struct{ ID, Count int32 }

// SetAtomic says whether atomic operations are turned into plain ones before replication.
type SetAtomic struct {
	ID int32
	On bool
}

// SetLevel sets the function level; base.ErrInvalidParameters if there is no such level.
type SetLevel struct{ Level Level }

// ChangeConfigs changes configurations, each on its own: one that is refused doesn't
// hinder the others.
type ChangeConfigs struct{ Changes []Change }

// Encode returns c as a log entry.
func Encode(c Command) []byte {
	b := []byte{commandVersion, byte(c.kind())}
	return tbin.AppendStop(c.appendFields(b))
}

// Decode reads a log entry. The error wraps ErrUnknownCommand or tbin.ErrMalformed.
func Decode(b []byte) (Command, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("command of %d bytes: %w", len(b), tbin.ErrMalformed)
	}
	if b[0] != commandVersion {
		return nil, fmt.Errorf("command version %d: %w", b[0], ErrUnknownCommand)
	}
	c := newCommand(kind(b[1]))
	if c == nil {
		return nil, fmt.Errorf("command kind %d: %w", b[1], ErrUnknownCommand)
	}
	r := tbin.NewReader(b[2:])
	readStruct(r, c.readField)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("command kind %d: %w", b[1], err)
	}
	if r.Len() != 0 {
		return nil, fmt.Errorf("command kind %d: %d bytes left over: %w", b[1], r.Len(), tbin.ErrMalformed)
	}
	return c, nil
}

func newCommand(k kind) Command {
	switch k {
	case kindInit:
		return &Init{}
	case kindCreateTable:
		return &CreateTable{}
	case kindDropTable:
		return &DropTable{}
	case kindRecallTable:
		return &RecallTable{}
	case kindRenameTable:
		return &RenameTable{}
	case kindSetEnvs:
		return &SetEnvs{}
	case kindSetReplicas:
		return &SetReplicas{}
	case kindSetAtomic:
		return &SetAtomic{}
	case kindSetLevel:
		return &SetLevel{}
	case kindChange:
		return &ChangeConfigs{}
	case kindRecover:
		return &Recover{}
	case kindSetNodeRole:
		return &SetNodeRole{}
	case kindStartRun:
		return &StartRun{}
	case kindEndRun:
		return &EndRun{}
	case kindPurgeTables:
		return &PurgeTables{}
	}
	return nil
}

func (*Init) kind() kind          { return kindInit }
func (*CreateTable) kind() kind   { return kindCreateTable }
func (*DropTable) kind() kind     { return kindDropTable }
func (*RecallTable) kind() kind   { return kindRecallTable }
func (*RenameTable) kind() kind   { return kindRenameTable }
func (*SetEnvs) kind() kind       { return kindSetEnvs }
func (*SetReplicas) kind() kind   { return kindSetReplicas }
func (*SetAtomic) kind() kind     { return kindSetAtomic }
func (*SetLevel) kind() kind      { return kindSetLevel }
func (*ChangeConfigs) kind() kind { return kindChange }
func (*Recover) kind() kind       { return kindRecover }
func (*SetNodeRole) kind() kind   { return kindSetNodeRole }
