package rrdb

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

)

// failure is the error that ended a store's life, if one did.
type failure struct {
	err      atomic.Pointer[error]
	happened chan struct{}

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
// flushed that wasn't before, and deletes no file, since the manifest may name any.
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
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%w: the engine gave up: %v", ErrCorrupt, r)
		}
	}()
	db, err = pebble.Open(s.opts.Dir, pebbleOptions(s))
	switch {
	case err == nil && s.failure.get() != nil:
		_ = db.Close()
		return nil, s.failure.get()
	case err == nil:
		return db, nil
	case errors.Is(err, pebble.ErrDBDoesNotExist), missing(s.opts.FS, s.opts.Dir):
		return nil, fmt.Errorf("%w: %w", ErrNotExist, err)
	}
	return nil, classify(err)
}

func missing(fsys vfs.FS, dir string) bool {
	_, err := fsys.Stat(dir)
	return errors.Is(err, fs.ErrNotExist)
}

// checkUnused refuses to make a store where the remains of one are: the engine would
// delete them.
func checkUnused(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, n := range names {
		if filepath.Ext(n) == ".sst" || filepath.Ext(n) == ".blob" || strings.HasPrefix(n, "MANIFEST-") {
			return fmt.Errorf("the directory holds %s already: %w", n, ErrCorrupt)
		}
	}
	return nil
}

