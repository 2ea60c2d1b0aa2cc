package compat

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/backup"
	"pegasus/base/config"
	"pegasus/blob/blobtest"
	"pegasus/blob/stores"
	"pegasus/client"
)

// fillFast makes a table with small rows, most of them never expire.
func (w *restoreWorld) fillFast(table string, partitions, rows int) {
	w.Helper()
	const ofKey = 100
	ctx := runContext(w.T, 5*time.Minute)
	if out, err := w.cli("table", "create", table, "-p", strconv.Itoa(partitions)); err != nil {
		w.Fatalf("%v: %s", err, out)
	}
	t, err := w.cl.Table(ctx, table)
	if err != nil {
		w.Fatal(err)
	}
	var wg sync.WaitGroup
	fails := make([]error, 8)
	for g := range fails {
		wg.Go(func() {
			for k := g; k < rows/ofKey && fails[g] == nil; k += len(fails) {
				kvs := make([]client.KV, ofKey)
				for i := range kvs {
					kvs[i] = client.KV{SortKey: fmt.Appendf(nil, "sort%02d", i), Value: fmt.Appendf(nil, "the value of row %d of key %d", i, k)}
				}
				ttl := 0
				if k%7 == 0 {
					ttl = 5_000_000
				}
				fails[g] = t.MultiSet(ctx, fmt.Appendf(nil, "user%06d", k), kvs, ttl)
			}
		})
	}
	wg.Wait()
	for _, err := range fails {
		if err != nil {
			w.Fatal(err)
		}
	}
}

// ldbRows counts the rows that RocksDB itself reads in the partitions of a backup in a directory, without the markers.
func ldbRows(t *testing.T, dir string) (n int) {
	t.Helper()
	ldb, err := exec.LookPath("ldb")
	if err != nil {
		blobtest.Lacking(t, "RocksDB's ldb: %v", err)
	}
	dbs, err := filepath.Glob(filepath.Join(dir, "*", "chkpt_*"))
	if err != nil || len(dbs) == 0 {
		t.Fatalf("%s has no checkpoints: %v", dir, err)
	}
	for _, db := range dbs {
		out, err := exec.CommandContext(t.Context(), ldb, "--db="+db, "--hex", "scan").Output()
		if err != nil {
			t.Fatalf("ldb scan of %s: %v", db, err)
		}
		n += strings.Count(string(out), "\n") - 1
	}
	return n
}

// TestBackupPlaces: a cluster backs a table up to a directory, to S3 and to HDFS, and restores it from each: every time it is the
// same table. RocksDB reads each of its rows. The same places take exported rows, and give them. PEGASUS_BACKUP_ROWS says how many there are.
func TestBackupPlaces(t *testing.T) {
	rows := 100_000
	if s := os.Getenv("PEGASUS_BACKUP_ROWS"); s != "" {
		var err error
		if rows, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	_, bucket := newBucket(t)
	bucket.Path = "pegasus"
	hdfs := blobtest.StartHDFS(t, "")
	cluster := config.DefaultBlob()
	cluster.Type, cluster.NameNodes, cluster.User, cluster.Path = "hdfs", hdfs.NameNodes, "somebody", "/open/pegasus"
	var nodes []string
	for _, n := range hdfs.NameNodes {
		nodes = append(nodes, strconv.Quote(n))
	}
	w := newRestoreWorld(t, 1, fmt.Sprintf("[replica]\nbackup_bytes_per_second = 0\nrestore_bytes_per_second = 0\n"+
		"[blob.bucket]\ntype = \"s3\"\ns3_endpoint = %q\ns3_bucket = \"bucket\"\ns3_credentials_file = %q\npath = \"pegasus\"\n"+
		"[blob.hdfs_service]\ntype = \"hdfs\"\nhdfs_name_nodes = [%s]\nhdfs_user = \"somebody\"\npath = \"/open/pegasus\"\n",
		bucket.Endpoint, bucket.Credentials, strings.Join(nodes, ", ")))
	set := stores.New(map[string]config.Blob{"bucket": bucket, "hdfs_service": cluster}, nil)
	t.Cleanup(set.Close)

	w.fillFast("shop", 4, rows)
	for _, place := range []string{"local_service", "bucket", "hdfs_service"} {
		began := time.Now()
		if place != "local_service" {
			var err error
			if w.store, err = set.Get(t.Context(), place); err != nil {
				t.Fatal(err)
			}
		}
		w.must("is complete", "backup", "create", "shop", "--provider", place)
		found, err := backup.List(t.Context(), w.store, "")
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %+v, %v", place, found, err)
		}
		shop, err := found[0].Table(w.store, "shop")
		if err != nil {
			t.Fatal(err)
		}
		if place == "local_service" {
			if n := ldbRows(t, filepath.Join(w.dir, shop.Dir())); n != rows {
				t.Errorf("ldb reads %d rows, there are %d", n, rows)
			}
		}
		w.sameDigests("shop", shop)
		made := time.Since(began)
		if out, err := w.cli("restore", place+"/"+shop.Dir(), "--as", "from_"+place, "--wait"); err != nil {
			t.Fatalf("%s: %v: %s\n%s", place, err, out, w.c.Logs())
		}
		w.sameDigests("from_"+place, shop)
		t.Logf("%s: %v, and then %v for the restore", place, made.Round(time.Millisecond), (time.Since(began) - made).Round(time.Millisecond))
	}
	w.transfers("shop", rows, map[string]string{
		"s3":   "s3://bucket/rows/shop.jsonl?endpoint=" + bucket.Endpoint + "&credentials_file=" + bucket.Credentials,
		"hdfs": "hdfs://" + strings.Join(hdfs.NameNodes, ",") + "/open/rows/shop.parquet?user=somebody",
	})
}
