package meta

import (
	"fmt"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
)

// diagnose lists the partitions of which no member lives, with what is known of their
// members. Nothing has to be chosen: such a partition goes on with the first member that
// comes back, since all of them hold whatever was acknowledged.
func (c *call) diagnose(q *metaadmin.DddDiagnoseRequest, r *metaadmin.DddDiagnoseResponse) {
	r.Err = base.ErrOK
	gone := c.view.Load().dead
	absent := false
	c.s.fsm.read(func(st *state.State) { absent = q.Pid.AppID != -1 && st.Table(q.Pid.AppID) == nil })
	if absent {
		r.Err = base.ErrAppNotExist
		return
	}
	c.s.fsm.walk(func(t *state.Table, from, to int) {
		if q.Pid.AppID != -1 && q.Pid.AppID != t.ID {
			return
		}
		for i := from; i < to; i++ {
			cfg := &t.Parts[i]
			g := base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}
			if q.Pid.AppID != -1 && q.Pid.PartitionIndex != -1 && q.Pid.PartitionIndex != g.PartitionIndex ||
				cfg.Members() == 0 || partHealthOf(cfg, t.MaxReplicas, c.s.minMembers(t.MaxReplicas), gone) != dead {
				continue
			}
			d := metaadmin.DddPartitionInfo{Config: partition(t, g, cfg)}
			c.names.fill(&d.Config)
			for _, a := range cfg.AppendMembers(nil) {
				d.Dropped = append(d.Dropped, metaadmin.DddNodeInfo{Node: a, HpNode: c.names.opt(a), Ballot: cfg.Ballot, LastCommittedDecree: cfg.LastCommitted})
			}
			d.Reason = fmt.Sprintf("none of its %d members lives: start one of them", cfg.Members())
			r.Partitions = append(r.Partitions, d)
		}
	})
}
