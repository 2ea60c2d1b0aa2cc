package meta

import (
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"pegasus/meta/state"
)

// reload changes what raft lets be changed while it runs.
func (s *Server) reload(change func(*raft.ReloadableConfig)) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	c := s.quorum.raft.ReloadableConfig()
	change(&c)
	if err := s.quorum.raft.ReloadConfig(c); err != nil {
		s.log.Warnf("change raft's settings: %v", err)
	}
}

const (
	// So many terms within backoffWindow are elections that come to nothing, or leaders that
	// can't keep up: the servers, or the disks under them, are slower than the timeouts allow.
	backoffTerms, backoffWindow = 3, 15 * time.Second
	// maxBackoff is how many times the configured timeouts are the longest.
	maxBackoff = 4
	// backoffReset is for how long one term must last before the timeouts get shorter again.
	backoffReset = 30 * time.Second
)

// electionBackoff says how long the metas wait for each other: meta.raft_heartbeat, more while
// leaders follow each other, so that a quorum on an overloaded machine settles on one. It only
// ever gets longer than what is configured, which Server.window counts on.
type electionBackoff struct {
	times int // of the configured timeouts
	term  uint64
	// seen is when terms began, within the window, since the last change of times.
	seen  []time.Time
	since time.Time // of this term, or of the last change
}

// look is told the term now and then; changed tells that times is another now.
func (p *electionBackoff) look(now time.Time, term uint64) (changed bool) {
	if p.times == 0 {
		p.times, p.term, p.since = 1, term, now
		return false
	}
	if term != p.term {
		for range min(term-p.term, backoffTerms) {
			p.seen = append(p.seen, now)
		}
		p.term, p.since = term, now
	}
	for len(p.seen) > 0 && now.Sub(p.seen[0]) >= backoffWindow {
		p.seen = p.seen[1:]
	}
	switch {
	case len(p.seen) >= backoffTerms && p.times < maxBackoff:
		p.times *= 2
	case p.times > 1 && now.Sub(p.since) >= backoffReset:
		p.times /= 2
	default:
		return false
	}
	p.seen, p.since = nil, now
	return true
}

// backOffElections adapts raft's timeouts until the server stops.
func (s *Server) backOffElections() {
	q, base := s.quorum, s.cfg.Meta.RaftHeartbeat.D()
	var p electionBackoff
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case now := <-t.C:
			if !p.look(now, q.raft.CurrentTerm()) {
				continue
			}
			hb := base * time.Duration(p.times)
			s.reload(func(c *raft.ReloadableConfig) { c.HeartbeatTimeout, c.ElectionTimeout = hb, hb })
			if p.times > 1 {
				s.log.Warnf("leaders of the metas come and go (term %d): they wait %v for each other for a while; is the machine, or the disk of meta.data_dir, overloaded?", p.term, hb)
			} else {
				s.log.Infof("the metas wait %v for each other again", hb)
			}
		}
	}
}

// keepRoom makes the reserve again when it can, and the log small while it can't.
func (s *Server) keepRoom() {
	q := s.quorum
	tick := time.NewTicker(roomTick)
	defer tick.Stop()
	var compacted time.Time
	for {
		q.room.refill()
		if q.room.short() && time.Since(compacted) >= compactEvery {
			s.compact()
			compacted = time.Now()
		}
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// compact writes a snapshot, if it fits, and drops most of the log that it covers: what that
// frees in the log's file is written before the file grows. A leader of several metas that
// has no room at all lets another one lead.
func (s *Server) compact() {
	q := s.quorum
	if q.store.waiting.Load() {
		return
	}
	size := 0
	s.fsm.read(func(st *state.State) { size = len(st.AppendSnapshot(nil)) })
	avail, err := q.room.available()
	if err != nil {
		s.log.Warn(err)
		return
	}
	if avail >= int64(size)+minRoom {
		s.reload(func(c *raft.ReloadableConfig) { c.TrailingLogs = shortTrailing })
		if err := q.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
			s.log.Warnf("write a snapshot to make the log smaller: %v", err)
		}
		return
	}
	if s.Leading() && len(voters(q.servers())) > 1 {
		s.log.Warn("hands over the leadership: its disk is full")
		if _, err := s.transfer(s.ctx, ""); err != nil {
			s.log.Warnf("hand over the leadership: %v", err)
		}
	}
}
