package bulkload

import (
	"errors"
	"fmt"

	"pegasus/blob"
	"pegasus/rocks/remote"
)

// What can be wrong with the files of a load, for errors.Is.
var (
	// ErrMissing: a file isn't there.
	ErrMissing = errors.New("not there")
	// ErrDamaged: a file isn't what it was.
	ErrDamaged = errors.New("damaged")
	// ErrFormat: a file is of a form that this program doesn't know.
	ErrFormat = errors.New("unknown format")
	// ErrOther: the files are for another table, or rows for another partition.
	ErrOther = errors.New("made for another table")
	// ErrThere: there are files already where new ones are to be written.
	ErrThere = errors.New("there already")
)

// advice is what to do next, by kind.
var advice = map[error]string{
	ErrMissing: "check the path, and that the job that makes the files has finished",
	ErrDamaged: "make the files again",
	ErrFormat:  "use a release that knows the format, or make the files again",
	ErrOther:   "make the files again, for this table's name, id and number of partitions",
	ErrThere:   "give another place, or remove them",
}

// Error says what is wrong with which file of a load.
type Error struct {
	Store string // name of the store
	File  string // from the root of the store
	Kind  error  // one of the above
	Err   error
}

func (e *Error) Error() string {
	return fmt.Sprintf("bulk load from blob store %s: %s: %v; %s", e.Store, e.File, e.Err, advice[e.Kind])
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

// Bad tells whether an error says that the files themselves are bad, so that another attempt finds the same. False: the place
// failed, or the attempt.
func Bad(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// bad makes an Error.
func bad(s *blob.Store, file string, kind error, format string, args ...any) *Error {
	return &Error{Store: s.Name(), File: file, Kind: kind, Err: fmt.Errorf(format, args...)}
}

// blame says of an error of a read what it means for the load, whose file (or directory) it is about.
func blame(s *blob.Store, file string, err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	fault, where, _, cause := remote.Blame(file, err)
	switch fault {
	case remote.Absent:
		return &Error{s.Name(), where, ErrMissing, cause}
	case remote.Damaged, remote.Changed:
		return &Error{s.Name(), where, ErrDamaged, cause}
	case remote.Unknown:
		return &Error{s.Name(), where, ErrFormat, cause}
	}
	return err
}
