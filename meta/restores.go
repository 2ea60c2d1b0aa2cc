package meta

import (
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/meta/restore"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// newRestores makes the service of restores, and has the planner ask it who restores a partition.
func newRestores(l *leader) service.Service {
	h := restoreHost{l.term, l.nodes, l.parts}
	r := restore.New(l, restore.Options{Blobs: l.s.blobs, Now: h.now, Check: h.check, Settle: h.settle, Look: h.look})
	if l.parts != nil {
		l.parts.seeds = r
	}
	return r
}

// restoreHost is what the service of restores needs of the leader.
type restoreHost struct {
	*term
	nodes *nodes
	parts *partitions
}

func (h restoreHost) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.nodes.mostly()
}

// check says why no table of that shape can be made of a backup.
func (h restoreHost) check(partitions, replicas int32) (base.ErrorCode, string) {
	c := &h.s.cfg.Meta
	switch {
	case h.level() <= state.LevelFreezed:
		return base.ErrStateFreezed, h.whyFrozen(frozenHint)
	case int(partitions) > c.MaxPartitionCount:
		return base.ErrInvalidParameters, fmt.Sprintf("the table has %d partitions, and one may have %d: see meta.max_partition_count", partitions, c.MaxPartitionCount)
	case int(replicas) < c.MinReplicaCount || int(replicas) > c.MaxReplicaCount:
		return base.ErrInvalidParameters, fmt.Sprintf("the table has %d replicas, and one may have %d to %d: see meta.min_replica_count and meta.max_replica_count", replicas, c.MinReplicaCount, c.MaxReplicaCount)
	}
	if hint := h.nodes.checkRoom(int(partitions), int(replicas)); hint != "" {
		return base.ErrInvalidParameters, hint
	}
	return base.ErrOK, ""
}

func (h restoreHost) settle() error { return h.nodes.settleIDs() }

func (h restoreHost) look(id int32) { h.parts.recheck(id) }
