package rrdb

import (
	"bytes"
	"slices"
	"sort"
)

// segmentBytes is about the number of bytes of rows in a new segment of an expiryMap.
const segmentBytes = 8 << 20

// expiryMap counts how many bytes of a store's rows expire when, for each of the segments that the keys are
// cut into. It counts rows as they are written, not what is left of them after overwrites and removes.
// It takes 16 bytes for each expiry time of a segment; times are rounded, later ones to coarser steps.
//
// After opening a store nothing is known. The owner's applyMu guards the map.
type expiryMap struct {
	segs []segment // in key order; they cover all keys; never empty
}

type segment struct {
	end     []byte // first key after the segment; nil in the last one
	unknown bool   // its expiries aren't known
	bytes   int64  // of rows when the segment was last read
	due     []due  // earliest first
}

// due is a number of bytes that are expired from a time on.
type due struct {
	from  uint32
	bytes int64
}

func newExpiryMap(empty bool) expiryMap { return expiryMap{segs: []segment{{unknown: !empty}}} }

// roundExpiry rounds expireTS up, so that many rows share one time.
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

// maxExpiryAhead is the distance in seconds from which all expiries count as the same.
const maxExpiryAhead = 10 * 365 * 24 * 3600

// add counts a row of n bytes that was written at now.
func (m *expiryMap) add(key []byte, expireTS, now uint32, n int64) {
	if expireTS == 0 {
		return
	}
	if expireTS > now && expireTS-now > maxExpiryAhead {
		expireTS = now + maxExpiryAhead
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

// expired returns the bytes that are expired at cutoff, and since when the first are.
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

// toSweep lists the spans to sweep: those with enough expired bytes to be worth reading, or with some that
// expired maxAge seconds ago, and those whose expiries aren't known.
func (m *expiryMap) toSweep(cutoff, maxAge uint32) []span {
	var spans []span
	var start []byte
	for i := range m.segs {
		g := &m.segs[i]
		n, since := g.expired(cutoff)
		if g.unknown || n > 0 && (n >= max(g.bytes/8, 64<<10) || cutoff-since >= maxAge) {
			spans = append(spans, span{start, g.end, g.unknown, max(g.bytes, n)})
		}
		start = g.end
	}
	return spans
}

// replace replaces the segments from start to end with those of a new read. If end lies within a segment,
// the rest of that one stays as it is.
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

// forget says that nothing is known any more: the next sweep reads all.
func (m *expiryMap) forget() { *m = newExpiryMap(false) }
