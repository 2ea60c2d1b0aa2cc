package engine

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// pieces records the writes that reach a file, and fails when told to.
type pieces struct {
	vfs.File
	sizes  []int
	fail   error
	closed bool
}

func (p *pieces) Write(b []byte) (int, error) {
	if p.fail != nil {
		n, _ := p.File.Write(b[:len(b)/2])
		return n, p.fail
	}
	p.sizes = append(p.sizes, len(b))
	return p.File.Write(b)
}

func (p *pieces) Close() error {
	p.closed = true
	return p.File.Close()
}

func newBuffered(t *testing.T) (*bufferedFile, *pieces, vfs.FS) {
	t.Helper()
	fs := vfs.NewMem()
	f, err := fs.Create("f", "test")
	if err != nil {
		t.Fatal(err)
	}
	p := &pieces{File: f}
	return newBufferedFile(p, func(int) {}), p, fs
}

func contents(t *testing.T, fs vfs.FS) []byte {
	t.Helper()
	f, err := fs.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBufferedFileWritesWholeChunks(t *testing.T) {
	f, p, fs := newBuffered(t)
	told := 0
	f.before = func(n int) { told += n }
	rng := rand.New(rand.NewPCG(1, 2))
	var want []byte
	for len(want) < 5*fileChunk {
		b := make([]byte, 1+rng.IntN(20<<10))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if n, err := f.Write(b); n != len(b) || err != nil {
			t.Fatalf("Write of %d bytes: %d, %v", len(b), n, err)
		}
		want = append(want, b...)
		clear(b) // the engine uses its buffer again
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, fs); !bytes.Equal(got, want) {
		t.Fatalf("after Sync the file has %d bytes, want %d, or others", len(got), len(want))
	}
	for i, n := range p.sizes[:len(p.sizes)-1] {
		if n != fileChunk {
			t.Errorf("write %d has %d bytes, want %d", i, n, fileChunk)
		}
	}
	if told != len(want) {
		t.Errorf("before was told of %d bytes, want %d", told, len(want))
	}
}

// TestBufferedFileEnds: whatever ends or syncs a file writes what waits first.
func TestBufferedFileEnds(t *testing.T) {
	for name, end := range map[string]func(*bufferedFile) error{
		"Sync":     (*bufferedFile).Sync,
		"SyncData": (*bufferedFile).SyncData,
		"SyncTo":   func(f *bufferedFile) error { _, err := f.SyncTo(3); return err },
		"Close":    (*bufferedFile).Close,
	} {
		f, _, fs := newBuffered(t)
		if _, err := f.Write([]byte("row")); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, fs); len(got) != 0 {
			t.Fatalf("before %s the file has %q", name, got)
		}
		if err := end(f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := contents(t, fs); string(got) != "row" {
			t.Errorf("after %s the file has %q", name, got)
		}
	}
}

// TestBufferedFileSyncToOfAPart: a sync of what is written leaves alone what waits, and doesn't
// say that all is synced.
func TestBufferedFileSyncToOfAPart(t *testing.T) {
	f, p, _ := newBuffered(t)
	for _, n := range []int{fileChunk - 1, 2} {
		if _, err := f.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	full, err := f.SyncTo(fileChunk)
	if err != nil || full || len(p.sizes) != 1 {
		t.Errorf("SyncTo: full %v, %v, after %d writes; want false, and one write", full, err, len(p.sizes))
	}
}

// TestBufferedFileFails: an error is told to who writes, syncs or closes next, and nothing is
// written behind the gap.
func TestBufferedFileFails(t *testing.T) {
	broken := errors.New("broken")
	f, p, fs := newBuffered(t)
	p.fail = broken
	if _, err := f.Write(make([]byte, 10)); err != nil {
		t.Fatalf("Write that only gathers: %v", err)
	}
	if err := f.Sync(); !errors.Is(err, broken) {
		t.Fatalf("Sync: %v", err)
	}
	p.fail = nil
	if _, err := f.Write([]byte("more")); !errors.Is(err, broken) {
		t.Errorf("Write after the error: %v", err)
	}
	if err := f.SyncData(); !errors.Is(err, broken) {
		t.Errorf("SyncData after the error: %v", err)
	}
	if err := f.Close(); !errors.Is(err, broken) || !p.closed {
		t.Errorf("Close: %v, closed %v", err, p.closed)
	}
	if got := contents(t, fs); len(got) != 5 || len(p.sizes) != 0 {
		t.Errorf("the file has %d bytes after the error, want 5", len(got))
	}
}
