package damage

import "fmt"

// Kind says which part of a file an Error is about.
type Kind string

const (
	Footer      Kind = "footer"
	Checksum    Kind = "checksum"    // of a block, of a record of a manifest
	Compression Kind = "compression" // the checksum holds, the data can't be decompressed
	Block       Kind = "block"       // entries or restart points of a block
	Index       Kind = "index"       // handles that lead nowhere
	Properties  Kind = "properties"
	Order       Kind = "order" // keys that don't rise
	Record      Kind = "record"
	Edit        Kind = "edit" // an edit of a manifest
	Files       Kind = "files"
	Row         Kind = "row" // a key or value that Pegasus doesn't write
	AppInfo     Kind = "app-info"
)

// Error says that a file is damaged: where, and which part of it.
type Error struct {
	File   string
	Offset int64 // of the block or record in the file; -1 where the file as a whole is meant
	Kind   Kind
	Err    error
}

// Newf returns an Error; format may wrap with %w.
func Newf(file string, offset int64, kind Kind, format string, args ...any) *Error {
	return &Error{File: file, Offset: offset, Kind: kind, Err: fmt.Errorf(format, args...)}
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%s is damaged (%s): %v", e.File, e.Kind, e.Err)
	}
	return fmt.Sprintf("%s is damaged at offset %d (%s): %v", e.File, e.Offset, e.Kind, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Unsupported says that a file uses what the readers don't know.
type Unsupported struct {
	File string
	What string
}

func (e *Unsupported) Error() string {
	return fmt.Sprintf("%s has %s, which can't be read here", e.File, e.What)
}
