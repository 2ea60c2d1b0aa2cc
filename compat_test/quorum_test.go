package compat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/compat_test/cluster"
	"pegasus/gen/layer2"
)

func emptyDir(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(list), err)
	}
	for _, f := range list {
		if err := os.RemoveAll(filepath.Join(dir, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMetaBackup: the meta's state is backed up, the cluster goes on, the meta's disk is lost.
// The backup is restored and merged with what the replica servers have: every acknowledged row
// is there, and what only the meta knew.
func TestMetaBackup(t *testing.T) {
	t.Parallel()
	const sets = 3000
	c := cluster.Start(t, cluster.Options{Tables: "temp:4,other:2"})
	cli := func(args ...string) (string, error) {
		return c.CLI(runContext(t, time.Minute), append(args, "--meta", strings.Join(c.Metas(), ","), "--timeout", "30s")...)
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := cli(args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	must("table", "drop", "other", "--reserve", "1h")
	file := filepath.Join(t.TempDir(), "backup")
	must("meta", "backup", file)
	if out, err := cli("meta", "backup", file); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("a second backup into the same file: %v: %s", err, out)
	}
	// What comes after the backup is known to the replica servers alone.
	must("table", "create", "later", "-p", "2")
	if err := c.MovePrimaries("temp", true); err != nil {
		t.Fatal(err)
	}
	acked := filepath.Join(t.TempDir(), "acked")
	if r, err := runBench(t, c, "--op", "set", "--count", fmt.Sprint(sets), "--value-size", "200", "--record-acked", acked); err != nil || r.Ops != sets {
		t.Fatalf("bench: %d sets, %v", r.Ops, err)
	}
	if err := c.Kill("meta1"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(c.Dir, "meta1")
	restore := func() (string, error) {
		return c.CLI(runContext(t, time.Minute), "meta", "restore", file, "--config", filepath.Join(dir, "config.toml"))
	}
	if out, err := restore(); err == nil || !strings.Contains(err.Error(), "isn't empty") {
		t.Errorf("restore over what is there: %v: %s", err, out)
	}
	emptyDir(t, filepath.Join(dir, "data"))
	if out, err := restore(); err != nil || !strings.Contains(out, "pegasus recover") {
		t.Fatalf("restore: %v: %s", err, out)
	}
	if err := c.Restart("meta1"); err != nil {
		t.Fatal(err)
	}
	if err := wholeCluster(c); err != nil {
		t.Fatal(err)
	}
	if out := must("meta", "status"); !strings.Contains(out, "may be old") {
		t.Errorf("status says %s", out)
	}
	if out, err := cli("table", "create", "early"); err == nil {
		t.Errorf("create before the merge: %s", out)
	}
	out := must("recover")
	for _, line := range []string{"recovered table temp (id 1, 4 partitions)", "recovered table later (id 3, 2 partitions)"} {
		if !strings.Contains(out, line) {
			t.Errorf("recover says %q, not %q", out, line)
		}
	}
	if out, err := cli("recover"); err == nil {
		t.Errorf("recover a second time: %s", out)
	}
	for _, table := range []string{"temp", "later"} {
		if err := c.WaitHealthy(table, 2*time.Minute); err != nil {
			t.Fatalf("%s: %v", table, err)
		}
	}
	verify(t, c, acked, sets)
	// The dropped table is still a dropped one.
	if out := must("table", "ls", "--all"); !strings.Contains(out, "other") || !strings.Contains(out, "dropped") {
		t.Errorf("tables: %s", out)
	}
}

// metaKills is how often TestMetaKills kills the leader: PEGASUS_META_KILLS, or a number that
// suits every run of the tests.
func metaKills(t *testing.T) int {
	t.Helper()
	s := os.Getenv("PEGASUS_META_KILLS")
	if s == "" {
		return 3
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("PEGASUS_META_KILLS=%q is no number of kills", s)
	}
	return n
}

// watcher calls an operation again and again, and notes when it failed.
type watcher struct {
	name string
	mu   sync.Mutex
	ok   int
	bad  []time.Time
	last error
}

func (w *watcher) run(ctx context.Context, each time.Duration, f func(context.Context) error) {
	for ctx.Err() == nil {
		c, cancel := context.WithTimeout(ctx, time.Second)
		err := f(c)
		cancel()
		w.mu.Lock()
		if err == nil {
			w.ok++
		} else if ctx.Err() == nil {
			w.bad, w.last = append(w.bad, time.Now()), err
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(each):
		}
	}
}

// since returns how long after a moment the last failure was, and the number of failures.
func (w *watcher) since(began time.Time) (last time.Duration, n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.bad {
		if b.After(began) {
			last, n = b.Sub(began), n+1
		}
	}
	return last, n, w.last
}

// ledger is what the meta servers acknowledged of tables.
type ledger struct {
	mu     sync.Mutex
	tables map[string]*entry
}

type entry struct {
	id      int32
	ttl     int  // the newest value that was acknowledged
	tried   int  // the newest that was sent
	dropped bool // acknowledged
	unsure  bool // a drop was sent and its fate isn't known
}

// churn makes, alters and drops tables, and keeps account.
func (l *ledger) churn(ctx context.Context, a client.Admin) {
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprint("t", i)
		step := func(f func(context.Context) error) bool {
			c, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			return f(c) == nil
		}
		e := &entry{}
		made := step(func(c context.Context) (err error) {
			e.id, err = a.CreateTable(c, name, 1, 1, client.CreateOptions{SuccessIfExists: true})
			return err
		})
		if !made {
			continue // it may be there or not; its name isn't used again
		}
		l.mu.Lock()
		l.tables[name] = e
		l.mu.Unlock()
		for n := 1; n <= 2; n++ {
			l.mu.Lock()
			e.tried = n
			l.mu.Unlock()
			if step(func(c context.Context) error {
				return a.SetEnvs(c, name, []base.Pair[string, string]{{Key: "default_ttl", Val: fmt.Sprint(1000 + n)}})
			}) {
				l.mu.Lock()
				e.ttl = n
				l.mu.Unlock()
			}
		}
		if i%3 != 0 {
			l.mu.Lock()
			e.unsure = true
			l.mu.Unlock()
			if step(func(c context.Context) error { return a.DropTable(c, name, time.Hour, true) }) {
				l.mu.Lock()
				e.dropped = true
				l.mu.Unlock()
			}
		}
	}
}

// check compares what was acknowledged until now with what the meta servers have.
func (l *ledger) check(ctx context.Context, a client.Admin) error {
	l.mu.Lock()
	want := map[string]entry{}
	for n, e := range l.tables {
		want[n] = *e
	}
	l.mu.Unlock()
	infos, err := a.ListTables(ctx, layer2.AS_INVALID)
	if err != nil {
		return err
	}
	var wrong []string
	for name, e := range want {
		i := slices.IndexFunc(infos, func(x layer2.AppInfo) bool { return x.AppId == e.id })
		if i < 0 {
			wrong = append(wrong, fmt.Sprintf("table %s (%d) is lost", name, e.id))
			continue
		}
		x := &infos[i]
		ttl := 0
		for _, kv := range x.Envs {
			if kv.Key == "default_ttl" {
				n, _ := strconv.Atoi(kv.Val)
				ttl = n - 1000
			}
		}
		available := x.Status == layer2.AS_AVAILABLE
		if x.AppName != name || ttl < e.ttl || e.dropped && available || !e.unsure && !available {
			wrong = append(wrong, fmt.Sprintf("table %s should be %+v, is %s %v with setting %d", name, e, x.AppName, x.Status, ttl))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("of %d tables %d are wrong: %s", len(want), len(wrong), strings.Join(wrong, "; "))
	}
	return nil
}

// TestMetaKills: the leader of three metas is killed again and again under load. Clients'
// errors stop within 5 s of each kill, and no table, setting or drop that was acknowledged is
// lost.
func TestMetaKills(t *testing.T) {
	kills := metaKills(t)
	c := cluster.Start(t, cluster.Options{Metas: 3, Tables: "temp:4"})
	opts := client.Options{Timeout: time.Second, AttemptTimeout: 500 * time.Millisecond}
	k, admin := client.New(c.Metas(), opts), client.New(c.Metas(), client.Options{Timeout: 3 * time.Second, AttemptTimeout: time.Second})
	defer k.Close()
	defer admin.Close()
	table, err := k.Table(runContext(t, time.Minute), "temp")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	rows, queries, fresh := &watcher{name: "rows"}, &watcher{name: "queries"}, &watcher{name: "fresh clients"}
	i := 0
	wg.Go(func() {
		rows.run(ctx, 2*time.Millisecond, func(c context.Context) error {
			i++
			return table.Set(c, []byte(fmt.Sprint("k", i%1000)), []byte("s"), []byte("value"), 0)
		})
	})
	wg.Go(func() {
		queries.run(ctx, 20*time.Millisecond, func(c context.Context) error {
			_, err := k.Admin().QueryConfig(c, "temp")
			return err
		})
	})
	wg.Go(func() {
		fresh.run(ctx, 100*time.Millisecond, func(c2 context.Context) error {
			k := client.New(c.Metas(), opts)
			defer k.Close()
			tb, err := k.Table(c2, "temp")
			if err == nil {
				_, _, err = tb.Get(c2, []byte("k1"), []byte("s"))
			}
			return err
		})
	})
	l := &ledger{tables: map[string]*entry{}}
	wg.Go(func() { l.churn(ctx, admin.Admin()) })

	leader := func() (name string, err error) {
		for _, m := range c.Metas() {
			c2, cancel := context.WithTimeout(ctx, time.Second)
			st, e := k.Admin().MetaStatus(c2, m)
			cancel()
			if e == nil && st.Role == "leader" {
				return c.Name(m), nil
			}
			err = fmt.Errorf("%s: %v", m, e)
		}
		return "", err
	}
	var worst time.Duration
	for n := range kills {
		var victim string
		if err := cluster.Poll(30*time.Second, func() (err error) { victim, err = leader(); return err }); err != nil || victim == "" {
			t.Fatalf("no leader before kill %d: %v", n, err)
		}
		began := time.Now()
		if err := c.Kill(victim); err != nil {
			t.Fatal(err)
		}
		// Over when there was none for 3 s, though not before a client could have met the kill.
		if err := cluster.Poll(time.Minute, func() error {
			quiet := time.Since(began)
			for _, w := range []*watcher{rows, queries, fresh} {
				last, _, _ := w.since(began)
				quiet = min(quiet, time.Since(began)-last)
			}
			if quiet < 3*time.Second {
				return fmt.Errorf("errors go on")
			}
			return nil
		}); err != nil {
			t.Errorf("kill %d: %v", n, err)
		}
		for _, w := range []*watcher{rows, queries, fresh} {
			last, bad, err := w.since(began)
			worst = max(worst, last)
			if last > 5*time.Second {
				t.Errorf("kill %d, %s: %d errors, the last %v after it: %v", n, w.name, bad, last, err)
			}
		}
		if err := c.Restart(victim); err != nil {
			t.Fatal(err)
		}
		// It must be a follower that has everything, or the next kill takes the majority away.
		if err := cluster.Poll(30*time.Second, func() error {
			st, err := k.Admin().MetaStatus(ctx, c.Addr(victim))
			if err != nil {
				return err
			}
			led, err := k.Admin().MetaStatus(ctx, st.Leader)
			if err == nil && st.Applied+50 < led.LastIndex {
				err = fmt.Errorf("%s follows %s, entry %d of %d", victim, st.Leader, st.Applied, led.LastIndex)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := l.check(runContext(t, 30*time.Second), admin.Admin()); err != nil {
			t.Fatalf("after kill %d: %v", n, err)
		}
	}
	stop()
	wg.Wait()
	if err := l.check(runContext(t, 30*time.Second), admin.Admin()); err != nil {
		t.Errorf("at the end: %v", err)
	}
	t.Logf("%d kills, errors lasted %v at most, %d tables made; %d sets, %d queries, %d fresh clients", kills, worst.Round(time.Millisecond), len(l.tables), rows.ok, queries.ok, fresh.ok)
	if len(l.tables) < kills || rows.ok == 0 || queries.ok == 0 || fresh.ok == 0 {
		t.Error("there was no load")
	}
}

// TestMetaQuorum: with the commands, as an operator would: a member with a lost disk is
// replaced; then the majority is lost for good, and the cluster comes back from the one left.
func TestMetaQuorum(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Metas: 3, Tables: "temp:4"})
	metas := c.Metas()
	cli := func(args ...string) (string, error) {
		return c.CLI(runContext(t, 2*time.Minute), append(args, "--meta", strings.Join(metas, ","), "--timeout", "90s")...)
	}
	must := func(want string, args ...string) {
		t.Helper()
		if out, err := cli(args...); err != nil || !strings.Contains(out, want) {
			t.Fatalf("%v: %v: %s, want %q", args, err, out, want)
		}
	}
	data := func(name string) string { return filepath.Join(c.Dir, name, "data") }
	join := func(name string) {
		t.Helper()
		emptyDir(t, data(name))
		file := filepath.Join(c.Dir, name, "config.toml")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "join = true") {
			text = []byte(strings.Replace(string(text), "[meta]\n", "[meta]\njoin = true\n", 1))
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.Restart(name); err != nil {
			t.Fatal(err)
		}
	}
	acked := filepath.Join(t.TempDir(), "acked")
	if r, err := runBench(t, c, "--op", "set", "--count", "2000", "--value-size", "100", "--record-acked", acked); err != nil || r.Ops != 2000 {
		t.Fatalf("bench: %d sets, %v", r.Ops, err)
	}
	must("members: 3, answering: 3, majority: 2", "meta", "status")
	checkDashboards(t, c)
	if out, err := cli("meta", "add", c.Addr("meta3")); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("add a member: %v: %s", err, out)
	}
	if out, err := cli("meta", "remove", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "no member") {
		t.Errorf("remove a stranger: %v: %s", err, out)
	}
	if err := c.Kill("meta3"); err != nil {
		t.Fatal(err)
	}
	// If it was the leader, the command fails until there is another one.
	if err := cluster.Poll(time.Minute, func() error {
		out, err := cli("meta", "status")
		if err == nil && !strings.Contains(out, "members: 3, answering: 2") {
			err = fmt.Errorf("status: %s", out)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	must("no longer a member", "meta", "remove", c.Addr("meta3"))
	join("meta3")
	must("joining", "meta", "status")
	must("is a member", "meta", "add", c.Addr("meta3"))
	must("members: 3, answering: 3", "meta", "status")

	for _, m := range []string{"meta1", "meta2"} {
		if err := c.Kill(m); err != nil {
			t.Fatal(err)
		}
	}
	// The one that is left may lead until it misses the others.
	if err := cluster.Poll(time.Minute, func() error {
		out, err := cli("meta", "status")
		if err == nil || !strings.Contains(err.Error(), "no meta server leads") || !strings.Contains(out+err.Error(), "no majority, so there is no leader") {
			return fmt.Errorf("the status without a majority: %v: %s", err, out)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill("meta3"); err != nil {
		t.Fatal(err)
	}
	rescue := func(args ...string) (string, error) {
		return c.CLI(runContext(t, time.Minute), append([]string{"meta", "recover-quorum", "--config", filepath.Join(c.Dir, "meta3", "config.toml")}, args...)...)
	}
	if out, err := rescue(); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("without --yes: %v: %s", err, out)
	}
	if out, err := rescue("--yes"); err != nil || !strings.Contains(out, "with 1 tables") {
		t.Fatalf("recover-quorum: %v: %s", err, out)
	}
	if err := c.Restart("meta3"); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Poll(time.Minute, func() error {
		out, err := cli("meta", "status")
		if err == nil && (!strings.Contains(out, "members: 1, answering: 1") || !strings.Contains(out, "may be old")) {
			err = fmt.Errorf("status: %s", out)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if out, err := cli("table", "create", "early"); err == nil {
		t.Errorf("create before the replica servers were asked: %s", out)
	}
	if err := wholeCluster(c); err != nil {
		t.Fatal(err)
	}
	must("recovered table temp (id 1, 4 partitions)", "recover")
	for i, m := range []string{"meta1", "meta2"} {
		join(m)
		must("is a member", "meta", "add", c.Addr(m))
		must(fmt.Sprintf("members: %d, answering: %d", i+2, i+2), "meta", "status")
	}
	if err := c.WaitHealthy("temp", time.Minute); err != nil {
		t.Fatal(err)
	}
	verify(t, c, acked, 2000)
	must("temp", "table", "ls")
}
