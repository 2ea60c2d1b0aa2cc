package backup_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/blob/blobtest"
	"pegasus/blob/stores"
	"pegasus/gen/layer2"
	"pegasus/rocks/pegasus"
	"pegasus/rowfile"
	"pegasus/rowfile/rowfiletest"
)

// numbered is n rows of a partition, of a table with some partitions. All are live.
type numbered struct {
	partition, partitions, n, i int
	key                         []byte
	v                           pegasus.Value
}

func (r *numbered) Next() bool {
	for r.i < r.n {
		i := r.i
		r.i++
		if i%r.partitions != r.partition {
			continue
		}
		r.key = base.AppendKey(r.key[:0], fmt.Appendf(nil, "hash%07d", i/10), fmt.Appendf(nil, "sort%d", i%10))
		r.v = pegasus.Value{Timetag: uint64(i+1) << 8, Data: fmt.Appendf(r.v.Data[:0], "the value of row %d, which isn't very long", i)}
		if i%3 == 0 {
			r.v.ExpireTS = 1_500_000_000 + uint32(i)
		}
		return true
	}
	return false
}

func (r *numbered) Key() []byte          { return r.key }
func (r *numbered) Value() pegasus.Value { return r.v }
func (r *numbered) Err() error           { return nil }

// TestPlaces: a backup is the same in a directory, an S3 bucket and HDFS, and its Parquet has its rows.
func TestPlaces(t *testing.T) {
	n, partitions := 1_000_000, int32(4)
	if testing.Short() {
		n = 50_000
	}
	t.Run("local", func(t *testing.T) {
		c := config.DefaultBlob()
		c.Path = t.TempDir()
		place(t, c, n, partitions)
	})
	t.Run("s3", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "bucket"), 0o755); err != nil {
			t.Fatal(err)
		}
		s := blobtest.StartS3(t, dir)
		file := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(file, []byte("[default]\naws_access_key_id = "+s.Access+"\naws_secret_access_key = "+s.Secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c := config.DefaultBlob()
		c.Type, c.Endpoint, c.Bucket, c.Credentials, c.Path = "s3", s.Endpoint, "bucket", file, "pegasus"
		place(t, c, n, partitions)
	})
	t.Run("hdfs", func(t *testing.T) {
		h := blobtest.StartHDFS(t, "")
		c := config.DefaultBlob()
		c.Type, c.NameNodes, c.User, c.Path = "hdfs", h.NameNodes, "somebody", "/open/pegasus"
		place(t, c, n, partitions)
	})
}

func place(t *testing.T, c config.Blob, n int, partitions int32) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	s, err := stores.New(nil, nil).Make(ctx, "place", c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.SetRates(0, 0)
	l := backup.Location{Path: "here", Cluster: "prod", ID: 1796000000000}
	table := l.Table("shop", 2)
	info := layer2.NewAppInfo()
	info.Status, info.AppName, info.AppId, info.AppType, info.PartitionCount = layer2.AS_AVAILABLE, "shop", 2, "pegasus", partitions
	if err := backup.WriteTable(ctx, s, l, &info); err != nil {
		t.Fatal(err)
	}
	taken := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var want []backup.Sum
	for i := range partitions {
		rows := func() *numbered { return &numbered{partition: int(i), partitions: int(partitions), n: n} }
		m, err := backup.WritePartition(ctx, s, rows(), backup.WriteOptions{Table: table, Partition: i, Checkpoint: "chkpt_h_1", Decree: 9, Taken: taken, TableSize: 2 << 20})
		if err != nil {
			t.Fatal(err)
		}
		d := backup.NewDigest(backup.Clock(taken))
		for r := rows(); r.Next(); {
			d.Add(r.Key(), r.Value())
		}
		want = append(want, d.Sum())
		if m.Sum() != d.Sum() || int(m.Rows) != n/int(partitions) {
			t.Fatalf("partition %d has %+v, want %+v", i, m.Sum(), d.Sum())
		}
	}
	if _, err := backup.FinishTable(ctx, s, table, partitions); err != nil {
		t.Fatal(err)
	}
	if err := backup.Finish(ctx, s, l, backup.NewInfo(l.ID, l.ID, l.ID+1, map[int32]string{2: "shop"})); err != nil {
		t.Fatal(err)
	}
	f, _, err := backup.Find(ctx, s, "")
	if err != nil || !f.Complete {
		t.Fatalf("%+v, %v", f, err)
	}
	r, err := backup.Verify(ctx, s, f, backup.VerifyOptions{Now: backup.Clock(taken)})
	if err != nil || len(r.Problems) > 0 || r.Tables[0].Rows != int64(n) {
		t.Fatalf("%+v, %v", r, err)
	}
	for i, p := range r.Tables[0].Partitions {
		if p.Digest != want[i] {
			t.Errorf("partition %d has %+v, want %+v", i, p.Digest, want[i])
		}
	}
	exported(ctx, t, s, table, partitions, want, backup.Clock(taken))
	if err := backup.Delete(ctx, s, l); err != nil {
		t.Fatal(err)
	}
	if list, err := backup.List(ctx, s, ""); err != nil || len(list) > 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// exported writes the table as Parquet, and compares what is read from it.
func exported(ctx context.Context, t *testing.T, s *blob.Store, table backup.Table, partitions int32, want []backup.Sum, clock uint32) {
	var out bytes.Buffer
	w, err := rowfile.NewWriter("parquet", &out, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := backup.Scan(ctx, s, table, partitions, nil, w.Write); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	digests := make([]*backup.Digest, partitions)
	for i := range digests {
		digests[i] = backup.NewDigest(clock)
	}
	err = rowfiletest.ReadParquet(bytes.NewReader(out.Bytes()), int64(out.Len()), func(partition int32, row pegasus.Row) error {
		digests[partition].Add(base.AppendKey(nil, row.HashKey, row.SortKey), row.Value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range digests {
		if d.Sum() != want[i] {
			t.Errorf("partition %d of the Parquet has %+v, want %+v", i, d.Sum(), want[i])
		}
	}
}
