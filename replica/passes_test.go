package replica

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/config"
	"pegasus/gen/metadata"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
	"pegasus/pacifica"
	"pegasus/rrdb"
)

const (
	deleteTmp = `{"ops":[{"type":"COT_DELETE","params":"","rules":[{"type":"FRT_HASHKEY_PATTERN","params":"{\"pattern\":\"tmp\",\"match_type\":\"SMT_MATCH_PREFIX\"}"}]}]}`
	putOff    = `{"ops":[{"type":"COT_UPDATE_TTL","params":"{\"type\":\"UTOT_FROM_CURRENT\",\"value\":1000}","rules":[{"type":"FRT_HASHKEY_PATTERN","params":"{\"pattern\":\"k\",\"match_type\":\"SMT_MATCH_PREFIX\"}"}]}]}`
)

// ttl returns a row's: seconds, -1 for never, -2 for no such row.
func (g *group) ttl(i int, k string) int32 {
	g.t.Helper()
	var res idl.TtlResponse
	arg := value.Blob(rowKey(k))
	if err := g.call(i, base.RPCTTL, &arg, &res); err != nil {
		g.t.Fatalf("ttl %s: %v", k, err)
	}
	if res.Error != 0 {
		return -2
	}
	return res.TtlSeconds
}

// noted waits until the pass that a node's replica knows of is over, after others than these.
func (g *group) noted(i int, not int64) rrdb.PassProgress {
	g.t.Helper()
	var n rrdb.PassProgress
	until(g.t, "the pass is over", func() bool {
		n = g.nodes[i].srv.replica(g.gpid).store.Load().PassProgress()
		return n.Done && n.At > not
	})
	return n
}

func TestDefaultTTLReachesOldRows(t *testing.T) {
	g := newGroup(t, 3)
	for i := range 600 {
		g.mustPut(0, fmt.Sprintf("k%d", i), "v")
	}
	g.set(appenv.DefaultTTL, "10000")
	g.noted(0, 0)
	for i := range 600 {
		if ttl := g.ttl(0, fmt.Sprintf("k%d", i)); ttl > 10000 || ttl < 9000 {
			t.Fatalf("row %d lives for %d s", i, ttl)
		}
	}
	g.mustPut(0, "last", "v")
	g.same(0, 1, 2)
	if n := g.nodes[2].srv.replica(g.gpid).store.Load().PassProgress(); !n.Done {
		t.Errorf("a secondary's note: %+v", n)
	}
	// Without rules the note goes, so that the same ones are new when they come again.
	g.set()
	until(t, "the note is gone", func() bool { return g.nodes[0].srv.replica(g.gpid).store.Load().PassProgress().Rules == 0 })
	g.mustPut(0, "forever", "v")
	if ttl := g.ttl(0, "forever"); ttl != -1 {
		t.Errorf("a row lives for %d s though there is no default", ttl)
	}
	g.set(appenv.DefaultTTL, "10000")
	until(t, "the new row has an expiry too", func() bool { return g.ttl(0, "forever") > 0 })
}

// Rules that delete are carried out when they are set and again and again; one that counts
// from the present expiry once, and once more for each manual compaction, whoever is primary.
func TestOperations(t *testing.T) {
	g := newGroupWith(t, 3, func(c *config.Config) { c.Storage.RulesInterval = config.Duration(time.Second) })
	g.mustPut(0, "tmp1", "v")
	g.mustPut(0, "k1", "v")
	g.set(appenv.UserCompaction, deleteTmp)
	until(t, "the row is deleted", func() bool { return g.ttl(0, "tmp1") == -2 })
	g.noted(0, 0)
	g.mustPut(0, "tmp2", "v")
	until(t, "the row that came later is deleted", func() bool { return g.ttl(0, "tmp2") == -2 })
	if ttl := g.ttl(0, "k1"); ttl != -1 {
		t.Errorf("another row lives for %d s", ttl)
	}

	now := rrdb.ExpiryTime(time.Now())
	var res idl.UpdateResponse
	if err := g.call(0, base.RPCPut, &idl.UpdateRequest{Key: rowKey("k2"), Value: []byte("v"), ExpireTsSeconds: int32(now + 500)}, &res); err != nil || res.Error != 0 {
		t.Fatal(err, res.Error)
	}
	g.set(appenv.UserCompaction, putOff)
	until(t, "its expiry is put off", func() bool { return g.ttl(0, "k2") > 1000 })
	first := g.noted(0, 0)
	g.meta.promote(g.gpid, g.nodes[1].srv.Addr(), g.nodes[0].srv.Addr(), g.nodes[2].srv.Addr())
	until(t, "the new primary serves", func() bool { return g.serving(1) })
	trigger := time.Now().Unix() + 2
	g.set(appenv.UserCompaction, putOff, appenv.CompactOnceTime, strconv.FormatInt(trigger, 10))
	g.noted(1, first.At)
	if ttl := g.ttl(1, "k2"); ttl < 2000 || ttl > 2500 {
		t.Errorf("the row lives for %d s, its expiry should have been put off twice", ttl)
	}
	for i := range 3 {
		until(t, "the compaction is over", func() bool {
			return g.nodes[i].srv.replica(g.gpid).compactions.status() == metadata.FINISHED
		})
	}
	g.mustPut(1, "last", "v")
	g.same(0, 1, 2)
}

// A server whose part in a pass is cut short leaves the rest to the next primary.
func TestPassGoesOnAtTheNextPrimary(t *testing.T) {
	g := newGroup(t, 3)
	now := rrdb.ExpiryTime(time.Now())
	const rows = 800
	for i := range rows {
		var res idl.UpdateResponse
		if err := g.call(0, base.RPCPut, &idl.UpdateRequest{Key: rowKey(fmt.Sprintf("k%03d", i)), Value: []byte("v"), ExpireTsSeconds: int32(now + 500)}, &res); err != nil || res.Error != 0 {
			t.Fatal(err, res.Error)
		}
	}
	// The pass may write one more mutation, and then almost nothing.
	for _, n := range g.nodes[:1] {
		partOf[*passer](n.srv).write.SetLimit(1)
		partOf[*passer](n.srv).write.SetBurst(5000)
	}
	g.set(appenv.UserCompaction, putOff)
	until(t, "the pass has begun", func() bool {
		n := g.nodes[1].srv.replica(g.gpid).store.Load().PassProgress()
		return n.Rules != 0 && !n.Done && n.Next != nil
	})
	g.nodes[0].stop()
	g.meta.mu.Lock()
	p := g.meta.parts[g.gpid]
	next, third := g.nodes[1].srv.Addr(), g.nodes[2].srv.Addr()
	p.Ballot, p.Primary, p.Secondaries = p.Ballot+1, next, []base.RPCAddress{third}
	g.meta.mu.Unlock()
	until(t, "the new primary serves", func() bool { return g.serving(1) })
	g.noted(1, 0)
	for i := range rows {
		if ttl := g.ttl(1, fmt.Sprintf("k%03d", i)); ttl < 1000 || ttl > 1500 {
			t.Fatalf("row %d lives for %d s: its expiry was put off never, or twice", i, ttl)
		}
	}
	g.same(1, 2)
}

// Replicas hold the same live rows after everything that depends on time or on what is there:
// TTLs, default TTLs that change, atomic operations, rules, sweeps, and a new primary.
func TestReplicasAreAlike(t *testing.T) {
	g := newGroupWith(t, 3, func(c *config.Config) {
		c.Storage.SweepInterval = config.Duration(200 * time.Millisecond)
		c.Storage.SweepDelay = config.Duration(time.Second)
		c.Storage.MemtableBytes = 256 << 10
		c.Storage.RulesInterval = config.Duration(500 * time.Millisecond)
	})
	var primary, done atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(w), 7))
			for {
				select {
				case <-stop:
					return
				default:
				}
				if g.mixed(int(primary.Load()), r) == nil {
					done.Add(1)
				}
			}
		}()
	}
	some := func(what string) {
		t.Helper()
		from := done.Load()
		until(t, "writes go on "+what, func() bool { return done.Load() > from+300 })
	}
	some("without settings")
	g.set(appenv.DefaultTTL, "2")
	some("with a short default")
	g.set(appenv.DefaultTTL, "3000", appenv.UserCompaction, deleteTmp)
	some("with a long default")
	g.meta.promote(g.gpid, g.nodes[1].srv.Addr(), g.nodes[0].srv.Addr(), g.nodes[2].srv.Addr())
	until(t, "the new primary serves", func() bool { return g.serving(1) })
	primary.Store(1)
	some("at the new primary")
	g.set()
	some("without settings again")
	g.set(appenv.DefaultTTL, "1")
	some("with the shortest default")
	close(stop)
	wg.Wait()
	until(t, "the last pass is over", func() bool {
		st := g.nodes[1].srv.replica(g.gpid).store.Load()
		id, _ := st.RulesID()
		return id != 0 && st.PassProgress().Rules == id && st.PassProgress().Done
	})
	until(t, "the old primary is a secondary", func() bool { return g.view(0).Status == pacifica.Secondary })
	until(t, "all know the commit point", func() bool { v := g.view(1); return v.applied == v.Last })
	g.same(1, 0, 2)
	until(t, "expired rows are deleted everywhere", func() bool {
		for _, n := range g.nodes {
			if m := n.srv.shared.Metrics(); m.SweptRows == 0 || m.Sweeps == 0 || m.SweepTime <= 0 {
				return false
			}
		}
		return true
	})
	g.same(1, 0, 2)
	until(t, "the passes are counted", func() bool {
		var done, rows, nanos, read int64
		for _, n := range g.nodes {
			c := &partOf[*passer](n.srv).counts
			done, rows, nanos = done+c.done.Load(), rows+c.rows.Load(), nanos+c.nanos.Load()
			read += n.srv.shared.Metrics().RulesReadBytes
		}
		return done > 0 && rows > 0 && nanos > 0 && read > 0
	})
}

// mixed writes something to node i.
func (g *group) mixed(i int, r *rand.Rand) error {
	hash := []string{"k", "tmp", "n"}[r.IntN(3)] + strconv.Itoa(r.IntN(20))
	key := base.AppendKey(nil, []byte(hash), strconv.AppendInt(nil, int64(r.IntN(50)), 10))
	var expire int32
	if r.IntN(2) == 0 {
		expire = int32(rrdb.ExpiryTime(time.Now())) + int32(r.IntN(6)) - 1
	}
	ctx, cancel := context.WithTimeout(g.t.Context(), answerTime)
	defer cancel()
	call := func(code string, arg, res value.Value) error { return g.callWith(ctx, i, code, arg, res) }
	switch r.IntN(5) {
	case 0:
		return call(base.RPCIncr, &idl.IncrRequest{Key: base.AppendKey(nil, []byte("n"), key), Increment: 1, ExpireTsSeconds: expire}, new(idl.IncrResponse))
	case 1:
		return call(base.RPCCheckAndSet, &idl.CheckAndSetRequest{HashKey: []byte(hash), CheckSortKey: []byte("1"), CheckType: idl.CT_VALUE_NOT_EXIST,
			SetSortKey: []byte("1"), SetValue: make([]byte, r.IntN(2000)), SetExpireTsSeconds: expire}, new(idl.CheckAndSetResponse))
	case 2:
		arg := value.Blob(key)
		return call(base.RPCRemove, &arg, new(idl.UpdateResponse))
	}
	return call(base.RPCPut, &idl.UpdateRequest{Key: key, Value: make([]byte, r.IntN(2000)), ExpireTsSeconds: expire}, new(idl.UpdateResponse))
}
