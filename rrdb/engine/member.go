package engine

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Store is what the engine knows of a store.
type Store interface {
	// Metrics returns Pebble's figures, nil if the store is being closed.
	Metrics() *pebble.Metrics
	// FlushEarly begins a flush of the memtable, for the sake of the memory budget. It may
	// wait while the store's writes are stalled. An error says that none has begun.
	FlushEarly() error
	// Closing returns a channel that is closed when the store begins to close.
	Closing() <-chan struct{}
}

// MemberOptions say what the engine must know of a store.
type MemberOptions struct {
	FS  vfs.FS // its disk
	Dir string // where it is
	// Fail is called when the names of the store's files may be lost, before Pebble goes on. It puts the
	// store out of service (Member.Fail). Nil: an error is Pebble's.
	Fail          func(error)
	MemtableBytes int64  // the largest size of one memtable
	BulkLoad      bool   // level 0 may grow: that isn't being behind
	FillerKey     []byte // a key of the store that nobody reads, see FillMemtable
}

// Member is one store's part in the engine. Its store tells it of what happens to the memtables;
// Pebble asks it for permission to compact, and works on its file system.
type Member struct {
	*Guard
	engine    *Engine
	store     Store
	slot      *slotUser
	bulkLoad  bool
	fillerKey []byte
	db        atomic.Pointer[pebble.DB] // set when it is open
	mem       memtables
	flushes   flushPacer
}

// Join makes the part of a store that is about to be opened. Leave ends it.
func (e *Engine) Join(s Store, o MemberOptions) *Member {
	m := &Member{engine: e, store: s, slot: e.slots.member(), bulkLoad: o.BulkLoad, fillerKey: o.FillerKey}
	m.mem.max = max(o.MemtableBytes, smallestArena)
	m.Guard = newGuard(o.FS, m.pace)
	m.Guard.dir, m.Guard.fail = o.Dir, o.Fail
	return m
}

// Configure sets the options of Pebble that are about what is shared.
func (m *Member) Configure(o *pebble.Options) {
	o.Cache, o.FileCache, o.FS = m.engine.cache, m.engine.files, m.FS()
	o.Experimental.CompactionScheduler = m.slot
	compactions := m.engine.slots.max
	o.CompactionConcurrencyRange = func() (lower, upper int) { return 1, compactions }
}

// Opened says that the store's Pebble is open.
func (m *Member) Opened(db *pebble.DB) {
	m.db.Store(db)
	m.engine.memory.join(m)
	m.opened.Store(true)
}

// Abandon says that the store's Pebble could not be opened: it compacts no more.
func (m *Member) Abandon() { m.slot.Unregister() }

// Leave says that the store's Pebble is about to be closed. Nothing waits in the file system any
// more.
func (m *Member) Leave() {
	m.engine.memory.leave(m)
	close(m.released)
}

// Admit makes a write wait while the memtables of all stores take too much memory.
func (m *Member) Admit() { m.engine.memory.admit(m) }

// Applied counts n bytes into the store's memtable.
func (m *Member) Applied(n int64) { m.engine.memory.applied(m, n) }

// Unflushed returns about how many bytes of rows are in the store's memtable, and on no disk but in the
// replication log. What is being flushed doesn't count any more.
func (m *Member) Unflushed() int64 { return max(m.mem.active.Load(), 0) }

// FlushBegan is called when a flush begins, under Pebble's mutex: it doesn't block.
func (m *Member) FlushBegan() { m.engine.memory.flushBegan(m) }

// FlushEnded is called when a flush has ended, under Pebble's mutex: it doesn't block.
func (m *Member) FlushEnded() { m.engine.memory.flushEnded(m) }

// StallBegan is called when Pebble holds up writes until flushes or compactions have caught up.
func (m *Member) StallBegan() { m.mem.behind.Store(true) }

// StallEnded is called when it no longer does.
func (m *Member) StallEnded() {
	m.mem.dirty.Store(true)
	m.engine.memory.poke()
}

// AwaitFlush says that somebody waits for a flush, until the function that it returns is called.
func (m *Member) AwaitFlush() (done func()) {
	m.mem.awaited.Add(1)
	return func() { m.mem.awaited.Add(-1) }
}

// WouldStall tells that a write may have to wait for a flush or a compaction, as far as that can
// be told without asking Pebble: it may be called from where nothing may wait.
func (m *Member) WouldStall() bool {
	return m.mem.behind.Load() || m.engine.memory.full() || m.mem.active.Load() >= m.mem.max*3/2
}

// rowOverhead is about what the skip list of a memtable adds to a row.
const rowOverhead = 64

// BatchBytes returns about how many bytes a batch takes in the memtable.
func BatchBytes(b *pebble.Batch) int64 { return int64(b.Len()) + int64(b.Count())*rowOverhead }
