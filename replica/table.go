package replica

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"pegasus/base"
	"pegasus/pacifica"
	"pegasus/replica/disk"
	"pegasus/rrdb"
)

// table is the replicas of a server: those that are open, being opened, and broken.
type table struct {
	mu       sync.RWMutex
	replicas map[base.Gpid]*replica
	opening  map[base.Gpid]bool
	broken   map[base.Gpid]*disk.Broken // replicas that could not be opened
	closed   bool
	moves    map[base.Gpid]*move // replicas that are moved to another disk
	// between are the partitions whose primary here is in neither place, or has yet to serve in the new one:
	// clients' requests wait. How many it has is told without the lock.
	between  map[base.Gpid]bool
	betweens atomic.Int32
	// late are messages for replicas that are in neither place: they are as if the network had been slow.
	late map[base.Gpid][]pacifica.Message
}

func newTable() table {
	return table{replicas: map[base.Gpid]*replica{}, opening: map[base.Gpid]bool{}, broken: map[base.Gpid]*disk.Broken{}, moves: map[base.Gpid]*move{}, between: map[base.Gpid]bool{}, late: map[base.Gpid][]pacifica.Message{}}
}

func (t *table) replica(g base.Gpid) *replica {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.replicas[g]
}

func (t *table) all() []*replica {
	rs := t.appendTo(nil)
	slices.SortFunc(rs, func(a, b *replica) int { return a.gpid.Compare(b.gpid) })
	return rs
}

// of returns the replicas of a table here, by index.
func (t *table) of(app int32) []*replica {
	list := slices.DeleteFunc(t.all(), func(r *replica) bool { return r.gpid.AppID != app })
	slices.SortFunc(list, func(a, b *replica) int { return cmp.Compare(a.gpid.PartitionIndex, b.gpid.PartitionIndex) })
	return list
}

// beginReopening takes a replica that can't be used out of those that are here, and reserves its
// id. It returns the replica, to be closed, if there is one.
func (t *table) beginReopening(g base.Gpid) (*replica, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.opening[g] {
		return nil, false
	}
	r := t.replicas[g]
	delete(t.replicas, g)
	delete(t.broken, g)
	t.opening[g] = true
	return r, true
}

func (t *table) endOpening(g base.Gpid, r *replica) {
	t.mu.Lock()
	delete(t.opening, g)
	late := t.closed
	if r != nil && !late {
		t.replicas[g] = r
	}
	t.mu.Unlock()
	if r != nil && late {
		if err := r.close(); err != nil {
			r.log.Warn(err)
		}
	}
}

// noteBroken remembers a replica whose directory is here and can't be opened.
func (t *table) noteBroken(g base.Gpid, d *disk.Dir, err error) {
	t.mu.Lock()
	t.broken[g] = &disk.Broken{Dir: d, Err: err, Damaged: errors.Is(err, rrdb.ErrCorrupt)}
	t.mu.Unlock()
}

// brokenReplicas returns the replicas that can't be used.
func (t *table) brokenReplicas() map[base.Gpid]disk.Broken {
	out := map[base.Gpid]disk.Broken{}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for g, b := range t.broken {
		out[g] = *b
	}
	for g, r := range t.replicas {
		if v := r.view.Load(); v != nil && v.failed != nil {
			out[g] = disk.Broken{Dir: r.dir.Dir, Err: v.failed, Opened: true, Damaged: errors.Is(v.failed, rrdb.ErrCorrupt)}
		}
	}
	return out
}

// shut closes the table: what is opened from now on is closed again. It returns what is open.
func (t *table) shut() []*replica {
	t.mu.Lock()
	defer t.mu.Unlock()
	rs := slices.Collect(maps.Values(t.replicas))
	t.closed, t.replicas = true, map[base.Gpid]*replica{}
	return rs
}

// counts returns how many replicas are open, and how many are being opened.
func (t *table) counts() (open, opening int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.replicas), len(t.opening)
}

// isOpening tells that a replica is being opened, or taken out.
func (t *table) isOpening(g base.Gpid) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.opening[g]
}

// begin reserves the id of a replica that is to be made; false if it is here. Whether it is on a disk
// is for the caller to look, who has the id by then: that may take long, and everybody needs the lock.
func (t *table) begin(g base.Gpid) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.opening[g] || t.replicas[g] != nil || t.broken[g] != nil {
		return false
	}
	t.opening[g] = true
	return true
}

// takeOut takes an open replica out and reserves its id, if it still is what the caller looked at.
func (t *table) takeOut(g base.Gpid, is func(*replica) bool) *replica {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.replicas[g]
	if t.closed || r == nil || !is(r) {
		return nil
	}
	delete(t.replicas, g)
	t.opening[g] = true
	return r
}

// takeDir takes everything of a data directory out and reserves the ids: all, of which open are the
// replicas that are. false: the table is shut.
func (t *table) takeDir(d *disk.Dir) (open []*replica, all []base.Gpid, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, nil, false
	}
	for g, r := range t.replicas {
		if r.dir.Dir == d && !t.opening[g] {
			open = append(open, r)
			all = append(all, g)
		}
	}
	for g, b := range t.broken {
		if b.Dir == d && !t.opening[g] {
			all = append(all, g)
		}
	}
	for _, g := range all {
		delete(t.replicas, g)
		delete(t.broken, g)
		t.opening[g] = true
	}
	return open, all, true
}

// unlessShut calls f with the table locked, unless it is shut.
func (t *table) unlessShut(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		f()
	}
}

// put adds an open replica.
func (t *table) put(r *replica) {
	t.mu.Lock()
	t.replicas[r.gpid] = r
	t.mu.Unlock()
}

// appendTo appends the open replicas to rs, in no order.
func (t *table) appendTo(rs []*replica) []*replica {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, r := range t.replicas {
		rs = append(rs, r)
	}
	return rs
}

// beginMove notes that a replica is moved, unless it is already, or another one is moved to or from one of the
// directories: that one is returned.
func (t *table) beginMove(g base.Gpid, m *move) (other *move, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.moves[g] != nil {
		return t.moves[g], false
	}
	for _, o := range t.moves {
		if o.to == m.to || o.from == m.from {
			return o, false
		}
	}
	t.moves[g] = m
	return nil, true
}

func (t *table) endMove(g base.Gpid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.moves, g)
}

// moveOf returns the move of a replica that is under way, or nil.
func (t *table) moveOf(g base.Gpid) *move {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.moves[g]
}

// moving returns all moves that are under way.
func (t *table) moving() []*move {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(maps.Values(t.moves))
}

// isBetween tells whether requests for a partition are to wait.
func (t *table) isBetween(g base.Gpid) bool {
	if t.betweens.Load() == 0 {
		return false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.between[g]
}

// setBetween says whether they are.
func (t *table) setBetween(g base.Gpid, is bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if is {
		t.between[g] = true
	} else {
		delete(t.between, g)
	}
	t.betweens.Store(int32(len(t.between)))
}

// lateMost is how many messages are kept for a replica that is in neither place. The primary repeats the others.
const lateMost = 64

// beginLate keeps messages for a replica from now on, and takeLate returns them and ends that.
func (t *table) beginLate(g base.Gpid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late[g] = []pacifica.Message{}
}

func (t *table) takeLate(g base.Gpid) []pacifica.Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	ms := t.late[g]
	delete(t.late, g)
	return ms
}

// keepLate keeps a message for a replica that isn't here, if that is wanted.
func (t *table) keepLate(g base.Gpid, m pacifica.Message) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	ms, wanted := t.late[g]
	if !wanted || t.replicas[g] != nil || len(ms) >= lateMost {
		return wanted
	}
	t.late[g] = append(ms, m)
	return true
}
