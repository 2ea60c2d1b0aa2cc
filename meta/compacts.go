package meta

import (
	"fmt"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/meta/state"
)

// compacts are the manual compactions of a node's replicas, as it told last; idle ones are
// left out.
type compacts map[base.Gpid]metadata.ManualCompactionStatus

func compactsOf(stored []metadata.ReplicaInfo) compacts {
	var c compacts
	for i := range stored {
		if st := stored[i].ManualCompactStatus.Or(metadata.IDLE); st != metadata.IDLE {
			if c == nil {
				c = compacts{}
			}
			c[stored[i].Pid] = st
		}
	}
	return c
}

// progress returns how many percent of a table's replicas have finished their compaction; ok
// is false if all of them are idle.
func (l *leader) progress(t *state.Table) (percent int32, ok bool) {
	total := int64(len(t.Parts)) * int64(t.MaxReplicas)
	var finished int64
	for i := range t.Parts {
		g := base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}
		p := &t.Parts[i]
		for _, node := range append([]base.RPCAddress{p.Primary}, p.Secondaries...) {
			if st, is := l.compacts[node][g]; is {
				ok = true
				if st == metadata.FINISHED {
					finished++
				}
			}
		}
	}
	if total == 0 {
		return 0, ok
	}
	return int32(finished * 100 / total), ok
}

// queryCompaction tells how far the manual compaction of a table is.
func (c *call) queryCompaction(q *metaadmin.QueryAppManualCompactRequest, r *metaadmin.QueryAppManualCompactResponse) {
	r.Err, r.HintMsg = base.ErrAppNotExist, fmt.Sprintf("app %s is not existed", q.AppName)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.fsm.read(func(st *state.State) {
		t := st.TableNamed(q.AppName)
		if t == nil {
			return
		}
		percent, ok := c.progress(t)
		if !ok {
			r.Err, r.HintMsg = base.ErrInvalidState, fmt.Sprintf("app %s is not manual compaction", q.AppName)
			return
		}
		r.Err, r.HintMsg, r.Progress = base.ErrOK, "succeed", base.Some(percent)
	})
}
