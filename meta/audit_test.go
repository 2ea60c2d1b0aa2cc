package meta

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/gen/metaadmin"
	"pegasus/gen/placement"
)

// logged collects the lines of a log.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) Levels() []logrus.Level { return logrus.AllLevels }

func (l *logged) Fire(e *logrus.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, e.Level.String()+": "+e.Message)
	return nil
}

// find returns the lines with all parts.
func (l *logged) find(parts ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		all := true
		for _, p := range parts {
			all = all && strings.Contains(line, p)
		}
		if all {
			found = append(found, line)
		}
	}
	return found
}

// Whatever an administrator or a tool changes is logged, with who asked.
func TestChangesAreLogged(t *testing.T) {
	c := newCluster(t, 1, 3, fast)
	log := &logged{}
	c.metas[0].srv.log.Logger.AddHook(log)
	c.mustCreate("temp", 2, 3)
	c.whole("temp", 3)
	envs := func(op metaadmin.AppEnvOperation, keys, values []string) {
		r := &metaadmin.ConfigurationUpdateAppEnvResponse{}
		q := &metaadmin.ConfigurationUpdateAppEnvRequest{AppName: "temp", Op: op, Keys: base.Some(keys), Values: base.Some(values)}
		if c.ask(base.RPCUpdateAppEnv, q, r); r.Err != base.ErrOK {
			t.Fatal(r.Err, r.HintMessage)
		}
	}
	envs(metaadmin.APP_ENV_OP_SET, []string{appenv.DefaultTTL}, []string{"5"})
	envs(metaadmin.APP_ENV_OP_SET, []string{appenv.DefaultTTL, appenv.UserCompaction}, []string{"7", `{"ops":[]}`})
	envs(metaadmin.APP_ENV_OP_DEL, []string{appenv.DefaultTTL}, nil)
	c.ask(base.RPCStartManualCompact, &metaadmin.StartAppManualCompactRequest{AppName: "temp"}, &metaadmin.StartAppManualCompactResponse{})
	c.ask(base.RPCSetMaxReplicaCount, &metaadmin.ConfigurationSetMaxReplicaCountRequest{AppName: "temp", MaxReplicaCount: 2}, &metaadmin.ConfigurationSetMaxReplicaCountResponse{})
	c.ask(base.RPCSetAtomicIdempotent, &metaadmin.ConfigurationSetAtomicIdempotentRequest{AppName: "temp", AtomicIdempotent: true}, &metaadmin.ConfigurationSetAtomicIdempotentResponse{})
	c.ask(base.RPCRenameApp, &metaadmin.ConfigurationRenameAppRequest{OldAppName: "temp", NewAppName: "shop"}, &metaadmin.ConfigurationRenameAppResponse{})
	c.role(c.reps[0].addr, placement.NODE_NO_PRIMARIES)
	c.rebalance(placement.REBALANCE_START, "", false)
	c.level(metaadmin.FlLively)
	c.remote("meta.live_percentage", "40")
	c.ask(base.RPCDropApp, &metaadmin.ConfigurationDropAppRequest{AppName: "shop"}, &metaadmin.ConfigurationDropAppResponse{})
	c.ask(base.RPCRecallApp, &metaadmin.ConfigurationRecallAppRequest{AppId: 1}, &metaadmin.ConfigurationRecallAppResponse{})
	page, err := http.Post(fmt.Sprintf("http://%s/meta/app/usage_scenario", c.metas[0].name), "application/json", strings.NewReader(`{"app_name":"shop","scenario":"bulk_load"}`))
	if err != nil {
		t.Fatal(err)
	}
	page.Body.Close()
	for _, want := range [][]string{
		{`table "temp" created with id 1, 2 partitions of 3 replicas`},
		{`other settings: default_ttl = "5"`},
		{`default_ttl = "7"`, "user_specified_compaction (10 bytes)", `before: default_ttl = "5"`},
		{"deleted: default_ttl", `before: default_ttl = "7"`},
		{"manual_compact.once.trigger_time"},
		{`table "temp" (1) gets 2 replicas, it had 3`},
		{"atomic_idempotent is true"},
		{`table "temp" (1) renamed to "shop"`},
		{c.reps[0].name, "NODE_NO_PRIMARIES"},
		{"a rebalancing begins"},
		{"function level", "lively"},
		{`remote command "meta.live_percentage 40"`},
		{`table "shop" (1) dropped`},
		{"table 1 recalled"},
		{`rocksdb.usage_scenario = "bulk_load"`},
	} {
		found := log.find(want...)
		if len(found) != 1 || !strings.HasPrefix(found[0], "info: ") || !strings.Contains(found[0], "asked by 127.0.0.1:") {
			t.Errorf("%q is logged as %q", want, found)
		}
	}
}

// What raft says of usual elections, and of members that catch up, is no warning; what it says of
// failures is.
func TestRaftsLog(t *testing.T) {
	l := logrus.New()
	l.SetOutput(io.Discard)
	log := &logged{}
	l.AddHook(log)
	for _, c := range []struct{ line, want string }{
		{"[WARN]  raft: heartbeat timeout reached, starting election: last-leader-addr= last-leader-id=", "info"},
		{"[WARN]  raft: Election timeout reached, restarting election", "info"},
		{"[WARN]  raft: no known peers, aborting election", "info"},
		{"[WARN]  raft: rejecting pre-vote request since we have a leader: from=h:1 leader=h:2", "info"},
		{"[WARN]  raft: appendEntries rejected, sending older logs: peer=\"{Voter h:1 h:1}\" next=1", "info"},
		{"[WARN]  raft: failed to get previous log: previous-index=7 last-index=0 error=\"log not found\"", "info"},
		{"[ERROR] raft: failed to get log: index=1 error=\"log not found\"", "info"},
		{"[ERROR] raft: failed to get log: index=1 error=\"the disk is gone\"", "warning"},
		{"[WARN]  raft: failed to contact quorum of nodes, stepping down", "warning"},
		{"[ERROR] raft: failed to persist vote: error=\"no space\"", "warning"},
		{"[ERROR] raft: got unexpected command: command=x", "error"},
	} {
		log.lines = nil
		w := &logWriter{log: logrus.NewEntry(l), failing: rate.Sometimes{First: 1}}
		if _, err := w.Write([]byte(c.line + "\n")); err != nil {
			t.Fatal(err)
		}
		worst := ""
		for _, s := range log.lines {
			if level, _, _ := strings.Cut(s, ":"); worst == "" || level != "debug" {
				worst = level
			}
		}
		if worst != c.want {
			t.Errorf("%s is logged as %q", c.line, log.lines)
		}
	}
}
