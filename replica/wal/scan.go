package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

// windowSize is how much of a segment is read at once.
const windowSize = 1 << 20

// window reads a file forward through one buffer.
type window struct {
	f    vfs.File
	size int64
	buf  []byte
	// off is the place of buf in the file.
	off int64
}

// get returns up to n bytes at off: fewer at the end of the file. They are valid until
// the next call.
func (w *window) get(off, n int64) ([]byte, error) {
	n = min(n, w.size-off)
	if n <= 0 {
		return nil, nil
	}
	if off < w.off || off+n > w.off+int64(len(w.buf)) {
		m := min(max(n, windowSize), w.size-off)
		if int64(cap(w.buf)) < m {
			w.buf = make([]byte, m)
		}
		w.buf, w.off = w.buf[:m], off
		if k, err := w.f.ReadAt(w.buf, off); int64(k) < m {
			w.buf = w.buf[:0]
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return w.buf[off-w.off:][:n], nil
}

// rest returns what the buffer has from off on, after reading if it has less than least.
func (w *window) rest(off, least int64) ([]byte, error) {
	if off < w.off || off+least > w.off+int64(len(w.buf)) {
		if b, err := w.get(off, least); len(b) == 0 {
			return nil, err
		}
	}
	return w.buf[off-w.off:], nil
}

// file is a segment that is being recovered.
type file struct {
	*segment
	window
	hdr header
	// bad tells why the header can't be used, "" if it can.
	bad  string
	seed seed
}

// readHeader returns an error for a version that isn't known, and if the file can't be
// read.
func (f *file) readHeader() error {
	b, err := f.get(0, headerSize)
	if err != nil {
		return f.readError(0, err)
	}
	h, err := parseHeader(b)
	switch {
	case errors.Is(err, errVersion):
		return fmt.Errorf("log segment %s: %w: %w", f.name, err, base.ErrInvalidVersion)
	case err != nil:
		f.bad = fmt.Sprintf("%s has a damaged header", f.name)
	case h.seq != f.seq:
		f.bad = fmt.Sprintf("%s has the header of segment %d", f.name, h.seq)
	}
	f.hdr = h
	return nil
}

func (f *file) readError(off int64, err error) error {
	return fmt.Errorf("read log segment %s at offset %d: %w: %w", f.name, off, base.ErrDiskIoError, err)
}

// record returns the record at off, which must end at or before limit. ok is false if
// there is no valid one; the error is only about reading.
func (f *file) record(off, limit int64) (rec record, ok bool, err error) {
	b, err := f.get(off, recordHeaderSize)
	if err != nil {
		return rec, false, f.readError(off, err)
	}
	size := recordSize(b)
	if size == 0 || off+size > min(limit, f.window.size) {
		return rec, false, nil
	}
	if b, err = f.get(off, size); err != nil {
		return rec, false, f.readError(off, err)
	}
	rec, bad := parseRecord(b, f.seed, f.seq, off)
	return rec, bad == nil, nil
}

// nextMark searches for a valid mark that begins at or after off and ends by limit. With
// id 0 the identity of the log is not known: it is what the mark says.
func (f *file) nextMark(id uint64, off, limit int64) (mark, bool, error) {
	limit = min(limit, f.window.size)
	for at := off + recordHeaderSize; at+markBodySize <= limit; {
		b, err := f.rest(at, markBodySize)
		if err != nil {
			return mark{}, false, f.readError(at, err)
		}
		b = b[:min(int64(len(b)), limit-at)]
		i := bytes.Index(b, []byte(markMagic))
		if i < 0 {
			// The magic may begin in the last bytes of this part.
			at += int64(len(b)) - int64(len(markMagic)) + 1
			continue
		}
		start := at + int64(i) - recordHeaderSize
		m, ok, err := f.markAt(id, start, limit)
		if err != nil || ok {
			return m, ok, err
		}
		at += int64(i) + 1
	}
	return mark{}, false, nil
}

// markAt returns the mark that begins at off.
func (f *file) markAt(id uint64, off, limit int64) (mark, bool, error) {
	if off+markSize > limit {
		return mark{}, false, nil
	}
	b, err := f.get(off, markSize)
	if err != nil {
		return mark{}, false, f.readError(off, err)
	}
	m, bad := parseMark(b[recordHeaderSize:])
	if bad != nil || id != 0 && m.id != id || m.own != (position{f.seq, off}) {
		return mark{}, false, nil
	}
	rec, bad := parseRecord(b, seedOf(m.id, f.seq), f.seq, off)
	return m, bad == nil && rec.kind == kindMark, nil
}
