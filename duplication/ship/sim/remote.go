package sim

import (
	"encoding/binary"

	"pegasus/duplication/ship"
)

// meta is the source's meta.
type meta struct {
	gen        int // which duplication it is
	paused     bool
	skip, boot bool
}

func (m *meta) mode() ship.Mode { return ship.Mode{Paused: m.paused, Bootstrap: m.boot, Skip: m.skip} }

// remote is the cluster that is duplicated to.
type remote struct {
	byTag  bool // removes, too
	lanes  int
	rows   map[int]row
	down   bool
	poison int            // a key that is refused; -1: none
	theirs map[int]uint64 // what its own clients wrote last
}

func (r *remote) lane(key int) int32 { return int32(key % r.lanes) }

// take applies a batch, all or nothing; ordered: it is one of a duplication that still is.
func (r *remote) take(p *part, b ship.Batch, lanes int, ordered bool) ship.Outcome {
	w := p.w
	if r.down || r.lanes != lanes {
		w.stats.Failed++
		return ship.Failed
	}
	for _, o := range b.Ops {
		if int(o.Data[0]) == r.poison {
			w.stats.Refused++
			return ship.Refused
		}
	}
	if ordered {
		p.checkOrder(b)
	}
	for _, o := range b.Ops {
		r.apply(w, int(o.Data[0]), row{tag: binary.BigEndian.Uint64(o.Data[2:]), deleted: o.Data[1] == 1, decree: o.Decree, child: p.isChild})
	}
	return ship.Done
}

// local is a write of the remote's own clients.
func (r *remote) local(w *world) {
	k := keys + w.rnd.IntN(theirs)
	w.lastTag++
	r.theirs[k] = tagOf(w.lastTag, other, false)
	r.rows[k] = row{tag: r.theirs[k]}
}

// sweep removes a row that the source lacks in the state of a decree, if it was removed there. A remote whose timetags
// can't be seen loses what is there.
func (r *remote) sweep(w *world, key int, asOf int64) {
	is, ok := r.rows[key]
	switch {
	case !ok || is.deleted:
	case !r.byTag:
		w.stats.Swept++
		r.rows[key] = row{tag: is.tag, deleted: true}
	case ship.Leftover(originOf(is.tag), own, asOf):
		w.stats.Swept++
		if at := originOf(is.tag).TimestampUS; at > asOf {
			w.violate("key %d: a bootstrap to a state of %d removes what was written at %d", key, asOf, at)
		}
		r.apply(w, key, row{tag: is.tag | 1, deleted: true})
	}
}

func (r *remote) apply(_ *world, key int, n row) {
	was := r.rows[key]
	if r.byTag {
		if n.tag > was.tag || was.deleted { // a remove leaves nothing behind
			r.rows[key] = n
		}
		return
	}
	if n.deleted || was.deleted || n.tag > was.tag {
		r.rows[key] = n
	}
}
