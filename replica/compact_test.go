package replica

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/config"
	"pegasus/gen/metadata"
	"pegasus/rrdb"
)

func TestCompactionDue(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return noon.Add(-d) }
	for _, c := range []struct {
		plan     appenv.Compact
		finished time.Time
		want     bool
	}{
		{appenv.Compact{}, time.Time{}, false},
		{appenv.Compact{Once: ago(time.Minute).Unix()}, time.Time{}, true},
		{appenv.Compact{Once: ago(time.Minute).Unix()}, ago(time.Hour), true},
		{appenv.Compact{Once: ago(time.Minute).Unix()}, ago(time.Second), false},
		{appenv.Compact{Once: ago(-time.Minute).Unix()}, time.Time{}, false},
		{appenv.Compact{Once: ago(time.Minute).Unix(), Disabled: true}, time.Time{}, false},
		{appenv.Compact{Periodic: "11:30,13:00"}, ago(time.Hour), true},
		{appenv.Compact{Periodic: "11:30,13:00"}, ago(time.Minute), false},
		{appenv.Compact{Periodic: "13:00"}, ago(time.Hour), false},
		// Yesterday's counts until it is done, also after midnight.
		{appenv.Compact{Periodic: "13:00"}, ago(30 * time.Hour), true},
		{appenv.Compact{Periodic: "rubbish"}, time.Time{}, false},
		// The last one ended by a clock that was years ahead.
		{appenv.Compact{Once: ago(time.Minute).Unix()}, ago(-10000 * time.Hour), true},
		{appenv.Compact{Periodic: "11:30,13:00"}, ago(-10000 * time.Hour), true},
		{appenv.Compact{Once: ago(time.Minute).Unix()}, ago(-10 * time.Second), false},
		{appenv.Compact{Periodic: "11:30", Disabled: true}, ago(time.Hour), false},
	} {
		k := compactions{plan: c.plan, times: appenv.TimesOfDay(c.plan.Periodic), finished: c.finished}
		if got := k.due(noon); got != c.want {
			t.Errorf("%+v, the last ended %v: %t", c.plan, c.finished, got)
		}
	}
}

// Compactions begun before midnight go on after it, each of many replicas once; times of day that
// were set later than they came wait for the next day.
func TestCompactionTimesOfDay(t *testing.T) {
	day := func(d, h, m int) time.Time { return time.Date(2026, 3, d, h, m, 0, 0, time.UTC) }
	made := day(1, 0, 0)
	first := compactions{times: appenv.TimesOfDay("23:59"), made: made, since: made}
	first.finished = day(1, 23, 59).Add(30 * time.Second)
	second := compactions{times: appenv.TimesOfDay("23:59"), made: made, since: made}
	if first.due(day(2, 0, 5)) || !second.due(day(2, 0, 5)) {
		t.Error("after midnight the one that is done is due, or the one that is not isn't")
	}
	if second.due(day(1, 23, 58)) {
		t.Error("due before its time")
	}
	late := compactions{times: appenv.TimesOfDay("03:00"), made: made, since: day(5, 15, 0)}
	for _, c := range []struct {
		now  time.Time
		want bool
	}{{day(5, 15, 1), false}, {day(6, 2, 59), false}, {day(6, 3, 1), true}} {
		if got := late.due(c.now); got != c.want || !late.demanded(c.now).IsZero() != c.want {
			t.Errorf("set at %v, due at %v: %t, demanded for %v", late.since, c.now, got, late.demanded(c.now))
		}
	}
	late.since = day(5, 15, 0).AddDate(10, 0, 0)
	if !late.due(day(6, 3, 1)) {
		t.Error("a clock that was years ahead forbids compactions")
	}
}

// The moment at which the times of day were set outlasts a restart.
func TestCompactionTimesAreKept(t *testing.T) {
	g := alone(t)
	before := time.Now()
	g.set(appenv.CompactPeriodicTime, "03:00")
	until(t, "the times are set", func() bool { return g.view(0).info.TimesSet >= before.UnixMilli() })
	g.nodes[0].stop()
	g.nodes[0].start()
	c := &g.nodes[0].srv.replica(g.gpid).compactions
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.Before(before.Truncate(time.Millisecond)) || len(c.times) != 1 {
		t.Errorf("after a restart %d times since %v", len(c.times), c.since)
	}
}

// What was demanded before a replica was made here isn't demanded of it.
func TestCompactionBeforeReplica(t *testing.T) {
	now := time.Unix(1700000000, 0)
	c := compactions{plan: appenv.Compact{Once: now.Unix() - 10}, made: now.Add(-5 * time.Second)}
	if c.due(now) {
		t.Error("a new replica is compacted for an old demand")
	}
	c.plan.Once = now.Unix() - 2
	if !c.due(now) {
		t.Error("a newer demand is not heeded")
	}
	c.made = now.AddDate(10, 0, 0)
	if !c.due(now) {
		t.Error("a demand isn't heeded because the replica was made by a clock that was years ahead")
	}
}

// A pass that was noted by a clock that was years ahead stands for no compaction before then.
func TestPassByWrongClock(t *testing.T) {
	now := time.Unix(1700000000, 0)
	ahead := rrdb.PassProgress{Rules: 1, Done: true, At: now.AddDate(10, 0, 0).Unix()}
	if !awaits(now.Add(-time.Minute), ahead, now) {
		t.Error("a compaction is to have no pass for ten years")
	}
	if awaits(time.Time{}, ahead, now) {
		t.Error("there is a pass for a compaction that nobody demands")
	}
	if late := (rrdb.PassProgress{Rules: 1, Done: true, At: now.Unix() + 5}); awaits(now.Add(-time.Minute), late, now) {
		t.Error("clocks that differ by seconds make a pass")
	}
}

func TestCompactionStates(t *testing.T) {
	now := time.Unix(1700000000, 0)
	c := compactions{plan: appenv.Compact{Once: now.Unix() - 1, Running: 2}}
	if waits, most := c.look(now); !waits || most != 2 || c.status() != metadata.QUEUING {
		t.Errorf("due: %t %d %v", waits, most, c.status())
	}
	c.begin(now)
	if waits, _ := c.look(now); waits || c.status() != metadata.RUNNING {
		t.Errorf("running: %t %v", waits, c.status())
	}
	c.end(now, errors.New("the disk is full"))
	if waits, _ := c.look(now); !waits || c.status() != metadata.QUEUING {
		t.Errorf("failed: %t %v", waits, c.status())
	}
	c.plan.Disabled = true
	if waits, _ := c.look(now); waits || c.status() != metadata.IDLE {
		t.Errorf("disabled: %t %v", waits, c.status())
	}
	c.plan.Disabled = false
	c.look(now)
	c.begin(now)
	c.end(now.Add(time.Second), nil)
	if waits, _ := c.look(now.Add(2 * time.Second)); waits || c.status() != metadata.FINISHED || !strings.Contains(c.describe(), `"last_used_ms":"1000"`) {
		t.Errorf("finished: %t %v %s", waits, c.status(), c.describe())
	}
}

// A table that is told to has its replicas compacted, once, also if the server restarts.
func TestManualCompaction(t *testing.T) {
	g := alone(t)
	for range 3 {
		g.mustPut(0, "k", string(make([]byte, 10000)))
		if err := g.nodes[0].srv.replica(g.gpid).flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	trigger := time.Now().Unix() + 1 // after the replica was made
	g.set(appenv.CompactOnceTime, strconv.FormatInt(trigger, 10))
	state := func() metadata.ManualCompactionStatus {
		return g.nodes[0].srv.replica(g.gpid).compactions.status()
	}
	until(t, "the compaction is over", func() bool { return state() == metadata.FINISHED })
	m := g.nodes[0].srv.replica(g.gpid).store.Load().Metrics()
	if m.Levels[0].TablesCount != 0 || m.Levels[6].TablesCount != 1 {
		t.Errorf("tables after it: %d in level 0, %d in 6", m.Levels[0].TablesCount, m.Levels[6].TablesCount)
	}
	until(t, "its end is written down", func() bool {
		r := g.nodes[0].srv.replica(g.gpid)
		done := make(chan int64, 1)
		r.post(func(r *driver) { done <- r.driver.info.Compacted })
		return <-done >= trigger*1000
	})
	if m, c := g.view(0).info.Made, trigger*1000; m == 0 || m > c {
		t.Errorf("made at %d, compacted after %d", m, c)
	}
	g.nodes[0].stop()
	g.nodes[0].start()
	r := g.nodes[0].srv.replica(g.gpid)
	if waits, _ := r.compactions.look(time.Now()); waits || state() != metadata.IDLE || strings.Contains(r.compactions.describe(), `"last_finish":"-"`) {
		t.Errorf("after a restart: %t %v %s", waits, state(), r.compactions.describe())
	}
}

// As many compactions begin as the server's slots and the table's settings allow.
func TestCompactionLimit(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		slots   int
		running int32
		begun   int
	}{{2, 0, 2}, {2, 1, 1}, {8, 3, 3}, {8, 0, 4}} {
		g := newGroupWith(t, 1, func(cfg *config.Config) { cfg.Replica.MinReplicas, cfg.Storage.Compactions = 1, c.slots })
		srv := g.nodes[0].srv
		real := srv.replica(g.gpid)
		var rs []*replica
		for i := range 4 {
			r := &replica{srv: srv, gpid: base.Gpid{AppID: 9, PartitionIndex: int32(i)}, log: real.log, wake: make(chan struct{}, 1), done: make(chan struct{})}
			r.store.Store(real.store.Load())
			r.view.Store(real.view.Load())
			r.compactions.plan = appenv.Compact{Once: now.Unix() - 1, Running: c.running}
			rs = append(rs, r)
		}
		partOf[*compactor](srv).compactSome(now, rs)
		begun, waiting := 0, 0
		for _, r := range rs {
			switch r.compactions.status() {
			case metadata.QUEUING:
				waiting++
			case metadata.RUNNING, metadata.FINISHED:
				begun++
			}
		}
		if begun != c.begun || waiting != 4-c.begun {
			t.Errorf("%d slots, at most %d of the table: %d begun, %d wait; want %d begun", c.slots, c.running, begun, waiting, c.begun)
		}
	}
}
