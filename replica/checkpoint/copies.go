package checkpoint

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/remotecmd"
	"pegasus/remotecmd/answer"
	"pegasus/replica/part"
)

// Host is the server that checkpoints are given by and fetched for.
type Host interface {
	Cluster
	// Name is what others know the server by, and NameOf another one.
	Name() string
	NameOf(base.RPCAddress) string
	// Replica returns a replica that is here, or nil, and Replicas all.
	Replica(base.Gpid) Replica
	Replicas() []Replica
	// Go runs f on a goroutine. ctx ends when the server stops, and the server waits for f.
	Go(f func(ctx context.Context))
}

// Options of New.
type Options struct {
	MinRate, MaxRate int64 // bytes a second, see NewPace
	BackupRate       int64 // the same of backups; their least is leastBackup
	Fetched          int   // how many checkpoints are fetched at a time
	// Dial makes connections to servers that checkpoints are fetched from.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	Log  *logrus.Entry
}

// Copies are the checkpoints that one server gives away and fetches.
type Copies struct {
	Pace    *Pace
	Backups *Pace // of reading for backups
	host    Host
	log     *logrus.Entry
	source  *source
	client  *http.Client
	slots   chan struct{} // tokens: checkpoints being fetched
	maxRate int64         // as configured
	step    atomic.Pointer[func(string)]

	installed, failed, received atomic.Int64
}

// leastBackup is the rate below which clients' latency brings no backup, in bytes a second.
const leastBackup = 2 << 20

// New returns the copies of a server.
func New(h Host, o Options) *Copies {
	p := NewPace(o.MinRate, o.MaxRate, o.Log)
	backups := NewPace(leastBackup, o.BackupRate, o.Log)
	p.Tell(backups)
	return &Copies{Pace: p, Backups: backups, host: h, log: o.Log, source: newSource(h, p, o.Log), client: newClient(o.Dial), slots: make(chan struct{}, max(1, o.Fetched)), maxRate: o.MaxRate}
}

// Register implements part.Part. It also begins to set the pace.
func (c *Copies) Register(r *part.Routes) {
	mux := http.NewServeMux()
	c.source.register(mux)
	r.Raw(strings.TrimPrefix(Path, "/"), mux) // and the paths below
	part.Live(r, "replica.learn_bytes_per_second", c.Pace.Limit)
	part.Live(r, "replica.learn_least_bytes_per_second", c.Pace.SetMin)
	r.Command(
		remotecmd.Command{Name: "replica.learning", Help: "Show who learns here and of replicas here, and how far it is, as JSON", Run: c.learningCommand, Shows: remotecmd.Always},
		remotecmd.Command{Name: sendRate, Args: "[num | DEFAULT]", Help: "The bandwidth (MB/s) of sending checkpoints to learners, 0 means no limit", Run: c.sendRateCommand, Shows: remotecmd.WithoutArgs})
	c.host.Go(c.Pace.Run)
}

// Tick removes the checkpoints that nobody has asked for in a while, and keeps the log that follows the
// others.
func (c *Copies) Tick(now time.Time) {
	c.source.expire(now)
	c.source.hold()
}

// Close removes the checkpoints that were being given.
func (c *Copies) Close() error {
	c.client.CloseIdleConnections()
	c.source.close()
	return nil
}

// OnStep has f told of each step of learning, for tests.
func (c *Copies) OnStep(f func(step string)) { c.step.Store(&f) }

// Reached tells a test of a step of learning.
func (c *Copies) Reached(step string) {
	if f := c.step.Load(); f != nil {
		(*f)(step)
	}
}

// Counts are of the checkpoints that were fetched since the start.
type Counts struct{ Installed, Failed, Bytes int64 }

// Counts returns them.
func (c *Copies) Counts() Counts {
	return Counts{c.installed.Load(), c.failed.Load(), c.received.Load()}
}

// Collect implements part.Part.
func (c *Copies) Collect(sn *metrics.Snapshot) {
	e := sn.Entity(metrics.Server, "")
	copies, left, longest, largest := int64(0), int64(0), time.Duration(0), int64(0)
	for _, r := range c.host.Replicas() {
		if p := r.Learner().current.Load(); p != nil {
			copies++
			left += max(0, p.bytes.Load()-p.bytesDone.Load())
			longest, largest = max(longest, time.Since(p.started)), max(largest, p.bytes.Load())
		}
	}
	e.Set(metrics.LearnCopies, copies)
	e.Set(metrics.LearnLeft, left)
	e.Set(metrics.LearnLongest, longest.Milliseconds())
	e.Set(metrics.LearnLargest, largest)
	e.Set(metrics.LearnRate, c.Pace.Rate())
	n := c.Counts()
	e.Set(metrics.LearnInstalled, n.Installed)
	e.Set(metrics.LearnFailed, n.Failed)
	e.Set(metrics.LearnCopyBytes, n.Bytes)
}

// Learning tells who learns here, and of replicas here.
func (c *Copies) Learning() []answer.Learning {
	out := []answer.Learning{}
	for _, r := range c.host.Replicas() {
		v, applied := r.State()
		switch v.Status {
		case pacifica.Primary:
			for _, l := range v.Learners {
				e := answer.Learning{Replica: r.Gpid().String(), Learner: c.host.NameOf(l.Node), From: c.host.Name(), State: "log",
					Decree: max(l.Match, 0), Behind: v.Last - max(l.Match, 0)}
				switch {
				case l.Asked:
					e.State = "asked"
				case l.Joining:
					e.State = "joining"
				case l.Snapshot:
					e.State = "checkpoint"
				}
				out = append(out, e)
			}
		case pacifica.Learner:
			l := r.Learner()
			e := answer.Learning{Replica: r.Gpid().String(), Learner: c.host.Name(), From: c.host.NameOf(v.Config.Primary), State: "log", Decree: applied,
				Behind: v.Last - applied, Failures: l.failures.Load()}
			if p := l.current.Load(); p != nil {
				e.State = p.phase.Load().(string)
				e.Behind = max(e.Behind, p.decree.Load()-applied)
				e.Bytes, e.BytesDone, e.BytesReused = p.bytes.Load(), p.bytesDone.Load(), p.reused.Load()
				e.Files, e.FilesDone = p.files.Load(), p.filesDone.Load()
				e.Seconds = time.Since(p.started).Seconds()
			}
			out = append(out, e)
		}
	}
	return out
}

func (c *Copies) learningCommand([]string) string {
	return remotecmd.JSON(c.Learning())
}

const sendRate = "nfs.max_send_rate_megabytes_per_disk"

// sendRateCommand shows and sets the highest rate of copies, in upstream's unit.
func (c *Copies) sendRateCommand(args []string) string {
	switch {
	case len(args) == 0:
		return remotecmd.Show(sendRate, strconv.FormatInt(c.Pace.Max()>>20, 10))
	case len(args) > 1:
		return remotecmd.Fail("ERR: invalid arguments '%s', only one argument is acceptable", strings.Join(args, " "))
	case strings.EqualFold(args[0], "DEFAULT"):
		c.Pace.Limit(c.maxRate)
		return remotecmd.Show(sendRate, strconv.FormatInt(c.maxRate>>20, 10))
	}
	n, err := strconv.ParseInt(args[0], 10, 32)
	if err != nil || n < 0 {
		return remotecmd.Fail("ERR: invalid argument '%s', the value is not acceptable", args[0])
	}
	c.Pace.Limit(n << 20)
	return remotecmd.OK()
}
