package detector

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pegasus/base"
)

const (
	lease    = 8 * time.Second
	grace    = 9 * time.Second
	interval = time.Second
)

func newDetector() *Detector { return New(Options{Grace: grace, Suspect: 2 * interval}) }

func at(d *Detector, now time.Duration, a Addr, start int64) (Event, bool) {
	return d.Beacon(now, Beacon{From: a, StartTime: start})
}

func TestLifeAndDeath(t *testing.T) {
	d := newDetector()
	d.Expect(0, 7)
	if ev, ok := at(d, time.Second, 5, 100); ev != Joined || !ok {
		t.Fatalf("first beacon: %v %v", ev, ok)
	}
	if ev, ok := at(d, 2*time.Second, 5, 100); ev != 0 || !ok {
		t.Fatalf("second beacon: %v %v", ev, ok)
	}
	if died, suspects := d.Tick(2*time.Second + 2*interval); died != nil || !slices.Equal(suspects, []Addr{7}) {
		t.Fatalf("at 4 s: died %v, suspects %v", died, suspects)
	}
	if died, suspects := d.Tick(grace); died != nil || len(suspects) != 2 {
		t.Fatalf("at the grace: died %v, suspects %v", died, suspects)
	}
	if died, _ := d.Tick(grace + 1); !slices.Equal(died, []Addr{7}) {
		t.Fatalf("expected node: died %v", died)
	}
	if died, _ := d.Tick(2*time.Second + grace + 1); !slices.Equal(died, []Addr{5}) || d.AliveCount() != 0 {
		t.Fatalf("silent node: died %v", died)
	}
	if died, suspects := d.Tick(time.Hour); died != nil || suspects != nil {
		t.Fatalf("dead nodes are told again: %v %v", died, suspects)
	}
	if ev, ok := at(d, time.Hour, 5, 100); ev != Revived || !ok || !d.Alive(5) {
		t.Fatalf("beacon of a dead node: %v %v", ev, ok)
	}
	if ev, _ := at(d, time.Hour, 5, 200); ev != Restarted {
		t.Fatalf("beacon of another process: %v", ev)
	}
	if ev, _ := at(d, time.Hour, 5, 0); ev != 0 {
		t.Fatalf("beacon without start time: %v", ev)
	}
	d.Tick(2 * time.Hour)
	if ev, _ := at(d, 2*time.Hour, 5, 300); ev != Revived|Restarted {
		t.Fatalf("dead and another process: %v", ev)
	}
}

func TestExpectDoesntRevive(t *testing.T) {
	d := newDetector()
	at(d, 0, 1, 1)
	d.Tick(grace + 1)
	d.Expect(grace+2, 1)
	if d.Alive(1) {
		t.Fatal("a node that is known dead became alive by being expected")
	}
}

func TestHold(t *testing.T) {
	d := newDetector()
	at(d, 0, 1, 1)
	if d.Hold(1) {
		t.Fatal("a living node was held")
	}
	if d.Hold(2) {
		t.Fatal("an unknown node was held")
	}
	d.Tick(grace + 1)
	for range 2 {
		if !d.Hold(1) {
			t.Fatal("a dead node wasn't held")
		}
	}
	d.Release(1)
	if _, ok := at(d, 10*time.Second, 1, 2); ok || d.Alive(1) {
		t.Fatal("a held node's beacon was accepted")
	}
	d.Release(1)
	if ev, ok := at(d, 11*time.Second, 1, 2); !ok || ev != Revived|Restarted {
		t.Fatalf("a released node's beacon: %v %v", ev, ok)
	}
}

func TestProof(t *testing.T) {
	d := newDetector()
	at(d, 5*time.Second, 1, 1)
	if d.Died(4*time.Second, 1) || d.Died(5*time.Second, 1) || !d.Alive(1) {
		t.Fatal("a proof older than the last beacon killed a node")
	}
	if !d.Died(5*time.Second+1, 1) || d.Alive(1) {
		t.Fatal("a proof was ignored")
	}
	if d.Died(6*time.Second, 1) || d.Died(6*time.Second, 2) {
		t.Fatal("a dead or an unknown node died")
	}
}

func TestHost(t *testing.T) {
	d := newDetector()
	h := base.MakeHostPort("r1", 34801)
	d.Beacon(0, Beacon{From: 1, Host: h})
	d.Beacon(1, Beacon{From: 1})
	if n, ok := d.Node(1); !ok || n.Host != h {
		t.Fatalf("node: %+v %v", n, ok)
	}
	if _, ok := d.Node(2); ok {
		t.Fatal("unknown node is known")
	}
	if all := d.Nodes(); len(all) != 1 || all[0].Addr != 1 {
		t.Fatalf("nodes: %+v", all)
	}
}

// TestPerfect runs replica servers, a lossy and slow network, pauses and changes of the
// leading meta, and checks that no meta ever calls a node dead whose lease still runs.
func TestPerfect(t *testing.T) {
	deaths := 0
	for seed := range uint64(60) {
		deaths += simulate(t, rand.New(rand.NewPCG(seed, 1)), seed)
	}
	if deaths < 100 {
		t.Fatalf("only %d deaths in all runs: the simulation shows nothing", deaths)
	}
}

type simNode struct {
	leaseEnd    time.Duration
	pausedUntil time.Duration
	cutUntil    time.Duration
	next        time.Duration
}

type simMsg struct {
	at, sent time.Duration
	node     Addr
	ack      bool
}

func simulate(t *testing.T, rnd *rand.Rand, seed uint64) (deaths int) {
	d := newDetector()
	nodes := map[Addr]*simNode{}
	for a := Addr(1); a <= 4; a++ {
		nodes[a] = &simNode{}
		d.Expect(0, a)
	}
	var net []simMsg
	delay := func() time.Duration {
		if rnd.IntN(10) == 0 {
			return time.Duration(rnd.Int64N(int64(5 * time.Second)))
		}
		return time.Duration(rnd.Int64N(int64(50 * time.Millisecond)))
	}
	const step = 50 * time.Millisecond
	for now := time.Duration(0); now < 3*time.Minute; now += step {
		if rnd.IntN(1200) == 0 { // another leader: knows nothing, grants everybody a grace
			d = newDetector()
			for a := range nodes {
				d.Expect(now, a)
			}
		}
		for a := Addr(1); a <= 4; a++ {
			n := nodes[a]
			switch rnd.IntN(2000) {
			case 0:
				n.pausedUntil = now + time.Duration(rnd.Int64N(int64(20*time.Second)))
			case 1:
				n.cutUntil = now + time.Duration(rnd.Int64N(int64(20*time.Second)))
			}
			if now < n.pausedUntil || now < n.next {
				continue
			}
			n.next = now + interval
			if now >= n.cutUntil && rnd.IntN(20) != 0 {
				net = append(net, simMsg{at: now + delay(), sent: now, node: a})
			}
		}
		var rest []simMsg
		for _, m := range net {
			n := nodes[m.node]
			switch {
			case now < m.at:
				rest = append(rest, m)
			case !m.ack:
				if _, ok := d.Beacon(now, Beacon{From: m.node, StartTime: 1}); ok && rnd.IntN(20) != 0 {
					rest = append(rest, simMsg{at: now + delay(), sent: m.sent, node: m.node, ack: true})
				}
			case now < n.pausedUntil:
				rest = append(rest, m)
			default:
				n.leaseEnd = max(n.leaseEnd, m.sent+lease)
			}
		}
		net = rest
		died, _ := d.Tick(now)
		for _, a := range died {
			deaths++
			if nodes[a].leaseEnd > now {
				t.Fatalf("seed %d: node %v died at %v, its lease runs until %v", seed, uint64(a), now, nodes[a].leaseEnd)
			}
			// An acknowledgement that is still under way must not bring the lease back.
			for _, m := range net {
				if m.ack && m.node == a && m.sent+lease > now {
					t.Fatalf("seed %d: %s", seed, fmt.Sprintf("ack of %v under way when node %v died at %v", m.sent, uint64(a), now))
				}
			}
		}
	}
	return deaths
}
