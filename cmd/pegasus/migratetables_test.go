package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/client/clienttest"
)

// stateFile writes a file of upstream's simple state service, of pairs of path and value.
func stateFile(t *testing.T, nodes ...string) string {
	t.Helper()
	var out []byte
	for i := 0; i < len(nodes); i += 2 {
		body := binary.LittleEndian.AppendUint32(nil, 0)
		for k, typ := range []byte{11, 12} {
			body = append(body, typ, 0, 0)
			body = binary.BigEndian.AppendUint32(body, uint32(len(nodes[i+k])))
			body = append(append(body, nodes[i+k]...), 0)
		}
		out = binary.LittleEndian.AppendUint32(out, 0xdeadbeef)
		out = append(binary.LittleEndian.AppendUint64(out, uint64(len(body))), body...)
	}
	file := filepath.Join(t.TempDir(), "meta_state_service.log")
	if err := os.WriteFile(file, out, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestMigrateTables(t *testing.T) {
	k := clienttest.Start(t, 3)
	do := func(args ...string) (string, string, int) {
		var o, e bytes.Buffer
		status := run(context.Background(), append([]string{"migrate", "tables", "--to", k.Meta}, args...), &o, &e)
		return o.String(), e.String(), status
	}
	app := func(id, name, partitions, envs string) string {
		return `{"status":"app_status::AS_AVAILABLE","app_type":"pegasus","app_name":"` + name + `","app_id":` + id + `,"partition_count":` + partitions + `,"envs":` + envs + `,"is_stateful":1,"max_replica_count":3}`
	}
	const part = `{"ballot":1,"primary":"10.0.0.1:34801"}`
	file := stateFile(t, "/c", "", "/c/apps", "unlock", "/c/apps/7", app("7", "shop", "1", `{"default_ttl":"60","rocksdb.nothing":"1"}`), "/c/apps/7/0", part,
		"/c/apps/9", app("9", "users", "1", "{}"), "/c/apps/9/0", part, "/c/apps/7/duplication", "", "/c/apps/7/duplication/3", `{"remote":"other","status":"DS_LOG","fail_mode":"FAIL_SLOW","remote_app_name":"shop two"}`,
		"/c/backup", "", "/c/backup/daily", `{"policy_name":"daily","backup_provider_type":"hdfs_service","app_ids":[7,9],"app_names":{"7":"shop","9":"users"},"backup_interval_seconds":86400,"backup_history_count_to_keep":3,"is_disable":0,"start_time":{"hour":4,"minute":0}}`)
	o, e, status := do("--from-state", file, "--dry-run")
	if status != 0 || !strings.Contains(o, "this is a dry run") || k.Seen("RPC_CM_CREATE_APP") != 0 {
		t.Fatalf("%d: %s%s", status, o, e)
	}
	o, e, status = do("--from-state", file)
	if status != 0 {
		t.Fatalf("%d: %s%s", status, o, e)
	}
	for _, want := range []string{" 7  shop            1         3  made       1\n", " 9  users           1         3  made       2\n", "table shop: setting rocksdb.nothing is left out: \"1\": ",
		"duplication, to be added by: pegasus dup add shop other --remote-table 'shop two'\n",
		"backup policy, to be added by: pegasus backup policy add daily --provider hdfs_service --tables shop,users --every 24h0m0s --at 04:00 --keep 3\n"} {
		if !strings.Contains(o, want) {
			t.Errorf("lacks %q:\n%s", want, o)
		}
	}
	// Again: what is there is left as it is. What lives there can be read, too, and is the same.
	if o, e, status := do("--from-state", file, "-o", "json"); status != 0 || strings.Count(o, `"action":"there"`) != 2 || !strings.Contains(o, `"new_id":1`) {
		t.Errorf("%d: %s%s", status, o, e)
	}
	if o, e, status := do("--from", k.Meta); status != 0 || strings.Count(o, "  there") != 2 || !strings.Contains(o, "the backup policies are not known") {
		t.Errorf("%d: %s%s", status, o, e)
	}
	other := stateFile(t, "/c", "", "/c/apps", "unlock", "/c/apps/1", app("1", "shop", "2", "{}"), "/c/apps/1/0", part, "/c/apps/1/1", part, "/c/apps/2", app("2", "more", "1", "{}"), "/c/apps/2/0", part, "/c/apps/3", "rubbish")
	o, e, status = do("--from-state", other)
	if status != 1 || !strings.Contains(o, "table shop (1): a table of this name is there already, with 1 partitions") || !strings.Contains(o, " 2  more           1         3  made  ") || !strings.Contains(o, "not read: /c/apps/3 is no table") ||
		!strings.Contains(e, "2 tables or nodes of the C++ metas are not taken over") {
		t.Errorf("%d: %s%s", status, o, e)
	}
	data, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, data[:len(data)-3], 0o644); err != nil {
		t.Fatal(err)
	}
	if o, e, status := do("--from-state", other); status != 1 || !strings.Contains(e, "are no whole record and are left out") || strings.Contains(o, "not read") {
		t.Errorf("%d: %s%s", status, o, e)
	}
	for _, x := range []struct {
		args   []string
		want   string
		status int
	}{
		{nil, "give one of --from-state", 1}, {[]string{"--from-state", file, "--from", "a:1"}, "none of the others can be", 1}, {[]string{"--from-zookeeper", "h:1"}, "names no root", 1},
		{[]string{"--from", "x"}, "--from: ", 5}, {[]string{"--from-state", t.TempDir()}, "no regular file", 1}, {[]string{"--from-state", file, "--root", "/x"}, "no node /x/apps", 1},
	} {
		if o, e, status := do(x.args...); status != x.status || !strings.Contains(e, x.want) {
			t.Errorf("%v: %d: %s%s", x.args, status, o, e)
		}
	}
}
