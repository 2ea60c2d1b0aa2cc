package compat

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/base/config"
	blobs "pegasus/blob"
	"pegasus/blob/stores"
	"pegasus/client"
	"pegasus/compat_test/cluster"
	idl "pegasus/gen/backup"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/restore"
	"pegasus/rocks/pegasus"
)

// restoreWorld is a cluster and a directory with backups.
type restoreWorld struct {
	*testing.T
	c     *cluster.Cluster
	cl    *client.Client
	dir   string // of the blob store local_service
	store *blobs.Store
}

// newRestoreWorld starts a cluster that knows the directory as local_service. config is added to its configuration.
func newRestoreWorld(t *testing.T, metas int, more string) *restoreWorld {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "blob")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &restoreWorld{T: t, dir: dir, c: cluster.Start(t, cluster.Options{Metas: metas, Tables: "-", Config: more + "\n[blob.local_service]\npath = " + strconv.Quote(dir) +
		"\nretry_time = \"1s\"\ndownload_bytes_per_second = 0\n"})}
	w.cl = client.New(w.c.Metas(), client.Options{})
	t.Cleanup(w.cl.Close)
	b := config.DefaultBlob()
	b.Path = dir
	set := stores.New(map[string]config.Blob{"local_service": b}, nil)
	t.Cleanup(set.Close)
	var err error
	if w.store, err = set.Get(t.Context(), "local_service"); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *restoreWorld) cli(args ...string) (string, error) {
	return w.c.CLI(runContext(w.T, 3*time.Minute), append(args, "--meta", strings.Join(w.c.Metas(), ","))...)
}

// mustRestore restores a table and waits for it.
func (w *restoreWorld) mustRestore(from backup.Table, as string, args ...string) string {
	w.Helper()
	out, err := w.cli(append([]string{"restore", "local_service/" + from.Dir(), "--as", as, "--wait"}, args...)...)
	if err != nil {
		w.Fatalf("%v\n%s", err, w.c.Logs())
	}
	return out
}

// golden copies a recorded tree into the store.
func (w *restoreWorld) golden(tree, to string) {
	w.Helper()
	if err := os.CopyFS(filepath.Join(w.dir, to), os.DirFS(filepath.Join(golden(w.T), tree))); err != nil {
		w.Fatal(err)
	}
}

// rows returns the rows of a table: value, and whether it expires, by keys.
func (w *restoreWorld) rows(table string) map[string]string {
	w.Helper()
	t, err := w.cl.Table(w.Context(), table)
	if err != nil {
		w.Fatal(err)
	}
	got := map[string]string{}
	s := t.ScanAll(client.ScanOptions{ExpireTS: true})
	defer s.Close()
	for s.Next(w.Context()) {
		r := s.Row()
		got[fmt.Sprintf("%q/%q", r.HashKey, r.SortKey)] = fmt.Sprintf("%q %v", r.Value, r.ExpireTS > 0)
	}
	if s.Err() != nil {
		w.Fatal(s.Err())
	}
	return got
}

// recordedRows reads rows in that form from a file of the recordings.
func recordedRows(t *testing.T, file string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(golden(t), file))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var r struct {
			HashKey []byte `json:"hash_key"`
			SortKey []byte `json:"sort_key"`
			Value   []byte `json:"value"`
			TTL     bool   `json:"ttl"`
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		want[fmt.Sprintf("%q/%q", r.HashKey, r.SortKey)] = fmt.Sprintf("%q %v", r.Value, r.TTL)
	}
	return want
}

func equalRows(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Fatalf("%s: %s is %.80s, want %.80s (%d rows, want %d)", what, k, got[k], v, len(got), len(want))
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d rows, want %d", what, len(got), len(want))
	}
}

// backedUp is the digest of a partition's backup at now.
func (w *restoreWorld) backedUp(of backup.Table, partition int32, now uint32) backup.Sum {
	w.Helper()
	p, err := backup.OpenPartition(w.Context(), w.store, of.Partition(partition), backup.OpenOptions{})
	if err != nil {
		w.Fatal(err)
	}
	rows, err := p.Rows(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	d := backup.NewDigest(now)
	for rows.Next() {
		d.Add(rows.Key(), rows.Value())
	}
	if err := rows.Close(); err != nil {
		w.Fatal(err)
	}
	return d.Sum()
}

// sameDigests demands that all members of each partition hold what the backup has. empty are partitions that were skipped.
func (w *restoreWorld) sameDigests(table string, of backup.Table, empty ...int) {
	w.Helper()
	now := backup.Clock(time.Now())
	if err := w.c.WaitHealthy(table, 5*time.Minute); err != nil { // others learn it at the pace of copies
		w.Fatal(err)
	}
	cfg, err := w.c.Config(table)
	if err != nil {
		w.Fatal(err)
	}
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		want := backup.NewDigest(now).Sum()
		if !slices.Contains(empty, i) {
			want = w.backedUp(of, int32(i), now)
		}
		for _, m := range append([]base.RPCAddress{p.Primary}, p.Secondaries...) {
			text, err := w.cl.Admin().RemoteCommand(w.Context(), m.String(), "replica.digest", p.Pid.String(), strconv.Itoa(int(now)))
			if err != nil {
				w.Fatal(err)
			}
			var d struct {
				Rows  int64  `json:"rows"`
				Hash  string `json:"hash"`
				Error string `json:"error"`
			}
			if err := json.Unmarshal([]byte(text), &d); err != nil || d.Error != "" || d.Rows != want.Rows || d.Hash != want.Hex() {
				w.Errorf("%s, partition %d at %v: %s, the backup has %d rows and %s: %v", table, i, m, text, want.Rows, want.Hex(), err)
			}
		}
	}
}

// Backups that the C++ cluster made are restored to exactly its rows; what has expired since isn't seen. What was restored takes
// writes, and survives the loss of a server.
func TestRestoreGolden(t *testing.T) {
	w := newRestoreWorld(t, 1, "")
	w.golden("cold-backup/onebox", "golden/onebox")
	w.golden("backup-policy/tree-onebox", "onebox")
	shot := backup.Location{Path: "golden", Cluster: "onebox", ID: 1795388400586}
	first, second := backup.Location{Cluster: "onebox", ID: 1795393398250}, backup.Location{Cluster: "onebox", ID: 1795393458022}
	none := map[string]string{}
	for _, r := range []struct {
		as   string
		from backup.Table
		want map[string]string
	}{
		{"mig2", shot.Table("mig", 1), recordedRows(t, "expected.jsonl")},
		{"bl", first.Table("bl", 1), none},
		{"adm1", first.Table("adm", 2), none}, // the rows expired a day after the recording
		{"adm2", second.Table("adm", 2), none},
		{"badenv", second.Table("badenv", 3), recordedRows(t, "backup-policy/expected-badenv.jsonl")},
	} {
		out := w.mustRestore(r.from, r.as)
		if !strings.Contains(out, "is restored: 4 partitions") {
			t.Errorf("%s: %s", r.as, out)
		}
		equalRows(t, r.as, w.rows(r.as), r.want)
		w.sameDigests(r.as, r.from)
	}
	// Upstream's tools see the settings and the state that they expect.
	list, err := w.cl.Admin().ListTables(t.Context(), layer2.AS_AVAILABLE)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		var res idl.ConfigurationQueryRestoreResponse
		if err := w.c.MetaCall(base.RPCQueryRestoreStatus, &idl.ConfigurationQueryRestoreRequest{RestoreAppId: a.AppId}, &res, func() base.ErrorCode { return res.Err }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(res.RestoreProgress, []int32{1000, 1000, 1000, 1000}) || !slices.Equal(res.RestoreStatus, []base.ErrorCode{base.ErrOK, base.ErrOK, base.ErrOK, base.ErrOK}) {
			t.Errorf("%s: %+v", a.AppName, res)
		}
		envs := map[string]string{}
		for _, e := range a.Envs {
			envs[e.Key] = e.Val
		}
		if envs["restore.block_service_provider"] != "local_service" || envs["restore.app_id"] == "" || a.MaxReplicaCount != 3 {
			t.Errorf("%s: %+v", a.AppName, a)
		}
	}
	out, err := w.cli("restore", "ls", "-o", "json")
	var rows []struct {
		Table, Status string
		Percent       float64
	}
	if err := errors.Join(err, json.Unmarshal([]byte(out), &rows)); err != nil || len(rows) != 5 || rows[0].Table != "badenv" || rows[0].Status != "completed" || rows[0].Percent != 100 {
		t.Errorf("%v: %s", err, out)
	}
	// It is a table like any other.
	table, err := w.cl.Table(t.Context(), "mig2")
	if err != nil {
		t.Fatal(err)
	}
	want := w.rows("mig2")
	set := func(n int) {
		t.Helper()
		ctx := runContext(t, time.Minute)
		for i := range 200 {
			if err := table.Set(ctx, fmt.Appendf(nil, "new%d-%d", n, i), []byte("s"), []byte("v"), 0); err != nil {
				t.Fatal(err)
			}
			want[fmt.Sprintf("%q/%q", fmt.Sprintf("new%d-%d", n, i), "s")] = `"v" false`
		}
	}
	set(1)
	if err := w.c.Kill("replica1"); err != nil {
		t.Fatal(err)
	}
	set(2)
	equalRows(t, "mig2 without a server", w.rows("mig2"), want)
	if err := errors.Join(w.c.Restart("replica1"), w.c.WaitHealthy("mig2", 2*time.Minute)); err != nil {
		t.Fatal(err)
	}
	set(3)
	equalRows(t, "mig2 with all servers", w.rows("mig2"), want)
}

// oneFile returns the path, below the store, of a table file of a partition.
func (w *restoreWorld) oneFile(of backup.Table, partition int32) string {
	w.Helper()
	var found string
	root := filepath.Join(w.dir, of.Partition(partition))
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".sst") && !strings.HasPrefix(filepath.Base(path), ".") {
			if i, e := e.Info(); e == nil && i.Size() > 10000 || found == "" {
				found = path
			}
		}
		return err
	})
	if err != nil || found == "" {
		w.Fatalf("no table file below %s: %v", root, err)
	}
	return found
}

// noTable demands that there is no table of that name, and that the restore is remembered with a reason that has these words.
func (w *restoreWorld) noTable(name string, words ...string) {
	w.Helper()
	list, err := w.cl.Admin().ListTables(w.Context(), layer2.AS_AVAILABLE)
	if err != nil {
		w.Fatal(err)
	}
	if slices.ContainsFunc(list, func(a layer2.AppInfo) bool { return a.AppName == name }) {
		w.Errorf("there is a table %s", name)
	}
	all, err := w.cl.Admin().Restores(w.Context(), 0)
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range all {
		if r.AppName != name || r.Status != restore.RESTORE_FAILED {
			continue
		}
		for _, word := range words {
			if !strings.Contains(r.Reason, word) {
				w.Errorf("the reason lacks %q: %s", word, r.Reason)
			}
		}
		var res idl.ConfigurationQueryRestoreResponse
		if err := w.c.MetaCall(base.RPCQueryRestoreStatus, &idl.ConfigurationQueryRestoreRequest{RestoreAppId: r.AppId}, &res, func() base.ErrorCode { return base.ErrOK }); err != nil || res.Err != base.ErrAppDropped {
			w.Errorf("its state is %v, %v", res.Err, err)
		}
		return
	}
	w.Errorf("no restore of %s failed: %+v", name, all)
}

// A backup with a damaged or missing file leaves no table behind, and the error names the file. Who wants the rest gets it.
func TestRestoreBadBackup(t *testing.T) {
	w := newRestoreWorld(t, 1, "")
	w.golden("cold-backup/onebox", "onebox")
	of := backup.Location{Cluster: "onebox", ID: 1795388400586}.Table("mig", 1)
	w.mustRestore(of, "good")

	file := w.oneFile(of, 2)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	if err := os.WriteFile(file, flipped, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := w.cli("restore", "local_service/"+of.Dir(), "--as", "flipped", "--wait")
	if err == nil || !strings.Contains(err.Error(), filepath.Base(file)) || !strings.Contains(err.Error(), "no such table") {
		t.Errorf("%v: %s", err, out)
	}
	w.noTable("flipped", filepath.Base(file), "partition 2")
	out = w.mustRestore(of, "skipped", "--skip-bad")
	if !strings.Contains(out, "partition 2 is empty: ") || !strings.Contains(out, filepath.Base(file)) {
		t.Errorf("%s", out)
	}
	w.sameDigestsBut("skipped", of, 2, file, whole)

	// A file that is named and isn't there.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err = w.cli("restore", "local_service/"+of.Dir(), "--as", "missing", "--wait"); err == nil {
		t.Error("a backup without a file was restored")
	}
	w.noTable("missing", filepath.Base(file), "partition 2")
	if err := os.WriteFile(file, whole, 0o644); err != nil {
		t.Fatal(err)
	}

	// What can't even begin leaves nothing at all.
	before, err := w.cl.Admin().Restores(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what, place, as string, words ...string) {
		t.Helper()
		out, err := w.cli("restore", place, "--as", as, "--wait")
		if err == nil {
			t.Errorf("%s: %s", what, out)
			return
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error lacks %q: %v", what, word, err)
			}
		}
	}
	refused("a name in use", "local_service/"+of.Dir(), "good", "ERR_INVALID_PARAMETERS", `"good"`)
	refused("no such provider", "nosuch/"+of.Dir(), "x", "ERR_INVALID_PARAMETERS", "nosuch")
	refused("no such backup", "local_service/onebox/1/mig_1", "x", "ERR_OBJECT_NOT_FOUND", "app_metadata")
	refused("no place", "local_service/onebox", "x", "write NAME/")
	refused("a URL that no server has", "file:///nowhere/onebox/1/mig_1", "x", "[blob.*]")
	extra := filepath.Join(w.dir, of.Partition(4))
	if err := os.Mkdir(extra, 0o755); err != nil {
		t.Fatal(err)
	}
	refused("more partitions than the table has", "local_service/"+of.Dir(), "x", "ERR_INVALID_PARAMETERS", of.Partition(4))
	if err := errors.Join(os.Remove(extra), os.Rename(filepath.Join(w.dir, of.Partition(3)), filepath.Join(w.dir, "elsewhere"))); err != nil {
		t.Fatal(err)
	}
	refused("fewer partitions than the table has", "local_service/"+of.Dir(), "x", "ERR_OBJECT_NOT_FOUND", of.Partition(3))
	if err := os.Rename(filepath.Join(w.dir, "elsewhere"), filepath.Join(w.dir, of.Partition(3))); err != nil {
		t.Fatal(err)
	}
	if after, err := w.cl.Admin().Restores(t.Context(), 0); err != nil || len(after) != len(before) {
		t.Errorf("%d restores, there were %d: %v", len(after), len(before), err)
	}
	// A partition of another one.
	if err := errors.Join(os.RemoveAll(filepath.Join(w.dir, of.Partition(1))), os.CopyFS(filepath.Join(w.dir, of.Partition(1)), os.DirFS(filepath.Join(w.dir, of.Partition(0))))); err != nil {
		t.Fatal(err)
	}
	if _, err = w.cli("restore", "local_service/"+of.Dir(), "--as", "mixed", "--wait"); err == nil {
		t.Error("the backup of another partition was restored")
	}
	w.noTable("mixed", "partition 1", of.Partition(1), "another")
}

// sameDigestsBut compares a table of which one partition was skipped, with the backup as it was before file was damaged.
func (w *restoreWorld) sameDigestsBut(table string, of backup.Table, skipped int, file string, whole []byte) {
	w.Helper()
	damaged, err := os.ReadFile(file)
	if err := errors.Join(err, os.WriteFile(file, whole, 0o644)); err != nil {
		w.Fatal(err)
	}
	w.sameDigests(table, of, skipped)
	if err := os.WriteFile(file, damaged, 0o644); err != nil {
		w.Fatal(err)
	}
}

// sortedRows are rows in the order of their keys, as backup.Rows.
type sortedRows struct {
	keys []string
	size int
	i    int
	rng  *rand.ChaCha8
	v    []byte
}

// Next, Key, Value and Err implement backup.Rows.
func (r *sortedRows) Next() bool {
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

func (r *sortedRows) Key() []byte { return []byte(r.keys[r.i-1]) }

func (r *sortedRows) Value() pegasus.Value {
	v := pegasus.Value{Timetag: uint64(time.Now().UnixMicro()) << 8, Data: r.v[:r.size]}
	if r.i%5 == 0 {
		v.ExpireTS = backup.Clock(time.Now().Add(24 * time.Hour))
	}
	return v
}

func (r *sortedRows) Err() error { return nil }

// makeBackup writes the backup of a table with so many rows, whose values don't compress.
func (w *restoreWorld) makeBackup(partitions int32, rows, size int) backup.Table {
	w.Helper()
	ctx := w.Context()
	of := backup.Location{Cluster: "made", ID: 1795393398250}.Table("big", 7)
	info := layer2.NewAppInfo()
	info.Status, info.AppType, info.AppName, info.AppId, info.IsStateful = layer2.AS_AVAILABLE, "pegasus", of.Name, of.AppID, true
	info.PartitionCount, info.InitPartitionCount, info.MaxReplicaCount, info.CreateSecond = partitions, partitions, 3, time.Now().Unix()
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
		r := &sortedRows{keys: keys[p], size: size, rng: rand.NewChaCha8([32]byte{byte(p)})}
		if _, err := backup.WritePartition(ctx, w.store, r, backup.WriteOptions{Table: of, Partition: p, Checkpoint: backup.CheckpointName("127.0.0.1", 34801), Decree: 100, Taken: time.Now()}); err != nil {
			w.Fatal(err)
		}
	}
	if _, err := backup.FinishTable(ctx, w.store, of, partitions); err != nil {
		w.Fatal(err)
	}
	if err := backup.Finish(ctx, w.store, of.Location, backup.NewInfo(of.ID, of.ID, of.ID+1, map[int32]string{of.AppID: of.Name})); err != nil {
		w.Fatal(err)
	}
	return of
}

// begun waits until servers report progress of a restore, and returns them.
func (w *restoreWorld) begun(id int32) (at []string) {
	w.Helper()
	if err := cluster.Poll(time.Minute, func() error {
		list, err := w.cl.Admin().Restores(w.Context(), id)
		if err != nil {
			return err
		}
		if len(list) != 1 || list[0].Status != restore.RESTORE_RUNNING {
			return fmt.Errorf("%+v", list)
		}
		at = at[:0]
		for _, p := range list[0].Pending {
			if p.Node != 0 && p.Progress > 0 {
				at = append(at, p.Node.String())
			}
		}
		if len(at) == 0 {
			return fmt.Errorf("nobody reports progress: %+v", list)
		}
		return nil
	}); err != nil {
		w.Fatalf("%v\n%s", err, w.c.Logs())
	}
	return at
}

// done waits until a restore is completed.
func (w *restoreWorld) done(id int32, limit time.Duration) {
	w.Helper()
	if err := cluster.Poll(limit, func() error {
		list, err := w.cl.Admin().Restores(w.Context(), id)
		if err == nil && (len(list) != 1 || list[0].Status != restore.RESTORE_COMPLETED) {
			err = fmt.Errorf("%+v", list)
		}
		return err
	}); err != nil {
		w.Fatalf("%v\n%s", err, w.c.Logs())
	}
}

func (w *restoreWorld) start(of backup.Table, as string) int32 {
	w.Helper()
	id, err := w.cl.Admin().Restore(runContext(w.T, time.Minute), client.RestoreSource{Provider: "local_service", Path: of.Path, Cluster: of.Cluster, Policy: of.Policy, ID: of.ID, Table: of.Name, TableID: of.AppID}, as, false)
	if err != nil {
		w.Fatal(err)
	}
	return id
}

// scratch lists what is left in the folders for scratch files.
func (w *restoreWorld) scratch() (left []string) {
	w.Helper()
	for _, s := range w.c.Servers() {
		names, err := filepath.Glob(filepath.Join(w.c.Dir, s, "data", "*", "tmp", "*"))
		more, err2 := filepath.Glob(filepath.Join(w.c.Dir, s, "data", "tmp", "*"))
		if err := errors.Join(err, err2); err != nil {
			w.Fatal(err)
		}
		left = append(append(left, names...), more...)
	}
	return left
}

// slow restores about 1 MB a second on each server.
const slow = "[replica]\nrestore_bytes_per_second = 1000000\n"

// setRate sets how many bytes a second the servers restore that run.
func (w *restoreWorld) setRate(n string) {
	w.Helper()
	for _, r := range w.c.Replicas() {
		if !w.c.Alive(w.c.Name(r)) {
			continue
		}
		res, err := http.Get("http://" + r + "/updateConfig?replica.restore_bytes_per_second=" + n)
		if err != nil {
			w.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil || res.StatusCode != http.StatusOK {
			w.Fatalf("%s: %v", b, err)
		}
	}
}

// A server that restores partitions is killed, and so is the leading meta: the restore goes on, and ends with all rows.
func TestRestoreKilled(t *testing.T) {
	w := newRestoreWorld(t, 3, slow)
	of := w.makeBackup(6, 60000, 1000)
	id := w.start(of, "big")
	victim := w.c.Name(w.begun(id)[0])
	if err := w.c.Kill(victim); err != nil {
		t.Fatal(err)
	}
	if _, err := w.cli("restore", "local_service/"+of.Dir()); err == nil || !strings.Contains(err.Error(), "ERR_INVALID_PARAMETERS") {
		t.Errorf("a second restore under that name: %v", err)
	}
	leader, err := w.c.Leader()
	if err != nil {
		t.Fatal(err)
	}
	w.begun(id)
	if err := w.c.Kill(leader); err != nil {
		t.Fatal(err)
	}
	w.begun(id)
	w.setRate("0")
	if err := errors.Join(w.c.Restart(victim), w.c.Restart(leader)); err != nil {
		t.Fatal(err)
	}
	w.done(id, 3*time.Minute)
	w.sameDigests("big", of)
	if err := cluster.Poll(30*time.Second, func() error {
		if left := w.scratch(); len(left) > 0 {
			return fmt.Errorf("left behind: %v", left)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// A place that goes away for a while costs time, and no table. A table that is dropped is restored no further.
func TestRestoreAway(t *testing.T) {
	w := newRestoreWorld(t, 1, slow)
	of := w.makeBackup(3, 30000, 1000)
	id := w.start(of, "big")
	w.begun(id)
	if err := os.Rename(w.dir, w.dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Poll(time.Minute, func() error {
		list, err := w.cl.Admin().Restores(t.Context(), id)
		if err == nil && (len(list) != 1 || !slices.ContainsFunc(list[0].Pending, func(p restore.RestorePartition) bool { return p.Reason != "" })) {
			err = fmt.Errorf("%+v", list)
		}
		return err
	}); err != nil {
		t.Fatalf("%v\n%s", err, w.c.Logs())
	}
	if err := os.Rename(w.dir+".away", w.dir); err != nil {
		t.Fatal(err)
	}
	w.setRate("0")
	w.done(id, 3*time.Minute)
	w.sameDigests("big", of)

	w.setRate("1000000")
	id = w.start(of, "dropped")
	w.begun(id)
	if err := w.cl.Admin().DropTable(runContext(t, time.Minute), "dropped", time.Hour, false); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Poll(time.Minute, func() error {
		list, err := w.cl.Admin().Restores(t.Context(), id)
		if err == nil && (len(list) != 1 || list[0].Status != restore.RESTORE_FAILED) {
			err = fmt.Errorf("%+v", list)
		}
		if left := w.scratch(); err == nil && len(left) > 0 {
			err = fmt.Errorf("left behind: %v", left)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	w.noTable("dropped", "dropped before all of it was restored")
	// Who wants it back gets all of it.
	w.setRate("0")
	var res metaadmin.ConfigurationRecallAppResponse
	if err := w.c.MetaCall(base.RPCRecallApp, &metaadmin.ConfigurationRecallAppRequest{AppId: id}, &res, func() base.ErrorCode { return res.Err }); err != nil {
		t.Fatal(err)
	}
	w.done(id, time.Minute)
	w.sameDigests("dropped", of)
}

// Again and again a table is restored while a server chosen at random, meta or replica, is killed at a random moment and comes back a
// while later. Each restore ends by itself, with all rows. PEGASUS_RESTORE_RUNS says how often.
func TestRestoreRandomKills(t *testing.T) {
	t.Parallel()
	runs := 2
	if s := os.Getenv("PEGASUS_RESTORE_RUNS"); s != "" {
		var err error
		if runs, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	w := newRestoreWorld(t, 3, "[replica]\nrestore_bytes_per_second = 3000000\n")
	of := w.makeBackup(4, 16000, 1000)
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	for run := range runs {
		name := fmt.Sprintf("run%d", run)
		id := w.start(of, name)
		servers := w.c.Servers()
		victim := servers[rng.IntN(len(servers))]
		before, after := time.Duration(rng.IntN(3000))*time.Millisecond, time.Duration(rng.IntN(4000))*time.Millisecond
		time.Sleep(before) // the moment is what is varied
		if err := w.c.Kill(victim); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		if err := w.c.Restart(victim); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.done(id, 3*time.Minute)
		t.Logf("run %d: %s was killed after %v, back %v later; done %v after that", run, victim, before, after, time.Since(began).Round(time.Millisecond))
		w.sameDigests(name, of)
		if t.Failed() {
			t.Fatalf("run %d\n%s", run, w.c.Logs())
		}
		if err := w.cl.Admin().DropTable(runContext(t, time.Minute), name, time.Second, false); err != nil {
			t.Fatal(err)
		}
	}
}
