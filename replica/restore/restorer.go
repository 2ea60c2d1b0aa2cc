package restore

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/blob"
	backupidl "pegasus/gen/backup"
	"pegasus/metrics"
	"pegasus/replica/part"
	"pegasus/rocks/pegasus"
	"pegasus/rrdb"
)

// Decree is the one that the store of a restored partition holds.
const Decree = 1

// Metrics.
var (
	running  = metrics.Define(metrics.Server, "restore_running_count", metrics.Gauge, "partitions", "Partitions that the server is restoring from a backup.")
	restored = metrics.Define(metrics.Server, "restore_bytes", metrics.Counter, "bytes", "Bytes of files of backups that were read to restore partitions.").
			Worry("It doesn't grow while restore_running_count isn't 0.")
	failures = metrics.Define(metrics.Server, "restore_failed_count", metrics.Counter, "attempts", "Attempts to restore a partition that failed.").
			Worry("It grows: the log says why.")
)

// Options configure a Restorer.
type Options struct {
	Blobs          *blob.Set
	Concurrency    int   // stores that are made at a time
	BytesPerSecond int64 // of rows, all stores together; 0: no limit
	// Report tells the meta leader; its answer is a code.
	Report func(context.Context, *backupidl.ConfigurationReportRestoreStatusRequest) (base.ErrorCode, error)
	// DeleteTime is the time up to which rows are so long expired that they may be deleted; an error: it isn't known.
	DeleteTime func() (time.Time, error)
	Now        func() time.Time
	Log        *logrus.Entry
}

// Restorer makes stores, as a Part of its server.
type Restorer struct {
	part.Quiet
	o     Options
	slots chan struct{}
	pace  *rate.Limiter

	running, bytes, failed atomic.Int64
}

// burst is how many bytes of rows are taken from the pace at once.
const burst = 256 << 10

// New returns a Restorer.
func New(o Options) *Restorer {
	r := &Restorer{o: o, slots: make(chan struct{}, max(1, o.Concurrency)), pace: rate.NewLimiter(rate.Inf, burst)}
	r.setRate(o.BytesPerSecond)
	return r
}

func (r *Restorer) setRate(n int64) {
	if n <= 0 {
		r.pace.SetLimit(rate.Inf)
		return
	}
	r.pace.SetLimit(rate.Limit(n))
}

// Register implements part.Part.
func (r *Restorer) Register(routes *part.Routes) {
	part.Live(routes, "replica.restore_bytes_per_second", r.setRate)
}

// Collect implements part.Part.
func (r *Restorer) Collect(sn *metrics.Snapshot) {
	e := sn.Entity(metrics.Server, "")
	e.Set(running, r.running.Load())
	e.Set(restored, r.bytes.Load())
	e.Set(failures, r.failed.Load())
}

// Job is a store to be made.
type Job struct {
	Gpid       base.Gpid
	Partitions int32
	Of         appenv.Restore
	// Open opens other rows than those of the backup Of; nil: those.
	Open func(context.Context, Progress) (Rows, error)
	// Begin begins the store, in a place where nothing is left of one that was begun before.
	Begin func() (*rrdb.Builder, error)
	// Usable says why the disk takes no more; nil if it does.
	Usable func() error
}

// Rows are where a store is made of: those of a partition, in the order of their keys.
type Rows interface {
	Next() bool
	Row() pegasus.Row
	Err() error
	Close() error
	String() string // where they are, for people
}

// Progress is told how far Job.Open is.
type Progress struct {
	Total func(bytes int64)
	// Read waits for the pace.
	Read func(ctx context.Context, bytes int64) error
}

// ErrUnwanted is returned when the meta doesn't want the store any more.
var ErrUnwanted = errors.New("the meta doesn't want this partition to be restored here")

// Make makes a store, and tells the meta how far it is. When it returns nil the store is complete, durable and
// closed. After an error, which the meta knows of then, nothing of it may be used.
func (r *Restorer) Make(ctx context.Context, j Job) error {
	t := &task{Restorer: r, Job: j, log: r.o.Log.WithField("replica", j.Gpid.String())}
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.tell(ctx, cancel)
	}()
	began := time.Now()
	err := t.make(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	cancel(nil)
	<-done
	switch {
	case err == nil:
		t.log.Infof("restored %d rows (%d bytes) from %s in %v; %d had expired, %d are of other partitions", t.rows, t.bytes, t.where, time.Since(began).Round(time.Millisecond), t.expired, t.foreign)
	case errors.Is(err, ErrUnwanted) || errors.Is(err, context.Canceled):
		t.log.Infof("is no longer being restored here: %v", err)
	default:
		r.failed.Add(1)
		t.log.Errorf("restore: %v", err)
	}
	return err
}

// Failed tells the meta that what followed on Make failed.
func (r *Restorer) Failed(ctx context.Context, g base.Gpid, err error) {
	r.failed.Add(1)
	r.o.Log.Errorf("replica %v: restore: %v", g, err)
	r.report(ctx, g, codeOf(err), 0, err.Error())
}
