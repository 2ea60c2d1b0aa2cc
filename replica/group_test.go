package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/metaadmin"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
	"pegasus/pacifica"
	"pegasus/replica/wal"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// group is one partition on some nodes, driven by a fake meta.
type group struct {
	t     testing.TB
	meta  *fakeMeta
	nodes []*node
	gpid  base.Gpid
	pool  *rpc.Pool
}

func newGroup(t testing.TB, nodes int) *group {
	t.Helper()
	return newGroupWith(t, nodes, func(*config.Config) {})
}

// newGroupWith is newGroup with a configuration that change has changed. Two members don't do without each
// other unless it says so: writes need both.
func newGroupWith(t testing.TB, nodes int, change func(*config.Config)) *group {
	t.Helper()
	g := &group{t: t, meta: newFakeMeta(t, 1), gpid: base.Gpid{AppID: 1}, pool: rpc.NewPool(rpc.PoolOptions{})}
	t.Cleanup(g.pool.Close)
	for range nodes {
		g.nodes = append(g.nodes, startNodeWith(t, g.meta, func(c *config.Config) {
			if nodes < 3 {
				patient(c)
			}
			change(c)
		}))
	}
	g.heard(0)
	first := g.nodes[0].srv.Addr()
	g.insist("the first node is primary", func() bool { return g.meta.config(g.gpid).Primary == first && g.serving(0) },
		func() { g.meta.propose(g.gpid, metaadmin.CT_ASSIGN_PRIMARY, first, first) })
	for i := 1; i < nodes; i++ {
		g.add(i)
	}
	return g
}

// heard waits until node i knows which cluster it is in: it takes no proposals before.
func (g *group) heard(i int) {
	g.t.Helper()
	until(g.t, fmt.Sprintf("node %d has heard of the meta", i), g.nodes[i].srv.meta.Lease.Valid)
}

// insist waits for a condition and does what may bring it about once a second.
func (g *group) insist(what string, ok func() bool, do func()) {
	g.t.Helper()
	done := time.Time{}
	until(g.t, what, func() bool {
		if ok() {
			return true
		}
		if time.Since(done) > time.Second {
			done = time.Now()
			do()
		}
		return false
	})
}

// add makes node i a secondary.
func (g *group) add(i int) {
	g.t.Helper()
	n := g.nodes[i].srv.Addr()
	g.heard(i)
	g.insist(fmt.Sprintf("node %d is a secondary", i),
		func() bool { return slices.Contains(g.meta.config(g.gpid).Secondaries, n) },
		func() { g.proposeAdd(i) })
}

func (g *group) proposeAdd(i int) {
	g.meta.propose(g.gpid, metaadmin.CT_ADD_SECONDARY, g.meta.config(g.gpid).Primary, g.nodes[i].srv.Addr())
}

func (g *group) view(i int) *view {
	if g.nodes[i].srv == nil {
		return &view{}
	}
	if r := g.nodes[i].srv.replica(g.gpid); r != nil {
		return r.look()
	}
	return &view{}
}

func (g *group) serving(i int) bool { return g.view(i).Serving && g.nodes[i].srv.meta.Lease.Valid() }

func (g *group) call(i int, code string, arg, res value.Value) error {
	ctx, cancel := context.WithTimeout(g.t.Context(), answerTime)
	defer cancel()
	return g.callWith(ctx, i, code, arg, res)
}

func (g *group) callWith(ctx context.Context, i int, code string, arg, res value.Value) error {
	return g.pool.Call(ctx, g.nodes[i].addr.String(), rpc.Outgoing{Code: code, Gpid: g.gpid, Arg: arg}, res)
}

func rowKey(k string) []byte { return base.AppendKey(nil, []byte(k), []byte("s")) }

func (g *group) put(i int, k, v string) error {
	var res idl.UpdateResponse
	err := g.call(i, base.RPCPut, &idl.UpdateRequest{Key: rowKey(k), Value: []byte(v)}, &res)
	if err == nil && res.Error != 0 {
		err = fmt.Errorf("put %s: storage code %d", k, res.Error)
	}
	return err
}

func (g *group) mustPut(i int, k, v string) {
	g.t.Helper()
	if err := g.put(i, k, v); err != nil {
		g.t.Fatalf("put %s: %v", k, err)
	}
}

func newGroupPool(t testing.TB) *rpc.Pool {
	p := rpc.NewPool(rpc.PoolOptions{})
	t.Cleanup(p.Close)
	return p
}

func (g *group) read(i int, k string) error {
	var res idl.ReadResponse
	arg := value.Blob(rowKey(k))
	err := g.call(i, base.RPCGet, &arg, &res)
	if err == nil && res.Error != 0 {
		err = fmt.Errorf("get %s: storage code %d", k, res.Error)
	}
	return err
}

func (g *group) wantGet(i int, k, v string) {
	g.t.Helper()
	var res idl.ReadResponse
	arg := value.Blob(rowKey(k))
	if err := g.call(i, base.RPCGet, &arg, &res); err != nil {
		g.t.Fatalf("get %s: %v", k, err)
	}
	if res.Error != 0 || string(res.Value) != v {
		g.t.Fatalf("get %s: code %d, value %q, want %q", k, res.Error, res.Value, v)
	}
}

// same waits until every node given has applied what the first of them has, and compares
// all live rows. A member that the group lost because the machine was busy is added again.
func (g *group) same(nodes ...int) {
	g.t.Helper()
	g.insist("all replicas have applied the same", func() bool {
		for _, i := range nodes {
			if g.view(i).applied != g.view(nodes[0]).applied {
				return false
			}
		}
		return true
	}, func() {
		c := g.meta.config(g.gpid)
		for _, i := range nodes {
			if a := g.nodes[i].addr; !c.Primary.IsZero() && c.Primary != a && !slices.Contains(c.Secondaries, a) {
				g.proposeAdd(i)
			}
		}
	})
	var first string
	for _, i := range nodes {
		d, err := g.nodes[i].srv.replica(g.gpid).store.Load().Digest(g.t.Context(), rrdb.ExpiryTime(time.Now()))
		if err != nil {
			g.t.Fatal(err)
		}
		if s := fmt.Sprintf("%+v", d); first == "" {
			first = s
		} else if s != first {
			g.t.Fatalf("node %d holds %s, node %d %s", i, s, nodes[0], first)
		}
	}
}

func TestWriteIsOnAllReplicas(t *testing.T) {
	g := newGroup(t, 3)
	for i := range 100 {
		g.mustPut(0, fmt.Sprintf("k%d", i), fmt.Sprintf("v%d", i))
	}
	g.wantGet(0, "k42", "v42")
	g.same(0, 1, 2)
	if err := g.put(1, "k", "v"); base.CodeOf(err) != base.ErrInvalidState {
		t.Errorf("put to a secondary: %v", err)
	}
	var res idl.ReadResponse
	arg := value.Blob(rowKey("k1"))
	if err := g.call(2, base.RPCGet, &arg, &res); base.CodeOf(err) != base.ErrInvalidState {
		t.Errorf("get from a secondary: %v", err)
	}
}

func TestReturningSecondaryCatchesUp(t *testing.T) {
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	g.nodes[2].stop()
	// Two of three are left: the third is removed, and writing goes on.
	g.mustPut(0, "b", "2")
	if c := g.meta.config(g.gpid); slices.Contains(c.Secondaries, g.nodes[2].addr) {
		t.Fatalf("a write was acknowledged while a member was down: %+v", c)
	}
	for i := range 200 {
		g.mustPut(0, fmt.Sprintf("k%d", i), "x")
	}
	g.nodes[2].start()
	g.add(2)
	g.mustPut(0, "c", "3")
	g.same(0, 1, 2)
}

func TestLearnerFromCheckpoint(t *testing.T) {
	for name, separate := range map[string]int64{"values with their keys": 0, "values apart": 1000} {
		t.Run(name, func(t *testing.T) {
			learnFromCheckpoint(t, func(c *config.Config) { c.Storage.SeparateValues = separate })
		})
	}
}

func learnFromCheckpoint(t *testing.T, change func(*config.Config)) {
	g := newGroupWith(t, 2, change)
	// More than the log keeps: the third replica can't come from it.
	big := make([]byte, 64<<10)
	for i := range 100 {
		g.mustPut(0, fmt.Sprintf("k%d", i), string(big))
	}
	r := g.nodes[0].srv.replica(g.gpid)
	if err := r.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := wal.Wait(func(done func(error)) { r.dir.Log().Reset(g.gpid, r.view.Load().applied, done) }); err != nil {
		t.Fatal(err)
	}
	g.nodes = append(g.nodes, startNodeWith(t, g.meta, change))
	g.add(2)
	g.mustPut(0, "last", "1")
	g.same(0, 1, 2)
	if n := g.nodes[2].srv.replica(g.gpid).view.Load().info.Store; n != 2 {
		t.Errorf("the learner's store is number %d: it didn't come from a checkpoint", n)
	}
}

func TestRestartOfAll(t *testing.T) {
	g := newGroupWith(t, 3, patient)
	for i := range 300 {
		g.mustPut(0, fmt.Sprintf("k%d", i), fmt.Sprint(i))
	}
	for _, n := range g.nodes {
		n.stop()
	}
	for _, n := range g.nodes {
		n.start()
	}
	until(t, "the primary serves again", func() bool { return g.serving(0) })
	for i := range 300 {
		g.wantGet(0, fmt.Sprintf("k%d", i), fmt.Sprint(i))
	}
	g.mustPut(0, "after", "1")
	g.same(0, 1, 2)
}

func TestPromotion(t *testing.T) {
	g := newGroup(t, 3)
	for i := range 50 {
		g.mustPut(0, fmt.Sprintf("k%d", i), "x")
	}
	// The old primary stays a member: it must follow, and serve nothing meanwhile.
	g.meta.promote(g.gpid, g.nodes[1].srv.Addr(), g.nodes[0].srv.Addr(), g.nodes[2].srv.Addr())
	until(t, "the new primary serves", func() bool { return g.serving(1) })
	g.mustPut(1, "new", "1")
	if g.serving(0) {
		t.Error("the old primary still serves after the new one committed a write")
	}
	g.wantGet(1, "k7", "x")
	g.same(0, 1, 2)
	until(t, "the old primary is a secondary", func() bool { return g.view(0).Status == pacifica.Secondary })
}

func TestNoLeaseNoService(t *testing.T) {
	g := newGroupWith(t, 1, brief)
	g.meta.setMute(g.nodes[0].srv.Addr(), true)
	until(t, "the lease runs out", func() bool { return !g.nodes[0].srv.meta.Lease.Valid() })
	if err := g.put(0, "a", "1"); base.CodeOf(err) != base.ErrInvalidState {
		t.Errorf("put without a lease: %v", err)
	}
	arg := value.Blob(rowKey("a"))
	if err := g.call(0, base.RPCGet, &arg, new(idl.ReadResponse)); base.CodeOf(err) != base.ErrInvalidState {
		t.Errorf("get without a lease: %v", err)
	}
	g.meta.setMute(g.nodes[0].srv.Addr(), false)
	until(t, "the node serves again", func() bool { return g.serving(0) })
}

// A primary whose lease ran out, and that was replaced meanwhile, must not serve for a
// moment when the meta hears of it again.
func TestReplacedPrimaryDoesNotServeAgain(t *testing.T) {
	g := newGroupWith(t, 3, brief)
	g.mustPut(0, "k", "old")
	old, next, third := g.nodes[0].srv.Addr(), g.nodes[1].srv.Addr(), g.nodes[2].srv.Addr()
	g.meta.setMute(old, true)
	until(t, "the lease runs out", func() bool { return !g.nodes[0].srv.meta.Lease.Valid() })
	g.meta.mu.Lock()
	p := g.meta.parts[g.gpid]
	p.Ballot, p.Primary, p.Secondaries = p.Ballot+1, next, []base.RPCAddress{third}
	g.meta.mu.Unlock()
	g.meta.propose(g.gpid, metaadmin.CT_UPGRADE_TO_PRIMARY, next, next)
	until(t, "the new primary serves", func() bool { return g.serving(1) })
	g.mustPut(1, "k", "new")
	g.meta.setMute(old, false)
	arg := value.Blob(rowKey("k"))
	until(t, "the old primary is acknowledged again", func() bool {
		var res idl.ReadResponse
		if err := g.call(0, base.RPCGet, &arg, &res); err == nil {
			t.Fatalf("the replaced primary answered %q", res.Value)
		}
		return g.nodes[0].srv.meta.Lease.Valid()
	})
	if st := g.view(0).Status; st == pacifica.Primary {
		t.Error("the replaced primary still believes to be one")
	}
}

func TestGates(t *testing.T) {
	g := newGroup(t, 2)
	if err := g.put(0, "big", string(make([]byte, 2<<20))); base.CodeOf(err) != base.ErrInvalidData {
		t.Errorf("put of 2 MiB: %v", err)
	}
	stranger := g.gpid
	g.gpid = base.Gpid{AppID: 9, PartitionIndex: 1}
	if err := g.put(0, "a", "1"); base.CodeOf(err) != base.ErrObjectNotFound {
		t.Errorf("put to a partition that isn't here: %v", err)
	}
	g.gpid = stranger
	text := value.Text("nonsense")
	if err := g.call(0, "RPC_NO_SUCH", &text, nil); !errors.Is(err, base.ErrHandlerNotFound) {
		t.Errorf("unknown code: %v", err)
	}
	g.mustPut(0, "a", "1")
	g.wantGet(0, "a", "1")
}
