package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pegasus/base/appenv"
	"pegasus/gen/duplication"
)

var (
	errKilled = errors.New("killed")
	errOnce   = errors.New("once")
	errGone   = errors.New("gone")
)

// world is two clusters and a client that writes to the source. Each call to a cluster lets some time pass.
type world struct {
	t     *testing.T
	calls int
	log   []string
	// failAt is the call that fails; killed has all later ones fail, too.
	failAt int
	kill   bool
	lose   bool // the call is done, and its answer is lost
	hook   func(w *world, call string)

	east, west Info // west is the source
	here       *Table
	there      *Table
	dups       []Duplication
	nextDup    int32
	clock      time.Time

	committed, prepared, confirmed int64
	rows, rowsThere                int64 // as the digests have them
	stuck                          bool  // nothing is confirmed any more
	noDigest                       bool
	wrongCluster                   bool // the table is made somewhere else
	gone                           bool // the destination is
	late                           int  // calls until a refusal takes effect
	untilDenied                    int
}

func newWorld(t *testing.T) *world {
	return &world{t: t, west: Info{Ours: true, Name: "west", Program: "west", Level: "steady", Leader: "w", Duplicates: true, Free: 1 << 40, Alive: 3},
		east:  Info{Ours: true, Name: "east", Program: "east", Level: "lively", Leader: "e", Duplicates: true, Free: 1 << 40, Alive: 3},
		here:  &Table{ID: 1, Partitions: 2, Replicas: 3, Envs: map[string]string{"business.info": "x"}, Created: time.Unix(1000, 0)},
		clock: time.Unix(1e6, 0), committed: 100, prepared: 100, rows: 100, late: 2}
}

func (w *world) denied() bool { return w.here.Envs[appenv.DenyClient] != "" && w.untilDenied == 0 }

// call counts a call, and lets the world go on.
func (w *world) call(name string) error {
	w.calls++
	w.log = append(w.log, name)
	if w.hook != nil {
		w.hook(w, name)
	}
	w.clock = w.clock.Add(time.Second)
	if w.untilDenied > 0 {
		w.untilDenied--
	}
	if !w.denied() {
		w.prepared += 10
		w.rows += 10
	}
	if w.prepared > w.committed+10 || w.denied() {
		w.committed = w.prepared
	}
	if w.denied() && !w.west.Ours && w.calls%3 == 0 {
		w.prepared++ // an empty mutation
		w.committed++
	}
	if len(w.dups) > 0 && !w.stuck {
		switch d := &w.dups[0]; d.Status {
		case duplication.DS_PREPARE:
			if w.there == nil && !w.wrongCluster {
				w.there = &Table{ID: 7, Partitions: w.here.Partitions, Replicas: 3, Created: w.clock}
			}
			d.Status = duplication.DS_APP
		case duplication.DS_APP:
			d.Status = duplication.DS_LOG
		case duplication.DS_LOG:
			w.confirmed = min(w.committed, w.confirmed+200)
			if !w.west.Ours && w.denied() {
				w.confirmed = min(w.confirmed, w.committed-1) // the last one waits for the next one
			}
			w.rowsThere = min(w.rows, w.confirmed)
		}
	}
	if w.failAt > 0 && (w.calls == w.failAt || w.kill && w.calls > w.failAt) && !w.lose {
		if w.kill {
			return errKilled
		}
		return errOnce
	}
	return nil
}

// answer is the error after a call that changed something.
func (w *world) answer() error {
	if w.lose && w.failAt > 0 && w.calls >= w.failAt {
		return errKilled
	}
	return nil
}

type end struct {
	w    *world
	west bool
}

func (e end) Info(context.Context) (Info, error) {
	err := e.w.call("info")
	if e.west {
		return e.w.west, errors.Join(err, e.w.answer())
	}
	if e.w.gone {
		return Info{}, errGone
	}
	return e.w.east, errors.Join(err, e.w.answer())
}

func (e end) Table(_ context.Context, name string) (*Table, error) {
	if err := errors.Join(e.w.call("table"), e.w.answer()); err != nil {
		return nil, err
	}
	if e.w.gone && !e.west {
		return nil, errGone
	}
	t := e.w.there
	if e.west {
		t = e.w.here
	}
	if t == nil || name != "t" {
		return nil, nil
	}
	c := *t
	c.Envs = map[string]string{}
	for k, v := range t.Envs {
		c.Envs[k] = v
	}
	return &c, nil
}

func (e end) Drop(context.Context, string) error {
	if err := e.w.call("drop"); err != nil {
		return err
	}
	if e.west {
		e.w.t.Error("the source's table is dropped")
	}
	e.w.there = nil
	return e.w.answer()
}

func (e end) Bytes(context.Context, string) (int64, error) {
	return 1 << 30, errors.Join(e.w.call("bytes"), e.w.answer())
}

func (e end) Deny(_ context.Context, _ string, deny bool) error {
	if err := e.w.call("deny " + fmt.Sprint(deny)); err != nil {
		return err
	}
	if !e.west {
		e.w.t.Error("the destination is told to refuse writes")
	}
	if deny {
		e.w.here.Envs[appenv.DenyClient], e.w.untilDenied = Denied, e.w.late
	} else {
		delete(e.w.here.Envs, appenv.DenyClient)
	}
	return e.w.answer()
}

func (e end) Refused(context.Context, string) (int, int, error) {
	if err := errors.Join(e.w.call("refused"), e.w.answer()); err != nil {
		return 0, 0, err
	}
	if e.w.denied() {
		return 2, 2, nil
	}
	return 1, 2, nil
}

func (e end) Hurry(context.Context) {}

func (e end) Decrees(context.Context, string) ([]Decrees, error) {
	err := errors.Join(e.w.call("decrees"), e.w.answer())
	return []Decrees{{e.w.committed, e.w.prepared}, {5, 5}}, err
}

func (e end) Duplications(context.Context, string) ([]Duplication, error) {
	if err := errors.Join(e.w.call("duplications"), e.w.answer()); err != nil {
		return nil, err
	}
	var out []Duplication
	for _, d := range e.w.dups {
		d.Partitions = []Progress{{Confirmed: e.w.confirmed, Committed: e.w.committed}, {Confirmed: 5, Committed: 5}}
		if d.Status != duplication.DS_LOG {
			d.Partitions = []Progress{{-1, -1, 0, "no primary has told yet"}, {-1, -1, 0, "no primary has told yet"}}
		}
		out = append(out, d)
	}
	return out, nil
}

func (e end) Duplicate(_ context.Context, table, cluster, there string, _ int) error {
	if err := e.w.call("duplicate"); err != nil {
		return err
	}
	if len(e.w.dups) > 0 || e.w.here.Envs[appenv.DenyClient] != "" {
		e.w.t.Errorf("duplicated again: %+v, %v", e.w.dups, e.w.here.Envs)
	}
	e.w.nextDup++
	e.w.dups = append(e.w.dups, Duplication{ID: e.w.nextDup, Cluster: cluster, TableThere: there, Status: duplication.DS_PREPARE, Created: e.w.clock})
	return e.w.answer()
}

func (e end) EndDuplication(_ context.Context, _ string, id int32) error {
	if err := e.w.call("end"); err != nil {
		return err
	}
	if len(e.w.dups) != 1 || e.w.dups[0].ID != id {
		e.w.t.Errorf("duplication %d is ended, there are %+v", id, e.w.dups)
	}
	e.w.dups, e.w.confirmed = nil, 0
	return e.w.answer()
}

func (e end) Digests(context.Context, string, time.Time) ([]Digest, error) {
	if e.w.noDigest {
		return nil, errors.ErrUnsupported
	}
	n := e.w.rows
	if !e.west {
		n = e.w.rowsThere
	}
	return []Digest{{n, fmt.Sprint(n)}, {1, "x"}}, nil
}

func (w *world) migration(change func(*Options)) *Migration {
	o := Options{Table: "t", Poll: time.Microsecond, MaxRefused: 20 * time.Second, CreateWait: time.Millisecond}
	if change != nil {
		change(&o)
	}
	return New(end{w, true}, end{w, false}, o)
}

func (w *world) mustRun(change func(*Options)) Result {
	w.t.Helper()
	r, err := w.migration(change).Run(w.t.Context())
	if err != nil {
		w.t.Fatalf("%v\n%v", err, w.log)
	}
	w.isDone(r)
	return r
}

// isDone demands what holds at the end of a migration.
func (w *world) isDone(r Result) {
	w.t.Helper()
	if !r.Done || !w.denied() || w.there == nil || len(w.dups) != 1 || w.confirmed < w.rows || w.west.Ours && w.confirmed != w.committed || w.committed != w.prepared || w.rowsThere != w.rows {
		w.t.Fatalf("%+v, denied %v, there %v, confirmed %d committed %d prepared %d rows %d there %d, %v", r, w.denied(), w.there, w.confirmed, w.committed, w.prepared, w.rows, w.rowsThere, w.log)
	}
}

// asItWas demands that the source is as before a migration.
func (w *world) asItWas() {
	w.t.Helper()
	if len(w.here.Envs) != 1 || len(w.dups) != 0 {
		w.t.Fatalf("%v, %+v\n%v", w.here.Envs, w.dups, w.log)
	}
}

// A migration that runs again, or twice, comes to the same end; then it is finished, which can be done twice, too.
func TestRun(t *testing.T) {
	for name, change := range map[string]func(*world, *Options){
		"digest":  func(*world, *Options) {},
		"compare": func(w *world, _ *Options) { w.noDigest = true },
		"none":    func(_ *world, o *Options) { o.Verify = None },
		"C++":     func(w *world, _ *Options) { w.noDigest, w.west.Ours = true, false },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var compared []bool
			options := func(o *Options) {
				o.Compare = func(_ context.Context, within time.Duration) (int64, string, error) {
					compared = append(compared, w.denied())
					return 0, "all equal", nil
				}
				change(w, o)
			}
			if err := w.migration(options).Plan(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.asItWas()
			if w.there != nil {
				t.Fatal("a plan makes a table")
			}
			r := w.mustRun(options)
			switch {
			case name == "digest" && (r.Rows != w.rows+1 || !strings.Contains(r.Verified, "digests") || compared != nil),
				(name == "compare" || name == "C++") && (fmt.Sprint(compared) != "[false true]" || r.Verified != "all equal"),
				name == "none" && (r.Verified != "not verified" || compared != nil):
				t.Errorf("%+v, compared %v", r, compared)
			}
			if again := w.mustRun(options); again.Refused != 0 {
				t.Errorf("a second run says that it had writes refused: %+v", again)
			}
			for range 2 {
				if err := w.migration(nil).Finish(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if !w.denied() || len(w.dups) != 0 || w.there == nil {
				t.Errorf("after the end: %v %v", w.here.Envs, w.dups)
			}
			var s *StepError
			if err := w.migration(nil).Abort(t.Context()); !errors.As(err, &s) || !strings.Contains(s.Next, "table env del") {
				t.Errorf("aborted after its end: %v", err)
			}
		})
	}
}

// callsOf is how many calls a run takes.
func callsOf(t *testing.T, f func(*world)) int {
	w := newWorld(t)
	f(w)
	return w.calls
}

// A run that is killed before or after each of its calls is gone on with by the next one, or aborted.
func TestKilledAtEachCall(t *testing.T) {
	n := callsOf(t, func(w *world) { w.mustRun(nil) })
	if n < 20 {
		t.Fatalf("a run takes %d calls", n)
	}
	for _, lose := range []bool{false, true} {
		for at := 1; at <= n; at++ {
			for _, abort := range []bool{false, true} {
				w := newWorld(t)
				w.failAt, w.kill, w.lose = at, true, lose
				ctx, cancel := context.WithCancel(t.Context())
				w.hook = func(w *world, _ string) {
					if w.calls > at {
						cancel() // nothing is waited for
					}
				}
				m := w.migration(nil)
				err := m.run(ctx, time.Now()) // without undo: the process is gone
				cancel()
				if err == nil {
					if !lose || at < n {
						t.Errorf("killed at call %d of %d, lost %v: no error", at, n, lose)
					}
				}
				w.failAt, w.hook = 0, nil
				if !abort {
					w.mustRun(nil)
					continue
				}
				drop := func(o *Options) { o.DropCopy = true }
				if err := w.migration(drop).Abort(t.Context()); err != nil {
					t.Fatalf("killed at %d: %v\n%v", at, err, w.log)
				}
				w.asItWas()
				if w.there != nil {
					t.Fatalf("killed at %d: the copy is left", at)
				}
				w.mustRun(nil)
			}
		}
	}
}

// An error of each call: it is tried again, or the run ends and says whether writes are refused, which it takes back if
// it had them refused. The next run goes on.
func TestErrorAtEachCall(t *testing.T) {
	n := callsOf(t, func(w *world) { w.mustRun(nil) })
	for at := 1; at <= n; at++ {
		for _, keep := range []bool{false, true} {
			w := newWorld(t)
			w.failAt = at
			m := w.migration(func(o *Options) { o.KeepRefused = keep })
			r, err := m.Run(t.Context())
			if err == nil {
				w.isDone(r)
				continue
			}
			var s *StepError
			if !errors.As(err, &s) || !errors.Is(err, errOnce) || s.Next == "" {
				t.Fatalf("error at %d: %v", at, err)
			}
			refused := w.here.Envs[appenv.DenyClient] != ""
			if refused && !s.Denied || refused != s.Denied && !keep || refused && !keep {
				t.Fatalf("error at %d: refused %v, keep %v, %v", at, refused, keep, err)
			}
			if s.Denied != strings.Contains(err.Error(), "WRITES TO THE TABLE ARE REFUSED") {
				t.Errorf("%v", err)
			}
			w.failAt = 0
			w.mustRun(nil)
		}
	}
}

// Ctrl-C at each call: as with an error, and what to do next is said.
func TestInterruptedAtEachCall(t *testing.T) {
	n := callsOf(t, func(w *world) { w.mustRun(nil) })
	for at := 1; at < n; at++ {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		w.hook = func(w *world, _ string) {
			if w.calls == at {
				cancel()
			}
		}
		r, err := w.migration(nil).Run(ctx)
		cancel()
		if err == nil {
			w.isDone(r) // nothing had to be waited for any more
			continue
		}
		var s *StepError
		if !errors.As(err, &s) || !errors.Is(err, context.Canceled) || len(w.dups) > 0 && !strings.Contains(s.Next, "--abort") || w.here.Envs[appenv.DenyClient] != "" || s.Denied {
			t.Fatalf("interrupted at %d: %v, %v\n%v", at, w.here.Envs, err, w.log)
		}
		w.hook = nil
		w.mustRun(nil)
	}
}

// A destination that stops to take anything while writes are refused: they are allowed again in time.
func TestRefusedForTooLong(t *testing.T) {
	w := newWorld(t)
	w.hook = func(w *world, _ string) { w.stuck = w.here.Envs[appenv.DenyClient] != "" }
	r, err := w.migration(func(o *Options) { o.MaxRefused = 50 * time.Millisecond }).Run(t.Context())
	var s *StepError
	if !errors.As(err, &s) || s.Step != Drain || s.Denied || !strings.Contains(err.Error(), "have been refused for 50ms") || !strings.Contains(err.Error(), "allowed again") || w.here.Envs[appenv.DenyClient] != "" {
		t.Fatalf("%v", err)
	}
	if r.Refused < 50*time.Millisecond || r.Done {
		t.Errorf("%+v", r)
	}
	w.hook, w.stuck = nil, false
	w.mustRun(nil)
	// They can't be allowed again either.
	w = newWorld(t)
	w.hook = func(w *world, call string) {
		if w.denied() {
			w.failAt, w.kill = w.calls, true
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := w.migration(nil)
	m.refused, m.begun = time.Now(), true
	w.here.Envs[appenv.DenyClient] = Denied
	w.untilDenied = 0
	cancel()
	short, stop := context.WithTimeout(ctx, time.Millisecond)
	defer stop()
	m.undoTime = 10 * time.Millisecond
	err = m.undo(short, errOnce)
	if !errors.As(err, &s) || !s.Denied || !strings.Contains(err.Error(), "WRITES TO THE TABLE ARE REFUSED") || !strings.Contains(s.Next, "table env del t replica.deny_client_request") {
		t.Errorf("%v", err)
	}
}

// A copy that differs ends it before writes are refused, or has them allowed again.
func TestCopyDiffers(t *testing.T) {
	w := newWorld(t)
	w.hook = func(w *world, _ string) {
		if w.denied() {
			w.rows++
			w.hook = nil
		}
	}
	_, err := w.migration(nil).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the copy differs: partition 0") || w.here.Envs[appenv.DenyClient] != "" {
		t.Errorf("%v", err)
	}
	w = newWorld(t)
	w.noDigest = true
	_, err = w.migration(func(o *Options) {
		o.Compare = func(context.Context, time.Duration) (int64, string, error) { return 3, "3 rows are missing", nil }
	}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "3 rows are missing") {
		t.Errorf("%v", err)
	}
	for _, c := range w.log {
		if strings.HasPrefix(c, "deny") {
			t.Errorf("writes were refused although the copy differs: %v", w.log)
		}
	}
	// A copy that lacks most rows is found before writes are refused.
	w = newWorld(t)
	w.rows = 1000
	if _, err := w.migration(nil).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "rows that came from the other cluster weren't sent") {
		t.Errorf("%v", err)
	}
	for _, c := range w.log {
		if strings.HasPrefix(c, "deny") {
			t.Errorf("writes were refused although most rows are missing: %v", w.log)
		}
	}
	// What can't be verified is found before writes are refused.
	for _, v := range []Verify{ByDigest, ByCompare, Auto} {
		w = newWorld(t)
		w.noDigest = true
		if _, err := w.migration(func(o *Options) { o.Verify = v }).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--verify") || w.here.Envs[appenv.DenyClient] != "" {
			t.Errorf("%s: %v", v, err)
		}
	}
}

// A copy that differs in a later run, as clients write to it already: nothing is taken back, and nobody is advised to drop it.
func TestSwitchedAlready(t *testing.T) {
	w := newWorld(t)
	w.mustRun(nil)
	w.rows++
	_, err := w.migration(nil).Run(t.Context())
	var s *StepError
	if !errors.As(err, &s) || !s.Denied || !w.denied() || strings.Contains(err.Error(), "drop-copy") || !strings.Contains(err.Error(), "--finish") {
		t.Errorf("%v", err)
	}
}

// What a migration refuses to begin, or to go on with. Nothing is changed then.
func TestRefusals(t *testing.T) {
	begun := func(w *world) {
		w.dups = []Duplication{{ID: 3, Cluster: "east", TableThere: "t", Status: duplication.DS_LOG, Created: w.clock}}
		w.there = &Table{ID: 7, Partitions: 2, Replicas: 3, Created: w.clock}
		w.nextDup = 3
	}
	for want, change := range map[string]func(*world, *Options){
		"same cluster":                    func(w *world, _ *Options) { w.east.Leader = "w" },
		"doesn't say its name":            func(w *world, _ *Options) { w.east.Name = "" },
		"level of the source is freezed":  func(w *world, _ *Options) { w.west.Level = "freezed" },
		"version of the destination":      func(w *world, _ *Options) { w.east.Duplicates = false },
		"no replica server of the source": func(w *world, _ *Options) { w.west.Alive = 0 },
		"the source has no table":         func(w *world, o *Options) { o.Table = "other" },
		"have no primary":                 func(w *world, _ *Options) { w.here.Unhealthy = 1 },
		"not because of a migration":      func(w *world, _ *Options) { w.here.Envs[appenv.DenyClient] = "timeout*read" },
		"(replica.deny_client_request = ": func(w *world, _ *Options) { begun(w); w.here.Envs[appenv.DenyClient] = "timeout*read" },
		"which isn't a copy":              func(w *world, _ *Options) { w.there = &Table{ID: 9} },
		"the destination has 1 servers":   func(w *world, _ *Options) { w.east.Alive = 1 },
		"needs about 3072 MB":             func(w *world, _ *Options) { w.east.Free = 1 << 30 },
		"is paused":                       func(w *world, _ *Options) { begun(w); w.dups[0].Status = duplication.DS_PAUSE },
		"leaves out what":                 func(w *world, _ *Options) { begun(w); w.dups[0].Skips = true },
		"older than the duplication":      func(w *world, _ *Options) { begun(w); w.there.Created = time.Unix(5, 0) },
		"duplicated to table":             func(w *world, _ *Options) { begun(w); w.dups[0].TableThere = "other" },
	} {
		w := newWorld(t)
		var o Options
		change(w, &o)
		before := len(w.dups)
		envs := len(w.here.Envs)
		_, err := w.migration(func(x *Options) {
			if o.Table != "" {
				x.Table = o.Table
			}
		}).Run(t.Context())
		var s *StepError
		if !errors.As(err, &s) || !strings.Contains(err.Error(), want) || s.Next == "" || len(w.dups) != before || len(w.here.Envs) != envs {
			t.Errorf("%q: %v, %v", want, err, w.here.Envs)
		}
	}
}

// The source's configuration leads elsewhere: it is told, and the source is left as it was when asked.
func TestWrongCluster(t *testing.T) {
	w := newWorld(t)
	w.wrongCluster = true
	_, err := w.migration(nil).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "isn't the one at --to") || !strings.Contains(err.Error(), "clusters.east.meta_servers") {
		t.Fatal(err)
	}
	if err := w.migration(nil).Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.asItWas()
}

// A duplication that somebody removes, and a table that is older than the duplication.
func TestOthersInterfere(t *testing.T) {
	w := newWorld(t)
	w.hook = func(w *world, _ string) {
		if len(w.dups) > 0 && w.dups[0].Status == duplication.DS_LOG {
			w.dups = nil
			w.hook = nil
		}
	}
	if _, err := w.migration(nil).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "somebody removed it") {
		t.Error(err)
	}
	// A table that was there before is never dropped.
	w = newWorld(t)
	w.dups = []Duplication{{ID: 1, Cluster: "east", TableThere: "t", Status: duplication.DS_LOG, Created: w.clock}}
	w.there = &Table{ID: 9, Created: time.Unix(5, 0)}
	if err := w.migration(func(o *Options) { o.DropCopy = true }).Abort(t.Context()); err == nil || !strings.Contains(err.Error(), "isn't dropped") || w.there == nil {
		t.Error(err)
	}
	if err := w.migration(nil).Abort(t.Context()); err != nil || w.there == nil {
		t.Error(err)
	}
	w.asItWas()
	// Nothing to abort, nothing to finish.
	if err := w.migration(nil).Abort(t.Context()); err != nil {
		t.Error(err)
	}
	if err := w.migration(nil).Finish(t.Context()); err == nil || !strings.Contains(err.Error(), "isn't being moved") {
		t.Error(err)
	}
	// The source still takes writes.
	w = newWorld(t)
	w.dups = []Duplication{{ID: 1, Cluster: "east", TableThere: "t", Status: duplication.DS_LOG, Created: w.clock}}
	if err := w.migration(nil).Finish(t.Context()); err == nil || !strings.Contains(err.Error(), "still takes writes") || len(w.dups) != 1 {
		t.Error(err)
	}
}

// Two runs at the same time: the one that found writes refused by the other one doesn't say that all is done, nor waits
// for ever, when that one allows them again, at whatever call.
func TestAnotherRunAllowsWrites(t *testing.T) {
	refused := func() *world {
		w := newWorld(t)
		w.mustRun(nil)
		return w
	}
	w := refused()
	before := w.calls
	w.mustRun(nil)
	n := w.calls - before
	for at := 1; at <= n; at++ {
		w := refused()
		until := w.calls + at
		w.hook = func(w *world, _ string) {
			if w.calls == until {
				delete(w.here.Envs, appenv.DenyClient)
			}
		}
		r, err := w.migration(nil).Run(t.Context())
		w.hook = nil
		var s *StepError
		switch {
		case err == nil && !w.denied():
			t.Fatalf("allowed at call %d of %d: done, and the source takes writes\n%v", at, n, w.log)
		case err == nil:
			w.isDone(r) // it has begun after that, and refused them itself
		case !errors.As(err, &s) || s.Denied || w.denied() || !strings.Contains(err.Error(), "takes writes again"):
			t.Fatalf("allowed at call %d of %d: %v\n%v", at, n, err, w.log)
		}
	}
}

// A setting of somebody else that refuses requests is no migration's: it is neither gone on with nor taken back.
func TestSettingOfSomebodyElse(t *testing.T) {
	w := newWorld(t)
	w.dups = []Duplication{{ID: 3, Cluster: "east", TableThere: "t", Status: duplication.DS_LOG, Created: w.clock}}
	w.there, w.nextDup = &Table{ID: 7, Partitions: 2, Replicas: 3, Created: w.clock}, 3
	w.here.Envs[appenv.DenyClient] = "reconfig*all"
	if err := w.migration(nil).Finish(t.Context()); err == nil || !strings.Contains(err.Error(), "not because of a migration") || len(w.dups) != 1 {
		t.Error(err)
	}
	if err := w.migration(nil).Abort(t.Context()); err != nil || len(w.dups) != 0 || w.here.Envs[appenv.DenyClient] != "reconfig*all" {
		t.Errorf("%v, %v", err, w.here.Envs)
	}
}

// A destination that is gone keeps nobody from aborting.
func TestAbortWithoutDestination(t *testing.T) {
	w := newWorld(t)
	w.mustRun(nil)
	w.east.Name, w.gone = "", true
	var s *StepError
	if err := w.migration(nil).Abort(t.Context()); !errors.As(err, &s) || !strings.Contains(s.Next, "--cluster") {
		t.Error(err)
	}
	named := func(o *Options) { o.ClusterThere = "east" }
	err := w.migration(func(o *Options) { named(o); o.DropCopy = true }).Abort(t.Context())
	if !errors.Is(err, errGone) || w.denied() || len(w.dups) != 1 {
		t.Errorf("%v, %v", err, w.here.Envs)
	}
	if err := w.migration(named).Abort(t.Context()); err != nil {
		t.Error(err)
	}
	w.asItWas()
}
