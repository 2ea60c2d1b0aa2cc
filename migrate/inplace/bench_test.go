package inplace

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"pegasus/base"
	"pegasus/cppdata/cppdatatest"
	"pegasus/cppdata/plog/plogtest"
	"pegasus/migrate/dirs"
	"pegasus/rocks/pegasus"
)

// BenchmarkMake makes directories of 200,000 rows of 100 bytes, in as many servers as it says.
func BenchmarkMake(b *testing.B) {
	const n = 200_000
	src, g := b.TempDir(), base.Gpid{AppID: 4}
	rows := make([]pegasus.Row, n)
	for i := range rows {
		rows[i] = pegasus.Row{Key: base.AppendKey(nil, fmt.Appendf(nil, "user%08d", i), nil), Value: pegasus.Value{Timetag: 1.7e15 << 8, Data: fmt.Appendf(nil, "%0100d", i*7919)}}
	}
	path := cppdatatest.Replica{Table: "a", Partitions: 1, Gpid: g, Ballot: 2, Created: 4, Flushed: 1, Rows: rows}.Make(b, src)
	plogtest.New(0, g, 0, 1).Save(b, filepath.Join(path, "plog"), 1)
	p, err := dirs.Look(context.Background(), dirs.Options{Dirs: []string{src}})
	if err != nil {
		b.Fatal(err)
	}
	for _, servers := range []int{1, 3} {
		b.Run(fmt.Sprintf("servers-%d", servers), func(b *testing.B) {
			for range b.N {
				all, err := Make(context.Background(), p, options(b.TempDir(), servers))
				if err != nil || all[0].Rows != n {
					b.Fatalf("%+v, %v", all, err)
				}
			}
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
