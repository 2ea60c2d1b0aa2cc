package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/blob"
	"pegasus/gen/layer2"
)

// fuzzDocument feeds a decoder. What it takes, it takes again after it was encoded, with the same meaning. file names recorded documents, below golden.
func fuzzDocument[T any](f *testing.F, parse func([]byte) (T, error), encode func(T) ([]byte, error), file string, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	if dir := os.Getenv("PEGASUS_GOLDEN"); dir != "" {
		names, err := filepath.Glob(filepath.Join(dir, file))
		if err != nil {
			f.Fatal(err)
		}
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parse(b)
		if err != nil {
			return
		}
		again, err := encode(v)
		if err != nil {
			t.Fatalf("%+v: %v", v, err)
		}
		w, err := parse(again)
		if err != nil || fmt.Sprint(w) != fmt.Sprint(v) {
			t.Fatalf("%s is %+v, %v; it was %+v", again, w, err, v)
		}
	})
}

func encodeAny[T any](v T) ([]byte, error) { return encode(v) }

func FuzzInfo(f *testing.F) {
	fuzzDocument(f, ParseInfo, encodeAny, "backup-policy/tree-onebox/*/backup_info",
		`{"backup_id":1795388400586,"start_time_ms":1795388400586,"end_time_ms":0,"app_id":1,"app_name":"mig"}`,
		`{"backup_id":1,"start_time_ms":1,"end_time_ms":2,"app_ids":[2,3],"app_names":{"2":"a","3":"b"},"info_status":1}`)
}

func FuzzTable(f *testing.F) {
	fuzzDocument(f, ParseTable,
		func(i layer2.AppInfo) ([]byte, error) { return EncodeTable(&i) }, "cold-backup/onebox/*/*/meta/app_metadata",
		`{"status":"app_status::AS_AVAILABLE","app_type":"pegasus","app_name":"mig","app_id":1,"partition_count":4,"envs":{"a":"b"},"is_stateful":1,"max_replica_count":3,"expire_second":0,"create_second":1795388330,"drop_second":0,"duplicating":0,"init_partition_count":4,"is_bulk_loading":0,"atomic_idempotent":0}`)
}

func FuzzMetadata(f *testing.F) {
	fuzzDocument(f, func(b []byte) (Metadata, error) {
		m, err := ParseMetadata(b)
		for _, file := range m.Files {
			if strings.Contains(file.Name, "/") || blob.CheckName(file.Name) != nil || file.Size < 0 {
				panic(fmt.Sprint(file))
			}
		}
		return m, err
	}, encodeAny, "cold-backup/onebox/*/*/*/chkpt_*/backup_metadata",
		`{"checkpoint_decree":755,"checkpoint_timestamp":1795388401594,"files":[{"name":"CURRENT","size":16,"md5":"ebc863bd1c035289fe8190da28b400bc"}],"checkpoint_total_size":16}`)
}

func FuzzStatus(f *testing.F) {
	fuzzDocument(f, ParseStatus, encodeAny, "backup-policy/tree-onebox/*/*/meta/app_backup_status", `{"total_checkpoint_size":86266}`)
}

func FuzzCurrent(f *testing.F) {
	fuzzDocument(f, func(b []byte) (string, error) {
		s, err := ParseCurrent(b)
		if err == nil && (strings.Contains(s, "/") || blob.CheckName(s) != nil) {
			panic(s)
		}
		return s, err
	}, func(s string) ([]byte, error) { return []byte(s), nil }, "cold-backup/onebox/*/*/*/current_checkpoint", "chkpt_localhost_34801", "../x", "chkpt_[::1]_34801\n")
}

func FuzzManifest(f *testing.F) {
	fuzzDocument(f, ParseManifest, encodeAny, "nothing",
		`{"format":1,"table":"t","app_id":7,"partition":3,"decree":77,"taken_ms":1,"written_ms":2,"rows":3,"row_bytes":99,"clock":5,"digest":"0123456789abcdef","files":[{"name":"CURRENT","size":16,"md5":"ebc863bd1c035289fe8190da28b400bc"}]}`,
		`{"format":2}`)
}

func FuzzTableManifest(f *testing.F) {
	fuzzDocument(f, ParseTableManifest, encodeAny, "nothing",
		`{"format":1,"table":"t","app_id":7,"written_ms":2,"rows":3,"row_bytes":99,"bytes":16,"partitions":[{"checkpoint":"chkpt_h_1","decree":1,"rows":3,"clock":5,"digest":"0123456789abcdef"}]}`)
}

// FuzzPlace: paths that people and listings name.
func FuzzPlace(f *testing.F) {
	for _, s := range []string{"a/b/onebox/1795388400586", "1795388400586/t_1/0", "", "//", "x/01795388400586", "t_1_2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		dir, rest, ok := CutID(s)
		if ok {
			if joined := strings.TrimSuffix(dir+"/"+rest, "/"); joined != strings.TrimSuffix(s, "/") {
				t.Fatalf("%q is cut into %q and %q", s, dir, rest)
			}
			if l, err := ParseLocation(dir); err == nil && l.Check() == nil && l.Dir() != blob.Join(dir) {
				t.Fatalf("%q is %+v, which lies in %q", dir, l, l.Dir())
			}
		}
		if table, ok := parseTable(Location{ID: 1}, s); ok && !strings.Contains(s, "/") && s != "." && s != ".." {
			if _, last := cutLast(table.Dir()); last != s {
				t.Fatalf("%q is %+v, which lies in %q", s, table, table.Dir())
			}
		}
	})
}
