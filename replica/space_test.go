package replica

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/config"
	idl "pegasus/gen/rrdb"
	"pegasus/rrdb"
)

// onDisk is what a replica's files take.
func onDisk(r *replica) (n int64) {
	_ = filepath.WalkDir(r.dir.ReplicaPath(r.gpid), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files come and go
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512
			}
		}
		return nil
	})
	return n
}

// TestSpaceOfExpiredRows: when all that was written has expired a replica's files take what an
// empty one's do, or less than a fifth more, without anyone asking, and what lives on is read
// throughout.
func TestSpaceOfExpiredRows(t *testing.T) {
	g := newGroupWith(t, 1, func(c *config.Config) {
		c.Replica.MinReplicas = 1
		c.Storage.SweepInterval = config.Duration(200 * time.Millisecond)
		c.Storage.SweepDelay = config.Duration(5 * time.Second) // a step of the machine's clock by more stops the sweeps
		c.Storage.MemtableBytes = 512 << 10
	})
	r := g.nodes[0].srv.replica(g.gpid)
	empty := onDisk(r)
	g.set(appenv.DefaultTTL, "2")
	for i := range 100 {
		put := &idl.MultiPutRequest{HashKey: fmt.Appendf(nil, "h%03d", i)}
		for k := range 100 {
			v := make([]byte, 1000)
			for j := range v {
				v[j] = byte(rand.Uint32()) // so that no codec makes it smaller
			}
			put.Kvs = append(put.Kvs, idl.KeyValue{Key: fmt.Append(nil, k), Value: v})
		}
		if err := g.call(0, base.RPCMultiPut, put, new(idl.UpdateResponse)); err != nil {
			t.Fatal(err)
		}
	}
	keep := &idl.UpdateRequest{Key: rowKey("keep"), Value: []byte("v"), ExpireTsSeconds: int32(rrdb.ExpiryTime(time.Now().Add(time.Hour)))}
	if err := g.call(0, base.RPCPut, keep, new(idl.UpdateResponse)); err != nil {
		t.Fatal(err)
	}
	if err := r.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		t.Logf("%d bytes: %+v", onDisk(r), g.nodes[0].srv.shared.Metrics())
		_ = filepath.WalkDir(r.dir.ReplicaPath(r.gpid), func(path string, d fs.DirEntry, err error) error {
			if err == nil {
				if info, err := d.Info(); err == nil {
					t.Logf("%10d %s", info.Size(), path)
				}
			}
			return nil
		})
	})
	until(t, fmt.Sprintf("%d bytes on disk become %d", onDisk(r), empty), func() bool {
		g.wantGet(0, "keep", "v")
		return onDisk(r)*10 <= empty*12 && g.nodes[0].srv.shared.Metrics().SweptRows > 9000
	})
}
