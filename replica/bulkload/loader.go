package bulkload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/base/version"
	"pegasus/blob"
	"pegasus/gen/loading"
	"pegasus/pacifica"
	"pegasus/replica/part"
	"pegasus/rrdb"
)

// Host is the server as this package knows it.
type Host interface {
	Replica(base.Gpid) (Replica, bool)
	// Replicas are those that are here and open.
	Replicas() []base.Gpid
	// Go runs f on a goroutine. ctx ends when the server stops, and the server waits for f.
	Go(f func(ctx context.Context))
	// Same returns an error if the cluster of that id isn't the server's; ID is the server's.
	Same(clusterID string) error
	ID() base.Opt[string]
	// Version is what the cluster's members write.
	Version() version.Version
	Self() base.RPCAddress
	// Ended asks the meta which of these loads have ended.
	Ended(ctx context.Context, left []loading.LoadLeft) ([]loading.LoadLeft, error)
	// Ask asks another server.
	Ask(ctx context.Context, to base.RPCAddress, q *loading.LoadRequest) (loading.LoadResponse, error)
}

// Replica is a replica of the server. All of it may be called by any goroutine.
type Replica interface {
	View() part.View
	// Store is the store in use; another one takes its place when a copy is installed.
	Store() *rrdb.Store
	// DiskUsable is as of part.Replica. Room is how many bytes can be written before it has too little free space.
	DiskUsable() error
	Room() int64
	// Members are those of the configuration of a primary that could propose a mutation now, in a ballot.
	Members() (ballot int64, nodes []base.RPCAddress, err error)
	// Take proposes the mutation, in that ballot or not at all, and waits until it is applied here. held is for how long writes
	// waited. An error says that it isn't applied yet, and may be later.
	Take(ctx context.Context, ballot int64, t rrdb.Take) (held time.Duration, err error)
	// Taking is the load whose mutation is in the log here, and not applied, also while the replica is out of service; 0: none.
	Taking() int64
}

// Stores are the places of files, by the name of the provider.
type Stores interface {
	Get(ctx context.Context, name string) (*blob.Store, error)
}

// Options configure a Loader.
type Options struct {
	Blobs          Stores
	Concurrency    int   // partitions that are read at a time
	BytesPerSecond int64 // of files, all partitions together; 0: no limit
	// BehindBytes is how much the rows of a partition may have that are loaded behind what is there: it is looked for each of them while writes wait.
	BehindBytes int64
	Log         *logrus.Entry
}

// Loader loads files, as a Part of its server.
type Loader struct {
	part.Quiet
	host  Host
	o     Options
	log   *logrus.Entry
	slots slots
	pace  *rate.Limiter
	left  leftovers

	mu     sync.Mutex
	jobs   map[base.Gpid]*job
	kept   map[base.Gpid]promise
	taking map[base.Gpid]bool // somebody is at it, as the primary
	// removing: so many remove sets.
	removing map[base.Gpid]int
	counts   map[base.Gpid]*counts
	held     atomic.Int64 // longest, milliseconds
}

// promise is that a set is kept.
type promise struct {
	load  int64
	until time.Time
}

const (
	// keepTime is for how long a member keeps a set for sure that the primary asked for, takeTime how long the primary may take from there to the proposal.
	keepTime, takeTime = time.Minute, 20 * time.Second
	// askTime bounds what a member is asked for; it writes what is in memory.
	askTime = 10 * time.Second
	// endTime is how long the answer to who forgets a load waits for its end.
	endTime = 5 * time.Second
	// goneTime is how long a set is made on while the replica isn't a member. It becomes one again at once when others come or go, as each change of the configuration passes that state.
	goneTime = 20 * time.Second
	// stopTime is how long the end of the server waits for one that hangs.
	stopTime = 500 * time.Millisecond
	// behindRow is what a row costs beside its bytes, in bytes, when it is looked for what is there.
	behindRow = 200
	// burst is how many bytes are taken from a pace at once.
	burst = 256 << 10
)

// New returns a Loader.
func New(h Host, o Options) *Loader {
	l := &Loader{host: h, o: o, log: o.Log.WithField("part", "bulkload"), pace: rate.NewLimiter(rate.Inf, burst),
		jobs: map[base.Gpid]*job{}, kept: map[base.Gpid]promise{}, taking: map[base.Gpid]bool{}, removing: map[base.Gpid]int{}, counts: map[base.Gpid]*counts{}}
	setRate(l.pace, o.BytesPerSecond)
	l.slots.most.Store(int64(o.Concurrency))
	return l
}

// slots are how many partitions are read at a time. The number may change.
type slots struct{ most, used atomic.Int64 }

// take waits for one; false: ctx has ended.
func (s *slots) take(ctx context.Context) bool {
	for {
		if n := s.used.Load(); n >= max(1, s.most.Load()) {
			if !pause.For(ctx, 50*time.Millisecond) {
				return false
			}
		} else if s.used.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *slots) give() { s.used.Add(-1) }

// paceOf is how fast files of a load are read, by all partitions together. The caller holds mu.
func (l *Loader) paceOf(load, bytesPerSecond int64) *rate.Limiter {
	for _, j := range l.jobs {
		if j.load == load {
			return j.pace
		}
	}
	p := rate.NewLimiter(rate.Inf, burst)
	setRate(p, bytesPerSecond)
	return p
}

func setRate(p *rate.Limiter, n int64) {
	if n <= 0 {
		p.SetLimit(rate.Inf)
		return
	}
	p.SetLimit(rate.Limit(n))
}

// inSecond is how much is taken from a pace at once, so that another rate, a pause and the end are heeded within a second.
func inSecond(p *rate.Limiter) int64 { return int64(max(1, min(p.Limit(), burst))) }

// taken fills the answer if the load was taken here, or a later one was.
func taken(r Replica, q *loading.LoadRequest, a *loading.LoadResponse) (bool, error) {
	switch t := r.Store().Taken(); {
	case t.Load > q.LoadId:
		return true, fmt.Errorf("load %d is older than load %d, which was taken: %w", q.LoadId, t.Load, base.ErrVersionOutdated)
	case t.Load == q.LoadId:
		a.State, a.Decree, a.Digest = loading.LOAD_TAKEN, t.Decree, t.Digest
		return true, nil
	}
	return false, nil
}

// member says whether a replica can make a set, or have it taken.
func member(r Replica) error {
	switch v := r.View(); {
	case v.Role != pacifica.Primary && v.Role != pacifica.Secondary:
		return fmt.Errorf("the replica is %v here, neither primary nor secondary: %w", v.Role, base.ErrInvalidState)
	case !v.Usable:
		return fmt.Errorf("the replica is out of service here: %w", base.ErrInvalidState)
	}
	return nil
}

// sameCount says whether the table has as many partitions as the files are for.
func sameCount(r Replica, n int32) error {
	count := r.View().Partitions
	if c := r.Store().Cut(); c.Count > 0 {
		count = max(count, c.Count)
	}
	if n != count {
		return fmt.Errorf("the files are for %d partitions, the table has %d: %w", n, count, base.ErrInvalidState)
	}
	return nil
}

func (l *Loader) countsOf(g base.Gpid) *counts {
	c := l.counts[g]
	if c == nil {
		c = &counts{}
		l.counts[g] = c
	}
	return c
}

var errTooMuch = errors.New("that is too much for ingest_behind (replica.bulk_load_behind_bytes): load fewer rows at a time, or a table with more partitions")

// Why a job was ended that hasn't failed.
var (
	errNewer     = errors.New("a later load was begun")
	errForgotten = errors.New("it was forgotten")
	errStopping  = errors.New("the server stops")
	errGone      = errors.New("the replica isn't a member here any more")
)

func wasCancelled(err error) bool {
	return errors.Is(err, errNewer) || errors.Is(err, errForgotten) || errors.Is(err, errStopping) || errors.Is(err, errGone)
}
