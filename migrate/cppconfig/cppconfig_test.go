package cppconfig

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pegasus/base/config"
	"pegasus/internal/repo"
)

var update = flag.Bool("update", false, "write the tables of docs/migrating.md")

func convert(t *testing.T, text string, o Options, variables map[string]string) *Result {
	t.Helper()
	keys, _, err := Parse([]byte(text), variables)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Convert(keys, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Lines) != len(keys) {
		t.Fatalf("%d keys, %d in the report", len(keys), len(r.Lines))
	}
	if _, err := config.Parse("made.toml", r.TOML); err != nil {
		t.Fatalf("%v\n%s", err, r.TOML)
	}
	return r
}

// fate finds the line of a key.
func fate(t *testing.T, r *Result, section, name string) Line {
	t.Helper()
	for _, l := range r.Lines {
		if l.Section == section && l.Name == name {
			return l
		}
	}
	t.Fatalf("[%s] %s is not in the report", section, name)
	return Line{}
}

const sample = `; a comment
[apps.meta]
  type = meta
  ports = 34601
[apps.replica]
ports = 34801
[core]
  logging_start_level = LOG_LEVEL_WARNING ; this one, too
[network]
conn_threshold_per_ip = 300
[meta_server]
  server_list = h1:34601, h2:34601,h3:34601
  cluster_root = /pegasus/%{cluster.name}
  enable_white_list = TRUE
  replica_white_list = r1:34801,r2:34801
  meta_function_level_on_start = lively
  hold_seconds_for_dropped_app = 3600
  node_live_percentage_threshold_for_update = 50
[meta_server.apps.stat]
app_name = stat
partition_count = 4
[meta_server.apps.temp]
app_name = temp
partition_count = 0x10
max_replica_count = 5
[replication]
  data_dirs = ssd1:/data1,ssd2:/data2
  cluster_name = %{cluster.name}
  fd_beacon_interval_seconds = 3
  fd_lease_seconds = 20
  fd_grace_seconds = 22
  max_allowed_write_size = 99999999999
  log_private_file_size_mb = 32
  hdfs_read_limit_rate_mb_per_sec = 20
  fd_disabled = false
  no_such_key = 1
[pegasus.server]
  rocksdb_slow_query_threshold_ns = 150000000
  rocksdb_iteration_threshold_time_ms = 0
  rocksdb_compression_type = zstd
  encrypt_data_at_rest = true
  rocksdb_max_iteration_count = many
  server_key = 0123
[duplication-group]
  main = 3
  other = 5
[pegasus.clusters]
  main = h1:34601
  other = o1:34601,o2:34601
[block_service.local_service]
  type = local_service
  args = ../block_service
[block_service.hdfs_service]
  type = hdfs_service
  args = hdfs://name:8020 /backups
[task.RPC_PREPARE]
  is_profile = true
`

func TestConvert(t *testing.T) {
	r := convert(t, sample, Options{Host: "10.0.0.7"}, map[string]string{"cluster.name": "main"})
	c, err := config.Parse("", r.TOML)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Cluster.Name, want.Cluster.ID = "main", 3
	want.Cluster.MetaServers = []string{"h1:34601", "h2:34601", "h3:34601"}
	want.Log.Level = "warn"
	want.RPC.MaxConnectionsPerIP = 300
	set := func(path, v string) {
		t.Helper()
		if err := want.Set(path, v); err != nil {
			t.Fatal(err)
		}
	}
	set("meta.listen", "10.0.0.7:34601")
	set("replica.listen", "10.0.0.7:34801")
	set("meta.white_list", `["r1:34801", "r2:34801"]`)
	set("meta.reserve_time", "1h")
	set("meta.default_tables", `["stat:4:3"]`) // 0x10 is no number in an entry
	set("replica.data_dirs", `["ssd1:/data1", "ssd2:/data2"]`)
	set("failure_detector.grace", "22s")
	set("failure_detector.lease", "20s")
	set("failure_detector.beacon_interval", "3s")
	set("wal.segment_bytes", "33554432")
	set("replica.slow_query_threshold", "150ms")
	set("storage.iteration_threshold_time", "1h")
	want.Clusters = map[string]config.Remote{"other": {MetaServers: []string{"o1:34601", "o2:34601"}, ID: 5}}
	b := config.DefaultBlob()
	b.Type, b.NameNodes, b.Path, b.DownloadRate = "hdfs", []string{"name:8020"}, "/backups", 20<<20
	want.Blob = map[string]config.Blob{"hdfs_service": b}
	got, _ := config.Marshal(c)
	expected, _ := config.Marshal(want)
	if !bytes.Equal(got, expected) {
		t.Errorf("got\n%s\nwant\n%s", got, expected)
	}
	for _, x := range []struct {
		section, name string
		fate          Fate
		why           string
	}{
		{"replication", "fd_lease_seconds", Taken, `ours is "8s"`},
		{"replication", "max_allowed_write_size", Refused, "more than rpc.max_frame_bytes"},
		{"replication", "fd_disabled", Needless, ""},
		{"replication", "no_such_key", Unknown, ""},
		{"meta_server", "meta_function_level_on_start", Unsupported, "set it once"},
		{"meta_server", "cluster_root", Needless, "ZooKeeper"},
		{"meta_server.apps.temp", "app_name", Refused, "is not a table"},
		{"pegasus.server", "encrypt_data_at_rest", Unsupported, "encrypt the disk"},
		{"pegasus.server", "rocksdb_max_iteration_count", Refused, "no whole number"},
		{"pegasus.clusters", "main", Needless, "server_list"},
		{"block_service.local_service", "args", Refused, "no absolute path"},
		{"block_service.local_service", "type", Refused, "no absolute path"},
		{"task.RPC_PREPARE", "is_profile", Needless, ""},
	} {
		if l := fate(t, r, x.section, x.name); l.Fate != x.fate || !strings.Contains(l.Why, x.why) {
			t.Errorf("%+v: want %s, %s", l, x.fate, x.why)
		}
	}
	var report bytes.Buffer
	if err := r.WriteReport(&report); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"[replication] fd_grace_seconds = 22 -> failure_detector.grace = \"22s\"", "Unknown (1):\n  [replication] no_such_key = 1", "1 unknown"} {
		if !strings.Contains(report.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, report.String())
		}
	}
	if strings.Contains(report.String(), "0123") {
		t.Error("the report shows a key of encryption")
	}
}

// Names that nobody filled in are told, and don't get into the file.
func TestPlaceholders(t *testing.T) {
	r := convert(t, sample, Options{}, nil)
	if l := fate(t, r, "replication", "cluster_name"); l.Fate != Open {
		t.Errorf("%+v", l)
	}
	if l := fate(t, r, "duplication-group", "main"); l.Fate != Open || !strings.Contains(l.Why, "name is to be filled in") {
		t.Errorf("%+v", l)
	}
	if l := fate(t, r, "apps.meta", "ports"); l.Fate != Open || !strings.Contains(l.Why, "--listen ADDRESS:34601") {
		t.Errorf("%+v", l)
	}
	r = convert(t, "[meta_server]\nserver_list=@HOST@:34601\n[network]\nexplicit_host_address=10.0.0.9\n[apps.replica]\nports=%port%\n", Options{}, map[string]string{"port": "34802"})
	if l := fate(t, r, "meta_server", "server_list"); l.Fate != Open {
		t.Errorf("%+v", l)
	}
	if l := fate(t, r, "apps.replica", "ports"); l.TOML != `"10.0.0.9:34802"` {
		t.Errorf("%+v", l)
	}
}

func TestRolesAndDefaults(t *testing.T) {
	r := convert(t, sample, Options{Role: "replica", DropDefaults: true}, nil)
	if l := fate(t, r, "meta_server", "hold_seconds_for_dropped_app"); l.Fate != Other {
		t.Errorf("%+v", l)
	}
	if l := fate(t, r, "replication", "fd_lease_seconds"); l.Fate != Kept || !strings.Contains(l.Why, `"8s"`) {
		t.Errorf("%+v", l)
	}
	if bytes.Contains(r.TOML, []byte("[meta]")) || !bytes.Contains(r.TOML, []byte("[replica]")) {
		t.Errorf("%s", r.TOML)
	}
	r = convert(t, sample, Options{Role: "meta"}, nil)
	if bytes.Contains(r.TOML, []byte("[replica]")) || bytes.Contains(r.TOML, []byte("[storage]")) || !bytes.Contains(r.TOML, []byte("[meta]")) {
		t.Errorf("%s", r.TOML)
	}
}

// A value that doesn't go with a default of its section is left out, and with it what is refused for its sake.
func TestRefusedForADefault(t *testing.T) {
	r := convert(t, "[replication]\nfd_grace_seconds=5\nmax_allowed_write_size=2048\n", Options{}, nil)
	if l := fate(t, r, "replication", "fd_grace_seconds"); l.Fate != Refused || !strings.Contains(l.Why, "failure_detector.lease 8s is not shorter") {
		t.Errorf("%+v", l)
	}
	if l := fate(t, r, "replication", "max_allowed_write_size"); l.Fate != Taken {
		t.Errorf("%+v", l)
	}
}

func TestParse(t *testing.T) {
	keys, warnings, err := Parse([]byte("\t[ a ] ; x\r\n k = v # c\r\n  k= w\nescaped = one ^# two ^; three # four\nalone\n;[b]\n empty=\n[b]\nk=1=2\n"), nil)
	want := []Key{{"a", "k", "v", 2}, {"a", "escaped", "one # two ; three", 4}, {"a", "alone", "", 5}, {"a", "empty", "", 7}, {"b", "k", "1=2", 9}}
	if err != nil || !slices.Equal(keys, want) {
		t.Errorf("%+v, %v", keys, err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "line 3") || !strings.Contains(warnings[0], "line 2 counts") {
		t.Errorf("%q", warnings)
	}
	for text, want := range map[string]string{
		"": "empty", " \n": "empty", "a=1\n": "line 1: \"a=1\" stands before", "[a]\n[a]\n": "line 2: the section [a] is there twice", "[a\n": "no section", "[]\n": "no name",
		"[a]=b\n": "no section", "[a]\n=1\n": "no key", "[a]\nk=\x00\n": "not text", "{}x": "/configs", `{"a":{"section":"s"}}`: "not all of", "{\"a\":1}": "/configs",
	} {
		if _, _, err := Parse([]byte(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// What a server of the golden recordings answers to /configs converts, key by key.
func TestGoldenConfigs(t *testing.T) {
	dir := repo.Golden(t)
	for _, name := range []string{"meta-configs", "replica-configs"} {
		data, err := os.ReadFile(filepath.Join(dir, "http", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []Options{{}, {Role: "meta"}, {Role: "replica", DropDefaults: true}} {
			r := convert(t, string(data), o, nil)
			for _, l := range r.Lines {
				if l.Fate == Unknown || l.Fate == Refused || l.Fate == Open {
					t.Errorf("%s, %+v: %s", name, o, l)
				}
			}
			if n := r.Count(Taken); len(r.Lines) != 276 || o.Role == "" && n < 40 {
				t.Errorf("%s: %d keys, %d taken over", name, len(r.Lines), n)
			}
		}
	}
}

// The table names keys that are there, and each of upstream's once.
func TestRules(t *testing.T) {
	c := config.Default()
	known := map[string]bool{"clusters.NAME.id": true, "clusters.NAME.meta_servers": true, "blob.NAME": true, "blob.NAME.type": true, "blob.NAME.upload_bytes_per_second": true, "blob.NAME.download_bytes_per_second": true}
	for _, e := range c.Entries() {
		known[e.Path()] = true
	}
	seen := map[string]bool{}
	for _, r := range rules {
		if (r.fate == Taken) != (r.how != nil) || (r.fate == Taken) != (r.to != "") || r.fate != Taken && r.why == "" {
			t.Errorf("%+v is incomplete", r)
		}
		for to := range strings.SplitSeq(r.to, ", ") {
			if to != "" && !known[to] {
				t.Errorf("[%s] %s: %s is no key", r.section, r.names, to)
			}
		}
		for _, n := range strings.Fields(r.names) {
			if at := r.section + " " + n; seen[at] {
				t.Errorf("%s is there twice", at)
			} else {
				seen[at] = true
			}
		}
	}
}

const (
	begin = "<!-- made by: go test ./migrate/cppconfig -update -->\n"
	end   = "<!-- end of what was made -->\n"
)

// The tables of docs/migrating.md are those of the code.
func TestReference(t *testing.T) {
	const file = "../../docs/migrating.md"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(doc, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines %q and %q", file, begin, end)
	}
	want := slices.Concat(before, []byte(begin), []byte("\n"), Reference(), []byte("\n"), []byte(end), after)
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(doc, want) {
		t.Errorf("%s is not up to date: run go test ./migrate/cppconfig -update", file)
	}
}

// Whatever is read, what is made passes the check, and each key is in the report.
func FuzzImport(f *testing.F) {
	f.Add([]byte(sample), "replica")
	f.Add([]byte(`{"a":{"section":"replication","name":"fd_lease_seconds","value":"1\n2"}}`), "")
	f.Add([]byte("[pegasus.clusters]\na\"b = x:1\n[duplication-group]\nx=1\ny=1\n[block_service.x]\ntype=local_service\nargs=/a\x7f\n"), "meta")
	f.Fuzz(func(t *testing.T, data []byte, role string) {
		keys, _, err := Parse(data, map[string]string{"a": "b"})
		if err != nil {
			return
		}
		r, err := Convert(keys, Options{Role: role, Host: "h"})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Lines) != len(keys) {
			t.Fatalf("%d keys, %d lines", len(keys), len(r.Lines))
		}
		if _, err := config.Parse("", r.TOML); err != nil {
			t.Fatalf("%v\n%s", err, r.TOML)
		}
		if err := r.WriteReport(new(bytes.Buffer)); err != nil {
			t.Fatal(err)
		}
	})
}
