package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestDefaults(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatalf("the defaults aren't valid: %v", err)
	}
	if c.FD.Lease.D() != 8*time.Second || c.Cluster.MetaServers[0] != "127.0.0.1:34601" || c.WAL.Sync != "always" {
		t.Fatalf("defaults not taken from the tags: %+v", c)
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range keys() {
		if seen[k.path()] {
			t.Errorf("%s: the key is listed twice", k.path())
		}
		seen[k.path()] = true
		if k.name == "" || k.section == "" || k.def == "" || len(k.doc) < 15 || len(k.sectionDoc) < 15 {
			t.Errorf("%s: the tags toml, def and doc must be filled: %+v", k.path(), k)
		}
		var c Config
		if err := setDefault(&c, k); err != nil {
			t.Errorf("%s: default: %v", k.path(), err)
		}
	}
}

// The example is a valid file, and its keys written out are the defaults.
func TestExample(t *testing.T) {
	text := Example()
	if _, err := Parse("example", text); err != nil {
		t.Fatal(err)
	}
	once, clusters, ok := bytes.Cut(text, []byte("\n#[clusters.NAME]\n"))
	if !ok {
		t.Fatal("the example lacks [clusters.NAME]")
	}
	clusters, many, ok := bytes.Cut(clusters, []byte("\n#[blob.NAME]\n"))
	if !ok {
		t.Fatal("the example lacks [blob.NAME]")
	}
	uncomment := func(b []byte) []byte { return regexp.MustCompile(`(?m)^#([a-z0-9_]+ = )`).ReplaceAll(b, []byte("$1")) }
	written := uncomment(once)
	c, err := Parse("example", written)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Fatalf("the example's values differ from the defaults:\n%+v\n%+v", c, Default())
	}
	if n := bytes.Count(written, []byte("\n")) - len(keys()); n < len(keys()) {
		t.Fatalf("only %d lines beside %d keys", n, len(keys()))
	}
	named, err := Parse("example", bytes.Replace(append([]byte("[blob.NAME]\n"), uncomment(many)...), []byte("path = \"\""), []byte("path = \"/x\""), 1))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultBlob()
	want.Path = "/x"
	if !reflect.DeepEqual(named.Blob, map[string]Blob{"NAME": want}) {
		t.Fatalf("the example's store differs from the defaults: %+v", named.Blob)
	}
	named, err = Parse("example", append([]byte("[clusters.NAME]\n"), uncomment(clusters)...))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(named.Clusters, map[string]Remote{"NAME": {MetaServers: []string{}}}) {
		t.Fatalf("the example's cluster differs from the defaults: %+v", named.Clusters)
	}
	for _, k := range append(keys(), templates("")...) {
		if !bytes.Contains(text, []byte("\n#"+k.name+" = "+k.def+"\n")) {
			t.Errorf("the example lacks %s", k.path())
		}
	}
}

func TestCheckedInExample(t *testing.T) {
	have, err := os.ReadFile("../../config.toml.example")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, Example()) {
		t.Fatal("config.toml.example isn't what the tags of config.go give: run make gen")
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct{ name, file, want string }{
		{"unknown key", "[replica]\n\nlisten = \"127.0.0.1:1\"\nlisten_addres = 1\n",
			"f.toml:4: replica.listen_addres: unknown key; remove it (`pegasus config example` prints every key)"},
		{"mistyped key", "[replica]\ndata_dir = [\"x\"]\n", "f.toml:2: replica.data_dir: unknown key; did you mean replica.data_dirs?"},
		{"key of another section", "[meta]\nbeacon_interval = \"1s\"\n", "f.toml:2: meta.beacon_interval: unknown key; did you mean failure_detector.beacon_interval?"},
		{"key without section", "beacon_interval = \"1s\"\n", "f.toml:1: beacon_interval: unknown key; did you mean failure_detector.beacon_interval?"},
		{"unknown section", "[replika]\nlisten = \"a:1\"\n", "f.toml:1: replika: unknown key; did you mean replica?"},
		{"nested section", "[replica.more]\nx = 1\n", "f.toml:1: replica.more: unknown key; remove it"},
		{"section as value", "meta = 3\n", "f.toml:1: meta: is a section, not a value; write [meta] on a line of its own"},
		{"wrong type", "[rpc]\nmax_connections = \"many\"\n", "f.toml:2: rpc.max_connections: the value must be a whole number; write, for example, max_connections = 20000"},
		{"no duration", "[failure_detector]\nlease = \"8 parsecs\"\n", "f.toml:2: failure_detector.lease: the value must be a duration; write, for example, lease = \"8s\""},
		{"bare number as duration", "[failure_detector]\nlease = 8\n", "f.toml:2: failure_detector.lease: the value must be a duration"},
		{"not a list", "[replica]\ndata_dirs = \"/data\"\n", "f.toml:2: replica.data_dirs: the value must be a list of strings; write, for example, data_dirs = [\"data/replica\"]"},
		{"too small", "[storage]\ncompactions = 0\n", "f.toml:2: storage.compactions: 0 is too small; write at least 1, the default is 2"},
		{"negative", "[wal]\nmax_bytes = -1\n", "f.toml:2: wal.max_bytes: -1 is too small"},
		{"too short", "[meta]\nraft_heartbeat = \"1ms\"\n", "f.toml:2: meta.raft_heartbeat: 1ms is too short; write at least 50ms"},
		{"zero duration", "[rpc]\nidle_timeout = \"0s\"\n", "f.toml:2: rpc.idle_timeout: 0s is too short"},
		{"not one of", "[wal]\nsync = \"never\"\n", "f.toml:2: wal.sync: \"never\" is not a valid value; write one of always, os"},
		{"bad address", "[replica]\nlisten = \"34801\"\n", "f.toml:2: replica.listen: \"34801\" is not an address of the form host:port; write host:port, for example listen = \"127.0.0.1:34801\""},
		{"bad port", "[replica]\nlisten = \"h:70000\"\n", "f.toml:2: replica.listen: \"h:70000\": the port must be a number from 1 to 65535"},
		{"any host", "[replica]\nlisten = \"0.0.0.0:34801\"\n", "f.toml:2: replica.listen: \"0.0.0.0:34801\": other servers and clients can't reach the server at 0.0.0.0"},
		{"any host, and no other address", "[meta]\nlisten = \"0.0.0.0:34601\"\n", "write the address that they reach it by into meta.advertise"},
		{"any host for others", "[replica]\nadvertise = \"0.0.0.0:34801\"\n", "f.toml:2: replica.advertise: \"0.0.0.0:34801\": other servers and clients can't reach the server at 0.0.0.0"},
		{"no port for others", "[replica]\nadvertise = \"pod-1\"\n", "write host:port, for example advertise = \"10.0.0.1:34801\""},
		{"IPv6, and no address that clients can be told", "[replica]\nlisten = \"[::1]:34801\"\n", "only IPv4"},
		{"IPv6 for others", "[replica]\nlisten = \"[::]:34801\"\nadvertise = \"[fd00::1]:34801\"\n", "f.toml:3: replica.advertise"},
		{"IPv6 metas", "[cluster]\nmeta_servers = [\"[fd00::1]:34601\"]\n", "only IPv4"},
		{"empty list", "[cluster]\nmeta_servers = []\n", "f.toml:2: cluster.meta_servers: the list is empty"},
		{"too large", "[storage]\nmax_iteration_count = 9223372036854775807\n", "f.toml:2: storage.max_iteration_count: 9223372036854775807 is too large; write at most 1000000000"},
		{"too long", "[failure_detector]\ngrace = \"9000h\"\n", "f.toml:2: failure_detector.grace: 9000h0m0s is too long; write at most 10m"},
		{"table without partitions", "[meta]\ndefault_tables = [\"temp:0:3\"]\n", "f.toml:2: meta.default_tables: \"temp:0:3\" has 0 partitions; write 1 to 65536"},
		{"table without count", "[meta]\ndefault_tables = [\"temp\"]\n", "\"temp\" is not a table; write NAME:PARTITIONS:REPLICAS"},
		{"table without replicas", "[meta]\ndefault_tables = [\"temp:8\"]\n", "write NAME:PARTITIONS:REPLICAS"},
		{"table without name", "[meta]\ndefault_tables = [\":8:3\"]\n", "write NAME:PARTITIONS:REPLICAS"},
		{"table with words", "[meta]\ndefault_tables = [\"temp:x:3\"]\n", "write NAME:PARTITIONS:REPLICAS"},
		{"table with many partitions", "[meta]\ndefault_tables = [\"temp:4294967304:3\"]\n", "write NAME:PARTITIONS:REPLICAS"},
		{"table with many replicas", "[meta]\ndefault_tables = [\"temp:8:99\"]\n", "\"temp:8:99\" has 99 replicas; write 1 to 5"},
		{"table twice", "[meta]\ndefault_tables = [\"a:b:1:1\", \"a:b:2:1\"]\n", "table \"a:b\" is listed twice"},
		{"tag twice", "[replica]\ndata_dirs = [\"a:/x\", \"a:/y\"]\n", "f.toml:2: replica.data_dirs: two directories have the tag \"a\"; give each"},
		{"tag of an index", "[replica]\ndata_dirs = [\"d2:/x\", \"/y\"]\n", "two directories have the tag \"d2\""},
		{"path twice", "[replica]\ndata_dirs = [\"/x/y\", \"b:/x//y/\"]\n", "\"/x//y/\" is listed twice"},
		{"no path", "[replica]\ndata_dirs = [\"a:\"]\n", "\"a:\" has no path"},
		{"meta twice", "[cluster]\nmeta_servers = [\"a:1\",\"a:1\"]\n", "f.toml:2: cluster.meta_servers: \"a:1\" is listed twice"},
		{"lease over grace", "[failure_detector]\nlease = \"10s\"\n", "f.toml:2: failure_detector.lease: 10s is not shorter than failure_detector.grace, 9s"},
		{"syntax", "[replica]\nlisten = \n", "f.toml:2: not valid TOML: expected value"},
		{"store without path", "[blob.x]\ntype = \"local\"\n", "f.toml:1: blob.x.path: \"\" is no absolute path; write the directory, for example path = \"/mnt/backup\""},
		{"relative path", "[blob.x]\npath = \"b\"\n", "f.toml:2: blob.x.path: \"b\" is no absolute path"},
		{"unknown kind", "[blob.x]\ntype = \"ftp\"\n", "f.toml:2: blob.x.type: \"ftp\" is not a valid value; write one of local, s3, hdfs"},
		{"unknown key of a store", "[blob.x]\npath = \"/b\"\ns3_buckett = \"b\"\n", "f.toml:3: blob.x.s3_buckett: unknown key; did you mean blob.x.s3_bucket?"},
		{"key of another kind", "[blob.x]\npath = \"/b\"\ns3_bucket = \"b\"\n", "f.toml:3: blob.x.s3_bucket: has no meaning for type \"local\"; remove it, or change the type"},
		{"no bucket", "[blob.x]\ntype = \"s3\"\n", "f.toml:1: blob.x.s3_bucket: is missing; write the name of a bucket"},
		{"no URL", "[blob.x]\ntype = \"s3\"\ns3_bucket = \"b\"\ns3_endpoint = \"h:1\"\n", "f.toml:4: blob.x.s3_endpoint: \"h:1\" is no URL; write http:// or https://"},
		{"no time", "[blob.x]\npath = \"/b\"\ntimeout = 3\n", "f.toml:3: blob.x.timeout: the value must be a duration; write, for example, timeout = \"1m\""},
		{"store without a name", "[blob]\npath = \"/b\"\n", "f.toml:2: blob.path: is a value, or a list of sections; write [blob.NAME] on a line of its own"},
		{"stores as a list", "[[blob.x]]\npath = \"/b\"\n", "f.toml:1: blob.x: is a value, or a list of sections"},
		{"stores as a value", "blob = 1\n", "f.toml:1: blob: is a section, not a value; write [blob.NAME] on a line of its own"},
		{"number of two clusters", "[clusters.a]\nid = 2\n[clusters.b]\nmeta_servers = [\"h:1\"]\nid = 2\n", "f.toml:5: clusters.b.id: 2 is also that of a; give each cluster a number of its own"},
		{"own number", "[cluster]\nid = 2\n[clusters.a]\nid = 2\n", "f.toml:4: clusters.a.id: 2 is also that of onebox"},
		{"two own numbers", "[cluster]\nid = 2\n[clusters.onebox]\nid = 3\n", "f.toml:4: clusters.onebox.id: is 3, and cluster.id is 2; give this cluster the same number in both places"},
		{"number too large", "[cluster]\nid = 128\n", "f.toml:2: cluster.id: 128 is too large; write at most 127"},
		{"meta server without a port", "[clusters.a]\nmeta_servers = [\"h\"]\n", "f.toml:2: clusters.a.meta_servers"},
		{"name with a dot", "[blob.\"a.b\"]\npath = \"/b\"\n", "\"a.b\" is no valid name; write 1 to 64 characters"},
		{"key twice", "[wal]\nsync = \"os\"\nsync = \"os\"\n", "f.toml:3: not valid TOML:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("f.toml", []byte(tc.file))
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %s\nwant %s", err, tc.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestNamedSections(t *testing.T) {
	for _, k := range templates("") {
		if k.name == "" || k.def == "" || len(k.doc) < 15 || len(k.sectionDoc) < 15 {
			t.Errorf("%s: the tags toml, def and doc must be filled", k.path())
		}
	}
	text := "[blob.local_service]\npath = \"/b\"\n\n[blob.s]\ntype = \"s3\"\ntimeout = \"3s\"\ns3_bucket = \"b\"\n"
	c, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Blob["s"]; len(c.Blob) != 2 || got.Bucket != "b" || got.Timeout.D() != 3*time.Second || got.UploadRate != 200<<20 {
		t.Fatalf("read %+v", c.Blob)
	}
	if b, err := Marshal(c); err != nil || string(b) != text {
		t.Fatalf("written as\n%s%v", b, err)
	}
	found := ""
	for _, e := range c.Entries() {
		if e.Path() == "blob.s.s3_bucket" {
			found = e.Value
		}
	}
	if found != "b" {
		t.Fatalf("Entries has %q for the bucket", found)
	}
}

// Every number has a limit that is far from where multiplying overflows, and what a key's
// explanation says of 0 can be written.
func TestNumbersAreBounded(t *testing.T) {
	for _, k := range keys() {
		c := Default()
		most, zero := "9223372036854775807", "0"
		switch k.kind() {
		case "a duration":
			most, zero = "2000000h", "0s"
		case "a whole number":
		default:
			continue
		}
		if err := c.Set(k.path(), most); err == nil || !strings.Contains(err.Error(), "write at most") {
			t.Errorf("%s = %s: %v", k.path(), most, err)
		}
		if err := c.Set(k.path(), "-"+most); err == nil {
			t.Errorf("%s = -%s is accepted", k.path(), most)
		}
		if strings.Contains(k.doc, "0 disables") || strings.Contains(k.doc, "0 deletes") || strings.Contains(k.doc, "0 keeps") || strings.Contains(k.doc, "0 applies") || strings.Contains(k.doc, "0 uses") {
			if err := c.Set(k.path(), zero); err != nil {
				t.Errorf("%s is said to take 0: %v", k.path(), err)
			}
		}
	}
}

func TestSplitDataDir(t *testing.T) {
	for _, c := range []struct{ in, tag, path string }{
		{"ssd:/d/1", "ssd", "/d/1"}, {"/d/1", "d3", "/d/1"}, {"data/replica", "d3", "data/replica"},
		{"/mnt/a:b", "d3", "/mnt/a:b"}, {"ssd:/mnt/a:b", "ssd", "/mnt/a:b"}, {"./a:b", "d3", "./a:b"}, {":/x", "d3", ":/x"},
	} {
		if tag, path := SplitDataDir(c.in, 2); tag != c.tag || path != c.path {
			t.Errorf("%q: %q %q", c.in, tag, path)
		}
	}
}

func TestDefaultTables(t *testing.T) {
	c := Default()
	c.Meta.DefaultTables = []string{"temp:8:3", "a:b:1:1"}
	list, err := c.Meta.Tables()
	if want := []Table{{"temp", 8, 3}, {"a:b", 1, 1}}; err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("%+v, %v", list, err)
	}
	c.Meta.DefaultTables = []string{"temp:0:3"}
	if _, err := c.Meta.Tables(); err == nil || !strings.HasPrefix(err.Error(), "meta.default_tables: ") {
		t.Error(err)
	}
}

func TestWarnings(t *testing.T) {
	c := Default()
	c.Storage.SweepDelay, c.FD.ClockTolerance = Duration(30*time.Second), Duration(10*time.Second)
	for n, want := range []string{1: "", 2: "two meta servers have no majority while one of them is down: use one, or three", 3: "", 4: "4 meta servers tolerate the loss of 1, as 3 do: use 3 or 5", 5: ""} {
		c.Cluster.MetaServers = nil
		for i := range n {
			c.Cluster.MetaServers = append(c.Cluster.MetaServers, fmt.Sprintf("h:%d", i+1))
		}
		if got := strings.Join(c.Warnings(), "\n"); n > 0 && (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%d metas: %q", n, got)
		}
	}
	for dirs, want := range map[string]bool{"a:/x b:/x/y": true, "b:/x/y/../z /x/": true, "a:x b:x/y": true, "/x /xy": false, "/x/a /x/b": false, "/..x /x": false} {
		c.Replica.DataDirs = strings.Fields(dirs)
		if got := strings.Join(c.Warnings(), "\n"); strings.Contains(got, "both are on one disk") != want {
			t.Errorf("%s: %q", dirs, got)
		}
	}
	c.Replica.DataDirs = Default().Replica.DataDirs
	c.FD.ClockTolerance = Duration(time.Minute)
	if got := c.Warnings(); len(got) != 1 || !strings.Contains(got[0], "clock_tolerance") {
		t.Errorf("%q", got)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	_, err := Load(path)
	if err == nil || !strings.Contains(err.Error(), path+": can't be read: no such file or directory") {
		t.Fatalf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("[meta]\ndata_dir = \"d\"\n[failure_detector]\nlease = \"1s\"\nbeacon_interval = \"300ms\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Meta.DataDir, want.FD.Lease, want.FD.BeaconInterval = "d", Duration(time.Second), Duration(300*time.Millisecond)
	if !reflect.DeepEqual(c, want) {
		t.Fatalf("got %+v", c)
	}
	text, err := Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(text); got != "[meta]\ndata_dir = \"d\"\n\n[failure_detector]\nbeacon_interval = \"300ms\"\nlease = \"1s\"\n" {
		t.Fatalf("Marshal: %q", got)
	}
	if back, err := Parse("again", text); err != nil || !reflect.DeepEqual(back, c) {
		t.Fatalf("written and read again: %+v, %v", back, err)
	}
}

func TestDirectories(t *testing.T) {
	dir := t.TempDir()
	c := Default()
	c.Meta.DataDir = filepath.Join(dir, "no")
	c.Replica.DataDirs = []string{"a:" + dir, "b:" + filepath.Join(dir, "no")}
	wantErr(t, c.CheckMeta("f", false), "f: meta.data_dir: directory", "doesn't exist; create it (mkdir -p ")
	wantErr(t, c.CheckReplica("f"), "f: replica.data_dirs: directory", "doesn't exist")
	c.Meta.DataDir, c.Replica.DataDirs = dir, []string{"a:" + dir, dir}
	if err := c.CheckMeta("f", false); err != nil {
		t.Error(err)
	}
	wantErr(t, c.CheckReplica("f"), "is listed twice")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	c.Replica.DataDirs = []string{"a:" + dir, link}
	wantErr(t, c.CheckReplica("f"), "by another name")
	c.Meta.Listen = "10.0.0.1:5"
	wantErr(t, c.CheckMeta("f", false), "f: meta.listen: \"10.0.0.1:5\" is not one of cluster.meta_servers")
	if err := c.CheckMeta("f", true); err != nil {
		t.Errorf("a member that isn't in the list: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c.Replica.DataDirs = []string{file}
	wantErr(t, c.CheckReplica("f"), "is a file")
	if left, _ := filepath.Glob(filepath.Join(dir, ".writable-*")); len(left) > 0 {
		t.Errorf("the check left %v", left)
	}
}

func wantErr(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q lacks %q", err, p)
		}
	}
}

// Whatever stands in the file: no panic, and an error is one line.
func FuzzParse(f *testing.F) {
	f.Add([]byte("[wal]\nsync = \"os\"\n"))
	f.Add([]byte("[replica]\ndata_dirs = [\"a:/b\", \"c\"]\nlisten=\"h:1\""))
	f.Add([]byte("meta.listen = \"a:1\"\n[[rpc]]\n"))
	f.Add([]byte("[failure_detector]\nlease = \"-1s\"\n\"x\\ny\" = 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("not one line: %q", err)
			}
			return
		}
		text, err := Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse("again", text)
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Fatalf("written and read again:\n%+v\n%+v\n%v", c, back, err)
		}
	})
}

// TestDefaultIsOnesOwn: who changes a list of the defaults changes nobody else's.
func TestDefaultIsOnesOwn(t *testing.T) {
	c := Default()
	c.Cluster.MetaServers[0], c.Replica.DataDirs[0] = "x", "y"
	if d := Default(); d.Cluster.MetaServers[0] == "x" || d.Replica.DataDirs[0] == "y" || d.Meta.WhiteList == nil {
		t.Errorf("the next one has %v, %v, %v", d.Cluster.MetaServers, d.Replica.DataDirs, d.Meta.WhiteList)
	}
}

// A server that listens on all addresses of its machine is known by the one that it advertises, and listed by that.
func TestAdvertise(t *testing.T) {
	c, err := Parse("f.toml", []byte("[cluster]\nmeta_servers = [\"m1:34601\"]\n[meta]\nlisten = \"0.0.0.0:34601\"\nadvertise = \"m1:34601\"\n[replica]\nlisten = \"0.0.0.0:34801\"\nadvertise = \"10.0.0.9:4000\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Meta.Known() != "m1:34601" || c.Replica.Known() != "10.0.0.9:4000" {
		t.Errorf("known by %s and %s", c.Meta.Known(), c.Replica.Known())
	}
	if err := c.CheckListed(false); err != nil {
		t.Error(err)
	}
	c.Meta.Advertise = "m2:34601"
	if err := c.CheckListed(false); err == nil || err.Key != "meta.advertise" {
		t.Errorf("one that isn't listed: %v", err)
	}
}
