package meta

import (
	"sync"

	"pegasus/base"
	"pegasus/meta/state"
)

// maxBatch is how many configuration changes one raft entry carries.
const maxBatch = 512

// pendingChange is a configuration change that waits to be committed.
type pendingChange struct {
	change state.Change
	old    state.Config    // what it was decided on
	lost   base.RPCAddress // a member that leaves because it has no data
	why    string
	push   bool // tell the members, who didn't ask for it
	done   func(state.ChangeResult, error)
}

// changeQueue gathers configuration changes while the ones before are being committed, so
// that one entry carries many.
type changeQueue struct {
	mu     sync.Mutex
	cond   sync.Cond
	list   []*pendingChange
	closed bool
}

func (q *changeQueue) init() { q.cond.L = &q.mu }

// put queues c; its done is called exactly once, on another goroutine.
func (q *changeQueue) put(c *pendingChange) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		go c.done(state.ChangeResult{}, base.ErrForwardToOthers)
		return
	}
	q.list = append(q.list, c)
	q.cond.Signal()
}

func (q *changeQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.cond.Broadcast()
}

// take waits for changes; nil means that the queue is closed and empty.
func (q *changeQueue) take() []*pendingChange {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.closed {
		q.cond.Wait()
	}
	n := min(len(q.list), maxBatch)
	if n == 0 {
		return nil
	}
	batch := q.list[:n:n]
	q.list = q.list[n:]
	return batch
}

// run commits what is queued until the queue is closed.
func (q *changeQueue) run(l *leader) {
	for batch := q.take(); batch != nil; batch = q.take() {
		l.commit(batch)
	}
}

// commit makes one raft entry of the changes and tells everybody concerned.
func (l *leader) commit(batch []*pendingChange) {
	cmd := &state.ChangeConfigs{Changes: make([]state.Change, len(batch))}
	for i, c := range batch {
		cmd.Changes[i] = c.change
	}
	res, err := l.s.quorum.apply(cmd)
	if err != nil {
		for _, c := range batch {
			c.done(state.ChangeResult{}, err)
		}
		return
	}
	for i, c := range batch {
		r := &res.Changes[i]
		c.done(*r, nil)
		if r.Err != base.ErrOK {
			continue
		}
		g := c.change.Gpid
		l.changed(g, &c.old, &r.Config, c.lost, c.why)
		if c.push {
			var t *state.Table
			l.s.fsm.read(func(st *state.State) {
				if cur := st.Table(g.AppID); cur != nil {
					cp := *cur
					t = &cp
				}
			})
			if t != nil {
				l.pushChange(t, g, &r.Config)
			}
		}
	}
}
