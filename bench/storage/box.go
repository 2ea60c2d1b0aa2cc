package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/bench"
	"pegasus/client"
	"pegasus/onebox"
)

// box is a meta and one replica server that this process started.
type box struct {
	cluster         *onebox.Cluster
	dir, data, meta string
	pid             int
}

func start(s *storage) (*box, error) {
	dir, err := os.MkdirTemp(s.dir, "pegasus-storage")
	if err != nil {
		return nil, err
	}
	o := onebox.Options{
		Dir: dir, Port: s.port, Metas: 1, Replicas: 1, Program: s.bin, StopTimeout: time.Minute,
		Tables: []onebox.TableSpec{{Name: "other", Partitions: 4, Replicas: 1}},
	}
	file := filepath.Join(dir, "base.toml")
	if err := os.WriteFile(file, []byte(s.config), 0o644); err != nil {
		return nil, err
	}
	if o.Config, err = config.Load(file); err != nil {
		return nil, err
	}
	var said bytes.Buffer
	o.Err = &said
	b := &box{dir: dir, meta: o.MetaAddrs()[0]}
	if b.cluster, err = onebox.Open(o); err != nil {
		return nil, err
	}
	if err := b.cluster.Start(context.Background()); err != nil {
		b.stop()
		return nil, fmt.Errorf("the cluster didn't start: %w\n%s", err, said.String())
	}
	server := b.cluster.Server("replica1")
	b.data, b.pid = server.Dir, server.Pid()
	return b, nil
}

func (b *box) stop() {
	if err := b.cluster.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = os.RemoveAll(b.dir)
}

// table makes a table of one replica and returns its id.
func (b *box) table(ctx context.Context, name string, partitions int, envs ...base.Pair[string, string]) (int32, error) {
	c := client.New([]string{b.meta}, client.Options{Timeout: 15 * time.Second})
	defer c.Close()
	id, err := c.Admin().CreateTable(ctx, name, partitions, 1, client.CreateOptions{Envs: envs})
	if err == nil {
		_, err = c.Table(ctx, name)
	}
	return id, err
}

// load runs operations on a table.
func (b *box) load(ctx context.Context, o bench.Options) (*bench.Report, error) {
	o.Metas, o.Pids = []string{b.meta}, []int{b.pid}
	if o.Clients == 0 {
		o.Clients, o.Outstanding = 4, 16
	}
	o.GiveUp = 2 * time.Minute
	o.Timeout = time.Minute
	return bench.Run(ctx, o)
}

// usage returns what files take on the disk below the server's directory: all of them, and
// those of a table.
func (b *box) usage(app int32) (all, table int64) {
	prefix := strconv.Itoa(int(app)) + "."
	_ = filepath.WalkDir(b.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // a file may go while this looks
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		n := info.Size()
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			n = st.Blocks * 512
		}
		all += n
		for _, part := range strings.Split(path, string(filepath.Separator)) {
			if strings.HasPrefix(part, prefix) {
				table += n
				break
			}
		}
		return nil
	})
	return all, table
}

// written returns the bytes that the server has had the disk write.
func (b *box) written() (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", b.pid))
	if err != nil {
		return 0, err
	}
	for _, l := range strings.Split(string(data), "\n") {
		if v, ok := strings.CutPrefix(l, "write_bytes: "); ok {
			return strconv.ParseInt(v, 10, 64)
		}
	}
	return 0, errors.New("the system doesn't tell what a process writes")
}
