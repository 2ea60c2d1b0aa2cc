package meta

import (
	"fmt"
	"slices"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/gen/fd"
	"pegasus/gen/metadata"
	"pegasus/meta/state"
	"pegasus/meta/wire"
)

// A replica server whose data is of another cluster is refused: its replicas can have the ids of
// ours. It is told of no role, and nothing that it says of what it has is used. The rule for
// one without an identity is in package replica (identity.go): it is told the cluster's, and
// takes it if it can.

// maxRefused is how many refused servers are remembered.
const maxRefused = 1000

// allowed tells whether a replica server may join: by the white list, if there is one.
func (s *Server) allowed(a base.RPCAddress, host base.HostPort) bool {
	list := s.cfg.Meta.WhiteList
	return len(list) == 0 || slices.Contains(list, a.String()) || !host.IsZero() && slices.Contains(list, host.String())
}

// foreign says why who calls itself a member of the cluster theirs is none of the cluster
// ours; "" if it is one.
func foreign(ours, theirs string) string {
	switch {
	case ours == theirs:
		return ""
	case theirs == "":
		return fmt.Sprintf("it doesn't say which cluster it belongs to, and this one has the id %s: it may be of an older program, or have data of another cluster; its own log says more", ours)
	case ours == "":
		return fmt.Sprintf("its data belongs to the cluster with the id %s, and the meta servers have none: either they are those of another cluster, or they lost their state, or have it from a backup of before `pegasus meta upgrade-version`; in the latter cases run that and `pegasus recover`", theirs)
	}
	return fmt.Sprintf("its data belongs to the cluster with the id %s, and this one has the id %s: correct its cluster.meta_servers; if it is these meta servers that lost their state, run `pegasus recover`", theirs, ours)
}

// whyRefused says why a replica server that sent a beacon may not serve here; "" if it may.
func (ns *nodes) whyRefused(from base.RPCAddress, b *fd.BeaconMsg) string {
	if !ns.s.allowed(from, b.HpFromNode.V) {
		return "it isn't in meta.white_list"
	}
	can := version.Version(b.Version.V).OrFirst()
	have, id := ns.s.fsm.cluster()
	if can < have {
		return fmt.Sprintf("it understands cluster versions up to %d, and the cluster has %d: start it with the program that the other servers run", can, have)
	}
	return foreign(id, b.ClusterId.V)
}

// refused is why a node was refused. The first time that one asks for the identity of the
// cluster isn't told: it has none before.
type refused struct {
	why  string
	told bool
	// lists: it said what it stores. It may be a server of before these metas lost their state.
	lists bool
}

// refuse remembers and tells that a replica server was refused, and why. asks: it may have
// asked for the identity of the cluster only.
func (ns *nodes) refuse(a base.RPCAddress, why string, asks bool) {
	if !wire.IsServer(a) {
		return
	}
	ns.mu.Lock()
	was := refused{}
	known := ns.of(a).refused != nil
	if known {
		was = *ns.of(a).refused
	}
	now := refused{why, known && was.why == why || !asks, was.lists}
	if known || ns.countRefused() < maxRefused {
		ns.at(a).refused = &now
	}
	ns.mu.Unlock()
	if now.told && (was.why != why || !was.told) {
		ns.log.Errorf("replica server %v is refused: %s. Nothing of it is used or removed", a, why)
	}
}

// noteForeign remembers which tables a refused server has replicas of, for their ids aren't used
// again: see noteUnknownTables.
func (ns *nodes) noteForeign(a base.RPCAddress, list []metadata.ReplicaInfo) (news bool) {
	ns.locked(func(st *state.State) {
		if is := ns.of(a).refused; is != nil {
			is.lists = true
			news = ns.noteUnknownTables(st, a, list)
		}
	})
	return news
}

// welcome takes note of what a replica server that isn't refused understands.
func (ns *nodes) welcome(a base.RPCAddress, can version.Version) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n := ns.at(a)
	n.speaks, n.refused = can, nil
}

func (ns *nodes) countRefused() (count int) {
	for _, n := range ns.byAddr {
		if n.refused != nil {
			count++
		}
	}
	return count
}
