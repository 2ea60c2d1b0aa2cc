package receive

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
	"pegasus/base/version"
	"pegasus/client"
	"pegasus/replica/part"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// Options of a Receiver.
type Options struct {
	// ID is the number of this cluster, 0 if it has none; see config.Cluster.
	ID int
	// Name returns the name of the cluster with a number; ok is false of one that nobody has told of.
	Name func(id int) (name string, ok bool)
	// Version returns the version of this cluster.
	Version func() version.Version
	// Write takes a request to its replica, as a client's write.
	Write func(*rpc.Request)
	// Metas are the meta servers of this cluster, which know where partitions are.
	Metas []string
	Log   *logrus.Entry
}

// Validate returns an error if something is missing.
func (o *Options) Validate() error {
	if o.ID < 0 || o.ID > 127 {
		return fmt.Errorf("a cluster can't have the number %d", o.ID)
	}
	if len(o.Metas) == 0 || o.Name == nil || o.Version == nil || o.Write == nil || o.Log == nil {
		return errors.New("options of a receiver are missing")
	}
	return nil
}

// Receiver receives for the replicas of one server.
type Receiver struct {
	part.Quiet
	o          Options
	duplicated atomic.Pointer[func(base.Gpid) (yes, known bool)]
	// allowed: the cluster's version knows of other clusters' writes; remember: and of tombstones.
	allowed, remember atomic.Bool
	// Lines of the log about what is left out, and about clusters that nobody has told of.
	lines *rate.Limiter
	told  sync.Map // number of a cluster -> struct{}

	dividing chan struct{}
	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	client   func() *client.Client // of this cluster, made when it is needed
	made     atomic.Pointer[client.Client]
}

// New returns a Receiver.
func New(o Options) (*Receiver, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r := &Receiver{o: o, lines: rate.NewLimiter(rate.Every(10*time.Second), 3), dividing: make(chan struct{}, dividing)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.client = sync.OnceValue(func() *client.Client {
		c := client.New(o.Metas, client.Options{Framing: rpc.RDSN, Log: o.Log})
		r.made.Store(c)
		return c
	})
	return r, nil
}

// Close implements part.Part.
func (r *Receiver) Close() error {
	r.stop()
	if c := r.made.Load(); c != nil {
		c.Close()
	}
	return nil
}

// Register implements part.Part.
func (r *Receiver) Register(rt *part.Routes) { rt.Request(base.RPCDuplicate, r.receive) }

// may tells whether the cluster's version, which is only ever raised, allows a feature, and keeps that. It is asked until it does, and not once in a
// while: what is written as soon as the server has heard the version bears the number of this cluster. Otherwise the first rows of
// a new cluster wouldn't, while they do in those that they are sent to.
func (r *Receiver) may(kept *atomic.Bool, f version.Feature) bool {
	if kept.Load() {
		return true
	}
	if !r.o.Version().Allows(f) {
		return false
	}
	kept.Store(true)
	return true
}

// Origin is the number that this cluster's writes carry; 0: none.
func (r *Receiver) Origin() uint8 {
	if !r.may(&r.allowed, version.Origins) {
		return 0
	}
	return uint8(r.o.ID)
}

// Ask has f asked of a partition whether its table is sent to other clusters, and whether that is known.
func (r *Receiver) Ask(f func(base.Gpid) (yes, known bool)) { r.duplicated.Store(&f) }

// Remembers tells whether what is removed of a partition leaves tombstones, by clients, rules and sweeps: if its table is duplicated, which may go both
// ways, or writes of another cluster have come since the replica was opened, or nobody has told yet.
func (r *Receiver) Remembers(c *Counts, g base.Gpid) bool {
	if r.o.ID == 0 || !r.may(&r.remember, version.Tombstones) {
		return false
	}
	f := r.duplicated.Load()
	if c.writes.Load() > 0 || f == nil {
		return true
	}
	yes, known := (*f)(g)
	return yes || !known
}

// receive runs on the goroutine that reads the connection.
func (r *Receiver) receive(req *rpc.Request) {
	if !r.may(&r.allowed, version.Origins) {
		req.Refuse(base.ErrOperationDisabled, version.Permit(r.o.Version(), version.Origins.Since()))
		return
	}
	r.o.Write(req)
}

// Took counts what came of a request for a replica.
func (r *Receiver) Took(c *Counts, gpid base.Gpid, d *rrdb.Duplicated, now time.Time) {
	c.add(d, now)
	for id := range 128 {
		if !d.From(uint8(id)) {
			continue
		}
		if _, known := r.o.Name(id); known {
			continue
		}
		if _, again := r.told.LoadOrStore(id, struct{}{}); !again {
			r.o.Log.Warnf("duplication: writes arrive from cluster number %d, which no section [clusters.NAME] of the configuration names; they are applied", id)
		}
	}
	if d.Own+d.Lost+d.Future == 0 || !r.lines.AllowN(now, 1) {
		return
	}
	switch log := r.o.Log.WithField("gpid", gpid.String()); {
	case d.Lost > 0:
		log.Errorf("duplication: %d writes that another cluster sent can't be applied and are LOST here, the first because %s; %d since the replica was opened (dup_lost_writes)", d.Lost, d.Reason, c.lost.Load())
	case d.Own > 0:
		log.Warnf("duplication: %d writes that arrived were made by cluster number %d, which is this one (cluster.id); they are left out. If they don't come back in a circle, then another cluster has the same number: give each its own", d.Own, r.o.ID)
	default:
		log.Warnf("duplication: %d writes that arrived were made more than %v in the future; the clock of the cluster that made them is wrong, or this one's. Writes of clients here lose against them", d.Future, rrdb.MaxAhead)
	}
}

var _ part.Part = (*Receiver)(nil)
