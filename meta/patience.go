package meta

import (
	"time"
)

const (
	// So many terms within patienceWindow are elections that come to nothing, or leaders that
	// can't keep up: the servers, or the disks under them, are slower than the timeouts allow.
	patienceTerms, patienceWindow = 3, 15 * time.Second
	// patienceMost is how many times the configured timeouts are the longest.
	patienceMost = 4
	// patienceCalm is for how long one term must last before the timeouts get shorter again.
	patienceCalm = 30 * time.Second
)

// patience says how long the metas wait for each other: meta.raft_heartbeat, more while
// leaders follow each other, so that a quorum on an overloaded machine settles on one. It only
// ever gets longer than what is configured, which Server.window counts on.
type patience struct {
	times int // of the configured timeouts
	term  uint64
	// seen is when terms began, within the window, since the last change of times.
	seen  []time.Time
	since time.Time // of this term, or of the last change
}

// look is told the term now and then; changed tells that times is another now.
func (p *patience) look(now time.Time, term uint64) (changed bool) {
	if p.times == 0 {
		p.times, p.term, p.since = 1, term, now
		return false
	}
	if term != p.term {
		for range min(term-p.term, patienceTerms) {
			p.seen = append(p.seen, now)
		}
		p.term, p.since = term, now
	}
	for len(p.seen) > 0 && now.Sub(p.seen[0]) >= patienceWindow {
		p.seen = p.seen[1:]
	}
	switch {
	case len(p.seen) >= patienceTerms && p.times < patienceMost:
		p.times *= 2
	case p.times > 1 && now.Sub(p.since) >= patienceCalm:
		p.times /= 2
	default:
		return false
	}
	p.seen, p.since = nil, now
	return true
}

// bePatient adapts raft's timeouts until the server stops.
func (s *Server) bePatient() {
	q, base := s.quorum, s.cfg.Meta.RaftHeartbeat.D()
	var p patience
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
			rc := q.raft.ReloadableConfig()
			rc.HeartbeatTimeout, rc.ElectionTimeout = hb, hb
			if err := q.raft.ReloadConfig(rc); err != nil {
				s.log.Warnf("set the quorum's timeouts to %v: %v", hb, err)
				continue
			}
			if p.times > 1 {
				s.log.Warnf("leaders of the metas come and go (term %d): they wait %v for each other for a while; is the machine, or the disk of meta.data_dir, overloaded?", p.term, hb)
			} else {
				s.log.Infof("the metas wait %v for each other again", hb)
			}
		}
	}
}
