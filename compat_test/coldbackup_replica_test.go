package compat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/base/config"
	"pegasus/blob/stores"
	"pegasus/compat_test/cluster"
	idl "pegasus/gen/backup"
	"pegasus/rpc"
)

// TestKilledWhileBackingUp: a replica server is killed again and again while it makes backups. What it leaves goes
// when it starts, nothing that isn't whole counts, and the backups that are asked for again are complete.
func TestKilledWhileBackingUp(t *testing.T) {
	t.Parallel()
	const rows, partitions, kills = 4000, 4, 2
	dir := t.TempDir()
	c := cluster.Start(t, cluster.Options{Tables: fmt.Sprint("temp:", partitions),
		Config: fmt.Sprintf("[replica]\nbackup_bytes_per_second = 131072\n[blob.local_service]\npath = %q\n", dir)})
	if r, err := runBench(t, c, "--op", "set", "--count", fmt.Sprint(rows), "--value-size", "1024"); err != nil || r.Ops != rows {
		t.Fatalf("bench: %+v, %v", r, err)
	}
	b := config.DefaultBlob()
	b.Path = dir
	set := stores.New(map[string]config.Blob{"local_service": b}, nil)
	defer set.Close()
	store, err := set.Get(t.Context(), "local_service")
	if err != nil {
		t.Fatal(err)
	}
	pool := rpc.NewPool(rpc.PoolOptions{})
	defer pool.Close()

	const server = "replica2"
	cfg, err := c.Config("temp")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(index int32) (a idl.BackupResponse, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		q := idl.BackupRequest{Pid: base.Gpid{AppID: cfg.AppId, PartitionIndex: index}, AppName: "temp", BackupId: 7,
			Policy: idl.PolicyInfo{PolicyName: "p", BackupProviderType: "local_service"}}
		err = pool.Call(ctx, c.Addr(server), rpc.Outgoing{Code: base.RPCColdBackup, Arg: &q}, &a)
		return a, err
	}
	at := func(index int32) string {
		return backup.Location{Cluster: "onebox", ID: 7}.Table("temp", cfg.AppId).Partition(index)
	}
	left := func() []string {
		dirs, err := filepath.Glob(filepath.Join(c.Dir, server, "data", "tmp", "*.backup.*"))
		if err != nil {
			t.Fatal(err)
		}
		return dirs
	}
	whole := func(index int32) {
		t.Helper()
		p, err := backup.OpenPartition(t.Context(), store, at(index), backup.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		rs, err := p.Rows(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for rs.Next() {
		}
		if err := rs.Close(); err != nil {
			t.Error(err)
		}
	}
	rng := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for k := range kills {
		if err := cluster.Poll(2*time.Minute, func() error {
			writing := false
			for i := range int32(partitions) {
				a, err := ask(i)
				if err != nil {
					return err
				}
				writing = writing || a.Progress > 0 && a.Err == base.ErrBusy
				if a.Err != base.ErrOK && a.Err != base.ErrBusy {
					return fmt.Errorf("partition %d: %v, %s", i, a.Err, a.Reason.V)
				}
			}
			if !writing {
				return errors.New("none is under way")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond) // any moment will do
		if err := c.Kill(server); err != nil {
			t.Fatal(err)
		}
		if k == 0 && len(left()) == 0 {
			t.Error("a server that was killed while it made a backup left no checkpoint")
		}
		for i := range int32(partitions) {
			switch name, err := backup.Current(t.Context(), store, at(i)); {
			case err != nil:
				t.Fatal(err)
			case name != "":
				whole(i)
			}
		}
		if err := c.Restart(server); err != nil {
			t.Fatal(err)
		}
		// It accepts connections before its disks are open, and answers when they are.
		res, err := (&http.Client{Timeout: time.Minute}).Get("http://" + c.Addr(server) + "/version")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if dirs := left(); len(dirs) > 0 {
			t.Errorf("after the start there is still %q", dirs)
		}
		if err := c.WaitHealthy("temp", 2*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.Get("http://" + c.Addr(server) + "/updateConfig?replica.backup_bytes_per_second=0")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(res.Body); string(b) != `{"update_status":"ERR_OK"}`+"\n" {
		t.Fatalf("updateConfig: %s", b)
	}
	res.Body.Close()
	found := int64(0)
	for i := range int32(partitions) {
		if err := cluster.Poll(2*time.Minute, func() error {
			a, err := ask(i)
			if err == nil && a.Err != base.ErrOK {
				err = fmt.Errorf("partition %d: %v, %s", i, a.Err, a.Reason.V)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		whole(i)
		name, err := backup.Current(t.Context(), store, at(i))
		if err != nil {
			t.Fatal(err)
		}
		m, err := backup.ReadManifest(t.Context(), store, at(i), name)
		if err != nil {
			t.Fatal(err)
		}
		found += m.Rows
		if es, err := os.ReadDir(filepath.Join(dir, filepath.FromSlash(at(i)))); err != nil || len(es) != 3 { // with the checksum of current_checkpoint
			t.Errorf("partition %d has %v, %v", i, es, err)
		}
	}
	if found != rows {
		t.Errorf("%d rows in the backup, want %d", found, rows)
	}
	if dirs := left(); len(dirs) > 0 {
		t.Errorf("left: %q", dirs)
	}
}
