package compat

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/compat_test/cluster"
	gensplit "pegasus/gen/split"
	"pegasus/internal/repo"
)

var (
	splitRuns  = flag.Int("split-runs", 1, "how many runs TestSplit makes; all but the first have random kills of every server")
	splitRows  = flag.Int("split-rows", 0, "how many rows TestSplit's table has before it is split, in runs with kills")
	splitKills = flag.Bool("split-kills", true, "whether servers are killed in the runs of TestSplit after the first")
	splitP99   = flag.Duration("split-p99", 0, "the 99th percentile of the worst second that a run of TestSplit without kills may have while it splits; 0: any")
	splitSeed  = flag.Int("split-seed", 0, "is added to the number of a run of TestSplit")
)

// splitWorld is a table under load whose partitions are doubled.
type splitWorld struct {
	*testing.T
	c     *cluster.Cluster
	k     *client.Client
	table *client.Table

	mu    sync.Mutex
	rows  map[string]string // acknowledged
	sums  map[string]int64  // acknowledged increments of a counter
	maybe map[string]int64  // those whose outcome isn't known
	fails atomic.Int64
	worst atomic.Int64 // nanoseconds that a write took
	slow  []string     // those that took slowWrite
	wide  wideLoad
}

func newSplitWorld(t *testing.T, metas int) *splitWorld {
	w := &splitWorld{T: t, c: cluster.Start(t, cluster.Options{Metas: metas, Tables: "temp:4"}), rows: map[string]string{}, sums: map[string]int64{}, maybe: map[string]int64{}}
	w.k = client.New(w.c.Metas(), client.Options{Timeout: 20 * time.Second, AttemptTimeout: time.Second})
	t.Cleanup(w.k.Close)
	var err error
	if w.table, err = w.k.Table(runContext(t, time.Minute), "temp"); err != nil {
		t.Fatal(err)
	}
	return w
}

// load writes until ctx ends: rows that are written once, rows that are overwritten and removed, counters.
func (w *splitWorld) load(ctx context.Context, who int) {
	r := rand.New(rand.NewPCG(uint64(who), 7))
	for i := 0; ctx.Err() == nil; i++ {
		c, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		began := time.Now()
		var err error
		switch i % 4 {
		case 0, 1:
			key, value := fmt.Sprintf("w%d.%d", who, i), fmt.Sprint("v", i)
			if err = w.table.Set(c, []byte(key), []byte("s"), []byte(value), 0); err == nil {
				w.mu.Lock()
				w.rows[key] = value
				w.mu.Unlock()
			}
		case 2:
			// Only this writer touches the row. An unknown outcome is settled by doing it again, for as long as a slow machine takes to
			// have enough members again.
			key, value := fmt.Sprintf("o%d.%d", who, r.IntN(50)), fmt.Sprint("v", i)
			remove := r.IntN(3) == 0
			for try := range 10 {
				if remove {
					err = w.table.Del(c, []byte(key), []byte("s"))
				} else {
					err = w.table.Set(c, []byte(key), []byte("s"), []byte(value), 0)
				}
				if err == nil || try == 9 {
					break
				}
				w.fails.Add(1)
				cancel()
				c, cancel = context.WithTimeout(context.Background(), 20*time.Second)
			}
			w.mu.Lock()
			switch {
			case err != nil:
				w.Errorf("writer %d, row %s: %v", who, key, err)
			case remove:
				delete(w.rows, key)
			default:
				w.rows[key] = value
			}
			w.mu.Unlock()
		case 3:
			key := fmt.Sprintf("n%d", r.IntN(40))
			_, err = w.table.Incr(c, []byte(key), []byte("n"), 1, 0)
			w.mu.Lock()
			if err == nil {
				w.sums[key]++
			} else {
				w.maybe[key]++
			}
			w.mu.Unlock()
		}
		cancel()
		if err != nil {
			w.fails.Add(1)
		}
		w.note(began)
		w.wrote(began, fmt.Sprintf("writer %d, write %d: %v", who, i, err))
	}
}

// slowWrite is how long a write takes at least that is told one by one.
const slowWrite = 4 * time.Second

// wrote notes how long a write took that began then.
func (w *splitWorld) wrote(began time.Time, what string) {
	took := time.Since(began)
	for was := w.worst.Load(); int64(took) > was && !w.worst.CompareAndSwap(was, int64(took)); was = w.worst.Load() {
	}
	if took >= slowWrite {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.slow = append(w.slow, fmt.Sprintf("from %s for %v: %s", began.Format("15:04:05.000"), took.Round(time.Millisecond), what))
	}
}

// check compares the table with what was acknowledged, by reads of each row, and by a scan.
func (w *splitWorld) check() {
	w.Helper()
	ctx := runContext(w.T, 10*time.Minute)
	fresh := client.New(w.c.Metas(), client.Options{Timeout: 30 * time.Second})
	defer fresh.Close()
	table, err := fresh.Table(ctx, "temp")
	if err != nil {
		w.Fatal(err)
	}
	scanned, filled := map[string]string{}, 0
	s := table.ScanAll(client.ScanOptions{Batch: 1000})
	for s.Next(ctx) {
		row := s.Row()
		if _, twice := scanned[string(row.HashKey)]; twice {
			w.Errorf("row %s is scanned twice", row.HashKey)
		}
		switch row.HashKey[0] {
		case 'p':
			filled++
		case 'x':
		default:
			scanned[string(row.HashKey)] = string(row.Value)
		}
	}
	s.Close()
	if err := s.Err(); err != nil {
		w.Fatal(err)
	}
	if want := w.wide.filled; filled != want {
		w.Errorf("a scan finds %d of the %d rows that were there before", filled, want)
	}
	lost, wrong := 0, 0
	for key, value := range w.rows {
		got, found, err := table.Get(ctx, []byte(key), []byte("s"))
		switch {
		case err != nil:
			w.Fatal(err)
		case !found:
			lost++
			w.Logf("row %s is lost", key)
		case string(got) != value || scanned[key] != value:
			wrong++
			w.Logf("row %s is %q, %q in the scan, not %q", key, got, scanned[key], value)
		}
	}
	for key, least := range w.sums {
		got, _, err := table.Get(ctx, []byte(key), []byte("n"))
		var n int64
		if err == nil {
			_, err = fmt.Sscan(string(got), &n)
		}
		if err != nil || n < least || n > least+w.maybe[key] {
			w.Errorf("counter %s is %q (%v), of %d acknowledged increments and %d whose outcome isn't known", key, got, err, least, w.maybe[key])
		}
	}
	extra := 0
	for key := range scanned {
		if _, is := w.rows[key]; !is && key[0] == 'o' {
			extra++
			w.Logf("row %s was removed, and is scanned", key)
		}
	}
	if lost+wrong+extra > 0 {
		w.Errorf("of %d rows %d are lost, %d wrong, %d removed ones are back", len(w.rows), lost, wrong, extra)
	}
}

func (w *splitWorld) start(count int32) {
	w.Helper()
	begun := func(err error) error {
		// An earlier try has begun it, and its answer was lost.
		if cfg, cerr := w.c.Config("temp"); cerr == nil && cfg.PartitionCount == count {
			return nil
		}
		return err
	}
	if err := cluster.Poll(time.Minute, func() error {
		err := w.k.Admin().StartSplit(runContext(w.T, 10*time.Second), "temp", count)
		if err != nil {
			err = begun(err)
		}
		return err
	}); err != nil {
		w.Fatal(err)
	}
}

// await waits until the split is over.
func (w *splitWorld) await(limit time.Duration) {
	w.Helper()
	if err := cluster.Poll(limit, func() error {
		q, err := w.k.Admin().QuerySplit(runContext(w.T, 10*time.Second), "temp")
		switch {
		case errors.Is(err, base.ErrInvalidState):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("%d partitions are being split: %s", len(q.Status), q.HintMsg.V)
	}); err != nil {
		w.Fatalf("%v\n%s", err, w.c.Logs())
	}
}

// TestSplit: the partitions of a table are doubled twice while clients write, and servers are killed. Nothing that was
// acknowledged is lost, no row is there twice, and clients see no error that they can't do anything about.
func TestSplit(t *testing.T) {
	for run := range *splitRuns {
		t.Run(fmt.Sprint(run), func(t *testing.T) { splitRun(t, run+*splitSeed) })
	}
}

func splitRun(t *testing.T, run int) {
	metas := 1
	if run > 0 {
		metas = 3
	}
	w := newSplitWorld(t, metas)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() { w.load(ctx, i) })
	}
	defer wg.Wait()
	defer stop()
	if err := cluster.Poll(30*time.Second, func() error { // rows to begin with
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.rows) < 100 {
			return fmt.Errorf("%d rows", len(w.rows))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if run == 0 {
		w.fill(4000)
		wg.Go(func() { w.scan(ctx) })
		w.start(8)
		w.await(25 * time.Second)
		t.Logf("4 to 8: the longest write took %v", time.Duration(w.worst.Swap(0)))
		w.start(16)
		if err := w.c.Kill("replica2"); err != nil {
			t.Fatal(err)
		}
		if err := w.c.Restart("replica2"); err != nil {
			t.Fatal(err)
		}
		w.await(2 * time.Minute)
	} else {
		w.fill(*splitRows)
		wg.Go(func() { w.scan(ctx) })
		used := w.used()
		for i := range 2 {
			wg.Go(func() { w.loadWide(ctx, i) })
		}
		w.begins("before", false)
		time.Sleep(10 * time.Second)
		r := rand.New(rand.NewPCG(uint64(run), 1))
		kctx, end := context.WithCancel(ctx)
		var kills sync.WaitGroup
		killed := 0
		kills.Go(func() {
			for kctx.Err() == nil && *splitKills {
				names := w.c.Servers()
				name := names[r.IntN(len(names))]
				if err := w.c.Kill(name); err != nil {
					t.Error(err)
				}
				killed++
				time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
				if err := w.c.Restart(name); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
			}
		})
		for _, n := range []int32{8, 16} {
			began := time.Now()
			w.begins(fmt.Sprintf("to %d partitions", n), true)
			w.start(n)
			w.await(10 * time.Minute)
			t.Logf("run %d: to %d partitions in %v", run, n, time.Since(began).Round(time.Millisecond))
		}
		end()
		kills.Wait()
		t.Logf("%d kills", killed)
		w.begins("after", false)
		w.spaceIsBack(used)
	}
	stop()
	wg.Wait()
	t.Logf("%d rows, %d writes failed, the longest took %v", len(w.rows), w.fails.Load(), time.Duration(w.worst.Load()))
	w.check()
	w.checkWide()
	if n := w.table.Partitions(); n != 16 && n != 8 && n != 4 {
		t.Errorf("the client has %d partitions", n)
	}
}

// split doubles the partitions of temp, and waits until they are.
func split(t *testing.T, c *cluster.Cluster) (string, error) {
	k := client.New(c.Metas(), client.Options{})
	defer k.Close()
	cfg, err := c.Config("temp")
	if err != nil {
		return "", err
	}
	to := 2 * cfg.PartitionCount
	if err := k.Admin().StartSplit(runContext(t, 30*time.Second), "temp", to); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d partitions", to), cluster.Poll(2*time.Minute, func() error {
		q, err := k.Admin().QuerySplit(runContext(t, 10*time.Second), "temp")
		switch {
		case errors.Is(err, base.ErrInvalidState):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("%d partitions are being split: %s", len(q.Status), q.HintMsg.V)
	})
}

// TestGoClientThroughSplit: the published Go client works while a table is split, and afterwards, without a restart.
func TestGoClientThroughSplit(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Tables: "temp:4"})
	env := []string{"PEGASUS_SPLIT=1", "PEGASUS_META=" + strings.Join(c.Metas(), ","), "PEGASUS_REPLICA=" + strings.Join(c.Replicas(), ","), "PEGASUS_CONTROL=" + control(t, c)}
	dir := goModule(t)
	bin := filepath.Join(t.TempDir(), "walk.test")
	if out, err := goTool(t, dir, "test", "-c", "-o", bin, "."); err != nil {
		t.Fatalf("compile the walk-through: %v\n%s", err, out)
	}
	goTestBinary(t, bin, []string{"-test.run=^TestSplit$"}, env)
}

// TestPythonClientThroughSplit: so does PyPI's pypegasus3, which sends no hashes of rows.
func TestPythonClientThroughSplit(t *testing.T) {
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(root, "compat_test", "python")
	python := pythonEnv(t, src)
	c := cluster.Start(t, cluster.Options{Tables: "temp:4"})
	cmd := exec.CommandContext(runContext(t, 3*time.Minute), python, "-u", "-W", "ignore", filepath.Join(src, "split.py"))
	cmd.Dir = t.TempDir() // the client writes a log where it runs
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PEGASUS_META="+strings.Join(c.Metas(), ","), "PEGASUS_CONTROL="+control(t, c))
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "INFO ") || strings.HasPrefix(line, "FAIL") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if err != nil {
		t.Errorf("split.py: %v\n%s", err, tail(out, 8000))
	}
}

// TestSplitControl: a split that was begun is paused, goes on, is canceled; the table is as before. What can't be is refused with
// the reason.
func TestSplitControl(t *testing.T) {
	w := newSplitWorld(t, 1)
	a := w.k.Admin()
	ctx := runContext(t, 2*time.Minute)
	refused := func(err error, code base.ErrorCode) {
		t.Helper()
		if !errors.Is(err, code) {
			t.Errorf("%v, want %v", err, code)
		}
	}
	refused(a.StartSplit(ctx, "temp", 7), base.ErrInvalidParameters)
	refused(a.StartSplit(ctx, "nosuch", 8), base.ErrAppNotExist)
	refused(a.ControlSplit(ctx, "temp", gensplit.PAUSE, -1, 0), base.ErrInvalidState)
	// A member is away: nothing switches.
	if err := w.c.Kill("replica1"); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Poll(time.Minute, func() error {
		cfg, err := w.c.Config("temp")
		if err != nil {
			return err
		}
		for i := range cfg.Partitions {
			if p := &cfg.Partitions[i]; p.Primary == 0 || len(p.Secondaries) != 1 {
				return fmt.Errorf("partition %d has %d secondaries", i, len(p.Secondaries))
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.table.Set(ctx, []byte("k"), []byte("s"), []byte("v"), 0); err != nil {
		t.Fatal(err)
	}
	if err := a.StartSplit(ctx, "temp", 8); err != nil {
		t.Fatal(err)
	}
	for _, c := range []gensplit.SplitControlType{gensplit.PAUSE, gensplit.RESTART, gensplit.PAUSE} {
		if err := a.ControlSplit(ctx, "temp", c, -1, 0); err != nil {
			t.Fatal(err)
		}
	}
	q, err := a.QuerySplit(ctx, "temp")
	if err != nil || len(q.Status) != 4 || q.NewPartitionCount != 8 {
		t.Fatalf("%+v, %v", q, err)
	}
	refused(a.DropTable(ctx, "temp", 0, false), base.ErrSplitting)
	refused(a.StartSplit(ctx, "temp", 16), base.ErrBusy)
	refused(a.ControlSplit(ctx, "temp", gensplit.CANCEL, -1, 5), base.ErrInvalidParameters)
	if err := a.ControlSplit(ctx, "temp", gensplit.CANCEL, -1, 4); err != nil {
		t.Fatal(err)
	}
	cfg, err := w.c.Config("temp")
	if err != nil || cfg.PartitionCount != 4 || len(cfg.Partitions) != 4 {
		t.Errorf("after it was canceled: %+v, %v", cfg, err)
	}
	tables, err := a.ListTables(ctx, 0)
	if err != nil || len(tables) != 1 || len(tables[0].Envs) != 0 {
		t.Errorf("after it was canceled: %+v, %v", tables, err)
	}
	w.rows["k"] = "v"
	w.check()
}
