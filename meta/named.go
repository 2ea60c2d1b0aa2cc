package meta

import (
	"fmt"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/gen/fd"
	"pegasus/meta/state"
)

// A replica server that is known by a name is the same server when its name leads to another address: a
// pod that was started elsewhere with its volume, a machine with another lease. It says its name and the id of its data in each beacon.
// The State has where it was last, and where it is only counts once nobody holds a lease under the old address:
// until then it is told to wait. Then one entry of the log puts the new address in the place of the old one
// (state.PlaceServer), and its partitions go on with it.
//
// What else may be at an address or call itself by a name is told apart by the id: a server with other
// data isn't the one that the name belongs to as long as that one is a member somewhere.

// claim is a server that calls itself by the name of one that is elsewhere.
type claim struct {
	from        base.RPCAddress
	since, last time.Duration // when it said so first and last
}

// moves are the named servers that are on the way from one address to another. The term's mu guards them.
type moves struct {
	claims map[string]claim
	under  map[string]bool          // an entry about that name is being committed
	gone   map[base.RPCAddress]bool // nobody is there any more, and it isn't forgotten yet
}

func newMoves() moves {
	return moves{map[string]claim{}, map[string]bool{}, map[base.RPCAddress]bool{}}
}

// place tells whether who sent a beacon is where the State has it. If not it is told why it is refused, or
// that it has to wait (why is ""): what can be done about it is begun.
func (sv *servers) place(from base.RPCAddress, b *fd.BeaconMsg) (ok bool, why string) {
	name, id := b.HpFromNode.V.Name(), b.ServerId.V
	sv.locked(func(st *state.State) {
		if id == "" || !st.Version().Allows(version.NamedServers) || st.Restored() {
			ok = true
			return
		}
		var move *state.PlaceServer
		if move, ok, why = sv.whereabouts(st, from, name, id); move != nil {
			sv.begin(st, move)
		}
	})
	return ok, why
}

// placed tells whether a named server may be told of roles at an address: the State has it there, or doesn't know
// it. The caller holds mu.
func (sv *servers) placed(a base.RPCAddress, host base.HostPort) (ok bool) {
	name := host.Name()
	sv.s.fsm.read(func(st *state.State) {
		is, known := st.Named(name)
		ok = !sv.moves.under[name] && (!known || is.Addr == a) || !st.Version().Allows(version.NamedServers) || st.Restored()
	})
	return ok
}

// whereabouts is what place does, and the entry that is to be committed first. The caller holds mu, and the State.
func (sv *servers) whereabouts(st *state.State, from base.RPCAddress, name, id string) (move *state.PlaceServer, ok bool, why string) {
	is, known := st.Named(name)
	if sv.moves.under[name] {
		return nil, false, ""
	}
	if known && is.Addr == from && is.ID == id {
		return nil, true, ""
	}
	at, taken := st.NamedAt(from)
	if name == "" {
		if taken && at.ID != id {
			return nil, false, fmt.Sprintf("its address is that of the server %s, and its data another's: give it an address of its own, or a name (replica.advertise)", at.Name)
		}
		return nil, true, ""
	}
	if known && is.Addr != from {
		if n, heard := sv.nodes.det.Node(is.Addr); heard && n.Alive {
			return nil, false, sv.waits(name, from, n.LastHeard, fmt.Sprintf("two replica servers are called %s (replica.advertise), and the one at %v lives: give each a name of its own, or stop one", name, is.Addr))
		}
		if has := len(st.PartitionsOf(is.Addr)); is.ID != id && has > 0 {
			return nil, false, fmt.Sprintf("it is called %s (replica.advertise) and has other data than the server of that name that was at %v, and is a member of %d partitions: give it another name; if the other one is gone for good, wait until others have its place, or give up what only it has (`pegasus recover --accept-loss`)", name, is.Addr, has)
		}
		if !taken && (st.Load(from).Replicas > 0 || st.Role(from) != state.RoleFull) {
			return nil, false, fmt.Sprintf("it moved to %v, and that is the address of another server, which has no name: give one of them another address", from)
		}
	}
	if taken && at.Name != name && (known || at.ID != id) {
		// Who was here before has left, or it couldn't have the address; its lease ends by itself.
		if n, heard := sv.nodes.det.Node(from); heard && n.Alive {
			return nil, false, sv.waits(name, from, n.LastHeard, fmt.Sprintf("its address is that of the server %s, which lives: give one of them another address", at.Name))
		}
	}
	return &state.PlaceServer{Name: name, ID: id, Addr: from, Was: is.Addr}, false, ""
}

// waits is why a server is refused that claims what another one has: "" as long as that one may just be gone. heard is when
// that one was heard last. The caller holds mu.
func (sv *servers) waits(name string, from base.RPCAddress, heard time.Duration, why string) string {
	c, now, beat := sv.moves.claims[name], sv.now(), sv.s.cfg.FD.BeaconInterval.D()
	if c.from != from || now > c.last+10*beat {
		c = claim{from: from, since: now}
		sv.log.Infof("replica server %s is at %v now: it is the same one once the lease that it had elsewhere has ended", name, from)
	}
	c.last = now
	sv.moves.claims[name] = c
	if heard > c.since+2*beat { // a beacon may have been under way
		return why
	}
	return ""
}

// before is a configuration that a move changes.
type before struct {
	gpid base.Gpid
	cfg  state.Config
}

// begin commits an entry about a named server. Who was at the addresses that change hands is dead, and held until it is known
// whether that came to be. The caller holds mu, and the State.
func (sv *servers) begin(st *state.State, move *state.PlaceServer) {
	sv.moves.under[move.Name] = true
	var left []base.RPCAddress // addresses that nobody has afterwards, or another one
	if move.Was != 0 && move.Was != move.Addr {
		left = append(left, move.Was)
	}
	if at, taken := st.NamedAt(move.Addr); taken && at.Name != move.Name && (move.Was != 0 || at.ID != move.ID) {
		left = append(left, move.Addr)
	}
	held := slices.DeleteFunc(slices.Clone(left), func(a base.RPCAddress) bool { return !sv.nodes.det.Hold(a) })
	var old []before
	for _, a := range left {
		for _, g := range st.PartitionsOf(a) {
			if _, cfg, ok := st.Config(g); ok && !slices.ContainsFunc(old, func(b before) bool { return b.gpid == g }) {
				old = append(old, before{g, cfg})
			}
		}
	}
	sv.wg.Go(func() { sv.carryOut(move, left, held, old) })
}

func (sv *servers) carryOut(move *state.PlaceServer, left, held []base.RPCAddress, old []before) {
	res, err := sv.s.quorum.apply(move)
	if err == nil && res.Err != base.ErrOK {
		err = res.Err
	}
	sv.mu.Lock()
	if !undecided(err) {
		for _, a := range held {
			sv.nodes.det.Release(a)
		}
		delete(sv.moves.under, move.Name)
	}
	if err == nil {
		sv.resettle(move, left)
	}
	sv.mu.Unlock()
	if err != nil {
		sv.log.Warnf("replica server %s at %v: %v", move.Name, move.Addr, err)
		return
	}
	for _, b := range old {
		var cfg state.Config
		var ok bool
		sv.s.fsm.read(func(st *state.State) { _, cfg, ok = st.Config(b.gpid) })
		if ok && cfg.Ballot > b.cfg.Ballot {
			sv.parts.changed(b.gpid, &b.cfg, &cfg, 0, false, fmt.Sprintf("%s is at another address", move.Name))
			sv.parts.push(b.gpid, &cfg)
		}
	}
	sv.kick()
}

// resettle forgets who was at the addresses that a move has freed. The caller holds mu.
func (sv *servers) resettle(move *state.PlaceServer, left []base.RPCAddress) {
	ns := sv.nodes
	for _, a := range left {
		sv.moves.gone[a] = true
		delete(ns.byAddr, a)
		sv.parts.plan.Gone(a)
		for d := range sv.parts.deposed {
			if d.node == a {
				delete(sv.parts.deposed, d)
			}
		}
	}
	sv.forgetGone()
	delete(sv.moves.claims, move.Name)
	if move.Was != 0 && move.Was != move.Addr {
		sv.log.Infof("replica server %s moved from %v to %v", move.Name, move.Was, move.Addr)
		ns.det.Expect(sv.now(), move.Addr) // it has just said that it is there
	} else {
		sv.log.Infof("replica server %v is known by its name %s", move.Addr, move.Name)
	}
	sv.s.fsm.read(func(st *state.State) {
		for _, a := range st.Members() {
			if state.Parked(a) {
				now := sv.now()
				ns.det.Expect(now, a)
				ns.det.Died(now+1, a)
			}
		}
	})
	ns.publish()
	sv.bal.replan()
}

// forgetGone forgets the nodes whose addresses were left, once nothing holds them. The caller holds mu.
func (sv *servers) forgetGone() {
	for a := range sv.moves.gone {
		n, known := sv.nodes.det.Node(a)
		if !known || n.Alive || sv.nodes.det.Forget(a) {
			delete(sv.moves.gone, a)
			sv.nodes.publish()
		}
	}
}
