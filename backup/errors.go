package backup

import (
	"errors"
	"fmt"

	"pegasus/blob"
	"pegasus/rocks/remote"
)

// What can be wrong with a backup, for errors.Is.
var (
	// ErrIncomplete: the backup, or this partition, wasn't written to its end.
	ErrIncomplete = errors.New("incomplete")
	// ErrDamaged: a file is missing, or isn't what it was.
	ErrDamaged = errors.New("damaged")
	// ErrFormat: a file is of a form that this program doesn't know.
	ErrFormat = errors.New("unknown format")
	// ErrNone: there is no backup at that place.
	ErrNone = errors.New("no backup")
)

// advice is what to do next, by kind.
var advice = map[error]string{
	ErrIncomplete: "wait until the backup has finished, or take another one",
	ErrDamaged:    "restore the file from a copy, or use another backup",
	ErrFormat:     "use the release that wrote it, or a newer one",
	ErrNone:       "`pegasus backup ls` with a directory above shows what is there",
}

// Error says what is wrong with which file of a backup.
type Error struct {
	Store string // name of the store
	File  string // from the root of the store
	Kind  error  // one of the above
	Err   error
}

func (e *Error) Error() string {
	return fmt.Sprintf("backup in blob store %s: %s: %v; %s", e.Store, e.File, e.Err, advice[e.Kind])
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

// Damaged tells whether an error says that the backup itself is bad, so that another attempt finds the same. False: the place
// failed, or the attempt.
func Damaged(err error) bool {
	return errors.Is(err, ErrIncomplete) || errors.Is(err, ErrDamaged) || errors.Is(err, ErrFormat) || errors.Is(err, ErrNone)
}

// bad makes an Error.
func bad(s *blob.Store, file string, kind error, format string, args ...any) *Error {
	return &Error{Store: s.Name(), File: file, Kind: kind, Err: fmt.Errorf(format, args...)}
}

// blame says of an error of a read what it means for the backup, whose file (or directory) it is about. absent is the
// kind for a file that isn't there.
func blame(s *blob.Store, file string, absent, err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	fault, where, within, cause := remote.Blame(file, err)
	switch fault {
	case remote.Absent:
		return &Error{s.Name(), where, absent, cause}
	case remote.Damaged:
		return &Error{s.Name(), blob.Join(where, within), ErrDamaged, cause}
	case remote.Unknown:
		return &Error{s.Name(), blob.Join(where, within), ErrFormat, cause}
	}
	return err
}
