package wal

import (
	"slices"
	"sort"

	"pegasus/base"
)

// loc is where a record stands in its segment: offset and whole length.
type loc struct{ off, n uint32 }

// run is a row of consecutive decrees of one ballot in one segment: 8 bytes an entry.
type run struct {
	first, ballot int64
	seg           *segment
	locs          []loc
	// bytes is the sum of the lengths in locs.
	bytes int64
}

func (r *run) last() int64 { return r.first + int64(len(r.locs)) - 1 }

// split returns the entries before the i-th and the others, each as a run of its own
// that can be appended to without harm to r. It looks at the shorter half only.
func (r *run) split(i int) (head, tail run) {
	head = run{first: r.first, ballot: r.ballot, seg: r.seg, locs: r.locs[:i:i]}
	tail = run{first: r.first + int64(i), ballot: r.ballot, seg: r.seg, locs: r.locs[i:]}
	tail.locs = tail.locs[:len(tail.locs):len(tail.locs)]
	short := &head
	if i > len(r.locs)/2 {
		short = &tail
	}
	for _, l := range short.locs {
		short.bytes += int64(l.n)
	}
	if short == &head {
		tail.bytes = r.bytes - head.bytes
	} else {
		head.bytes = r.bytes - tail.bytes
	}
	return head, tail
}

// replica is what the log knows of one replica. serial and tail belong to who writes; the
// rest is guarded by Log.ix.
type replica struct {
	gpid base.Gpid
	// runs are in the order of decrees and don't overlap.
	runs []run
	// serial of the newest record, and the last decree as that record leaves it: ahead of
	// state.Last while a batch is on its way.
	serial uint64
	tail   int64
	// state's First and Ballot are not kept up: see Log.State.
	state  State
	damage *Damage
	// dropped: nothing came after a Drop; the next segment's Table will omit it.
	dropped bool
	// epoch is the number of damaged places that were known when this replica was last
	// seen whole (recovery only).
	epoch int
}

// put records that decree stands at l of seg, whatever stood for it before.
func (r *replica) put(decree, ballot int64, seg *segment, l loc) {
	n := len(r.runs)
	if n == 0 || decree > r.runs[n-1].last() {
		if n > 0 && r.extend(n-1, decree, ballot, seg, l) {
			return
		}
		if n > 0 {
			// The run before is complete: give back what append kept in reserve.
			t := &r.runs[n-1]
			if cap(t.locs)-len(t.locs) > len(t.locs)/4 {
				t.locs = append(make([]loc, 0, len(t.locs)), t.locs...)
			}
		}
		r.runs = append(r.runs, newRun(decree, ballot, seg, l))
		return
	}
	i := r.find(decree)
	if t := r.runs[i]; t.first <= decree {
		head, tail := t.split(int(decree - t.first))
		_, tail = tail.split(1)
		pieces := make([]run, 0, 2)
		if len(head.locs) > 0 {
			pieces = append(pieces, head)
		}
		if len(tail.locs) > 0 {
			pieces = append(pieces, tail)
		}
		r.runs = slices.Replace(r.runs, i, i+1, pieces...)
		if len(head.locs) > 0 {
			i++
		}
	}
	if i > 0 && r.extend(i-1, decree, ballot, seg, l) {
		return
	}
	r.runs = slices.Insert(r.runs, i, newRun(decree, ballot, seg, l))
}

func newRun(decree, ballot int64, seg *segment, l loc) run {
	return run{first: decree, ballot: ballot, seg: seg, locs: []loc{l}, bytes: int64(l.n)}
}

// extend appends to run i if decree follows it directly, in the same segment and ballot.
func (r *replica) extend(i int, decree, ballot int64, seg *segment, l loc) bool {
	t := &r.runs[i]
	if decree != t.last()+1 || t.seg != seg || t.ballot != ballot {
		return false
	}
	t.locs = append(t.locs, l)
	t.bytes += int64(l.n)
	return true
}

// find returns the number of the first run that ends at or after decree.
func (r *replica) find(decree int64) int {
	return sort.Search(len(r.runs), func(i int) bool { return r.runs[i].last() >= decree })
}

// lookup returns where decree stands.
func (r *replica) lookup(decree int64) (*run, loc, bool) {
	if i := r.find(decree); i < len(r.runs) && r.runs[i].first <= decree {
		return &r.runs[i], r.runs[i].locs[decree-r.runs[i].first], true
	}
	return nil, loc{}, false
}

// truncate forgets the entries above decree.
func (r *replica) truncate(decree int64) {
	i := r.find(decree + 1)
	if i == len(r.runs) {
		return
	}
	keep := i
	if t := r.runs[i]; t.first <= decree {
		r.runs[i], _ = t.split(int(decree-t.first) + 1)
		keep++
	}
	clear(r.runs[keep:])
	r.runs = r.runs[:keep]
}

// forget drops what stands in seg.
func (r *replica) forget(seg *segment) {
	r.runs = slices.DeleteFunc(r.runs, func(t run) bool { return t.seg == seg })
}

// needs returns the bytes of entries in seg that are above the retention point.
func (r *replica) needs(seg *segment) int64 {
	var n int64
	for i := range r.runs {
		if r.runs[i].seg == seg {
			n += r.needsRun(&r.runs[i])
		}
	}
	return n
}

func (r *replica) needsRun(t *run) int64 {
	switch keep := r.state.Retention + 1; {
	case t.first >= keep:
		return t.bytes
	case t.last() < keep:
		return 0
	default:
		_, tail := t.split(int(keep - t.first))
		return tail.bytes
	}
}

// hasNeeded tells whether any entry is above the retention point.
func (r *replica) hasNeeded() bool {
	n := len(r.runs)
	return n > 0 && r.runs[n-1].last() > r.state.Retention
}

// contiguousFrom returns the lowest decree from which all up to Last are there; 0 if
// Last isn't.
func (r *replica) contiguousFrom() int64 {
	i := len(r.runs) - 1
	if i < 0 || r.runs[i].last() != r.state.Last {
		return 0
	}
	for i > 0 && r.runs[i-1].last()+1 == r.runs[i].first {
		i--
	}
	return r.runs[i].first
}

// apply takes over a change that stands at l of seg (a Mutation) or anywhere.
func (r *replica) apply(k kind, decree, ballot, committed int64, seg *segment, l loc) {
	s := &r.state
	r.dropped = k == kindDrop
	switch k {
	case kindMutation:
		r.put(decree, ballot, seg, l)
		if decree >= s.Last {
			s.Last, s.Ballot = decree, ballot
		}
		s.MaxBallot = max(s.MaxBallot, ballot)
		s.Committed = max(s.Committed, committed)
	case kindTruncate:
		if decree < s.Last {
			s.Last, s.Ballot = decree, 0
			if t, _, ok := r.lookup(decree); ok {
				s.Ballot = t.ballot
			}
		}
		r.truncate(decree)
		if r.damage != nil && r.damage.From != unknownFrom {
			r.damage.From = min(r.damage.From, decree+1)
		}
	case kindReset:
		r.runs, r.damage = nil, nil
		*s = State{Base: decree, Last: decree, Committed: decree, MaxBallot: s.MaxBallot, Retention: decree}
	case kindDrop:
		r.runs, r.damage, r.state = nil, nil, State{}
	}
}

// next counts a record that is being encoded and returns its serial and the last decree
// before it.
func (r *replica) next(k kind, decree int64) (serial uint64, last int64) {
	last = r.tail
	r.serial++
	switch k {
	case kindMutation:
		r.tail = max(last, decree)
	case kindTruncate:
		r.tail = min(last, decree)
	case kindReset:
		r.tail = decree
	case kindDrop:
		r.tail = 0
	}
	return r.serial, last
}

// settle forgets the damage if nothing that was lost is needed.
func (r *replica) settle() {
	if r.damage != nil && r.damage.From != unknownFrom && r.state.Retention >= r.damage.From-1 {
		r.truncateBelow(r.damage.From)
		r.damage = nil
	}
}

// truncateBelow forgets the entries below decree.
func (r *replica) truncateBelow(decree int64) {
	i := r.find(decree)
	if i < len(r.runs) && r.runs[i].first < decree {
		t := r.runs[i]
		_, r.runs[i] = t.split(int(decree - t.first))
	}
	r.runs = slices.Delete(r.runs, 0, i)
}

// gap marks the replica as having lost records before one that says that the last decree
// was last.
func (r *replica) gap(last int64, reason string) {
	r.damage = &Damage{Gpid: r.gpid, From: last + 1, Reason: reason}
	r.truncate(last)
	if r.state.Last != last {
		r.state.Last, r.state.Ballot = last, 0
	}
}

func (r *replica) tableEntry() tableEntry {
	return tableEntry{gpid: r.gpid, serial: r.serial, state: r.state, needed: r.hasNeeded(), damage: r.damage}
}
