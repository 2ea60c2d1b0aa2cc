package rrdb

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
)

// Errors of a store. They are wrapped with what was tried.
var (
	// ErrNotExist: the directory has no store, and none was to be created.
	ErrNotExist = fmt.Errorf("no store here: %w", base.ErrPathNotFound)
	// ErrCorrupt: the files of a store are damaged, or some are missing.
	ErrCorrupt = fmt.Errorf("store is damaged: %w", base.ErrRdbCorruption)
	// ErrFailed: Pebble had an error after which it can't continue; see Options.OnError.
	ErrFailed = fmt.Errorf("store failed: %w", base.ErrInvalidState)
	// ErrClosed: the store was closed.
	ErrClosed = fmt.Errorf("store is closed: %w", base.ErrInvalidState)
	// ErrClock: the time isn't certain, so expired rows aren't deleted.
	ErrClock = errors.New("the time isn't certain")
)

// classify marks errors that mean damaged files with ErrCorrupt. Errors of the operating system about the
// disk or itself never are.
func classify(err error) error {
	if err == nil || errors.Is(err, ErrCorrupt) || base.Passing(err) {
		return err
	}
	if pebble.IsCorruptionError(err) || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// corrupt returns the error for what Pebble reports as damage.
func corrupt(i pebble.DataCorruptionInfo) error {
	if base.Passing(i.Details) {
		return fmt.Errorf("%s: %w", i.Path, i.Details)
	}
	return fmt.Errorf("%w: %s: %w", ErrCorrupt, i.Path, i.Details)
}

func badValue(key, v []byte) error {
	return fmt.Errorf("value of key %x has %d bytes: %w", key, len(v), ErrCorrupt)
}

var errNoMemory = fmt.Errorf("no memory for the rows of an answer: %w", base.ErrBusy)

func malformed(code string, err error) error {
	return fmt.Errorf("argument of %s: %w: %w", code, base.ErrInvalidData, err)
}

// Codes of an answer's error field, with the type of that field.
const (
	codeOK              int32 = base.StoreOK
	codeNotFound        int32 = base.StoreNotFound
	codeCorruption      int32 = base.StoreCorruption
	codeInvalidArgument int32 = base.StoreInvalidArgument
	codeIOError         int32 = base.StoreIOError
	codeIncomplete      int32 = base.StoreIncomplete
	codeTryAgain        int32 = base.StoreTryAgain
)
