package wal

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var errSync = errors.New("planted: input/output error")

// forgetful is a file system as Linux has it: after a sync that failed the pages that it
// should have written count as clean. They can be read, and no later sync writes them.
// Directory operations are durable at once.
type forgetful struct {
	vfs.FS
	mu sync.Mutex
	// disk is what is on the disk, dirty which bytes of a file a sync would write.
	disk  map[string][]byte
	dirty map[string][]span
	// fail is how many more syncs fail.
	fail int
}

type span struct{ from, to int64 }

func newForgetful() *forgetful {
	return &forgetful{FS: vfs.NewMem(), disk: make(map[string][]byte), dirty: make(map[string][]span)}
}

func (fs *forgetful) failSyncs(n int) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.fail = n
}

// crashed returns what a power failure leaves.
func (fs *forgetful) crashed(t *testing.T) vfs.FS {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	m := make(map[string][]byte)
	for name, b := range fs.disk {
		m[fs.PathBase(name)] = slices.Clone(b)
	}
	return memFS(t, m)
}

func (fs *forgetful) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, opts...)
	if err != nil {
		return nil, err
	}
	return &forgetfulFile{File: f, fs: fs, name: name}, nil
}

func (fs *forgetful) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	return &forgetfulFile{File: f, fs: fs, name: name}, nil
}

func (fs *forgetful) Rename(from, to string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if b, ok := fs.disk[from]; ok {
		fs.disk[to] = b
		delete(fs.disk, from)
	}
	fs.dirty[to] = fs.dirty[from]
	delete(fs.dirty, from)
	return fs.FS.Rename(from, to)
}

func (fs *forgetful) Remove(name string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.disk, name)
	delete(fs.dirty, name)
	return fs.FS.Remove(name)
}

// current is the name that a file has now that was opened as name: the log renames only the
// spare one, to the newest segment's name.
func (fs *forgetful) current(name string) string {
	if fs.PathBase(name) != spareName {
		return name
	}
	if _, err := fs.FS.Stat(name); err == nil {
		return name
	}
	names, err := fs.FS.List(fs.PathDir(name))
	if err != nil {
		return name
	}
	slices.Sort(names)
	for _, n := range slices.Backward(names) {
		if _, ok := parseSegmentName(n); ok {
			return fs.PathJoin(fs.PathDir(name), n)
		}
	}
	return name
}

type forgetfulFile struct {
	vfs.File
	fs   *forgetful
	name string
	at   int64
}

func (f *forgetfulFile) wrote(from int64, n int) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	name := f.fs.current(f.name)
	f.fs.dirty[name] = append(f.fs.dirty[name], span{from, from + int64(n)})
}

func (f *forgetfulFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	f.wrote(f.at, n)
	f.at += int64(n)
	return n, err
}

func (f *forgetfulFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(b, off)
	f.wrote(off, n)
	return n, err
}

func (f *forgetfulFile) SyncData() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	name := f.fs.current(f.name)
	spans := f.fs.dirty[name]
	delete(f.fs.dirty, name)
	if f.fs.fail > 0 {
		f.fs.fail--
		return errSync
	}
	r, err := f.fs.FS.Open(name)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, s := range spans {
		b := f.fs.disk[name]
		if int64(len(b)) < s.to {
			b = append(b, make([]byte, s.to-int64(len(b)))...)
		}
		if _, err := r.ReadAt(b[s.from:s.to], s.from); err != nil {
			return err
		}
		f.fs.disk[name] = b
	}
	return nil
}

// TestReopenedAfterFailedSync: what a log finds when it is opened again, by the same process
// or by the next, is on the disk before anybody may count on it, though a sync of it failed
// before and the operating system has nothing more to write.
func TestReopenedAfterFailedSync(t *testing.T) {
	for before := range int64(4) {
		fs := newForgetful()
		o := testOptions(fs)
		o.tick = -1
		l := mustOpen(t, o)
		for d := int64(1); d <= before; d++ {
			mustAppend(t, l, entry(g(1), 1, d, 100))
		}
		fs.failSyncs(1)
		if err := appendEntries(l, entry(g(1), 1, before+1, 100), entry(g(2), 1, 1, 3000)); !errors.Is(err, errSync) {
			t.Fatalf("append: %v", err)
		}
		if err := appendEntries(l, entry(g(1), 1, before+2, 100)); !errors.Is(err, errSync) {
			t.Fatalf("append to a failed log: %v", err)
		}
		if err := l.Close(); !errors.Is(err, errSync) {
			t.Fatalf("close: %v", err)
		}

		l = mustOpen(t, o)
		held := decrees(t, l, g(1))
		if !slices.Equal(held, upTo(1, before+1)) {
			t.Fatalf("the file holds %v", held)
		}
		mustAppend(t, l, entry(g(1), 1, before+2, 100))
		// The power fails.
		o.FS = fs.crashed(t)
		mustClose(t, l)
		l = mustOpen(t, o)
		if got := decrees(t, l, g(1)); !slices.Equal(got, upTo(1, before+2)) || len(l.Damaged()) > 0 {
			t.Errorf("%d entries before the failure: the disk holds %v of what was taken for durable; damaged %+v", before, got, l.Damaged())
		}
		mustClose(t, l)
	}
}
