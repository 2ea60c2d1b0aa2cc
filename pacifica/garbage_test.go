package pacifica

import (
	"math/rand/v2"
	"testing"
)

// FuzzStep feeds cores in each role with messages and events that make no sense together.
// Nothing must panic (the invariants are checked under their build tag) and what is committed
// must stay.
func FuzzStep(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		a, b, c := group(t)
		a.propose("x", "y", "z")
		settle(a, b, c)
		tick(2, a, b, c)
		d := newNode(t, 4)
		if err := a.AddLearner(4); err != nil {
			t.Fatal(err)
		}
		settle(a, b, c, d)
		for range 200 {
			n := []*node{a, b, c, d}[rng.IntN(4)]
			before := n.Committed()
			garble(rng, n)
			n.work(rng.IntN(3) > 0)
			n.out, n.changes = nil, nil
			if n.Committed() < before && n.fetch == nil {
				t.Fatalf("committed %d, then %d", before, n.Committed())
			}
		}
	})
}

// garble does something to n.
func garble(rng *rand.Rand, n *node) {
	small := func() int64 { return rng.Int64N(9) - 1 }
	node := func() NodeID { return NodeID(rng.IntN(6)) }
	switch rng.IntN(12) {
	case 0:
		n.Configure(Config{Ballot: small(), Primary: node(), Secondaries: []NodeID{node(), node()}})
	case 1:
		n.Tick()
	case 2:
		n.Refused()
	case 3:
		n.Persisted(small(), small())
	case 4:
		if err := n.AddLearner(node()); err != nil && n.Status() == Primary {
			n.t.Error(err)
		}
	case 5:
		n.Unreachable(node())
		n.Retire()
	default:
		m := Message{Type: MsgType(rng.IntN(4)), From: node(), To: n.Core.opt.Self, Ballot: small(), Role: Status(rng.IntN(4)), Signature: small(),
			Base: small(), Prev: small(), Commit: small(), Last: small(), Prepared: small(), Gap: rng.IntN(2) == 0, Reject: rng.IntN(5) == 0,
			Busy: rng.IntN(5) == 0}
		for range rng.IntN(4) {
			m.Entries = append(m.Entries, Entry{Ballot: max(small(), m.Ballot*int64(rng.IntN(2))), Decree: small(), Timestamp: small()})
		}
		n.Step(m)
	}
}
