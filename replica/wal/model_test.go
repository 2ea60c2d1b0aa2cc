package wal

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

// model is what a log should hold.
type model map[base.Gpid]*modelReplica

type modelReplica struct {
	// entries are the current versions, all are all that were ever appended.
	entries map[int64]Entry
	all     map[int64][]Entry
	state   State
}

func (m model) of(x base.Gpid) *modelReplica {
	r := m[x]
	if r == nil {
		r = &modelReplica{entries: make(map[int64]Entry), all: make(map[int64][]Entry)}
		m[x] = r
	}
	return r
}

func (m model) clone() model {
	c := make(model)
	for x, r := range m {
		c[x] = &modelReplica{entries: maps.Clone(r.entries), all: maps.Clone(r.all), state: r.state}
	}
	return c
}

func (m model) append(e Entry) {
	r := m.of(e.Gpid)
	r.entries[e.Decree] = e
	r.all[e.Decree] = append(slices.Clip(r.all[e.Decree]), e)
	r.state.Last = max(r.state.Last, e.Decree)
	r.state.MaxBallot = max(r.state.MaxBallot, e.Ballot)
	r.state.Committed = max(r.state.Committed, e.Committed)
}

func (m model) truncate(x base.Gpid, decree int64) {
	r := m.of(x)
	maps.DeleteFunc(r.entries, func(d int64, _ Entry) bool { return d > decree })
	r.state.Last = min(r.state.Last, decree)
}

func (m model) reset(x base.Gpid, decree int64) {
	r := m.of(x)
	clear(r.entries)
	r.state = State{Last: decree, Base: decree, MaxBallot: r.state.MaxBallot, Committed: decree, Retention: decree}
}

func (m model) drop(x base.Gpid) {
	clear(m.of(x).entries)
	m.of(x).state = State{}
}

// present returns what the log's index has of a replica.
func present(l *Log, x base.Gpid) []int64 {
	l.ix.RLock()
	defer l.ix.RUnlock()
	var ds []int64
	if r := l.replicas[x]; r != nil {
		for i := range r.runs {
			for k := range r.runs[i].locs {
				ds = append(ds, r.runs[i].first+int64(k))
			}
		}
	}
	return ds
}

// verify checks that every replica either is as the model says, or is marked as damaged
// and what the mark promises is there.
func (m model) verify(l *Log) error {
	for x, r := range m {
		damage, damaged := l.DamageOf(x)
		from := int64(0)
		if damaged {
			from = damage.From
		}
		got := l.State(x)
		if from != unknownFrom {
			want := r.state
			want.First, want.Ballot, want.Retention = got.First, got.Ballot, got.Retention
			if damaged {
				want.MaxBallot, want.Committed = got.MaxBallot, got.Committed
			}
			if got != want {
				return fmt.Errorf("%s: state is %+v, want %+v (damage %+v)", x, got, want, damage)
			}
			e, ok := r.entries[got.Last]
			if ok && got.Ballot != e.Ballot && !damaged && (got.Ballot != 0 || got.Last > r.state.Retention) {
				return fmt.Errorf("%s: ballot is %d, want %d", x, got.Ballot, e.Ballot)
			}
		}
		ds := present(l, x)
		for d := range r.entries {
			if d >= from && d > r.state.Retention && !slices.Contains(ds, d) {
				return fmt.Errorf("%s: decree %d is missing (damage %+v)", x, d, damage)
			}
		}
		for _, d := range ds {
			es, err := l.Read(x, d, 0)
			if errors.Is(err, ErrGone) && d <= r.state.Retention {
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: read %d: %w", x, d, err)
			}
			ok := false
			if d >= from {
				want, there := r.entries[d]
				ok = there && sameEntry(es[0], want)
			} else {
				ok = slices.ContainsFunc(r.all[d], func(e Entry) bool { return sameEntry(e, es[0]) })
			}
			if !ok {
				return fmt.Errorf("%s: decree %d reads as %+v, want %+v (damage %+v)", x, d, es[0], r.entries[d], damage)
			}
		}
	}
	return nil
}

// step does random things to the log and the model.
type step struct {
	rng      *rand.Rand
	l        *Log
	m        model
	replicas int
}

func (s *step) do() error {
	rng, m := s.rng, s.m
	x := g(1 + rng.IntN(s.replicas))
	r := m.of(x)
	ballot := max(r.state.MaxBallot, 1)
	switch k := rng.IntN(40); {
	case k < 25: // append a few in order
		var es []Entry
		for range 1 + rng.IntN(4) {
			es = append(es, entry(x, ballot, r.state.Last+1+int64(len(es)), 10+rng.IntN(150)))
		}
		if err := appendEntries(s.l, es...); err != nil {
			return err
		}
		for _, e := range es {
			m.append(e)
		}
	case k < 29: // a new primary prepares again
		d := max(1, r.state.Last-rng.Int64N(6))
		e := entry(x, ballot+1, d, 10+rng.IntN(100))
		if err := appendEntries(s.l, e); err != nil {
			return err
		}
		m.append(e)
	case k < 31:
		d := max(r.state.Base, r.state.Last-rng.Int64N(5))
		if err := Wait(func(done func(error)) { s.l.Truncate(x, d, done) }); err != nil {
			return err
		}
		m.truncate(x, d)
	case k < 32:
		d := r.state.Last + rng.Int64N(20)
		if err := Wait(func(done func(error)) { s.l.Reset(x, d, done) }); err != nil {
			return err
		}
		m.reset(x, d)
	case k < 33:
		if err := Wait(func(done func(error)) { s.l.Drop(x, done) }); err != nil {
			return err
		}
		m.drop(x)
	default:
		d := max(r.state.Retention, r.state.Last-rng.Int64N(10))
		s.l.SetRetention(x, d)
		if s.l.State(x).Last != 0 {
			r.state.Retention = d
		}
	}
	return nil
}

// TestAgainstModel does random things, opens the log again now and then, after Close or
// after the process died.
func TestAgainstModel(t *testing.T) {
	seeds := uint64(30)
	if raceEnabled || testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 2))
		fs := vfs.NewCrashableMem()
		o := testOptions(fs)
		o.SegmentBytes = 512 + rng.Int64N(3000)
		o.MaxBytes = 1 + rng.Int64N(30000)
		o.KeepBytes = rng.Int64N(5000)
		if seed%3 == 0 {
			o.Sync = syncOS
		}
		s := &step{rng: rng, m: make(model), replicas: 5, l: mustOpen(t, o)}
		for i := range 400 {
			if err := s.do(); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, i, err)
			}
			if rng.IntN(60) == 0 {
				if rng.IntN(2) == 0 {
					mustClose(t, s.l)
				} else {
					died := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
					mustClose(t, s.l)
					fs, o.FS = died, died
				}
				s.l = mustOpen(t, o)
			}
			if rng.IntN(10) == 0 {
				if d := s.l.Damaged(); len(d) > 0 {
					t.Fatalf("seed %d step %d: damaged: %+v", seed, i, d)
				}
				if err := s.m.verify(s.l); err != nil {
					t.Fatalf("seed %d step %d: %v", seed, i, err)
				}
			}
		}
		mustClose(t, s.l)
	}
}
