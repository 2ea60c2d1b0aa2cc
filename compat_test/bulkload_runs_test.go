package compat

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/blob/stores"
	files "pegasus/bulkload"
	"pegasus/client"
	"pegasus/compat_test/cluster"
	"pegasus/gen/bulkload"
	"pegasus/rocks/pegasus"
)

var (
	loadRuns   = flag.Int("load-runs", 0, "how many runs TestBulkLoadRuns makes")
	loadMB     = flag.Int("load-mb", 50, "how many megabytes of rows each of them loads")
	loadParts  = flag.Int("load-partitions", 4, "how many partitions their table has")
	loadKills  = flag.Bool("load-kills", true, "whether servers are killed meanwhile")
	loadSeed   = flag.Int("load-seed", 1, "is added to the number of a run")
	loadLogs   = flag.String("load-logs", "", "directory for the servers' logs of each run")
	loadBehind = flag.Bool("load-behind", false, "whether rows that are there are kept (ingest_behind)")
)

// loadRun is a table under load into which files are loaded. Hash keys that begin with x are those of the files; some of them
// clients write, too.
type loadRun struct {
	*splitWorld
	rows  int // of the files
	value int // bytes of each
	salt  uint64
	files string // the directory of the place, which all runs share

	mu sync.Mutex
	// over are the rows of files that clients wrote: what was acknowledged last, what may have been written since, and whether all that was before the load.
	over map[int]*overwritten
}

type overwritten struct {
	last  string
	maybe []string
	early bool // there was nothing but writes that had ended before the load began
}

// TestBulkLoadRuns loads files into a table in use while servers and metas are killed at random: nothing that was acknowledged is lost, the table has exactly
// the rows of the files and of clients, nothing is left on disks. -load-runs and the other flags say how often and how much; figures are in docs/performance.md.
func TestBulkLoadRuns(t *testing.T) {
	if *loadRuns == 0 {
		t.Skip("takes minutes: -load-runs says how many runs it makes")
	}
	dir := t.TempDir()
	for run := range *loadRuns {
		t.Run(fmt.Sprint(run+*loadSeed), func(t *testing.T) { bulkLoadRun(t, run+*loadSeed, dir) })
	}
}

func fileKey(i int) []byte { return fmt.Appendf(nil, "x%08d", i) }

// valueOf is the value of a row of the files. Half of it can be compressed.
func (w *loadRun) valueOf(i int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(i)))
	b := make([]byte, 0, w.value)
	b = fmt.Appendf(b, "file row %d ", i)
	for len(b) < w.value/2 {
		b = strconv.AppendUint(b, r.Uint64(), 36)
	}
	return append(b, bytes.Repeat([]byte{'.'}, max(0, w.value-len(b)))...)
}

// write makes the files, unless an earlier run did.
func (w *loadRun) write(table int32) {
	w.Helper()
	place := files.Place{Root: "root", Cluster: "c", Table: "temp"}
	c := config.DefaultBlob()
	c.Path = w.files
	set := stores.New(map[string]config.Blob{"files": c}, nil)
	defer set.Close()
	store, err := set.Get(context.Background(), "files")
	if err != nil {
		w.Fatal(err)
	}
	count := int32(*loadParts)
	if is, err := files.ReadInfo(context.Background(), store, place); err == nil {
		if err := is.CheckTable(store, place, table, count); err != nil {
			w.Fatal(err)
		}
		return
	}
	f, err := files.Create(context.Background(), store, files.WriterOptions{Place: place, AppID: table, Partitions: count})
	if err != nil {
		w.Fatal(err)
	}
	parts := make([][]int, count)
	for i := range w.rows {
		p := base.HashOf(fileKey(i), []byte("s")) % uint64(count)
		parts[p] = append(parts[p], i) // all keys are of one length, so they rise
	}
	for p, list := range parts {
		for _, i := range list {
			if err := f.Add(int32(p), base.AppendKey(nil, fileKey(i), []byte("s")), pegasus.Value{Data: w.valueOf(i)}); err != nil {
				w.Fatal(err)
			}
		}
	}
	if _, err := f.Close(); err != nil {
		w.Fatal(err)
	}
}

// overwrite writes and removes rows of the files until ctx ends; who has its own tenth of them. Before the load it is called once, with
// early set, and writes each of so many once.
func (w *loadRun) overwrite(ctx context.Context, who int, early int) {
	r := rand.New(rand.NewPCG(uint64(who), w.salt))
	for n := 0; ctx.Err() == nil && (early == 0 || n < early); n++ {
		i := r.IntN(w.rows/10)*10 + who
		value := fmt.Sprintf("client %d %d", who, n)
		remove := early == 0 && r.IntN(4) == 0
		c, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		began := time.Now()
		var err error
		if remove {
			value = ""
			err = w.table.Del(c, fileKey(i), []byte("s"))
		} else {
			err = w.table.Set(c, fileKey(i), []byte("s"), []byte(value), 0)
		}
		cancel()
		w.wrote(began, fmt.Sprintf("row %s: %v", fileKey(i), err))
		w.mu.Lock()
		o := w.over[i]
		if o == nil {
			o = &overwritten{}
			w.over[i] = o
		}
		o.early = early > 0
		if err == nil {
			o.last, o.maybe = value, nil
		} else {
			o.maybe = append(o.maybe, value)
			w.fails.Add(1)
		}
		w.mu.Unlock()
		if early == 0 {
			time.Sleep(2 * time.Millisecond)
		}
	}
}

func bulkLoadRun(t *testing.T, run int, dir string) {
	w := &loadRun{value: 1000, salt: uint64(run), files: dir, over: map[int]*overwritten{}}
	w.rows = *loadMB * 1000
	envs := fmt.Sprintf("[blob.files]\npath = %q\n[replica]\nbulk_load_bytes_per_second = 0\n", w.files)
	w.splitWorld = &splitWorld{T: t, c: cluster.Start(t, cluster.Options{Metas: 3, Tables: fmt.Sprintf("temp:%d", *loadParts), Config: envs}),
		rows: map[string]string{}, sums: map[string]int64{}, maybe: map[string]int64{}}
	w.k = client.New(w.c.Metas(), client.Options{Timeout: 20 * time.Second, AttemptTimeout: time.Second})
	t.Cleanup(w.k.Close)
	var err error
	if w.table, err = w.k.Table(runContext(t, time.Minute), "temp"); err != nil {
		t.Fatal(err)
	}
	cfg, err := w.c.Config("temp")
	if err != nil {
		t.Fatal(err)
	}
	w.write(cfg.AppId)
	if *loadBehind {
		if err := w.k.Admin().SetEnvs(runContext(t, 30*time.Second), "temp", []base.Pair[string, string]{{Key: "rocksdb.allow_ingest_behind", Val: "true"}}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	w.overwrite(ctx, 9, 300)
	for i := range 4 {
		wg.Go(func() { w.load(ctx, i) })
	}
	for i := range 2 {
		wg.Go(func() { w.overwrite(ctx, i, 0) })
	}
	kctx, end := context.WithCancel(ctx)
	var kills sync.WaitGroup
	var killed []string
	if *loadLogs != "" {
		t.Cleanup(func() { w.keepLogs(filepath.Join(*loadLogs, fmt.Sprint(run))) })
	}
	r := rand.New(rand.NewPCG(uint64(run), 1))
	began := time.Now()
	if err := cluster.Poll(time.Minute, func() error {
		err := w.k.Admin().StartBulkLoad(runContext(t, 20*time.Second), &bulkload.StartBulkLoadRequest{AppName: "temp", ClusterName: "c", FileProviderType: "files", RemoteRootPath: "root", IngestBehind: *loadBehind})
		if err != nil {
			if q, e := w.k.Admin().QueryBulkLoad(runContext(t, 20*time.Second), "temp"); e == nil && q.AppStatus != bulkload.BLS_INVALID {
				return nil // an earlier try, whose answer was lost
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	kills.Go(func() {
		for kctx.Err() == nil && *loadKills {
			names := w.c.Servers()
			name := names[r.IntN(len(names))]
			if err := w.c.Kill(name); err != nil {
				t.Error(err)
			}
			began := time.Now()
			time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
			if err := w.c.Restart(name); err != nil {
				t.Error(err)
			}
			killed = append(killed, fmt.Sprintf("%s %s-%s", name, began.Format("15:04:05.000"), time.Now().Format("15:04:05.000")))
			time.Sleep(time.Duration(300+r.IntN(3000)) * time.Millisecond)
		}
	})
	var last *bulkload.QueryBulkLoadResponse
	if err := cluster.Poll(10*time.Minute, func() error {
		q, err := w.k.Admin().QueryBulkLoad(runContext(t, 20*time.Second), "temp")
		if err != nil {
			return err
		}
		if last = q; q.IsBulkLoading.V {
			return fmt.Errorf("%v: %v, %s", q.AppStatus, q.PartitionsStatus, q.HintMsg.V)
		}
		return nil
	}); err != nil {
		t.Errorf("%v\n%s", err, w.c.Logs())
	}
	took := time.Since(began)
	end()
	kills.Wait()
	if err := w.c.WaitHealthy("temp", 2*time.Minute); err != nil {
		t.Error(err)
	}
	stop()
	wg.Wait()
	if t.Failed() || last.AppStatus != bulkload.BLS_SUCCEED {
		t.Fatalf("the load ends as %v: %s\n%s", last.AppStatus, last.HintMsg.V, w.c.Logs())
	}
	t.Logf("run %d: %d MB loaded in %v with %d kills; %d rows written meanwhile, %d rows of the files; %d writes failed, the longest took %v; writes were held %v", run, *loadMB,
		took.Round(time.Millisecond), len(killed), len(w.splitWorld.rows), len(w.over), w.fails.Load(), time.Duration(w.worst.Load()).Round(time.Millisecond), w.held())
	if len(w.slow) > 0 {
		t.Logf("slow writes:\n%s\nkilled:\n%s", strings.Join(w.slow, "\n"), strings.Join(killed, "\n"))
	}
	w.check()
	w.checkLoaded()
	nothingLeft(t, w.c)
}

// keepLogs copies the servers' logs to a directory.
func (w *loadRun) keepLogs(dir string) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.Error(err)
	}
	for _, name := range w.c.Servers() {
		if err := os.WriteFile(filepath.Join(dir, name+".log"), []byte(w.c.Log(name)), 0o644); err != nil {
			w.Error(err)
		}
	}
}

// held is for how long partitions held their writes, as far as their primaries lived to tell.
func (w *loadRun) held() (list []time.Duration) {
	said := regexp.MustCompile(`is taken, \d+ rows; writes waited for ([0-9a-zµ.]+)`)
	for _, name := range w.c.Servers() {
		for _, m := range said.FindAllStringSubmatch(w.c.Log(name), -1) {
			if d, err := time.ParseDuration(m[1]); err == nil {
				list = append(list, d)
			}
		}
	}
	slices.Sort(list)
	return list
}

// checkLoaded compares the rows of the files with the table's.
func (w *loadRun) checkLoaded() {
	w.Helper()
	ctx := runContext(w.T, 5*time.Minute)
	k := client.New(w.c.Metas(), client.Options{Timeout: 30 * time.Second})
	defer k.Close()
	table, err := k.Table(ctx, "temp")
	if err != nil {
		w.Fatal(err)
	}
	met := make([]bool, w.rows)
	bad := 0
	wrong := func(format string, args ...any) {
		if bad++; bad < 10 {
			w.Errorf(format, args...)
		}
	}
	s := table.ScanAll(client.ScanOptions{Batch: 1000})
	defer s.Close()
	kept, both := 0, 0
	for s.Next(ctx) {
		row := s.Row()
		if row.HashKey[0] != 'x' {
			continue
		}
		i, err := strconv.Atoi(string(row.HashKey[1:]))
		if err != nil || i >= w.rows || met[i] {
			wrong("row %s is scanned twice, or no row of the files: %v", row.HashKey, err)
			continue
		}
		met[i] = true
		o, value := w.over[i], string(row.Value)
		loaded := value == string(w.valueOf(i))
		switch {
		case o == nil && !loaded:
			wrong("row %s is %.40q", row.HashKey, value)
		case o == nil:
		case o.early && loaded == *loadBehind:
			wrong("row %s, which was there before the load: %.40q", row.HashKey, value)
		case !loaded && value != o.last && !slices.Contains(o.maybe, value):
			wrong("row %s is %.40q, the last write was %q", row.HashKey, value, o.last)
		case loaded && *loadBehind && o.last != "" && len(o.maybe) == 0:
			wrong("row %s is of the file, although %q was written", row.HashKey, o.last)
		case !loaded:
			kept++
		default:
			both++
		}
	}
	if err := s.Err(); err != nil {
		w.Fatal(err)
	}
	removed := 0
	for i, is := range met {
		if o := w.over[i]; !is && (o == nil || o.last != "" && !slices.Contains(o.maybe, "") || o.early) {
			wrong("row %s is lost", fileKey(i))
		} else if !is {
			removed++
		}
	}
	if bad > 0 {
		w.Errorf("%d rows are wrong", bad)
	}
	w.Logf("of the rows that clients wrote %d are theirs, %d of the files, %d removed", kept, both, removed)
}
