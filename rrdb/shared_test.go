package rrdb

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
)

// stores are several stores of one server.
func openStores(t *testing.T, n int, change func(*testConfig)) (*Shared, []*Store) {
	t.Helper()
	cfg := smallConfig()
	if change != nil {
		change(&cfg)
	}
	shared := cfg.shared(t, SharedOptions{MaxScanSessions: 4})
	fs := vfs.NewMem()
	var stores []*Store
	for i := range n {
		s, err := Open(cfg.store(Options{Dir: fmt.Sprint("data/", i), FS: fs, Shared: shared, Create: true,
			Gpid: base.Gpid{AppID: 1, PartitionIndex: int32(i)}, Server: "node:1"}))
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
	shared, stores := openStores(t, 3, func(c *testConfig) {
		c.MemtableBytes, c.Engine.MemtablesBytes = 64<<20, 2<<20
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

// TestMemtablesShrink: many stores that were busy one after the other keep within the budget
// together, also in what they have allocated.
func TestMemtablesShrink(t *testing.T) {
	const budget = 8 << 20
	shared, stores := openStores(t, 16, func(c *testConfig) { c.MemtableBytes, c.Engine.MemtablesBytes = 4<<20, budget })
	value := strings.Repeat("v", 16<<10)
	for _, s := range stores {
		for i := range 200 {
			applyValue(t, s, fmt.Sprint(i), value)
		}
		// How far it is exceeded while a store writes is up to how fast flushes are, but they
		// catch up with each store, also with those that write no more.
		waitFor(t, "flushes to keep up", func() bool { return shared.Metrics().MemtableReserved <= budget+budget/2 })
	}
	waitFor(t, "the budget to be kept", func() bool { return shared.Metrics().MemtableReserved <= budget })
}

// TestFlushIsUrgent: a flush that somebody waits for isn't held up by the pacing.
func TestFlushIsUrgent(t *testing.T) {
	h := newHarness(t, func(c *testConfig) { c.MemtableBytes, c.Engine.MemtablesBytes = 16<<20, 64<<20 })
	h.put("h", "first", "v", 0)
	h.flush() // from now on the time of filling is known
	// A memtable that took a second to fill: its flush may take 0.4 s.
	rng := rand.NewChaCha8([32]byte{})
	value := make([]byte, 64<<10)
	began := time.Now()
	for i := 0; i < 24; i++ {
		_, _ = rng.Read(value) // what compresses well is hardly written
		h.put("h", fmt.Sprint(i), string(value), 0)
	}
	waitFor(t, "a second to pass", func() bool { return time.Since(began) > time.Second })
	before := h.shared.Metrics().FlushWaits
	h.flush()
	if w := h.shared.Metrics().FlushWaits - before; w > 200*time.Millisecond { // of 400 and more
		t.Errorf("a flush that is waited for was held up for %v", w)
	}
}

// TestGatheringMemtablesDontStall: Pebble lets a young store's small memtables gather until a
// flush of them is worth it. That isn't being behind.
func TestGatheringMemtablesDontStall(t *testing.T) {
	h := newHarness(t, func(c *testConfig) { c.MemtableBytes, c.Engine.MemtablesBytes = 16<<20, 64<<20 })
	value := string(make([]byte, 4<<10))
	for i := range 500 {
		h.put("h", fmt.Sprint(i), value, 0)
	}
	if n := h.store.db.Metrics().MemTable.Count; n < 3 {
		t.Fatalf("%d memtables, so nothing is tested", n)
	}
	waitFor(t, "the memtables to be measured", func() bool {
		h.store.member.StallEnded() // has the engine measure again
		m := h.store.Metrics().MemTable
		return h.shared.Metrics().MemtableReserved == int64(m.Size+m.ZombieSize)
	})
	if h.store.WouldStall() {
		t.Error("2 MB of 16 in small memtables count as being behind")
	}
}

// TestCacheIsNotEatenByMemtables: Pebble takes memtables off the cache's size. These take
// more than it has.
func TestCacheIsNotEatenByMemtables(t *testing.T) {
	shared, stores := openStores(t, 10, func(c *testConfig) {
		c.Engine.BlockCacheBytes, c.MemtableBytes = 1<<20, 256<<10
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
			res, err := s.Read(&ReadRequest{Code: base.RPCGet, Arg: argReader(rowArg("h", fmt.Sprint(i)))})
			if err != nil {
				t.Fatal(err)
			}
			if res.Touched().Status != codeOK {
				t.Fatalf("row %d: %d", i, res.Touched().Status)
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
	shared, stores := openStores(t, 4, func(c *testConfig) { c.Engine.Compactions, c.MemtableBytes = 1, 256<<10 })
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

func TestSessionTable(t *testing.T) {
	shared, stores := openStores(t, 2, func(c *testConfig) { c.Limits.ScanRows = 1 })
	for _, s := range stores {
		for i := range 3 {
			applyValue(t, s, fmt.Sprint(i), "v")
		}
	}
	begin := func(s *Store) int64 {
		t.Helper()
		arg := idl.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, StartInclusive: true}
		res, err := s.Read(&ReadRequest{Code: base.RPCGetScanner, Arg: argReader(&arg)})
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
		res, err := s.Read(&ReadRequest{Code: base.RPCScan, Arg: argReader(&idl.ScanRequest{ContextId: id})})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Release()
		return res.Touched().Status
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
	h := newHarness(t, func(c *testConfig) { c.Limits.ScanRows, c.MemtableBytes = 10, 256<<10 })
	for i := range 300 {
		h.put("h", fmt.Sprintf("%04d", i), strings.Repeat("v", 1000), 0)
	}
	var page idl.ScanResponse
	if _, err := h.read(base.RPCGetScanner, &idl.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, NoValue: true}, &page); err != nil {
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
		if _, err := h.read(base.RPCScan, &idl.ScanRequest{ContextId: page.ContextId}, &page); err != nil {
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
