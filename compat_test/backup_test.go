package compat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/compat_test/cluster"
	"pegasus/gen/backupadmin"
)

// slowBackup backs up about 400 KB a second on each server.
const slowBackup = "[replica]\nbackup_bytes_per_second = 400000\n"

// backupRate sets how many bytes a second the servers that run read for backups.
func (w *restoreWorld) backupRate(n int) {
	w.Helper()
	for _, r := range w.c.Replicas() {
		if !w.c.Alive(w.c.Name(r)) {
			continue
		}
		res, err := http.Get("http://" + r + "/updateConfig?replica.backup_bytes_per_second=" + strconv.Itoa(n))
		if err != nil {
			w.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil || res.StatusCode != http.StatusOK {
			w.Fatalf("%s: %v", b, err)
		}
	}
}

// fill makes a table with rows, of which each third expires some day.
func (w *restoreWorld) fill(table string, partitions, rows, size int) {
	w.Helper()
	ctx := runContext(w.T, 2*time.Minute)
	if out, err := w.cli("table", "create", table, "-p", strconv.Itoa(partitions), "--env", "default_ttl=0", "--env", "replica.slow_query_threshold=200"); err != nil {
		w.Fatalf("%v: %s", err, out)
	}
	t, err := w.cl.Table(ctx, table)
	if err != nil {
		w.Fatal(err)
	}
	var wg sync.WaitGroup
	fails := make([]error, 16)
	for g := range fails {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 7))
			value := make([]byte, size)
			for i := g; i < rows && fails[g] == nil; i += len(fails) {
				for k := range value {
					value[k] = byte(random.Uint32())
				}
				ttl := 0
				if i%3 == 0 {
					ttl = 5_000_000
				}
				fails[g] = t.Set(ctx, fmt.Appendf(nil, "user%06d", i/5), fmt.Appendf(nil, "sort%d", i%5), value, ttl)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(fails...); err != nil {
		w.Fatal(err)
	}
}

func (w *restoreWorld) backupOf(id int64) (v backupadmin.BackupState, err error) {
	list, err := w.cl.Admin().ListBackups(runContext(w.T, time.Minute), backupadmin.ListBackupsRequest{BackupId: base.Some(id)})
	if err == nil {
		v = list[0]
	}
	return v, err
}

// backupUntil waits until a backup is as ok wants it.
func (w *restoreWorld) backupUntil(id int64, limit time.Duration, what string, ok func(*backupadmin.BackupState) bool) (v backupadmin.BackupState) {
	w.Helper()
	if err := cluster.Poll(limit, func() (err error) {
		if v, err = w.backupOf(id); err == nil && !ok(&v) {
			err = fmt.Errorf("%+v", v)
		}
		return err
	}); err != nil {
		w.Fatalf("backup %d: %s: %v\n%s", id, what, err, w.c.Logs())
	}
	return v
}

func atRest(v *backupadmin.BackupState) bool {
	return v.Status != backupadmin.BACKUP_RUNNING && !v.Cleaning
}

// whole demands that a backup is complete and passes verification, and returns its tables.
func (w *restoreWorld) whole(v *backupadmin.BackupState) map[string]backup.TableReport {
	w.Helper()
	if v.Status != backupadmin.BACKUP_COMPLETED {
		w.Fatalf("backup %d is %v: %s\n%s", v.BackupId, v.Status, v.Reason, w.c.Logs())
	}
	f, _, err := backup.Find(w.Context(), w.store, v.Directory)
	if err != nil {
		w.Fatal(err)
	}
	r, err := backup.Verify(w.Context(), w.store, f, backup.VerifyOptions{Now: backup.Clock(time.Now())})
	if err != nil || len(r.Problems) > 0 {
		w.Fatalf("backup %d: %v, %+v", v.BackupId, err, r.Problems)
	}
	tables := map[string]backup.TableReport{}
	for _, t := range r.Tables {
		tables[t.Name] = t
	}
	return tables
}

// startBackup begins a backup of a table.
func (w *restoreWorld) startBackup(table string) int64 {
	w.Helper()
	out, err := w.cli("backup", "create", table, "--wait", "0", "-o", "json")
	if err != nil {
		w.Fatalf("%v: %s", err, out)
	}
	var made struct{ ID int64 }
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		w.Fatal(err)
	}
	return made.ID
}

// leftOf lists the files of backups in the store.
func (w *restoreWorld) leftOf(id int64) (left []string) {
	w.Helper()
	err := filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, strconv.FormatInt(id, 10)) {
			left = append(left, path)
		}
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return left
}

// A table with rows and settings is backed up by command and by policy, while it is written; each backup passes verification
// and is restored to its rows. A policy keeps as many as it is to keep.
func TestBackup(t *testing.T) {
	w := newRestoreWorld(t, 1, "")
	w.fill("shop", 4, 2000, 200)
	w.fill("other", 2, 100, 100)
	out, err := w.cli("backup", "create", "shop", "--path", "my/path")
	if err != nil || !strings.Contains(out, "is complete") {
		t.Fatalf("%v: %s\n%s", err, out, w.c.Logs())
	}
	list, err := w.cl.Admin().ListBackups(t.Context(), backupadmin.ListBackupsRequest{})
	if err != nil || len(list) != 1 || list[0].Directory != fmt.Sprintf("my/path/onebox/%d", list[0].BackupId) {
		t.Fatalf("%+v, %v", list, err)
	}
	tables := w.whole(&list[0])
	shop := tables["shop"]
	if len(tables) != 1 || shop.Rows != 2000 || !shop.Manifest || len(shop.Partitions) != 4 {
		t.Fatalf("%+v", tables)
	}
	if out, err := w.cli("backup", "show", strconv.FormatInt(list[0].BackupId, 10)); err != nil || !strings.Contains(out, "complete") || !strings.Contains(out, "100 %") {
		t.Errorf("%v: %s", err, out)
	}
	want := w.rows("shop")
	w.mustRestore(shop.Table, "again")
	equalRows(t, "restored", w.rows("again"), want)
	w.sameDigests("again", shop.Table)

	// The servers that wrote it were secondaries.
	cfg, err := w.c.Config("shop")
	if err != nil {
		t.Fatal(err)
	}
	for i := range cfg.Partitions {
		name, err := backup.Current(t.Context(), w.store, shop.Partition(int32(i)))
		if primary := cfg.Partitions[i].Primary.AddrPort(); err != nil || name == backup.CheckpointName(primary.Addr().String(), int(primary.Port())) {
			t.Errorf("partition %d was written to %s, its primary is %v: %v", i, name, primary, err)
		}
	}

	// A policy of both tables; twice the same name, which keeps one.
	add := func() {
		t.Helper()
		w.must("policy daily", "backup", "policy", "add", "daily", "--tables", "shop,other", "--keep", "1")
	}
	backups := func() []backupadmin.BackupState {
		list, err := w.cl.Admin().ListBackups(runContext(t, time.Minute), backupadmin.ListBackupsRequest{Policy: base.Some("daily")})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	add()
	var first backupadmin.BackupState
	if err := cluster.Poll(time.Minute, func() error {
		l := backups()
		if len(l) != 1 || !atRest(&l[0]) {
			return fmt.Errorf("%+v", l)
		}
		first = l[0]
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, w.c.Logs())
	}
	if tables := w.whole(&first); len(tables) != 2 || tables["shop"].Rows != 2000 || tables["other"].Rows != 100 {
		t.Errorf("%+v", tables)
	}
	w.must("disabled", "backup", "policy", "disable", "daily")
	w.must("disabled", "backup", "policy", "ls")
	w.must("is removed", "backup", "policy", "remove", "daily")
	add()
	if err := cluster.Poll(time.Minute, func() error {
		l := backups()
		if len(l) != 1 || l[0].BackupId == first.BackupId || !atRest(&l[0]) || len(w.leftOf(first.BackupId)) > 0 {
			return fmt.Errorf("%+v, left %v", l, w.leftOf(first.BackupId))
		}
		w.whole(&l[0])
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, w.c.Logs())
	}
	w.must("is deleted", "backup", "delete", "--yes", strconv.FormatInt(list[0].BackupId, 10))
	if left := w.leftOf(list[0].BackupId); len(left) > 0 {
		t.Errorf("left %v", left)
	}

	// What can't be.
	for _, c := range []struct{ args, want string }{
		{"create nosuch", "there is no table nosuch"},
		{"create shop -p nosuch", "invalid backup_provider_type nosuch"},
		{"show 5", "no backup 5"},
		{"show x", "no id of a backup"},
		{"cancel 5", "no backup 5"},
		{"delete --yes 5", "no backup 5"},
		{"policy add daily --tables shop", "policy name is already exist"},
		{"policy add b --tables nosuch", "there is no table nosuch"},
		{"policy add bad-name --tables shop", "should match regex"},
		{"policy add b --tables shop --at 25:00", "no time of day 25:00"},
		{"policy add b --tables shop --every 1h", "the shortest is a day"},
		{"policy set daily --at x", "isn't hour:minute"},
		{"policy set daily --every 1h", "too short"},
		{"policy set daily --remove-tables nosuch", "hasn't table nosuch"},
		{"policy set nosuch --keep 3", "no backup policy nosuch"},
		{"policy show nosuch", "no backup policy nosuch"},
		{"policy remove nosuch", "no backup policy nosuch"},
	} {
		if out, err := w.cli(append([]string{"backup"}, strings.Fields(c.args)...)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("backup %s: %v, %s", c.args, err, out)
		}
	}
}

// must runs a command that works, and says that.
func (w *restoreWorld) must(want string, args ...string) string {
	w.Helper()
	out, err := w.cli(args...)
	if err != nil || !strings.Contains(out, want) {
		w.Fatalf("%v: %v, %s\n%s", args, err, out, w.c.Logs())
	}
	return out
}

// A backup that is cancelled in the middle leaves no file, and the table can be backed up again at once. A second one
// meanwhile is refused.
func TestBackupCancel(t *testing.T) {
	w := newRestoreWorld(t, 1, slowBackup)
	w.fill("shop", 6, 4000, 1000)
	id := w.startBackup("shop")
	w.backupUntil(id, time.Minute, "servers are at work", func(v *backupadmin.BackupState) bool { return v.Tables[0].Progress > 50 })
	if out, err := w.cli("backup", "create", "shop"); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("already in a backup, %d", id)) {
		t.Errorf("a second one: %v, %s", err, out)
	}
	if out, err := w.cli("backup", "delete", "--yes", strconv.FormatInt(id, 10)); err == nil || !strings.Contains(err.Error(), "cancel it") {
		t.Errorf("delete it: %v, %s", err, out)
	}
	w.must("is cancelled, and its files are removed", "backup", "cancel", strconv.FormatInt(id, 10))
	v, err := w.backupOf(id)
	if err != nil || v.Status != backupadmin.BACKUP_CANCELLED || !strings.HasPrefix(v.Reason, "cancelled by 127.0.0.1") {
		t.Errorf("%+v, %v", v, err)
	}
	if left := w.leftOf(id); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	w.backupRate(0)
	again := w.backupUntil(w.startBackup("shop"), time.Minute, "the next one ends", atRest)
	if tables := w.whole(&again); tables["shop"].Rows != 4000 {
		t.Errorf("%+v", tables)
	}
	if left := w.leftOf(id); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// Servers are killed at random while a backup is made, metas that lead among them: it ends by itself, and what says that it
// is complete is whole and has every row. PEGASUS_BACKUP_RUNS says how often.
func TestBackupKilled(t *testing.T) {
	t.Parallel()
	w := newRestoreWorld(t, 3, slowBackup)
	const rows = 4000
	w.fill("shop", 6, rows, 1000)
	runs := 3
	if n, err := strconv.Atoi(os.Getenv("PEGASUS_BACKUP_RUNS")); err == nil {
		runs = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for run := range runs {
		w.backupRate(400_000)
		id := w.startBackup("shop")
		// The first two runs kill what matters most, the others anything at any time.
		var victim string
		switch after := int32(random.IntN(700)); run {
		case 0:
			w.backupUntil(id, time.Minute, "servers are at work", func(v *backupadmin.BackupState) bool { return v.Tables[0].Progress > 50 })
			victim = w.writer(id)
		case 1:
			w.backupUntil(id, time.Minute, "servers are at work", func(v *backupadmin.BackupState) bool { return v.Tables[0].Progress > 50 })
			var err error
			if victim, err = w.c.Leader(); err != nil {
				t.Fatal(err)
			}
		default:
			w.backupUntil(id, time.Minute, "it is so far", func(v *backupadmin.BackupState) bool {
				return v.Tables[0].Progress >= after || v.Status != backupadmin.BACKUP_RUNNING
			})
			all := w.c.Servers()
			victim = all[random.IntN(len(all))]
		}
		began := time.Now()
		if err := w.c.Kill(victim); err != nil {
			t.Fatal(err)
		}
		back := time.Duration(random.IntN(4000)) * time.Millisecond
		time.Sleep(back) // it is away, as long as it happens
		if err := w.c.Restart(victim); err != nil {
			t.Fatal(err)
		}
		v := w.backupUntil(id, 3*time.Minute, "it ends after "+victim+" was killed", atRest)
		if tables := w.whole(&v); tables["shop"].Rows != rows {
			t.Errorf("%+v", tables)
		}
		t.Logf("run %d: %s was killed, away for %v, the backup was complete after another %v", run, victim, back, time.Since(began).Round(100*time.Millisecond)-back)
		if err := w.c.WaitHealthy("shop", 2*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	// The last one is restored whole.
	list, err := w.cl.Admin().ListBackups(t.Context(), backupadmin.ListBackupsRequest{})
	if err != nil || len(list) != runs {
		t.Fatalf("%d backups, %v", len(list), err)
	}
	of := w.whole(&list[0])["shop"].Table
	w.mustRestore(of, "again")
	w.sameDigests("again", of)
}

// writer returns a server that writes a part of a backup.
func (w *restoreWorld) writer(id int64) (name string) {
	w.Helper()
	v, err := w.backupOf(id)
	if err != nil {
		w.Fatal(err)
	}
	if err := cluster.Poll(time.Minute, func() error {
		for _, r := range w.c.Replicas() {
			if w.writes(r) {
				name = w.c.Name(r)
				return nil
			}
		}
		return fmt.Errorf("nobody writes a part of backup %+v", v)
	}); err != nil {
		w.Fatal(err)
	}
	return name
}

// writes tells whether a server makes a backup.
func (w *restoreWorld) writes(addr string) bool {
	w.Helper()
	req, err := http.NewRequestWithContext(runContext(w.T, 10*time.Second), http.MethodGet, "http://"+addr+"/metrics?types=replica&metrics=backup_running_count", nil)
	if err != nil {
		w.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	var page struct {
		Entities []struct {
			Metrics []struct{ Value int64 }
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
		w.Fatal(err)
	}
	for _, e := range page.Entities {
		for _, m := range e.Metrics {
			if m.Value > 0 {
				return true
			}
		}
	}
	return false
}
