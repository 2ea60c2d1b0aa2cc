package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/client/clienttest"
	"pegasus/rpc"
)

func options(k *clienttest.Cluster, op string) Options {
	return Options{Metas: []string{k.Meta}, Table: "temp", Op: op, Clients: 2, Outstanding: 5, ValueSize: 100, Seed: 7}
}

func start(t *testing.T) *clienttest.Cluster {
	t.Helper()
	k := clienttest.Start(t, 3)
	k.CreateTable("temp", 8, 3)
	return k
}

func mustRun(t *testing.T, o Options) *Report {
	t.Helper()
	rep, err := Run(context.Background(), o)
	if err != nil {
		t.Fatalf("%s: %v", o.Op, err)
	}
	return rep
}

func TestSetAndVerify(t *testing.T) {
	k := start(t)
	file := filepath.Join(t.TempDir(), "acked")
	o := options(k, "set")
	o.Count, o.Acked = 2000, file
	rep := mustRun(t, o)
	if rep.Ops != 2000 || rep.Latency.Count != 2000 || rep.Latency.P50 < 1 || rep.Latency.Max < rep.Latency.P99 || rep.OpsPerSec <= 0 || rep.MBPerSec <= 0 {
		t.Errorf("report %+v", rep)
	}
	if n := k.Seen("RPC_RRDB_RRDB_PUT"); n != 2000 {
		t.Errorf("%d puts", n)
	}
	v := options(k, Verify)
	v.Acked, v.Seed, v.ValueSize = file, 0, 1 // both stand in the file
	if rep := mustRun(t, v); rep.Ops != 2000 || rep.Wrong != 0 || rep.Misses != 0 {
		t.Errorf("verify: %+v", rep)
	}
	c := client.New(v.Metas, client.Options{})
	defer c.Close()
	tb, err := c.Table(context.Background(), "temp")
	if err != nil {
		t.Fatal(err)
	}
	if err := tb.Del(context.Background(), []byte("user000000000011"), []byte("000000")); err != nil {
		t.Fatal(err)
	}
	if err := tb.Set(context.Background(), []byte("user000000001999"), []byte("000000"), []byte("spoilt"), 0); err != nil {
		t.Fatal(err)
	}
	rep, err = Run(context.Background(), v)
	if err == nil || !strings.Contains(err.Error(), "2 of 2000 acknowledged rows are lost or wrong, the first: row ") || rep.Wrong != 2 {
		t.Errorf("verify of spoilt rows: %v, %+v", err, rep)
	}
}

// Only what the server acknowledged counts.
func TestRecordsOnlyAcknowledged(t *testing.T) {
	k := start(t)
	var n atomic.Int64
	k.SetHook(func(server int, r *rpc.Request) bool {
		if r.Code != "RPC_RRDB_RRDB_PUT" || n.Add(1)%4 != 0 {
			return false
		}
		r.ReplyError(base.ErrDiskInsufficient)
		return true
	})
	file := filepath.Join(t.TempDir(), "acked")
	o := options(k, "set")
	o.Count, o.Acked = 1000, file
	rep, err := Run(context.Background(), o)
	if err == nil || !strings.Contains(err.Error(), "250 operations failed, the first: RPC_RRDB_RRDB_PUT on table \"temp\"") {
		t.Errorf("got %v", err)
	}
	if rep.Ops != 750 || rep.Errors["ERR_DISK_INSUFFICIENT"] != 250 {
		t.Errorf("report %+v", rep)
	}
	k.SetHook(nil)
	v := options(k, Verify)
	v.Acked = file
	if rep := mustRun(t, v); rep.Ops != 750 {
		t.Errorf("verify: %+v", rep)
	}
}

func TestOperations(t *testing.T) {
	k := start(t)
	load := options(k, "multi-set")
	load.Count, load.RowsPerHash = 20, 10
	if rep := mustRun(t, load); rep.Ops != 20 || k.Seen("RPC_RRDB_RRDB_MULTI_PUT") != 20 {
		t.Errorf("multi-set: %+v", rep)
	}
	for _, tc := range []struct {
		op, code string
		change   func(*Options)
		check    func(*Report) bool
	}{
		{"multi-get", "RPC_RRDB_RRDB_MULTI_GET", nil, func(r *Report) bool { return r.Misses == 0 && r.MBPerSec > 0 }},
		{"scan", "RPC_RRDB_RRDB_GET_SCANNER", nil, func(r *Report) bool { return r.Misses == 0 && r.MBPerSec > 0 }},
		{"get", "RPC_RRDB_RRDB_GET", func(o *Options) { o.Check = true }, func(r *Report) bool { return r.Misses == 0 }},
		{"ttl", "RPC_RRDB_RRDB_TTL", nil, func(r *Report) bool { return r.Misses == 0 }},
		{"mixed", "RPC_RRDB_RRDB_PUT", func(o *Options) { o.ReadRatio = 0.5 }, func(r *Report) bool { return len(r.ByKind) == 2 }},
		{"ycsb-a", "RPC_RRDB_RRDB_GET", nil, func(r *Report) bool { return len(r.ByKind) == 2 }},
		{"ycsb-d", "RPC_RRDB_RRDB_GET", func(o *Options) { o.Count = 500 }, func(r *Report) bool { return r.ByKind["insert"].Count > 0 }},
		{"ycsb-e", "RPC_RRDB_RRDB_GET_SCANNER", func(o *Options) { o.Count = 500 }, func(r *Report) bool { return r.ByKind["scan"].Count > 300 }},
		{"ycsb-f", "RPC_RRDB_RRDB_PUT", nil, func(r *Report) bool { return r.ByKind["read-modify-write"].Count > 0 }},
		{"incr", "RPC_RRDB_RRDB_INCR", func(o *Options) { o.Keys = 10_000_000; o.RowsPerHash = 1 }, nil},
		{"del", "RPC_RRDB_RRDB_REMOVE", nil, nil},
	} {
		t.Run(tc.op, func(t *testing.T) {
			o := options(k, tc.op)
			o.Count, o.Keys, o.RowsPerHash = 200, 200, 10
			if tc.change != nil {
				tc.change(&o)
			}
			before := k.Seen(tc.code)
			rep := mustRun(t, o)
			if rep.Ops != o.Count || k.Seen(tc.code) == before {
				t.Errorf("%d operations, %d requests of %s", rep.Ops, k.Seen(tc.code)-before, tc.code)
			}
			if tc.check != nil && !tc.check(rep) {
				t.Errorf("report %+v", rep)
			}
			var text bytes.Buffer
			rep.Print(&text)
			if !strings.Contains(text.String(), tc.op+" on table temp: ") || !strings.Contains(text.String(), "throughput") {
				t.Errorf("printed %q", text.String())
			}
		})
	}
}

// A server that stalls makes the operations that become due meanwhile slow, although they
// couldn't even be sent.
func TestRateCountsFromDue(t *testing.T) {
	k := start(t)
	release := make(chan struct{})
	var once sync.Once
	k.SetHook(func(server int, r *rpc.Request) bool {
		if server >= 0 {
			once.Do(func() { <-release })
		}
		return false
	})
	o := options(k, "set")
	o.Clients, o.Outstanding, o.Rate, o.Count = 1, 1, 1000, 400
	go func() {
		<-time.After(300 * time.Millisecond)
		close(release)
	}()
	rep := mustRun(t, o)
	if rep.Ops != 400 || rep.Latency.P50 < 50_000 {
		t.Errorf("half the operations took %d µs or less, though about 300 of 400 became due in a stall of 300 ms: %+v", rep.Latency.P50, rep.Latency)
	}
	if rep.Seconds < 0.35 {
		t.Errorf("400 operations at 1000 a second in %v s", rep.Seconds)
	}
}

func TestEnds(t *testing.T) {
	k := start(t)
	o := options(k, "set")
	o.Duration = 200 * time.Millisecond
	var progress bytes.Buffer
	o.Progress = &progress
	if rep := mustRun(t, o); rep.Ops == 0 || rep.Seconds < 0.2 || rep.Seconds > 10 {
		t.Errorf("report %+v", rep)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var n atomic.Int64
	k.SetHook(func(int, *rpc.Request) bool {
		if n.Add(1) == 100 {
			cancel()
		}
		return false
	})
	o.Duration = time.Hour
	rep, err := Run(ctx, o)
	if !errors.Is(err, context.Canceled) || rep.Ops < 50 {
		t.Errorf("interrupted: %v, %+v", err, rep)
	}
	// A cluster that answers nothing ends the run.
	k.SetHook(func(server int, r *rpc.Request) bool {
		if server >= 0 {
			r.ReplyError(base.ErrDiskInsufficient)
		}
		return server >= 0
	})
	o.GiveUp = 100 * time.Millisecond
	rep, err = Run(context.Background(), o)
	if err == nil || !strings.Contains(err.Error(), "no operation succeeded for 100ms") || rep.Ops != 0 {
		t.Errorf("nothing works: %v, %+v", err, rep)
	}
}

func TestRefusals(t *testing.T) {
	k := start(t)
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, bytes.Repeat([]byte("x"), 100), 0o644); err != nil {
		t.Fatal(err)
	}
	inUse := filepath.Join(dir, "in use")
	other, err := createAcked(inUse, &Options{Keys: 8, RowsPerHash: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	for _, tc := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Acked = inUse }, "is in use by another run"},
		{func(o *Options) { o.Op = "sett" }, `unknown operation --op "sett": give one of del, get`},
		{func(o *Options) { o.Table = "" }, "--table is missing"},
		{func(o *Options) { o.Table = "none" }, `"none"`},
		{func(o *Options) { o.Clients = 0 }, "--clients 0"},
		{func(o *Options) { o.ValueSize = -1 }, "--value-size -1"},
		{func(o *Options) { o.Op = Verify }, "verify needs --record-acked"},
		{func(o *Options) { o.Op, o.Acked = "get", junk }, "--record-acked works with set"},
		{func(o *Options) { o.Op, o.Acked = Verify, junk }, "is not a record"},
		{func(o *Options) { o.Op, o.Acked = Verify, filepath.Join(dir, "none") }, "no such file"},
		{func(o *Options) { o.Acked = filepath.Join(dir, "no", "where") }, "no such file"},
		{func(o *Options) { o.Dist = "normal" }, `--dist "normal"`},
		{func(o *Options) { o.ReadRatio = 2 }, "--read-ratio 2"},
	} {
		o := options(k, "set")
		o.Count = 1
		tc.change(&o)
		if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("want %q, got %v", tc.want, err)
		}
	}
}

func TestRowsAreDeterministic(t *testing.T) {
	r := rows{seed: 7, perHash: 10, size: 21}
	key, hash := r.appendKey(nil, 123)
	if string(key) != "\x00\x10user000000000012000003" || hash != base.CRC64([]byte("user000000000012")) {
		t.Errorf("key %q", key)
	}
	a, b := r.appendValue(nil, 5), r.appendValue(nil, 5)
	if len(a) != 21 || !bytes.Equal(a, b) {
		t.Errorf("values %x and %x", a, b)
	}
	seen := map[string]bool{}
	for i := range int64(1000) {
		seen[string(r.appendValue(nil, i))] = true
	}
	other := rows{seed: 8, perHash: 10, size: 21}
	if len(seen) != 1000 || seen[string(other.appendValue(nil, 5))] {
		t.Errorf("%d different values of 1000 rows, or the seed doesn't matter", len(seen))
	}
}

func TestChoice(t *testing.T) {
	o := Options{Keys: 1000, Seed: 1}
	for _, dist := range []string{"uniform", "zipf", "latest", "sequential"} {
		o.Dist = dist
		c := newChooser(&o, 1, 10)
		count := map[int64]int{}
		for seq := range int64(10000) {
			row := c.pick(seq, 999)
			if row < 0 || row >= 1000 || dist != "latest" && row%10 != 0 {
				t.Fatalf("%s: row %d", dist, row)
			}
			count[row]++
		}
		most := 0
		for _, n := range count {
			most = max(most, n)
		}
		if skewed := dist == "zipf" || dist == "latest"; skewed != (most > 500) {
			t.Errorf("%s: the most popular row was picked %d times of 10000", dist, most)
		}
	}
}

func TestPids(t *testing.T) {
	dir := t.TempDir()
	for i, pid := range []int{os.Getpid(), 1} {
		d := filepath.Join(dir, fmt.Sprintf("replica%d", i+1))
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "pid"), fmt.Appendf(nil, "%d\n", pid), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []string{dir, fmt.Sprintf("%d, 1", os.Getpid())} {
		pids, err := ParsePids(s)
		if err != nil || len(pids) != 2 || pids[0] != os.Getpid() || pids[1] != 1 {
			t.Errorf("%q: %v, %v", s, pids, err)
		}
	}
	for _, bad := range []string{"x", "0", t.TempDir()} {
		if _, err := ParsePids(bad); err == nil || !strings.Contains(err.Error(), "--pids") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	k := start(t)
	o := options(k, "set")
	o.Count, o.Pids = 3000, []int{os.Getpid(), 1 << 30}
	rep := mustRun(t, o)
	if len(rep.Servers) != 2 || rep.Servers[0].PeakMB < 1 || rep.Servers[0].Gone || !rep.Servers[1].Gone || rep.ClientCPU <= 0 {
		t.Errorf("servers %+v, client %v", rep.Servers, rep.ClientCPU)
	}
}
