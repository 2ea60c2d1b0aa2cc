package rrdb

import (
	"errors"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fileChunk is how much of a table file is written at once. The engine writes one block after
// another, of some 8 KiB and no round length: then the kernel fills up and looks for each page
// twice, which took a tenth of a put's processor time. A multiple of any page's size.
const fileChunk = 256 << 10

// chunks holds *[]byte of that capacity.
var chunks = sync.Pool{New: func() any { b := make([]byte, 0, fileChunk); return &b }}

// bufferedFile gathers what is written to a table file or a file of values, which the engine
// writes from beginning to end and reads only when it has closed it. Nothing is kept back
// from Sync, SyncData and Close. It is of one goroutine, as all writing of such a file is, and
// doesn't know WriteAt, which no such file needs.
type bufferedFile struct {
	vfs.File
	before  func(n int) // called before n bytes are written
	buf     *[]byte     // nil: nothing waits
	written int64       // bytes that the file has
	err     error       // of a write that failed: there is a gap behind what was written
}

// writtenOnce tells of which files bufferedFile can be had.
func writtenOnce(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// Write implements vfs.File. An error may be of what earlier calls wrote.
func (f *bufferedFile) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if f.err != nil {
			return 0, f.err
		}
		if f.buf == nil {
			f.buf = chunks.Get().(*[]byte)
		}
		b := *f.buf
		n := min(len(p), fileChunk-len(b))
		*f.buf = append(b, p[:n]...)
		if p = p[n:]; len(*f.buf) == fileChunk {
			if err := f.flush(); err != nil {
				return 0, err
			}
		}
	}
	return total, nil
}

// flush writes what waits.
func (f *bufferedFile) flush() error {
	if f.buf != nil && f.err == nil {
		f.before(len(*f.buf))
		n, err := f.File.Write(*f.buf)
		f.written += int64(n)
		f.err = err
	}
	f.drop()
	return f.err
}

func (f *bufferedFile) drop() {
	if f.buf != nil {
		*f.buf = (*f.buf)[:0]
		chunks.Put(f.buf)
		f.buf = nil
	}
}

// Sync implements vfs.File.
func (f *bufferedFile) Sync() error {
	if err := f.flush(); err != nil {
		return err
	}
	return f.File.Sync()
}

// SyncData implements vfs.File.
func (f *bufferedFile) SyncData() error {
	if err := f.flush(); err != nil {
		return err
	}
	return f.File.SyncData()
}

// WriteAt implements vfs.File.
func (f *bufferedFile) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// SyncTo implements vfs.File.
func (f *bufferedFile) SyncTo(length int64) (fullSync bool, err error) {
	if length > f.written {
		if err := f.flush(); err != nil {
			return false, err
		}
	}
	full, err := f.File.SyncTo(length)
	return full && f.buf == nil, err
}

// Close implements vfs.File.
func (f *bufferedFile) Close() error {
	err := f.flush()
	if e := f.File.Close(); err == nil {
		err = e
	}
	return err
}
