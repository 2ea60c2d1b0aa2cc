package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"pegasus/base/config"
	"pegasus/cli"
)

// startServers starts a meta and three replica servers in this process, and returns their addresses, the meta's first.
func startServers(t *testing.T) []string {
	t.Helper()
	var addrs []string
	for range 4 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
		l.Close()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	log := logrus.New()
	log.SetOutput(io.Discard)
	dir := t.TempDir()
	for i, addr := range addrs {
		cfg := config.Default()
		cfg.Cluster.Name, cfg.Cluster.MetaServers = "every", addrs[:1]
		cfg.Meta.Listen, cfg.Meta.DataDir = addr, filepath.Join(dir, "meta")
		cfg.Replica.Listen, cfg.Replica.DataDirs = addr, []string{filepath.Join(dir, fmt.Sprintf("replica%d", i))}
		for _, d := range append(cfg.Replica.DataDirs, cfg.Meta.DataDir) {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		serve := runReplica
		if i == 0 {
			serve = runMeta
		}
		wg.Go(func() {
			if err := serve(ctx, cfg, logrus.NewEntry(log)); err != nil && ctx.Err() == nil {
				t.Errorf("server %s: %v", addr, err)
			}
		})
	}
	return addrs
}

// everyCase is a command line that is run twice: as it is, and with -o json. N is 1 then 2, NODE1 to NODE3 are replica
// servers, META the meta. The text matches want; a status other than 0 is given.
type everyCase struct {
	line, want string
	status     int
}

// healthyOrIll is the status of `status` while tables come and go.
const healthyOrIll = -1

// everyCases are the commands that ask a cluster of this process.
var everyCases = []everyCase{
	{"status", "cluster every: 1 of 1 meta servers answer, 3 of 3 replica servers live", healthyOrIll},
	{"server ls", `META +meta +answers(.|\n)*NODE3 +replica +answers`, 0},
	{"table create tN -p 4", `table tN: id \d+, 4 partitions with 3 replicas`, 0},
	{"table ls", `t1 +available +4 +3`, 0},
	{"table show tN", `table tN: id \d+, 4 partitions`, 0},
	{"table show tN --why", `healthy`, 0},
	{"set tN h a 1", "OK", 0},
	{"get tN h a", "^1\n$", 0},
	{"set tN h traced 1 --trace", `OK\n(.|\n)*primary 127.*PUT from(.|\n)* sent to (.|\n)* logged by (.|\n)* committed\n(.|\n)* answered\n`, 0},
	{"get tN h traced --trace", `(?s)^1\n.*GET from .* read\n.* answered`, 0},
	{"incr tN h n 5", "^5\n$", 0},
	{"ttl tN h a", "doesn't expire", 0},
	{"exists tN h a", "^true\n$", 0},
	{"exists tN h none", "^false\n$", 0},
	{"hash tN h a", `HASH +PARTITION +GPID +PRIMARY\n6151240040613317424 +0 +\d+\.0 +127`, 0},
	{"hash h --partitions 8", `6151240040613317424 +0`, 0},
	{"multi-set tN m a 1 b 2 c 3 d 4", "OK", 0},
	{"multi-get tN m", `"m" : "d" => "4"`, 0},
	{"multi-del tN m d", "OK", 0},
	{"check-and-set tN m a b 9 --check int-equal --operand 1 --show", `held: written\nthe checked row was "1"`, 0},
	{"check-and-set tN m a b 9 --check not-exist", `didn't hold: nothing is written`, 6},
	{"check-and-mutate tN m none set e 5 del c", `held: written`, 0},
	{"scan tN m", `"m" : "a" => "1"\n"m" : "b" => "9"\n"m" : "e" => "5"\n$`, 0},
	{"count tN m", "^3\n$", 0},
	{"del-range tN m --from b --dry-run", "^2 rows would be removed", 0},
	{"del-range tN m --from b --yes", "^2 rows are removed", 0},
	{"del tN h a", "OK", 0},
	{"table stats --over 10ms", `t1 +`, 0},
	{"table stats tN --over 10ms", `nobody asked|PARTITION`, 0},
	{"table usage", `t1 +12 `, 0},
	{"table usage --history", `nothing is known yet|HOUR \(UTC\)`, 0},
	{"table usage none --history", "doesn't exist", 3},
	{"table env help default_ttl", "default_ttl", 0},
	{"table env set tN default_ttl=1000 --dry-run", `default_ttl +- +1000`, 0},
	{"table env set tN default_ttl=soon --dry-run", "invalid value", 1},
	{"table env set tN default_ttl=1000", "1 settings set", 0},
	{"table env del tN default_ttl --dry-run", `default_ttl +1000 +-`, 0},
	{"table env ls tN", "default_ttl +1000", 0},
	{"table env del tN default_ttl", "deleted", 0},
	{"table availability", "TABLE|nothing was probed yet", 0},
	{"table availability tN", "TABLE|nothing was probed yet", 0},
	{"table hotkeys tN", "no hash key of table tN|PARTITION", 0},
	{"table replicas tN", "3 replicas", 0},
	{"table replicas tN 2 --dry-run", "isn't: table tN has 2 replicas, now: 3", 0},
	{"table replicas tN 2", "2 replicas, before: 3", 0},
	{"table atomic-idempotent tN", "is off", 0},
	{"table atomic-idempotent tN on", "is on, before: off", 0},
	{"table balance tN --dry-run", "", 0},
	{"table compact tN --wait 0s", "is being compacted", 0},
	{"table compact tN --status", "tN", 0},
	{"table rename tN sN --dry-run", "isn't: table tN is called sN", 0},
	{"table rename tN tN --dry-run", "already", 1},
	{"table rename tN sN", "table tN is called sN now", 0},
	{"table drop sN --dry-run", `isn't: table sN \(id \d+, 4 partitions\) is dropped; .pegasus table recall \d+. brings it back`, 0},
	{"table drop none --if-exists --dry-run", "isn't: nothing: table none doesn't exist", 0},
	{"table drop sN", "table sN is dropped", 0},
	{"table recall sN --as rN", "table rN is back", 0},
	{"table propose rN.0 remove NODE9 --dry-run", "address", 1},
	{"table split rN --dry-run", "isn't: table rN is split to 8 partitions, now: 4", 0},
	{"table split rN --status", "is not being split", 0},
	{"meta level", "steady: everything is repaired", 0},
	{"meta level steady", "before: steady", 0},
	{"meta status", "META +leader", 0},
	{"meta backup DIR/metaN", "state of cluster every", 0},
	{"meta upgrade-version --dry-run", "", 0},
	{"meta add nonsense", "", 1},
	{"meta remove nonsense", "", 1},
	{"meta remove META --dry-run", "only member", 1},
	{"meta transfer", "only member", 1},
	{"meta transfer --dry-run", "META leads, and would hand over to the one", 0},
	{"meta transfer --to META", "META leads already", 0},
	{"meta transfer --to META --dry-run", "META leads already", 0},
	{"meta transfer --to 127.0.0.1:1", "no member of the quorum", 3},
	{"server info META NODE1", "start_time(.|\n)*start_time", 0},
	{"server stats NODE1 --name total_replicas", `NODE1 +total_replicas +\d+ +replicas`, 0},
	{"server command NODE1 server-stat", "replicas=", 0},
	{"server command --all version", `META:\n(.|\n)*NODE3:\n`, 0},
	{"server command META nonsense", `unknown command 'nonsense'`, 1},
	{"server traces --slowest --count 3", `(?s)trace [0-9a-f]+, primary .*received.*answered|^$`, 0},
	{"server traces --id 5eed", "no server has a trace with id 5eed", 3},
	{"server traces META", "keeps no traces", 1},
	{"server log-level META", `META +info`, 0},
	{"server log-level --all replica/wal=debug rpc=error", `NODE3 +replica +info +replica/wal=debug rpc=error`, 0},
	{"server log-level NODE1 replica/wal= rpc=", `NODE1 +info\s*$`, 0},
	{"server log-level NODE1 rpc=loud", `the level must be one of debug, info, warn, error`, 1},
	{"server config ls META --mutable", `logging.level +info +can be set`, 0},
	{"server config get --all logging.", `logging.level +info +can be set +all`, 0},
	{"server config set --replicas replica.slow_query_threshold 30ms --dry-run", "NODE1 +replica.slow_query_threshold +100ms +30ms(.|\n)*nothing is changed", 0},
	{"server config set --replicas replica.nonsense 1", "nothing is changed: (.|\n)*has no configuration key", 3},
	{"server config set --all logging.level info", "NODE3 +logging.level +info +info", 0},
	{"server config set NODE1 replica.listen x", "can't be changed while", 1},
	{"node ls", "NODE1 +alive +full", 0},
	{"nodes", "NODE1 +alive", 0},
	{"node drain NODE1 --dry-run", `isn't: \d+ primaries and \d+ replicas \(.*\) are moved away from NODE1`, 0},
	{"node drain 127.0.0.1:1 --dry-run", "know no replica server", 3},
	{"node drain NODE1 --wait 0s", "is being drained", 0},
	{"node back NODE1", "can hold replicas again", 0},
	{"node forget NODE1", "", 1}, // it lives
	{"node forget NODE1 --dry-run", "is alive", 1},
	{"node restart", "--exec is missing", 1},
	{"node restart --exec true --dry-run", `NODE3 +\d+ +\d+`, 0},
	{"disk ls", "NODE1", 0},
	{"disk balance --dry-run", "", 0},
	{"disk add NODE1", "wrong number of arguments", 5},
	{"disk move NODE1 1.0 --from a --to b", "no data directory|isn't here", 3},
	{"disk retry NODE1 nonsense", "", 1},
	{"disk abandon NODE1 nonsense", "", 1},
	{"disk abandon NODE1 nonsense --dry-run", "has no data directory", 3},
	{"disk move NODE1 1.0 --from a --to b --dry-run", "has no data directory", 3},
	{"rebalance --dry-run", "", 0},
	{"recover --accept-loss rN --yes", "is available: nothing was changed", 0},
	{"health", "r1 +", 0},
	{"top --once --every 10ms", "NODE3 +alive(.|\n)*r1 +4", 0},
	{"ddd", "no partition waits", 0},
	{"shell", "", 0},
	{"reference", "# Commands", 0},
	{"ddd rN --fix --yes", "is available: nothing was changed", 0},
	{"import DIR/none r1", "", 1},
	{"export rN DIR/outN.jsonl", "are in", 0},
	{"copy rN none", "", 3},
	{"copy rN none --dry-run", "", 3},
	{"clear rN --all", "without a terminal give --yes", 1},
	{"clear rN --all --dry-run", `isn't: \d+ rows of table rN are removed`, 0},
	{"clear rN --all --yes", "are removed", 0},
	{"dup ls", "", 0},
	{"backup delete 7 --dry-run", "backup", 1},
	{"backup delete 7", "without a terminal", 1},
	{"restore ls", "", 0},
	{"config example", "meta_servers", 0},
	{"version", "pegasus", 0},
}

// notHere are the commands that other tests run, and which: they need stores, other clusters, files of servers, or
// run for ever.
var notHere = map[string]string{
	"onebox": "onebox", "meta": "TestServe", "replica": "TestServe", "server meta": "TestServe", "server replica": "TestServe", "bench": "bench",
	"meta restore": "meta", "meta recover-quorum": "meta",
	"config check": "testdata/config.txt", "config import": "TestConfigImport",
	"restore": "compat_test TestManual",
}

// groupsElsewhere are groups all of whose commands other tests run.
var groupsElsewhere = map[string]string{
	"backup": "backupfiles_test.go, compat_test TestManual", "blob": "blob_test.go", "bulkload": "loadfiles_test.go, compat_test TestManual", "compare": "between_test.go",
	"debug": "cli/debug_test.go", "dup": "compat_test TestManual", "migrate": "migratedirs_test.go, migratetables_test.go", "completion": "cobra",
}

// Each command works as text and in JSON against real servers. None is forgotten.
func TestEveryCommand(t *testing.T) {
	addrs := startServers(t)
	t.Setenv("PEGASUS_META", addrs[0])
	dir := t.TempDir()
	names := strings.NewReplacer("META", addrs[0], "NODE1", addrs[1], "NODE2", addrs[2], "NODE3", addrs[3], "DIR", dir)
	exec := func(line string) (status int, out, errs string) {
		args, err := splitLine(names.Replace(line))
		if err != nil {
			t.Fatal(err)
		}
		var o, e bytes.Buffer
		status = run(t.Context(), args, &o, &e)
		return status, o.String(), e.String()
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, out, errs := exec("node ls --timeout 2s"); strings.Count(out, " alive ") == 3 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the servers don't come: %s%s", out, errs)
		}
	}
	ran := map[string]bool{}
	for _, n := range []string{"1", "2"} {
		for _, c := range everyCases {
			line := regexp.MustCompile(`\b(t|s|r|meta|out)N\b`).ReplaceAllString(c.line, "${1}"+n)
			args, _ := splitLine(line)
			cmd, _, err := newRoot().Find(args)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			ran[cmd.CommandPath()] = true
			asJSON := n == "2"
			if asJSON {
				if cmd.Flag("output") == nil {
					continue
				}
				line += " -o json"
			}
			status, out, errs := exec(line)
			if status != c.status && (c.status != healthyOrIll || status != 0 && status != cli.ExitIll) {
				t.Errorf("%s: status %d, want %d: %s%s", line, status, c.status, out, errs)
				continue
			}
			if asJSON {
				for d := json.NewDecoder(strings.NewReader(out)); ; {
					var v any
					if err := d.Decode(&v); err == io.EOF {
						break
					} else if err != nil {
						t.Errorf("%s: no JSON: %v: %s", line, err, out)
						break
					}
				}
				continue
			}
			want := names.Replace(regexp.MustCompile(`\b(t|s|r)N\b`).ReplaceAllString(c.want, "${1}"+n))
			if !regexp.MustCompile(want).MatchString(out + errs) {
				t.Errorf("%s: want %s, got\n%s%s", line, want, out, errs)
			}
		}
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		path := strings.TrimPrefix(c.CommandPath(), "pegasus ")
		if groupsElsewhere[path] != "" || c.Name() == "help" {
			return
		}
		for _, s := range c.Commands() {
			walk(s)
		}
		group := c.HasSubCommands() && c.Args == nil
		if c.Runnable() && !group && c.HasParent() && !ran[c.CommandPath()] && notHere[path] == "" {
			t.Errorf("%s is run by no test: add a case", c.CommandPath())
		}
	}
	walk(newRoot())
}
