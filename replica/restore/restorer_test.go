package restore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/blob/stores"
	backupidl "pegasus/gen/backup"
	"pegasus/gen/layer2"
	"pegasus/internal/repo"
	"pegasus/rocks/pegasus"
	"pegasus/rrdb"
	"pegasus/rrdb/engine"
)

// world is a place of backups, and a server that restores.
type world struct {
	testing.TB
	dir    string // of the place
	store  *blob.Store
	set    *blob.Set
	shared *rrdb.Shared
	r      *Restorer

	mu      sync.Mutex
	reports []backupidl.ConfigurationReportRestoreStatusRequest
	answer  func(backupidl.ConfigurationReportRestoreStatusRequest) (base.ErrorCode, error)
	deletes time.Time // rows that had expired by then may go
}

func newWorld(t testing.TB) *world {
	w := &world{TB: t, dir: t.TempDir(), deletes: time.Now()}
	b := config.DefaultBlob()
	b.Path, b.RetryTime, b.DownloadRate = w.dir, config.Duration(100*time.Millisecond), 0
	w.set = stores.New(map[string]config.Blob{"p": b}, nil)
	t.Cleanup(w.set.Close)
	var err error
	if w.store, err = w.set.Get(context.Background(), "p"); err != nil {
		t.Fatal(err)
	}
	if w.shared, err = rrdb.NewShared(rrdb.SharedOptions{Engine: engine.Options{BlockCacheBytes: 32 << 20, MemtablesBytes: 64 << 20, OpenFiles: 256, Compactions: 1}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.shared.Close)
	log := logrus.New()
	log.SetOutput(t.Output())
	w.r = New(Options{Blobs: w.set, Concurrency: 1, Report: w.report, DeleteTime: func() (time.Time, error) { return w.deletes, nil }, Now: time.Now, Log: logrus.NewEntry(log)})
	return w
}

func (w *world) report(_ context.Context, q *backupidl.ConfigurationReportRestoreStatusRequest) (base.ErrorCode, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports = append(w.reports, *q)
	if w.answer != nil {
		return w.answer(*q)
	}
	return base.ErrOK, nil
}

// reported returns the statuses of the reports but for those of progress.
func (w *world) reported() (list []base.ErrorCode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range w.reports {
		if q.RestoreStatus != base.ErrOK {
			list = append(list, q.RestoreStatus)
		}
	}
	return list
}

// job restores a partition to a folder of its own.
func (w *world) job(of backup.Table, partition, partitions int32) (Job, string) {
	dir := filepath.Join(w.TempDir(), "store.1")
	env := appenv.Restore{Provider: "p", Cluster: of.Cluster, Policy: of.Policy, App: of.Name, AppID: of.AppID, BackupID: of.ID, Path: base.Some(of.Path)}
	return Job{Gpid: base.Gpid{AppID: 9, PartitionIndex: partition}, Partitions: partitions, Of: env, Usable: func() error { return nil },
		Begin: func() (*rrdb.Builder, error) {
			if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
			return rrdb.Build(w.options(dir))
		}}, dir
}

func (w *world) options(dir string) rrdb.Options {
	return rrdb.Options{Dir: dir, Shared: w.shared, Gpid: base.Gpid{AppID: 9}, Server: "here:1"}
}

// digest opens a store that was made.
func (w *world) digest(dir string, now uint32) rrdb.Sum {
	w.Helper()
	s, err := rrdb.Open(w.options(dir))
	if err != nil {
		w.Fatal(err)
	}
	defer s.Close()
	sum, err := s.Digest(w.Context(), now)
	if err != nil {
		w.Fatal(err)
	}
	if s.LastApplied() != Decree || s.LastFlushed() != Decree {
		w.Errorf("the store holds decree %d, flushed %d", s.LastApplied(), s.LastFlushed())
	}
	return sum
}

// Read with the clock of the recording, what the C++ cluster backed up is restored to its last row, also those that have expired
// since. With the true clock the expired ones are left out.
func TestGoldenByItsClock(t *testing.T) {
	w := newWorld(t)
	if err := os.CopyFS(filepath.Join(w.dir, "onebox"), os.DirFS(filepath.Join(repo.Golden(t), "backup-policy", "tree-onebox"))); err != nil {
		t.Fatal(err)
	}
	recorded := time.Date(2026, 11, 23, 0, 25, 0, 0, time.UTC)
	for id, rows := range map[int64]int64{1795393398250: 4, 1795393458022: 4} {
		of := backup.Location{Cluster: "onebox", ID: id}.Table("adm", 2)
		for _, now := range []time.Time{recorded, time.Now()} {
			w.deletes = now
			var sum, later int64
			for p := range int32(4) {
				j, dir := w.job(of, p, 4)
				if err := w.r.Make(t.Context(), j); err != nil {
					t.Fatal(err)
				}
				want := backedUp(t, w.store, of.Partition(p), backup.Clock(now))
				got := w.digest(dir, backup.Clock(now))
				if got.Rows != want.Rows || got.Hash != want.Hash {
					t.Errorf("%s: %+v, want %+v", of.Partition(p), got, want)
				}
				sum += got.Rows
				later += w.digest(dir, 0).Rows
			}
			if now.Equal(recorded) && sum != rows || !now.Equal(recorded) && later != 0 {
				t.Errorf("%s at %v: %d rows, %d with expired ones", of, now, sum, later)
			}
		}
	}
}

func backedUp(t testing.TB, s *blob.Store, dir string, now uint32) backup.Sum {
	t.Helper()
	p, err := backup.OpenPartition(t.Context(), s, dir, backup.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := p.Rows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := backup.NewDigest(now)
	for rows.Next() {
		d.Add(rows.Key(), rows.Value())
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	return d.Sum()
}

// made are rows in the order of their keys, as backup.Rows.
type made struct {
	keys []string
	size int
	i    int
	rng  *rand.ChaCha8
	v    []byte
}

// Next, Key, Value and Err implement backup.Rows.
func (r *made) Next() bool {
	if r.i >= len(r.keys) {
		return false
	}
	r.i++
	r.v = r.v[:0]
	for len(r.v) < r.size {
		r.v = binary.LittleEndian.AppendUint64(r.v, r.rng.Uint64())
	}
	return true
}

func (r *made) Key() []byte { return []byte(r.keys[r.i-1]) }

func (r *made) Value() pegasus.Value { return pegasus.Value{Timetag: uint64(1000+r.i) << 8, Data: r.v} }

func (r *made) Err() error { return nil }

// make writes the backup of a table with so many rows.
func (w *world) make(partitions int32, rows, size int) backup.Table {
	w.Helper()
	of := backup.Location{Cluster: "made", ID: 5}.Table("t", 7)
	info := layer2.NewAppInfo()
	info.Status, info.AppType, info.AppName, info.AppId, info.PartitionCount, info.MaxReplicaCount = layer2.AS_AVAILABLE, "pegasus", of.Name, of.AppID, partitions, 3
	ctx := context.Background()
	if err := backup.WriteTable(ctx, w.store, of.Location, &info); err != nil {
		w.Fatal(err)
	}
	keys := make([][]string, partitions)
	for i := range rows {
		k := base.AppendKey(nil, fmt.Appendf(nil, "hash%d", i%(rows/10+1)), fmt.Appendf(nil, "sort%08d", i))
		p := base.HashOfKey(k) % uint64(partitions)
		keys[p] = append(keys[p], string(k))
	}
	for p := range partitions {
		slices.Sort(keys[p])
		r := &made{keys: keys[p], size: size, rng: rand.NewChaCha8([32]byte{byte(p)})}
		if _, err := backup.WritePartition(ctx, w.store, r, backup.WriteOptions{Table: of, Partition: p, Checkpoint: "chkpt_h_1", Decree: 100, Taken: time.Now()}); err != nil {
			w.Fatal(err)
		}
	}
	return of
}

// damage changes a byte of a table file of a partition, and returns its name.
func (w *world) damage(of backup.Table, partition int32) string {
	w.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, of.Partition(partition), "*", "*.sst"))
	if err != nil || len(files) == 0 {
		w.Fatal(files, err)
	}
	slices.Sort(files)
	name := files[len(files)-1]
	b, err := os.ReadFile(name)
	if err != nil {
		w.Fatal(err)
	}
	b[len(b)/3] ^= 4
	if err := os.WriteFile(name, b, 0o644); err != nil {
		w.Fatal(err)
	}
	return filepath.Base(name)
}

// A damaged backup is told as such, with the name of the file, and makes no store. If it may be skipped the store is empty, but only once
// the meta has noted that.
func TestDamaged(t *testing.T) {
	w := newWorld(t)
	of := w.make(2, 2000, 100)
	file := w.damage(of, 1)
	j, dir := w.job(of, 1, 2)
	err := w.r.Make(t.Context(), j)
	if !backup.Damaged(err) || !strings.Contains(err.Error(), file) {
		t.Errorf("%v", err)
	}
	if got := w.reported(); !slices.Equal(got, []base.ErrorCode{base.ErrCorruption}) {
		t.Errorf("reported %v", got)
	}
	if _, err := os.Stat(dir + ".tables"); err == nil {
		t.Error("table files are left")
	}

	w.reports = nil
	j, dir = w.job(of, 1, 2)
	j.Of.SkipBad = true
	notes := 0
	w.answer = func(q backupidl.ConfigurationReportRestoreStatusRequest) (base.ErrorCode, error) {
		if q.RestoreStatus != base.ErrIgnoreBadData {
			return base.ErrOK, nil
		}
		if notes++; notes < 3 { // no leader takes it
			return "", errors.New("nobody leads")
		}
		if !strings.Contains(q.Reason.V, file) {
			t.Errorf("the reason is %s", q.Reason.V)
		}
		if _, err := os.Stat(filepath.Join(dir, "MANIFEST-000001")); err == nil && notes < 3 {
			t.Error("the store is made before the meta has noted it")
		}
		return base.ErrOK, nil
	}
	if err := w.r.Make(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	if sum := w.digest(dir, 0); sum.Rows != 0 || notes != 3 {
		t.Errorf("%+v after %d notes", sum, notes)
	}

	// The meta refuses: there is no store.
	j, _ = w.job(of, 1, 2)
	j.Of.SkipBad = true
	w.answer = func(q backupidl.ConfigurationReportRestoreStatusRequest) (base.ErrorCode, error) {
		if q.RestoreStatus == base.ErrIgnoreBadData {
			return base.ErrInvalidState, nil
		}
		return base.ErrOK, nil
	}
	if err := w.r.Make(t.Context(), j); !errors.Is(err, ErrUnwanted) {
		t.Errorf("%v", err)
	}
}

// A backup that goes away while it is read, because its directory is no longer mounted or because it is removed, isn't taken for a bad
// one: nothing is left empty.
func TestGoesAway(t *testing.T) {
	w := newWorld(t)
	of := w.make(1, 2000, 100)
	j, _ := w.job(of, 0, 1)
	j.Of.SkipBad = true
	begin := j.Begin
	j.Begin = func() (*rrdb.Builder, error) {
		if err := os.RemoveAll(filepath.Join(w.dir, of.Location.Dir())); err != nil {
			t.Error(err)
		}
		return begin()
	}
	err := w.r.Make(t.Context(), j)
	if got := w.reported(); err == nil || backup.Damaged(err) || !slices.Equal(got, []base.ErrorCode{base.ErrObjectNotFound}) {
		t.Errorf("%v, reported %v", err, got)
	}
}

// A backup that isn't seen here, a place that isn't there, and a disk that is full say nothing of the backup.
func TestNotTheBackup(t *testing.T) {
	w := newWorld(t)
	of := w.make(1, 100, 100)
	for name, c := range map[string]struct {
		change func(*Job)
		want   base.ErrorCode
	}{
		"another backup": {func(j *Job) { j.Of.BackupID++ }, base.ErrObjectNotFound},
		"no such place":  {func(j *Job) { j.Of.Provider = "nosuch" }, base.ErrFsInternal},
		"a full disk": {func(j *Job) {
			j.Usable = func() error { return fmt.Errorf("no room: %w", base.ErrDiskInsufficient) }
			w.r.setRate(1)
		}, base.ErrDiskInsufficient},
		"a store that can't begin": {func(j *Job) { j.Begin = func() (*rrdb.Builder, error) { return nil, os.ErrPermission } }, base.ErrFsInternal},
	} {
		w.reports = nil
		w.r.setRate(0)
		j, _ := w.job(of, 0, 1)
		j.Of.SkipBad = true // it is of no use here
		c.change(&j)
		err := w.r.Make(t.Context(), j)
		if got := w.reported(); err == nil || backup.Damaged(err) || !slices.Equal(got, []base.ErrorCode{c.want}) {
			t.Errorf("%s: %v, reported %v, want %v", name, err, got, c.want)
		}
	}
	// Of another shape: it is the wrong backup, for all servers.
	w.reports = nil
	w.r.setRate(0)
	j, _ := w.job(of, 0, 2)
	if err := w.r.Make(t.Context(), j); !backup.Damaged(err) {
		t.Errorf("another partition count: %v", err)
	}
}

// Rows of other partitions are left out, as after a split; a backup that has nothing else is another partition's.
func TestForeignRows(t *testing.T) {
	w := newWorld(t)
	of := w.make(1, 1000, 10)
	whole := backedUp(t, w.store, of.Partition(0), 0)
	// As if the table had been split in two after each row was written.
	if err := errors.Join(os.CopyFS(filepath.Join(w.dir, of.Partition(1)), os.DirFS(filepath.Join(w.dir, of.Partition(0)))), twoPartitions(w, of)); err != nil {
		t.Fatal(err)
	}
	var sum int64
	for p := range int32(2) {
		j, dir := w.job(of, p, 2)
		if err := w.r.Make(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		n := w.digest(dir, 0).Rows
		if n == 0 || n == whole.Rows {
			t.Errorf("partition %d has %d rows", p, n)
		}
		sum += n
	}
	if sum != whole.Rows {
		t.Errorf("%d rows, want %d", sum, whole.Rows)
	}
}

// twoPartitions says in the description of a table that it has two partitions.
func twoPartitions(w *world, of backup.Table) error {
	info, err := backup.ReadTable(context.Background(), w.store, of)
	if err != nil {
		return err
	}
	info.PartitionCount = 2
	return backup.WriteTable(context.Background(), w.store, of.Location, &info)
}

// Who isn't wanted any more stops, and tells nobody of a failure; the same holds for a server that ends.
func TestUnwanted(t *testing.T) {
	w := newWorld(t)
	of := w.make(1, 20000, 1000)
	for _, code := range []base.ErrorCode{base.ErrObjectNotFound, base.ErrInvalidState, base.ErrBusy} {
		w.r.setRate(1000) // for ever
		w.reports = nil
		w.answer = func(backupidl.ConfigurationReportRestoreStatusRequest) (base.ErrorCode, error) {
			if len(w.reports) > 1 {
				return code, nil
			}
			return base.ErrOK, nil
		}
		j, dir := w.job(of, 0, 1)
		if err := w.r.Make(t.Context(), j); !errors.Is(err, ErrUnwanted) || len(w.reported()) > 0 {
			t.Errorf("%v: %v, reported %v", code, err, w.reported())
		}
		if left, _ := filepath.Glob(dir + ".*"); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	w.answer = nil
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	j, _ := w.job(of, 0, 1)
	if err := w.r.Make(ctx, j); !errors.Is(err, context.Canceled) || len(w.reported()) > 0 {
		t.Errorf("the server ends: %v, reported %v", err, w.reported())
	}
}

// No more stores are made at a time than the setting says; those that wait say so.
func TestConcurrency(t *testing.T) {
	w := newWorld(t)
	of := w.make(3, 300, 10)
	var mu sync.Mutex
	at, most := 0, 0
	var wg sync.WaitGroup
	for p := range int32(3) {
		j, _ := w.job(of, p, 3)
		begin := j.Begin
		j.Begin = func() (*rrdb.Builder, error) {
			mu.Lock()
			at++
			most = max(most, at)
			mu.Unlock()
			time.Sleep(20 * time.Millisecond)
			mu.Lock()
			at--
			mu.Unlock()
			return begin()
		}
		wg.Go(func() {
			if err := w.r.Make(t.Context(), j); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most != 1 {
		t.Errorf("%d at a time", most)
	}
}

// BenchmarkMake restores 256 MB that don't compress, from a local directory.
func BenchmarkMake(b *testing.B) {
	w := newWorld(b)
	of := w.make(1, 256<<10, 1000)
	b.SetBytes(256 << 10 * 1024)
	for b.Loop() {
		j, _ := w.job(of, 0, 1)
		if err := w.r.Make(b.Context(), j); err != nil {
			b.Fatal(err)
		}
	}
}
