// Package plogtest writes private logs of C++ servers, for tests.
package plogtest

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"pegasus/base"
	"pegasus/cppdata/plog"
)

// Writer makes a file.
type Writer struct {
	start int64
	b     []byte
	crc   uint32
}

// New begins a file that starts at an offset of the log.
func New(start int64, of base.Gpid, maxDecree, validStart int64) *Writer {
	w := &Writer{start: start}
	le := binary.LittleEndian
	h := le.AppendUint32(nil, 0xdeadbeef)
	h = le.AppendUint32(h, 1)
	h = le.AppendUint64(h, uint64(start))
	h = le.AppendUint32(h, 1)
	h = le.AppendUint32(h, uint32(of.AppID))
	h = le.AppendUint32(h, uint32(of.PartitionIndex))
	h = le.AppendUint64(h, uint64(maxDecree))
	h = le.AppendUint64(h, uint64(validStart))
	w.Block(h)
	return w
}

// Block appends a block with a body.
func (w *Writer) Block(body []byte) {
	w.crc = crc32.Update(w.crc, crc32.MakeTable(crc32.Castagnoli), body)
	le := binary.LittleEndian
	at := len(w.b)
	w.b = le.AppendUint32(w.b, 0xdeadbeef)
	w.b = le.AppendUint32(w.b, uint32(len(body)))
	w.b = le.AppendUint32(w.b, w.crc)
	w.b = le.AppendUint32(w.b, uint32(at))
	w.b = append(w.b, body...)
}

// Add appends a block of mutations, and gives them their offsets.
func (w *Writer) Add(ms ...plog.Mutation) {
	var body []byte
	for _, m := range ms {
		m.Offset = w.start + int64(len(w.b)+16+len(body))
		body = Append(body, m)
	}
	w.Block(body)
}

// Append appends a mutation as a block has it.
func Append(b []byte, m plog.Mutation) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, uint32(m.Gpid.AppID))
	b = le.AppendUint32(b, uint32(m.Gpid.PartitionIndex))
	for _, v := range []int64{m.Ballot, m.Decree, m.Offset, m.Committed, m.TimestampUS} {
		b = le.AppendUint64(b, uint64(v))
	}
	b = le.AppendUint32(b, uint32(len(m.Updates)))
	for _, u := range m.Updates {
		b = le.AppendUint32(b, uint32(len(u.Code)))
		b = append(b, u.Code...)
		b = le.AppendUint32(b, uint32(u.Serialization))
		b = le.AppendUint32(b, uint32(len(u.Data)))
	}
	for _, u := range m.Updates {
		b = append(b, u.Data...)
	}
	return b
}

// Bytes are the file's.
func (w *Writer) Bytes() []byte { return w.b }

// End is the offset of the log behind the file.
func (w *Writer) End() int64 { return w.start + int64(len(w.b)) }

// Save writes the file into a directory, and returns its path.
func (w *Writer) Save(t testing.TB, dir string, index int) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "log."+strconv.Itoa(index)+"."+strconv.FormatInt(w.start, 10))
	if err := os.WriteFile(path, w.b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
