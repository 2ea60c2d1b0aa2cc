package manifest

import (
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/record"
)

// Writer writes a manifest.
type Writer struct {
	w   *record.Writer
	buf []byte
}

// NewWriter writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: record.NewWriter(w)} }

// Add writes an edit.
func (w *Writer) Add(e *Edit) error {
	w.buf = e.append(w.buf[:0])
	if _, err := w.w.WriteRecord(w.buf); err != nil {
		return fmt.Errorf("write an edit of a manifest: %w", err)
	}
	return nil
}

// Close ends the manifest. The file stays the caller's.
func (w *Writer) Close() error { return w.w.Close() }
