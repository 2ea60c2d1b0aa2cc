package bulkload

import (
	"math"
	"time"

	"pegasus/base"
	"pegasus/gen/loading"
	"pegasus/meta/state"
)

// run is what a leader knows of a load beside the State. Service.mu guards it.
type run struct {
	id     int64
	parts  []part
	looked bool // its members were looked at since its status changed
	status state.BulkLoadStatus
	since  time.Time // when this leader first saw that status
	pace   pace
}

type part struct {
	members map[base.RPCAddress]*member // and who was one, as long as it may have something
	why     string                      // what it waits for, beside work
	tries   int                         // how often a member failed
	wait    time.Time                   // nobody is asked before
	taking  bool                        // the primary is being told to take
	told    time.Time                   // when it was last
	refusal string                      // what it answered
	settled bool                        // whether it took is known, though nobody said so while the load went on
}

// member is what a member of a partition said.
type member struct {
	alive bool // when it was looked at last
	busy  bool // it is being asked
	asked time.Time
	heard bool // it said something in this leader's time
	why   string

	state       loading.LoadState // 0: not known
	read, total int64
	rows        int64
	digest      string
	paused      bool // it knows that the load is
	forgot      bool
	fails       bool // it is to forget the set, and make it anew
	stuck       bool // it can't remove the set, or doesn't answer: its disk has become read-only, or hangs
}

func (r *run) member(id int64, p int, a base.RPCAddress) *member {
	if r == nil || r.id != id || p >= len(r.parts) {
		return nil
	}
	return r.parts[p].members[a]
}

// pace is how fast the files of a load are read: when this leader first heard how much was read since it went on, and how much that was.
type pace struct {
	since time.Time
	from  int64
}

// progress is how much of the files the members have read and are to read, all together, and how many seconds that takes yet at the pace so far; -1: that isn't known. What a member
// has to read that doesn't know it yet counts as the mean of the others.
func (r *run) progress(now time.Time) (read, total, seconds int64) {
	members, known := int64(0), int64(0)
	for p := range r.parts {
		for _, m := range r.parts[p].members {
			switch {
			case !m.alive:
				continue
			case m.total > 0:
				known++
				total += m.total
				read += min(max(m.read, 0), m.total)
			}
			members++
		}
	}
	if known == 0 {
		return 0, 0, -1
	}
	total += total / known * (members - known)
	if p := &r.pace; p.since.IsZero() || read < p.from { // somebody began anew
		*p = pace{now, read}
	}
	done, took := read-r.pace.from, now.Sub(r.pace.since).Seconds()
	if done <= 0 || took < 1 {
		return read, total, -1
	}
	return read, total, int64(math.Ceil(float64(total-read) / float64(done) * took))
}
