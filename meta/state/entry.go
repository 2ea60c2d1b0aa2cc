package state

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"pegasus/base/tbin"
	"pegasus/base/version"
)

var (
	commandsByKind = map[byte]*command{}
	commandsByType = map[reflect.Type]*command{}
	sectionsByID   = map[int16]*section{}
)

func init() {
	// The order of those that registered themselves is that of their files' names. A file that is
	// added must not change what is written.
	slices.SortStableFunc(features[len(features)-len(subStates):], func(a, b *feature) int { return cmp.Compare(a.sections[0].id, b.sections[0].id) })
	for _, f := range features {
		for i := range f.commands {
			c := &f.commands[i]
			if commandsByKind[c.kind] != nil || commandsByType[c.typ] != nil {
				panic(fmt.Sprintf("feature %s: command %d (%v) is registered twice", f.name, c.kind, c.typ))
			}
			commandsByKind[c.kind], commandsByType[c.typ] = c, c
		}
		for i := range f.sections {
			s := &f.sections[i]
			if sectionsByID[s.id] != nil {
				panic(fmt.Sprintf("feature %s: section %d is registered twice", f.name, s.id))
			}
			sectionsByID[s.id] = s
		}
	}
}

// registered returns the kind of a command.
func registered(c Command) *command {
	r := commandsByType[reflect.TypeOf(c)]
	if r == nil {
		panic(fmt.Sprintf("%T is no command of any feature", c))
	}
	return r
}

// needed is the version of the cluster from which on c may be proposed.
func needed(c Command) version.Version {
	v := registered(c).since
	if n, ok := c.(newer); ok {
		v = max(v, n.needs())
	}
	return v
}

// EncodeFor returns c as a log entry, or why c must not be proposed to that State: an error
// that wraps version.ErrTooLow. It is the one way into the log.
func (s *State) EncodeFor(c Command) ([]byte, error) {
	if _, begins := c.(*Init); !(begins && s.cluster.name == "") {
		if _, raises := c.(*SetVersion); !raises {
			if err := version.Permit(s.Version(), needed(c)); err != nil {
				return nil, fmt.Errorf("%T: %w", c, err)
			}
		}
	}
	return Encode(c), nil
}

// Encode returns c as a log entry, whatever the cluster's version.
func Encode(c Command) []byte {
	b := []byte{byte(needed(c)), registered(c).kind}
	return tbin.AppendStop(c.appendFields(b))
}

// Decode reads a log entry. The error wraps ErrUnknownCommand or tbin.ErrMalformed.
func Decode(b []byte) (Command, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("command of %d bytes: %w", len(b), tbin.ErrMalformed)
	}
	if err := version.Understood(version.Version(b[0])); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknownCommand, err)
	}
	of := commandsByKind[b[1]]
	if of == nil {
		return nil, fmt.Errorf("command kind %d: %w", b[1], ErrUnknownCommand)
	}
	c := of.make()
	r := tbin.NewReader(b[2:])
	readStruct(r, c.readField)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("command kind %d: %w", b[1], err)
	}
	if r.Len() != 0 {
		return nil, fmt.Errorf("command kind %d: %d bytes left over: %w", b[1], r.Len(), tbin.ErrMalformed)
	}
	if n := needed(c); n > version.Version(b[0]) {
		return nil, fmt.Errorf("command kind %d says that it needs version %d, and needs %d: %w", b[1], b[0], n, tbin.ErrMalformed)
	}
	return c, nil
}

// Apply executes an encoded command. An error means that the entry can't be understood;
// the State is unchanged then, and must not be used further.
func (s *State) Apply(entry []byte) (Result, error) {
	c, err := Decode(entry)
	if err != nil {
		return Result{}, err
	}
	return c.apply(s), nil
}
