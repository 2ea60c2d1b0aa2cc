package engine

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fileChunk is the number of bytes of a table file that are written at once, a multiple of any page
// size. Pebble writes one block of about 8 KiB after the other. Then the kernel looks up and fills
// each page twice, which took a tenth of a put's CPU.
const fileChunk = 256 << 10

// chunks pools *bufio.Writer of fileChunk bytes.
var chunks = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, fileChunk) }}

// bufferedFile buffers the writes to a table file or a file of values. Pebble writes such a file from
// beginning to end, on one goroutine, and reads it after closing it. Sync, SyncData and Close write
// the buffer first. WriteAt isn't supported; no such file needs it.
type bufferedFile struct {
	vfs.File
	before  func(n int) // called before n bytes are written
	buf     *bufio.Writer
	written int64 // bytes in the file
}

// newBufferedFile takes f over. The caller must close it.
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

// writtenOnce tells whether a file is one that bufferedFile can be used for.
func writtenOnce(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// Write implements vfs.File. An error may belong to an earlier call.
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
