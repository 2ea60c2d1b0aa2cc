package config

import (
	"bytes"
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
			t.Errorf("%s: the key stands twice", k.path())
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
	written := regexp.MustCompile(`(?m)^#([a-z0-9_]+ = )`).ReplaceAll(text, []byte("$1"))
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
	for _, k := range keys() {
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
		{"wrong type", "[rpc]\nmax_connections = \"many\"\n", "f.toml:2: rpc.max_connections: the value is no whole number; write for example max_connections = 20000"},
		{"no duration", "[failure_detector]\nlease = \"8 parsecs\"\n", "f.toml:2: failure_detector.lease: the value is no duration; write for example lease = \"8s\""},
		{"bare number as duration", "[failure_detector]\nlease = 8\n", "f.toml:2: failure_detector.lease: the value is no duration"},
		{"not a list", "[replica]\ndata_dirs = \"/data\"\n", "f.toml:2: replica.data_dirs: the value is no list of strings; write for example data_dirs = [\"data/replica\"]"},
		{"too small", "[storage]\ncompactions = 0\n", "f.toml:2: storage.compactions: 0 is too small; write at least 1, the default is 2"},
		{"negative", "[wal]\nmax_bytes = -1\n", "f.toml:2: wal.max_bytes: -1 is too small"},
		{"too short", "[meta]\nraft_heartbeat = \"1ms\"\n", "f.toml:2: meta.raft_heartbeat: 1ms is too short; write at least 50ms"},
		{"zero duration", "[rpc]\nidle_timeout = \"0s\"\n", "f.toml:2: rpc.idle_timeout: 0s is too short"},
		{"not one of", "[wal]\nsync = \"never\"\n", "f.toml:2: wal.sync: \"never\" is no value of it; write one of always, os"},
		{"bad address", "[replica]\nlisten = \"34801\"\n", "f.toml:2: replica.listen: \"34801\" is no address of the form host:port; write host:port, for example listen = \"127.0.0.1:34801\""},
		{"bad port", "[replica]\nlisten = \"h:70000\"\n", "f.toml:2: replica.listen: \"h:70000\": the port has to be a number from 1 to 65535"},
		{"any host", "[replica]\nlisten = \"0.0.0.0:34801\"\n", "f.toml:2: replica.listen: \"0.0.0.0:34801\": others have to find the server by this address"},
		{"IPv6", "[replica]\nlisten = \"[::1]:34801\"\n", "only IPv4"},
		{"empty list", "[cluster]\nmeta_servers = []\n", "f.toml:2: cluster.meta_servers: the list is empty"},
		{"meta twice", "[cluster]\nmeta_servers = [\"a:1\",\"a:1\"]\n", "f.toml:2: cluster.meta_servers: \"a:1\" stands twice"},
		{"lease over grace", "[failure_detector]\nlease = \"10s\"\n", "f.toml:2: failure_detector.lease: 10s isn't shorter than failure_detector.grace, 9s"},
		{"syntax", "[replica]\nlisten = \n", "f.toml:2: not valid TOML: expected value"},
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
	wantErr(t, c.CheckMeta("f"), "f: meta.data_dir: directory", "doesn't exist; make it (mkdir -p ")
	wantErr(t, c.CheckReplica("f"), "f: replica.data_dirs: directory", "doesn't exist")
	c.Meta.DataDir, c.Replica.DataDirs = dir, []string{"a:" + dir, dir}
	if err := c.CheckMeta("f"); err != nil {
		t.Error(err)
	}
	wantErr(t, c.CheckReplica("f"), "stands twice")
	c.Meta.Listen = "10.0.0.1:5"
	wantErr(t, c.CheckMeta("f"), "f: meta.listen: \"10.0.0.1:5\" is none of cluster.meta_servers")
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
