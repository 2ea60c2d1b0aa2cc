// Package remote has directories of a blob store as rocks reads and writes them.
//
// # What it owns
//
// Source reads files whose names, sizes and checksums somebody knows, and hashes what it reads. Sink writes files, and
// tells their sizes and checksums. Blame says what an error of a read means for the files.
//
// # Invariants
//
//   - Finish of a Source returns nil only if each file was read whole, with its size and MD5.
//   - A file of a Sink arrives whole or not at all. Memory is bounded by two files.
//
// It must not know what the files mean, nor who lists them.
package remote

import "fmt"

// File is a file of a directory.
type File struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // bytes
	MD5  string `json:"md5"`  // hexadecimal, lower case; "" is unknown
}

// MismatchError says that a file isn't the one that was listed.
type MismatchError struct {
	File string // from the root of the store
	Err  error
}

func (e *MismatchError) Error() string { return e.File + ": " + e.Err.Error() }
func (e *MismatchError) Unwrap() error { return e.Err }

func mismatch(file, format string, args ...any) error {
	return &MismatchError{file, fmt.Errorf(format, args...)}
}
