package compat

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/compat_test/cluster"
	"pegasus/compat_test/wire"
	"pegasus/gen/dupinternal"
	"pegasus/gen/registry"
)

// duplicatedRow is a row of an expected-*.jsonl.
type duplicatedRow struct {
	HashKey string `json:"hash_key"`
	SortKey string `json:"sort_key"`
	Value   string `json:"value"`
	TTL     bool   `json:"ttl"`
}

func duplicatedRows(t *testing.T, path string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		var r duplicatedRow
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		rows[r.HashKey+" "+r.SortKey] = fmt.Sprintf("%s ttl=%t", r.Value, r.TTL)
	}
	return rows
}

// TestDuplicateReplay gives an empty table what a C++ cluster sent to another one, in order and then
// once more: the table has exactly the rows that the recording says.
func TestDuplicateReplay(t *testing.T) {
	dir := filepath.Join(golden(t), "frames-duplicate")
	c := cluster.Start(t, cluster.Options{Tables: "dupt:4", Config: "[cluster]\nid = 2\n\n[clusters.onebox-a]\nid = 1\n"})
	if err := wholeCluster(c); err != nil {
		t.Fatal(err)
	}
	cfg, err := c.Config("dupt")
	if err != nil {
		t.Fatal(err)
	}
	conns := map[string]*wire.Conn{}
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	id := uint64(0)
	send := func(f *wire.Frame) dupinternal.DuplicateResponse {
		t.Helper()
		id++
		f.ID, f.Gpid.AppID = id, cfg.AppId
		addr := cfg.Partitions[f.Gpid.PartitionIndex].Primary.String()
		if conns[addr] == nil {
			if conns[addr], err = wire.Dial(addr); err != nil {
				t.Fatal(err)
			}
		}
		if err := conns[addr].Send(f.Encode()); err != nil {
			t.Fatal(err)
		}
		a, err := conns[addr].Receive(time.Minute)
		if err != nil || a.Err != "ERR_OK" || a.ID != id {
			t.Fatalf("%+v, %v", a, err)
		}
		var res dupinternal.DuplicateResponse
		if _, err := registry.ReadBody(a.Body, &res); err != nil {
			t.Fatal(err)
		}
		return res
	}
	frames, writes := 0, 0
	for range 2 {
		for _, r := range readIndex(t, dir) {
			b, err := os.ReadFile(filepath.Join(dir, r.file))
			if err != nil {
				t.Fatal(err)
			}
			f, err := wire.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if !r.request {
				var rec dupinternal.DuplicateResponse
				if _, err := registry.ReadBody(f.Body, &rec); err != nil || rec.Error.V != 0 {
					t.Fatalf("%s: the recording itself says %+v, %v", r.file, rec, err)
				}
				continue
			}
			var q dupinternal.DuplicateRequest
			if _, err := registry.ReadBody(f.Body, &q); err != nil {
				t.Fatal(err)
			}
			if res := send(f); res.Error != base.Some(int32(0)) || res.ErrorHint.Set {
				t.Fatalf("%s: %+v", r.file, res)
			}
			frames++
			writes += len(q.Entries)
		}
	}
	if frames < 30 {
		t.Fatalf("only %d frames", frames)
	}
	want := duplicatedRows(t, filepath.Join(dir, "expected-from-frames.jsonl"))
	if got := scanRows(t, c, "dupt"); !maps.Equal(got, want) {
		t.Fatalf("%d rows, want %d: %s", len(got), len(want), rowsApart(got, want))
	}
	t.Logf("%d frames with %d writes gave %d rows", frames, writes, len(want))
}

// rowsApart names some rows in which two tables differ.
func rowsApart(got, want map[string]string) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if v, ok := got[k]; !ok || v != want[k] {
			list = append(list, fmt.Sprintf("%s is %q (%t), want %q", k, v, ok, want[k]))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			list = append(list, k+" is too many")
		}
	}
	return strings.Join(list[:min(len(list), 10)], "\n")
}

// scanRows reads a table, in the form of duplicatedRows.
func scanRows(t *testing.T, c *cluster.Cluster, table string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cl := client.New(c.Metas(), client.Options{})
	defer cl.Close()
	tab, err := cl.Table(ctx, table)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	s := tab.ScanAll(client.ScanOptions{})
	defer s.Close()
	for s.Next(ctx) {
		r := s.Row()
		ttl, found, err := tab.TTL(ctx, r.HashKey, r.SortKey)
		if err != nil || !found {
			t.Fatalf("ttl: %t, %v", found, err)
		}
		b64 := base64.StdEncoding.EncodeToString
		rows[b64(r.HashKey)+" "+b64(r.SortKey)] = fmt.Sprintf("%s ttl=%t", b64(r.Value), ttl >= 0)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}
