package compat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/client"
	"pegasus/compat_test/cluster"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/rrdb"
	"pegasus/gen/value"
	"pegasus/rpc"
)

// envTester shows what settings of a table do to a client.
type envTester struct {
	t    *testing.T
	c    *cluster.Cluster
	cl   *client.Client
	tab  *client.Table
	pool *rpc.Pool
	node string    // the only replica server
	name string    // of the table
	gpid base.Gpid // its first partition
	many *int      // how many rows the hash key "many" has
	// periodic is of another table, for the setting that takes effect at a minute's beginning.
	periodic *envTester
}

// addMany gives the hash key "many" 100,000 rows more. Counting them takes a while.
func (e *envTester) addMany() {
	e.t.Helper()
	for end := *e.many + 100_000; *e.many < end; *e.many += 2000 {
		var rows []client.KV
		for j := range 2000 {
			rows = append(rows, client.KV{SortKey: fmt.Appendf(nil, "%08d", *e.many+j), Value: []byte("v")})
		}
		if err := e.tab.MultiSet(e.ctx(), []byte("many"), rows, 0); err != nil {
			e.t.Fatal(err)
		}
	}
}

// envEffects has a function for each setting that this server acts on: it sets it, and demands
// the effect.
var envEffects = map[string]func(*envTester){
	appenv.SlowQuery: func(e *envTester) {
		e.set(appenv.SlowQuery, "20")
		before := e.metric("abnormal_read_requests")
		e.until("a long read counts as abnormal", func() error {
			began := time.Now()
			if _, err := e.tab.SortKeyCount(e.ctx(), []byte("many")); err != nil {
				return err
			}
			took := time.Since(began)
			if e.metric("abnormal_read_requests") > before {
				return nil
			}
			if took < 30*time.Millisecond { // on a fast machine
				e.addMany()
			}
			return fmt.Errorf("one that took %v doesn't", took)
		})
	},
	appenv.WriteThrottling:       func(e *envTester) { e.refused(appenv.WriteThrottling, "1*reject*0", e.put, base.ErrBusy) },
	appenv.WriteThrottlingBySize: func(e *envTester) { e.refused(appenv.WriteThrottlingBySize, "10*reject*0", e.put, base.ErrBusy) },
	appenv.ReadThrottling:        func(e *envTester) { e.refused(appenv.ReadThrottling, "1*reject*0", e.get, base.ErrBusy) },
	appenv.ReadThrottlingBySize:  func(e *envTester) { e.refused(appenv.ReadThrottlingBySize, "100", e.get, base.ErrBusy) },
	appenv.BackupThrottling: func(e *envTester) {
		e.refused(appenv.BackupThrottling, "1*reject*0", func() error { return e.call("RPC_RRDB_RRDB_GET", 0, true, 2*time.Second) }, base.ErrTimeout)
	},
	appenv.DenyClient: func(e *envTester) { e.refused(appenv.DenyClient, "reconfig*write", e.put, base.ErrInvalidState) },
	appenv.ValidateHash: func(e *envTester) {
		e.refused(appenv.ValidateHash, "true", func() error { return e.call("RPC_RRDB_RRDB_GET", 1, false, 10*time.Second) }, base.ErrParentPartitionMisused)
	},
	appenv.IterationTime: func(e *envTester) {
		e.set(appenv.IterationTime, "1")
		arg := value.Blob("many")
		e.until("a count that takes too long is given up", func() error {
			var res rrdb.CountResponse
			err := e.pool.Call(e.ctx(), e.node, rpc.Outgoing{Code: "RPC_RRDB_RRDB_SORTKEY_COUNT", Gpid: e.gpidOf("many"), Arg: &arg}, &res)
			if err == nil && res.Count != -1 {
				err = fmt.Errorf("the count is %d", res.Count)
			}
			return err
		})
	},
	appenv.DefaultTTL: func(e *envTester) {
		e.set(appenv.DefaultTTL, "1000")
		e.until("a row without a TTL gets one", func() error {
			if err := e.tab.Set(e.ctx(), []byte("ttl"), []byte("s"), []byte("v"), 0); err != nil {
				return err
			}
			ttl, found, err := e.tab.TTL(e.ctx(), []byte("ttl"), []byte("s"))
			if err == nil && (!found || ttl < 900 || ttl > 1000) {
				err = fmt.Errorf("ttl %d, found %v", ttl, found)
			}
			return err
		})
	},
	appenv.UserCompaction: func(e *envTester) {
		if err := e.tab.Set(e.ctx(), []byte("doomed"), []byte("s"), []byte("v"), 0); err != nil {
			e.t.Fatal(err)
		}
		e.set(appenv.UserCompaction, `{"ops":[{"type":"COT_DELETE","params":"","rules":[{"type":"FRT_HASHKEY_PATTERN","params":"{\"pattern\":\"doom\",\"match_type\":\"SMT_MATCH_PREFIX\"}"}]}]}`)
		e.until("the row is deleted", func() error {
			_, found, err := e.tab.Get(e.ctx(), []byte("doomed"), []byte("s"))
			if err == nil && found {
				err = errors.New("it is there")
			}
			return err
		})
		if _, found, err := e.tab.Get(e.ctx(), []byte("k0"), []byte("s")); err != nil || !found {
			e.t.Errorf("another row: %v %v", found, err)
		}
	},
	// Without these a memtable is flushed each 256 KiB: see the configuration.
	appenv.WriteBufferSize: func(e *envTester) { e.gathers(appenv.WriteBufferSize, "16777216") },
	appenv.UsageScenario:   func(e *envTester) { e.gathers(appenv.UsageScenario, "bulk_load") },
	appenv.CompactOnceTime: func(e *envTester) {
		e.compacts(appenv.CompactOnceTime, nextSecond())
	},
	appenv.CompactPeriodicTime: func(e *envTester) {
		p := e.periodic
		p.t = e.t
		if err := cluster.Poll(2*time.Minute, func() error {
			if p.finished() == "-" {
				return errors.New("none has ended")
			}
			return nil
		}); err != nil {
			e.t.Errorf("a manual compaction at a time of day: %v", err)
		}
	},
	appenv.CompactDisabled:   func(e *envTester) { e.compactsNot(appenv.CompactDisabled, "true") },
	appenv.CompactMaxRunning: func(e *envTester) { e.compactsNot(appenv.CompactMaxRunning, "0") },
}

// TestTableEnvs shows through a client what each setting of the schema does. A new setting
// without a test fails it; one that is only stored is demanded to be shown again, and refused values
// to change nothing.
func TestTableEnvs(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Replicas: 1, Tables: "env:2:1,periodic:1:1", Config: "[replica]\nconfig_sync_interval = \"200ms\"\nslow_query_threshold = \"1h\"\ndisk_min_available_space_ratio = 0\n" +
		"[storage]\nmemtable_bytes = 262144\n"})
	cl := client.New(c.Metas(), client.Options{Timeout: 30 * time.Second})
	defer cl.Close()
	pool := rpc.NewPool(rpc.PoolOptions{})
	defer pool.Close()
	e := &envTester{t: t, c: c, cl: cl, pool: pool, node: c.Replicas()[0], name: "env"}
	other, err := cl.Table(e.ctx(), "periodic")
	if err != nil {
		t.Fatal(err)
	}
	e.periodic = &envTester{t: t, c: c, cl: cl, pool: pool, node: e.node, name: "periodic", gpid: base.Gpid{AppID: other.AppID()}}
	now := time.Now()
	e.periodic.set(appenv.CompactPeriodicTime, now.Add(time.Minute).Format("15:04")+","+now.Add(2*time.Minute).Format("15:04"))
	tab, err := cl.Table(e.ctx(), "env")
	if err != nil {
		t.Fatal(err)
	}
	e.tab, e.gpid = tab, base.Gpid{AppID: tab.AppID()}
	for i := range 20 {
		if err := tab.Set(e.ctx(), []byte("k"+strconv.Itoa(i)), []byte("s"), []byte("v"), 0); err != nil {
			t.Fatal(err)
		}
	}
	for e.many = new(int); *e.many < 300_000; {
		e.addMany()
	}
	all := appenv.All()
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(n string) bool { return n == appenv.CompactPeriodicTime })
	for _, name := range append(names, appenv.CompactPeriodicTime) {
		info := all[name]
		t.Run(name, func(t *testing.T) {
			e := *e
			e.t = t
			e.refusals(name)
			switch f := envEffects[name]; {
			case f != nil:
				f(&e)
			case info.Effect == appenv.Stored:
				e.stored(name, info.Sample)
			default:
				t.Fatalf("no test shows the effect of %s: add one to envEffects", name)
			}
			e.clear()
		})
	}
}

func (e *envTester) ctx() context.Context { return runContext(e.t, 30*time.Second) }

func (e *envTester) until(what string, f func() error) {
	e.t.Helper()
	if err := cluster.Poll(30*time.Second, f); err != nil {
		e.t.Errorf("%s: %v", what, err)
	}
}

// envs returns what the meta shows of the table.
func (e *envTester) envs() map[string]string {
	e.t.Helper()
	infos, err := e.cl.Admin().ListTables(e.ctx(), layer2.AS_AVAILABLE)
	if err != nil {
		e.t.Fatal(err)
	}
	m := map[string]string{}
	for _, a := range infos {
		if a.AppName == e.name {
			for _, p := range a.Envs {
				m[p.Key] = p.Val
			}
		}
	}
	return m
}

func (e *envTester) set(name, val string) {
	e.t.Helper()
	if err := e.cl.Admin().SetEnvs(e.ctx(), e.name, []base.Pair[string, string]{{Key: name, Val: val}}); err != nil {
		e.t.Fatal(err)
	}
}

// known waits until the replica knows the settings.
func (e *envTester) known(want string) {
	e.t.Helper()
	e.until("the replica knows "+want, func() error {
		text, err := e.cl.Admin().RemoteCommand(e.ctx(), e.node, "replica.query-app-envs", e.gpid.String())
		if err == nil && !strings.Contains(text, want) {
			err = errors.New(text)
		}
		return err
	})
}

// clear takes all settings away and waits until the table is as it was.
func (e *envTester) clear() {
	e.t.Helper()
	var keys []string
	for k := range e.envs() {
		keys = append(keys, k)
	}
	if len(keys) > 0 {
		if err := e.cl.Admin().DelEnvs(e.ctx(), e.name, keys); err != nil {
			e.t.Fatal(err)
		}
	}
	e.until("the table is as it was", func() error {
		text, err := e.cl.Admin().RemoteCommand(e.ctx(), e.node, "replica.query-app-envs", e.gpid.String())
		switch {
		case err != nil:
			return err
		case strings.Contains(text, "="):
			return errors.New(text)
		}
		return errors.Join(e.put(), e.get())
	})
}

// stored: what changes nothing is shown as it was set.
func (e *envTester) stored(name, sample string) {
	if sample == "" {
		sample = "some text"
	}
	e.set(name, sample)
	if got := e.envs()[name]; got != sample {
		e.t.Errorf("%q is shown, %q was set", got, sample)
	}
	e.known(name + "=" + sample)
}

// refusals: each malformed value is refused, in the words of the schema, and nothing changes.
func (e *envTester) refusals(name string) {
	n := 0
	for _, bad := range []string{"", "x", "-2", "-1.5", "99999999999999999999", "5 ", "yes", "1*2", "*", "1*wait*1", "1*delay*-1", "1*delay*1,1*delay*1", "timeout*", "{", "0x"} {
		hint := appenv.Validate(name, bad)
		if hint == "" {
			continue
		}
		n++
		hint, _, _ = strings.Cut(hint, ":")
		// The client refuses it itself; others' clients leave it to the meta.
		var here *client.SettingError
		if err := e.cl.Admin().SetEnvs(e.ctx(), e.name, []base.Pair[string, string]{{Key: name, Val: bad}}); !errors.As(err, &here) || !strings.Contains(here.Hint, hint) {
			e.t.Errorf("%s=%q: %v, want the hint %q", name, bad, err, hint)
		}
		q := &metaadmin.ConfigurationUpdateAppEnvRequest{AppName: e.name, Op: metaadmin.APP_ENV_OP_SET,
			Keys: base.Some([]string{appenv.BusinessInfo, name}), Values: base.Some([]string{"x", bad})}
		var r metaadmin.ConfigurationUpdateAppEnvResponse
		if err := e.pool.Call(e.ctx(), e.c.Metas()[0], rpc.Outgoing{Code: base.RPCUpdateAppEnv, Arg: q}, &r); err != nil || r.Err != base.ErrInvalidParameters || !strings.Contains(r.HintMessage, hint) {
			e.t.Errorf("%s=%q: the meta answers %v, %v, %q, want the hint %q", name, bad, err, r.Err, r.HintMessage, hint)
		}
	}
	if envs := e.envs(); len(envs) != 0 {
		e.t.Errorf("refused settings have changed the table: %v", envs)
	}
	if info, _ := appenv.Describe(name); n == 0 && (info.Type != "string" || info.Limitation != "") {
		e.t.Errorf("no value of a %s (%s) was refused", info.Type, info.Limitation)
	}
}

// refused sets a setting and repeats a request until it is answered with code.
func (e *envTester) refused(name, val string, request func() error, code base.ErrorCode) {
	if err := request(); err != nil && code != base.ErrParentPartitionMisused {
		e.t.Errorf("before %s: %v", name, err)
	}
	e.set(name, val)
	e.until(fmt.Sprintf("with %s=%s a request is answered %s", name, val, code), func() error {
		got := []string{}
		for range 20 {
			err := request()
			if err != nil && base.CodeOf(err) == code {
				return nil
			}
			got = append(got, fmt.Sprint(err))
		}
		return errors.New(strings.Join(got[:1], "; "))
	})
}

// call sends a request to the first partition itself, without the client's retries.
func (e *envTester) call(code string, hash uint64, backup bool, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(e.t.Context(), limit)
	defer cancel()
	key := base.AppendKey(nil, []byte(e.rowOf(0)), []byte("s"))
	out := rpc.Outgoing{Code: code, Gpid: e.gpid, PartitionHash: hash, IsBackup: backup}
	if code == "RPC_RRDB_RRDB_PUT" {
		out.Arg = &rrdb.UpdateRequest{Key: key, Value: make([]byte, 200)}
		return e.pool.Call(ctx, e.node, out, new(rrdb.UpdateResponse))
	}
	arg := value.Blob(key)
	out.Arg = &arg
	return e.pool.Call(ctx, e.node, out, new(rrdb.ReadResponse))
}

func (e *envTester) put() error { return e.call("RPC_RRDB_RRDB_PUT", 0, false, 10*time.Second) }
func (e *envTester) get() error { return e.call("RPC_RRDB_RRDB_GET", 0, false, 10*time.Second) }

// gpidOf returns the partition of a hash key.
func (e *envTester) gpidOf(hashKey string) base.Gpid {
	return base.Gpid{AppID: e.gpid.AppID, PartitionIndex: int32(base.HashOf([]byte(hashKey), nil) % uint64(e.tab.Partitions()))}
}

// rowOf returns a hash key of a partition.
func (e *envTester) rowOf(partition int32) string {
	for i := range 20 {
		if k := "k" + strconv.Itoa(i); e.gpidOf(k).PartitionIndex == partition {
			return k
		}
	}
	e.t.Fatal("no row in partition ", partition)
	return ""
}

// metric adds a metric up over the replicas of the table.
func (e *envTester) metric(name string) (sum int64) {
	e.t.Helper()
	res, err := http.Get("http://" + e.node + "/metrics?types=replica&metrics=" + name)
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	var all struct {
		Entities []struct {
			Metrics []struct {
				Value int64 `json:"value"`
			} `json:"metrics"`
		} `json:"entities"`
	}
	if err := json.Unmarshal(b, &all); err != nil {
		e.t.Fatalf("%v: %s", err, b)
	}
	for _, x := range all.Entities {
		for _, m := range x.Metrics {
			sum += m.Value
		}
	}
	return sum
}

// megabytes writes 2 MB of rows of a hash key and returns how many flushes that brought.
func (e *envTester) megabytes() int64 {
	e.t.Helper()
	before := e.metric("rdb_flush_completed_count")
	for i := range 40 {
		if err := e.tab.Set(e.ctx(), []byte("k0"), fmt.Appendf(nil, "big%d", i), make([]byte, 50_000), 0); err != nil {
			e.t.Fatal(err)
		}
	}
	return e.metric("rdb_flush_completed_count") - before
}

// gathers: with the setting, what was flushed in pieces of 512 KB at most is gathered in memory
// up to 1 MB at least.
func (e *envTester) gathers(name, val string) {
	e.until("2 MB are flushed in small pieces without the setting", func() error {
		if n := e.megabytes(); n < 4 {
			return fmt.Errorf("%d flushes", n)
		}
		return nil
	})
	e.set(name, val)
	e.until("with it 2 MB are gathered in memory", func() error {
		if n := e.megabytes(); n > 2 {
			return fmt.Errorf("%d flushes", n)
		}
		return nil
	})
}

// nextSecond is when a compaction is demanded for: this second may be that in which the last
// one ended, and then counts as done.
func nextSecond() string { return strconv.FormatInt(time.Now().Unix()+1, 10) }

// finished returns when the first partition was compacted by hand last, "-" if never.
func (e *envTester) finished() string {
	e.t.Helper()
	text, err := e.cl.Admin().RemoteCommand(e.ctx(), e.node, "replica.query-compact", e.gpid.String())
	if err != nil {
		e.t.Fatal(err)
	}
	_, rest, ok := strings.Cut(text, `"last_finish":"`)
	when, _, _ := strings.Cut(rest, `"`)
	if !ok {
		e.t.Fatalf("replica.query-compact says %q", text)
	}
	return when
}

func (e *envTester) compacts(name, val string) {
	before := e.finished()
	e.set(name, val)
	e.until("a manual compaction ends", func() error {
		if e.finished() == before {
			return errors.New("the last one ended " + before)
		}
		return nil
	})
}

// compactsNot: with the setting a compaction that is due doesn't begin, until the setting goes.
func (e *envTester) compactsNot(name, val string) {
	e.set(name, val)
	e.known(name + "=" + val)
	before := e.finished()
	e.set(appenv.CompactOnceTime, nextSecond())
	e.known(appenv.CompactOnceTime)
	if err := cluster.Poll(3*time.Second, func() error {
		if e.finished() == before {
			return errors.New("none has run")
		}
		return nil
	}); err == nil {
		e.t.Error("a compaction ran")
	}
	if err := e.cl.Admin().DelEnvs(e.ctx(), e.name, []string{name}); err != nil {
		e.t.Fatal(err)
	}
	e.until("it runs when the setting is gone", func() error {
		if e.finished() == before {
			return errors.New("the last one ended " + before)
		}
		return nil
	})
}
