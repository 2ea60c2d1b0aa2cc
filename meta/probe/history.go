package probe

import (
	"time"

	"pegasus/base"
	wire "pegasus/gen/probe"
	"pegasus/metrics"
)

const (
	// Slot is of how long a time one point of a history is, Slots how many there are: half an hour.
	Slot  = 30 * time.Second
	Slots = 60
)

// Reads and writes, in this order everywhere.
const (
	read = iota
	write
	ways
)

// point is what a table or server did in one slot: requests a second, and how long one in a hundred took at least, in microseconds.
type point struct {
	rate [ways]float32
	p99  [ways]uint32
}

// line is the history of a table or a server.
type line struct {
	at     int64 // number of the present slot since 1970
	now    [ways]metrics.Octaves
	points [Slots]point // of slot n at n % Slots
}

// turn ends the slots before the present one.
func (l *line) turn(now time.Time) {
	at := now.UnixNano() / int64(Slot)
	if l.at == at {
		return
	}
	if l.at != 0 {
		p := &l.points[l.at%Slots]
		for w := range l.now {
			p.rate[w] = float32(float64(l.now[w].Count()) / Slot.Seconds())
			p.p99[w] = uint32(min(l.now[w].Quantile(0.99).Microseconds(), 1<<32-1))
		}
		for n := max(l.at+1, at-Slots); n < at; n++ {
			l.points[n%Slots] = point{}
		}
	}
	l.at, l.now = at, [ways]metrics.Octaves{}
	l.points[at%Slots] = point{}
}

// quiet tells that nothing was asked for in all of it.
func (l *line) quiet() bool {
	for w := range l.now {
		if l.now[w].Count() > 0 {
			return false
		}
	}
	for i := range l.points {
		if l.points[i].rate != [ways]float32{} {
			return false
		}
	}
	return true
}

// source is where counts come from.
type source struct {
	node  base.RPCAddress
	table int32
}

// heardCounts are the counts that a server told last of a table.
type heardCounts struct {
	counts [ways][]int64
	at     time.Time
}

// latencies are the lines of tables and of servers.
type latencies struct {
	last    map[source]heardCounts
	tables  map[int32]*line
	servers map[base.RPCAddress]*line
}

func newLatencies() latencies {
	return latencies{last: map[source]heardCounts{}, tables: map[int32]*line{}, servers: map[base.RPCAddress]*line{}}
}

// heard takes what a server says that requests took since its replicas are open. What it says first isn't counted, as nobody knows
// when it was, and what fell isn't: a replica left, or was opened anew.
func (l *latencies) heard(now time.Time, node base.RPCAddress, list []wire.TableLatency) {
	for i := range list {
		t := &list[i]
		k := source{node, t.AppId}
		was, known := l.last[k]
		is := heardCounts{counts: [ways][]int64{t.Reads, t.Writes}, at: now}
		l.last[k] = is
		if !known {
			continue
		}
		for w := range is.counts {
			grew, ok := grown(was.counts[w], is.counts[w])
			if !ok || grew.Count() == 0 {
				continue
			}
			for _, x := range []*line{lineOf(l.tables, t.AppId), lineOf(l.servers, node)} {
				x.turn(now)
				for o, n := range grew {
					x.now[w][o] += n
				}
			}
		}
	}
}

func lineOf[K comparable](m map[K]*line, k K) *line {
	l := m[k]
	if l == nil {
		l = &line{}
		m[k] = l
	}
	return l
}

// grown returns by how much counts grew, and false if one of them fell.
func grown(was, is []int64) (d metrics.Octaves, ok bool) {
	for i := range d {
		var a, b int64
		if i < len(was) {
			a = was[i]
		}
		if i < len(is) {
			b = is[i]
		}
		if b < a {
			return d, false
		}
		d[i] = b - a
	}
	return d, true
}

// forgetAfter is after what time counts that a server doesn't tell any more are forgotten.
const forgetAfter = Slots * Slot

// tidy ends slots, and forgets who isn't there any more.
func (l *latencies) tidy(now time.Time, tables map[int32]bool) {
	for k, h := range l.last {
		if !tables[k.table] || now.Sub(h.at) > forgetAfter {
			delete(l.last, k)
		}
	}
	for id, x := range l.tables {
		if x.turn(now); !tables[id] || x.quiet() {
			delete(l.tables, id)
		}
	}
	for node, x := range l.servers {
		if x.turn(now); x.quiet() {
			delete(l.servers, node)
		}
	}
}

// History is half an hour of a table or a server: a point for each Slot, the oldest first. The last one is of the last slot that has ended.
type History struct {
	Ended time.Time `json:"ended"`
	Every float64   `json:"every_seconds"`
	// Requests a second, and how many microseconds one in a hundred took at least; 0 while there were none.
	ReadRate  []float32 `json:"reads_per_second"`
	WriteRate []float32 `json:"writes_per_second"`
	ReadP99   []uint32  `json:"read_p99_us"`
	WriteP99  []uint32  `json:"write_p99_us"`
}

// show returns the history of a line, which may be nil.
func (l *line) show(now time.Time) History {
	at := now.UnixNano() / int64(Slot)
	h := History{Ended: time.Unix(0, at*int64(Slot)).UTC(), Every: Slot.Seconds()}
	if l == nil {
		return h
	}
	l.turn(now)
	for n := at - Slots + 1; n < at; n++ {
		p := &l.points[n%Slots]
		h.ReadRate, h.WriteRate = append(h.ReadRate, p.rate[read]), append(h.WriteRate, p.rate[write])
		h.ReadP99, h.WriteP99 = append(h.ReadP99, p.p99[read]), append(h.WriteP99, p.p99[write])
	}
	return h
}
