package replica

import (
	"sync"
	"sync/atomic"
	"time"

	"pegasus/pacifica"
)

// peerRoom is which secondaries of a primary said, with an acknowledgement, that their disk has
// too little free space. A write needs all of them, and one that goes on until its log can't be
// written leaves the group, as all others on that disk do at the same time; so the primary
// refuses clients' writes while there is still room for what is under way.
type peerRoom struct {
	some atomic.Bool // short isn't empty
	mu   sync.Mutex
	// short is when each of them said so last.
	short map[pacifica.NodeID]time.Time
}

// peerSays is for how long a secondary's word counts at least. They acknowledge several times
// a second, also when nothing is written, unless replica.commit_interval is long.
const peerSays = 5 * time.Second

// shortPeer tells whether the disk of a secondary has too little free space.
func (r *replica) shortPeer() bool {
	return r.peers.some.Load() && r.peers.lacks(time.Now(), max(peerSays, 4*r.srv.cfg.Replica.CommitInterval.D()))
}

// heard takes what a secondary said, and tells whether that is news.
func (p *peerRoom) heard(from pacifica.NodeID, short bool, now time.Time) (news bool) {
	if !short && !p.some.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, was := p.short[from]
	if short {
		if p.short == nil {
			p.short = map[pacifica.NodeID]time.Time{}
		}
		p.short[from] = now
	} else {
		delete(p.short, from)
	}
	p.some.Store(len(p.short) > 0)
	return was != short
}

// lacks tells whether some secondary has too little room. Those that left the group are
// forgotten.
func (p *peerRoom) lacks(now time.Time, says time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, at := range p.short {
		if now.Sub(at) > says {
			delete(p.short, id)
		}
	}
	p.some.Store(len(p.short) > 0)
	return len(p.short) > 0
}

// hearRoom takes what an acknowledgement says of its sender's disk.
func (r *replica) hearRoom(m *pacifica.Message, short bool) {
	if m.Type != pacifica.MsgAck || m.Role != pacifica.Secondary || !r.peers.heard(m.From, short, time.Now()) {
		return
	}
	if name := r.srv.peerName(m.From); short {
		r.log.Warnf("the disk of secondary %s has too little free space: writes are refused", name)
	} else {
		r.log.Warnf("the disk of secondary %s has enough free space again", name)
	}
}
