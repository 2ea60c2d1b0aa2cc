package state

import (
	"reflect"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/base/version"
)

// Command is one entry of the quorum's log. Encode writes it: the version of the cluster that
// one must understand to read it, a kind byte, and the command as a Thrift struct. A field that
// is added later is written only where the cluster's version allows it: see newer.
type Command interface {
	fields
	apply(s *State) Result
}

// fields is a Thrift struct.
type fields interface {
	appendFields(b []byte) []byte
	readField(r *tbin.Reader, t tbin.Type, id int16)
}

// newer is a command that can hold what its kind didn't have from the beginning.
type newer interface {
	// needs is the version that one must understand to read the command as it is.
	needs() version.Version
}

// Result is what a command did. Err is base.ErrOK, or why nothing was changed.
type Result struct {
	Err     base.ErrorCode
	TableID int32
	// Changes has one entry for each Change of a ChangeConfigs.
	Changes []ChangeResult
}

func failed(code base.ErrorCode) Result { return Result{Err: code} }

// feature is a sub-state of the State: its commands, and its sections of the snapshot. What it
// remembers is a field of State, or a subState.
type feature struct {
	name     string
	commands []command
	sections []section
}

// subState is how a feature reaches what it remembers, which is a T, where no other file knows it.
type subState[T any] struct{ number int }

// subStates make the sub-states of a new State, by number.
var subStates []func() any

func (n subState[T]) of(s *State) *T { return s.own[n.number].(*T) }

// addFeature registers a feature whose sub-state is a T and belongs to its file alone. It is for
// a package variable of that file, by which the feature reaches its sub-state; no list names it. The zero T is that
// of a State before the first command. sections is called with the way to the sub-state.
func addFeature[T any](name string, commands []command, sections func(of func(*State) *T) []section) subState[T] {
	n := subState[T]{len(subStates)}
	subStates = append(subStates, func() any { return new(T) })
	features = append(features, &feature{name, commands, sections(n.of)})
	return n
}

// command is a kind of Command.
type command struct {
	kind  byte // is written to disk: never used again for another one
	since version.Version
	typ   reflect.Type
	make  func() Command
}

// newCommand registers a kind of Command, which may be proposed from a version of the cluster
// on. For a new one that is version.Newest.
func newCommand[T any, P interface {
	*T
	Command
}](kind byte, since version.Version) command {
	return command{kind, since, reflect.TypeFor[P](), func() Command { return P(new(T)) }}
}

// section is a field of the snapshot.
type section struct {
	id    int16 // is written to disk: never used again for another one
	typ   tbin.Type
	since version.Version // of the cluster, from which on it is written
	// write appends the field with that id, or nothing for a zero value.
	write func(s *State, b []byte, id int16) []byte
	read  func(s *State, r *tbin.Reader)
}

// resettable are fields of a sub-state that has a section of its own.
type resettable interface {
	fields
	empty() bool // it needn't be written
	reset()
}

// structSection is a section that is a struct. Features to come use it: fields can be added to
// it later, each written only where the cluster's version allows it.
func structSection(id int16, since version.Version, of func(*State) resettable) section {
	return section{id, tbin.Struct, since,
		func(s *State, b []byte, id int16) []byte {
			v := of(s)
			if v.empty() {
				return b
			}
			return tbin.AppendStop(v.appendFields(tbin.AppendField(b, tbin.Struct, id)))
		},
		func(s *State, r *tbin.Reader) {
			v := of(s)
			v.reset()
			readStruct(r, v.readField)
		}}
}
