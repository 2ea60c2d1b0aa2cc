package compat

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
	"pegasus/cppdata/cppdatatest"
)

// flags says which flag of a command in the manual the command hasn't, where another test runs the command.
func (m *manual) flags(doc string) {
	m.t.Helper()
	m.played[doc] = true
	var path []string
	for _, w := range strings.Fields(doc)[1:] {
		if !regexp.MustCompile(`^[a-z][a-z-]*$`).MatchString(w) {
			break
		}
		path = append(path, w)
	}
	out, err := m.c.CLI(runContext(m.t, time.Minute), append(path, "--help")...)
	if err != nil {
		m.t.Fatalf("%s --help: %v", doc, err)
	}
	for _, f := range regexp.MustCompile(`--[a-z-]+`).FindAllString(doc, -1) {
		if !strings.Contains(out, f) {
			m.t.Errorf("%s: the command has no %s", doc, f)
		}
	}
}

// TestManualMigrating runs the commands of docs/migrating.md: with ours in the place of C++ clusters, or with recorded directories of C++ servers.
func TestManualMigrating(t *testing.T) {
	blobs := t.TempDir()
	port := cluster.FreePort(t, 1, 3)
	ours := cluster.Start(t, cluster.Options{Tables: "-", Config: fmt.Sprintf("[cluster]\nname = \"ours\"\nid = 2\n[clusters.cpp]\nid = 1\nmeta_servers = [\"127.0.0.1:%d\"]\n[blob.hdfs_service]\npath = %q\n", port, blobs)})
	cpp := cluster.Start(t, cluster.Options{Port: port, Tables: "shop:4", Config: fmt.Sprintf("[cluster]\nname = \"prod\"\nid = 1\n[clusters.ours]\nid = 2\nmeta_servers = [%q]\n[blob.hdfs_service]\npath = %q\n", ours.Metas()[0], blobs)})
	m := &manual{t: t, c: ours, played: map[string]bool{}}
	old := &manual{t: t, c: cpp, played: m.played}
	both := []string{"cpp1:34601,cpp2:34601", cpp.Metas()[0], "cpp1:34601", cpp.Metas()[0], "10.0.0.1:34601", ours.Metas()[0]}
	for i := range 20 {
		if out, err := cpp.CLI(runContext(t, time.Minute), "set", "shop", fmt.Sprint("user", i), "name", "Alice", "--meta", cpp.Metas()[0]); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	drop := func(c *cluster.Cluster) {
		t.Helper()
		if out, err := c.CLI(runContext(t, time.Minute), "table", "drop", "shop", "--yes", "--meta", c.Metas()[0]); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}

	// Configuration.
	dir := t.TempDir()
	ini, toml := filepath.Join(dir, "config.ini"), filepath.Join(dir, "pegasus.toml")
	m.do(os.WriteFile(ini, []byte("[replication]\ncluster_name = prod\nprepare_timeout_ms_for_secondaries = 3000\n[meta_server]\nserver_list = 127.0.0.1:34601\n"), 0o644))
	at := []string{"config.ini", ini, "pegasus.toml", toml}
	m.must("", "pegasus config import config.ini -o pegasus.toml", at...)
	m.must("", "pegasus config check pegasus.toml", at...)

	// A: a backup.
	old.must("is complete", "pegasus backup create shop --provider hdfs_service")
	var list []struct {
		Path string `json:"path"`
	}
	out, err := cpp.CLI(runContext(t, time.Minute), "backup", "ls", "-o", "json", "--meta", cpp.Metas()[0])
	m.do(err)
	m.do(json.Unmarshal([]byte(out), &list))
	tables, err := filepath.Glob(filepath.Join(blobs, list[0].Path, "shop_*"))
	if err != nil || len(tables) != 1 {
		t.Fatalf("%q, %v", tables, err)
	}
	conf := filepath.Join(dir, "blob.toml")
	m.do(os.WriteFile(conf, []byte("[blob.hdfs_service]\npath = "+strconv.Quote(blobs)+"\n"), 0o644))
	one, whole := "hdfs_service/prod/1796000000000/shop_2", "hdfs_service/"+list[0].Path
	m.must(filepath.Base(list[0].Path), "pegasus backup ls hdfs_service/prod", "hdfs_service/prod", "hdfs_service/"+filepath.Dir(list[0].Path)+" --config "+conf)
	m.must("complete and whole", "pegasus backup verify hdfs_service/prod/1796000000000", "hdfs_service/prod/1796000000000", whole+" --config "+conf)
	m.must("20", "pegasus backup count hdfs_service/prod/1796000000000/shop_2", one, whole+"/"+filepath.Base(tables[0])+" --config "+conf)
	m.must("", "pegasus restore hdfs_service/prod/1796000000000/shop_2 --as shop --wait", one, whole+"/"+filepath.Base(tables[0]))
	m.must("4 partitions", "pegasus table show shop")
	drop(ours)

	// B, and back by duplication: the table goes from one cluster to the other. TestMigrate has writers.
	move := "pegasus migrate table shop --from cpp1:34601,cpp2:34601 --to 10.0.0.1:34601 --cluster ours"
	m.must("", move+" --dry-run", both...)
	m.must("", move, both...)
	m.must("", move+" --finish", both...)
	m.must("0 are missing there, 0 are only there, 0 have another value", "pegasus compare table shop --from cpp1:34601 --to 10.0.0.1:34601", both...)
	m.must("", "pegasus migrate tables --from cpp1:34601 --to 10.0.0.1:34601 --dry-run -o json", both...)
	m.flags("pegasus migrate tables --from-zookeeper zk1:2181,zk2:2181/pegasus/prod --to 10.0.0.1:34601 --dry-run") // TestMigrateTables (cmd/pegasus)
	m.must("", "pegasus copy shop shop --meta cpp1:34601 --to 10.0.0.1:34601", both...)
	drop(cpp)
	back := "pegasus migrate table shop --from 10.0.0.1:34601 --to cpp1:34601,cpp2:34601 --cluster cpp"
	m.must("", back+" --dry-run", both...)
	m.must("", back, both...)
	finish := append(strings.Fields(strings.NewReplacer(both...).Replace(back))[1:], "--finish")
	if out, err := ours.CLI(runContext(t, time.Minute), finish...); err != nil {
		t.Fatalf("%q: %v: %s", finish, err, out)
	}
	// In small steps: ours sends it on. The copy of before is there.
	drop(cpp)
	m.do(ours.WaitHealthy("shop", time.Minute))
	m.must("", "pegasus dup add shop cpp")

	// C: directories.
	data, state := cppdatatest.Copy(t, "data-plog-only"), filepath.Join(t.TempDir(), "move")
	from := []string{"/data/a/ssd1 /data/b/ssd1 /data/c/ssd1", data, "10.0.0.1:34601", ours.Metas()[0], "/var/tmp/move", state}
	m.must("4 replicas found", "pegasus migrate dirs /data/a/ssd1 /data/b/ssd1 /data/c/ssd1 --dry-run", from...)
	m.must("table mig .*: done: ", "pegasus migrate dirs /data/a/ssd1 /data/b/ssd1 /data/c/ssd1 --to 10.0.0.1:34601 --state /var/tmp/move", from...)
	placed := t.TempDir()
	m.must("table mig .*: done: 4 partitions of 3 replicas", "pegasus migrate dirs /data/a/ssd1 /data/b/ssd1 /data/c/ssd1 --in-place --config pegasus.toml --server 10.0.0.1:34801=/data/a/pegasus --server 10.0.0.2:34801=/data/b/pegasus --server 10.0.0.3:34801=/data/c/pegasus",
		append(from, "pegasus.toml", m.config("replica1"), "/data/a/pegasus", placed+"/a", "/data/b/pegasus", placed+"/b", "/data/c/pegasus", placed+"/c")...)
	// TestInPlace starts servers on what it made; here the metas have their state.
	m.refused("nothing to recover|already|have their state", "pegasus recover --meta 10.0.0.1:34601", both...)
	m.either("healthy", "pegasus health --meta 10.0.0.1:34601", both...)

	m.complete([]string{"docs/migrating.md"})
}
