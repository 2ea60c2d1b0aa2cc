package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"pegasus/base/appenv"
	"pegasus/base/pause"
	"pegasus/gen/duplication"
)

// Options say what is moved, and how.
type Options struct {
	Table      string
	TableThere string // "": the same name
	// ClusterThere is the name by which the source's configuration knows the other cluster; "": the name by which that calls itself.
	ClusterThere string
	Replicas     int // there; 0: as many as here

	MaxBehind int64 // mutations that may be behind when writes are refused; 0: 1000
	// MaxRefused is from then on to the end, else writes are allowed again; 0: 1 min, and 5 min for a C++ source, which
	// learns the setting and confirms in its own time.
	MaxRefused  time.Duration
	KeepRefused bool   // don't allow them again when something fails
	Verify      Verify // "": Auto
	DropCopy    bool   // Abort drops the table there

	// Compare compares the tables row by row: all of them, or as many as it can in some time. Its text says what it found.
	// Nil: it isn't possible.
	Compare func(ctx context.Context, within time.Duration) (differ int64, text string, err error)

	Poll time.Duration // how often a cluster is asked; 0: 1 s, and 100 ms while writes are refused
	// CreateWait is how long the table may take to be seen there; 0: 30 s.
	CreateWait time.Duration
	Tell       func(Event) // nil: nobody
}

// Verify is how the copy is verified.
type Verify string

// The ways.
const (
	// Auto is ByDigest where both clusters have digests and that is quick enough, else ByCompare.
	Auto Verify = "auto"
	// ByDigest compares row counts and hashes of all partitions while writes are refused.
	ByDigest Verify = "digest"
	// ByCompare compares all rows before writes are refused, and after that as many as MaxRefused leaves time for.
	ByCompare Verify = "compare"
	// None trusts the duplication.
	None Verify = "none"
)

// Step is where a migration is.
type Step string

// The steps, in their order.
const (
	Check   Step = "check"
	Begin   Step = "begin"
	Copy    Step = "copy"
	Refuse  Step = "refuse"
	Drain   Step = "drain"
	Compare Step = "verify"
	Done    Step = "done"
	Aborted Step = "abort" // in place of them all
)

// Event is told of what happens.
type Event struct {
	Step Step
	Text string
	// Alarm: writes to the table are refused, and stay so.
	Alarm bool
	// With Step Copy: how far it is.
	Behind  int64   // mutations
	Rate    float64 // mutations that are confirmed in a second
	Sending int     // partitions that have been copied
	Of      int
}

// Result is what a run came to.
type Result struct {
	Done     bool
	Verified string        // how, in words
	Rows     int64         // -1: not counted
	Copied   time.Duration // by this run, until writes were refused
	Refused  time.Duration // how long writes were refused up to the end of the run; 0 if an earlier run had them refused
}

// StepError is what a run failed with.
type StepError struct {
	Step Step
	// Denied: writes to the table are refused now.
	Denied bool
	Next   string // what to do
	Err    error
}

func (e *StepError) Error() string {
	s := fmt.Sprintf("%s: %v", e.Step, e.Err)
	if e.Denied {
		s += "; WRITES TO THE TABLE ARE REFUSED AT THE SOURCE"
	}
	if e.Next != "" {
		s += "; " + e.Next
	}
	return s
}

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// undoTime bounds what is undone after a run failed or was interrupted.
const undoTime = 30 * time.Second

// Denied is the value of the setting by which writes are refused.
const Denied = "reconfig*write"

// Migration moves a table from one cluster to another.
type Migration struct {
	from, to Cluster
	opt      Options

	step                 Step
	begun                bool          // this run knows of the duplication
	lag                  time.Duration // that is small, for the source
	ours                 bool          // the source is
	refused              time.Time     // when this run had writes refused
	result               Result
	undoTime, finishTime time.Duration
}

// New makes a migration.
func New(from, to Cluster, o Options) *Migration {
	o.TableThere = cmp.Or(o.TableThere, o.Table)
	o.MaxBehind, o.CreateWait = cmp.Or(o.MaxBehind, 1000), cmp.Or(o.CreateWait, 30*time.Second)
	o.Verify = cmp.Or(o.Verify, Auto)
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	return &Migration{from: from, to: to, opt: o, step: Check, result: Result{Rows: -1}, undoTime: undoTime, finishTime: time.Minute}
}

// place is where the clusters say that the migration is.
type place struct {
	here, there *Table
	dup         *Duplication
	denied      bool
	denies      string // the setting, if it is of somebody else
	away        error  // the destination wasn't asked for its table
}

// look asks both clusters.
func (m *Migration) look(ctx context.Context) (place, error) {
	p, err := m.lookHere(ctx)
	if err == nil {
		err = p.away
	}
	return p, err
}

// lookHere asks both clusters, of which the destination need not answer.
func (m *Migration) lookHere(ctx context.Context) (p place, err error) {
	if p.here, err = m.from.Table(ctx, m.opt.Table); err != nil {
		return p, fmt.Errorf("look for the table at the source: %w", err)
	}
	if p.here == nil {
		return p, m.fail("`pegasus table ls` lists the tables of the cluster", "the source has no table %q", m.opt.Table)
	}
	if p.there, err = m.to.Table(ctx, m.opt.TableThere); err != nil {
		p.away = fmt.Errorf("look for the table at the destination: %w", err)
	}
	if v := p.here.Envs[appenv.DenyClient]; v == Denied {
		p.denied = true
	} else {
		p.denies = v
	}
	ds, err := m.from.Duplications(ctx, m.opt.Table)
	if err != nil {
		return p, fmt.Errorf("look for the duplication at the source: %w", err)
	}
	for i := range ds {
		if ds[i].Cluster == m.opt.ClusterThere && ds[i].Status != duplication.DS_REMOVED {
			p.dup, m.begun = &ds[i], true
		}
	}
	if p.dup != nil && p.dup.TableThere != m.opt.TableThere {
		return p, m.fail(fmt.Sprintf("give --name-there %s if that is the migration to go on with", p.dup.TableThere), "the table is duplicated to table %q of cluster %s", p.dup.TableThere, p.dup.Cluster)
	}
	return p, nil
}

func (m *Migration) fail(next, format string, args ...any) error {
	return &StepError{Step: m.step, Next: next, Err: fmt.Errorf(format, args...)}
}

func (m *Migration) tell(format string, args ...any) {
	m.opt.Tell(Event{Step: m.step, Text: fmt.Sprintf(format, args...)})
}

// Run brings the migration to its end, from wherever it is. It returns when the table is the same in both clusters and its
// clients can be switched, or with an error that says what is to be done; see StepError.
func (m *Migration) Run(ctx context.Context) (Result, error) {
	began := time.Now()
	err := m.run(ctx, began)
	if err == nil {
		m.result.Done = true
		return m.result, nil
	}
	return m.result, m.undo(ctx, err)
}

func (m *Migration) run(ctx context.Context, began time.Time) error {
	p, err := m.check(ctx)
	if err != nil {
		return err
	}
	if p.dup == nil {
		m.step = Begin
		if err := m.from.Duplicate(ctx, m.opt.Table, m.opt.ClusterThere, m.opt.TableThere, m.opt.Replicas); err != nil {
			return m.wrap(err, "--cluster is the name of a section [clusters.NAME] in the configuration of the source's servers; run the command again: it goes on from where it is")
		}
		m.tell("the source sends the table to table %s of cluster %s", m.opt.TableThere, m.opt.ClusterThere)
	}
	m.begun = true
	m.step = Copy
	if p, err = m.copied(ctx); err != nil {
		return err
	}
	inherited := p.denied
	how, err := m.prepareVerify(ctx, &p)
	if err != nil {
		return err
	}
	m.result.Copied = time.Since(began)
	m.step = Refuse
	if !inherited {
		// From here on it counts as refused, also when the answer is lost.
		m.refused = time.Now()
		if err := m.from.Deny(ctx, m.opt.Table, true); err != nil {
			return m.wrap(err, "")
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, m.opt.MaxRefused, fmt.Errorf("writes have been refused for %v", m.opt.MaxRefused))
		defer cancel()
	} else {
		m.opt.Tell(Event{Step: m.step, Alarm: true, Text: "the source refuses writes since an earlier run, and goes on to until this one is done: --abort allows them"})
	}
	if err := m.settle(ctx, how); err != nil {
		return err
	}
	if !inherited {
		m.result.Refused = time.Since(m.refused)
	}
	m.step = Done
	return nil
}

func (m *Migration) wrap(err error, next string) error {
	var s *StepError
	if errors.As(err, &s) {
		return err
	}
	return &StepError{Step: m.step, Err: err, Next: next}
}

// undo allows writes again if this run refused them, and says what to do.
func (m *Migration) undo(ctx context.Context, err error) error {
	err = m.wrap(err, "")
	var s *StepError
	errors.As(err, &s)
	if cause := context.Cause(ctx); ctx.Err() != nil && !errors.Is(s.Err, cause) {
		s.Err = fmt.Errorf("%w (%w)", s.Err, cause)
	}
	const goOn = "run the same command again to go on, or with --abort to leave the source as it was"
	free, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.undoTime)
	defer cancel()
	if m.refused.IsZero() {
		if !m.begun {
			if s.Next == "" {
				s.Next = "nothing was changed; run the command again"
			}
			return s
		}
		if here, e := m.from.Table(free, m.opt.Table); e == nil && here != nil && here.Envs[appenv.DenyClient] == Denied {
			s.Denied = true
			// What a failed step advises isn't meant for a table that clients may use.
			s.Next = "they have been since before this run, and may have to be: if no client uses the other cluster's table yet, --abort allows them again; else --finish ends the migration, and what clients have written there is a difference that is meant"
		} else {
			s.Next = join(s.Next, "the duplication goes on by itself: "+goOn)
		}
		return s
	}
	m.result.Refused = time.Since(m.refused)
	if m.opt.KeepRefused {
		s.Denied, s.Next = true, join(s.Next, goOn)
		return s
	}
	if e := m.allow(free); e != nil {
		s.Denied = true
		s.Err = fmt.Errorf("%w; and writes couldn't be allowed again: %w", s.Err, e)
		s.Next = join(s.Next, fmt.Sprintf("allow them with `pegasus table env del %s %s`, or run with --abort", m.opt.Table, appenv.DenyClient))
		return s
	}
	m.result.Refused = time.Since(m.refused)
	s.Next = join(s.Next, fmt.Sprintf("writes are allowed again, after %v; the duplication goes on by itself: %s", m.result.Refused.Round(time.Millisecond), goOn))
	return s
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// allow takes the refusal of writes back. It is tried until ctx ends.
func (m *Migration) allow(ctx context.Context) error {
	for {
		err := m.from.Deny(ctx, m.opt.Table, false)
		m.from.Hurry(ctx)
		if err == nil || !pause.For(ctx, time.Second) {
			return err
		}
	}
}

// Finish ends a migration whose clients have been switched: the duplication is removed. Writes to the source stay refused.
func (m *Migration) Finish(ctx context.Context) error {
	if err := m.named(ctx); err != nil {
		return err
	}
	p, err := m.look(ctx)
	switch {
	case err != nil:
		return m.wrap(err, "")
	case p.denies != "":
		return m.denies(&p)
	case p.dup == nil && !p.denied:
		return m.fail("run the command without --finish", "the table isn't being moved to cluster %s", m.opt.ClusterThere)
	case p.dup == nil:
		m.step = Done
		m.opt.Tell(Event{Step: Done, Alarm: true, Text: "the migration has been finished already; the source refuses writes to its table"})
		return nil
	case !p.denied:
		return m.fail("run the command without --finish first, and then switch the clients", "the source still takes writes")
	}
	info, err := m.from.Info(ctx)
	if err != nil {
		return m.wrap(err, "run it again")
	}
	m.step = Drain
	m.source(info)
	within, cancel := context.WithTimeoutCause(ctx, m.finishTime, errors.New("the other cluster lacks mutations"))
	defer cancel()
	if err := m.drain(within); err != nil {
		return m.wrap(err, "run the command without --finish to wait for it")
	}
	if err := m.from.EndDuplication(ctx, m.opt.Table, p.dup.ID); err != nil {
		return m.wrap(err, "run it again")
	}
	m.step = Done
	m.opt.Tell(Event{Step: Done, Alarm: true, Text: fmt.Sprintf("the duplication is removed. The source keeps its table, and refuses writes to it: drop it when nobody reads it any more (`pegasus table drop %s`)", m.opt.Table)})
	return nil
}

// Abort leaves the source as it was: it takes writes, and sends nothing. The destination, which may be gone, is needed only
// for its name, and for the copy that is dropped.
func (m *Migration) Abort(ctx context.Context) error {
	m.step = Aborted
	if err := m.named(ctx); err != nil {
		var s *StepError
		if errors.As(err, &s) {
			s.Next = join(s.Next, fmt.Sprintf("or give its name with --cluster (`pegasus dup ls %s`), which aborts without it", m.opt.Table))
		}
		return err
	}
	p, err := m.lookHere(ctx)
	if err != nil {
		return m.wrap(err, "run it again")
	}
	if p.dup == nil {
		if p.denied || p.denies != "" {
			return m.fail(fmt.Sprintf("if it shall take them, run `pegasus table env del %s %s`", m.opt.Table, appenv.DenyClient),
				"the table isn't being moved to cluster %s, but refuses requests (%s = %s)", m.opt.ClusterThere, appenv.DenyClient, p.here.Envs[appenv.DenyClient])
		}
		m.tell("the table isn't being moved to cluster %s: there is nothing to abort", m.opt.ClusterThere)
		return nil
	}
	if p.denied {
		err := m.from.Deny(ctx, m.opt.Table, false)
		m.from.Hurry(ctx)
		if err != nil {
			return m.wrap(fmt.Errorf("allow writes to the table again: %w", err), "run it again")
		}
		m.tell("the source takes writes again. What clients may have written to the other cluster's table is not in it")
	}
	if p.denies != "" {
		m.tell("the setting %s = %s stays: no migration made it", appenv.DenyClient, p.denies)
	}
	if m.opt.DropCopy {
		if p.away != nil {
			return m.wrap(p.away, "run it again; or without --drop-copy, and drop the copy yourself")
		}
		if err := m.drop(ctx, &p); err != nil {
			return err
		}
	}
	if err := m.from.EndDuplication(ctx, m.opt.Table, p.dup.ID); err != nil {
		return m.wrap(err, "run it again")
	}
	m.tell("the duplication to cluster %s is removed", m.opt.ClusterThere)
	if !m.opt.DropCopy {
		if p.there != nil || p.away != nil {
			m.tell("the table stays in the other cluster: drop it there before the next attempt (`pegasus table drop %s --meta METAS`)", m.opt.TableThere)
		}
		return nil
	}
	// The source may have made it anew before the duplication was gone.
	if p.there, err = m.to.Table(ctx, m.opt.TableThere); err != nil {
		return m.wrap(err, "look whether the other cluster still has the table, and drop it")
	}
	if p.there == nil {
		return nil
	}
	return m.drop(ctx, &p)
}

// clockSlack is how far the clocks of two clusters may be apart.
const clockSlack = time.Minute

// isCopy tells whether the table there was made by the duplication.
func isCopy(p *place) bool {
	return p.there.Created.IsZero() || p.dup.Created.IsZero() || p.there.Created.After(p.dup.Created.Add(-clockSlack))
}

// drop drops the copy. The duplication still is there, and proves that it is one.
func (m *Migration) drop(ctx context.Context, p *place) error {
	switch {
	case p.there == nil:
		return nil
	case p.there.Created.IsZero() || !isCopy(p):
		return m.fail("run --abort without --drop-copy, and drop the table yourself if it is the copy", "table %q of the other cluster is older than the duplication: it isn't a copy, and isn't dropped", m.opt.TableThere)
	}
	if err := m.to.Drop(ctx, m.opt.TableThere); err != nil {
		return m.wrap(fmt.Errorf("drop the copy: %w", err), "run it again")
	}
	m.tell("the copy is dropped in the other cluster")
	return nil
}
