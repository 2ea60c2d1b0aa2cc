package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigImport(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "config.ini"), filepath.Join(dir, "ours.toml")
	if err := os.WriteFile(in, []byte("[replication]\n cluster_name = %{name}\n fd_lease_seconds = 7\n fd_lease_seconds = 8\n nothing = 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	do := func(args ...string) (string, string, int) {
		var o, e bytes.Buffer
		status := run(context.Background(), append([]string{"config"}, args...), &o, &e)
		return o.String(), e.String(), status
	}
	o, e, status := do("import", in, "-o", out, "--set", "name=prod")
	if status != 0 || !strings.Contains(o, "3 keys: 2 taken over, 1 unknown\n") || !strings.HasPrefix(e, "warning: "+in+": line 4: ") {
		t.Fatalf("%d: %s\n%s", status, o, e)
	}
	if o, e, status := do("check", out); status != 0 {
		t.Fatalf("%s%s", o, e)
	}
	text, err := os.ReadFile(out)
	if err != nil || !strings.Contains(string(text), "name = \"prod\" # [replication] cluster_name\n") || !strings.Contains(string(text), "lease = \"7s\"") {
		t.Errorf("%v\n%s", err, text)
	}
	if o, e, status := do("import", in); status != 0 || !strings.HasPrefix(o, "# Made by") || !strings.Contains(e, "1 to be filled in") {
		t.Errorf("%d: %s\n%s", status, o, e)
	}
	if o, e, status := do("import", in, "-o", out, "--force", "--json"); status != 0 || !strings.HasPrefix(o, `[{"section":"replication"`) {
		t.Errorf("%d: %s\n%s", status, o, e)
	}
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{in, "-o", out}, "it is there already"},
		{[]string{dir}, "no regular file"},
		{[]string{in + "x"}, "no such file"},
		{[]string{in, "--role", "x"}, "give meta or replica"},
		{[]string{in, "--set", "x"}, "give NAME=VALUE"},
		{[]string{in, "-o", filepath.Join(dir, "none", "x")}, "write the configuration: "},
	} {
		if o, e, status := do(append([]string{"import"}, x.args...)...); status != 1 || !strings.Contains(e, x.want) {
			t.Errorf("%v: %d: %s\n%s", x.args, status, o, e)
		}
	}
}
