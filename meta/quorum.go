package meta

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/sirupsen/logrus"
	"go.etcd.io/bbolt"
	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/gen/metaquorum"
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
	store  *logStore
	room   *room
	snaps  *raft.FileSnapshotStore
	raft   *raft.Raft
	notify chan bool // leadership won or lost
	logs   *logWriter
	// encode makes a log entry of a command, or says why the cluster's version forbids it.
	encode func(state.Command) ([]byte, error)
}

// openQuorum opens the log and the snapshots of the data directory.
func openQuorum(s *Server) (*quorum, error) {
	q := &quorum{dir: s.cfg.Meta.DataDir, notify: make(chan bool, 16), logs: &logWriter{
		log: s.log.WithField("part", "raft"), failing: rate.Sometimes{First: 2, Interval: 10 * time.Second},
	}, encode: s.fsm.encode}
	q.room = newRoom(q.dir, s.cfg.Meta.ReserveBytes, s.log.WithField("part", "disk"))
	if err := q.open(); err != nil {
		return nil, err
	}
	q.room.refill()
	return q, nil
}

// open opens the log and the snapshots.
func (q *quorum) open() (err error) {
	q.store = &logStore{room: q.room, closed: make(chan struct{}), failing: rate.Sometimes{First: 1, Interval: 10 * time.Second}}
	err = q.store.withReserve(q.openLog)
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

// errDamaged is wrapped when what the data directory holds can't be read, and says what to do.
var errDamaged = errors.New("it is damaged, and this server can't go on with it. " +
	"If most meta servers run without this one, move everything in meta.data_dir away and start it again: it gets all from them; " +
	"if not, see `pegasus meta recover-quorum` and `pegasus meta restore`")

// openLog opens the log, and reads all of it once: what is damaged is to be found now.
func (q *quorum) openLog() (err error) {
	defer orDamaged(q.logPath(), &err)()
	if q.store.BoltStore, err = raftboltdb.New(raftboltdb.Options{Path: q.logPath(), BoltOptions: &bbolt.Options{Timeout: lockWait}}); err != nil {
		if errno := syscall.Errno(0); errors.Is(err, bbolt.ErrTimeout) || errors.As(err, &errno) {
			return err
		}
		return fmt.Errorf("%s: %w: %w", q.logPath(), err, errDamaged)
	}
	first, err := q.store.FirstIndex()
	if err != nil {
		return err
	}
	last, err := q.store.LastIndex()
	if err != nil {
		return err
	}
	for i := first; first > 0 && i <= last; i++ {
		var l raft.Log
		if err := q.store.GetLog(i, &l); err != nil {
			return errors.Join(fmt.Errorf("%s: entry %d of %d to %d: %w: %w", q.logPath(), i, first, last, err, errDamaged), q.store.Close())
		}
	}
	return nil
}

// orDamaged begins what reads files of which others say by a panic, or by a fault of memory that is
// mapped, that they are damaged. What it returns ends it.
func orDamaged(what string, err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			*err = fmt.Errorf("%s: %v: %w", what, p, errDamaged)
		}
	}
}

func (q *quorum) logPath() string { return filepath.Join(q.dir, logFile) }

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
		listed := s.cfg
		listed.Meta.Advertise = s.name
		if err := listed.CheckListed(false); err != nil {
			return err
		}
		var servers []raft.Server
		for _, m := range s.metas {
			servers = append(servers, raft.Server{ID: raft.ServerID(m), Address: raft.ServerAddress(m)})
		}
		if err := raft.BootstrapCluster(c, q.store, q.store, q.snaps, s.transport, raft.Configuration{Servers: servers}); err != nil {
			return fmt.Errorf("begin the raft log in %q: %w", q.dir, err)
		}
	}
	q.store.running.Store(true)
	if err := q.run(c, s); err != nil {
		return fmt.Errorf("start raft on %q: %w", q.dir, err)
	}
	return q.checkMembers(s)
}

// run runs raft, which panics if an entry is missing between the newest snapshot that can be
// read and the log's end.
func (q *quorum) run(c *raft.Config, s *Server) (err error) {
	defer orDamaged(q.dir, &err)()
	q.raft, err = raft.NewRaft(c, s.fsm, q.store, q.store, q.snaps, s.transport)
	return err
}

// checkMembers compares the quorum on disk with this server and the configured list. The
// list is where others look for metas, not who decides: that stands in the log.
func (q *quorum) checkMembers(s *Server) error {
	have := voters(q.servers())
	if len(q.servers()) == 0 {
		s.log.Infof("waits to be added to the quorum: run `pegasus meta add %s`", s.name)
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

func voters(servers []raft.Server) (list []string) {
	for _, m := range servers {
		if m.Suffrage == raft.Voter {
			list = append(list, string(m.Address))
		}
	}
	return list
}

// apply commits a command. The error is base.ErrForwardToOthers if this server doesn't
// lead, base.ErrTimeout if it is not known whether the command was committed, ErrInvalidState
// if the cluster's version is too low for it, and base.ErrDiskInsufficient if the disk has no
// room for it.
func (q *quorum) apply(c state.Command) (state.Result, error) {
	waitsForRaft()
	entry, err := q.encode(c)
	if err != nil {
		return state.Result{}, fmt.Errorf("%w: %w", base.ErrInvalidState, err)
	}
	if err := q.room.admit(c, len(entry)); err != nil {
		return state.Result{}, fmt.Errorf("commit %T: %w", c, err)
	}
	f := q.raft.Apply(entry, applyWait)
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

// undecided tells whether an error of apply leaves open whether the command is carried out,
// now or under another leader. Raft gives up its leadership with such an error.
func undecided(err error) bool {
	for _, code := range []base.ErrorCode{base.ErrForwardToOthers, base.ErrBusy, base.ErrInvalidState, base.ErrDiskInsufficient} {
		if errors.Is(err, code) {
			return false
		}
	}
	return err != nil
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
	q.store.closing.Do(func() { close(q.store.closed) })
	if q.raft != nil {
		err = q.raft.Shutdown().Error()
	}
	return errors.Join(err, q.store.Close())
}

// usual are raft's warnings and errors about what every election brings, and every member that catches
// up. Elections that come to nothing again and again are told by backOffElections.
var usual = regexp.MustCompile(`: (heartbeat timeout reached, |election timeout reached, |no known peers, |not part of stable configuration, |` +
	`new leader elected, stepping down|rejecting (pre-)?vote request|duplicate requestvote|peer has newer term|` +
	`appendentries rejected, sending older logs|failed to get (previous )?log: .*log not found|previous log term mis-match|clearing log suffix)`)

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
	case usual.MatchString(strings.ToLower(msg)):
		w.log.Info(msg)
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

func wireMembers(servers []raft.Server) (list []metaquorum.QuorumMember) {
	for _, m := range servers {
		list = append(list, metaquorum.QuorumMember{Address: string(m.Address), Voter: m.Suffrage == raft.Voter})
	}
	return list
}
