package compat

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/compat_test/wire"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/registry"
	"pegasus/gen/replicaadmin"
	"pegasus/gen/value"
	"pegasus/meta"
	"pegasus/rpc"
)

// cppReplica answers as a replica server of the recording did.
type cppReplica struct {
	addr    base.RPCAddress
	answers map[string][]byte // body by the request's code
	apps    metaadmin.QueryAppInfoResponse
	reps    replicaadmin.QueryReplicaInfoResponse

	mu   sync.Mutex
	told []metaadmin.ConfigurationUpdateRequest
}

func (f *cppReplica) ServeRPC(r *rpc.Request) {
	if body := f.answers[r.Code]; body != nil {
		r.ReplyBody(base.ErrOK, body)
		return
	}
	var p metaadmin.ConfigurationUpdateRequest
	if r.Code == "RPC_CONFIG_PROPOSAL" && r.DecodeArg(&p) == nil {
		f.mu.Lock()
		f.told = append(f.told, p)
		f.mu.Unlock()
	}
	r.Drop()
}

// unbroken encodes an answer in which replicas of a dropped table are what ours are: inactive.
// The C++ servers have them in error, which with ours means that the data can't be used.
func unbroken(r *replicaadmin.QueryReplicaInfoResponse) []byte {
	for i := range r.Replicas {
		if r.Replicas[i].Status == metadata.PS_ERROR {
			r.Replicas[i].Status = metadata.PS_INACTIVE
		}
	}
	return rpc.AppendBody(nil, r)
}

// TestRecoverReplay plays the recovery of a meta that was recorded with the C++ server: our
// meta gets the shell's requests, and the answers of the C++ replica servers. It says what
// the C++ meta said, and has the tables that those servers know of.
func TestRecoverReplay(t *testing.T) {
	dir := filepath.Join(golden(t), "frames-recover")
	frame := func(file string) *wire.Frame {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		f, err := wire.Parse(b)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		return f
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	index, err := os.ReadFile(filepath.Join(dir, "index.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	fakes := map[string]*cppReplica{}
	var asked, answered []string // frames of START_RECOVERY
	for line := range strings.Lines(string(index)) {
		col := strings.Split(strings.TrimSpace(line), "\t")
		switch {
		case len(col) < 6 || col[0] == "file":
		case col[2] == "meta" && col[3] == "c2s":
			asked = append(asked, col[0])
		case col[2] == "meta":
			answered = append(answered, col[0])
		case col[3] == "s2c":
			if fakes[col[2]] == nil {
				fakes[col[2]] = &cppReplica{answers: map[string][]byte{}}
			}
			r, f := fakes[col[2]], frame(col[0])
			code := strings.TrimSuffix(f.Code, "_ACK")
			r.answers[code] = f.Body
			var into value.Value = &r.apps
			if code == "RPC_QUERY_REPLICA_INFO" {
				into = &r.reps
			}
			if _, err := registry.ReadBody(f.Body, into); err != nil {
				t.Fatalf("%s: %v", col[0], err)
			}
			if code == "RPC_QUERY_REPLICA_INFO" {
				r.answers[code] = unbroken(&r.reps)
			}
		}
	}
	if len(asked) != 3 || len(answered) != 3 || len(fakes) != 3 {
		t.Fatalf("%d requests, %d answers, %d servers", len(asked), len(answered), len(fakes))
	}
	shut := func(s *rpc.Server) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	}
	var nodes []base.RPCAddress
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range fakes {
			if !yield(n) {
				return
			}
		}
	}) {
		l := listen()
		if fakes[name].addr, err = base.ParseAddr(l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, fakes[name].addr)
		s := rpc.NewServer(rpc.ServerOptions{}, fakes[name], nil, nil)
		go s.Serve(l)
		t.Cleanup(func() { shut(s) })
	}

	l := listen()
	cfg := config.Default()
	cfg.Cluster.MetaServers, cfg.Meta.DataDir = []string{l.Addr().String()}, t.TempDir()
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	m, err := meta.New(meta.Options{Config: cfg, Listener: l, Log: logrus.NewEntry(quiet)})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := m.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	pool := rpc.NewPool(rpc.PoolOptions{})
	defer pool.Close()
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(10 * time.Millisecond); !m.Leading(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("the meta doesn't lead")
		}
	}
	for i := range asked {
		f := frame(asked[i])
		var q metaadmin.ConfigurationRecoveryRequest
		if _, err := registry.ReadBody(f.Body, &q); err != nil {
			t.Fatal(err)
		}
		was := len(q.RecoveryNodes)
		q.HpRecoveryNodes = base.Opt[[]base.HostPort]{}
		if q.RecoveryNodes = nodes; was == 1 {
			q.RecoveryNodes = []base.RPCAddress{base.RPCAddress(0x7f000001_00010001)} // where nobody listens
		}
		var want, got metaadmin.ConfigurationRecoveryResponse
		if _, err := registry.ReadBody(frame(answered[i]).Body, &want); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := pool.Call(ctx, m.Addr(), rpc.Outgoing{Code: f.Code, Arg: &q}, &got)
		cancel()
		if err != nil || got.Err != want.Err || (got.HintMessage == "") != (want.HintMessage == "") {
			t.Errorf("request %d: %v %+v, the C++ meta answered %+v", i, err, got, want)
		}
	}

	// The tables are those that the C++ servers know, with all that they know of them.
	var list metaadmin.ConfigurationListAppsResponse
	if err := pool.Call(t.Context(), m.Addr(), rpc.Outgoing{Code: "RPC_CM_LIST_APPS", Arg: &metaadmin.ConfigurationListAppsRequest{}}, &list); err != nil {
		t.Fatal(err)
	}
	known := map[int32]*layer2.AppInfo{}
	for _, f := range fakes {
		for i := range f.apps.Apps {
			known[f.apps.Apps[i].AppId] = &f.apps.Apps[i]
		}
	}
	if len(known) < 2 || len(list.Infos) != len(known) {
		t.Errorf("%d tables, the servers know %d", len(list.Infos), len(known))
	}
	for i := range list.Infos {
		got := &list.Infos[i]
		want := known[got.AppId]
		if want == nil || got.AppName != want.AppName || got.PartitionCount != want.PartitionCount || got.MaxReplicaCount != want.MaxReplicaCount ||
			got.AtomicIdempotent.Or(false) != want.AtomicIdempotent.Or(false) || fmt.Sprint(sortedEnvs(got)) != fmt.Sprint(sortedEnvs(want)) {
			t.Errorf("table %+v, the servers know %+v", got, want)
			continue
		}
		var q layer2.QueryCfgResponse
		if err := pool.Call(t.Context(), m.Addr(), rpc.Outgoing{Code: "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", Arg: &layer2.QueryCfgRequest{AppName: got.AppName}}, &q); err != nil {
			t.Fatal(err)
		}
		for _, p := range q.Partitions {
			// Nobody has a newer ballot, and whoever has the primary's has prepared no more.
			var ballot, prepared, chosen int64
			for _, f := range fakes {
				for _, r := range f.reps.Replicas {
					if r.Pid == p.Pid {
						ballot = max(ballot, r.Ballot)
						prepared = max(prepared, r.LastPreparedDecree)
						if f.addr == p.Primary {
							chosen = r.LastPreparedDecree
						}
					}
				}
			}
			if p.Primary == 0 || len(p.Secondaries) != 0 || p.Ballot != ballot+1 || chosen != prepared {
				t.Errorf("partition %v: %+v, of ballot %d and decree %d, the servers have up to %d and %d", p.Pid, p, p.Ballot, chosen, ballot, prepared)
			}
		}
	}
}

func sortedEnvs(a *layer2.AppInfo) []base.Pair[string, string] {
	envs := slices.Clone(a.Envs)
	slices.SortFunc(envs, func(x, y base.Pair[string, string]) int { return strings.Compare(x.Key, y.Key) })
	return envs
}
