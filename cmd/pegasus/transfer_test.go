package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/client/clienttest"
)

// Rows go into a table, out of it and into another one; what can't be is told, and leaves nothing half done.
func TestTransferCommands(t *testing.T) {
	k := clienttest.Start(t, 2)
	k.CreateTable("t", 4, 1)
	k.CreateTable("u", 8, 1)
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	save := func(name, text string) string {
		if err := os.WriteFile(in(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return in(name)
	}
	people := save("people.csv", "id,country,name,days\n1,DE,Ada,9000\n2,FR,\"B, b\",\n3,,,x\n")
	step := func(status int, want string, args ...string) string {
		t.Helper()
		var out, errw bytes.Buffer
		if got := run(t.Context(), append(args, "--meta", k.Meta), &out, &errw); got != status || !strings.Contains(out.String()+errw.String(), want) {
			t.Fatalf("%q: status %d, %s%s\nwant %d, %s", args, got, out.String(), errw.String(), status, want)
		}
		return out.String()
	}
	mapped := []string{"--hash-key", "user:{id}", "--sort-key", "{country}", "--value", "{name}"}
	step(1, "there is no column nobody", append([]string{"import", people, "t", "--hash-key", "{nobody}"}, mapped[2:]...)...)
	step(1, "people.csv:4: column days is \"x\": give a number", append([]string{"import", people, "t", "--ttl", "days"}, mapped...)...)
	step(0, "3 rows could be written into table t; nothing was", append([]string{"import", people, "t", "--dry-run"}, mapped...)...)
	step(2, "2 rows of table t are written", append([]string{"import", people, "t", "--ttl", "days", "--rejects", in("bad")}, mapped...)...)
	var bad struct {
		File, Error string
		Line        int
	}
	if b, err := os.ReadFile(in("bad")); err != nil || json.Unmarshal(b, &bad) != nil || bad.File != people || bad.Line != 4 || bad.Error != `column days is "x": give a number` {
		t.Errorf("%s, %v", b, err)
	}
	step(1, "the file for rows that can't be written", append([]string{"import", people, "t", "--rejects", in("no/such/dir")}, mapped...)...)
	step(0, "", append([]string{"import", people, "t", "--state", in("state")}, mapped...)...)
	step(0, "3 were dealt with before", append([]string{"import", people, "t", "--state", in("state")}, mapped...)...)
	step(1, "write the state file", append([]string{"import", people, "u", "--state", in("no/state")}, mapped...)...)
	step(0, "0", "count", "u")
	step(1, "is read, so it can't be", append([]string{"import", people, "t", "--rejects", people}, mapped...)...)
	if b, err := os.ReadFile(people); err != nil || len(b) == 0 {
		t.Errorf("the input is now %q, %v", b, err)
	}
	step(0, "3 rows of table t are written", append([]string{"import", people, "t", "--rejects", os.DevNull}, mapped...)...)
	step(1, "can't be read again", "import", os.DevNull, "t", "-f", "csv", "--state", in("state2"))
	step(1, "is a directory", "import", dir, "t", "-f", "csv")
	step(1, "it is there and is no file", "export", "t", os.DevNull, "-f", "csv")
	step(1, "it is there and is no file", "export", "t", dir, "-f", "csv")
	step(1, "no such file", "import", in("none.csv"), "t")
	step(1, "doesn't say what it is", "import", save("x.txt", ""), "t")
	step(1, "unknown encoding", "import", people, "t", "--encoding", "rot13")
	step(1, "give --format", "import", "-", "t")
	step(3, "the table doesn't exist", append([]string{"import", people, "nobody"}, mapped...)...)

	step(0, "3 rows of table t are in", "export", "t", in("out.csv"), "--encoding", "text")
	if b, err := os.ReadFile(in("out.csv")); err != nil || !strings.Contains(string(b), `,user:2,FR,"B, b",`) {
		t.Errorf("%s, %v", b, err)
	}
	step(0, "4 files", "export", "t", in("split"), "--split", "--format", "parquet")
	step(0, "0 files, and 4 that were there", "export", "t", in("split"), "--split", "--format", "parquet")
	step(1, "is of another export", "export", "u", in("split"), "--split", "--format", "parquet")
	step(1, "leave --encoding out", "export", "t", in("a.parquet"), "--encoding", "text")
	if out := step(0, "", "export", "t", "-"); strings.Count(out, "\n") != 3 {
		t.Error(out)
	}
	step(0, "1 rows", "export", "t", "file://"+dir+"/url.jsonl", "--sort-filter", "prefix:F")
	step(0, "1 rows of table u are written", "import", "file://"+dir+"/url.jsonl", "u")
	parts, _ := filepath.Glob(in("split/part-*"))
	step(0, "3 rows of table u are written", append(append([]string{"import"}, parts...), "u")...)

	step(1, "can't be copied into itself", "copy", "t", "t")
	step(0, "3 rows of table t are copied", "copy", "t", "u", "--to", k.Meta, "--rate", "1000")
	step(0, "rows 3, hash keys 3, rows that expire 0", "count", "u", "--stats", "--top", "1")
	step(1, "say which rows are to be removed", "clear", "u", "--yes")
	step(1, "nothing is removed", "clear", "u", "--all")
	step(0, "1 rows of table u are removed", "clear", "u", "--hash-filter", "postfix:2", "--yes")
	step(0, "2", "count", "u")
	step(0, "", "scan", "u", "--to-file", in("scan"))
	if b, err := os.ReadFile(in("scan")); err != nil || strings.Count(string(b), "\n") != 2 {
		t.Errorf("%s, %v", b, err)
	}
	step(0, `"written":2`, "clear", "u", "--all", "--yes", "-o", "json")
}

// What is wrong in a file is told with its name and line, and the other rows are written; a file for bad rows that takes nothing ends the import.
func TestImportOfBadFiles(t *testing.T) {
	k := clienttest.Start(t, 1)
	k.CreateTable("t", 2, 1)
	name := filepath.Join(t.TempDir(), "bad")
	for _, x := range []struct {
		format, text, want string
		status             int
	}{
		{"csv", "hash_key,sort_key,value\na,b\nc,d,e\nf,g,h,i\n", "bad:2: it has 2 columns, the first line has 3\nbad:4: it has 4 columns, the first line has 3\n1 rows of table t are written", 2},
		{"csv", "hash_key,sort_key,value\na,b,c\n\"a\"b,c,d\n", "bad:3: ", 1},
		{"jsonl", "{\"hash_key\":\"a\",\"sort_key\":\"\",\"value\":\"\"}\n{\"hash_key\":\"\xff\",\"sort_key\":\"\",\"value\":\"\"}\n", "bad:2: it isn't UTF-8\n1 rows of table t are written", 2},
		{"jsonl", "{\"hash_key\":\"" + strings.Repeat("k", 1<<16) + "\",\"sort_key\":\"\",\"value\":\"\"}\n", "bad:1: hash key has 65536 bytes, the most is 65534", 2},
		{"parquet", "PAR1 and no more", "bad: it is no Parquet file, or not a whole one", 1},
		{"csv", "hash_key;sort_key;value\na;b;c\n", "bad: the only column is \"hash_key;sort_key;value\": give the delimiter, if it isn't ','", 1},
		{"csv", "\x1f\x8b\x08", "bad: it is packed by gzip", 1},
	} {
		if err := os.WriteFile(name, []byte(x.text), 0o644); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		status := run(t.Context(), []string{"import", name, "t", "--format", x.format, "--encoding", "raw", "--max-bad", "-1", "--meta", k.Meta}, &out, &out)
		got := strings.ReplaceAll(out.String(), filepath.Dir(name)+"/", "")
		if status != x.status || !strings.Contains(got, x.want) {
			t.Errorf("%q: status %d, %s\nwant %d, %s", x.text[:min(len(x.text), 40)], status, got, x.status, x.want)
		}
	}
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skip(err)
	}
	if err := os.WriteFile(name, []byte("hash_key,sort_key,value\na,b\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if status := run(t.Context(), []string{"import", name, "t", "--format", "csv", "--rejects", full, "--meta", k.Meta}, &out, &out); status != 1 ||
		!strings.Contains(out.String(), name+":2: it has 2 columns, the first line has 3) to "+full) {
		t.Errorf("status %d, %s", status, out.String())
	}
}

// An import that goes on writes no bad row twice, and none behind a line that isn't whole.
func TestRejectsGoOn(t *testing.T) {
	k := clienttest.Start(t, 1)
	k.CreateTable("t", 2, 1)
	dir := t.TempDir()
	name, rejects, state := filepath.Join(dir, "in.csv"), filepath.Join(dir, "rejects"), filepath.Join(dir, "state")
	var in strings.Builder
	in.WriteString("hash_key,sort_key,value\n")
	for i := range 300 {
		fmt.Fprintf(&in, "YQ==,,%s\n", []string{"YQ==", "?"}[i%2])
	}
	if err := os.WriteFile(name, []byte(in.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	imported := func(want string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		run(t.Context(), append([]string{"import", name, "t", "--state", state, "--rejects", rejects, "--meta", k.Meta}, args...), &out, &out)
		if !strings.Contains(out.String(), want) {
			t.Fatalf("%s\nwant %s", out.String(), want)
		}
	}
	imported("49 bad rows are more than --max-bad 48 allows", "--max-bad", "48")
	b, err := os.ReadFile(rejects)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rejects, b[:len(b)-5], 0o644); err != nil { // as a full disk or a kill leaves it
		t.Fatal(err)
	}
	imported("150 rows were left out")
	if b, err = os.ReadFile(rejects); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	for i, l := range lines {
		var row struct{ Line int }
		if err := json.Unmarshal([]byte(l), &row); err != nil || row.Line != 2*i+3 {
			t.Fatalf("line %d: %s, %v", i+1, l, err)
		}
	}
	if len(lines) != 150 {
		t.Errorf("%d rows, want 150", len(lines))
	}
}
