package compat

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/blob/blobtest"
	"pegasus/blob/stores"
	files "pegasus/bulkload"
	"pegasus/client"
	"pegasus/compat_test/cluster"
	"pegasus/rocks/pegasus"
)

// TestBulkLoad loads the recorded files into a table by the CLI: it has exactly the rows that it had in the C++ cluster, and those that are written
// meanwhile, though a replica server and the meta are killed. A load whose S3 server is killed while it is read leaves the table as it was, and nothing on the disks.
func TestBulkLoad(t *testing.T) {
	dir := filepath.Join(golden(t), "bulk-load-source")
	s3, bucket := newBucket(t)
	c := cluster.Start(t, cluster.Options{Tables: "bl:4,shop:2", Config: fmt.Sprintf("[meta]\nbulk_load_tries = 2\n[blob.local_service]\npath = %q\n"+
		"[blob.bucket]\ntype = \"s3\"\ns3_endpoint = %q\ns3_bucket = %q\ns3_credentials_file = %q\nretry_time = \"2s\"\n", dir, bucket.Endpoint, bucket.Bucket, bucket.Credentials)})
	if err := wholeCluster(c); err != nil {
		t.Fatal(err)
	}
	ctx := runContext(t, 3*time.Minute)
	cl := client.New(c.Metas(), client.Options{})
	defer cl.Close()
	tab, err := cl.Table(ctx, "bl")
	if err != nil {
		t.Fatal(err)
	}
	stop, wrote := make(chan struct{}), make(chan int, 1)
	go func() {
		n := 0
		defer func() { wrote <- n }()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if tab.Set(ctx, fmt.Append(nil, "written meanwhile ", n), nil, []byte("x"), 0) == nil {
					n++
				}
			}
		}
	}()
	run := func(args ...string) string {
		t.Helper()
		out, err := c.CLI(ctx, append(args, "--meta", c.Metas()[0])...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	run("bulkload", "start", "bl", "--from", "local_service/bulk_root", "--cluster", "onebox", "--wait", "0s")
	for _, name := range []string{"replica2", "meta1"} {
		if err := c.Kill(name); err != nil {
			t.Fatal(err)
		}
		if err := c.Restart(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.Poll(2*time.Minute, func() error {
		out, err := c.CLI(ctx, "bulkload", "status", "bl", "--meta", c.Metas()[0])
		if err == nil && !strings.Contains(out, "table bl has the rows of the files\n") {
			err = fmt.Errorf("%s", out)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	close(stop)
	want := duplicatedRows(t, filepath.Join(dir, "expected.jsonl"))
	b64 := base64.StdEncoding.EncodeToString
	for i := range <-wrote {
		want[b64(fmt.Append(nil, "written meanwhile ", i))+" "] = b64([]byte("x")) + " ttl=false"
	}
	got := scanRows(t, c, "bl")
	// The last write may have been done, and its answer lost.
	for k := range got {
		if _, ok := want[k]; !ok && strings.HasPrefix(k, b64([]byte("written meanwhile "))) {
			delete(got, k)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d rows, want %d: %s", len(got), len(want), rowsApart(got, want))
	}
	if out := run("bulkload", "clear", "bl"); !strings.Contains(out, "none were") {
		t.Error(out)
	}
	sourceKilled(t, c, cl, s3, bucket)
}

// newBucket starts an S3 server with a bucket.
func newBucket(t *testing.T) (*blobtest.S3Server, config.Blob) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bucket"), 0o755); err != nil {
		t.Fatal(err)
	}
	s3 := blobtest.StartS3(t, dir)
	b := config.DefaultBlob()
	b.Type, b.Endpoint, b.Bucket, b.Credentials = "s3", s3.Endpoint, "bucket", filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(b.Credentials, []byte("[default]\naws_access_key_id = "+s3.Access+"\naws_secret_access_key = "+s3.Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s3, b
}

// sourceKilled loads files from an S3 server that is killed while they are read, and again once it is back.
func sourceKilled(t *testing.T, c *cluster.Cluster, cl *client.Client, s3 *blobtest.S3Server, bucket config.Blob) {
	ctx := runContext(t, 4*time.Minute)
	cfg, err := c.Config("shop")
	if err != nil {
		t.Fatal(err)
	}
	shop, err := cl.Table(ctx, "shop")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := shop.Set(ctx, fmt.Append(nil, "row", i), nil, []byte("before"), 0); err != nil {
			t.Fatal(err)
		}
	}
	before := scanRows(t, c, "shop")
	set := stores.New(map[string]config.Blob{"bucket": bucket}, nil)
	defer set.Close()
	store, err := set.Get(ctx, "bucket")
	if err != nil {
		t.Fatal(err)
	}
	f, err := files.Create(ctx, store, files.WriterOptions{Place: files.Place{Root: "root", Cluster: "prod", Table: "shop"}, AppID: cfg.AppId, Partitions: 2, TableSize: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	const rows = 6000
	for p := range int32(2) {
		for i := range rows { // their keys rise: they are of one length
			key := fmt.Appendf(nil, "%08d", i)
			value := make([]byte, 1000)
			rand.NewChaCha8([32]byte(fmt.Appendf(nil, "%032d", i))).Read(value)
			if base.InPartition(base.HashOf(key, nil), p, 2) {
				if err := f.Add(p, base.AppendKey(nil, key, nil), pegasus.Value{Data: value}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if _, err := f.Close(); err != nil {
		t.Fatal(err)
	}
	cli := func(args ...string) (string, error) { return c.CLI(ctx, append(args, "--meta", c.Metas()[0])...) }
	if out, err := cli("bulkload", "start", "shop", "--from", "bucket/root", "--cluster", "prod", "--rate", "300000", "--wait", "0s"); err != nil {
		t.Fatal(out, err)
	}
	said := regexp.MustCompile(`\(([1-9]\d*) of \d+ MiB by all servers\)`)
	status := func(is func(out string) bool) (out string) {
		t.Helper()
		if err := cluster.Poll(2*time.Minute, func() (err error) {
			if out, err = cli("bulkload", "status", "shop"); err == nil && !is(out) {
				err = fmt.Errorf("%s", out)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	out := status(func(out string) bool { return said.MatchString(out) })
	if !strings.Contains(out, "are being read") {
		t.Fatalf("it was too fast: %s", out)
	}
	s3.Kill()
	out = status(func(out string) bool { return strings.Contains(out, "the load of table shop failed with") }) // the servers have removed what they made
	t.Logf("the S3 server is killed: %s", out)
	for _, want := range []string{"failed 2 times", "bucket", "refused", "the table is as it was"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q isn't in: %s", want, out)
		}
	}
	nothingLeft(t, c)
	if got := scanRows(t, c, "shop"); !maps.Equal(got, before) {
		t.Errorf("the table has %d rows, it had %d: %s", len(got), len(before), rowsApart(got, before))
	}
	s3.Start(t)
	if out, err := cli("bulkload", "start", "shop", "--from", "bucket/root", "--cluster", "prod", "--timeout", "3m"); err != nil || !strings.Contains(out, "table shop has the rows of the files") {
		t.Fatal(out, err)
	}
	if got := scanRows(t, c, "shop"); len(got) != len(before)+rows {
		t.Errorf("it has %d rows", len(got))
	}
	nothingLeft(t, c)
}

// nothingLeft waits until no server has anything of a load.
func nothingLeft(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	if err := cluster.Poll(3*time.Minute, func() error {
		var left []string
		err := filepath.WalkDir(c.Dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() && (strings.HasPrefix(d.Name(), "load.") || strings.HasSuffix(d.Name(), ".taken")) {
				left = append(left, path)
			}
			return nil // what goes meanwhile
		})
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left: %v", left)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}
