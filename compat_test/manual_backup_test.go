package compat

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pegasus/compat_test/cluster"
)

// manualRows is how many rows table T gets, in each of its partitions some.
const manualRows = 20

// write gives table T its rows.
func (m *manual) write() {
	m.t.Helper()
	for i := range manualRows {
		if out, err := m.c.CLI(runContext(m.t, time.Minute), "set", "T", string(rune('a'+i)), "1", "value", "--meta", strings.Join(m.c.Metas(), ",")); err != nil {
			m.t.Fatalf("set: %v: %s", err, out)
		}
	}
}

// backups runs the commands of "Backup and restore".
func (m *manual) backups() {
	m.t.Helper()
	m.must("is complete", "pegasus backup create T --provider NAME", "NAME", "backups")
	m.must("is complete", "pegasus backup create T --path spark", "--path", "--provider backups --path")
	m.must("spark/", "pegasus backup ls")
	var list []struct {
		ID   int64  `json:"id"`
		Path string `json:"path"`
	}
	out, err := m.c.CLI(runContext(m.t, time.Minute), "backup", "ls", "-o", "json", "--meta", strings.Join(m.c.Metas(), ","))
	m.do(err)
	m.do(json.Unmarshal([]byte(out), &list))
	if len(list) != 2 {
		m.t.Fatalf("backup ls: %s", out)
	}
	spark, first := list[0], list[1] // the newest comes first
	m.must("complete", "pegasus backup show ID", "ID", strconv.FormatInt(first.ID, 10))
	m.refused("", "pegasus backup cancel ID", "ID", strconv.FormatInt(first.ID, 10)) // it has ended

	// Without the cluster.
	conf := filepath.Join(m.t.TempDir(), "blob.toml")
	m.do(os.WriteFile(conf, []byte("[blob.backups]\npath = \""+m.blobDir+"\"\n"), 0o644))
	place := "backups/" + first.Path
	at := []string{"NAME/ROOT/ID", place + " --config " + conf}
	m.must(first.Path, "pegasus backup ls NAME/", "NAME/", "backups/ --config "+conf)
	m.must("complete and whole", "pegasus backup verify NAME/ROOT/ID", at...)
	m.must(`"ok":true`, "pegasus backup verify file:///mnt/backup/prod/1796000000000 -o json", "file:///mnt/backup/prod/1796000000000", "file://"+m.blobDir+"/"+first.Path)
	m.must(`all +20 +0`, "pegasus backup count NAME/ROOT/ID", at...)
	m.must(`"a" : "1" => "value"`, "pegasus backup get NAME/ROOT/ID HASHKEY [SORTKEY]", append(at, "HASHKEY", "a", " [SORTKEY]", "")...)
	dir := m.t.TempDir()
	for _, c := range []string{
		"pegasus backup export NAME/ROOT/ID --format jsonl --to rows.jsonl",
		"pegasus backup export NAME/ROOT/ID --format csv --text --to rows.csv",
		"pegasus backup export NAME/ROOT/ID --format parquet --to rows.parquet --now 2026-11-29T12:00:00Z",
	} {
		m.must("20 rows of table T", c, append(at, "--to ", "--to "+dir+"/")...)
	}
	csv, err := os.ReadFile(filepath.Join(dir, "rows.csv"))
	m.do(err)
	if !strings.Contains(string(csv), ",a,1,value,,") {
		m.t.Errorf("rows.csv: %s", csv)
	}

	m.loads(dir, conf)

	// Restore.
	tables, err := filepath.Glob(filepath.Join(m.blobDir, first.Path, "T_*"))
	m.do(err)
	if len(tables) != 1 {
		m.t.Fatalf("tables in %s: %q", first.Path, tables)
	}
	m.must("", "pegasus restore NAME/ROOT/ID/TABLE_APPID --as copy --wait", "NAME/ROOT/ID/TABLE_APPID", place+"/"+filepath.Base(tables[0]))
	m.must("copy", "pegasus restore ls")
	m.do(m.c.WaitHealthy("copy", time.Minute))
	m.do(cluster.Poll(time.Minute, func() error {
		out, err := m.c.CLI(runContext(m.t, time.Minute), "count", "copy", "--meta", strings.Join(m.c.Metas(), ","))
		if err == nil && !strings.Contains(out, "20") {
			err = fmt.Errorf("count: %s", out)
		}
		return err
	}))
	m.must("deleted", "pegasus backup delete ID --yes", "ID", strconv.FormatInt(spark.ID, 10))

	// Policies.
	// Its time of day is far from now, or a backup would begin beside what follows.
	policy := []string{"POLICY", "daily", "NAME", "backups", "02:00", time.Now().Add(12 * time.Hour).Format("15:04")}
	m.must("added", "pegasus backup policy add POLICY --tables T,TABLE --provider NAME --every 24h --at 02:00 --keep 7", policy...)
	m.must("daily", "pegasus backup policy ls")
	m.must("daily", "pegasus backup policy show POLICY", policy...)
	m.must("changed", "pegasus backup policy set POLICY --keep 14 --add-tables more", policy...)
	m.must("disabled", "pegasus backup policy disable POLICY --force", policy...)
	m.must("enabled", "pegasus backup policy enable POLICY", policy...)
	m.must("removed", "pegasus backup policy remove POLICY", policy...)
	m.must("ID", "pegasus backup ls --policy POLICY", policy...)
	m.must("is complete", "pegasus backup create TABLE --provider NAME", "NAME", "backups")
}

// loads runs the commands of "Files for bulk loads", those that load them too, with the rows in dir and the stores of a configuration file.
func (m *manual) loads(dir, conf string) {
	m.t.Helper()
	with := func(more ...string) []string {
		return append(more, "--from rows", "--from "+dir+"/rows", "--cluster prod", "--cluster prod --config "+conf, "NAME/", "backups/")
	}
	id := m.tableID("T")
	for _, c := range []struct {
		command string
		replace []string
	}{
		{"pegasus bulkload build --from rows.jsonl --table T --app-id 2 --partitions 4 --cluster prod --to NAME/ROOT", with("ROOT", "loads", "--app-id 2", "--app-id "+id)},
		{"pegasus bulkload build --from rows.csv --text --skip --table T --app-id 2 --partitions 4 --cluster prod --to NAME/text --tmp /tmp", with("NAME/text", "backups/loads-text", "/tmp", m.t.TempDir())},
		{"pegasus bulkload build --from rows.parquet --table T --app-id 2 --partitions 4 --cluster prod --to file:///mnt/loads", with("/mnt/loads", m.t.TempDir())},
	} {
		m.must("20 rows for table T are in ", c.command, c.replace...)
	}
	m.must("20 rows for table T with id "+id+" and 4 partitions", "pegasus bulkload verify NAME/ROOT --table T --cluster prod", with("ROOT", "loads")...)

	// Into the table, which has these rows.
	const start, status = "pegasus bulkload start T --from NAME/ROOT --cluster prod", "pegasus bulkload status T"
	m.must("no files are being loaded into table T, and none were", status)
	m.must("table T has the rows of the files", start, "NAME/ROOT", "backups/loads")
	m.must("table T has the rows of the files", status)
	for _, c := range []string{"pause T", "resume T", "cancel T", "cancel T --force"} {
		m.refused("not executing bulk load", "pegasus bulkload "+c)
	}
	m.must("none were", "pegasus bulkload clear T")
	m.must("none were", "pegasus bulkload status TABLE")
	// Another one, which may be over before it is paused.
	m.must("table T", start, "NAME/ROOT", "backups/loads --wait 0s")
	for _, c := range []string{"pause T", "resume T", "cancel T", "cancel T --force"} {
		m.either("paus|being read|takes|has the rows|canceled|can not (pause|restart|cancel|force cancel) bulk load|not executing bulk load", "pegasus bulkload "+c)
	}
	m.do(cluster.Poll(2*time.Minute, func() error {
		out, err := m.cli(status)
		if err == nil && !strings.HasPrefix(out, "table T has the rows of the files\n") && !strings.Contains(out, "it was canceled; ") {
			err = fmt.Errorf("%s", out)
		}
		return err
	}))
	m.do(cluster.Poll(2*time.Minute, func() error { // not while members remove what they have
		_, err := m.cli("pegasus bulkload clear T")
		return err
	}))
	if out, err := m.c.CLI(runContext(m.t, time.Minute), "count", "T", "--meta", strings.Join(m.c.Metas(), ",")); err != nil || !strings.Contains(out, "20") {
		m.t.Fatalf("count after the loads: %s: %v", out, err)
	}
}

// tableID is the id of a table, as table ls shows it.
func (m *manual) tableID(name string) string {
	m.t.Helper()
	var list []struct {
		ID   int32  `json:"id"`
		Name string `json:"name"`
	}
	out, err := m.c.CLI(runContext(m.t, time.Minute), "table", "ls", "-o", "json", "--meta", strings.Join(m.c.Metas(), ","))
	m.do(err)
	m.do(json.Unmarshal([]byte(out), &list))
	for _, t := range list {
		if t.Name == name {
			return strconv.Itoa(int(t.ID))
		}
	}
	m.t.Fatalf("table ls: %s", out)
	return ""
}
