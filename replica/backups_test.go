package replica

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	format "pegasus/backup"
	"pegasus/base"
	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/blob/blobtest"
	"pegasus/blob/stores"
	idl "pegasus/gen/backup"
	"pegasus/gen/metaadmin"
	"pegasus/gen/registry"
	rows "pegasus/gen/rrdb"
	"pegasus/gen/value"
	"pegasus/internal/repo"
	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// backupTest is a group with a blob store that all of its nodes have.
type backupTest struct {
	*group
	root  string // of the store
	store *blob.Store
}

// newBackupTest starts nodes; the rate is that of reading for backups, in bytes a second.
func newBackupTest(t *testing.T, nodes int, rate int64, more ...func(*config.Config)) *backupTest {
	t.Helper()
	b := &backupTest{root: t.TempDir()}
	c := config.DefaultBlob()
	c.Path, c.RetryTime = b.root, config.Duration(time.Second)
	blobs := map[string]config.Blob{"local_service": c}
	b.group = newGroupWith(t, nodes, func(c *config.Config) {
		c.Blob, c.Replica.BackupRate = blobs, rate
		for _, f := range more {
			f(c)
		}
	})
	set := stores.New(blobs, nil)
	t.Cleanup(set.Close)
	var err error
	if b.store, err = set.Get(t.Context(), "local_service"); err != nil {
		t.Fatal(err)
	}
	return b
}

// request is what a meta asks for.
func (b *backupTest) request(id int64) idl.BackupRequest {
	return idl.BackupRequest{Pid: b.gpid, Policy: idl.PolicyInfo{PolicyName: "every_day", BackupProviderType: "local_service"}, AppName: "temp", BackupId: id,
		BackupPath: base.Some("some/where")}
}

// at is where the backup of a request lies.
func (b *backupTest) at(id int64) string {
	return format.Location{Path: "some/where", Cluster: b.nodes[0].cfg.Cluster.Name, ID: id}.Table("temp", b.gpid.AppID).Partition(b.gpid.PartitionIndex)
}

func (b *backupTest) ask(i int, q idl.BackupRequest) idl.BackupResponse {
	b.t.Helper()
	var a idl.BackupResponse
	if err := b.call(i, base.RPCColdBackup, &q, &a); err != nil {
		b.t.Fatal(err)
	}
	if a.Pid != q.Pid || a.BackupId != q.BackupId || a.PolicyName != q.Policy.PolicyName {
		b.t.Fatalf("the answer to %+v is %+v", q, a)
	}
	return a
}

func (b *backupTest) clear(i int, policy string) idl.BackupResponse {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), answerTime)
	defer cancel()
	var a idl.BackupResponse
	if err := b.callWith(ctx, i, base.RPCClearColdBackup, &idl.BackupClearRequest{Pid: b.gpid, PolicyName: policy}, &a); err != nil {
		b.t.Fatal(err)
	}
	return a
}

// done asks until a backup is complete.
func (b *backupTest) done(i int, q idl.BackupRequest) idl.BackupResponse {
	b.t.Helper()
	var a idl.BackupResponse
	last := int32(0)
	until(b.t, fmt.Sprintf("backup %d is complete", q.BackupId), func() bool {
		a = b.ask(i, q)
		switch {
		case a.Err == base.ErrOK && a.Progress == 1000:
			return true
		case a.Err != base.ErrBusy || a.Progress < last || a.Progress >= 1000:
			b.t.Fatalf("after progress %d: %+v", last, a)
		}
		last = a.Progress
		return false
	})
	return a
}

// failed asks until a backup has failed, and returns why.
func (b *backupTest) failed(i int, q idl.BackupRequest) string {
	b.t.Helper()
	var a idl.BackupResponse
	until(b.t, fmt.Sprintf("backup %d fails", q.BackupId), func() bool {
		a = b.ask(i, q)
		if a.Err == base.ErrOK {
			b.t.Fatalf("it is complete: %+v", a)
		}
		return a.Err != base.ErrBusy
	})
	if a.Err != base.ErrLocalAppFailure {
		b.t.Fatalf("it ended with %+v", a)
	}
	return a.Reason.V
}

// copying asks until the rows are being read.
func (b *backupTest) copying(i int, q idl.BackupRequest) {
	b.t.Helper()
	until(b.t, "a backup is under way", func() bool {
		a := b.ask(i, q)
		if a.Err != base.ErrBusy {
			b.t.Fatalf("it is over: %+v", a)
		}
		return a.Progress > 0
	})
}

// rate changes how fast node i reads for backups; 0 is no limit.
func (b *backupTest) rate(i int, n int64) {
	b.setLive(i, "replica.backup_bytes_per_second", fmt.Sprint(n))
}

func (b *backupTest) setLive(i int, key, v string) {
	b.t.Helper()
	if code, text := b.page(i, "/updateConfig?"+url.Values{key: {v}}.Encode()); code != 200 || text != `{"update_status":"ERR_OK"}`+"\n" {
		b.t.Fatalf("%s=%s: %d %s", key, v, code, text)
	}
}

// fill writes about so many bytes of rows that can't be compressed.
func (b *backupTest) fill(size int) { b.fillWith("fill", size) }

// fillWith is fill with the beginning of the hash keys.
func (b *backupTest) fillWith(prefix string, size int) {
	b.t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	v := make([]byte, 8<<10)
	for i := range size / len(v) {
		for j := range v {
			v[j] = byte(rng.Uint32())
		}
		b.mustPut(0, fmt.Sprintf("%s%06d", prefix, i), string(v))
	}
}

// digest is that of node i at a decree and a clock.
func (b *backupTest) digest(i int, clock uint32) rrdb.Sum {
	b.t.Helper()
	sum, err := b.nodes[i].srv.replica(b.gpid).store.Load().Digest(b.t.Context(), clock)
	if err != nil {
		b.t.Fatal(err)
	}
	return sum
}

// read reads a backup to its end, which compares rows, files and checksums.
func (b *backupTest) read(id int64) (*format.Partition, map[string]string) {
	b.t.Helper()
	p, err := format.OpenPartition(b.t.Context(), b.store, b.at(id), format.OpenOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	rs, err := p.Rows(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	found := map[string]string{}
	for rs.Next() {
		hash, _, ok := base.SplitKey(rs.Key())
		if !ok {
			b.t.Fatalf("key %x", rs.Key())
		}
		found[string(hash)] = string(rs.Value().Data)
	}
	if err := rs.Close(); err != nil {
		b.t.Fatal(err)
	}
	return p, found
}

// tidy tells that no node has files of a backup left, nor the store what doesn't count.
func (b *backupTest) tidy(id int64) {
	b.t.Helper()
	for i, n := range b.nodes {
		if n.srv == nil {
			continue
		}
		until(b.t, fmt.Sprintf("node %d has no checkpoint of a backup", i), func() bool {
			return !slices.ContainsFunc(dirsOf(b.t.(*testing.T), n, "tmp"), func(name string) bool { return strings.Contains(name, ".backup.") })
		})
	}
	current, err := format.Current(b.t.Context(), b.store, b.at(id))
	if err != nil {
		b.t.Fatal(err)
	}
	list, err := b.store.List(b.t.Context(), b.at(id))
	if err != nil && current != "" {
		b.t.Fatal(err)
	}
	for _, f := range list {
		if f.Dir && f.Name[strings.LastIndexByte(f.Name, '/')+1:] != current {
			b.t.Errorf("%s is left over", f.Name)
		}
	}
}

// count returns a metric of node i's replica.
func (b *backupTest) count(i int, m string) int64 {
	b.t.Helper()
	var sn metrics.Snapshot
	b.nodes[i].srv.collect(&sn)
	var page struct {
		Entities []struct {
			Metrics []struct{ Value int64 }
		}
	}
	if err := json.Unmarshal(sn.JSON(&metrics.Filter{IDs: []string{"replica@" + b.gpid.String()}, Metrics: []string{m}}), &page); err != nil {
		b.t.Fatal(err)
	}
	if len(page.Entities) != 1 || len(page.Entities[0].Metrics) != 1 {
		b.t.Fatalf("metric %s: %+v", m, page)
	}
	return page.Entities[0].Metrics[0].Value
}

// A backup of a secondary has every row that was acknowledged before it was asked for, and none that expired. It is
// answered by upstream's codes, once and again, by other servers too.
func TestColdBackup(t *testing.T) {
	b := newBackupTest(t, 3, 0)
	b.fill(3 << 20)
	past, future := rrdb.ExpiryTime(time.Now())-10, rrdb.ExpiryTime(time.Now())+100000
	for k, at := range map[string]uint32{"gone": past, "stays": future} {
		var res rows.UpdateResponse
		if err := b.call(0, base.RPCPut, &rows.UpdateRequest{Key: rowKey(k), Value: []byte(k), ExpireTsSeconds: int32(at)}, &res); err != nil || res.Error != 0 {
			t.Fatal(err, res)
		}
	}
	b.mustPut(0, "last", "before the backup")
	q := b.request(1000)
	first := b.ask(1, q)
	if first.Err != base.ErrBusy && first.Err != base.ErrOK {
		t.Fatalf("the first answer: %+v", first)
	}
	b.mustPut(0, "during", "maybe")
	a := b.done(1, q)
	p, found := b.read(q.BackupId)
	if found["last"] != "before the backup" || found["stays"] != "stays" || found["gone"] != "" {
		t.Errorf("rows: last %q, stays %q, gone %q", found["last"], found["stays"], found["gone"])
	}
	if len(found) < 3<<20/(8<<10)+2 || a.CheckpointTotalSize != p.Metadata.Bytes || p.Metadata.Bytes < 3<<20 {
		t.Errorf("%d rows, %d bytes, the answer says %d", len(found), p.Metadata.Bytes, a.CheckpointTotalSize)
	}
	n := b.nodes[1].srv.hostPort
	if want := format.CheckpointName(n.Host, int(n.Port)); p.Checkpoint != want {
		t.Errorf("it lies in %s, not %s", p.Checkpoint, want)
	}
	if again := b.ask(1, q); again.Err != base.ErrOK || again.Progress != 1000 || again.CheckpointTotalSize != a.CheckpointTotalSize {
		t.Errorf("asked again: %+v", again)
	}
	other := b.done(2, q)
	if other.CheckpointTotalSize != a.CheckpointTotalSize || b.count(2, "backup_file_upload_successful_count") != 0 {
		t.Errorf("another server: %+v after %d files", other, b.count(2, "backup_file_upload_successful_count"))
	}
	for m, want := range map[string]int64{"backup_started_count": 1, "backup_successful_count": 1, "backup_failed_count": 0, "backup_cancelled_count": 0,
		"backup_running_count": 0, "backup_file_upload_failed_count": 0, "backup_file_upload_successful_count": int64(len(p.Metadata.Files)), "backup_file_upload_total_bytes": p.Metadata.Bytes} {
		if n := b.count(1, m); n != want {
			t.Errorf("%s is %d, want %d", m, n, want)
		}
	}
	b.tidy(q.BackupId)

	// Now that nothing is written: the digest is that of every replica.
	for i := range b.nodes {
		q := b.request(2000 + int64(i))
		q.Policy.PolicyName = fmt.Sprint("p", i)
		b.same(0, 1, 2)
		b.done(i, q)
		p, _ := b.read(q.BackupId)
		if sum := b.digest(0, p.Manifest.Clock); sum.Decree != p.Manifest.Decree || sum.Rows != p.Manifest.Rows || sum.Hash != p.Manifest.Sum().Hash {
			t.Errorf("node %d: the backup has %d rows of decree %d with %x, the store %+v", i, p.Manifest.Rows, p.Manifest.Decree, p.Manifest.Sum().Hash, sum)
		}
		b.tidy(q.BackupId)
	}
}

// What can't be done is refused with upstream's codes and a reason, and changes nothing.
func TestColdBackupRefused(t *testing.T) {
	b := newBackupTest(t, 2, 16<<10)
	b.fill(1 << 20)
	q := b.request(1000)
	b.copying(1, q)
	for _, c := range []struct {
		name   string
		change func(*idl.BackupRequest)
		err    base.ErrorCode
		reason string
	}{
		{"an older one", func(q *idl.BackupRequest) { q.BackupId = 999 }, base.ErrVersionOutdated, "backup 1000 of policy \"every_day\" is newer"},
		{"another place", func(q *idl.BackupRequest) { q.BackupPath = base.Some("elsewhere") }, base.ErrInvalidParameters, "elsewhere"},
		{"another root", func(q *idl.BackupRequest) { q.BackupRoot = base.Some("elsewhere") }, base.ErrInvalidParameters, "elsewhere"},
		{"another name", func(q *idl.BackupRequest) { q.AppName = "other" }, base.ErrInvalidParameters, "other_1"},
		{"an unknown provider", func(q *idl.BackupRequest) { q.Policy.BackupProviderType = "hdfs_service" }, base.ErrInvalidParameters, "it has local_service"},
		{"no provider", func(q *idl.BackupRequest) { q.Policy.BackupProviderType = "" }, base.ErrInvalidParameters, "add [blob."},
		{"a path that leads elsewhere", func(q *idl.BackupRequest) { q.BackupPath = base.Some("../x") }, base.ErrInvalidParameters, ".."},
		{"a root that leads elsewhere", func(q *idl.BackupRequest) { q.BackupRoot = base.Some("../x") }, base.ErrInvalidParameters, ".."},
		{"a name that leads elsewhere", func(q *idl.BackupRequest) { q.AppName = "../x" }, base.ErrInvalidParameters, ".."},
		{"a name of a directory below", func(q *idl.BackupRequest) { q.AppName = "a/b" }, base.ErrInvalidParameters, "a/b"},
		{"no name", func(q *idl.BackupRequest) { q.AppName = "" }, base.ErrInvalidParameters, "table"},
		{"no id", func(q *idl.BackupRequest) { q.BackupId = 0 }, base.ErrInvalidParameters, "id"},
		{"no table", func(q *idl.BackupRequest) { q.Pid = base.Gpid{} }, base.ErrInvalidParameters, "partition"},
		{"a partition that isn't here", func(q *idl.BackupRequest) { q.Pid.PartitionIndex = 9 }, base.ErrObjectNotFound, "1.9 isn't here"},
	} {
		q := b.request(1000)
		c.change(&q)
		if a := b.ask(1, q); a.Err != c.err || !strings.Contains(a.Reason.V, c.reason) {
			t.Errorf("%s: %v, %q", c.name, a.Err, a.Reason.V)
		}
	}
	b.rate(1, 0)
	b.done(1, q)
	b.read(q.BackupId)
	b.tidy(q.BackupId)

	// A replica that isn't a member has nothing to give.
	c := b.meta.config(b.gpid)
	b.meta.set(func() { b.meta.parts[b.gpid].Ballot++; b.meta.parts[b.gpid].Secondaries = nil })
	b.meta.propose(b.gpid, metaadmin.CT_DOWNGRADE_TO_INACTIVE, c.Primary, b.nodes[1].addr)
	until(t, "the secondary is out", func() bool { return b.view(1).Status == pacifica.Inactive })
	if a := b.ask(1, b.request(2000)); a.Err != base.ErrInvalidState || !strings.Contains(a.Reason.V, "neither primary nor secondary") {
		t.Errorf("an inactive replica: %+v", a)
	}
}

// A backup goes on when its replica changes its role, is closed, or is dropped.
func TestColdBackupGoesOn(t *testing.T) {
	b := newBackupTest(t, 3, 16<<10)
	b.fill(1 << 20)
	q := b.request(1000)
	b.copying(2, q)
	q1 := b.request(1001)
	q1.Policy.PolicyName = "other"
	b.copying(1, q1)
	want := b.digest(1, 0)
	b.meta.promote(b.gpid, b.nodes[1].addr, b.nodes[0].addr)
	until(t, "another leads", func() bool { return b.serving(1) })
	if err := b.put(1, "later", "v"); err != nil {
		t.Fatal(err)
	}
	b.meta.set(func() { b.meta.gc = true })
	until(t, "the replica is dropped", func() bool { return len(dirsOf(t, b.nodes[2], "reps")) == 0 })
	for i, q := range map[int]idl.BackupRequest{2: q, 1: q1} {
		if a := b.ask(i, q); a.Err != base.ErrBusy || a.Progress == 0 {
			t.Fatalf("node %d: %+v", i, a)
		}
		b.rate(i, 0)
		b.done(i, q)
		p, found := b.read(q.BackupId)
		if found["later"] != "" || p.Manifest.Decree != want.Decree || p.Manifest.Rows != want.Rows {
			t.Errorf("node %d: %d rows of decree %d, want %d of %d", i, p.Manifest.Rows, p.Manifest.Decree, want.Rows, want.Decree)
		}
	}
	b.tidy(q.BackupId)
	b.tidy(q1.BackupId)
	if a := b.ask(2, b.request(3000)); a.Err != base.ErrObjectNotFound {
		t.Errorf("another backup of what was dropped: %+v", a)
	}
}

// A backup that is cleared ends and leaves nothing; so does one that gives way to a newer one of its policy. Both can be
// asked for again.
func TestColdBackupCancelled(t *testing.T) {
	b := newBackupTest(t, 2, 16<<10)
	b.fill(1 << 20)
	q := b.request(1000)
	b.copying(0, q)
	if a := b.clear(0, "unknown"); a.Err != base.ErrOK {
		t.Errorf("clearing what isn't there: %+v", a)
	}
	if a := b.clear(0, q.Policy.PolicyName); a.Err != base.ErrOK || a.BackupId != q.BackupId {
		t.Errorf("clear: %+v", a)
	}
	b.tidy(q.BackupId)
	if n := b.count(0, "backup_cancelled_count"); n != 1 {
		t.Errorf("%d were cancelled", n)
	}
	b.copying(0, q)
	newer := b.request(1001)
	b.copying(0, newer)
	if a := b.ask(0, q); a.Err != base.ErrVersionOutdated {
		t.Errorf("the older one: %+v", a)
	}
	b.gone(q.BackupId)
	b.rate(0, 0)
	b.done(0, newer)
	b.read(newer.BackupId)
	if n := b.count(0, "backup_cancelled_count"); n != 2 {
		t.Errorf("%d were cancelled", n)
	}
	b.clear(0, newer.Policy.PolicyName)
	if a := b.done(0, newer); a.CheckpointTotalSize == 0 {
		t.Errorf("complete, and forgotten: %+v", a)
	}
	b.tidy(newer.BackupId)
}

// gone tells that the store has nothing of a backup.
func (b *backupTest) gone(id int64) {
	b.t.Helper()
	until(b.t, fmt.Sprintf("nothing is left of backup %d", id), func() bool {
		list, err := b.store.List(b.t.Context(), b.at(id))
		return err != nil || len(list) == 0
	})
}

// Only so many are made at a time; the others wait, and say so. Their number can be changed meanwhile.
func TestColdBackupConcurrency(t *testing.T) {
	b := newBackupTest(t, 2, 16<<10, func(c *config.Config) { c.Replica.BackupConcurrency = 1 })
	b.fill(1 << 20)
	var qs [3]idl.BackupRequest
	for i := range qs {
		qs[i] = b.request(1000 + int64(i))
		qs[i].Policy.PolicyName = fmt.Sprint("policy", i)
	}
	b.copying(0, qs[0])
	for _, q := range qs[1:] {
		until(t, "it waits", func() bool {
			a := b.ask(0, q)
			if a.Err != base.ErrBusy || a.Progress != 0 {
				t.Fatalf("%+v", a)
			}
			return strings.Contains(a.Reason.V, "makes 1 backups at a time")
		})
	}
	if n := b.count(0, "backup_running_count"); n != 3 {
		t.Errorf("%d run", n)
	}
	if a := b.clear(0, qs[1].Policy.PolicyName); a.Err != base.ErrOK {
		t.Errorf("clearing one that waits: %+v", a)
	}
	b.setLive(0, "replica.backup_concurrency", "2")
	b.copying(0, qs[2])
	b.rate(0, 0)
	b.done(0, qs[0])
	b.done(0, qs[2])
	for _, id := range []int64{1000, 1002} {
		b.read(id)
		b.tidy(id)
	}
	b.gone(1001)
}

// A store that vanishes in the middle fails the backup, and the meta hears why. When it is back the backup is made.
func TestColdBackupProviderVanishes(t *testing.T) {
	b := newBackupTest(t, 2, 16<<10)
	b.fill(1 << 20)
	q := b.request(1000)
	b.copying(0, q)
	away := b.root + ".away"
	if err := os.Rename(b.root, away); err != nil {
		t.Fatal(err)
	}
	b.rate(0, 0)
	if why := b.failed(0, q); !strings.Contains(why, "local_service") || !strings.Contains(why, b.at(1000)) {
		t.Errorf("the reason is %q", why)
	}
	if n := b.count(0, "backup_failed_count"); n != 1 {
		t.Errorf("%d failed", n)
	}
	if n := b.count(0, "backup_file_upload_failed_count"); n != 1 {
		t.Errorf("%d files failed", n)
	}
	if why := b.failed(0, q); !strings.Contains(why, "local_service") {
		t.Errorf("asked again, the reason is %q", why)
	}
	if err := os.Rename(away, b.root); err != nil {
		t.Fatal(err)
	}
	if a := b.ask(0, q); a.Err == base.ErrLocalAppFailure { // of the attempt that the last question began
		b.ask(0, q)
	}
	until(t, "it is made", func() bool { a := b.ask(0, q); return a.Err == base.ErrOK })
	b.read(q.BackupId)
	b.tidy(q.BackupId)
}

// A store without room fails the backup, which says so; with room it is made.
func TestColdBackupStoreFull(t *testing.T) {
	if !blobtest.InMount(t) {
		return
	}
	b := newBackupTest(t, 1, 0, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	blobtest.Mount(t, b.root, 600<<10, 0)
	b.fill(1 << 20)
	q := b.request(1000)
	if a := b.ask(0, q); a.Err != base.ErrBusy && a.Err != base.ErrLocalAppFailure {
		t.Fatalf("%+v", a)
	}
	if why := b.failed(0, q); !strings.Contains(why, "no space left") || !strings.Contains(why, "free space there") {
		t.Errorf("the reason is %q", why)
	}
	b.tidy(q.BackupId)
	b.gone(q.BackupId)
	if err := syscall.Mount("none", b.root, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	until(t, "it is made", func() bool { a := b.ask(0, q); return a.Err == base.ErrOK })
	b.read(q.BackupId)
}

// A checkpoint that can't be read fails the backup, and nothing of it counts.
func TestColdBackupDamagedCheckpoint(t *testing.T) {
	b := newBackupTest(t, 2, 256<<10)
	// Several files: the first ones are open, and thus not damaged, when the rows are being read.
	for i := range 4 {
		b.fillWith(fmt.Sprintf("fill%d", i), 2<<20)
		if _, err := b.nodes[0].srv.replica(b.gpid).store.Load().Checkpoint(filepath.Join(t.TempDir(), "flushed")); err != nil {
			t.Fatal(err)
		}
	}
	q := b.request(1000)
	b.copying(0, q)
	dirs, err := filepath.Glob(filepath.Join(b.nodes[0].cfg.Replica.DataDirs[0], "tmp", "*.backup.1000.*"))
	if err != nil || len(dirs) != 1 {
		t.Fatal(dirs, err)
	}
	tables, err := filepath.Glob(filepath.Join(dirs[0], "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tables {
		st, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if st.Size() < 300<<10 {
			continue
		}
		// The link is to the store's own file: the copy gets another one.
		data, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(name+".bad", append(bytes.Clone(data[:100<<10]), bytes.Repeat([]byte{0xa5}, len(data)-100<<10)...), 0o644)
		}
		if err == nil {
			err = os.Rename(name+".bad", name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b.rate(0, 0)
	if why := b.failed(0, q); !strings.Contains(why, "damaged") || !strings.Contains(why, dirs[0]) {
		t.Errorf("the reason is %q", why)
	}
	b.gone(q.BackupId)
	b.done(0, q) // the store itself is whole
	b.read(q.BackupId)
	b.tidy(q.BackupId)
}

// A disk that gets short of room has its checkpoint removed, and gets no other one.
func TestColdBackupShortDisk(t *testing.T) {
	b := newBackupTest(t, 2, 16<<10)
	b.fill(1 << 20)
	q := b.request(1000)
	b.copying(0, q)
	b.setLive(0, "replica.disk_min_available_space_ratio", "100")
	if why := b.failed(0, q); !strings.Contains(why, "too little free space") {
		t.Errorf("the reason is %q", why)
	}
	b.tidy(q.BackupId)
	b.gone(q.BackupId)
	if a := b.ask(0, q); a.Err != base.ErrDiskInsufficient || !strings.Contains(a.Reason.V, "too little free space") {
		t.Errorf("another one: %+v", a)
	}
	b.setLive(0, "replica.disk_min_available_space_ratio", "0")
	b.rate(0, 0)
	until(t, "there is room", func() bool { a := b.ask(0, q); return a.Err == base.ErrOK })
	b.read(q.BackupId)
}

// A server that stops ends its backups at once; one that was killed leaves a checkpoint that the next start removes. The
// backup is made then.
func TestColdBackupStop(t *testing.T) {
	b := newBackupTest(t, 2, 16<<10)
	b.fill(1 << 20)
	q := b.request(1000)
	b.copying(0, q)
	began := time.Now()
	b.nodes[0].stop()
	took := time.Since(began)
	if took > 20*time.Second { // a second on a machine that does nothing else; to its end it would take a minute
		t.Errorf("stopping took %v", took)
	}
	t.Logf("stopped in %v", took)
	tmp := filepath.Join(b.nodes[0].cfg.Replica.DataDirs[0], "tmp")
	left := filepath.Join(tmp, b.gpid.String()+".backup.1000.0123456789abcdef")
	if err := os.Mkdir(left, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "000001.sst"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.nodes[0].cfg.Replica.BackupRate = 0
	b.nodes[0].start()
	b.tidy(0)
	until(t, "it serves again", func() bool { return b.serving(0) })
	until(t, "it is made", func() bool { a := b.ask(0, q); return a.Err == base.ErrOK })
	b.read(q.BackupId)
	b.tidy(q.BackupId)
}

// What the C++ cluster's meta asked its servers is understood, and answered in the same form: the same fields, the same codes.
func TestColdBackupFrames(t *testing.T) {
	root := repo.Golden(t)
	files, err := filepath.Glob(filepath.Join(root, "frames-backup-policy-servers", "*.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("there are no recorded frames")
	}
	b := newBackupTest(t, 2, 0)
	b.fill(1 << 20)
	const header = 192
	code := func(raw []byte) string {
		name, _, _ := strings.Cut(string(raw[40:88]), "\x00")
		return name
	}
	asked, answered, cleared := map[int64]idl.BackupRequest{}, map[base.ErrorCode]idl.BackupResponse{}, 0
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil || len(raw) < header || string(raw[:4]) != "RDSN" {
			t.Fatalf("%s: %v", name, err)
		}
		read := func(v value.Value) {
			if _, err := registry.ReadBody(raw[header:], v); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		switch code(raw) {
		case base.RPCColdBackup:
			var q idl.BackupRequest
			read(&q)
			asked[q.BackupId] = q
		case base.RPCColdBackup + "_ACK":
			var a idl.BackupResponse
			read(&a)
			answered[a.Err] = a
		case base.RPCClearColdBackup:
			var q idl.BackupClearRequest
			read(&q)
			if q.PolicyName == "" || q.Pid.AppID <= 0 {
				t.Errorf("%s: %+v", name, q)
			}
			cleared++
			q.Pid = b.gpid
			b.pool.Go(b.nodes[1].addr.String(), time.Second, rpc.Outgoing{Code: base.RPCClearColdBackup, Arg: &q, OneWay: true}, nil)
		default:
			t.Errorf("%s: %s", name, code(raw))
		}
	}
	if len(asked) != 2 || cleared == 0 || len(answered) != 2 {
		t.Fatalf("%d backups, %d clearings, answers %v", len(asked), cleared, answered)
	}
	// shape leaves out what differs from run to run.
	shape := func(a idl.BackupResponse) string {
		a.Pid, a.PolicyName, a.BackupId, a.CheckpointTotalSize = base.Gpid{}, "", 0, 0
		if a.Err == base.ErrBusy {
			a.Progress = 0
		}
		return fmt.Sprintf("%x", a.AppendThrift(nil))
	}
	b.rate(1, 16<<10)
	for _, q := range asked {
		q.Pid = b.gpid
		until(t, "it is busy", func() bool {
			a := b.ask(1, q)
			if a.Err != base.ErrBusy || a.Reason.Set {
				t.Fatalf("%+v", a)
			}
			return a.Progress > 0 && a.CheckpointTotalSize > 0
		})
		if a, want := b.ask(1, q), answered[base.ErrBusy]; shape(a) != shape(want) {
			t.Errorf("busy: %+v, recorded was %+v", a, want)
		}
	}
	b.rate(1, 0)
	for _, q := range asked {
		q.Pid = b.gpid
		if a, want := b.done(1, q), answered[base.ErrOK]; shape(a) != shape(want) || want.Progress != 1000 {
			t.Errorf("done: %+v, recorded was %+v", a, want)
		}
	}
}
