package backup

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/blob/stores"
	"pegasus/internal/repo"
)

// openStore is a store in a directory, which doesn't repeat what fails.
func openStore(t testing.TB, dir string) *blob.Store {
	t.Helper()
	c := config.DefaultBlob()
	c.Path, c.RetryTime = dir, 0
	s, err := stores.New(nil, nil).Make(context.Background(), "local_service", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.SetRates(0, 0)
	return s
}

// recorded is a table of the golden backups. What stands in its rows is in a file of golden: a row a line.
type recorded struct {
	tree, file string
	table      Table
	now        time.Time
	partitions int32
	rows       int
}

var (
	recordedAt   = time.Date(2026, 11, 23, 0, 25, 0, 0, time.UTC)
	coldBackup   = Location{Cluster: "onebox", ID: 1795388400586}
	firstPolicy  = Location{ID: 1795393398250}
	secondPolicy = Location{ID: 1795393458022}
	allRecorded  = []recorded{
		{"cold-backup", "expected.jsonl", coldBackup.Table("mig", 1), time.Time{}, 4, 1900},
		{"backup-policy/tree-onebox", "", firstPolicy.Table("bl", 1), time.Time{}, 4, 0},
		{"backup-policy/tree-onebox", "backup-policy/expected-adm.jsonl", firstPolicy.Table("adm", 2), recordedAt, 4, 4},
		{"backup-policy/tree-onebox", "backup-policy/expected-adm.jsonl", secondPolicy.Table("adm", 2), recordedAt, 4, 4},
		{"backup-policy/tree-onebox", "backup-policy/expected-badenv.jsonl", secondPolicy.Table("badenv", 3), time.Time{}, 4, 7},
	}
)

func (r recorded) clock() uint32 {
	if r.now.IsZero() {
		return Clock(time.Now())
	}
	return Clock(r.now)
}

// expected has value and whether the row expires, by keys.
func (r recorded) expected(t testing.TB, g string) map[string]string {
	t.Helper()
	want := map[string]string{}
	if r.file == "" {
		return want
	}
	b, err := os.ReadFile(filepath.Join(g, r.file))
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var row struct {
			HashKey []byte          `json:"hash_key"`
			SortKey []byte          `json:"sort_key"`
			Value   []byte          `json:"value"`
			TTL     json.RawMessage `json:"ttl"`
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		ttl := string(row.TTL)
		want[fmt.Sprintf("%q/%q", row.HashKey, row.SortKey)] = fmt.Sprintf("%q %v", row.Value, ttl != "false" && ttl != "-1" && ttl != "null" && ttl != "0")
	}
	if r.rows >= 0 && len(want) != r.rows {
		t.Fatalf("%s has %d rows, not %d", r.file, len(want), r.rows)
	}
	return want
}

// live reads the live rows of a table in the same form.
func live(t testing.TB, s *blob.Store, table Table, partitions int32, now uint32) map[string]string {
	t.Helper()
	got := map[string]string{}
	for i := range partitions {
		p, err := OpenPartition(context.Background(), s, table.Partition(i), OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := p.Rows(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			if row := rows.Row(); !row.Expired(now) {
				got[fmt.Sprintf("%q/%q", row.HashKey, row.SortKey)] = fmt.Sprintf("%q %v", row.Data, row.ExpireTS > 0)
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

func sameRows(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Fatalf("%s: %s is %.80s, want %.80s", what, k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d rows, want %d", what, len(got), len(want))
	}
}

// TestGolden reads the backups of the C++ cluster.
func TestGolden(t *testing.T) {
	g := repo.Golden(t)
	for _, r := range allRecorded {
		t.Run(r.table.String(), func(t *testing.T) {
			s := openStore(t, filepath.Join(g, r.tree))
			info, err := ReadTable(context.Background(), s, r.table)
			if err != nil || info.PartitionCount != r.partitions {
				t.Fatalf("%+v, %v", info, err)
			}
			i, err := ReadInfo(context.Background(), s, r.table.Location)
			if err != nil || i.Tables()[r.table.AppID] != r.table.Name {
				t.Fatalf("%+v, %v", i, err)
			}
			sameRows(t, r.table.String(), live(t, s, r.table, r.partitions, r.clock()), r.expected(t, g))
		})
	}
}

// TestGoldenDocuments: what upstream wrote is read and written again to the same bytes.
func TestGoldenDocuments(t *testing.T) {
	g := repo.Golden(t)
	read := func(elements ...string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(append([]string{g}, elements...)...))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	again := func(what string, b []byte, v any, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		out, err := encode(v)
		if err != nil || !bytes.Equal(out, bytes.TrimRight(b, "\n")) {
			t.Errorf("%s: %s, want %s, %v", what, out, b, err)
		}
	}
	for _, l := range []string{"cold-backup/onebox/1795388400586", "backup-policy/tree-onebox/1795393398250", "backup-policy/tree-onebox/1795393458022"} {
		b := read(l, infoFile)
		i, err := ParseInfo(b)
		again(l, b, i, err)
	}
	b := read("backup-policy/tree-onebox/1795393458022/adm_2/meta", statusFile)
	status, err := ParseStatus(b)
	again("status", b, status, err)
	b = read("cold-backup/onebox/1795388400586/mig_1/meta", tableFile)
	info, err := ParseTable(b)
	if err != nil {
		t.Fatal(err)
	}
	out, err := EncodeTable(&info)
	if err != nil || !bytes.Equal(out, b) {
		t.Errorf("%s, want %s, %v", out, b, err)
	}
	dirs, err := filepath.Glob(filepath.Join(g, "cold-backup/onebox/*/mig_1/*/chkpt_*"))
	if err != nil || len(dirs) != 4 {
		t.Fatal(dirs, err)
	}
	for _, dir := range dirs {
		b, err := os.ReadFile(filepath.Join(dir, metadataFile))
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseMetadata(b)
		again(dir, b, m, err)
		name := strings.TrimPrefix(dir, filepath.Dir(dir)+"/")
		if c, err := ParseCurrent([]byte(name)); err != nil || c != name {
			t.Errorf("%q, %v", c, err)
		}
	}
}
