package sim

import (
	"encoding/binary"
	"slices"

	"pegasus/pacifica"
)

// history is what the outside saw, and what a correct group must agree on.
type history struct {
	// canon[d-1] is the mutation of decree d, from when a primary first committed it.
	canon []mutation
	// versions lists the decrees that wrote a key.
	versions [keys + 1][]int64
	// acked is the highest decree whose write was acknowledged; floor the version of a key
	// that any later read must see at least.
	acked int64
	floor *[keys]int64
	// refused are writes whose client was told that they did not happen.
	refused map[uint64]bool
	// configs are those the meta persisted, by ballot; primaries who acted as one.
	configs   []pacifica.Config
	primaries []int
}

type mutation struct {
	id        uint64
	timestamp int64
}

func (h *history) init() {
	h.floor = new([keys]int64)
	h.configs = make([]pacifica.Config, 1)
	h.primaries = make([]int, 1)
	h.refused = make(map[uint64]bool)
}

// A payload is the mutation's id, the id of the one before it as its proposer saw it, and
// the key; then padding.
const payloadSize = 17

func payload(id, before uint64, key int, pad int64) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, payloadSize+pad), id)
	b = binary.LittleEndian.AppendUint64(b, before)
	b = append(b, byte(key))
	return b[:payloadSize+pad]
}

func idOf(p []byte) uint64 {
	if len(p) < payloadSize {
		return 0
	}
	return binary.LittleEndian.Uint64(p)
}

func beforeOf(p []byte) uint64 { return binary.LittleEndian.Uint64(p[8:]) }

// apply checks what a store is given against what others were.
func (h *history) apply(w *world, s *server, e *pacifica.Entry, primary bool) {
	m := mutation{idOf(e.Payload), e.Timestamp}
	if w.opt.Trace != nil {
		w.tracef("apply    %d: %d#%d", s.id, e.Decree, m.id)
	}
	if e.Decree <= int64(len(h.canon)) {
		if got := h.canon[e.Decree-1]; got != m {
			w.fail("agreement", "server %d applies %v as decree %d, which was %v", s.id, m, e.Decree, got)
		}
		return
	}
	if !primary {
		w.fail("secondary behind primary", "server %d applies decree %d before any primary", s.id, e.Decree)
	}
	before := uint64(0)
	if n := len(h.canon); n > 0 {
		before = h.canon[n-1].id
	}
	if got := beforeOf(e.Payload); got != before {
		w.fail("basis", "decree %d, mutation %d, was made on top of %d, and is committed on top of %d", e.Decree, m.id, got, before)
	}
	if h.refused[m.id] {
		w.fail("acknowledgement", "mutation %d, refused, is committed as decree %d", m.id, e.Decree)
	}
	h.canon = append(h.canon, m)
	key := int(e.Payload[16])
	w.checkHalf(s, e, key)
	h.versions[key] = append(h.versions[key], e.Decree)
	if key == splitKey {
		w.noteCut(e)
	}
}

// version returns the decree that wrote key in a store that applied up to decree.
func (h *history) version(key int, decree int64) int64 {
	vs := h.versions[key]
	i, ok := slices.BinarySearch(vs, decree)
	switch {
	case ok:
		return decree
	case i == 0:
		return 0
	}
	return vs[i-1]
}

// acknowledged checks and notes that a client hears of its write.
func (w *world) acknowledged(s *server, f *flight, e *pacifica.Entry) {
	h := &w.hist
	if got := idOf(e.Payload); got != f.id {
		w.fail("acknowledgement", "server %d committed mutation %d as decree %d, where it had proposed %d", s.id, got, e.Decree, f.id)
	}
	if e.Decree <= f.after {
		w.fail("linearizability", "a write proposed after %d was acknowledged became decree %d", f.after, e.Decree)
	}
	cfg := h.configs[s.core.Ballot()]
	if n := 1 + len(cfg.Secondaries); n < w.prof.minMembers {
		w.fail("least", "server %d acknowledges decree %d, which the %d members of %s hold; %d must", s.id, e.Decree, n, configText(cfg), w.prof.minMembers)
	}
	w.stats.Acked++
	h.acked = max(h.acked, e.Decree)
	h.floor[f.key] = max(h.floor[f.key], e.Decree)
	w.tracef("acked    %d: %d#%d", s.id, e.Decree, f.id)
}

// readDone checks what a read returned: at least what was known when it began.
func (w *world) readDone(s *server, key int, version, floor int64) {
	if version < floor {
		w.fail("stale read", "server %d returned version %d of key %d, when %d was known before", s.id, version, key, floor)
	}
	w.stats.Reads++
	w.hist.floor[key] = max(w.hist.floor[key], version)
}

// check looks at everything that must hold at any moment.
func (w *world) check() {
	h := &w.hist
	for _, s := range w.servers[1:] {
		if s.core == nil {
			continue
		}
		b := s.core.Ballot()
		if b < s.promised {
			w.fail("ballot grows", "server %d is at ballot %d and sent messages of ballot %d", s.id, b, s.promised)
		}
		if s.core.Status() != pacifica.Primary {
			continue
		}
		if b >= int64(len(h.configs)) || int(h.configs[b].Primary) != s.id {
			w.fail("one primary a ballot", "server %d is the primary of ballot %d, for which the meta has another", s.id, b)
		}
		if p := &h.primaries[b]; *p == 0 {
			*p = s.id*1000 + s.incarnation
		} else if *p != s.id*1000+s.incarnation {
			w.fail("one primary a ballot", "incarnation %d of server %d is the primary of ballot %d, after %d of %d", s.incarnation, s.id, b, *p%1000, *p/1000)
		}
		if s.serving() && s.leased() && s.applied < h.acked {
			w.fail("stale primary", "server %d (%v) serves under its lease with %d applied, when %d is acknowledged", s.id, s.core, s.applied, h.acked)
		}
	}
}

// checkCommit looks at a primary that has just committed: everything must be held durably by
// every member of its configuration, and of the current one.
func (w *world) checkCommit(s *server) {
	b := s.core.Ballot()
	w.checkHeld(w.hist.configs[b], s.core.Committed(), "committed by server", s.id)
	w.checkMembers()
}

// checkMembers: whoever the meta might promote holds everything that is committed.
func (w *world) checkMembers() {
	if w.meta.cfg.Ballot > 0 {
		w.checkHeld(w.meta.cfg, int64(len(w.hist.canon)), "the meta is at ballot", int(w.meta.cfg.Ballot))
	}
}

func (w *world) checkHeld(cfg pacifica.Config, decree int64, why string, who int) {
	if decree == 0 {
		return
	}
	for _, n := range append([]pacifica.NodeID{cfg.Primary}, cfg.Secondaries...) {
		m := w.servers[n]
		if m.wiped || cfg.Ballot < max(m.disk.ballot, m.createBallot) {
			continue // it lost its disk; or it is past this configuration, and perhaps not in the next
		}
		e, ok := m.disk.holds(decree)
		if !ok || e != nil && idOf(e.Payload) != w.hist.canon[decree-1].id {
			w.fail("members hold what is committed", "decree %d is not durable on server %d, a member of %s; %s %d (flushed %d, log %d..%d)",
				decree, m.id, configText(cfg), why, who, m.disk.flushed, m.disk.durable.first, m.disk.durable.last())
		}
	}
}

// checkConfig looks at a change of the configuration.
func (w *world) checkConfig(old, cfg pacifica.Config) {
	h := &w.hist
	if cfg.Ballot != int64(len(h.configs)) {
		w.fail("ballot grows", "the meta goes from %s to %s", configText(old), configText(cfg))
	}
	h.configs = append(h.configs, cfg)
	h.primaries = append(h.primaries, 0)
	w.checkMembers()
}

func (s *server) checkBallot(b int64) {
	if b < s.disk.ballot {
		s.w.fail("ballot grows", "server %d stores ballot %d after %d", s.id, b, s.disk.ballot)
	}
}

// checkView: a driver that publishes only when Unchanged says no publishes what is.
func (s *server) checkView() {
	if s.core == nil {
		return
	}
	if !s.core.Unchanged(&s.view) {
		s.view = s.core.State()
		return
	}
	now := s.core.State()
	if now.Status != s.view.Status || now.Ballot != s.view.Ballot || now.Serving != s.view.Serving || len(now.Learners) > 0 ||
		configText(now.Config) != configText(s.view.Config) {
		s.w.fail("view", "server %d is %+v and its view %+v", s.id, now, s.view)
	}
}
