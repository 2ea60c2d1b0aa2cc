package meta

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/meta/state"
)

// defaultTick is how often a leader looks whether the default tables can be made.
const defaultTick = 200 * time.Millisecond

// defaultTables reads meta.default_tables: NAME:PARTITIONS:REPLICAS each.
func defaultTables(cfg *config.Config) (list []state.CreateTable, err error) {
	seen := map[string]bool{}
	for _, s := range cfg.Meta.DefaultTables {
		rest, replicas, _ := cutLast(s)
		name, partitions, ok := cutLast(rest)
		p, perr := strconv.Atoi(partitions)
		r, rerr := strconv.Atoi(replicas)
		switch {
		case !ok || perr != nil || rerr != nil || !validName(name):
			return nil, fmt.Errorf("meta.default_tables: %q: write NAME:PARTITIONS:REPLICAS, for example temp:8:3", s)
		case p < 1 || p > cfg.Meta.MaxPartitionCount || r < cfg.Meta.MinReplicaCount || r > cfg.Meta.MaxReplicaCount:
			return nil, fmt.Errorf("meta.default_tables: %q: a table has 1 to %d partitions and %d to %d replicas", s, cfg.Meta.MaxPartitionCount, cfg.Meta.MinReplicaCount, cfg.Meta.MaxReplicaCount)
		case seen[name]:
			return nil, fmt.Errorf("meta.default_tables: %q stands twice", name)
		}
		seen[name] = true
		list = append(list, state.CreateTable{Name: name, Type: "pegasus", Stateful: true, Partitions: int32(p), MaxReplicas: int32(r)})
	}
	return list, nil
}

// cutLast cuts s at its last colon: a name may have colons, too.
func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// makeDefaults makes the default tables once the cluster is seen to be a new one. A meta that
// lost its state must not: the ids of its tables would be given again, to others.
func (l *leader) makeDefaults(tables []state.CreateTable) {
	tick := time.NewTicker(defaultTick)
	defer tick.Stop()
	for !l.isNew(tables) {
		if l.hasTables() {
			return
		}
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
		}
	}
	for i := range tables {
		t := tables[i]
		t.Now = time.Now().Unix()
		res := l.apply(&t)
		if res.Err != base.ErrOK {
			l.log.Warnf("default table %q: %v", t.Name, res.Err)
			continue
		}
		l.log.Infof("default table %q is made, its id is %d", t.Name, res.TableID)
		l.lookAt(res.TableID)
	}
}

func (l *leader) hasTables() (yes bool) {
	l.s.fsm.read(func(st *state.State) { yes = st.LastID() != 0 || st.Restored() })
	return yes
}

// isNew tells whether there never was a table, and enough replica servers live, have all said
// what they store, and store nothing.
func (l *leader) isNew(tables []state.CreateTable) bool {
	if l.hasTables() || l.now() < warmUpBeats*l.s.cfg.FD.BeaconInterval.D() {
		return false
	}
	need := 0
	for i := range tables {
		need = max(need, int(tables[i].MaxReplicas))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	alive := 0
	for _, n := range l.det.Nodes() {
		if l.holds[n.Addr] {
			return false
		}
		if n.Alive {
			if !l.reported[n.Addr] {
				return false
			}
			alive++
		}
	}
	return alive >= need
}
