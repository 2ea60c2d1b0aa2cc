package bulkload

import (
	"regexp"
	"testing"
)

func matches(s, re string) bool { return regexp.MustCompile(re).MatchString(s) }

func FuzzInfo(f *testing.F) {
	f.Add([]byte(`{"app_id": 1, "app_name": "bl", "partition_count": 4}`))
	f.Add([]byte("{\"app_id\":1,\"app_name\":\"bl\",\"cluster\":\"c\",\"partition_count\":4}\x00"))
	f.Add([]byte(`{"app_id":-1,"partition_count":0}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := ParseInfo(b)
		if err != nil {
			return
		}
		if i.AppID <= 0 || i.Partitions <= 0 {
			t.Fatalf("%q is read as %+v", b, i)
		}
		again, err := encode(i)
		if err != nil {
			t.Fatal(err)
		}
		if j, err := ParseInfo(again); err != nil || j != i {
			t.Fatalf("%+v is read back as %+v: %v", i, j, err)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"files": [{"name": "00001.sst", "size": 2439, "md5": "e706dc1556c6967049fceb3079c3fec9"}], "file_total_size": 2439}`))
	f.Add([]byte(`{"files": [{"name": "../x", "size": -1, "md5": ""}], "file_total_size": 1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMetadata(b)
		if err != nil {
			return
		}
		var sum int64
		for _, f := range m.Files {
			if f.Size < 0 || len(f.MD5) != 32 || f.Name == "" || f.Name[0] == '.' || matches(f.Name, `[/\\]`) {
				t.Fatalf("file %+v", f)
			}
			sum += f.Size
		}
		if sum != m.Bytes || len(m.Files) == 0 {
			t.Fatalf("%+v", m)
		}
	})
}

// FuzzTable reads what lies in a file as the table of a partition: no panic, and no row that isn't one.
func FuzzTable(f *testing.F) {
	var rows []entry
	for _, h := range hashKeys(30, 0, 1) {
		rows = append(rows, entry{storedKey(h), valueOf(h)})
	}
	f.Add(tableOf(f, rows))
	f.Add(tableOf(f, []entry{{"", valueOf("")}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || len(b) > 1<<20 {
			return
		}
		s := store(t, t.TempDir())
		put(t, s, 0, b, b)
		readAll(t, s, place, 1)
	})
}
