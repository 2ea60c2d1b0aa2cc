package inplace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/cppdata"
	"pegasus/cppdata/cppdatatest"
	"pegasus/cppdata/plog"
	"pegasus/cppdata/plog/plogtest"
	"pegasus/gen/rrdb"
	"pegasus/internal/repo"
	"pegasus/migrate/dirs"
	"pegasus/replica/disk"
	"pegasus/replica/stored"
	"pegasus/replica/wal"
	"pegasus/rocks/pegasus"
	store "pegasus/rrdb"
)

// ofRecordings is a time at which none of the recorded rows has expired.
var ofRecordings = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

func look(t *testing.T, o dirs.Options) *dirs.Plan {
	t.Helper()
	p, err := dirs.Look(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// options are those of servers below dir, the second of which has two directories.
func options(dir string, servers int) Options {
	cfg := config.Default()
	cfg.WAL.SegmentBytes = 1 << 20
	o := Options{Config: &cfg, Now: ofRecordings, Log: quiet()}
	for i := range servers {
		a, _ := base.ParseAddr(fmt.Sprintf("127.0.0.1:%d", 34801+i))
		s := Server{Addr: a, Dirs: []disk.Place{{Tag: "d1", Path: filepath.Join(dir, fmt.Sprint("s", i), "d1")}}}
		if i == 1 {
			s.Dirs = append(s.Dirs, disk.Place{Tag: "d2", Path: filepath.Join(dir, fmt.Sprint("s", i), "d2")})
		}
		o.Servers = append(o.Servers, s)
	}
	return o
}

func quiet() *logrus.Entry {
	l := logrus.New()
	l.SetLevel(logrus.PanicLevel)
	return logrus.NewEntry(l)
}

// has is what directories hold.
type has struct {
	rows   map[string]cppdatatest.Row // of all partitions
	copies map[base.Gpid]int
	infos  map[base.Gpid]stored.Info
	decree map[base.Gpid]int64
	times  map[string]uint64 // timetags, by key
	leads  map[base.Gpid]base.RPCAddress
	led    map[base.RPCAddress]int
}

// inspect reads what the servers' directories hold, and checks that they are usable and that copies don't differ.
func inspect(t *testing.T, o Options) has {
	t.Helper()
	h := has{rows: map[string]cppdatatest.Row{}, copies: map[base.Gpid]int{}, infos: map[base.Gpid]stored.Info{}, decree: map[base.Gpid]int64{}, times: map[string]uint64{},
		leads: map[base.Gpid]base.RPCAddress{}, led: map[base.RPCAddress]int{}}
	of := map[base.Gpid]map[string]string{}
	for _, s := range o.Servers {
		for _, d := range s.Dirs {
			if err := stored.Usable(d.Path); err != nil {
				t.Fatal(err)
			}
		}
		set, err := disk.Open(disk.Options{Dirs: s.Dirs, Cluster: o.Config.Cluster.Name, Node: s.Addr.String(), Log: quiet(), WAL: wal.Options{SegmentBytes: 1 << 20}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range set.All() {
			gs, err := d.Replicas()
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range gs {
				h.copies[g]++
				rows := map[string]string{}
				c, err := store.OpenCopy(store.CopyOptions{Dir: stored.StorePath(d.ReplicaPath(g), 1)})
				if err != nil {
					t.Fatal(err)
				}
				it, err := c.All(context.Background(), store.ExpiryTime(o.Now))
				if err != nil {
					t.Fatal(err)
				}
				for it.Next() {
					r := it.Row()
					rows[string(r.Key)] = fmt.Sprintf("%d %d %q", r.ExpireTS, r.Timetag, r.Data)
					h.rows[string(r.Key)], h.times[string(r.Key)] = cppdatatest.Row{Value: string(r.Data), TTL: r.ExpireTS > 0}, r.Timetag
				}
				if err := errors.Join(it.Err(), it.Close()); err != nil {
					t.Fatal(err)
				}
				h.decree[g] = c.Decree()
				if st := d.Log().State(g); st.Last != c.Decree() || st.Base != c.Decree() {
					t.Errorf("%v of server %v: the log is at %+v, the store at %d", g, s.Addr, st, c.Decree())
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				var info stored.Info
				if err := disk.ReadJSON(stored.Name(d.ReplicaPath(g)), &info); err != nil {
					t.Fatal(err)
				}
				if was, ok := of[g]; ok && !maps.Equal(was, rows) {
					t.Errorf("%v: two of its replicas differ", g)
				}
				of[g], h.infos[g] = rows, info
				if info.Member == info.Ballot {
					if h.leads[g] != 0 {
						t.Errorf("%v: both %v and %v are to lead", g, h.leads[g], s.Addr)
					}
					h.leads[g] = s.Addr
					h.led[s.Addr]++
				} else if info.Member != info.Ballot-1 {
					t.Errorf("%v: %+v", g, info)
				}
			}
		}
		if err := set.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// TestGolden: the recordings come over exactly, with ids, ballots, decrees and timetags.
func TestGolden(t *testing.T) {
	want := cppdatatest.Expected(t)
	for _, name := range cppdatatest.Recordings {
		t.Run(name, func(t *testing.T) {
			p := look(t, dirs.Options{Dirs: []string{filepath.Join(repo.Golden(t), name)}})
			o := options(t.TempDir(), 3)
			all, err := Make(context.Background(), p, o)
			if err != nil || len(all) != 1 || all[0].Rows != 1900 || all[0].Foreign != 0 || all[0].Replicas != 3 {
				t.Fatalf("%+v, %v", all, err)
			}
			h := inspect(t, o)
			if !maps.Equal(h.rows, want) {
				t.Errorf("%d rows, want %d", len(h.rows), len(want))
			}
			for k, tag := range h.times {
				if tag == 0 {
					t.Fatalf("row %q has lost its timetag", k)
				}
			}
			if len(h.leads) != 4 || len(h.led) != 3 {
				t.Errorf("who is to lead: %v", h.leads)
			}
			for i := range p.Tables[0].Parts {
				of := &p.Tables[0].Parts[i]
				in := h.infos[of.Gpid]
				if h.copies[of.Gpid] != 3 || h.decree[of.Gpid] != of.Best.Decree || of.Best.Decree < 400 || in.Ballot != of.Best.Ballot+1 || in.AppName != "mig" ||
					in.AppID != 1 || in.Partitions != 4 || in.MaxReplica != 3 || in.Created != p.Tables[0].Info.CreateSecond || in.Created == 0 {
					t.Errorf("%v: %d copies, decree %d (%v), %+v", of.Gpid, h.copies[of.Gpid], h.decree[of.Gpid], of.Best, in)
				}
			}
			if again, err := Make(context.Background(), p, o); err != nil || again[0].Before != 4 || again[0].Rows != 0 {
				t.Errorf("once more: %+v, %v", again, err)
			}
		})
	}
}

// table makes the directories of a table whose rows are hash keys k0 to k<n-1>, in logs.
func table(t *testing.T, dir string, id int32, name string, partitions int32, n int, envs map[string]string, more ...plog.Update) {
	t.Helper()
	for p := range partitions {
		g := base.Gpid{AppID: id, PartitionIndex: p}
		path := cppdatatest.Replica{Table: name, Partitions: partitions, Gpid: g, Ballot: 2, Envs: envs, Created: int64(id),
			Rows: []pegasus.Row{{Key: []byte("\x00\x03old" + fmt.Sprint(p)), Value: pegasus.Value{ExpireTS: 1}}}, Flushed: 1}.Make(t, dir)
		w := plogtest.New(0, g, 0, 0)
		d := int64(1)
		add := func(u plog.Update) {
			d++
			w.Add(plog.Mutation{Gpid: g, Ballot: 2, Decree: d, Committed: d - 1, TimestampUS: 1.7e15, Updates: []plog.Update{u}})
		}
		for i := range n {
			key := base.AppendKey(nil, fmt.Appendf(nil, "k%d", i), nil)
			if !base.InPartition(base.HashOfKey(key), p, partitions) {
				continue
			}
			q := &rrdb.UpdateRequest{Key: key, Value: fmt.Appendf(nil, "v%d", i)}
			add(plog.Update{Code: base.RPCPut, Data: append(q.AppendThrift([]byte{12, 0, 1}), 0)})
		}
		for _, u := range more {
			add(u)
		}
		w.Save(t, filepath.Join(path, "plog"), 1)
	}
}

// onMemory has the data directories of ours on a file system in memory, until the test ends.
func onMemory(t *testing.T) *vfs.MemFS {
	t.Helper()
	was := vfs.Default
	t.Cleanup(func() { vfs.Default = was })
	m := vfs.NewCrashableMem()
	vfs.Default = m
	return m
}

// TestPowerFailure has the power fail at each write, or at so many of them that it takes a bearable time, with a part of what wasn't synced lost. Until it
// is run again no server starts, and then all is there.
func TestPowerFailure(t *testing.T) {
	src := t.TempDir()
	table(t, src, 4, "a", 3, 40, map[string]string{"default_ttl": "86400"})
	table(t, src, 9, "b", 1, 40, nil)
	p := look(t, dirs.Options{Dirs: []string{src}})
	o := options("/ours", 2)
	run := func(fail int, keep int, rng *rand.Rand) (n int, after *vfs.MemFS, err error) {
		m := onMemory(t)
		if err := m.MkdirAll("/ours/s0", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := m.MkdirAll("/ours/s1", 0o755); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"/", "/ours", "/ours/s0", "/ours/s1"} {
			if err := disk.SyncDir(dir); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		vfs.Default = errorfs.Wrap(m, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if after != nil {
				return errorfs.ErrInjected
			}
			if n++; n == fail {
				after = m.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: rng})
				return errorfs.ErrInjected
			}
			return nil
		}))
		o := o
		o.Partitions = 1 + fail%2
		_, err = Make(context.Background(), p, o)
		mu.Lock()
		defer mu.Unlock()
		return n, after, err
	}
	writes, _, err := run(-1, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	began, tried := time.Now(), 0
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	step := max(1, writes/40)
	for fail := 1 + rng.IntN(step); fail <= writes; fail += step {
		if time.Since(began) > 40*time.Second {
			break // a busy machine; other runs begin elsewhere
		}
		tried++
		keep := []int{0, 50, 100}[rng.IntN(3)]
		_, after, err := run(fail, keep, rng)
		if after == nil {
			continue // it takes fewer writes this time
		}
		vfs.Default = after
		begun, unusable := 0, 0
		for _, s := range o.Servers {
			for _, d := range s.Dirs {
				if names, e := after.List(filepath.Join(d.Path, "reps")); e == nil {
					begun += len(names)
				}
				if stored.Usable(d.Path) != nil {
					unusable++
				}
			}
		}
		// A directory with replicas is usable only if all are complete. The last thing that is done is to say so.
		if begun > 0 && begun < 8 && unusable != 3 {
			t.Fatalf("seed %d, write %d of %d: %d replicas of 8 are there, and %d directories of 3 are unusable", seed, fail, writes, begun, unusable)
		}
		if err == nil && begun != 8 {
			t.Fatalf("seed %d, write %d of %d: it says that it's done, and %d replicas are there", seed, fail, writes, begun)
		}
		all, err := Make(context.Background(), p, o)
		if err != nil || len(all) != 2 || all[0].Partitions != 3 || all[1].Partitions != 1 {
			t.Fatalf("seed %d, after a failure at write %d of %d: %+v, %v", seed, fail, writes, all, err)
		}
		h := inspect(t, o)
		if len(h.rows) != 40 || len(h.copies) != 4 {
			t.Fatalf("seed %d, after a failure at write %d of %d: %d rows, %v", seed, fail, writes, len(h.rows), h.copies)
		}
		for g, n := range h.copies {
			if n != 2 || h.decree[g] != partition(p, g).Best.Decree {
				t.Fatalf("seed %d, after a failure at write %d of %d: %v has %d replicas of decree %d, want %v", seed, fail, writes, g, n, h.decree[g], partition(p, g).Best)
			}
		}
	}
	t.Logf("%d of %d writes in %v", tried, writes, time.Since(began))
}

// TestRefusals: what isn't begun, and what isn't gone on with.
func TestRefusals(t *testing.T) {
	ctx := context.Background()
	src, dst := t.TempDir(), t.TempDir()
	table(t, src, 4, "a", 2, 10, nil)
	p := look(t, dirs.Options{Dirs: []string{src}})
	refused := func(o Options, want string) {
		t.Helper()
		if all, err := Make(ctx, p, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v; want %s", all, err, want)
		}
	}
	refused(options(dst, 0), "no server")
	twice := options(dst, 2)
	twice.Servers[1].Addr = twice.Servers[0].Addr
	refused(twice, "named twice")
	twice = options(dst, 2)
	twice.Servers[1].Dirs[0] = twice.Servers[0].Dirs[0]
	refused(twice, "named twice")
	refused(options(filepath.Join(src, "replica", "reps", "4.0.pegasus"), 1), "of a C++ server")
	refused(options(filepath.Join(src, "replica", "reps"), 1), "of a C++ server")
	o := options(filepath.Join(dst, "full"), 2)
	if err := os.MkdirAll(filepath.Join(o.Servers[1].Dirs[1].Path, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	refused(o, "isn't empty: x is there")

	// What C++ servers keep there isn't in the way, and nothing of ours is taken for theirs.
	o = options(dst, 2)
	o.Servers[0].Dirs[0].Path = src
	if _, err := Make(ctx, p, o); err != nil {
		t.Fatal(err)
	}
	again := look(t, dirs.Options{Dirs: []string{src}})
	if len(again.Orphans) != 0 || again.Tables[0].Choice() != p.Tables[0].Choice() {
		t.Fatalf("the directory that both use: %v", again.Orphans)
	}
	more := o
	more.Replicas = 1
	refused(more, "other arguments, or with other files")
	cfg := *o.Config
	cfg.Cluster.Name = "other"
	more = o
	more.Config = &cfg
	refused(more, "other arguments, or with other files")
	p = look(t, dirs.Options{Dirs: []string{src}, Rename: map[string]string{"a": "b"}})
	refused(o, "other arguments, or with other files")
	long := strings.Repeat("x", base.MaxTableName+1)
	if _, err := dirs.Look(ctx, dirs.Options{Dirs: []string{src}, Rename: map[string]string{"a": long}}); err == nil || !strings.Contains(err.Error(), "rename it") {
		t.Errorf("a name that no table can have: %v", err)
	}
}

// TestUnfinished: a run that is ended by its caller leaves directories on which no server starts.
func TestUnfinished(t *testing.T) {
	src := t.TempDir()
	table(t, src, 4, "a", 4, 10, nil)
	p, o := look(t, dirs.Options{Dirs: []string{src}}), options(t.TempDir(), 2)
	o.Partitions = 1
	ctx, cancel := context.WithCancel(context.Background())
	o.Progress = func(p Progress) {
		if p.Done == 2 {
			cancel()
		}
	}
	if _, err := Make(ctx, p, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for _, s := range o.Servers {
		for _, d := range s.Dirs {
			if err := stored.Usable(d.Path); err == nil || !strings.Contains(err.Error(), "isn't complete") || !strings.Contains(err.Error(), "tables a ") {
				t.Errorf("%s: %v", d.Path, err)
			}
		}
	}
	var last Progress
	o.Progress = func(p Progress) { last = p }
	all, err := Make(context.Background(), p, o)
	if err != nil || all[0].Before < 2 || all[0].Before == 4 || last.Done != 4 || last.Bytes != last.AllBytes {
		t.Fatalf("%+v, %+v, %v", all, last, err)
	}
	if h := inspect(t, o); len(h.rows) != 10 {
		t.Errorf("%d rows", len(h.rows))
	}
}

// TestEmptied: of directories that were complete one is emptied, or isn't mounted: it doesn't count as complete, and one whose last step was missing does.
func TestEmptied(t *testing.T) {
	src := t.TempDir()
	table(t, src, 4, "a", 4, 10, nil)
	p, o := look(t, dirs.Options{Dirs: []string{src}}), options(t.TempDir(), 2)
	o.Replicas = 1
	run := func() error {
		_, err := Make(context.Background(), p, o)
		return err
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	path := o.Servers[0].Dirs[0].Path
	if err := os.Rename(filepath.Join(path, "migrated.json"), filepath.Join(path, "migrating.json")); err != nil { // as if the first run had ended before
		t.Fatal(err)
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := run(); err == nil || !strings.Contains(err.Error(), "isn't mounted") || !strings.Contains(err.Error(), path) {
			t.Fatal(err)
		}
		if err := stored.Usable(path); err == nil {
			t.Error("a server may start on it")
		}
	}
	if err := errors.Join(os.RemoveAll(path), os.Rename(path+".away", path)); err != nil {
		t.Fatal(err)
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if h := inspect(t, o); len(h.rows) != 10 {
		t.Errorf("%d rows", len(h.rows))
	}
}

// TestNoTable: of what is there nobody says which table it is of. That isn't a migration of no tables, whatever loss is accepted.
func TestNoTable(t *testing.T) {
	src := t.TempDir()
	table(t, src, 4, "a", 1, 10, nil)
	if err := os.Remove(filepath.Join(src, "replica", "reps", "4.0.pegasus", pegasus.AppInfoFile)); err != nil {
		t.Fatal(err)
	}
	o := options(t.TempDir(), 1)
	o.AcceptLoss = true
	if _, err := Make(context.Background(), look(t, dirs.Options{Dirs: []string{src}}), o); err == nil || !strings.Contains(err.Error(), "no table") || !strings.Contains(err.Error(), "4.0.pegasus") {
		t.Error(err)
	}
	if _, err := os.Stat(o.Servers[0].Dirs[0].Path); err == nil {
		t.Error("something was written")
	}
}

// TestOtherSizes: the files of a replica changed between two runs, and with them where partitions go.
func TestOtherSizes(t *testing.T) {
	src := t.TempDir()
	table(t, src, 4, "a", 4, 10, nil)
	o := options(t.TempDir(), 2)
	o.Replicas = 1
	p := look(t, dirs.Options{Dirs: []string{src}})
	ctx, cancel := context.WithCancel(context.Background())
	o.Partitions = 1
	o.Progress = func(Progress) { cancel() }
	if _, err := Make(ctx, p, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	o.Progress = nil
	p.Tables[0].Parts[0].Best.Bytes += 1 << 30
	if _, err := Make(context.Background(), p, o); err == nil || !strings.Contains(err.Error(), "other files") {
		t.Error(err)
	}
}

// TestSettings: what a table keeps, and what it doesn't. Rows that expired lately are left to the servers.
func TestSettings(t *testing.T) {
	src := t.TempDir()
	table(t, src, 4, "a", 2, 20, map[string]string{"default_ttl": "86400", "manual_compact.once.trigger_time": "5", "no.such": "1"})
	p, o := look(t, dirs.Options{Dirs: []string{src}, Rename: map[string]string{"a": "new"}}), options(t.TempDir(), 1)
	o.Now = time.Unix(1.7e9+2*86400, 0)
	all, err := Make(context.Background(), p, o)
	if err != nil || all[0].Rows != 0 || all[0].Expired+all[0].Foreign != 22 || len(all[0].Unset) != 2 || strings.Join(all[0].Settings, " ") != "default_ttl=86400" || all[0].Replicas != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	h := inspect(t, o)
	in := h.infos[base.Gpid{AppID: 4, PartitionIndex: 1}]
	if in.AppName != "new" || in.MaxReplica != 3 || !maps.Equal(in.Envs, map[string]string{"default_ttl": "86400"}) || in.Created != 4 {
		t.Errorf("%+v", in)
	}
	o = options(t.TempDir(), 1)
	o.Now = time.Unix(1.7e9+86400+1, 0)
	if all, err = Make(context.Background(), p, o); err != nil || all[0].Rows != 20 {
		t.Errorf("a second after they expired: %+v, %v", all, err)
	}
}

// TestLoss: partitions that are missing, damaged, or whose log can't be replayed.
func TestLoss(t *testing.T) {
	ctx := context.Background()
	src := t.TempDir()
	table(t, src, 4, "a", 4, 100, nil)
	table(t, src, 5, "late", 1, 10, nil, plog.Update{Code: base.RPCIngest})
	cppdatatest.Lose(t, filepath.Join(src, "replica", "reps"), "4.2", "4.1")
	o := options(t.TempDir(), 2)
	var lack *dirs.Lacking
	if _, err := Make(ctx, look(t, dirs.Options{Dirs: []string{src}}), o); !errors.As(err, &lack) || len(lack.What) != 2 {
		t.Fatalf("%v", err)
	}
	if _, err := os.Stat(o.Servers[0].Dirs[0].Path); err == nil {
		t.Error("something was written")
	}
	if all, err := Make(ctx, look(t, dirs.Options{Dirs: []string{src}, Only: []string{"late"}}), options(t.TempDir(), 2)); err == nil || !strings.Contains(err.Error(), "bulk load") {
		t.Errorf("found late: %+v, %v", all, err)
	}
	o.AcceptLoss = true
	for range 2 {
		all, err := Make(ctx, look(t, dirs.Options{Dirs: []string{src}}), o)
		if err != nil || len(all) != 2 || len(all[0].Lacking) != 2 || len(all[1].Lacking) != 1 || !strings.Contains(all[1].Lacking[0], "bulk load") {
			t.Fatalf("%+v, %v", all, err)
		}
	}
	h := inspect(t, o)
	n := map[base.Gpid]int{}
	for k, r := range h.rows {
		if !strings.HasPrefix(r.Value, "v") || r.Value[1:] != k[3:] {
			t.Errorf("%q is %q", k, r.Value)
		}
		for i := range int32(4) {
			if base.InPartition(base.HashOfKey([]byte(k)), i, 4) {
				n[base.Gpid{AppID: 4, PartitionIndex: i}]++
			}
		}
	}
	if len(h.copies) != 5 || h.copies[base.Gpid{AppID: 4, PartitionIndex: 2}] != 2 || n[base.Gpid{AppID: 4, PartitionIndex: 1}] == 0 {
		t.Errorf("replicas %v, rows %v", h.copies, n)
	}
}

// TestTwoClusters: directories of two clusters, in which different tables have an id.
func TestTwoClusters(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	table(t, one, 4, "a", 2, 10, nil)
	for i := range int32(2) {
		g := base.Gpid{AppID: 4, PartitionIndex: i}
		path := cppdatatest.Replica{Table: "other", Partitions: 2, Gpid: g, Ballot: 9, Created: 77, Flushed: 1}.Make(t, two)
		plogtest.New(0, g, 0, 0).Save(t, filepath.Join(path, "plog"), 1)
	}
	p := look(t, dirs.Options{Dirs: []string{one, two}})
	if _, err := Make(context.Background(), p, options(t.TempDir(), 2)); err == nil || !strings.Contains(err.Error(), "two clusters") {
		t.Fatal(err)
	}
}

func partition(p *dirs.Plan, g base.Gpid) *cppdata.Partition {
	for i := range p.Tables {
		if p.Tables[i].ID == g.AppID {
			return &p.Tables[i].Parts[g.PartitionIndex]
		}
	}
	return nil
}
