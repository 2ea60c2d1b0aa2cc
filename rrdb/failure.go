package rrdb

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// failure is the error that ended a store's life, if one did.
type failure struct {
	err      atomic.Pointer[error]
	happened chan struct{}
	// opened is set when Open is done: from then on the engine waits for Close once the
	// store has failed.
	opened atomic.Bool

	mu       sync.Mutex
	reported time.Time // when OnError was told last
}

func (f *failure) init() { f.happened = make(chan struct{}) }

func (f *failure) get() error {
	if p := f.err.Load(); p != nil {
		return *p
	}
	return nil
}

// fail ends the store's life. Pebble calls it, maybe with its mutex held, where going on
// would need knowledge that it doesn't have, above all whether a record of the manifest
// was written. The usual answer is to end the process and learn it at the next open; here
// other replicas live in it, so instead the store refuses all work, counts nothing as
// flushed that wasn't before, and lets the engine change no file any more; see guardedFS.
func (s *Store) fail(cause error) {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	if !s.failure.err.CompareAndSwap(nil, &err) {
		return
	}
	close(s.failure.happened)
	s.log.WithError(cause).Error("the storage engine failed; the store is out of service")
	if s.opts.OnError != nil {
		go s.opts.OnError(err)
	}
}

// Failed returns the error that put the store out of service, or nil.
func (s *Store) Failed() error { return s.failure.get() }

// report tells of an error that the store survives, at most once a second.
func (s *Store) report(err error) {
	err = classify(err)
	now := s.now()
	s.failure.mu.Lock()
	quiet := now.Sub(s.failure.reported) < time.Second
	if !quiet {
		s.failure.reported = now
	}
	s.failure.mu.Unlock()
	if quiet {
		return
	}
	s.log.WithError(err).Error("storage engine")
	if s.opts.OnError != nil {
		go s.opts.OnError(err)
	}
}

// classify marks errors that mean damaged files with ErrCorrupt.
func classify(err error) error {
	if err == nil || errors.Is(err, ErrCorrupt) {
		return err
	}
	if pebble.IsCorruptionError(err) || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// The codes of an answer's error field are RocksDB's.
const (
	codeOK              int32 = 0
	codeNotFound        int32 = 1
	codeCorruption      int32 = 2
	codeInvalidArgument int32 = 4
	codeIOError         int32 = 5
	codeIncomplete      int32 = 7
	codeTryAgain        int32 = 13
)

// readFailed reports an error that a read met and returns the code for the answer.
func (s *Store) readFailed(err error) int32 {
	err = classify(err)
	s.report(err)
	if errors.Is(err, ErrCorrupt) {
		return codeCorruption
	}
	return codeIOError
}

// openPebble opens the engine. It doesn't panic, whatever the files hold.
func openPebble(s *Store) (db *pebble.DB, err error) {
	fsys, dir := s.opts.FS, s.opts.Dir
	remains, err := remainsOf(fsys, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !s.opts.Create:
		return nil, fmt.Errorf("%w: %w", ErrNotExist, err)
	case errors.Is(err, fs.ErrNotExist):
		if err := makeDir(fsys, dir); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case remains != "" && s.opts.Create:
		// The engine would delete them.
		return nil, fmt.Errorf("making a store where %s is: %w", remains, fs.ErrExist)
	}
	if s.lock, err = pebble.LockDirectory(dir, fsys); err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%w: the engine gave up: %v", ErrCorrupt, r)
		}
		if err != nil {
			s.slots.Unregister()
			_ = s.lock.Close()
		}
	}()
	if err := removeLogs(fsys, dir); err != nil {
		return nil, err
	}
	db, err = pebble.Open(dir, pebbleOptions(s, s.lock))
	switch {
	case err == nil && s.failure.get() != nil:
		_ = db.Close()
		return nil, s.failure.get()
	case err == nil:
		return db, nil
	case errors.Is(err, pebble.ErrDBDoesNotExist) && remains == "":
		return nil, fmt.Errorf("%w: %w", ErrNotExist, err)
	}
	var system syscall.Errno
	if errors.As(err, &system) && system != syscall.ENOENT {
		return nil, err
	}
	// What the system doesn't answer for is what the files say.
	return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// remainsOf returns the name of a file that belongs to a store, "" if there is none.
func remainsOf(fsys vfs.FS, dir string) (string, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if ext := filepath.Ext(n); ext == ".sst" || ext == ".blob" || strings.HasPrefix(n, "MANIFEST-") {
			return n, nil
		}
	}
	return "", nil
}

// removeLogs deletes the engine's write-ahead logs. It makes an empty one at each open,
// though told not to write any, and finds no occasion to delete it.
func removeLogs(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if filepath.Ext(n) == ".log" {
			if err := fsys.Remove(fsys.PathJoin(dir, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeDir makes a directory and those above it, durably.
func makeDir(fsys vfs.FS, dir string) error {
	var parents []string
	for d := dir; ; {
		up := fsys.PathDir(d)
		parents = append(parents, up)
		if _, err := fsys.Stat(up); err == nil || up == d {
			break
		}
		d = up
	}
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range parents {
		f, err := fsys.OpenDir(p)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
