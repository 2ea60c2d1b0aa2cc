package cure

import (
	"math/rand/v2"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/meta/state"
)

// TestSpread creates tables on many nodes and checks that each table, and all together,
// lie evenly: no node has more than one primary or two replicas above another.
func TestSpread(t *testing.T) {
	for _, c := range []struct{ nodes, partitions, replicas int }{{3, 8, 3}, {5, 64, 3}, {7, 100, 2}, {50, 500, 3}, {4, 16, 1}} {
		w := newWorld(t)
		for i := range c.nodes {
			*w.node(addr(i + 1)) = Node{Addr: addr(i + 1), Alive: true, Reported: true}
		}
		for range 3 {
			w.create(c.partitions, c.replicas)
		}
		w.settle(2000)
		check := func(what string, load func(Addr) state.Load, slack int) {
			minP, maxP, minR, maxR := 1<<30, 0, 1<<30, 0
			for _, n := range w.nodes {
				l := load(n.Addr)
				minP, maxP = min(minP, l.Primaries), max(maxP, l.Primaries)
				minR, maxR = min(minR, l.Replicas), max(maxR, l.Replicas)
			}
			if maxP-minP > slack || maxR-minR > 2*slack {
				t.Errorf("%+v %s: primaries %d to %d, replicas %d to %d", c, what, minP, maxP, minR, maxR)
			}
		}
		for id := int32(1); id <= 3; id++ {
			check("one table", func(a Addr) state.Load { return w.st.TableLoad(id, a) }, 1)
		}
		check("all tables", w.st.Load, 2)
	}
}

// settle lets everything proposed happen until all partitions are in order.
func (w *world) settle(rounds int) {
	w.t.Helper()
	for range rounds {
		w.now += 200 * time.Millisecond
		if _, fine := w.round(); len(fine) == len(w.look) {
			return
		}
		for _, a := range w.last {
			w.obey(a)
		}
	}
	w.t.Fatalf("never settles:\n%s", w.show())
}

// TestRandom lets nodes die and come back, restarts primaries, proposes steps, and obeys
// only some of the proposals. world.round checks each action; in the end, with all nodes
// back, everything must become whole.
func TestRandom(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t)
		n := 3 + rnd.IntN(5)
		for i := range n {
			*w.node(addr(i + 1)) = Node{Addr: addr(i + 1), Alive: true, Reported: true}
		}
		ids := []int32{w.create(1+rnd.IntN(20), 1+rnd.IntN(3)), w.create(1+rnd.IntN(5), 3)}
		for range 300 {
			w.now += time.Duration(rnd.IntN(1500)) * time.Millisecond
			some := &w.nodes[rnd.IntN(n)]
			g := w.look[rnd.IntN(len(w.look))]
			switch rnd.IntN(20) {
			case 0, 1:
				some.Alive, some.Reported = false, false
			case 2, 3, 4:
				some.Alive = true
			case 5, 6:
				some.Reported = some.Alive
			case 7:
				_, cfg, _ := w.st.Config(g)
				w.p.Restarted(w.now, g, cfg.Ballot)
			case 8:
				w.p.Propose(g, []Step{{Type: configType(t, "ADD_SECONDARY_FOR_LB"), Node: some.Addr}, {Type: configType(t, "UPGRADE_TO_PRIMARY"), Node: some.Addr}})
			case 9:
				_, cfg, _ := w.st.Config(g)
				w.p.Propose(g, []Step{{Type: configType(t, "DOWNGRADE_TO_INACTIVE"), Node: cfg.Primary}})
			case 10:
				w.apply(&state.SetReplicas{ID: ids[0], Count: int32(1 + rnd.IntN(3))})
			}
			before := w.ballots()
			w.round()
			for _, a := range w.last {
				if rnd.IntN(3) > 0 {
					w.obey(a)
				}
			}
			for g, b := range w.ballots() {
				if b < before[g] {
					t.Fatalf("seed %d: ballot of %v fell from %d to %d", seed, g, before[g], b)
				}
			}
		}
		for i := range w.nodes {
			w.nodes[i].Alive, w.nodes[i].Reported = true, true
		}
		for _, g := range w.look { // restarted primaries confirm their role
			if _, cfg, _ := w.st.Config(g); cfg.Members() > 0 {
				cfg.Ballot++
				w.apply(&state.ChangeConfigs{Changes: []state.Change{{Gpid: g, Config: cfg}}})
			}
		}
		w.settle(500)
		for _, g := range w.look {
			tb, cfg, _ := w.st.Config(g)
			if cfg.Members() != int(tb.MaxReplicas) {
				t.Fatalf("seed %d: %v has %s", seed, g, show(&cfg))
			}
		}
	}
}

func (w *world) ballots() map[base.Gpid]int64 {
	m := map[base.Gpid]int64{}
	for _, g := range w.look {
		_, cfg, _ := w.st.Config(g)
		m[g] = cfg.Ballot
	}
	return m
}

// BenchmarkRound looks at 100,000 partitions of which nothing can be cured.
func BenchmarkRound(b *testing.B) {
	w := newWorld(b)
	for i := range 1000 {
		*w.node(addr(i + 1)) = Node{Addr: addr(i + 1), Alive: true, Reported: true}
	}
	for range 10 {
		w.create(10000, 1)
	}
	var ch []state.Change
	for i, g := range w.look {
		ch = append(ch, state.Change{Gpid: g, Config: state.Config{Ballot: 1, Primary: addr(i%1000 + 1)}})
	}
	w.apply(&state.ChangeConfigs{Changes: ch})
	for i := range w.nodes {
		w.nodes[i].Alive = false
	}
	for b.Loop() {
		if acts, fine := w.p.Round(w.view(), w.look); len(acts)+len(fine) != 0 {
			b.Fatal("something was done")
		}
	}
}
