package remote

import (
	"errors"

	"pegasus/blob"
	"pegasus/rocks/damage"
)

// Fault is what is wrong with a file of a blob store.
type Fault int

// The faults. With None the place failed, or the attempt, and another one may find the file well.
const (
	None    Fault = iota
	Absent        // the file isn't there
	Damaged       // it isn't what it was
	Changed       // it was replaced while it was read
	Unknown       // it is of a form that this program doesn't know
)

// Blame says of an error of a read which file it is about, and what is wrong with it. file is the one, or the directory, that was
// read; within is the file of a database that an error of package rocks names, or "". cause is the error without what file says.
func Blame(file string, err error) (fault Fault, where, within string, cause error) {
	var other *MismatchError
	var broken *damage.Error
	var unknown *damage.Unsupported
	var of *blob.Error
	where, cause = file, err
	if errors.As(err, &of) {
		where, cause = of.Name, of.Err // the message has the rest already
	}
	switch {
	case errors.As(err, &other):
		return Damaged, other.File, "", other.Err
	case errors.Is(err, blob.ErrNotFound):
		return Absent, where, "", cause
	case errors.Is(err, blob.ErrCorrupt), errors.Is(err, blob.ErrInvalid):
		return Damaged, where, "", cause
	case errors.Is(err, blob.ErrChanged):
		return Changed, where, "", cause
	case errors.As(err, &broken):
		return Damaged, where, broken.File, err
	case errors.As(err, &unknown):
		return Unknown, where, unknown.File, err
	}
	return None, where, "", err
}
