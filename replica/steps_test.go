package replica

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
	"pegasus/pacifica"
)

// hook installs hooks on all nodes until the test ends.
func (g *group) hook(h *roundHooks) {
	for _, n := range g.nodes {
		n.srv.hooks.Store(h)
	}
}

func (g *group) valueOf(i int, k string) (string, error) {
	var res idl.ReadResponse
	arg := value.Blob(rowKey(k))
	err := g.call(i, base.RPCGet, &arg, &res)
	if err == nil && res.Error != 0 {
		err = fmt.Errorf("get %s: storage code %d", k, res.Error)
	}
	return string(res.Value), err
}

// out flushes what the round that r is in has to send: other partitions may do it at any time.
func out(r *replica) {
	if r.driver.worker != nil {
		r.driver.worker.burst.Flush()
	}
}

// TestDriverOrder is what must hold at each step of each round, while roles move under load:
// nothing is shown too late nor too early.
func TestDriverOrder(t *testing.T) {
	g := newGroupWith(t, 3, patient)
	var mu sync.Mutex
	wrong := map[string]int{}
	var seen [steps]atomic.Int64
	g.hook(&roundHooks{at: func(r *replica, s step) {
		seen[s].Add(1)
		v := r.view.Load()
		complain := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			wrong[fmt.Sprintf("%s at step %v", what, s)]++
		}
		if v.Ballot > r.driver.info.Ballot {
			complain("a ballot is shown that isn't durable")
		}
		if v.Serving && v.Ballot == r.driver.core.Ballot() && r.driver.core.Status() == pacifica.Primary && r.driver.applied < r.driver.core.ServesAfter() {
			complain("it serves without what it inherited")
		}
		if s == stepSent && (v.Ballot != r.driver.core.Ballot() || v.Status != r.driver.core.Status() || v.Serving && !r.driver.core.Serving()) {
			complain("messages left before it shows what it is")
		}
		if s == stepSent && r.last.Load() < r.driver.core.Last() {
			complain("it acknowledges more than it shows")
		}
	}})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_ = g.put(i%3, fmt.Sprintf("k%d", i%50), fmt.Sprint(i))
		}
	}()
	at := func(i int) base.RPCAddress { return g.nodes[i%3].srv.Addr() }
	for i := 1; i < 12; i++ {
		g.meta.promote(g.gpid, at(i), at(i+1), at(i+2))
		until(t, "the new primary serves", func() bool { return g.serving(i % 3) })
		g.mustPut(i%3, "mine", fmt.Sprint(i))
	}
	close(stop)
	<-done
	g.hook(nil)
	for w, n := range wrong {
		t.Errorf("%s, %d times", w, n)
	}
	for s := range steps {
		if seen[s].Load() == 0 {
			t.Errorf("step %v was never reached", s)
		}
	}
}

// TestHeldOldPrimary holds a primary that is being replaced at each step of the round in which
// it hears of that, with all its messages out. Once the new primary answers with a write that
// the old one hasn't applied, the old one answers no read and acknowledges no write.
func TestHeldOldPrimary(t *testing.T) {
	for s := range steps {
		t.Run(fmt.Sprint(s), func(t *testing.T) { heldOldPrimary(t, s) })
	}
}

func heldOldPrimary(t *testing.T, where step) {
	g := newGroupWith(t, 3, patient)
	g.mustPut(0, "k", "v0")
	n0, n1, n2 := g.nodes[0].srv.Addr(), g.nodes[1].srv.Addr(), g.nodes[2].srv.Addr()
	r0 := g.nodes[0].srv.replica(g.gpid)
	ballot := g.view(0).Ballot
	var promoted atomic.Bool
	var once sync.Once
	held, release := make(chan struct{}), make(chan struct{})
	g.hook(&roundHooks{
		// A write is prepared everywhere, and its primary doesn't hear of that.
		lose: func(r *replica, m pacifica.Message) bool {
			return r == r0 && m.Type == pacifica.MsgAck && m.Ballot == ballot
		},
		at: func(r *replica, s step) {
			if r != r0 || s != where || !promoted.Load() || s != stepTaken && r.driver.core.Ballot() == ballot {
				return
			}
			if s == stepTaken && !heardOf(r, ballot) {
				return
			}
			once.Do(func() {
				out(r)
				close(held)
				<-release
			})
		},
	})
	written := make(chan error, 1)
	go func() { written <- g.put(0, "k", "v1") }()
	until(t, "prepared everywhere", func() bool {
		return g.view(0).Last >= 2 && g.view(1).Last == g.view(0).Last && g.view(2).Last == g.view(0).Last
	})
	promoted.Store(true)
	g.meta.promote(g.gpid, n1, n0, n2)
	reached := false
	look := time.NewTimer(time.Second)
	defer look.Stop()
	select {
	case <-held:
		reached = true
	case <-look.C: // not every round has every step
	}
	// The hold ends when the new primary has committed, or can't because of it.
	if reached {
		briefly(func() bool {
			if v, err := g.valueOf(1, "k"); err != nil || v != "v1" {
				return false
			}
			if v, err := g.valueOf(0, "k"); err == nil && v != "v1" {
				t.Errorf("the new primary answered v1, then the old one, held at step %v, %q", where, v)
			}
			return true
		})
	}
	close(release)
	until(t, "the new primary serves", func() bool { return g.serving(1) })
	g.wantGet(1, "k", "v1")
	if err := g.put(0, "k", "v2"); err == nil {
		t.Error("the old primary acknowledged a write")
	}
	// The write is told to be repeated or acknowledged, by what the old primary knew.
	<-written
	g.hook(nil)
}

// briefly waits for what need not come.
func briefly(ok func() bool) {
	deadline := time.Now().Add(300 * time.Millisecond)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() && time.Now().Before(deadline) {
		<-tick.C
	}
}

// heardOf tells whether the round that begins brings another ballot.
func heardOf(r *replica, ballot int64) bool {
	for i := range r.driver.taken.messages {
		if r.driver.taken.messages[i].Ballot > ballot {
			return true
		}
	}
	return false
}

// TestHeldNewPrimary holds a primary-to-be at each step, which inherits a write that was
// acknowledged and that it hasn't applied: whatever it answers has that write.
func TestHeldNewPrimary(t *testing.T) {
	for _, alone := range []bool{false, true} {
		for s := range steps {
			t.Run(fmt.Sprintf("%v,%d", alone, s), func(t *testing.T) { heldNewPrimary(t, s, alone) })
		}
	}
}

func heldNewPrimary(t *testing.T, where step, alone bool) {
	g := newGroupWith(t, 3, patient)
	g.mustPut(0, "k", "v0")
	until(t, "all applied", func() bool { return g.view(1).applied == g.view(0).applied && g.view(2).applied == g.view(0).applied })
	n0, n1, n2 := g.nodes[0].srv.Addr(), g.nodes[1].srv.Addr(), g.nodes[2].srv.Addr()
	r0, r1 := g.nodes[0].srv.replica(g.gpid), g.nodes[1].srv.replica(g.gpid)
	ballot, last := g.view(0).Ballot, g.view(0).Last
	var promoted atomic.Bool
	g.hook(&roundHooks{
		// What tells that the write is committed doesn't arrive.
		lose: func(r *replica, m pacifica.Message) bool {
			return r != r0 && m.Type == pacifica.MsgPrepare && m.Ballot == ballot && m.Commit > last
		},
		at: func(r *replica, s step) {
			if r != r1 || !promoted.Load() {
				return
			}
			if s == stepConcluded && r.driver.core.Ballot() == ballot {
				// The configuration, and the question whether it is taken, come to one round.
				briefly(func() bool {
					r.inbox.mu.Lock()
					defer r.inbox.mu.Unlock()
					return len(r.inbox.calls) > 1
				})
			}
			if s != where || r.driver.core.Ballot() == ballot || r.driver.applied > last {
				return
			}
			out(r)
			if v, err := g.valueOf(1, "k"); err == nil && v != "v1" {
				t.Errorf("held at step %v, the new primary answered %q after v1 was acknowledged", s, v)
			}
		},
	})
	g.mustPut(0, "k", "v1")
	promoted.Store(true)
	if alone {
		g.nodes[0].srv.meta.Lease.End()
		g.meta.promote(g.gpid, n1)
	} else {
		g.meta.promote(g.gpid, n1, n0, n2)
	}
	until(t, "the new primary serves", func() bool { return g.serving(1) })
	g.wantGet(1, "k", "v1")
	g.hook(nil)
}

// String is for the names of tests.
func (s step) String() string {
	return [...]string{"taken", "called", "stepped", "proposed", "ballot", "withdrawn", "appended", "sent", "applied", "asked", "concluded"}[s]
}
