package meta

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/boottime"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// term is a time in which this server leads: what everything stands on that a leader does.
type term struct {
	s      *Server
	log    *logrus.Entry
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	origin time.Time // of the monotonic times of this term
	wake   chan struct{}

	boot     func() time.Duration // the boot clock
	verified atomic.Int64         // when a majority last confirmed the leadership, by the boot clock

	mu mutex // guards what the leader remembers; see doc.go for the order of locks
}

func (s *Server) newTerm() *term {
	tm := &term{
		mu: mutex{rank: rankLeader},
		s:  s, log: s.log.WithField("part", "leader"), origin: time.Now(), boot: boottime.Now, wake: make(chan struct{}, 1),
	}
	tm.ctx, tm.cancel = context.WithCancel(s.ctx)
	tm.verified.Store(-int64(time.Hour))
	return tm
}

// now is the monotonic time since the leader began. It stands still while the machine is suspended,
// and nodes are then declared dead later than they might be, which harms nobody.
func (tm *term) now() time.Duration { return time.Since(tm.origin) }

// locked calls f with mu and the State locked.
func (tm *term) locked(f func(st *state.State)) {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	tm.s.fsm.read(f)
}

func (tm *term) level() (v state.Level) {
	tm.s.fsm.read(func(st *state.State) { v = st.Level() })
	return v
}

// restored tells whether the state comes from a backup, and is to be compared first.
func (tm *term) restored() (yes bool) {
	tm.s.fsm.read(func(st *state.State) { yes = st.Restored() })
	return yes
}

// recoverFirst says why nothing changes in a state that is to be compared first.
const recoverFirst = "the meta servers' state comes from a backup or a quorum that was made anew, and may be old: nothing changes until `pegasus recover` has asked the replica servers"

// whyFrozen says why something isn't done at the present level: what, unless it is the state that has
// to be compared first.
func (tm *term) whyFrozen(what string) string {
	if tm.restored() {
		return recoverFirst
	}
	return what
}

// tableID returns the id of an available table, 0 if there is none of that name.
func (tm *term) tableID(name string) (id int32) {
	tm.s.fsm.read(func(st *state.State) {
		if t := st.TableNamed(name); t != nil {
			id = t.ID
		}
	})
	return id
}

// apply commits a command and returns its result, with an error's code in it.
func (tm *term) apply(c state.Command) state.Result {
	res, err := tm.s.quorum.apply(c)
	if err != nil {
		tm.log.Warn(err)
		return state.Result{Err: base.CodeOf(err)}
	}
	return res
}

// changed logs what somebody asked for and got.
func (tm *term) changed(c *service.Call, format string, args ...any) {
	tm.log.Infof("%s, asked by %s", fmt.Sprintf(format, args...), c.From)
}

// kick has the planner look soon.
func (tm *term) kick() {
	select {
	case tm.wake <- struct{}{}:
	default:
	}
}

// every calls f at that interval until the leadership ends.
func (tm *term) every(d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-tm.ctx.Done():
			return
		case <-t.C:
			f()
		}
	}
}

// confirmed tells whether a majority confirmed the leadership just now, so that no other
// leader can have been elected yet. It counts suspends of this machine: the other metas didn't wait.
func (tm *term) confirmed() bool { return tm.boot()-time.Duration(tm.verified.Load()) <= tm.s.window }

func (tm *term) verifyOnce() error {
	waitsForRaft()
	boottime.Refresh()
	asked := tm.boot()
	if err := tm.s.quorum.raft.VerifyLeader().Error(); err != nil {
		return err
	}
	tm.verified.Store(int64(asked))
	return nil
}

// verify has a majority confirm the leadership again and again.
func (tm *term) verify() {
	tm.every(max(tm.s.window/3, 5*time.Millisecond), func() {
		if err := tm.verifyOnce(); err != nil {
			tm.log.Debugf("verify the leadership: %v", err)
		}
	})
}
