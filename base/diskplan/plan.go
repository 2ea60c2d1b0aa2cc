package diskplan

import (
	"cmp"
	"fmt"
	"slices"

	"pegasus/base"
)

// Disk is a data directory.
type Disk struct {
	Tag       string
	Capacity  int64 // of the disk, in bytes
	Available int64
	// Gives: replicas may be taken from it. Takes: it may get some.
	Gives, Takes bool
}

// Replica is one on a server.
type Replica struct {
	Gpid  base.Gpid
	Disk  string
	Bytes int64
	Fixed bool // it counts, and isn't moved
}

// Server is what a plan is made from.
type Server struct {
	Disks    []Disk
	Replicas []Replica
}

// Options say how far a plan goes.
type Options struct {
	// Tolerance is how far above its share of bytes a disk may be, as a part of it.
	Tolerance float64
	// Free is the part of a disk's capacity that must be left free on a disk that gets a replica.
	Free float64
	// Small is how many bytes above its share a disk may be in any case.
	Small int64
}

// Defaults are the Options that tools use.
var Defaults = Options{Tolerance: 0.1, Free: 0.1, Small: 64 << 20}

// Move is one move.
type Move struct {
	Gpid     base.Gpid
	From, To string
	Bytes    int64
	Why      string
}

// Figures are what a disk holds, and its share of all there is.
type Figures struct {
	Tag                string
	Bytes, Share       int64
	Replicas           int
	ReplicaShare       float64
	BytesAfter         int64
	ReplicasAfter      int
	Capacity, FreeThen int64
}

// Plan is the outcome.
type Plan struct {
	Moves []Move
	Disks []Figures
	Bytes int64 // that are copied
}

type disk struct {
	Disk
	bytes int64
	reps  []*replica
	share float64 // of everything
}

type replica struct {
	Replica
	moved bool
}

type planner struct {
	o     Options
	disks []*disk
	bytes float64 // of all
	count float64
	moves []Move
}

// Make makes a plan. What is said of a disk that isn't there doesn't count.
func Make(s *Server, o Options) *Plan {
	p := &planner{o: o}
	byTag := map[string]*disk{}
	for i := range s.Disks {
		d := &disk{Disk: s.Disks[i]}
		if byTag[d.Tag] != nil {
			continue
		}
		byTag[d.Tag] = d
		p.disks = append(p.disks, d)
	}
	slices.SortFunc(p.disks, func(x, y *disk) int { return cmp.Compare(x.Tag, y.Tag) })
	reps := make([]*replica, 0, len(s.Replicas))
	for i := range s.Replicas {
		reps = append(reps, &replica{Replica: s.Replicas[i]})
	}
	slices.SortStableFunc(reps, func(x, y *replica) int { return x.Gpid.Compare(y.Gpid) })
	for _, r := range reps {
		if d := byTag[r.Disk]; d != nil {
			r.Bytes = max(0, r.Bytes)
			d.reps = append(d.reps, r)
			d.bytes += r.Bytes
		}
	}
	// A disk that neither gives nor takes has no part in it.
	var room float64
	part := p.disks[:0:0]
	for _, d := range p.disks {
		if d.Gives || d.Takes {
			part = append(part, d)
			d.share = float64(d.bytes) + float64(max(0, d.Available))
			room += d.share
			p.bytes += float64(d.bytes)
			p.count += float64(len(d.reps))
		}
	}
	all := p.disks
	p.disks = part
	for _, d := range p.disks {
		if room > 0 {
			d.share /= room
		} else {
			d.share = 1 / float64(len(p.disks))
		}
	}
	out := &Plan{}
	for _, d := range all {
		out.Disks = append(out.Disks, Figures{Tag: d.Tag, Bytes: d.bytes, Replicas: len(d.reps), Share: int64(d.share * p.bytes), ReplicaShare: d.share * p.count, Capacity: d.Capacity})
	}
	if len(p.disks) > 1 {
		for p.evenBytes() {
		}
		for p.evenCounts() {
		}
	}
	for i, d := range all {
		f := &out.Disks[i]
		f.BytesAfter, f.ReplicasAfter, f.FreeThen = d.bytes, len(d.reps), d.Available
	}
	out.Moves = p.moves
	for _, m := range p.moves {
		out.Bytes += m.Bytes
	}
	return out
}

// over is how many bytes a disk has above its share, below 0: under it.
func (p *planner) over(d *disk) float64 { return float64(d.bytes) - d.share*p.bytes }

// allowed is how many of these it may have.
func (p *planner) allowed(d *disk) float64 {
	return max(float64(p.o.Small), d.share*p.bytes*p.o.Tolerance)
}

// fits tells whether a disk may get a replica.
func (p *planner) fits(d *disk, r *replica) bool {
	return d.Takes && float64(d.Available-r.Bytes) >= float64(d.Capacity)*p.o.Free
}

func (d *disk) movable(r *replica) bool { return d.Gives && !r.Fixed && !r.moved }

// pairs calls f for pairs of disks, the fullest and the emptiest by that order first, until it returns true.
func (p *planner) pairs(order func(d *disk) float64, f func(a, b *disk) bool) bool {
	l := slices.Clone(p.disks)
	slices.SortStableFunc(l, func(x, y *disk) int { return cmp.Compare(order(y), order(x)) })
	for i, a := range l {
		for _, b := range slices.Backward(l[i+1:]) {
			if f(a, b) {
				return true
			}
		}
	}
	return false
}

// worth is the part of a replica's bytes by which two disks must come closer to their shares: it has to be copied for that.
const worth = 0.25

// evenBytes makes one move from a disk that has too many bytes.
func (p *planner) evenBytes() bool {
	return p.pairs(p.over, func(a, b *disk) bool {
		if p.over(a) <= p.allowed(a) {
			return false
		}
		gap := p.over(a) - p.over(b)
		var best *replica
		var most float64
		for _, r := range a.reps {
			if !a.movable(r) || !p.fits(b, r) {
				continue
			}
			d := float64(r.Bytes)
			if gain := min(d, gap-d); gain > most && gain >= worth*d {
				best, most = r, gain
			}
		}
		if best == nil {
			return false
		}
		p.move(best, a, b, fmt.Sprintf("%s holds %s, %.0f %% above its share of %s; %s holds %s of %s", a.Tag, size(a.bytes), 100*p.over(a)/max(1, a.share*p.bytes), size(int64(a.share*p.bytes)),
			b.Tag, size(b.bytes), size(int64(b.share*p.bytes))))
		return true
	})
}

// evenCounts makes one move from a disk that has too many replicas.
func (p *planner) evenCounts() bool {
	more := func(d *disk) float64 { return float64(len(d.reps)) - d.share*p.count }
	return p.pairs(more, func(a, b *disk) bool {
		// A move takes one from one and gives it to the other: below 2 that only turns it round.
		if more(a)-more(b) < 2-1e-9 {
			return false
		}
		var best *replica
		for _, r := range a.reps {
			d := float64(r.Bytes)
			if !a.movable(r) || !p.fits(b, r) || p.over(b)+d > max(p.allowed(b), 0) || p.over(a)-d < -p.allowed(a) && p.over(a)-d < p.over(b) {
				continue
			}
			if best == nil || r.Bytes < best.Bytes {
				best = r
			}
		}
		if best == nil {
			return false
		}
		p.move(best, a, b, fmt.Sprintf("%s holds %d replicas, and its share is %.1f; %s holds %d of %.1f", a.Tag, len(a.reps), a.share*p.count, b.Tag, len(b.reps), b.share*p.count))
		return true
	})
}

func (p *planner) move(r *replica, a, b *disk, why string) {
	a.reps = slices.DeleteFunc(a.reps, func(x *replica) bool { return x == r })
	b.reps = append(b.reps, r)
	a.bytes, b.bytes = a.bytes-r.Bytes, b.bytes+r.Bytes
	a.Available, b.Available = a.Available+r.Bytes, b.Available-r.Bytes
	r.moved = true
	p.moves = append(p.moves, Move{r.Gpid, a.Tag, b.Tag, r.Bytes, why})
}

// size writes a number of bytes for people.
func size(n int64) string {
	for _, u := range []struct {
		shift uint
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n >= 10<<u.shift {
			return fmt.Sprintf("%d %s", n>>u.shift, u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
