package meta

import (
	"cmp"
	"crypto/rand"
	"errors"
	"time"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/meta/state"
)

const (
	barrierWait = 30 * time.Second
	leadAgain   = 500 * time.Millisecond // until who was elected and could not lead tries again
)

// followLeadership makes a leader when raft elects this server, and ends it when it is
// deposed.
func (s *Server) followLeadership() {
	var l *leader
	end := func() {
		s.leader.Store(nil)
		if l != nil {
			l.end()
			l = nil
		}
	}
	defer end()
	leads := false
	var again <-chan time.Time
	for {
		select {
		case <-s.ctx.Done():
			return
		case leads = <-s.quorum.notify:
			end()
			if leads {
				s.log.Info("elected, catching up")
			} else {
				s.log.Info("no longer the leader")
			}
		case <-again:
		}
		again = nil
		if !leads {
			continue
		}
		var err error
		if l, err = s.takeOver(); err != nil {
			// Raft says nothing more while it leads, and nobody else is elected.
			s.log.Warnf("can't lead: %v", err)
			again = time.After(leadAgain)
			continue
		}
		s.leader.Store(l)
		s.log.Info("leads the cluster")
	}
}

// takeOver applies all that is committed and begins to lead.
func (s *Server) takeOver() (*leader, error) {
	waitsForRaft()
	if err := s.quorum.raft.Barrier(barrierWait).Error(); err != nil {
		return nil, err
	}
	begin := &state.Init{Cluster: s.cfg.Cluster.Name, Quorum: rand.Text()}
	begun := false
	s.fsm.read(func(st *state.State) {
		// It would change nothing, and there may be no room for it.
		begun = st.Cluster() == begin.Cluster && st.Quorum() != ""
		// A cluster begins with what its first leader understands. A member of the new quorum that
		// doesn't understand it stops here, before anything was decided with it.
		if st.Cluster() == "" {
			begin.Version = cmp.Or(s.opts.Begin, version.Newest)
			if begin.Version.Allows(version.ClusterID) {
				begin.ID = rand.Text()
			}
			if begin.Version == version.First {
				begin.Version = 0 // as the first version writes it
			}
		}
	})
	if !begun {
		res, err := s.quorum.apply(begin)
		if err != nil {
			return nil, err
		}
		if res.Err != base.ErrOK {
			err := errors.New("the quorum's data belongs to another cluster than cluster.name says")
			s.fail(err)
			return nil, err
		}
	}
	l := s.newLeader()
	l.serve()
	s.fsm.read(func(st *state.State) {
		if st.Restored() {
			l.log.Warn("the state comes from a backup or from a quorum that was made anew, and may be old: no configuration changes until `pegasus recover` has asked the replica servers")
		}
	})
	s.fsm.read(func(st *state.State) {
		for _, a := range st.Members() {
			l.nodes.det.Expect(l.now(), a)
		}
		st.Tables(func(t *state.Table) { l.parts.recheckTable(t) })
		if r := st.Run(); r.Active() {
			l.bal.run = newRun(r)
			l.bal.run.carried = true
			l.log.Info("carries on with the rebalancing that an earlier leader began")
		}
	})
	if err := l.verifyOnce(); err != nil {
		l.cancel()
		return nil, err
	}
	l.lead()
	return l, nil
}
