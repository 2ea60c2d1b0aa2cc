package rrdb

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/base/config"
	idl "pegasus/gen/rrdb"
)

// stores are several stores of one server.
func openStores(t *testing.T, n int, change func(*config.Storage)) (*Shared, []*Store) {
	t.Helper()
	cfg := testStorage()
	if change != nil {
		change(&cfg)
	}
	shared := NewShared(SharedOptions{Storage: cfg, MaxScanSessions: 4})
	fs := vfs.NewMem()
	var stores []*Store
	for i := range n {
		s, err := Open(Options{Dir: fmt.Sprint("data/", i), FS: fs, Shared: shared, Storage: cfg, Create: true,
			Gpid: base.Gpid{AppID: 1, PartitionIndex: int32(i)}, Server: "node:1"})
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, s)
	}
	t.Cleanup(func() {
		for _, s := range stores {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if m := shared.Metrics(); m.MemtableBytes != 0 || m.MemtableReserved != 0 || m.ScanSessions != 0 || m.CompactionsRunning != 0 {
			t.Errorf("left behind: %+v", m)
		}
		shared.Close()
	})
	return shared, stores
}

func applyValue(t *testing.T, s *Store, sortKey, value string) {
	t.Helper()
	d := s.LastApplied() + 1
	if err := s.Apply(d, d, AppendOp(nil, Op{Key: rowKey("h", sortKey), Value: []byte(value)})); err != nil {
		t.Fatal(err)
	}
}

func TestMemtableBudget(t *testing.T) {
	shared, stores := openStores(t, 3, func(c *config.Storage) {
		c.MemtableBytes, c.MemtablesBytes = 64<<20, 2<<20
	})
	value := strings.Repeat("v", 10<<10)
	for i := range 20 {
		applyValue(t, stores[0], fmt.Sprint(i), value)
		applyValue(t, stores[2], fmt.Sprint(i), value)
	}
	for i := range 200 {
		applyValue(t, stores[1], fmt.Sprint(i), value)
	}
	waitFor(t, "the largest memtable to be flushed", func() bool { return stores[1].LastFlushed() > 0 })
	waitFor(t, "the budget to be kept", func() bool { return shared.Metrics().MemtableBytes <= 2<<20 })
	if stores[0].LastFlushed() != 0 || stores[2].LastFlushed() != 0 {
		t.Error("small memtables were flushed though a large one was there")
	}
	// Many small ones are as good as a large one.
	for i := range 900 {
		applyValue(t, stores[i%3], fmt.Sprint(i), value)
	}
	waitFor(t, "all to be flushed", func() bool { return stores[0].LastFlushed() > 0 && stores[2].LastFlushed() > 0 })
	waitFor(t, "the budget to be kept", func() bool { return shared.Metrics().MemtableBytes <= 2<<20 })
}

// TestCacheIsNotEatenByMemtables: Pebble takes memtables off the cache's size. These take
// more than it has.
func TestCacheIsNotEatenByMemtables(t *testing.T) {
	shared, stores := openStores(t, 10, func(c *config.Storage) {
		c.BlockCacheBytes, c.MemtableBytes = 1<<20, 256<<10
	})
	s := stores[0]
	for i := range 64 {
		applyValue(t, s, fmt.Sprint(i), strings.Repeat("v", 8<<10))
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Each takes up to a quarter less than its table's size: see stagger.
	waitFor(t, "memtables to be measured", func() bool { return shared.Metrics().MemtableReserved >= 10*192<<10 })
	waitFor(t, "blocks to stay in the cache", func() bool {
		for i := range 64 {
			res, err := s.Read(&ReadRequest{Code: CodeGet, Arg: argReader(rowArg("h", fmt.Sprint(i)))})
			if err != nil {
				t.Fatal(err)
			}
			if res.Code() != codeOK {
				t.Fatalf("row %d: %d", i, res.Code())
			}
			res.Release()
		}
		return shared.Metrics().BlockCacheBytes > 300<<10
	})
	if m := shared.Metrics(); m.BlockCacheBytes > 1<<20 {
		t.Errorf("cache holds %d", m.BlockCacheBytes)
	}
}

func TestCompactionsOfManyStores(t *testing.T) {
	shared, stores := openStores(t, 4, func(c *config.Storage) { c.Compactions, c.MemtableBytes = 1, 256<<10 })
	var writers sync.WaitGroup
	done := make(chan struct{})
	for _, s := range stores {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(1, 1))
			for i := range 600 {
				d := int64(i + 1)
				v := make([]byte, 4000)
				for j := range v {
					v[j] = byte(rng.Uint32())
				}
				if err := s.Apply(d, d, AppendOp(nil, Op{Key: rowKey("h", fmt.Sprint(rng.IntN(2000))), Value: v})); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	go func() { writers.Wait(); close(done) }()
	most := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			most = max(most, shared.Metrics().CompactionsRunning)
		}
	}
	if most > 1 {
		t.Errorf("%d compactions ran at a time", most)
	}
	for i, s := range stores {
		waitFor(t, fmt.Sprintf("store %d to be compacted", i), func() bool {
			m := s.Metrics()
			return m.Compact.Count > 0 && m.Levels[0].Sublevels < 4
		})
	}
}

// fakeDB is a store with compactions to do.
type fakeDB struct {
	mu       sync.Mutex
	work     int
	priority int
	allowed  int
	waiting  bool
	started  func(db *fakeDB, h pebble.CompactionGrantHandle)
}

func (f *fakeDB) GetAllowedWithoutPermission() int { return f.allowed }

func (f *fakeDB) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = f.waiting && f.work > 0
	return f.waiting, pebble.WaitingCompaction{Priority: f.priority}
}

func (f *fakeDB) Schedule(h pebble.CompactionGrantHandle) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.work == 0 {
		f.waiting = false
		return false
	}
	f.work--
	f.started(f, h)
	return true
}

// schedule is what Pebble does when it may have work: start what it may, then wait.
func (f *fakeDB) schedule(u *slotUser) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.waiting && f.work > 0 {
		ok, h := u.TrySchedule()
		if !ok {
			f.waiting = true
			return
		}
		f.work--
		f.started(f, h)
	}
}

func TestCompactionSlots(t *testing.T) {
	type running struct {
		db *fakeDB
		h  pebble.CompactionGrantHandle
	}
	started := make(chan running, 100)
	start := func(db *fakeDB, h pebble.CompactionGrantHandle) { started <- running{db, h} }
	slots := newCompactionSlots(2)
	var dbs []*fakeDB
	var users []*slotUser
	for i := range 4 {
		db := &fakeDB{work: 5, priority: i, allowed: 2, started: start}
		u := slots.member()
		u.Register(2, db)
		dbs, users = append(dbs, db), append(users, u)
	}
	next := func() running {
		t.Helper()
		select {
		case r := <-started:
			return r
		case <-time.After(time.Minute):
			t.Fatal("no compaction is started")
			panic("unreachable")
		}
	}
	dbs[0].schedule(users[0])
	a, b := next(), next()
	if a.db != dbs[0] || b.db != dbs[0] {
		t.Fatal("the first store should have both slots")
	}
	for i := 1; i < 4; i++ {
		dbs[i].schedule(users[i])
	}
	if len(started) != 0 {
		t.Fatal("a third slot was given")
	}
	// Freed slots go to the most urgent, also when the one that frees asks at once.
	a.h.Done()
	dbs[0].schedule(users[0])
	if a = next(); a.db != dbs[3] {
		t.Errorf("a slot went to the store of priority %d", a.db.priority)
	}
	// A store that may have only one more gets no more.
	dbs[3].allowed = 1
	b.h.Done()
	if b = next(); b.db != dbs[2] {
		t.Errorf("a slot went to the store of priority %d", b.db.priority)
	}
	// Until it may again.
	dbs[3].allowed = 2
	b.h.Done()
	if b = next(); b.db != dbs[3] {
		t.Errorf("a slot went to the store of priority %d", b.db.priority)
	}
	// A store that is gone isn't called any more, and gives back what it had.
	users[3].Unregister()
	users[3].Unregister()
	a.h.Done()
	b.h.Done()
	seen := map[int]int{}
	for range 5 + 4 + 3 { // of the three that are left, less what ran
		r := next()
		seen[r.db.priority]++
		r.h.Done()
	}
	if seen[3] != 0 || seen[0] != 3 || seen[1] != 5 || seen[2] != 4 {
		t.Errorf("compactions by priority: %v", seen)
	}
	waitFor(t, "slots to be free", func() bool {
		slots.mu.Lock()
		defer slots.mu.Unlock()
		return slots.running == 0 && !slots.granting
	})
	slots.member().Unregister() // never registered
}

func TestSessionTable(t *testing.T) {
	shared, stores := openStores(t, 2, func(c *config.Storage) { c.MaxIterations = 1 })
	for _, s := range stores {
		for i := range 3 {
			applyValue(t, s, fmt.Sprint(i), "v")
		}
	}
	begin := func(s *Store) int64 {
		t.Helper()
		arg := idl.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, StartInclusive: true}
		res, err := s.Read(&ReadRequest{Code: CodeGetScanner, Arg: argReader(&arg)})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Release()
		if res.number <= 0 {
			t.Fatalf("context id %d", res.number)
		}
		return res.number
	}
	next := func(s *Store, id int64) int32 {
		t.Helper()
		res, err := s.Read(&ReadRequest{Code: CodeScan, Arg: argReader(&idl.ScanRequest{ContextId: id})})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Release()
		return res.Code()
	}
	// Ids are of one store.
	id := begin(stores[0])
	if next(stores[1], id) != codeNotFound || next(stores[0], id) != codeOK {
		t.Error("a session is answered by another store, or not by its own")
	}
	// Above the limit of four the oldest goes.
	ids := []int64{begin(stores[0])}
	for range 4 {
		ids = append(ids, begin(stores[1]))
	}
	if n := shared.Metrics().ScanSessions; n != 4 {
		t.Errorf("%d sessions", n)
	}
	if next(stores[0], ids[0]) != codeNotFound || next(stores[1], ids[4]) != codeOK {
		t.Error("not the oldest session was dropped")
	}
	seen := map[int64]bool{}
	for range 100 {
		if id := randomID(); id < 0 || seen[id] {
			t.Fatalf("id %d", id)
		} else {
			seen[id] = true
		}
	}
}

// TestScanWhileWriting: rows that are there during the whole scan are answered exactly
// once, whatever is written and compacted in between.
func TestScanWhileWriting(t *testing.T) {
	h := newHarness(t, func(c *config.Storage) { c.MaxIterations, c.MemtableBytes = 10, 256<<10 })
	for i := range 300 {
		h.put("h", fmt.Sprintf("%04d", i), strings.Repeat("v", 1000), 0)
	}
	var page idl.ScanResponse
	if _, err := h.read(CodeGetScanner, &idl.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, NoValue: true}, &page); err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for round := 0; ; round++ {
		for _, kv := range page.Kvs {
			_, s, _ := base.SplitKey(kv.Key)
			times[string(s)]++
		}
		if page.ContextId == scanCompleted {
			break
		}
		// Odd rows come and go.
		for i := 1; i < 300; i += 2 {
			if (i+round)%4 == 1 {
				h.payload = AppendOp(h.payload, Op{Key: rowKey("h", fmt.Sprintf("%04d", i)), Delete: true})
			} else {
				h.payload = AppendOp(h.payload, Op{Key: rowKey("h", fmt.Sprintf("%04d", i)), Value: []byte(strings.Repeat("w", 1000))})
			}
		}
		h.propose()
		h.apply()
		if _, err := h.read(CodeScan, &idl.ScanRequest{ContextId: page.ContextId}, &page); err != nil {
			t.Fatal(err)
		}
		if page.Error != codeOK {
			t.Fatalf("page %d: %+v", round, page)
		}
	}
	for i := 0; i < 300; i += 2 {
		if n := times[fmt.Sprintf("%04d", i)]; n != 1 {
			t.Errorf("row %d was answered %d times", i, n)
		}
	}
	for k, n := range times {
		if n > 1 {
			t.Errorf("row %s was answered %d times", k, n)
		}
	}
}
