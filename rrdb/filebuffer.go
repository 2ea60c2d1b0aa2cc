package rrdb

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fileChunk is how much of a table file is written at once. The engine writes one block after
// another, of some 8 KiB and no round length: then the kernel fills up and looks for each page
// twice, which took a tenth of a put's processor time. A multiple of any page's size.
const fileChunk = 256 << 10

// chunks holds *bufio.Writer of that size.
var chunks = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, fileChunk) }}

// bufferedFile gathers what is written to a table file or a file of values, which the engine
// writes from beginning to end and reads only when it has closed it. Nothing is kept back
// from Sync, SyncData and Close. It is of one goroutine, as all writing of such a file is, and
// doesn't know WriteAt, which no such file needs.
type bufferedFile struct {
	vfs.File
	before  func(n int) // called before n bytes are written
	buf     *bufio.Writer
	written int64 // bytes that the file has
}

// newBufferedFile takes f over. It is to be closed in any case.
func newBufferedFile(f vfs.File, before func(n int)) *bufferedFile {
	b := &bufferedFile{File: f, before: before, buf: chunks.Get().(*bufio.Writer)}
	b.buf.Reset((*chunkWriter)(b))
	return b
}

// chunkWriter is the file behind a bufferedFile's buffer.
type chunkWriter bufferedFile

func (w *chunkWriter) Write(p []byte) (int, error) {
	w.before(len(p))
	n, err := w.File.Write(p)
	w.written += int64(n)
	return n, err
}

// writtenOnce tells of which files bufferedFile can be had.
func writtenOnce(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// Write implements vfs.File. An error may be of what earlier calls wrote.
func (f *bufferedFile) Write(p []byte) (int, error) { return f.buf.Write(p) }

// Sync implements vfs.File.
func (f *bufferedFile) Sync() error {
	if err := f.buf.Flush(); err != nil {
		return err
	}
	return f.File.Sync()
}

// SyncData implements vfs.File.
func (f *bufferedFile) SyncData() error {
	if err := f.buf.Flush(); err != nil {
		return err
	}
	return f.File.SyncData()
}

// WriteAt implements vfs.File.
func (f *bufferedFile) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// SyncTo implements vfs.File.
func (f *bufferedFile) SyncTo(length int64) (fullSync bool, err error) {
	if length > f.written {
		if err := f.buf.Flush(); err != nil {
			return false, err
		}
	}
	full, err := f.File.SyncTo(length)
	return full && f.buf.Buffered() == 0, err
}

// Close implements vfs.File.
func (f *bufferedFile) Close() error {
	if f.buf == nil {
		return f.File.Close()
	}
	err := f.buf.Flush()
	f.buf.Reset(io.Discard)
	chunks.Put(f.buf)
	f.buf = nil
	if e := f.File.Close(); err == nil {
		err = e
	}
	return err
}
