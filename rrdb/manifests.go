package rrdb

import (
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// manifests removes old manifests, Pebble's lists of table files. Nobody needs the one before the
// current: opening a store follows the marker, which names the current one and is synced before Pebble
// announces it. Only a checkpoint that has begun may still read the one before.
type manifests struct {
	*instance
	mu      sync.Mutex
	current string // its path
	// begun: Pebble has begun a manifest since it was opened. Before its first change it uses
	// the one that it found, and can't copy that.
	begun  bool
	copies atomic.Int32
}

func (m *manifests) hasBegun() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.begun
}

// copying keeps all manifests until the function that it returns is called.
func (m *manifests) copying() (done func()) {
	m.copies.Add(1)
	return func() { m.copies.Add(-1) }
}

// created is called by Pebble when it has begun a manifest. It removes all manifests before it. Pebble
// begins no other meanwhile.
//
// A checkpoint calls copying before it asks Pebble for the manifest's name, which blocks until created
// returns. A checkpoint that isn't counted yet gets the new name.
func (m *manifests) created(i pebble.ManifestCreateInfo) {
	if i.Err != nil || m.member.Err() != nil {
		return
	}
	m.mu.Lock()
	m.current, m.begun = i.Path, true
	m.mu.Unlock()
	if m.copies.Load() > 0 {
		return // the next call removes them
	}
	m.drop(uint64(i.FileNum))
}

// drop removes the manifests before the current one. The next call tries again what can't be removed.
func (m *manifests) drop(present uint64) {
	fsys := m.member.FS()
	names, err := fsys.List(m.dir)
	if err != nil {
		return
	}
	for _, n := range names {
		if num, ok := manifestNumber(n); !ok || num >= present {
			continue
		}
		if err := fsys.Remove(fsys.PathJoin(m.dir, n)); err != nil {
			m.log.WithError(err).Debug("an old manifest can't be removed; the next removal tries again")
		}
	}
}

// manifestNumber returns the number in the name of a manifest.
func manifestNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, "MANIFEST-")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil
}

// opened removes manifests that a crash brought back: removals aren't synced. It is called while the
// store is being opened.
func (m *manifests) opened() {
	desc, err := pebble.Peek(m.dir, m.fs)
	if err != nil || !desc.Exists {
		return
	}
	m.mu.Lock()
	m.current = desc.ManifestFilename
	m.mu.Unlock()
	if n, ok := manifestNumber(filepath.Base(desc.ManifestFilename)); ok {
		m.drop(n)
	}
}

// size returns the size of the current manifest in bytes, 0 if it is unknown.
func (m *manifests) size() int64 {
	m.mu.Lock()
	path := m.current
	m.mu.Unlock()
	if path == "" {
		return 0
	}
	st, err := m.fs.Stat(m.fs.PathJoin(m.dir, filepath.Base(path)))
	if err != nil {
		return 0
	}
	return st.Size()
}
