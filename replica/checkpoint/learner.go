package checkpoint

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/pause"
)

// A copy that failed is tried again after minRetry, then after twice that each time, up to
// maxRetry.
const minRetry, maxRetry = time.Second, 10 * time.Second

// errUnwanted ends a copy from who isn't this replica's primary any more.
var errUnwanted = errors.New("the replica has another primary or role now")

// Installer is the replica that a checkpoint is fetched for. All methods but Post and Done
// are called by a function that was given to Post.
type Installer interface {
	// Post has f called on the goroutine of the replica's core, unless the replica is closed.
	Post(f func())
	// Done is closed when the replica is.
	Done() <-chan struct{}
	// Failed tells that the replica is out of service.
	Failed() bool
	// Install puts what is in the learner's directory, which holds everything up to decree, in
	// the store's place. After an error the replica is as it was, or out of service.
	Install(decree int64) error
	// Installed tells the core how its wish for a checkpoint ended.
	Installed(decree int64, ok bool)
}

// Learner fetches the checkpoints of one replica, one at a time.
type Learner struct {
	copies *Copies
	gpid   base.Gpid
	dir    string
	log    *logrus.Entry
	// current is the copy that is under way, nil if none. It is set on the goroutine of the core.
	current atomic.Pointer[Progress]
	// failures are those since the last success. distrust: a checksum was wrong.
	failures atomic.Int64
	distrust atomic.Bool
	files    sync.Mutex // held by who changes dir, but for the installation
}

// NewLearner returns the learner of a replica that is in path.
func (c *Copies) NewLearner(g base.Gpid, path string, log *logrus.Entry) *Learner {
	return &Learner{copies: c, gpid: g, dir: filepath.Join(path, "fetch"), log: log}
}

// Dir is where a checkpoint is gathered. It survives restarts, so that what was copied is used
// by the next attempt, and goes when the replica is a member.
func (l *Learner) Dir() string { return l.dir }

// Reached tells a test of a step of learning.
func (l *Learner) Reached(step string) { l.copies.Reached(step) }

// Failures returns how many attempts have failed since one succeeded.
func (l *Learner) Failures() int64 { return l.failures.Load() }

// Fetch gets a checkpoint from the primary at a ballot and has it installed. old is the directory
// of the store in use. It returns at once; r hears of the outcome unless it is closed or
// out of service. To be called on the goroutine of the core.
func (l *Learner) Fetch(r Installer, primary base.RPCAddress, ballot int64, old string) {
	ctx, cancel := context.WithCancelCause(context.Background())
	p := &Progress{primary: primary, cancel: cancel, started: time.Now()}
	p.phase.Store(phaseWaiting)
	l.current.Store(p)
	l.log.Infof("fetches a checkpoint from %v", primary)
	l.copies.host.Go(func(server context.Context) {
		defer cancel(nil)
		defer context.AfterFunc(server, func() { cancel(nil) })()
		m, err := l.fetch(ctx, p, ballot, old)
		if errors.Is(context.Cause(ctx), errUnwanted) {
			l.log.Infof("no longer fetches a checkpoint from %v: %v; has %d of %d bytes", primary, errUnwanted, p.bytesDone.Load(), p.bytes.Load())
		}
		if err == nil {
			installed := make(chan error, 1)
			r.Post(func() { installed <- l.install(r, m, p) })
			select {
			case err = <-installed:
				if err == nil {
					return
				}
			case <-r.Done():
				return
			}
		}
		if ctx.Err() == nil {
			l.failed(ctx, p, err)
		}
		r.Post(func() {
			defer l.current.Store(nil)
			if !r.Failed() {
				r.Installed(0, false)
			}
		})
	})
}

// failed notes that an attempt failed, and waits before the next one: the primary makes a checkpoint
// for each.
func (l *Learner) failed(ctx context.Context, p *Progress, err error) {
	p.phase.Store(phaseFailed)
	wait := min(minRetry<<min(l.failures.Load(), 8), maxRetry)
	l.failures.Add(1)
	l.copies.failed.Add(1)
	l.log.Warnf("checkpoint from %v: %v; has %d of %d bytes, tried again in %v", p.primary, err, p.bytesDone.Load(), p.bytes.Load(), wait)
	if errors.Is(err, base.ErrWrongChecksum) {
		l.distrust.Store(true)
	}
	if errors.Is(err, syscall.ENOSPC) {
		if e := os.RemoveAll(l.dir); e != nil {
			l.log.Warn(e)
		}
	}
	pause.For(ctx, wait)
}

// install puts what was copied in the store's place and tells the core, in one call of its goroutine.
// After an error the core still waits, and the replica is as it was.
func (l *Learner) install(r Installer, m *Manifest, p *Progress) error {
	if r.Failed() {
		l.current.Store(nil)
		return nil
	}
	p.phase.Store(phaseInstalling)
	err := r.Install(m.Decree)
	switch {
	case r.Failed():
		l.current.Store(nil)
		return nil
	case err != nil:
		return err
	}
	l.failures.Store(0)
	l.distrust.Store(false)
	l.copies.installed.Add(1)
	l.log.Infof("installed the checkpoint of decree %d, %d bytes, %d of them not copied, in %v", m.Decree, p.bytes.Load(),
		p.reused.Load(), time.Since(p.started).Round(time.Millisecond))
	l.current.Store(nil)
	r.Installed(m.Decree, true)
	return nil
}

// Stop ends the copy that is under way, if any. Until it has ended, the replica learns from
// nobody else.
func (l *Learner) Stop() {
	if p := l.current.Load(); p != nil {
		p.cancel(errUnwanted)
	}
}

// StopUnlessFrom is Stop but for a copy from that primary. A newer ballot of the same primary
// changes nothing about its checkpoint.
func (l *Learner) StopUnlessFrom(primary base.RPCAddress) {
	if p := l.current.Load(); p != nil && p.primary != primary {
		p.cancel(errUnwanted)
	}
}

// fetch fills the directory with a checkpoint of the primary and makes it durable.
func (l *Learner) fetch(ctx context.Context, p *Progress, ballot int64, old string) (*Manifest, error) {
	c := l.copies
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.slots }()
	l.files.Lock()
	defer l.files.Unlock()
	f := &fetch{cluster: c.host, from: "http://" + c.host.NameOf(p.primary), dir: l.dir, old: old, p: p, step: c.Reached,
		pace: func(n int) error { return c.Pace.wait(ctx, c.Pace.take, n) }, piece: c.Pace.piece, client: c.client,
		later: c.host.Go}
	q := url.Values{"replica": {l.gpid.String()}, "ballot": {strconv.FormatInt(ballot, 10)}, "learner": {c.host.Name()}}
	if l.distrust.Load() {
		q.Set("fresh", "1")
	}
	m, err := f.run(ctx, q)
	c.received.Add(p.bytesDone.Load() - p.reused.Load())
	return m, errors.Join(err, ctx.Err())
}

// Drop removes what is left of a copy that a member has no use for.
func (l *Learner) Drop() {
	l.files.Lock()
	defer l.files.Unlock()
	if err := os.RemoveAll(l.dir); err != nil {
		l.log.Warnf("remove an unfinished copy: %v", err)
	}
}

// Fetching tells whether a copy is under way.
func (l *Learner) Fetching() bool { return l.current.Load() != nil }
