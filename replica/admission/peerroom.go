package admission

import (
	"sync"
	"sync/atomic"
	"time"

	"pegasus/base"
)

// PeerRoom is which secondaries of a primary said, with an acknowledgement, that their disk has
// too little free space. A write needs all of them, and one that goes on until its log can't be
// written leaves the group, as all others on that disk do at the same time; so the primary
// refuses clients' writes while there is still room for what is under way.
type PeerRoom struct {
	// Says is for how long a word of a secondary counts, if that is longer than 5 seconds: several times
	// the interval at which they acknowledge.
	Says time.Duration

	some atomic.Bool // short isn't empty
	mu   sync.Mutex
	// short is when each of them said so last.
	short map[base.RPCAddress]time.Time
}

// peerSays is for how long a secondary's word counts at least. They acknowledge several times
// a second, also when nothing is written, unless replica.commit_interval is long.
const peerSays = 5 * time.Second

// Short tells whether the disk of a secondary has too little free space.
func (p *PeerRoom) Short() bool { return p.some.Load() && p.lacks(time.Now(), max(peerSays, p.Says)) }

// Heard takes what a secondary said, and tells whether that is news.
func (p *PeerRoom) Heard(from base.RPCAddress, short bool, now time.Time) (news bool) {
	if !short && !p.some.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, was := p.short[from]
	if short {
		if p.short == nil {
			p.short = map[base.RPCAddress]time.Time{}
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
func (p *PeerRoom) lacks(now time.Time, says time.Duration) bool {
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
