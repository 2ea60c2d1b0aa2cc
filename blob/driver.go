package blob

import (
	"context"
	"io"
	"time"
)

// Driver is a place where files are kept. Each method is one attempt: Store tries again, and bounds
// the rate and the time. A method returns soon after its context has ended.
//
// Names are checked already (CheckName). Errors have one of the kinds of this package (Fail) where
// it applies; any other may pass. Errors don't repeat the name of the store, operation or file.
type Driver interface {
	// Put stores a stream as name, whole or not at all, in place of a file that is there. Missing
	// directories are made. The driver reads src to its end, checks what lies there
	// as strictly as the place allows, and only then lets the file appear. It returns what it
	// knows of the stored file.
	Put(ctx context.Context, name string, src *Source) (Info, error)
	// Read returns n bytes (n > 0) of the file from off. They are from the version that info
	// describes, or the error is ErrChanged, now or while it is read. The context also ends the stream.
	Read(ctx context.Context, info Info, off, n int64) (io.ReadCloser, error)
	// Stat returns what is known of a file or directory.
	Stat(ctx context.Context, name string) (Info, error)
	// List returns what is in a directory ("" is the root), in any order, without names that are
	// Hidden. Checksums may be left out. An empty directory may count as not found.
	List(ctx context.Context, dir string) ([]Info, error)
	// Delete removes a file. It is no error if there is none.
	Delete(ctx context.Context, name string) error
	// DeleteTree removes a directory with all below, hidden files too. It is no error if there is none.
	DeleteTree(ctx context.Context, dir string) error
	// Where says in a few words where the files are.
	Where() string
	// Close ends what the driver has open.
	Close() error
}

// Info is what a store knows of a file or directory.
type Info struct {
	Name     string // from the root of the store
	Dir      bool
	Size     int64     // bytes; 0 for a directory
	MD5      string    // hexadecimal, lower case; "" if the store doesn't know it
	Modified time.Time // zero if unknown
	Version  string    // tells two files of the same name apart, as well as the place can; for the driver
}

// Want is what a caller knows of a stream beforehand. The zero value is nothing.
type Want struct {
	Sized bool   // Size is known
	Size  int64  // bytes
	MD5   string // hexadecimal, lower case; "" if unknown
}
