package probe

import (
	"sync"
	"time"

	"pegasus/base"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// Options are what a Service needs.
type Options struct {
	Every   time.Duration    // of rounds; 0: none are made
	Timeout time.Duration    // for how long a partition is tried in a round; 0: half of Every
	Now     func() time.Time // nil: time.Now
	// Ended is told of each minute, hour and day that has ended; nil: nobody is. It must not wait.
	Ended func(Period)
}

// EnsureDefaults replaces what isn't set.
func (o *Options) EnsureDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout <= 0 {
		o.Timeout = o.Every / 2
	}
	if o.Ended == nil {
		o.Ended = func(Period) {}
	}
}

// Service probes while its meta leads.
type Service struct {
	service.Quiet
	leader service.Leader
	o      Options

	mu      sync.Mutex
	all     periods // of the cluster
	tables  map[int32]*tally
	failing map[base.Gpid]failure
	latency latencies
	rounds  int64
	last    time.Time // end of the last round
	unknown int       // partitions that it couldn't ask about
}

// failure is a partition that didn't work in the last round.
type failure struct {
	since       time.Time
	read, write base.ErrorCode // ErrOK: that works, or wasn't asked
}

// New returns a Service of a meta that leads, or of none.
func New(l service.Leader, o Options) *Service {
	o.EnsureDefaults()
	return &Service{leader: l, o: o, tables: map[int32]*tally{}, failing: map[base.Gpid]failure{}, latency: newLatencies()}
}

// Register implements service.Service.
func (*Service) Register(r *service.Routes) {
	service.Page(r, "meta/availability", "[name=<table>]: which part of the probes of each table's partitions succeeded, and which partitions fail now.", (*Service).availabilityPage)
	service.Page(r, "meta/latency", "name=<table> or server=<host:port>: how long requests took in the last half hour, each half minute.", (*Service).latencyPage)
}

// target is a partition that is to be asked about.
type target struct {
	gpid    base.Gpid
	primary base.RPCAddress // 0: it has none
	write   bool
	read    base.ErrorCode // what came of it
	wrote   base.ErrorCode
}

// walked is how many partitions are looked at before the State is let go of.
const walked = 10000

// young is for how many rounds a table that was just made isn't asked about: its members are being made.
const young = 6

// targets returns all partitions that are in service. One that never had a primary isn't.
func (s *Service) targets(round int64) (list []target) {
	made := s.o.Now().Add(-young * s.o.Every).Unix()
	for from, more := int32(0), true; more; {
		end := len(list) + walked
		s.leader.Read(func(st *state.State) {
			more = false
			st.TablesFrom(from, func(t *state.Table) bool {
				if len(list) >= end {
					from, more = t.ID, true
					return false
				}
				if t.Status != state.Available || t.CreateSecond > made {
					return true
				}
				for i := range t.Parts {
					c := &t.Parts[i]
					if c.Primary == 0 && c.Ballot <= 0 {
						continue
					}
					list = append(list, target{gpid: base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}, primary: c.Primary, write: (int64(i)+round)%writeEvery == 0})
				}
				return true
			})
		})
	}
	return list
}
