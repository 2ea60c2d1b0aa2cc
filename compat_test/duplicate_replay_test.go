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
	"pegasus/gen/layer2"
	"pegasus/gen/registry"
	"pegasus/gen/rrdb"
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

// TestDuplicateReplay gives empty tables what a C++ cluster sent to another one, in order and then once more: each
// table has exactly the rows that the recording says. One has the partitions of the recorded table. The others have
// other numbers of partitions: a batch goes where its last write leads, as upstream sends it, and rows in it belong
// elsewhere. One of them gets each write by itself, in the form of releases before 2.4, always in partition 0.
func TestDuplicateReplay(t *testing.T) {
	dir := filepath.Join(golden(t), "frames-duplicate")
	c := cluster.Start(t, cluster.Options{Tables: "dupt:4,three:3,eight:8", Config: "[cluster]\nid = 2\n\n[clusters.onebox-a]\nid = 1\n"})
	if err := wholeCluster(c); err != nil {
		t.Fatal(err)
	}
	want := duplicatedRows(t, filepath.Join(dir, "expected-from-frames.jsonl"))
	for _, x := range []struct {
		table  string
		single bool
	}{{"dupt", false}, {"three", false}, {"eight", true}} {
		p := &duplicatePlayer{t: t, c: c, conns: map[string]*wire.Conn{}, single: x.single}
		p.play(x.table, dir)
		if got := scanRows(t, c, x.table); !maps.Equal(got, want) {
			t.Errorf("table %s: %d rows, want %d: %s", x.table, len(got), len(want), rowsApart(got, want))
		}
		t.Logf("table %s: %d requests with %d writes gave %d rows", x.table, p.id, p.writes, len(want))
	}

	// A multi_put of 20 kB that takes 30 MB, since each row has the hash key: more than a mutation may have.
	const rows = 500
	hashKey := []byte(strings.Repeat("l", 60000))
	q := rrdb.MultiPutRequest{HashKey: hashKey}
	for i := range rows {
		q.Kvs = append(q.Kvs, rrdb.KeyValue{Key: fmt.Append(nil, i), Value: []byte("v")})
	}
	cfg, err := c.Config("dupt")
	if err != nil {
		t.Fatal(err)
	}
	p := &duplicatePlayer{t: t, c: c, conns: map[string]*wire.Conn{}}
	defer p.close()
	hash := base.HashOf(hashKey, nil)
	w := dupinternal.DuplicateEntry{Timestamp: base.Some(time.Now().UnixMicro()), TaskCode: base.Some[base.TaskCode](base.RPCMultiPut), RawMessage: base.Some(registry.AppendBody(nil, 1, &q)), ClusterId: base.Some[int8](1)}
	body := registry.AppendBody(nil, 1, &dupinternal.DuplicateRequest{Entries: []dupinternal.DuplicateEntry{w}})
	p.send(cfg, "the large one", wire.New(wire.RDSN, base.RPCDuplicate, 0, base.Gpid{}, body), int32(hash%4))
	cl := client.New(c.Metas(), client.Options{})
	defer cl.Close()
	tab, err := cl.Table(runContext(t, time.Minute), "dupt")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := tab.SortKeyCount(runContext(t, time.Minute), hashKey); err != nil || n != rows {
		t.Errorf("%d rows of the large one, %v", n, err)
	}
}

func (p *duplicatePlayer) close() {
	for _, conn := range p.conns {
		conn.Close()
	}
}

// duplicatePlayer sends recorded requests to a table.
type duplicatePlayer struct {
	t      *testing.T
	c      *cluster.Cluster
	conns  map[string]*wire.Conn
	single bool
	id     uint64
	writes int
}

func (p *duplicatePlayer) play(table, dir string) {
	p.t.Helper()
	if err := p.c.WaitHealthy(table, time.Minute); err != nil {
		p.t.Fatal(err)
	}
	cfg, err := p.c.Config(table)
	if err != nil {
		p.t.Fatal(err)
	}
	defer p.close()
	for range 2 {
		for _, r := range readIndex(p.t, dir) {
			b, err := os.ReadFile(filepath.Join(dir, r.file))
			if err != nil {
				p.t.Fatal(err)
			}
			f, err := wire.Parse(b)
			if err != nil {
				p.t.Fatal(err)
			}
			if !r.request {
				var rec dupinternal.DuplicateResponse
				if _, err := registry.ReadBody(f.Body, &rec); err != nil || rec.Error.V != 0 {
					p.t.Fatalf("%s: the recording itself says %+v, %v", r.file, rec, err)
				}
				continue
			}
			var q dupinternal.DuplicateRequest
			id, err := registry.ReadBody(f.Body, &q)
			if err != nil || len(q.Entries) == 0 {
				p.t.Fatalf("%s: %+v, %v", r.file, q, err)
			}
			p.writes += len(q.Entries)
			switch {
			case p.single:
				for i := range q.Entries {
					g := *f
					g.Body = registry.AppendBody(nil, id, &q.Entries[i])
					p.send(cfg, r.file, &g, 0)
				}
			case int(cfg.PartitionCount) == 4:
				p.send(cfg, r.file, f, f.Gpid.PartitionIndex)
			default:
				p.send(cfg, r.file, f, int32(f.Hash%uint64(cfg.PartitionCount)))
			}
		}
	}
	if p.id < 30 {
		p.t.Fatalf("only %d requests", p.id)
	}
}

func (p *duplicatePlayer) send(cfg *layer2.QueryCfgResponse, file string, f *wire.Frame, partition int32) {
	p.t.Helper()
	p.id++
	f.ID, f.Gpid = p.id, base.Gpid{AppID: cfg.AppId, PartitionIndex: partition}
	addr := cfg.Partitions[partition].Primary.String()
	conn := p.conns[addr]
	if conn == nil {
		var err error
		if conn, err = wire.Dial(addr); err != nil {
			p.t.Fatal(err)
		}
		p.conns[addr] = conn
	}
	if err := conn.Send(f.Encode()); err != nil {
		p.t.Fatal(err)
	}
	a, err := conn.Receive(time.Minute)
	if err != nil || a.Err != "ERR_OK" || a.ID != p.id {
		p.t.Fatalf("%s: %+v, %v", file, a, err)
	}
	var res dupinternal.DuplicateResponse
	if _, err := registry.ReadBody(a.Body, &res); err != nil || res.Error != base.Some(int32(0)) || res.ErrorHint.Set {
		p.t.Fatalf("%s: %+v, %v", file, res, err)
	}
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
