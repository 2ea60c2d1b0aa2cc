package meta

import (
	"maps"
	"time"

	"pegasus/base"
	"pegasus/meta/state"
)

const (
	purgeEvery = time.Minute
	purgeMost  = 1000 // tables that one entry of the log makes forgotten
)

// purge makes the metas forget dropped tables, again and again.
func (l *leader) purge() {
	keep := l.s.cfg.Meta.DroppedRecord.D()
	if keep <= 0 {
		return
	}
	l.every(purgeEvery, func() { l.purgeOnce(time.Now().Add(-max(keep, gcMargin))) })
}

// purgeOnce forgets the dropped tables whose data might go before that time.
func (l *leader) purgeOnce(before time.Time) {
	cmd := &state.PurgeTables{Before: before.Unix()}
	l.s.fsm.read(func(st *state.State) {
		if st.Level() < state.LevelSteady {
			return
		}
		st.Tables(func(t *state.Table) {
			if t.Expired(cmd.Before) && len(cmd.IDs) < purgeMost {
				cmd.IDs = append(cmd.IDs, t.ID)
			}
		})
	})
	if len(cmd.IDs) == 0 || l.apply(cmd).Err != base.ErrOK {
		return
	}
	l.log.Infof("forgets %d dropped tables whose data might go before %v: %v", len(cmd.IDs), before.UTC().Format(time.RFC3339), cmd.IDs)
	// What is remembered of their partitions goes too.
	l.locked(func(st *state.State) {
		gone := func(g base.Gpid) bool { return st.Purged(g.AppID) }
		maps.DeleteFunc(l.bytes, func(g base.Gpid, _ int64) bool { return gone(g) })
		maps.DeleteFunc(l.history, func(g base.Gpid, _ *history) bool { return gone(g) })
		maps.DeleteFunc(l.deposed, func(g base.Gpid, _ deposed) bool { return gone(g) })
	})
}
