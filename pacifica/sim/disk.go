package sim

import (
	"errors"

	"pegasus/pacifica"
)

var errLogEnds = errors.New("the log doesn't reach back so far")

// logIndex is what a log holds: consecutive entries from first on, each in its latest
// version. An entry voids those above it that have a lower ballot.
type logIndex struct {
	first     int64
	entries   []pacifica.Entry
	committed int64
	// keepVoid is a planted bug: entries above a replaced one stay.
	keepVoid bool
}

func (x *logIndex) last() int64 { return x.first + int64(len(x.entries)) - 1 }

func (x *logIndex) at(d int64) *pacifica.Entry {
	if d < x.first || d > x.last() {
		return nil
	}
	return &x.entries[d-x.first]
}

func (x *logIndex) put(r *record) {
	x.committed = max(x.committed, r.committed)
	e := r.entry
	switch {
	case r.reset:
		x.first, x.entries, x.committed = e.Decree+1, nil, e.Decree
	case e.Decree > x.last()+1 || e.Decree < x.first:
		// What precedes is in the store; what follows is void, also when the log was cut above
		// this entry before it was written.
		x.first, x.entries = e.Decree, []pacifica.Entry{e}
	case e.Decree == x.last()+1:
		x.entries = append(x.entries, e)
	case x.keepVoid:
		x.entries = append([]pacifica.Entry(nil), x.entries...)
		x.entries[e.Decree-x.first] = e
	default:
		i := e.Decree - x.first
		x.entries = append(x.entries[:i:i], e)
	}
}

func (x *logIndex) cutBelow(d int64) {
	if n := min(d-x.first, int64(len(x.entries))); n > 0 {
		x.entries = x.entries[n:]
		x.first += n
	}
}

func (x *logIndex) clone() logIndex {
	y := *x
	y.entries = append([]pacifica.Entry(nil), x.entries...)
	return y
}

// run returns the entries that follow decree d without a gap and without a falling ballot.
func (x *logIndex) run(d int64) []pacifica.Entry {
	var es []pacifica.Entry
	ballot := int64(0)
	if e := x.at(d); e != nil && !x.keepVoid {
		ballot = e.Ballot
	}
	for e := x.at(d + 1); e != nil && e.Ballot >= ballot; e = x.at(d + 1) {
		es = append(es, *e)
		ballot = e.Ballot
		d++
	}
	return es
}

// record is an append to the log: an entry, or the mark that all before is void.
type record struct {
	entry     pacifica.Entry
	committed int64
	reset     bool
	// last of what was handed over together.
	last bool
}

// disk is what a server keeps when its process dies.
type disk struct {
	// exists: there is a replica.
	exists  bool
	ballot  int64
	flushed int64
	durable logIndex
	// now is the log as the process sees it: durable and pending, which only a process
	// crash leaves alone.
	now     logIndex
	pending []record
	syncing bool
	// slowUntil: syncs take long.
	slowUntil int64
	// stuck: nothing is synced (a script).
	stuck bool
	// broken: syncs fail; the replica is out of service until the process restarts.
	broken bool
}

func (d *disk) append(rs []record) {
	for i := range rs {
		d.now.put(&rs[i])
	}
	d.pending = append(d.pending, rs...)
}

// synced makes the first n pending records durable.
func (d *disk) synced(n int) []record {
	rs := d.pending[:n:n]
	for i := range rs {
		d.durable.put(&rs[i])
	}
	d.pending = d.pending[n:]
	return rs
}

// lose is a crash that leaves the first n pending records.
func (d *disk) lose(n int) {
	d.synced(n)
	d.pending, d.syncing = nil, false
	d.now = d.durable.clone()
}

// holds tells whether the entry of decree x survives a crash now, and if it comes from the
// log and not the store returns it.
func (d *disk) holds(x int64) (*pacifica.Entry, bool) {
	if x <= d.flushed {
		return nil, d.exists
	}
	var ballot int64
	for i := d.flushed + 1; i <= x; i++ {
		e := d.durable.at(i)
		if e == nil || e.Ballot < ballot {
			return nil, false
		}
		ballot = e.Ballot
	}
	return d.durable.at(x), d.exists
}

// Entries implements pacifica.LogReader.
func (d *disk) Entries(from, to, maxBytes int64) ([]pacifica.Entry, error) {
	var es []pacifica.Entry
	n := int64(0)
	for x := from; x <= to && (n == 0 || n < maxBytes); x++ {
		e := d.now.at(x)
		if e == nil {
			break
		}
		es = append(es, *e)
		n += int64(len(e.Payload)) + 64
	}
	if len(es) == 0 {
		return nil, errLogEnds
	}
	return es, nil
}
