package meta

import (
	"context"
	"time"

	"pegasus/base"
	"pegasus/gen/metadata"
	"pegasus/gen/replicaadmin"
	"pegasus/meta/cure"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// copies is what the replica servers said of the replicas that they have, beside what stands with each
// node. All of it is as old as their last word; a new leader begins with nothing.
type copies struct {
	// known is the highest decree that a member of the partition said is committed.
	known map[base.Gpid]int64
	// gaveUp is the last member of a partition that said of itself that it can't be used;
	// accepted the one whose data an administrator wants to go on with all the same.
	gaveUp, accepted map[base.Gpid]memberAt
}

func newCopies() copies {
	return copies{known: map[base.Gpid]int64{}, gaveUp: map[base.Gpid]memberAt{}, accepted: map[base.Gpid]memberAt{}}
}

// claims is the answer of a server that was asked what it has.
type claims struct {
	at time.Duration // when the question was sent
	of map[base.Gpid]cure.Replica
}

// memberAt is a member of the configuration of a ballot.
type memberAt struct {
	node   base.RPCAddress
	ballot int64
}

func copyOf(r *metadata.ReplicaInfo) cure.Replica {
	return cure.Replica{Ballot: r.Ballot, Member: r.MemberBallot.V, Prepared: r.LastPreparedDecree, Committed: r.LastCommittedDecree,
		Logged: r.LastLoggedDecree.V, Damaged: r.Status == metadata.PS_ERROR, Learner: r.Status == metadata.PS_POTENTIAL_SECONDARY}
}

// heard notes what a member said of its replica.
func (c *copies) heard(g base.Gpid, cfg *state.Config, a base.RPCAddress, r cure.Replica) {
	if !cfg.Has(a) || r.Damaged || r.Learner {
		return
	}
	if r.Committed > c.known[g] {
		c.known[g] = r.Committed
	}
	if c.gaveUp[g].node == a {
		delete(c.gaveUp, g)
	}
}

// left notes that a member left with its replica, which may not have been told of yet.
func (n *node) left(g base.Gpid, old *state.Config) {
	if n.stored == nil {
		n.stored = map[base.Gpid]cure.Replica{}
	}
	if _, told := n.stored[g]; !told {
		n.stored[g] = cure.Replica{Ballot: old.Ballot, Committed: old.LastCommitted}
	}
}

// changed notes a new configuration; loss: what was known before counts no more.
func (c *copies) changed(g base.Gpid, now *state.Config, loss bool) {
	delete(c.gaveUp, g)
	delete(c.accepted, g)
	if loss {
		delete(c.known, g)
		c.accepted[g] = memberAt{now.Primary, now.Ballot}
	}
}

// viewCopies fills in what the planner wants to know of copies.
func (ps *partitions) viewCopies(v *cure.View) {
	v.Copy = func(a base.RPCAddress, g base.Gpid) (cure.Replica, bool) {
		r, ok := ps.nodes.of(a).stored[g]
		return r, ok
	}
	v.Claim = func(a base.RPCAddress, g base.Gpid) (cure.Replica, time.Duration, bool) {
		s := ps.nodes.of(a).claims
		if s == nil {
			return cure.Replica{Damaged: true}, 0, false
		}
		r, has := s.of[g]
		if !has {
			r.Damaged = true // it has none, so it has lost what it had
		}
		return r, s.at, true
	}
	v.Known = func(g base.Gpid) int64 { return ps.copies.known[g] }
	v.GaveUp = func(g base.Gpid) (base.RPCAddress, int64) {
		return ps.copies.gaveUp[g].node, ps.copies.gaveUp[g].ballot
	}
}

// askTime bounds what a server takes to answer; the planner waits less.
const askTime = time.Second

// askCopies asks servers what they have. The caller holds mu.
func (ps *partitions) askCopies(nodes []base.RPCAddress) {
	asked := false
	for _, a := range nodes {
		n := ps.nodes.at(a)
		if n.asking {
			continue
		}
		n.asking, asked = true, true
		at := ps.now()
		ps.wg.Go(func() {
			ctx, cancel := context.WithTimeout(ps.ctx, askTime)
			defer cancel()
			var res replicaadmin.QueryReplicaInfoResponse
			err := ps.s.pool.Call(ctx, a.String(), rpc.Outgoing{Code: base.RPCQueryReplicaInfo, Arg: &replicaadmin.QueryReplicaInfoRequest{Node1: a}, From: ps.s.self()}, &res)
			ps.locked(func(st *state.State) {
				n.asking = false
				if err != nil || res.Err != base.ErrOK {
					ps.log.Debugf("ask %v what it has: %v %v", a, err, res.Err)
					return
				}
				c := &claims{at, make(map[base.Gpid]cure.Replica, len(res.Replicas))}
				for i := range res.Replicas {
					rep := &res.Replicas[i]
					r := copyOf(rep)
					c.of[rep.Pid] = r
					if _, cfg, ok := st.Config(rep.Pid); ok {
						ps.copies.heard(rep.Pid, &cfg, a, r)
					}
				}
				n.claims = c
			})
			ps.kick()
		})
	}
	if asked {
		time.AfterFunc(ps.s.cureOpts.AskWait, ps.kick) // who hasn't answered by then isn't waited for
	}
}
