package cppmeta

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pegasus/internal/repo"
)

// record writes a record as the C++ server does.
func record(op uint32, path string, value string) []byte {
	body := binary.LittleEndian.AppendUint32(nil, op)
	body = append(body, typeString, 0, 0)
	body = binary.BigEndian.AppendUint32(body, uint32(len(path)))
	body = append(append(body, path...), 0)
	if op == opDelete {
		body = append(body, typeBool, 0, 0, value[0]-'0', 0)
	} else {
		body = append(body, typeStruct, 0, 0)
		body = binary.BigEndian.AppendUint32(body, uint32(len(value)))
		body = append(append(body, value...), 0)
	}
	out := append([]byte{}, magicBytes...)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(body)))
	return append(out, body...)
}

func app(id int, name, status string, partitions int, more string) string {
	return fmt.Sprintf(`{"status":"app_status::%s","app_type":"pegasus","app_name":%q,"app_id":%d,"partition_count":%d,"envs":{"default_ttl":"60"},"is_stateful":1,"max_replica_count":3,"expire_second":0,"create_second":5,"drop_second":0%s}`,
		status, name, id, partitions, more)
}

const part = `{"pid":"1.0","ballot":7,"max_replica_count":3,"primary":"10.0.0.1:34801","secondaries":["10.0.0.2:34801"],"last_drops":[],"last_committed_decree":9,"partition_flags":0}`

func sample() []byte {
	return slices.Concat(
		record(opCreate, "/p", ""), record(opCreate, "/p/c", ""), record(opCreate, "/p/c/apps", "lock"), record(opSet, "/p/c/apps", "unlock"),
		record(opCreate, "/p/c/apps/2", app(2, "t", "AS_AVAILABLE", 2, "")), record(opCreate, "/p/c/apps/2/0", "{}"), record(opCreate, "/p/c/apps/2/1", part), record(opSet, "/p/c/apps/2/0", part),
		record(opCreate, "/p/c/apps/2/duplication", ""), record(opCreate, "/p/c/apps/2/duplication/77", `{"remote":"other","status":"DS_LOG","create_timestamp_ms":1,"fail_mode":"FAIL_SLOW"}`),
		record(opCreate, "/p/c/apps/2/duplication/77/0", "12"),
		record(opCreate, "/p/c/apps/3", app(3, "gone", "AS_DROPPED", 1, `,"is_bulk_loading":true`)), record(opCreate, "/p/c/apps/3/0", part),
		record(opCreate, "/p/c/apps/9", app(9, "x", "AS_AVAILABLE", 1, "")), record(opCreate, "/p/c/apps/9/0", part), record(opDelete, "/p/c/apps/9", "0"), record(opDelete, "/p/c/apps/9", "1"),
		record(opCreate, "/p/c/backup", ""), record(opCreate, "/p/c/backup/daily", `{"policy_name":"daily","backup_provider_type":"hdfs_service","app_ids":[2],"app_names":{"2":"t"},"backup_interval_seconds":86400,"backup_history_count_to_keep":3,"is_disable":1,"start_time":{"hour":4,"minute":0}}`),
	)
}

func TestRead(t *testing.T) {
	tree, torn, err := ReadFile(sample())
	if err != nil || torn != "" {
		t.Fatal(torn, err)
	}
	s, err := Read(tree, "")
	if err != nil {
		t.Fatal(err)
	}
	if s.Root != "/p/c" || len(s.Problems) != 0 || len(s.Tables) != 2 {
		t.Fatalf("%+v", s)
	}
	a := s.Tables[0]
	if a.ID != 2 || a.Name != "t" || !a.Available() || a.Partitions != 2 || a.Replicas != 3 || !maps.Equal(a.Envs, map[string]string{"default_ttl": "60"}) || len(a.Configs) != 2 || a.Configs[0].Primary != "10.0.0.1:34801" || a.Configs[0].Ballot != 7 {
		t.Errorf("%+v", a)
	}
	if b := s.Tables[1]; b.Available() || b.Status != "AS_DROPPED" || !bool(b.BulkLoading) {
		t.Errorf("%+v", b)
	}
	if len(s.Duplications) != 1 || s.Duplications[0] != (Duplication{Table: "t", ID: 77, Remote: "other", Status: "DS_LOG", FailMode: "FAIL_SLOW"}) {
		t.Errorf("%+v", s.Duplications)
	}
	if p := s.Policies; len(p) != 1 || p[0].Name != "daily" || p[0].Interval != 86400 || !bool(p[0].Disabled) || p[0].Start.Hour != 4 || p[0].AppNames["2"] != "t" {
		t.Errorf("%+v", p)
	}
}

// A table that makes no sense is told, and the others are read.
func TestProblems(t *testing.T) {
	tree, _, err := ReadFile(slices.Concat(sample(),
		record(opCreate, "/p/c/apps/4", "{"), record(opCreate, "/p/c/apps/x", "{}"), record(opCreate, "/p/c/apps/5", app(6, "y", "AS_AVAILABLE", 1, "")), record(opCreate, "/p/c/apps/7", app(7, "z", "AS_AVAILABLE", 0, "")),
		record(opCreate, "/p/c/apps/8", app(8, "most", "AS_AVAILABLE", 1<<30, "")), record(opCreate, "/p/c/apps/8/5", "[]"), record(opCreate, "/p/c/apps/2/2", part), record(opCreate, "/p/c/backup/bad", "x")))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Read(tree, "/p/c/")
	if err != nil || len(s.Tables) != 3 {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, want := range []string{"/p/c/apps/4 is no table", "/p/c/apps/x is no table", "apps/5 is a table that calls itself number 6", "apps/7 is no table", "nothing is known of 1073741824", "apps/8/5 is no partition", "apps/2/2 is a partition that", "backup/bad is no"} {
		if !strings.Contains(strings.Join(s.Problems, "\n"), want) {
			t.Errorf("%q lacks %q", s.Problems, want)
		}
	}
	for root, want := range map[string]string{"/p": "no node /p/apps", "x": "no node"} {
		if _, err := Read(tree, root); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", root, err)
		}
	}
	tree.Create("/q", nil)
	tree.Create("/q/apps", []byte("lock"))
	if _, err := Read(tree, ""); err == nil || !strings.Contains(err.Error(), "/p/c, /q") {
		t.Errorf("%v", err)
	}
	if _, err := Read(tree, "/q"); err == nil || !strings.Contains(err.Error(), "is locked") {
		t.Errorf("%v", err)
	}
	if _, err := Read(NewTree(), ""); err == nil {
		t.Error("nothing is a cluster")
	}
}

// A file that was cut gives the records before the cut, and says so. One that is damaged is an error with its place, or gives a beginning.
func TestCutAndDamaged(t *testing.T) {
	whole := sample()
	for n := range whole {
		tree, torn, err := ReadFile(whole[:n])
		if n < len(record(opCreate, "/p", "")) {
			if err == nil {
				t.Fatalf("cut at %d: no error", n)
			}
			continue
		}
		if err != nil || tree == nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if again, t2, _ := ReadFile(whole[:n]); len(again.nodes) != len(tree.nodes) || t2 != torn {
			t.Fatalf("cut at %d", n)
		}
	}
	if _, torn, _ := ReadFile(whole[:len(whole)-1]); !strings.Contains(torn, "are no whole record") {
		t.Errorf("%q", torn)
	}
	bad := slices.Clone(whole)
	bad[40] ^= 0xff // the magic of the second record, or its size
	if _, torn, err := ReadFile(bad); err == nil {
		t.Errorf("a record damaged in the middle: no error, %q", torn)
	}
	bad = slices.Concat(whole, record(5, "/p/x", "y"))
	if _, _, err := ReadFile(bad); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("at byte %d is damaged: there is no operation 5", len(whole))) {
		t.Errorf("%v", err)
	}
	for _, b := range [][]byte{nil, []byte("something else")} {
		if _, _, err := ReadFile(b); err == nil {
			t.Errorf("%q: no error", b)
		}
	}
}

// The recordings of a real server's file.
func TestGolden(t *testing.T) {
	dir := repo.Golden(t)
	for name, tables := range map[string]int{"data-plog-only": 1, "data-checkpointed": 1} {
		data, err := os.ReadFile(filepath.Join(dir, name, "meta-state", "meta_state_service.log"))
		if err != nil {
			t.Fatal(err)
		}
		tree, torn, err := ReadFile(data)
		if err != nil || torn != "" {
			t.Fatal(torn, err)
		}
		s, err := Read(tree, "")
		if err != nil || len(s.Problems) > 0 || len(s.Tables) < tables {
			t.Fatalf("%+v, %v", s, err)
		}
		a := s.Tables[0]
		if a.Name != "mig" || a.ID != 1 || a.Partitions != 4 || a.Replicas != 3 || !a.Available() || len(a.Configs) != 4 || a.Configs[0].Ballot < 3 || len(a.Configs[0].Members) != 2 {
			t.Errorf("%+v", a)
		}
	}
}

// Whatever is read, it ends without a panic, and what is left out is told.
func FuzzFile(f *testing.F) {
	f.Add(sample())
	f.Add(sample()[:300])
	f.Add(slices.Concat(sample(), record(opCreate, "/p/c/apps/4", "{")))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, _, err := ReadFile(data)
		if err != nil {
			return
		}
		for p := range tree.nodes {
			if parent, _ := up(p); p != "/" && tree.nodes[parent] == nil {
				t.Fatalf("%q has no parent", p)
			}
		}
		for _, root := range append(tree.Roots(), "") {
			s, err := Read(tree, root)
			if err != nil {
				continue
			}
			for _, a := range s.Tables {
				if a.Name == "" || a.Partitions <= 0 || len(a.Configs) > int(a.Partitions) {
					t.Fatalf("%+v", a)
				}
			}
		}
	})
}
