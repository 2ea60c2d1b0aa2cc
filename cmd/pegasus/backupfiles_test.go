package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/base/config"
	"pegasus/blob/stores"
	"pegasus/gen/layer2"
	"pegasus/internal/repo"
	"pegasus/rocks/pegasus"
	"pegasus/rowfile/rowfiletest"
)

// rowsOf are rows for a backup.
type rowsOf struct {
	rows []pegasus.Row
	i    int
}

func (r *rowsOf) Next() bool           { r.i++; return r.i <= len(r.rows) }
func (r *rowsOf) Key() []byte          { return r.rows[r.i-1].Key }
func (r *rowsOf) Value() pegasus.Value { return r.rows[r.i-1].Value }
func (r *rowsOf) Err() error           { return nil }

const writtenID = 1796000000000

// writeBackup writes a backup of a table "shop" of two partitions below a directory.
func writeBackup(t *testing.T, root string) {
	t.Helper()
	ctx := context.Background()
	c := config.DefaultBlob()
	c.Path = root
	s, err := stores.New(nil, nil).Make(ctx, "s", c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := backup.Location{Cluster: "prod", ID: writtenID}
	info := layer2.NewAppInfo()
	info.Status, info.AppName, info.AppId, info.AppType, info.PartitionCount = layer2.AS_AVAILABLE, "shop", 2, "pegasus", 2
	if err := backup.WriteTable(ctx, s, l, &info); err != nil {
		t.Fatal(err)
	}
	taken := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	byPartition := make([]*rowsOf, 2)
	for i := range byPartition {
		byPartition[i] = &rowsOf{}
	}
	add := func(hashKey, sortKey, value string, expires uint32) {
		p := byPartition[base.HashOf([]byte(hashKey), []byte(sortKey))%2]
		p.rows = append(p.rows, pegasus.Row{Key: base.AppendKey(nil, []byte(hashKey), []byte(sortKey)), Value: pegasus.Value{Data: []byte(value), ExpireTS: expires, Timetag: 5 << 8}})
	}
	add("zero\x00", "", "", 0) // a shorter hash key comes before longer ones
	for i := range 500 {
		add(fmt.Sprintf("user%03d", i), "name", "Alice", 0)
		add(fmt.Sprintf("user%03d", i), "session", "\x00\xff", backup.Clock(taken)+100)
	}
	for i, rows := range byPartition {
		if _, err := backup.WritePartition(ctx, s, rows, backup.WriteOptions{Table: l.Table("shop", 2), Partition: int32(i), Checkpoint: "chkpt_h_1", Decree: 9, Taken: taken}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := backup.FinishTable(ctx, s, l.Table("shop", 2), 2); err != nil {
		t.Fatal(err)
	}
	if err := backup.Finish(ctx, s, l, backup.NewInfo(writtenID, writtenID, writtenID+1000, map[int32]string{2: "shop"})); err != nil {
		t.Fatal(err)
	}
}

// TestBackupFileCommands: the commands that need no cluster, with good and bad input.
func TestBackupFileCommands(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "store")
	for _, d := range []string{root, filepath.Join(dir, "empty")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeBackup(t, root)
	file := filepath.Join(dir, "pegasus.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "[blob.local_service]\npath = %q\n", root), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PEGASUS_CONFIG", file)
	here := fmt.Sprintf("local_service/prod/%d", writtenID)
	url := fmt.Sprintf("file://%s/prod/%d", root, writtenID)
	damage := func(name string, f func(b []byte) []byte) func() {
		path := filepath.Join(root, fmt.Sprintf("prod/%d", writtenID), name)
		return func() {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f(b), 0o644); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.WriteFile(path, b, 0o644) })
		}
	}
	flip := func(b []byte) []byte { b[len(b)/3] ^= 1; return b }
	for _, tc := range []struct {
		args, out, errw string // regular expressions
		status          int
		before          func()
	}{
		{"ls local_service/", `(?s)^PATH +STARTED +ENDED +STATE +TABLES\nprod/1796000000000 +2026-11-\S+Z +2026-11-\S+Z +complete +shop\n$`, "", 0, nil},
		{"ls -o json " + url, `^\[\{"path":"1796000000000","id":1796000000000,"started":"2026[^}]*"complete":true,"tables":\["shop"\]\}\]\n$`, "", 0, nil},
		{"ls file://" + root, `prod/1796000000000`, "", 0, nil},
		{"ls file://" + dir + "/empty", `^PATH +STARTED +ENDED +STATE +TABLES\n$`, "", 0, nil},
		{"show " + here, `(?s)complete, started 2026.*table shop: id 2, 2 partitions, .*, 1001 rows\n.* 9  2026-01-01T00:00:00Z.* [0-9a-f]{16}  chkpt_h_1\n`, "", 0, nil},
		{"show -o json " + here + "/shop_2", `"content":\[\{"table":"shop","app_id":2,"bytes":\d+,"rows":1001,"partitions":\[\{"partition":0,"checkpoint":"chkpt_h_1","decree":9`, "", 0, nil},
		{"verify " + here, `(?s)^table shop: 2 partitions, \d+ files, .*, 1001 rows, 501 of them live; compared with its manifest\n.*is complete and whole\n$`, "", 0, nil},
		{"verify --now 2026-01-01T00:01:00Z " + url, `1001 rows, 1001 of them live`, "", 0, nil},
		{"verify -o json " + url, `^\{"path":"1796000000000","ok":true,"tables":\[\{"table":"shop".*"problems":\[\]\}\n$`, "", 0, nil},
		{"count " + url, `(?m)^all +501 +500 +\d+$`, "", 0, nil},
		{"count -o json --now 1767225600 " + here, `"expired_rows":0,"live_rows":1001`, "", 0, nil},
		{"get " + here + " user007", `^"user007" : "name" => "Alice"\n"user007" : "session" => "\\x00\\xff" \(expired 2026-01-01T00:01:40Z\)\n$`, "", 0, nil},
		{"get " + here + " user007 session --now 2026-01-01T00:00:00Z", `^"user007" : "session" => "\\x00\\xff" \(until 2026-01-01T00:01:40Z\)\n$`, "", 0, nil},
		{"get -e -o json " + here + ` zero\x00`, `^\{"hash_key":"zero\\\\x00","sort_key":"","value":""\}\n$`, "", 0, nil},
		{"export --text " + here, `(?m)^\{"partition":[01],"hash_key":"user007","sort_key":"name","value":"Alice","written":5\}$`, "", 0, nil},
		{"export --format csv " + here, `^partition,hash_key,sort_key,value,expires,written\n[01],dXNlcj`, "", 0, nil},

		{"get " + here + " nobody", `^$`, `table shop of the backup has no row of hash key "nobody"`, 1, nil},
		{"get " + here + " user007 x", `^$`, `has no row "user007" : "x"`, 3, nil},
		{"count --table other " + here, `^$`, `no table "other", tables are shop`, 1, nil},
		{"verify", `^$`, `usage: pegasus backup verify URL`, 5, nil},
		{"verify local_service/prod/1796000000001", `^$`, `prod/1796000000001: not found.*pegasus backup ls`, 1, nil},
		{"verify local_service/nothing", `^$`, `nothing: not found.*pegasus backup ls`, 1, nil},
		{"verify file:///not/there/1796000000000", `^$`, `there is no directory /not/there: check the URL`, 1, nil},
		{"verify file://" + dir + "/empty", `^$`, `no backup lies there`, 1, nil},
		{"verify nowhere/prod/1796000000000", `^$`, `no blob store "nowhere" \(it has local_service\)`, 1, nil},
		{"verify ftp://h/1796000000000", `^$`, `no kind of blob store is "ftp"`, 1, nil},
		{"verify s3://b/x/1796000000000?nosuch=1", `^$`, `unknown key "nosuch"`, 1, nil},
		{"export --format xml " + here, `^$`, `unknown format "xml": give one of csv, jsonl, parquet`, 1, nil},
		{"export --format parquet --text " + here, `^$`, `leave --text out`, 1, nil},
		{"export --to /not/there/x " + here, `^$`, `write /not/there/x: .*no such file`, 1, nil},
		{"count --now yesterday " + here, `^$`, `--now "yesterday": give a time like`, 1, nil},

		{"verify " + here, `(?s)shop_2/0/chkpt_h_1/000003.sst: .*checksum.*restore the file from a copy`, `1 files of backup 1796000000000 are missing or wrong: take another backup`, 2, damage("shop_2/0/chkpt_h_1/000003.sst", flip)},
		{"verify -o json " + here, `"ok":false,.*"problems":\[\{"file":"prod/1796000000000/shop_2/0/chkpt_h_1/000003.sst","error":"`, `missing or wrong`, 2, nil},
		{"export --to " + dir + "/bad.jsonl " + here, `^$`, `000003.sst is damaged at offset`, 1, nil},
		{"count " + here, `^$`, `000003.sst is damaged at offset`, 1, nil},
		{"show " + here, `(?s)backup_metadata: checksum mismatch`, ``, 0, damage("shop_2/1/chkpt_h_1/backup_metadata", func(b []byte) []byte { return bytes.Repeat([]byte{'x'}, len(b)) })},
		{"verify " + here, `(?s)000003.sst.*backup_metadata: checksum mismatch`, `2 files of backup`, 2, nil},
		{"ls local_service/prod", `damaged`, ``, 0, damage("backup_info", flip)},
	} {
		if tc.before != nil {
			tc.before()
		}
		var out, errw bytes.Buffer
		status := run(context.Background(), append([]string{"backup"}, strings.Fields(tc.args)...), &out, &errw)
		if !regexp.MustCompile(tc.out).MatchString(out.String()) || !regexp.MustCompile(tc.errw).MatchString(errw.String()) || status != tc.status || tc.errw == "" && errw.Len() > 0 {
			t.Errorf("backup %s: %d\n%s%s", tc.args, status, &out, &errw)
		}
	}
	if left, err := filepath.Glob(dir + "/*bad.jsonl*"); err != nil || len(left) > 0 {
		t.Errorf("export left %v, %v", left, err)
	}
}

// TestBackupExportRecorded: the rows of the C++ cluster come out of each form.
func TestBackupExportRecorded(t *testing.T) {
	golden := repo.Golden(t)
	f, err := os.Open(filepath.Join(golden, "expected.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	type row struct {
		HashKey []byte `json:"hash_key"`
		SortKey []byte `json:"sort_key"`
		Value   []byte `json:"value"`
		TTL     bool   `json:"ttl"`
		Expires int64  `json:"expires"`
	}
	read := func(r *bufio.Scanner) map[string]string {
		rows := map[string]string{}
		for r.Buffer(nil, 64<<20); r.Scan(); {
			var j row
			if err := json.Unmarshal(r.Bytes(), &j); err != nil {
				t.Fatal(err)
			}
			rows[fmt.Sprintf("%q/%q", j.HashKey, j.SortKey)] = fmt.Sprintf("%q %v", j.Value, j.TTL || j.Expires > 0)
		}
		return rows
	}
	want := read(bufio.NewScanner(f))
	if len(want) != 1900 {
		t.Fatalf("%d rows", len(want))
	}
	same := func(form string, got map[string]string) {
		t.Helper()
		for k, v := range want {
			if got[k] != v {
				t.Fatalf("%s: %s is %.60s, want %.60s", form, k, got[k], v)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %d rows", form, len(got))
		}
	}
	to := func(form string) []byte {
		t.Helper()
		path := filepath.Join(t.TempDir(), "out."+form)
		var out, errw bytes.Buffer
		if status := run(context.Background(), []string{"backup", "export", "file://" + golden + "/cold-backup", "--format", form, "--to", path}, &out, &errw); status != 0 {
			t.Fatalf("%s%s", &out, &errw)
		}
		if want := "1900 rows of table mig are in " + path + "\n"; out.String() != want || errw.Len() > 0 {
			t.Errorf("%s%s", &out, &errw)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	same("jsonl", read(bufio.NewScanner(bytes.NewReader(to("jsonl")))))
	b := to("parquet")
	rows := map[string]string{}
	err = rowfiletest.ReadParquet(bytes.NewReader(b), int64(len(b)), func(_ int32, r pegasus.Row) error {
		rows[fmt.Sprintf("%q/%q", r.HashKey, r.SortKey)] = fmt.Sprintf("%q %v", r.Data, r.ExpireTS > 0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same("parquet", rows)
	var out bytes.Buffer
	if status := run(context.Background(), []string{"backup", "verify", "file://" + golden + "/cold-backup"}, &out, &out); status != 0 || !strings.Contains(out.String(), "it has no manifest: compared with its own sizes and checksums") {
		t.Errorf("%d: %s", status, &out)
	}
}
