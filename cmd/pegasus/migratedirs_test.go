package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/client/clienttest"
	"pegasus/cppdata/cppdatatest"
)

func TestMigrateDirsCommand(t *testing.T) {
	data := cppdatatest.Copy(t, "data-plog-only")
	k := clienttest.Start(t, 3)
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	step := func(status int, want string, args ...string) string {
		t.Helper()
		var out, errw bytes.Buffer
		if got := run(t.Context(), append([]string{"migrate", "dirs"}, args...), &out, &errw); got != status || !strings.Contains(out.String()+errw.String(), want) {
			t.Fatalf("%q: status %d, %s%s\nwant %d, %s", args, got, out.String(), errw.String(), status, want)
		}
		return out.String()
	}
	step(1, "--to and --state are needed", data)
	step(1, "write NAME=NEW_NAME", data, "--dry-run", "--rename", "x")
	step(1, "no replicas of a C++ server", dir, "--dry-run")
	step(0, "table mig (id 1): 4 partitions, 4 replicas found", data, "--dry-run")
	step(0, "to be called other", data, "--dry-run", "--rename", "mig=other")
	var planned struct {
		Table string
		ID    int
		Whole bool
	}
	if err := json.Unmarshal([]byte(step(0, "", data, "--dry-run", "-o", "json")), &planned); err != nil || planned.Table != "mig" || planned.ID != 1 || !planned.Whole {
		t.Fatalf("%+v, %v", planned, err)
	}
	step(0, "table mig (id 1): done: ", data, "--to", k.Meta, "--state", state)
	step(0, "table mig: was done before", data, "--to", k.Meta, "--state", state)
	step(1, "the cluster has a table mig", data, "--to", k.Meta, "--state", state+"2")

	file := filepath.Join(dir, "pegasus.toml")
	if err := os.WriteFile(file, []byte("[wal]\nsegment_bytes = 1048576\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	step(1, "--server is for --in-place", data, "--server", "127.0.0.1:1=x", "--dry-run")
	step(1, "--in-place needs --config", data, "--in-place")
	step(1, "--to is for a running cluster", data, "--in-place", "--to", k.Meta)
	step(1, "write ADDRESS=DIR", data, "--in-place", "--config", file, "--server", "127.0.0.1:34801")
	step(1, "127.0.0.1", data, "--in-place", "--config", file, "--server", "127.0.0.1="+dir)
	place := []string{data, "--in-place", "--config", file, "--server", "127.0.0.1:34801=" + filepath.Join(dir, "a"), "--server", "127.0.0.1:34802=b:" + filepath.Join(dir, "b") + "," + filepath.Join(dir, "b2")}
	step(0, "table mig (id 1): done: 4 partitions of 2 replicas (0 made before), 1900 rows, 0 had expired", place...)
	step(0, "table mig (id 1): was done before: 4 partitions", place...)
	step(1, "begun with other arguments", append(place, "--rename", "mig=x")...)
	var made struct {
		Table   string
		Before  int `json:"partitions_before"`
		Done    bool
		Lacking []string
	}
	_, last, _ := strings.Cut(step(0, "", append(place, "-o", "json")...), "\n") // the first one is what is planned
	if err := json.Unmarshal([]byte(last), &made); err != nil || made.Table != "mig" || made.Before != 4 || !made.Done {
		t.Fatalf("%+v, %v", made, err)
	}

	log, err := filepath.Glob(filepath.Join(data, "replica", "reps", "1.2.pegasus", "plog", "*"))
	if err != nil || len(log) != 1 {
		t.Fatalf("%v, %v", log, err)
	}
	if err := os.Truncate(log[0], 70_000); err != nil {
		t.Fatal(err)
	}
	args := []string{data, "--to", k.Meta, "--state", state + "3", "--rename", "1=part"}
	step(1, "nothing was written", args...)
	step(1, "ends in the middle of a write", data, "--dry-run")
	step(1, "table part (id 2): done, WITH ROWS MISSING", append(args, "--accept-loss")...)
}
