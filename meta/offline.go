package meta

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"pegasus/base/config"
	"pegasus/base/metabackup"
	"pegasus/meta/state"
)

// What is done to a data directory whose server doesn't run.

// Recovered tells what RecoverQuorum and RestoreBackup made.
type Recovered struct {
	Cluster, Server string
	Former          []string // members of the quorum before
	Index, Term     uint64   // last entry of the log that the state comes from
	Tables          int      // available ones
	Taken           time.Time
}

// RecoverQuorum makes the server whose data directory dir is the only member of a new
// quorum, with all that its log has. It is for a quorum that lost its majority for good: what
// only the lost members had is gone, and they may never come back with their data. As after
// RestoreBackup no configuration changes before the replica servers were asked.
// With dry set nothing is written, and Tables isn't known.
func RecoverQuorum(dir string, dry bool, log *logrus.Entry) (*Recovered, error) {
	o, found, err := readOwner(dir)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("meta.data_dir %q is no meta server's: name the directory of the member that has the most (`pegasus meta status` shows each one's last entry)", dir)
	}
	q, err := openOffline(dir, log)
	if err != nil {
		return nil, err
	}
	defer q.store.Close()
	r := &Recovered{Cluster: o.Cluster, Server: o.Server}
	if r.Index, r.Term, err = lastEntry(q); err != nil {
		return nil, err
	}
	if r.Index <= 1 {
		return nil, fmt.Errorf("meta.data_dir %q has nothing of any quorum: recover from another member, or from a backup (`pegasus meta restore`), or from the replica servers (`pegasus recover`)", dir)
	}
	conf := offlineConfig(q, o.Server)
	_, trans := raft.NewInmemTransport(raft.ServerAddress(o.Server))
	if c, err := raft.GetConfiguration(conf, newFSM(func(error) {}, func(string) {}), q.store, q.store, q.snaps, trans); err == nil {
		r.Former = voters(c.Servers)
	}
	if dry {
		return r, nil
	}
	var broken error
	id := rand.Text()
	f := &recoveringFSM{fsm: newFSM(func(err error) { broken = errors.Join(broken, err) }, func(string) {}), quorum: id}
	// Without an identity the directory takes the one that its log has, old or new: so this
	// can be cut short anywhere.
	if err := writeOwner(dir, owner{Cluster: o.Cluster, Server: o.Server}); err != nil {
		return nil, err
	}
	err = raft.RecoverCluster(conf, f, q.store, q.store, q.snaps, trans, onlyMember(o.Server))
	if err = errors.Join(err, broken); err != nil {
		return nil, fmt.Errorf("make %s the only member: %w", o.Server, err)
	}
	r.Tables = countTables(f.st)
	return r, writeOwner(dir, owner{o.Cluster, o.Server, id})
}

// RestoreBackup makes the empty data directory of cfg that of the only member of a new
// quorum with the state of a backup. It changes no configuration until the replica servers
// were asked (`pegasus recover`): what the backup says of them may be long past.
func RestoreBackup(cfg config.Config, file []byte, log *logrus.Entry) (*Recovered, error) {
	b, err := metabackup.Decode(file)
	if err != nil {
		return nil, err
	}
	dir, server := cfg.Meta.DataDir, cfg.Meta.Known()
	if b.Cluster != cfg.Cluster.Name {
		return nil, fmt.Errorf("the backup is of cluster %q, but cluster.name is %q: correct the name, or take another backup", b.Cluster, cfg.Cluster.Name)
	}
	st, err := state.Restore(b.State)
	if err != nil {
		return nil, fmt.Errorf("the state in the backup: %w", err)
	}
	list, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, mkdirError(dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("meta.data_dir: %w", err)
	}
	if len(list) > 0 {
		return nil, fmt.Errorf("meta.data_dir %q isn't empty (%s): stop its server and move what is there away; nothing is ever overwritten", dir, list[0].Name())
	}
	id := rand.Text()
	st.BeginQuorum(id, true)
	q, err := openOffline(dir, log)
	if err != nil {
		return nil, err
	}
	r := &Recovered{Cluster: b.Cluster, Server: server, Index: max(b.Index, 2), Term: max(b.Term, 1), Tables: countTables(st), Taken: time.Unix(b.Second, 0)}
	write := func() error {
		_, trans := raft.NewInmemTransport(raft.ServerAddress(server))
		// The term first: a log must not be ahead of it.
		if err := q.store.SetUint64([]byte("CurrentTerm"), r.Term); err != nil {
			return err
		}
		sink, err := q.snaps.Create(raft.SnapshotVersionMax, r.Index, r.Term, onlyMember(server), 1, trans)
		if err != nil {
			return err
		}
		return snapshot(st.AppendSnapshot(nil)).Persist(sink)
	}
	err = errors.Join(write(), q.store.Close())
	if err == nil {
		err = writeOwner(dir, owner{b.Cluster, server, id})
	}
	if err != nil {
		for _, name := range []string{"raft.db", "snapshots", ownerFile} {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
		}
		return nil, fmt.Errorf("write the backup's state into %q: %w", dir, err)
	}
	return r, nil
}

// recoveringFSM gives the state another identity before it is written.
type recoveringFSM struct {
	*fsm
	quorum string
}

// Snapshot encodes the State as that of the new quorum.
func (f *recoveringFSM) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	f.st.BeginQuorum(f.quorum, true) // the last changes may be lost
	f.mu.Unlock()
	return f.fsm.Snapshot()
}

func openOffline(dir string, log *logrus.Entry) (*quorum, error) {
	q := &quorum{dir: dir, room: newRoom(dir, 0, log), logs: &logWriter{log: log, failing: rate.Sometimes{First: 2, Interval: time.Second}}}
	return q, q.open()
}

func offlineConfig(q *quorum, server string) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(server)
	c.Logger = q.logger("raft")
	return c
}

func onlyMember(server string) raft.Configuration {
	return raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(server), Address: raft.ServerAddress(server)}}}
}
