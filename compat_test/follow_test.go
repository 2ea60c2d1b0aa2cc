package compat

import (
	"errors"
	"fmt"
	"maps"
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
	"pegasus/compat_test/cluster"
	"pegasus/gen/consensus"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/nfs"
	"pegasus/rpc"
)

// cppSource answers as the metas and the primaries of a C++ cluster do whose table is followed. Its
// checkpoints are those of the recorded data.
type cppSource struct {
	t    *testing.T
	addr base.RPCAddress
	reps string // with N.pegasus below it
	name string

	mu      sync.Mutex
	damaged bool // what it sends
	seen    map[string]int
}

func (s *cppSource) become(damaged bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.damaged, s.seen = damaged, map[string]int{}
}

// asked tells how often a request came since become.
func (s *cppSource) asked(code string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[code]
}

// last returns the newest checkpoint of a partition.
func (s *cppSource) last(partition int32) string {
	dirs, _ := filepath.Glob(filepath.Join(s.reps, fmt.Sprintf("1.%d.pegasus/data/checkpoint.*", partition)))
	slices.Sort(dirs)
	return dirs[len(dirs)-1]
}

func (s *cppSource) ServeRPC(r *rpc.Request) {
	s.mu.Lock()
	s.seen[r.Code]++
	damaged := s.damaged
	s.mu.Unlock()
	switch r.Code {
	case base.RPCQueryPartitionConfigByIndex:
		var q layer2.QueryCfgRequest
		if err := r.DecodeArg(&q); err != nil || q.AppName != s.name || len(q.PartitionIndices) != 1 {
			s.t.Errorf("%+v, %v", q, err)
		}
		res := layer2.QueryCfgResponse{Err: base.ErrOK, AppId: 1, PartitionCount: 4, IsStateful: true}
		p := layer2.PartitionConfiguration{Pid: base.Gpid{AppID: 1, PartitionIndex: q.PartitionIndices[0]}, Ballot: 3, MaxReplicaCount: 3, Primary: s.addr}
		res.Partitions = append(res.Partitions, p)
		r.Reply(&res)
	case base.RPCQueryLastCheckpointInfo:
		var q consensus.LearnRequest
		if err := r.DecodeArg(&q); err != nil || r.ThreadHash != q.Pid.ThreadHash() {
			s.t.Errorf("the request is for thread %d: %+v, %v", r.ThreadHash, q, err) // upstream's server would end its process
		}
		res := consensus.LearnResponse{Err: base.ErrOK, Learnee: s.addr, BaseLocalDir: s.last(q.Pid.PartitionIndex)}
		files, err := os.ReadDir(res.BaseLocalDir)
		if err != nil {
			s.t.Error(err)
		}
		for _, f := range files {
			res.State.Files = append(res.State.Files, f.Name())
		}
		r.Reply(&res)
	case base.RPCNFSGetFileSize:
		var q nfs.GetFileSizeRequest
		if err := r.DecodeArg(&q); err != nil || q.Source != s.addr {
			s.t.Errorf("%+v, %v", q, err)
		}
		res := nfs.GetFileSizeResponse{FileList: q.FileList}
		for _, name := range q.FileList {
			fi, err := os.Stat(filepath.Join(q.SourceDir, name))
			if err != nil {
				res.Error = 1
				break
			}
			res.SizeList = append(res.SizeList, fi.Size())
		}
		r.Reply(&res)
	case base.RPCNFSCopy:
		var q nfs.CopyRequest
		if err := r.DecodeArg(&q); err != nil {
			s.t.Error(err)
		}
		b, err := os.ReadFile(filepath.Join(q.SourceDir, q.FileName))
		if err != nil || q.Offset+int64(q.Size) > int64(len(b)) {
			r.Reply(&nfs.CopyResponse{Error: base.ErrObjectNotFound})
			return
		}
		b = slices.Clone(b[q.Offset:][:q.Size])
		if damaged && strings.HasSuffix(q.FileName, ".sst") {
			b[len(b)/2] ^= 1
		}
		r.Reply(&nfs.CopyResponse{Error: base.ErrOK, FileContent: b, Offset: q.Offset, Size: q.Size})
	default:
		s.t.Errorf("a C++ cluster is asked for %s", r.Code)
		r.Drop()
	}
}

func newCppSource(t *testing.T, reps, name string) *cppSource {
	t.Helper()
	log := logrus.New()
	log.SetLevel(logrus.ErrorLevel)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &cppSource{t: t, addr: base.MakeRPCAddress(l.Addr().(*net.TCPAddr).AddrPort()), reps: reps, name: name, seen: map[string]int{}}
	c := config.Default().RPC
	srv := rpc.NewServer(rpc.ServerOptions{MaxFrameBytes: c.MaxFrameBytes, MaxConnections: 100, MaxInFlightBytes: c.MaxInFlightBytes, IdleTimeout: time.Minute}, s, nil, logrus.NewEntry(log))
	go srv.Serve(l)
	t.Cleanup(func() { srv.Shutdown(t.Context()) })
	return s
}

// A C++ cluster makes a table here that follows one of its own, with the requests that were recorded: the table
// gets the rows of the checkpoints there, which are those of the recorded data, however often that fails before.
// Until then nothing is there to be read.
func TestFollow(t *testing.T) {
	dir := golden(t)
	src := newCppSource(t, filepath.Join(dir, "data-checkpointed/replica/reps"), "mig")
	c := cluster.Start(t, cluster.Options{Tables: "-", Config: "[cluster]\nid = 2\n"})
	if err := wholeCluster(c); err != nil {
		t.Fatal(err)
	}
	create := func(name, cluster, status string) metaadmin.ConfigurationCreateAppResponse {
		t.Helper()
		q := &metaadmin.ConfigurationCreateAppRequest{AppName: name, Options: metaadmin.CreateAppOptions{PartitionCount: 4, ReplicaCount: 3, AppType: "pegasus", IsStateful: true,
			AtomicIdempotent: base.Some(false)}}
		for _, e := range [][2]string{{"follower_app_status", status}, {"master_app_name", "mig"}, {"master_cluster", cluster}, {"master_metas", "127.0.0.1:1," + src.addr.String()}} {
			if e[1] != "" {
				q.Options.Envs = append(q.Options.Envs, base.Pair[string, string]{Key: "duplication." + e[0], Val: e[1]})
			}
		}
		var res metaadmin.ConfigurationCreateAppResponse
		if err := c.MetaCall("RPC_CM_CREATE_APP", q, &res, func() base.ErrorCode { return res.Err }); err != nil && base.CodeOf(err) != res.Err {
			t.Fatal(err)
		}
		return res
	}
	src.become(true)
	first := create("copy", "cpp", "creating")
	if first.Err != base.ErrOK || first.Appid == 0 {
		t.Fatalf("%+v", first)
	}
	want := func(name, cluster, status string, code base.ErrorCode) {
		t.Helper()
		if r := create(name, cluster, status); r.Err != code || code == base.ErrOK && r.Appid != first.Appid {
			t.Errorf("table %s of cluster %q, status %q: %+v, want %v", name, cluster, status, r, code)
		}
	}
	want("copy", "cpp", "creating", base.ErrOK)
	want("copy", "other", "creating", base.ErrAppExist)
	want("copy", "cpp", "", base.ErrAppExist)
	want("copy", "cpp", "nonsense", base.ErrInvalidParameters)
	want("copy", "", "", base.ErrAppExist)

	// What is damaged gives no partition.
	if err := cluster.Poll(2*time.Minute, func() error {
		if src.asked(base.RPCNFSCopy) < 4 {
			return errors.New("the files weren't copied yet")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	cfg, err := c.Config("copy")
	if err != nil {
		t.Fatal(err)
	}
	for i := range cfg.Partitions {
		if cfg.Partitions[i].Ballot != 0 {
			t.Fatalf("there is a partition: %+v", cfg.Partitions[i])
		}
	}
	want("copy", "cpp", "created", base.ErrOK)
	want("copy", "cpp", "created", base.ErrOK)
	want("copy", "cpp", "creating", base.ErrAppExist)
	src.become(false)
	if err := c.WaitHealthy("copy", 5*time.Minute); err != nil {
		t.Fatal(err)
	}
	rows := duplicatedRows(t, filepath.Join(dir, "expected.jsonl"))
	got := scanRows(t, c, "copy")
	if !maps.Equal(got, rows) {
		t.Fatalf("%d rows, want %d: %s", len(got), len(rows), rowsApart(got, rows))
	}
	// They are there after a restart, and nobody is asked for them again.
	src.become(false)
	c.KillAll(t)
	c.StartAgain(t)
	if err := c.WaitHealthy("copy", 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := scanRows(t, c, "copy"); !maps.Equal(got, rows) {
		t.Fatalf("after a restart %d rows, want %d: %s", len(got), len(rows), rowsApart(got, rows))
	}
	if n := src.asked(base.RPCQueryPartitionConfigByIndex); n > 0 {
		t.Errorf("the other cluster was asked %d times more", n)
	}
}
