package rrdb

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// manifestBytes is the size from which the engine begins a new manifest (its list of table
	// files), if more has changed since it began the last one than there are files. It is a block
	// of most file systems: a smaller file takes no less.
	manifestBytes = 4 << 10
	// tidyBytes is how large a store may be that is merged into one table when it was swept.
	tidyBytes = 1 << 20
)

// metaEnd is behind all keys.
var metaEnd = append(metaPrefix[:len(metaPrefix):len(metaPrefix)], 0xff)

// manifests are the engine's lists of table files. It keeps the one before the present for
// nobody: who opens a store follows the marker, which names the present one, and which is on
// the disk when that is announced. Only a copy that has begun may still read the one before.
type manifests struct {
	mu      sync.Mutex
	current string // its path
	copies  atomic.Int32
}

// copying keeps the manifests that there are until the function that it returns is called.
func (m *manifests) copying() (done func()) {
	m.copies.Add(1)
	return func() { m.copies.Add(-1) }
}

// manifestCreated is told of the engine that the store now has a manifest; all before it
// are removed. No other is made meanwhile.
//
// A copy notes that it begins before it asks the engine for the manifest's name, which waits
// for this to return: one that isn't noted here gets the new name.
func (s *Store) manifestCreated(i pebble.ManifestCreateInfo) {
	m := &s.manifests
	if i.Err != nil || s.failure.get() != nil {
		return
	}
	m.mu.Lock()
	m.current = i.Path
	m.mu.Unlock()
	if m.copies.Load() > 0 {
		return // with the next one
	}
	s.dropManifests(uint64(i.FileNum))
}

// dropManifests removes the manifests before the present one. What can't be removed is left for
// the next time.
func (s *Store) dropManifests(present uint64) {
	fsys := guardedFS{s.opts.FS, s}
	names, err := fsys.List(s.opts.Dir)
	if err != nil {
		return
	}
	for _, n := range names {
		if num, ok := manifestNumber(n); !ok || num >= present {
			continue
		}
		if err := fsys.Remove(fsys.PathJoin(s.opts.Dir, n)); err != nil {
			s.log.WithError(err).Debug("an old manifest is left for later")
		}
	}
}

// manifestNumber returns the number in the name of a manifest.
func manifestNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, "MANIFEST-")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil
}

// manifestsAtOpen removes manifests that a crash brought back: a removal isn't synced. The
// store was just opened, and nobody else uses it.
func (s *Store) manifestsAtOpen() {
	desc, err := pebble.Peek(s.opts.Dir, s.opts.FS)
	if err != nil || !desc.Exists {
		return
	}
	s.manifests.mu.Lock()
	s.manifests.current = desc.ManifestFilename
	s.manifests.mu.Unlock()
	if n, ok := manifestNumber(filepath.Base(desc.ManifestFilename)); ok {
		s.dropManifests(n)
	}
}

// manifestSize returns the bytes of the present manifest, 0 if that can't be told.
func (s *Store) manifestSize() int64 {
	s.manifests.mu.Lock()
	path := s.manifests.current
	s.manifests.mu.Unlock()
	if path == "" {
		return 0
	}
	st, err := s.opts.FS.Stat(s.opts.FS.PathJoin(s.opts.Dir, filepath.Base(path)))
	if err != nil {
		return 0
	}
	return st.Size()
}

// tidy merges what is left of a store that hardly holds anything into one table. That also
// makes the engine begin a new manifest, if the present one is longer than it need be: it
// does so only when it has something to write.
func (s *Store) tidy(ctx context.Context) error {
	m := s.db.Metrics()
	tables, size := int64(0), int64(m.BlobFiles.Local.LiveSize)
	for i := range m.Levels {
		tables += m.Levels[i].TablesCount
		size += m.Levels[i].TablesSize
	}
	if size > tidyBytes || tables <= 1 && s.manifestSize() < manifestBytes {
		return nil
	}
	// One table may not be enough to merge.
	if err := s.putRecord(); err != nil {
		return err
	}
	if err := s.flushOnce(ctx); err != nil {
		return err
	}
	return s.compact(ctx, notBefore(nil), metaEnd)
}

// compact merges the tables that hold keys of a range. The engine begins with flushing the
// memtable, if that holds some: until then applyMu is held, see rotate.
func (s *Store) compact(ctx context.Context, start, end []byte) error {
	s.applyMu.Lock()
	free := sync.OnceFunc(s.applyMu.Unlock)
	defer free()
	return s.db.Compact(askedContext{ctx, free}, start, end, false)
}

// askedContext calls asked when somebody begins to wait for its end. The engine does so for
// the first time when it has looked after the memtables.
type askedContext struct {
	context.Context
	asked func()
}

// Done implements context.Context.
func (c askedContext) Done() <-chan struct{} {
	c.asked()
	return c.Context.Done()
}
