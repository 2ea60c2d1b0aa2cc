package probe

import "time"

// Kinds of periods, from short to long.
const (
	Minute = iota
	Hour
	Day
	kinds
)

// Counts are probes of partitions.
type Counts struct{ Probes, Failed int64 }

// Availability is the part of them that didn't fail; 1 if there were none.
func (c Counts) Availability() float64 {
	if c.Probes == 0 {
		return 1
	}
	return 1 - float64(c.Failed)/float64(c.Probes)
}

func (c *Counts) add(o Counts) {
	c.Probes += o.Probes
	c.Failed += o.Failed
}

// Period is what was counted in a minute, an hour or a day.
type Period struct {
	Kind  int
	Began time.Time
	Counts
}

// begin returns when the period began that a moment is in, in that moment's time zone.
func begin(kind int, t time.Time) time.Time {
	switch y, m, d := t.Date(); kind {
	case Minute:
		return time.Date(y, m, d, t.Hour(), t.Minute(), 0, 0, t.Location())
	case Hour:
		return time.Date(y, m, d, t.Hour(), 0, 0, 0, t.Location())
	default:
		return time.Date(y, m, d, 0, 0, 0, 0, t.Location())
	}
}

// periods are the present minute, hour and day, and the last ones.
type periods struct{ now, last [kinds]Period }

// turn ends the periods that are over, and returns those.
func (p *periods) turn(now time.Time) (ended []Period) {
	for k := range p.now {
		began := begin(k, now)
		if cur := &p.now[k]; !cur.Began.Equal(began) {
			if !cur.Began.IsZero() {
				ended = append(ended, *cur)
				p.last[k] = *cur
			}
			*cur = Period{Kind: k, Began: began}
		}
	}
	return ended
}

func (p *periods) add(c Counts) {
	for k := range p.now {
		p.now[k].Counts.add(c)
	}
}

const (
	minutes = 60
	hours   = 24
)

// slot is what was counted in a minute or an hour.
type slot struct {
	at int64 // number of the minute or hour since 1970
	Counts
}

// tally is the probes of a table: the last hour by minute, the last day by hour.
type tally struct {
	minutes [minutes]slot
	hours   [hours]slot
	// since the meta leads
	probes, reads, writes int64 // the last two: failed
}

func (t *tally) add(now time.Time, c Counts) {
	put := func(slots []slot, at int64) {
		s := &slots[at%int64(len(slots))]
		if s.at != at {
			*s = slot{at: at}
		}
		s.Counts.add(c)
	}
	put(t.minutes[:], now.Unix()/60)
	put(t.hours[:], now.Unix()/3600)
}

// lately are the probes of the last hour and of the last day.
func (t *tally) lately(now time.Time) (hour, day Counts) {
	sum := func(slots []slot, at int64) (c Counts) {
		for i := range slots {
			if s := &slots[i]; s.at > at-int64(len(slots)) && s.at <= at {
				c.add(s.Counts)
			}
		}
		return c
	}
	return sum(t.minutes[:], now.Unix()/60), sum(t.hours[:], now.Unix()/3600)
}
