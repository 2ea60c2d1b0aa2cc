package meta

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/sirupsen/logrus"
	"go.etcd.io/bbolt"
	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/meta/state"
)

const (
	lockWait     = 2 * time.Second // for a data directory that another process uses
	applyWait    = 5 * time.Second // for room in raft's queue
	keepSnapshot = 2
)

// quorum is this server's part in raft.
type quorum struct {
	dir    string
	store  *raftboltdb.BoltStore
	snaps  *raft.FileSnapshotStore
	raft   *raft.Raft
	notify chan bool // leadership won or lost
	logs   *logWriter
}

func serverAddresses(names []string) []raft.ServerAddress {
	list := make([]raft.ServerAddress, len(names))
	for i, n := range names {
		list[i] = raft.ServerAddress(n)
	}
	return list
}

// openQuorum opens the log and the snapshots of the data directory.
func openQuorum(s *Server) (*quorum, error) {
	q := &quorum{dir: s.cfg.Meta.DataDir, notify: make(chan bool, 16), logs: &logWriter{
		log: s.log.WithField("part", "raft"), failing: rate.Sometimes{First: 2, Interval: 10 * time.Second},
	}}
	var err error
	q.store, err = raftboltdb.New(raftboltdb.Options{
		Path:        filepath.Join(q.dir, "raft.db"),
		BoltOptions: &bbolt.Options{Timeout: lockWait},
	})
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, fmt.Errorf("meta.data_dir %q is in use by another process", q.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open the raft log in %q: %w", q.dir, err)
	}
	q.snaps, err = raft.NewFileSnapshotStoreWithLogger(q.dir, keepSnapshot, q.logger("snapshot"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the raft snapshots in %q: %w", q.dir, err), q.store.Close())
	}
	return q, nil
}

func (q *quorum) logger(name string) hclog.Logger {
	level := hclog.Warn
	if q.logs.log.Logger.IsLevelEnabled(logrus.DebugLevel) {
		level = hclog.Info
	}
	return hclog.New(&hclog.LoggerOptions{Name: name, Output: q.logs, Level: level, DisableTime: true})
}

// start bootstraps an empty server with the configured list, and runs raft.
func (q *quorum) start(s *Server) error {
	hb := s.cfg.Meta.RaftHeartbeat.D()
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(s.name)
	c.HeartbeatTimeout, c.ElectionTimeout = hb, hb
	c.LeaderLeaseTimeout = hb / 2
	c.CommitTimeout = min(50*time.Millisecond, hb/4)
	c.Logger = q.logger("raft")
	c.NotifyCh = q.notify
	c.NoLegacyTelemetry = true

	has, err := raft.HasExistingState(q.store, q.store, q.snaps)
	if err != nil {
		return fmt.Errorf("read the raft log in %q: %w", q.dir, err)
	}
	if !has {
		var servers []raft.Server
		for _, m := range s.metas {
			servers = append(servers, raft.Server{ID: raft.ServerID(m), Address: raft.ServerAddress(m)})
		}
		if err := raft.BootstrapCluster(c, q.store, q.store, q.snaps, s.transport, raft.Configuration{Servers: servers}); err != nil {
			return fmt.Errorf("begin the raft log in %q: %w", q.dir, err)
		}
	}
	if q.raft, err = raft.NewRaft(c, s.fsm, q.store, q.store, q.snaps, s.transport); err != nil {
		return fmt.Errorf("start raft on %q: %w", q.dir, err)
	}
	return q.checkMembers(s.metas)
}

// checkMembers compares the quorum on disk with the configured one. They must be the same:
// servers that disagree on who decides could decide twice.
func (q *quorum) checkMembers(metas []string) error {
	f := q.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return fmt.Errorf("read the quorum's members: %w", err)
	}
	var have []string
	for _, srv := range f.Configuration().Servers {
		have = append(have, string(srv.Address))
	}
	want := slices.Clone(metas)
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		return fmt.Errorf("the quorum in meta.data_dir %q is [%s], but cluster.meta_servers is [%s]: correct the list; the members of a quorum can't be changed by it", q.dir, strings.Join(have, " "), strings.Join(want, " "))
	}
	return nil
}

// apply commits a command. The error is base.ErrForwardToOthers if this server doesn't
// lead, and base.ErrTimeout if it is not known whether the command was committed.
func (q *quorum) apply(c state.Command) (state.Result, error) {
	f := q.raft.Apply(state.Encode(c), applyWait)
	if err := f.Error(); err != nil {
		return state.Result{}, fmt.Errorf("commit %T: %w: %w", c, raftCode(err), err)
	}
	switch r := f.Response().(type) {
	case state.Result:
		return r, nil
	case error:
		return state.Result{}, fmt.Errorf("apply %T: %w: %w", c, base.ErrServiceNotActive, r)
	}
	return state.Result{}, fmt.Errorf("apply %T: no result: %w", c, base.ErrUnknown)
}

func raftCode(err error) base.ErrorCode {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return base.ErrForwardToOthers
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return base.ErrBusy
	case errors.Is(err, raft.ErrRaftShutdown):
		return base.ErrServiceNotActive
	}
	return base.ErrTimeout
}

// leaderName returns who leads, "" if nobody is known to.
func (q *quorum) leaderName() string {
	if q.raft == nil {
		return ""
	}
	_, id := q.raft.LeaderWithID()
	return string(id)
}

// close ends raft and closes the files. It may be called without start.
func (q *quorum) close() error {
	var err error
	if q.raft != nil {
		err = q.raft.Shutdown().Error()
	}
	return errors.Join(err, q.store.Close())
}

// logWriter gives raft's log lines to ours.
type logWriter struct {
	log     *logrus.Entry
	failing rate.Sometimes // lines about peers that don't answer come in floods
}

var _ io.Writer = (*logWriter)(nil)

// Write takes one line: "[LEVEL] message".
func (w *logWriter) Write(b []byte) (int, error) {
	line := strings.TrimSpace(string(b))
	level, msg, _ := strings.Cut(strings.TrimPrefix(line, "["), "]")
	msg = strings.TrimSpace(msg)
	switch {
	case strings.Contains(msg, ": failed to "):
		w.log.Debug(msg)
		w.failing.Do(func() { w.log.Warn(msg) })
	case level == "ERROR":
		w.log.Error(msg)
	case level == "WARN":
		w.log.Warn(msg)
	default:
		w.log.Debug(msg)
	}
	return len(b), nil
}
