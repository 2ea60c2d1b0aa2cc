package meta

import (
	"pegasus/base"
	"pegasus/gen/metadata"
	"pegasus/meta/state"
)

// deposed is a former primary that lives and hasn't said yet that it knows of its successor.
// As long as it is a member it does no harm: the successor commits nothing without it, and so
// it learns of the new ballot. Taken out of the group it could answer reads under its lease
// that are no longer true. So it stays until it has said so, or is dead.
type deposed struct {
	node   base.RPCAddress
	ballot int64 // at which it is no longer the primary
}

// mayLead tells whether node, which isn't the primary of g, may believe that it is. The
// caller holds mu.
func (l *leader) mayLead(g base.Gpid, node base.RPCAddress) bool {
	if l.knownDead(node) {
		return false
	}
	// What a node believes that hasn't reported since this leader began is not known.
	return !l.reported[node] || l.deposed[g].node == node
}

// believes takes note of what a node says of the replicas that it stores, all of which stand
// in stored too. The caller holds mu, and the State.
func (l *leader) believes(st *state.State, node base.RPCAddress, list []metadata.ReplicaInfo, stored map[base.Gpid]bool) {
	for i := range list {
		rep := &list[i]
		_, cfg, ok := st.Config(rep.Pid)
		if !ok || cfg.Primary == node {
			continue
		}
		d, on := l.deposed[rep.Pid]
		switch {
		case rep.Status == metadata.PS_PRIMARY:
			// Also of a primary that an earlier leader deposed.
			if !on {
				l.deposed[rep.Pid] = deposed{node, cfg.Ballot}
			}
		case on && d.node == node && rep.Ballot >= d.ballot:
			delete(l.deposed, rep.Pid)
		}
	}
	for g, d := range l.deposed {
		if d.node != node {
			continue
		}
		if _, holds := stored[g]; !holds {
			delete(l.deposed, g)
		}
	}
}
