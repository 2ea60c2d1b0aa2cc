package compat

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/compat_test/cluster"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
)

// loseMeta kills the only meta when the replica servers know what it does of the tables, empties
// its disk, starts it again and waits until it knows all replica servers.
func loseMeta(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	// Settings reach the replicas when they compare their configuration with the meta's.
	if err := cluster.Poll(time.Minute, func() error { return settingsReached(c) }); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill("meta1"); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(c.Dir, "meta1", "data")
	list, err := os.ReadDir(data)
	if err != nil || len(list) == 0 {
		t.Fatalf("the meta's data: %v, %d files", err, len(list))
	}
	for _, f := range list {
		if err := os.RemoveAll(filepath.Join(data, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Restart("meta1"); err != nil {
		t.Fatal(err)
	}
	// It refuses all of them: their data is of a cluster that it doesn't know any more.
	if err := cluster.Poll(time.Minute, func() error {
		var res metaadmin.ConfigurationListNodesResponse
		q := &metaadmin.ConfigurationListNodesRequest{Status: metaadmin.NS_ALIVE}
		if err := c.MetaCall("RPC_CM_LIST_NODES", q, &res, func() base.ErrorCode { return res.Err }); err != nil {
			return err
		}
		if len(res.Infos) > 0 {
			t.Fatalf("a meta without state takes in %+v", res.Infos)
		}
		if n := len(res.Refused.V); n < len(c.Replicas()) {
			return fmt.Errorf("%d replica servers are refused", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// wholeCluster waits until the meta knows every replica server.
func wholeCluster(c *cluster.Cluster) error {
	return cluster.Poll(time.Minute, func() error {
		var res metaadmin.ConfigurationListNodesResponse
		q := &metaadmin.ConfigurationListNodesRequest{Status: metaadmin.NS_ALIVE}
		if err := c.MetaCall("RPC_CM_LIST_NODES", q, &res, func() base.ErrorCode { return res.Err }); err != nil {
			return err
		}
		if n := len(res.Infos); n < len(c.Replicas()) {
			return fmt.Errorf("%d replica servers live", n)
		}
		return nil
	})
}

// settingsReached tells which replica doesn't have its table's settings.
func settingsReached(c *cluster.Cluster) error {
	var apps metaadmin.ConfigurationListAppsResponse
	if err := c.MetaCall("RPC_CM_LIST_APPS", &metaadmin.ConfigurationListAppsRequest{Status: layer2.AS_AVAILABLE}, &apps,
		func() base.ErrorCode { return apps.Err }); err != nil {
		return err
	}
	for i := range apps.Infos {
		a := &apps.Infos[i]
		want := map[string]string{}
		for _, e := range a.Envs {
			want[e.Key] = e.Val
		}
		files, err := filepath.Glob(filepath.Join(c.Dir, "replica*", "data", "reps", fmt.Sprintf("%d.*.pegasus", a.AppId), "info.json"))
		if err != nil || len(files) < int(a.PartitionCount) {
			return fmt.Errorf("table %s has %d replicas: %v", a.AppName, len(files), err)
		}
		for _, f := range files {
			var info struct {
				AppName string            `json:"app_name"`
				Atomic  bool              `json:"atomic_idempotent"`
				Envs    map[string]string `json:"envs"`
			}
			text, err := os.ReadFile(f)
			if err == nil {
				err = json.Unmarshal(text, &info)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", f, err)
			}
			if info.AppName != a.AppName || info.Atomic != a.AtomicIdempotent.Or(false) || !maps.Equal(info.Envs, want) {
				return fmt.Errorf("%s doesn't have the settings of table %s: %s", f, a.AppName, text)
			}
		}
	}
	return nil
}

// TestRecover: the meta loses its state, and the tables are rebuilt from the replica servers
// with every acknowledged row, their ids and their settings.
func TestRecover(t *testing.T) {
	t.Parallel()
	const sets = 5000
	c := cluster.Start(t, cluster.Options{Tables: "temp:4,other:2"})
	cli := func(args ...string) (string, error) {
		args = append(args, "--meta", strings.Join(c.Metas(), ","), "--timeout", "30s")
		return c.CLI(runContext(t, time.Minute), args...)
	}
	if out, err := cli("table", "env", "set", "other", "default_ttl=86400"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	acked := filepath.Join(t.TempDir(), "acked")
	if r, err := runBench(t, c, "--op", "set", "--count", fmt.Sprint(sets), "--value-size", "200", "--record-acked", acked); err != nil || r.Ops != sets {
		t.Fatalf("bench: %d sets, %v", r.Ops, err)
	}
	if out, err := cli("recover"); err == nil || !strings.Contains(out+err.Error(), "nothing to recover") {
		t.Errorf("recover of a meta that has its tables: %v: %s", err, out)
	}

	loseMeta(t, c)
	if out, err := cli("recover", "--nodes", c.Replicas()[0]+",127.0.0.1:1"); err == nil || !strings.Contains(out+err.Error(), "127.0.0.1:1") {
		t.Errorf("recover with a server that isn't there: %v: %s", err, out)
	}
	out, err := cli("recover")
	if err != nil {
		t.Fatalf("recover: %v: %s", err, out)
	}
	for _, line := range []string{"recovered table temp (id 1, 4 partitions)", "recovered table other (id 2, 2 partitions)"} {
		if !strings.Contains(out, line) {
			t.Errorf("recover says %q, not %q", out, line)
		}
	}
	for _, table := range []string{"temp", "other"} {
		if err := c.WaitHealthy(table, 2*time.Minute); err != nil {
			t.Fatalf("%s: %v", table, err)
		}
	}
	verify(t, c, acked, sets)
	var apps metaadmin.ConfigurationListAppsResponse
	if err := c.MetaCall("RPC_CM_LIST_APPS", &metaadmin.ConfigurationListAppsRequest{Status: layer2.AS_AVAILABLE}, &apps, func() base.ErrorCode { return apps.Err }); err != nil {
		t.Fatal(err)
	}
	if len(apps.Infos) != 2 || len(apps.Infos[1].Envs) != 1 || apps.Infos[1].Envs[0].Val != "86400" {
		t.Errorf("the tables are now %+v", apps.Infos)
	}
	if out, err := cli("table", "create", "third", "-p", "2"); err != nil {
		t.Errorf("create afterwards: %v: %s", err, out)
	}
	if cfg, err := c.Config("third"); err != nil || cfg.AppId < 3 {
		// A gap is left where a meta heard of the tables before it recovered them.
		t.Errorf("the next table has id %d (%v), want 3 or more", cfg.AppId, err)
	}
}
