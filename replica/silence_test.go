package replica

import (
	"fmt"
	"slices"
	"testing"

	"pegasus/base/config"
)

// stuckLearner has two members, and a third node that copies from the first, which takes for ever.
func stuckLearner(t *testing.T) *group {
	t.Helper()
	first := true
	g := newGroupWith(t, 2, func(c *config.Config) {
		brief(c)
		if first {
			c.Replica.LearnRate, c.Replica.LearnMinRate = 1, 1
			first = false
		}
	})
	for i := range 20 {
		g.mustPut(0, fmt.Sprintf("k%d", i), string(noise(32<<10, uint64(i))))
	}
	g.emptyLog()
	g.nodes = append(g.nodes, startNode(t, g.meta))
	g.insist("the copy is under way", func() bool {
		r := g.nodes[2].srv.replica(g.gpid)
		if r == nil {
			return false
		}
		l := g.nodes[2].srv.copies.Learning()
		return len(l) == 1 && l[0].Seconds > 0 && l[0].State != "waiting"
	}, func() { g.proposeAdd(2) })
	return g
}

// TestLearnerOfDeadPrimary: the primary dies while a learner copies from it, without its
// connections ending. The member that is left becomes the primary, and the learner turns to it:
// two of three servers are enough for writes, as soon as the meta has promoted one.
func TestLearnerOfDeadPrimary(t *testing.T) {
	g := stuckLearner(t)
	g.meta.setMute(g.nodes[0].srv.Addr(), true)
	second, third := g.nodes[1].srv.Addr(), g.nodes[2].srv.Addr()
	until(t, "the first node's lease runs out", func() bool { return !g.nodes[0].srv.meta.Lease.Valid() })
	g.meta.promote(g.gpid, second)
	g.insist("the learner is a member of the second node's group", func() bool {
		return slices.Contains(g.meta.config(g.gpid).Secondaries, third)
	}, func() { g.proposeAdd(2) })
	g.mustPut(1, "last", "1")
	g.same(1, 2)
}

// TestCopyEndsWithItsReplica: a replica that is closed doesn't go on copying.
func TestCopyEndsWithItsReplica(t *testing.T) {
	g := stuckLearner(t)
	s := g.nodes[2].srv
	r := s.replica(g.gpid)
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	delete(s.replicas, g.gpid)
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.learner.Drop() // which waits for who copies
	}()
	until(t, "the copy has ended", func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
}
