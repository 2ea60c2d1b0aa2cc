package blob

import (
	"errors"
	"fmt"
)

// kind is what went wrong, for errors.Is.
type kind struct {
	text   string
	advice string // what to do next
	lasts  bool   // the same attempt again fails the same way
}

func (k *kind) Error() string { return k.text }

// What goes wrong with a file or its place. An error that is none of them may pass: the operation
// is tried again.
var (
	ErrNotFound    error = &kind{text: "not found", lasts: true}
	ErrDenied      error = &kind{text: "access denied", advice: "check the user, its credentials and its rights", lasts: true}
	ErrNoSpace     error = &kind{text: "no space left", advice: "free space there, or raise the quota", lasts: true}
	ErrInvalid     error = &kind{text: "invalid", lasts: true}
	ErrSource      error = &kind{text: "the file to be stored can't be read as announced", lasts: true}
	ErrChanged     error = &kind{text: "the file was replaced while it was read", advice: "read it again", lasts: true}
	ErrCorrupt     error = &kind{text: "checksum mismatch"}
	ErrUnavailable error = &kind{text: "unavailable", advice: "check that it is up and can be reached"}
)

var kinds = []error{ErrNotFound, ErrDenied, ErrNoSpace, ErrInvalid, ErrSource, ErrChanged, ErrCorrupt, ErrUnavailable}

// kindOf returns the kind of an error, nil if it has none.
func kindOf(err error) *kind {
	for _, k := range kinds {
		if errors.Is(err, k) {
			return k.(*kind)
		}
	}
	return nil
}

// Error says what was tried with which file of which store.
type Error struct {
	Store, Op, Name string
	Err             error
}

// Error returns one line that ends with what to do next.
func (e *Error) Error() string {
	s := fmt.Sprintf("blob store %s: %s", e.Store, e.Op)
	if e.Name != "" {
		s += " " + e.Name
	}
	s += ": " + e.Err.Error()
	if k := kindOf(e.Err); k != nil && k.advice != "" {
		s += "; " + k.advice
	}
	return s
}

// Unwrap returns the error underneath.
func (e *Error) Unwrap() error { return e.Err }

// failed is an error of a kind with its cause.
type failed struct{ kind, cause error }

func (f *failed) Error() string   { return f.kind.Error() + ": " + f.cause.Error() }
func (f *failed) Unwrap() []error { return []error{f.kind, f.cause} }

// Fail gives an error one of the kinds above. It is for drivers.
func Fail(kind, cause error) error { return &failed{kind, cause} }

// Failf is Fail with a text.
func Failf(kind error, format string, args ...any) error {
	return &failed{kind, fmt.Errorf(format, args...)}
}

// mayPass tells whether the next attempt may succeed.
func mayPass(err error) bool {
	k := kindOf(err)
	return k == nil || !k.lasts
}

// fail says of an error what was tried; nil stays nil.
func (s *Store) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Store: s.name, Op: op, Name: name, Err: err}
}
