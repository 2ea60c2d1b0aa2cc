package meta

import (
	"errors"
	"fmt"
	"io"
	"os"
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

// openQuorum opens the log and the snapshots of the data directory.
func openQuorum(s *Server) (*quorum, error) {
	q := &quorum{dir: s.cfg.Meta.DataDir, notify: make(chan bool, 16), logs: &logWriter{
		log: s.log.WithField("part", "raft"), failing: rate.Sometimes{First: 2, Interval: 10 * time.Second},
	}}
	if err := q.open(); err != nil {
		return nil, err
	}
	return q, nil
}

// open opens the log and the snapshots.
func (q *quorum) open() (err error) {
	q.store, err = raftboltdb.New(raftboltdb.Options{
		Path:        q.logPath(),
		BoltOptions: &bbolt.Options{Timeout: lockWait},
	})
	if errors.Is(err, bbolt.ErrTimeout) {
		return fmt.Errorf("meta.data_dir %q is in use by another process", q.dir)
	}
	if err != nil {
		return fmt.Errorf("open the raft log in %q: %w", q.dir, err)
	}
	q.snaps, err = raft.NewFileSnapshotStoreWithLogger(q.dir, keepSnapshot, q.logger("snapshot"))
	if err != nil {
		return errors.Join(fmt.Errorf("open the raft snapshots in %q: %w", q.dir, err), q.store.Close())
	}
	return nil
}

func (q *quorum) logPath() string { return filepath.Join(q.dir, "raft.db") }

// lastEntry returns the index and the term of the last entry of the log or of the newest
// snapshot, whichever is later; 0 if there is none.
func lastEntry(q *quorum) (index, term uint64, err error) {
	if index, err = q.store.LastIndex(); err == nil && index > 0 {
		var l raft.Log
		if err = q.store.GetLog(index, &l); err == nil {
			term = l.Term
		}
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read the raft log in %q: %w", q.dir, err)
	}
	snaps, err := q.snaps.List()
	if err != nil {
		return 0, 0, fmt.Errorf("read the raft snapshots in %q: %w", q.dir, err)
	}
	if len(snaps) > 0 && snaps[0].Index > index {
		index, term = snaps[0].Index, snaps[0].Term
	}
	return index, term, nil
}

// fresh tells whether there is nothing in the log but, perhaps, the list it began with.
func (q *quorum) fresh() bool { return q.raft == nil || q.raft.LastIndex() <= 1 }

func (q *quorum) logger(name string) hclog.Logger {
	level := hclog.Warn
	if q.logs.log.Logger.IsLevelEnabled(logrus.DebugLevel) {
		level = hclog.Info
	}
	return hclog.New(&hclog.LoggerOptions{Name: name, Output: q.logs, Level: level, DisableTime: true})
}

// start bootstraps an empty server with the configured list, unless it is to join another
// quorum, and runs raft.
func (q *quorum) start(s *Server) error {
	hb := s.cfg.Meta.RaftHeartbeat.D()
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(s.name)
	c.HeartbeatTimeout, c.ElectionTimeout = hb, hb
	c.LeaderLeaseTimeout = hb // what relies on being the only one asks a majority, see confirmed
	c.CommitTimeout = min(50*time.Millisecond, hb/4)
	c.Logger = q.logger("raft")
	c.NotifyCh = q.notify
	c.NoLegacyTelemetry = true
	c.ShutdownOnRemove = false // it answers who leads, and says that it was removed

	has, err := raft.HasExistingState(q.store, q.store, q.snaps)
	if err != nil {
		return fmt.Errorf("read the raft log in %q: %w", q.dir, err)
	}
	join := s.cfg.Meta.Join
	if has && join {
		// What was begun without --join, and came to nothing.
		last, _, err := lastEntry(q)
		if err != nil {
			return err
		}
		if last <= 1 {
			if err := errors.Join(q.store.Close(), os.Remove(q.logPath()), q.open()); err != nil {
				return fmt.Errorf("begin anew in %q: %w", q.dir, err)
			}
			has = false
		}
	}
	if !has && !join {
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
	return q.checkMembers(s)
}

// checkMembers compares the quorum on disk with this server and the configured list. The
// list is where others look for metas, not who decides: that stands in the log.
func (q *quorum) checkMembers(s *Server) error {
	have := voters(q.servers())
	if len(q.servers()) == 0 {
		s.log.Warnf("waits to be added to the quorum: run `pegasus meta add %s`", s.name)
		return nil
	}
	if !slices.ContainsFunc(q.servers(), func(m raft.Server) bool { return string(m.Address) == s.name }) {
		return fmt.Errorf("%s was removed from the quorum [%s]: to bring it back empty meta.data_dir %q, start it with --join, and run `pegasus meta add %s`",
			s.name, strings.Join(have, " "), q.dir, s.name)
	}
	want := slices.Clone(s.metas)
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		s.log.Warnf("the quorum is [%s], but cluster.meta_servers says [%s]: correct the list on every server; the members are changed by `pegasus meta add` and `pegasus meta remove`", strings.Join(have, " "), strings.Join(want, " "))
	}
	return nil
}

// servers returns the members of the quorum as far as this server knows.
func (q *quorum) servers() []raft.Server {
	list, _ := q.serversAt()
	return list
}

// serversAt returns the members too, and the index of the entry that made them so.
func (q *quorum) serversAt() ([]raft.Server, uint64) {
	if q.raft == nil {
		return nil, 0
	}
	f := q.raft.GetConfiguration()
	if f.Error() != nil {
		return nil, 0
	}
	return f.Configuration().Servers, f.Index()
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
	addr, _ := q.raft.LeaderWithID()
	return string(addr)
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
