package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestBlobCommands(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "store")
	file := filepath.Join(dir, "pegasus.toml")
	text := fmt.Sprintf("[blob.local_service]\npath = %q\n", root)
	const sum = "900150983cd24fb0d6963f7d28e17f72"
	for path, content := range map[string]string{file: text, root + "/c1/7/f": "abc", root + "/c1/7/.f.meta": `{"md5":"` + sum + `","size":3}`,
		root + "/c1/bad": "abd", root + "/c1/.bad.meta": `{"md5":"` + sum + `","size":3}`} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PEGASUS_CONFIG", file)
	for _, tc := range []struct {
		args, out, errw string // regular expressions
	}{
		{"ls", `(?s)^NAME +TYPE +WHERE\nlocal_service +local +directory /.*/store\n$`, ""},
		{"ls local_service", `(?m)^ +- +- +c1/$`, ""},
		{"ls local_service /c1/7/", `(?m)^ +3 +20.*Z +c1/7/f$`, ""},
		{"ls -r local_service", `(?s)c1/7/f.*c1/bad`, ""},
		{"ls -o json local_service c1/7", `^\[\{"name":"c1/7/f","size":3,"modified":"20[^"]*Z"\}\]\n$`, ""},
		{"ls -o json", `^\[\{"name":"local_service","type":"local","where":"directory .*/store"\}\]\n$`, ""},
		{"cat local_service c1/7/f", `^abc$`, ""},
		{"cat file://" + root + " c1/7/f --offset 1 --length 1", `^b$`, ""},
		{"cat file://" + root + " c1/7/f --offset 2", `^c$`, ""},
		{"check local_service", `(?s)write +[0-9.]+ +ok.*list.*read a part.*delete.*look up what was deleted +[0-9.]+ +ok\n$`, ""},
		{"check local_service c1/7", `^1 files, .* 0 damaged, 0 without a checksum`, ""},
		{"check local_service /", `(?s)c1/bad.*2 files, .* 1 damaged`, `1 of 2 files are damaged: store them again`},
		{"check -o json local_service c1/7", `^\{"files":1,"bytes":3,"without_checksum":0\}\n$`, ""},
		{"cat local_service c1/bad", `^abd$`, `blob store local_service: read c1/bad: checksum mismatch`},
		{"cat local_service c1/none", `^$`, `blob store local_service: look up c1/none: not found|read c1/none: not found`},
		{"cat local_service ../x", `^$`, `dot`},
		{"ls hdfs_service", `^$`, `no blob store "hdfs_service" \(it has local_service\); add \[blob.hdfs_service\]`},
		{"ls ftp://x", `^$`, `write file:///DIRECTORY`},
		{"check file:///nothing/there?retry_time=0s", `write +[0-9.]+ +failed`, `mounted\?\); check that it is up`},
		{"ls --config nothing.toml", `^$`, `nothing.toml: can't be read`},
		{"ls -o xml", `^$`, `give table, json or jsonl`},
		{"cat local_service", `^$`, `usage: pegasus blob cat NAME PATH`},
	} {
		var out, errw bytes.Buffer
		status := run(context.Background(), append([]string{"blob"}, strings.Fields(tc.args)...), &out, &errw)
		if !regexp.MustCompile(tc.out).MatchString(out.String()) || !regexp.MustCompile(tc.errw).MatchString(errw.String()) || (status == 0) != (tc.errw == "") {
			t.Errorf("blob %s: %d\n%s%s", tc.args, status, &out, &errw)
		}
	}
	if left, err := filepath.Glob(root + "/pegasus-check/*"); err != nil || len(left) > 0 {
		t.Errorf("check left %v, %v", left, err)
	}
}
