package compat

import (
	"encoding/base64"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/client"
	"pegasus/compat_test/cluster"
)

// TestBulkLoad loads the recorded files into a table by the CLI: it has exactly the rows that it had in the C++ cluster, and those that are written
// meanwhile, though a replica server and the meta are killed.
func TestBulkLoad(t *testing.T) {
	dir := filepath.Join(golden(t), "bulk-load-source")
	c := cluster.Start(t, cluster.Options{Tables: "bl:4", Config: fmt.Sprintf("[blob.local_service]\npath = %q\n", dir)})
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
}
