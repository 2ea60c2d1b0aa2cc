package replica

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/replica/wal"
)

// A data directory holds
//
//	pegasus.json            whose it is (dirIdent)
//	wal/                    the log of its replicas (package wal)
//	reps/<app>.<idx>.pegasus/info.json   replicaInfo
//	reps/<app>.<idx>.pegasus/store.<n>/  the Pebble instance that info names
//	tmp/                    checkpoints being sent or received; emptied at start
type dataDir struct {
	tag  string
	path string
	// wal is replaced when a log that failed is opened again, see revive.
	wal     atomic.Pointer[wal.Log]
	openLog func() (*wal.Log, error)
	room    room
	// prepare makes what of the directory isn't there, and checks whose it is.
	prepare func() error
	// reviving: somebody is at it.
	reviving atomic.Bool
	// abandoned: an administrator gave it up, until the next start.
	abandoned atomic.Bool
	revivalMu sync.Mutex
	revival   revival
	// batches: the log's goroutine has written some of written.
	batches chan struct{}
	written written
	// flushes: tokens of flushes that were asked for, see flushSoon.
	flushes chan struct{}
}

// log returns the directory's log.
func (d *dataDir) log() *wal.Log { return d.wal.Load() }

// batch is called by the log's goroutine after the callbacks of a batch.
func (d *dataDir) batch() {
	select {
	case d.batches <- struct{}{}:
	default:
	}
}

// dirFormat is the version of the directory layout.
const dirFormat = 1

type dirIdent struct {
	Format  int    `json:"format"`
	Cluster string `json:"cluster"`
	// Node is the address that the replicas here are members under.
	Node string `json:"node"`
}

// parseDataDir splits "tag:path"; a path alone gets a tag made of its number.
func parseDataDir(s string, n int) (tag, path string) {
	if t, p, ok := strings.Cut(s, ":"); ok && t != "" && !strings.ContainsAny(t, `/\`) {
		return t, p
	}
	return "d" + strconv.Itoa(n+1), s
}

// openDataDir prepares the directory and opens its log. The parent of path must exist.
func openDataDir(tag, path, cluster, node string, cfg config.WAL, onPressure func([]base.Gpid), log *logrus.Entry) (*dataDir, error) {
	if parent := filepath.Dir(path); parent != "." {
		if _, err := os.Stat(parent); err != nil {
			return nil, fmt.Errorf("data directory %s: %w: create its parent directory, or change replica.data_dirs", path, err)
		}
	}
	prepare := func() error { return prepareDir(path, cluster, node) }
	if err := prepare(); err != nil {
		return nil, err
	}
	if err := emptyDir(filepath.Join(path, "tmp")); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", path, err)
	}
	d := &dataDir{tag: tag, path: path, prepare: prepare, batches: make(chan struct{}, 1), flushes: make(chan struct{}, runtime.GOMAXPROCS(0))}
	d.openLog = func() (*wal.Log, error) {
		here, err := d.replicas()
		if err != nil {
			return nil, err
		}
		l, err := wal.Open(wal.Options{FS: vfs.Default, Dir: filepath.Join(path, "wal"), Config: cfg, Logger: log.WithField("dir", tag),
			Replicas: here, OnPressure: onPressure, AfterBatch: d.batch})
		if err != nil {
			return nil, fmt.Errorf("log of data directory %s: %w", path, err)
		}
		return l, nil
	}
	l, err := d.openLog()
	if err != nil {
		return nil, err
	}
	d.wal.Store(l)
	return d, nil
}

// prepareDir makes what a data directory consists of, and checks that it is of this server.
func prepareDir(path, cluster, node string) error {
	for _, d := range []string{"", "wal", "reps", "tmp"} {
		if err := os.MkdirAll(filepath.Join(path, d), 0o755); err != nil {
			return fmt.Errorf("data directory %s: %w", path, err)
		}
	}
	var id dirIdent
	name := filepath.Join(path, "pegasus.json")
	switch err := readJSON(name, &id); {
	case errors.Is(err, fs.ErrNotExist):
		id = dirIdent{Format: dirFormat, Cluster: cluster, Node: node}
		if err := writeJSON(name, &id); err != nil {
			return fmt.Errorf("data directory %s: %w", path, err)
		}
	case err != nil:
		return fmt.Errorf("data directory %s: %w", path, err)
	case id.Format != dirFormat:
		return fmt.Errorf("data directory %s has format %d, this version reads %d: use the version that wrote it", path, id.Format, dirFormat)
	case id.Cluster != cluster:
		return fmt.Errorf("data directory %s belongs to cluster %q, this server to %q: change replica.data_dirs or cluster.name", path, id.Cluster, cluster)
	case id.Node != node:
		return fmt.Errorf("data directory %s belongs to the server known as %s, this one is %s: change replica.data_dirs or replica.listen", path, id.Node, node)
	}
	return nil
}

// replicaInfo is what a replica knows of itself besides its data.
type replicaInfo struct {
	AppName    string `json:"app_name"`
	AppID      int32  `json:"app_id"`
	Partition  int32  `json:"partition"`
	Partitions int32  `json:"partition_count"`
	MaxReplica int32  `json:"max_replica_count"`
	// Ballot is the highest that the replica has taken part in.
	Ballot int64 `json:"ballot"`
	// Store is the number of the directory that holds the data; 0: none yet (a learner
	// that has not begun).
	Store int64             `json:"store"`
	Envs  map[string]string `json:"envs,omitempty"`
	// Atomic and Created are the table's; the replica only remembers them for a meta that
	// lost its state. Created is in Unix seconds.
	Atomic  bool  `json:"atomic_idempotent,omitempty"`
	Created int64 `json:"create_second,omitempty"`
	// Compacted is when the last manual compaction ended, Unix time in milliseconds.
	Compacted int64 `json:"compacted_ms,omitempty"`
	// Made is when the replica was made here, in the same unit: what a table's settings
	// demanded before then was for others.
	Made int64 `json:"made_ms,omitempty"`
}

func (d *dataDir) replicaPath(g base.Gpid) string {
	return filepath.Join(d.path, "reps", g.String()+".pegasus")
}

// replicas lists the replicas that have a directory here.
func (d *dataDir) replicas() ([]base.Gpid, error) {
	es, err := os.ReadDir(filepath.Join(d.path, "reps"))
	if err != nil {
		return nil, err
	}
	var gs []base.Gpid
	for _, e := range es {
		if name, ok := strings.CutSuffix(e.Name(), ".pegasus"); ok && e.IsDir() {
			g, err := base.ParseGpid(name)
			if err != nil {
				return nil, fmt.Errorf("%s is not a replica's directory: move it away: %w", filepath.Join(d.path, "reps", e.Name()), err)
			}
			gs = append(gs, g)
		}
	}
	return gs, nil
}

func readJSON(name string, v any) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// writeJSON replaces name atomically and durably.
func writeJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp := name + ".tmp"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err == nil {
		err = syncDir(filepath.Dir(name))
	}
	return err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

func emptyDir(path string) error {
	es, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range es {
		if err := os.RemoveAll(filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// trash makes a replica's directory unreachable at once and removes it.
func (d *dataDir) trash(g base.Gpid) error {
	to := filepath.Join(d.path, "tmp", g.String()+"."+strconv.FormatInt(time.Now().UnixMicro(), 10)+".gar")
	if err := os.Rename(d.replicaPath(g), to); err != nil {
		return err
	}
	if err := syncDir(filepath.Join(d.path, "reps")); err != nil {
		return err
	}
	return os.RemoveAll(to)
}

// has tells whether a directory of replica g exists here.
func (d *dataDir) has(g base.Gpid) bool {
	_, err := os.Stat(d.replicaPath(g))
	return err == nil
}
