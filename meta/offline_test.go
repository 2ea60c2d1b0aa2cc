package meta

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/metabackup"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metaquorum"
)

// Two of three metas are lost for good. The third is made the only member; it has
// everything, takes in new ones, and the lost ones may not come back as they were.
func TestRecoverQuorum(t *testing.T) {
	c := newCluster(t, 3, 1, nil)
	c.mustCreate("temp", 2, 1)
	want := c.query("temp")
	left := c.leader()
	var lost []*metaProc
	for _, m := range c.metas {
		if m != left {
			lost = append(lost, m)
		}
	}
	if _, err := RecoverQuorum(left.cfg.Meta.DataDir, false, testLog()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("of a server that runs: %v", err)
	}
	before := c.status(left.name).Quorum
	for _, m := range c.metas {
		c.stopMeta(m)
	}
	if r, err := RecoverQuorum(left.cfg.Meta.DataDir, true, testLog()); err != nil || len(r.Former) != 3 || r.Index < 2 {
		t.Fatalf("a dry run: %+v, %v", r, err)
	}
	r, err := RecoverQuorum(left.cfg.Meta.DataDir, false, testLog())
	if err != nil {
		t.Fatal(err)
	}
	if r.Server != left.name || r.Tables != 1 || len(r.Former) != 3 || r.Index < 2 || r.Term < 1 {
		t.Errorf("it says %+v", r)
	}
	c.startMeta(left, nil)
	c.leader()
	if got := c.query("temp"); len(got.Partitions) != 2 || got.Partitions[0].Primary != want.Partitions[0].Primary || got.Partitions[0].Ballot < want.Partitions[0].Ballot {
		t.Errorf("the table was %+v, is %+v", want, got)
	}
	// What the lost ones decided last is not known here: the replica servers are asked first.
	if r := c.create("early", 1, 1); r.Err != base.ErrStateFreezed {
		t.Errorf("create before the replica servers were asked: %v", r.Err)
	}
	var rec metaadmin.ConfigurationRecoveryResponse
	c.ask("RPC_CM_START_RECOVERY", &metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: []base.RPCAddress{c.reps[0].addr}}, &rec)
	if rec.Err != base.ErrOK {
		t.Fatalf("recover: %+v", rec)
	}
	c.whole("temp", 1)
	if st := c.status(left.name); st.Quorum == before || st.Quorum == "" || len(st.Members) != 1 {
		t.Errorf("status: %+v", st)
	}
	// One of the lost comes back with its disk: it is no member, and is told so.
	c.startMeta(lost[0], nil)
	if err := left.srv.members.admit(message(lost[0].name, before, true)); err == nil || !strings.Contains(err.Error(), "made anew") {
		t.Errorf("one of before: %v", err)
	}
	if r := c.change(lost[0].name, false); r.Err != base.ErrInvalidParameters || !strings.Contains(r.Hint, "another quorum") {
		t.Errorf("add it with its old data: %+v", r)
	}
	c.stopMeta(lost[0])
	emptyDir(t, lost[0].cfg.Meta.DataDir)
	lost[0].cfg.Meta.Join = true
	c.startMeta(lost[0], nil)
	if r := c.change(lost[0].name, false); r.Err != base.ErrOK || len(r.Members) != 2 {
		t.Errorf("add it empty: %+v", r)
	}
	c.mustCreate("after", 1, 1)
	until(t, "it has the tables", func() bool { return c.status(lost[0].name).Tables == 2 })
	// One at a new address, which stands in no list yet, joins and is started again without --join.
	fresh := c.addMeta(nil)
	if r := c.change(fresh.name, false); r.Err != base.ErrOK || len(r.Members) != 3 {
		t.Errorf("add one at a new address: %+v", r)
	}
	c.stopMeta(fresh)
	fresh.cfg.Meta.Join = false
	if !Begun(fresh.cfg.Meta.DataDir) || Begun(t.TempDir()) {
		t.Error("whether a directory is of a quorum isn't seen")
	}
	c.startMeta(fresh, nil)
	until(t, "it follows again", func() bool { return c.status(fresh.name).Leader != "" })

	for _, tc := range []struct {
		what, dir, want string
	}{
		{"no directory", filepath.Join(t.TempDir(), "no"), "doesn't exist"},
		{"an empty one", t.TempDir(), "no meta server's"},
	} {
		if _, err := RecoverQuorum(tc.dir, false, testLog()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.what, err)
		}
	}
}

func (c *cluster) backup() []byte {
	c.t.Helper()
	var r metaquorum.QuorumBackupResponse
	c.ask("RPC_CM_QUORUM_BACKUP", &metaquorum.QuorumBackupRequest{}, &r)
	if r.Err != base.ErrOK {
		c.t.Fatalf("backup: %v %s", r.Err, r.Hint)
	}
	return r.Data
}

// A backup comes back with its tables, and nothing of what it says of partitions is acted
// upon before the replica servers were asked.
func TestRestoreBackup(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	c.mustCreate("temp", 2, 1)
	m := c.metas[0]
	file := c.backup()
	want := c.query("temp")
	c.stopMeta(m)

	cfg := m.cfg
	cfg.Meta.Listen = m.name
	restore := func(file []byte, change func(*config.Config)) error {
		cfg := cfg
		if change != nil {
			change(&cfg)
		}
		_, err := RestoreBackup(cfg, file, testLog())
		return err
	}
	if err := restore(file, nil); err == nil || !strings.Contains(err.Error(), "isn't empty") {
		t.Errorf("over what is there: %v", err)
	}
	emptyDir(t, m.cfg.Meta.DataDir)
	if err := restore(file[:len(file)-9], nil); !errors.Is(err, metabackup.ErrDamaged) {
		t.Errorf("half a file: %v", err)
	}
	if err := restore([]byte("x"), nil); !errors.Is(err, metabackup.ErrNotBackup) {
		t.Errorf("another file: %v", err)
	}
	if err := restore(file, func(c *config.Config) { c.Cluster.Name = "other" }); err == nil || !strings.Contains(err.Error(), "cluster.name") {
		t.Errorf("another cluster's: %v", err)
	}
	if err := restore(file, func(c *config.Config) { c.Meta.DataDir += "/no" }); err == nil || !strings.Contains(err.Error(), "mkdir") {
		t.Errorf("into nowhere: %v", err)
	}
	bad := metabackup.Backup{Cluster: c.cfg.Cluster.Name, State: []byte("PGSMETA\x01\xff")}
	if err := restore(bad.Append(nil), nil); err == nil {
		t.Error("a state that can't be read is restored")
	}
	if err := restore(file, nil); err != nil {
		t.Fatal(err)
	}
	c.startMeta(m, nil)
	c.leader()
	st := c.status(m.name)
	if !st.Restored || st.Tables != 1 || len(st.Members) != 1 {
		t.Errorf("status: %+v", st)
	}
	if r := c.create("more", 1, 1); r.Err != base.ErrStateFreezed {
		t.Errorf("create: %v", r.Err)
	}
	var s metaadmin.ConfigurationQueryByNodeResponse
	until(t, "the server is known", func() bool { return c.reps[0].beacon() })
	c.ask("RPC_CM_CONFIG_SYNC", &metaadmin.ConfigurationQueryByNodeRequest{Node: c.reps[0].addr}, &s)
	if s.Err != base.ErrBusy || len(s.Partitions) != 0 {
		t.Errorf("roles out of a backup: %+v", s)
	}
	got := c.query("temp")
	for i := range want.Partitions {
		if got.Partitions[i].Ballot != want.Partitions[i].Ballot {
			t.Errorf("partition %d was %+v, is %+v", i, want.Partitions[i], got.Partitions[i])
		}
	}
	// It stays so over a restart.
	c.stopMeta(m)
	c.startMeta(m, nil)
	c.leader()
	if !c.status(m.name).Restored {
		t.Error("a restart forgets that it is a backup")
	}
}
