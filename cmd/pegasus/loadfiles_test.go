package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLoadFileCommands: files of a bulk load are made and checked, with good and bad input.
func TestLoadFileCommands(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "store")
	save := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	save("a.csv", "hash_key,sort_key,value\nalice,name,Alice\nbob\\x00,name,Bob\n")
	save("b.jsonl", `{"hash_key":"carol","sort_key":"","value":"","expires":1000000000000}`+"\n"+`{"hash_key":"alice","sort_key":"name","value":"Alice again"}`+"\n")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PEGASUS_CONFIG", "")
	url := "file://" + root
	table := " --table shop --cluster prod"
	to := " --app-id 2 --partitions 3 --to " + url + table
	flip := func() {
		path := filepath.Join(root, "prod/shop/1/00001.sst")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[20] ^= 1
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		args, out, errw string // regular expressions
		status          int
		before          func()
	}{
		{"verify " + url + table, `^$`, `prod/shop/bulk_load_info: not found.*check the path`, 2, nil},
		{"build --text --from A,B" + to, `^$`, `(?s)b.jsonl:1: it expires at 1000000000000: give Unix.*1 of 4 rows can't be loaded, so nothing was written; correct them, or skip`, 1, nil},
		{"build --text --from B --from A" + to, `^$`, `(?s)b.jsonl:1: `, 1, nil},
		{"build --text --skip --from A --from B" + to, `^2 rows for table shop are in prod/shop: 3 files, \d+ bytes; left out 1 can't be loaded, 1 have the keys of a later one\n$`, `a.csv:2: .*b.jsonl:2 has the same keys`, 0, nil},
		{"build --text --from A" + to, `^$`, `prod/shop: it has files, for example prod/shop/0; give another place`, 1, nil},
		{"verify " + url + table, `^2 rows for table shop with id 2 and 3 partitions: 3 files, \d+ bytes, all whole\n$`, "", 0, nil},
		{"verify -o json " + url + table, `^\{"app_id":2,"bytes":\d+,"files":3,"partitions":3,"rows":2,"table":"shop"\}\n$`, "", 0, nil},
		{"verify " + url + table, `^$`, `prod/shop/1/00001.sst`, 2, flip},
		{"verify " + url, `^$`, `--table or --cluster is missing`, 1, nil},
		{"verify file:///not/there" + table, `^$`, `there is no directory /not/there`, 1, nil},
		{"build --from A --to " + url + table, `^$`, `--app-id is missing; .pegasus table ls. shows`, 1, nil},
		{"build --from A --memory 0" + to, `^$`, `--memory" flag: give a whole number, 1 to 1048576`, 5, nil},
		{"build --from /not/there.csv --app-id 2 --partitions 3 --table other --cluster prod --to " + url, `^$`, `/not/there.csv: no such file`, 1, nil},
		{"build --from A --format xml --app-id 2 --partitions 3 --table other --cluster prod --to " + url, `^$`, `unknown format "xml": give one of csv, jsonl, parquet`, 1, nil},
		{"build --from A --app-id 2 --partitions 3 --table a/b --cluster prod --to " + url, `^$`, `the table is "a/b", which can't be the name of a directory`, 1, nil},
		{"nosuch", `^$`, `unknown command "nosuch"`, 5, nil},
		{"start shop", `^$`, `--from or --cluster is missing: the files are in NAME/ROOT/CLUSTER/TABLE`, 1, nil},
		{"start shop --from file:///mnt/x --cluster prod --meta 127.0.0.1:1", `^$`, `--from is NAME/ROOT: the servers read the files from the store \[blob.NAME\]`, 1, nil},
		{"status", `^$`, `TABLE`, 5, nil},
		{"cancel a b", `^$`, `TABLE`, 5, nil},
	} {
		if tc.before != nil {
			tc.before()
		}
		args := strings.Fields(tc.args)
		for i, a := range args {
			a = regexp.MustCompile(`^A\b`).ReplaceAllString(a, filepath.Join(dir, "a.csv"))
			args[i] = regexp.MustCompile(`\bB$`).ReplaceAllString(a, filepath.Join(dir, "b.jsonl"))
		}
		var out, errw bytes.Buffer
		status := run(context.Background(), append([]string{"bulkload"}, args...), &out, &errw)
		if !regexp.MustCompile(tc.out).MatchString(out.String()) || !regexp.MustCompile(tc.errw).MatchString(errw.String()) || status != tc.status || tc.errw == "" && errw.Len() > 0 {
			t.Errorf("bulkload %s: %d\n%s%s", tc.args, status, &out, &errw)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(root, "prod")); len(left) != 1 {
		t.Errorf("%v is left", left)
	}
}
