package metrics

import "sync"

// totals keep the sums of the counters of each table's replicas between scrapes, so that a sum goes on when a replica leaves
// the server or is opened anew. What the replica counted between the last scrape and its leaving is lost.
type totals struct {
	mu     sync.Mutex
	last   map[string]*counted // by the id of the entity: what it had when it was last seen
	tables map[string]*counted // by table_id
	server *counted
}

// counted are values by their metrics.
type counted struct {
	n    map[*Metric]int64
	h    map[*Metric]*Histogram
	seen bool
}

func newCounted() *counted {
	return &counted{n: map[*Metric]int64{}, h: map[*Metric]*Histogram{}}
}

// fold returns the values of each table of the snapshot, by its id, and of the operations of the server: counters and histograms
// since the first scrape, gauges now.
func (t *totals) fold(s *Snapshot) (tables map[string]*counted, server *counted) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		t.last, t.tables, t.server = map[string]*counted{}, map[string]*counted{}, newCounted()
	}
	gauges := map[string]*counted{}
	for _, e := range s.entities {
		if e.typ != Replica {
			continue
		}
		id := e.attr("table_id")
		last, table, now := t.last[e.id], t.tables[id], gauges[id]
		if last == nil {
			last = newCounted()
			t.last[e.id] = last
		}
		if table == nil {
			table = newCounted()
			t.tables[id] = table
		}
		if now == nil {
			now = newCounted()
			gauges[id] = now
		}
		last.seen, table.seen = true, true
		for i := range e.values {
			v := &e.values[i]
			switch {
			case v.m.fold == apart:
			case v.m.Kind == Gauge && v.m.fold == highest:
				now.n[v.m] = max(now.n[v.m], v.n)
			case v.m.Kind == Gauge:
				now.n[v.m] += v.n
			case v.m.Kind == Counter:
				table.n[v.m] += grown(last.n[v.m], v.n)
				if v.m.op != "" {
					t.server.n[v.m] += grown(last.n[v.m], v.n)
				}
				last.n[v.m] = v.n
			case v.h != nil:
				add(table.h, v, last.h[v.m])
				if v.m.op != "" {
					add(t.server.h, v, last.h[v.m])
				}
				last.h[v.m] = v.h
			}
		}
	}
	forget(t.last)
	forget(t.tables)
	tables = map[string]*counted{}
	for id, table := range t.tables {
		c := gauges[id]
		copyTo(c, table)
		tables[id] = c
	}
	server = newCounted()
	copyTo(server, t.server)
	return tables, server
}

// grown returns by how much a counter grew; one that fell began anew.
func grown(was, is int64) int64 {
	if is < was {
		return is
	}
	return is - was
}

// add adds by how much a histogram grew to the sum.
func add(sums map[*Metric]*Histogram, v *value, was *Histogram) {
	sum := sums[v.m]
	if sum == nil {
		sum = &Histogram{Shift: v.h.Shift}
		sums[v.m] = sum
	}
	if was == nil || v.h.Count() < was.Count() {
		was = &Histogram{}
	}
	for i, n := range v.h.Buckets {
		sum.Buckets[i] += grown(was.Buckets[i], n)
	}
	sum.Sum += max(0, v.h.Sum-was.Sum)
}

// forget removes who wasn't seen, and prepares for the next look.
func forget(m map[string]*counted) {
	for id, c := range m {
		if !c.seen {
			delete(m, id)
		}
		c.seen = false
	}
}

// copyTo copies, as the totals go on while their reader encodes.
func copyTo(to, from *counted) {
	for m, n := range from.n {
		to.n[m] = n
	}
	for m, h := range from.h {
		c := *h
		to.h[m] = &c
	}
}
