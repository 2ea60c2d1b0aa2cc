package rrdb

import (
	"bytes"
	"slices"
	"sort"
)

// segmentBytes is about how many bytes of rows a segment of an expiryMap begins with.
const segmentBytes = 8 << 20

// expiryMap knows how many bytes of a store's rows expire when, and roughly where: the keys
// are cut into segments. What it says is what rows were written, not what is left of them
// after they were overwritten or removed; it costs 16 bytes for each time that segments'
// rows expire at, in steps that are the coarser the later that is.
//
// Of a store that is opened nothing is known at first. The owner's applyMu guards it.
type expiryMap struct {
	segs []segment // in the order of keys; they cover all of them; never empty
}

type segment struct {
	end     []byte // first key behind it; nil in the last one, which has no end
	unknown bool   // it may hold anything
	bytes   int64  // of rows when it was looked at last
	due     []due  // earliest first
}

// due: that many bytes are expired from then on.
type due struct {
	from  uint32
	bytes int64
}

func newExpiryMap(empty bool) expiryMap { return expiryMap{segs: []segment{{unknown: !empty}}} }

// roundExpiry returns a time not before expireTS that many rows share.
func roundExpiry(expireTS, now uint32) uint32 {
	step := uint32(1 << 17)
	if expireTS <= now {
		step = 1 << 4
	} else {
		switch d := expireTS - now; {
		case d < 3600:
			step = 1 << 4
		case d < 24*3600:
			step = 1 << 9
		case d < 60*24*3600:
			step = 1 << 13
		}
	}
	up := (expireTS + step - 1) &^ (step - 1)
	if up < expireTS {
		return expireTS
	}
	return up
}

// far is how long ahead expiries are told apart.
const far = 10 * 365 * 24 * 3600

// add counts a row of n bytes that was written at now.
func (m *expiryMap) add(key []byte, expireTS, now uint32, n int64) {
	if expireTS == 0 {
		return
	}
	if expireTS > now && expireTS-now > far {
		expireTS = now + far
	}
	m.segs[m.find(key)].add(roundExpiry(expireTS, now), n)
}

// find returns the index of the segment that key lies in.
func (m *expiryMap) find(key []byte) int {
	last := len(m.segs) - 1
	return sort.Search(last, func(i int) bool { return bytes.Compare(key, m.segs[i].end) < 0 })
}

func (g *segment) add(from uint32, n int64) {
	// Most rows expire later than those before them.
	i := len(g.due)
	for i > 0 && g.due[i-1].from > from {
		i--
	}
	if i > 0 && g.due[i-1].from == from {
		g.due[i-1].bytes += n
		return
	}
	g.due = slices.Insert(g.due, i, due{from, n})
}

// expired returns how many bytes are expired at cutoff, and since when some are.
func (g *segment) expired(cutoff uint32) (n int64, since uint32) {
	for i := range g.due {
		if g.due[i].from > cutoff {
			break
		}
		if n == 0 {
			since = g.due[i].from
		}
		n += g.due[i].bytes
	}
	return n, since
}

// span is a range of keys; a nil end is the end of all.
type span struct {
	start, end []byte
	unknown    bool
	bytes      int64
}

// ripe lists the spans worth looking at: those with so many expired bytes that reading them
// pays, or with some that have been waiting for patience seconds; and those of which nothing
// is known.
func (m *expiryMap) ripe(cutoff, patience uint32) []span {
	var spans []span
	var start []byte
	for i := range m.segs {
		g := &m.segs[i]
		n, since := g.expired(cutoff)
		if g.unknown || n > 0 && (n >= max(g.bytes/8, 64<<10) || cutoff-since >= patience) {
			spans = append(spans, span{start, g.end, g.unknown, max(g.bytes, n)})
		}
		start = g.end
	}
	return spans
}

// replace puts in place of the segments from start to end, which are whole ones but for the
// last, those of a new look at them. rest tells that the last one's remainder stays as it is.
func (m *expiryMap) replace(start, end []byte, segs []segment) {
	i := 0
	if start != nil {
		i = m.find(start)
	}
	j := i
	for j < len(m.segs)-1 && (end == nil || bytes.Compare(m.segs[j].end, end) < 0) {
		j++
	}
	// Segment j holds the last of these keys.
	var before, after []segment
	if i > 0 && bytes.Compare(m.segs[i-1].end, start) < 0 || i == 0 && len(start) > 0 {
		b := m.segs[i]
		b.end, b.due = start, slices.Clone(b.due)
		before = []segment{b}
	}
	if !bytes.Equal(m.segs[j].end, end) || (m.segs[j].end == nil) != (end == nil) {
		after = []segment{m.segs[j]}
	}
	m.segs = slices.Concat(m.segs[:i:i], before, segs, after, m.segs[j+1:])
}
