package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"pegasus/base"
	"pegasus/client/clienttest"
	"pegasus/gen/command"
	"pegasus/gen/metadata"
	"pegasus/gen/placement"
	"pegasus/gen/replicaadmin"
	"pegasus/gen/value"
	"pegasus/remotecmd/answer"
	"pegasus/rpc"
)

// movingServer is a replica server with two data directories that moves replicas between them.
type movingServer struct {
	t    *testing.T
	node string

	mu       sync.Mutex
	at       map[base.Gpid]string // the directory of each replica, of 1 GiB
	moves    []map[string]any     // as replica.disk-moves tells
	begun    int
	asked    int                                                                      // how often the running move was asked for
	onMoving func()                                                                   // called when it is
	refuse   func(q *replicaadmin.ReplicaDiskMigrateRequest) (string, base.ErrorCode) // nil: no
	fails    func(g string) string                                                    // why a move fails; nil: none does
}

func startMoving(t *testing.T, onFirst int) (*clienttest.Cluster, *movingServer) {
	k := clienttest.Start(t, 1)
	s := &movingServer{t: t, node: k.Nodes[0], at: map[base.Gpid]string{}}
	for i := range onFirst {
		s.at[base.Gpid{AppID: 2, PartitionIndex: int32(i)}] = "d1"
	}
	k.SetHook(s.answer)
	return k, s
}

func (s *movingServer) answer(_ int, r *rpc.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Code {
	case base.RPCNodeRole:
		a, err := base.ParseAddr(s.node)
		if err != nil {
			s.t.Error(err)
		}
		r.Reply(&placement.NodeRoleResponse{Err: base.ErrOK, Nodes: []placement.NodePlacement{{Node: a, Alive: true}, {Alive: false}}})
	case base.RPCQueryReplicaInfo:
		a := &replicaadmin.QueryReplicaInfoResponse{Err: base.ErrOK}
		for g, d := range s.at {
			a.Replicas = append(a.Replicas, metadata.ReplicaInfo{Pid: g, Status: metadata.PS_SECONDARY, DiskTag: d, Bytes: base.Some(int64(1 << 30))})
		}
		r.Reply(a)
	case base.RPCReplicaDiskMigrate:
		var q replicaadmin.ReplicaDiskMigrateRequest
		if err := r.DecodeArg(&q); err != nil {
			s.t.Error(err)
		}
		a := &replicaadmin.ReplicaDiskMigrateResponse{Err: base.ErrOK}
		for _, m := range s.moves {
			if m["state"] == "MOVING" {
				s.t.Errorf("%+v is to be moved while %v is", q, m)
			}
		}
		if s.refuse != nil {
			hint, code := s.refuse(&q)
			a.Err, a.Hint = code, base.Some(hint)
		}
		if s.begun++; a.Err == base.ErrOK {
			s.begin(q.Pid, q.OriginDisk, q.TargetDisk)
		}
		r.Reply(a)
	case base.RPCCLICall:
		var q command.Command
		if err := r.DecodeArg(&q); err != nil {
			s.t.Error(err)
		}
		var text any
		switch q.Cmd {
		case "replica.disks":
			n := map[string]int{}
			for _, d := range s.at {
				n[d]++
			}
			text = []answer.Disk{{Tag: "d1", State: "NORMAL", Total: 1 << 40, Available: 1<<39 - int64(n["d1"])<<30}, {Tag: "d2", State: "NORMAL", Total: 1 << 40, Available: 1<<39 - int64(n["d2"])<<30}}
		case "replica.disk-moves":
			s.goOn()
			text = append([]map[string]any{}, s.moves...)
		case "version": // whether the server answers at all
			text = "test"
		default:
			s.t.Errorf("command %q", q.Cmd)
		}
		out, err := json.Marshal(text)
		if err != nil {
			s.t.Error(err)
		}
		answer := value.Text(out)
		r.Reply(&answer)
	default:
		return false
	}
	return true
}

func (s *movingServer) begin(g base.Gpid, from, to string) {
	s.moves, s.asked = append(s.moves, map[string]any{"replica": g.String(), "from": from, "to": to, "state": "MOVING", "gpid": g}), 0
}

// goOn brings the move that is under way nearer to its end.
func (s *movingServer) goOn() {
	if len(s.moves) == 0 || s.moves[len(s.moves)-1]["state"] != "MOVING" {
		return
	}
	m := s.moves[len(s.moves)-1]
	if s.onMoving != nil {
		s.onMoving()
	}
	if s.asked++; s.asked < 2 {
		m["bytes_done"] = s.asked
		return
	}
	if s.fails != nil {
		m["state"], m["error"] = "IDLE", s.fails(m["replica"].(string))
		return
	}
	m["state"] = "CLOSED"
	s.at[m["gpid"].(base.Gpid)] = m["to"].(string)
}

// asks is how often it was asked to move something.
func (s *movingServer) asks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

func (s *movingServer) on(disk string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.at {
		if d == disk {
			n++
		}
	}
	return n
}

func diskBalance(t *testing.T, ctx context.Context, k *clienttest.Cluster, args ...string) (status int, text string) {
	t.Helper()
	var out bytes.Buffer
	status = run(ctx, append([]string{"disk", "balance", "--meta", k.Meta}, args...), &out, &out)
	return status, out.String()
}

func wants(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q isn't in\n%s", w, text)
		}
	}
}

// A plan is shown with reasons, and nothing is moved. Then it is carried out, one replica after the other; then nothing is left.
func TestDiskBalance(t *testing.T) {
	k, s := startMoving(t, 6)
	status, text := diskBalance(t, t.Context(), k, "--dry-run")
	if wants(t, text, "3 moves of 3072 MiB in total", "2.0", "d1 holds 6144 MiB, 100 % above its share", k.Nodes[0]); status != 0 || s.asks() != 0 {
		t.Errorf("status %d, %d moves are begun\n%s", status, s.asks(), text)
	}
	if status, text = diskBalance(t, t.Context(), k, "--server", k.Nodes[0]); status != 0 || s.asks() != 3 || s.on("d1") != 3 {
		t.Errorf("status %d, %d moves are begun, %d replicas are on d1\n%s", status, s.asks(), s.on("d1"), text)
	}
	wants(t, text, "replica 2.0 from d1 to d2 (1024 MiB), the first of 3: d1 holds", "3 replicas moved, 0 not\n")
	status, text = diskBalance(t, t.Context(), k, "-o", "json")
	if wants(t, text, `"moves":[]`, `"failed":[]`); status != 0 || s.asks() != 3 {
		t.Errorf("status %d, %d moves are begun\n%s", status, s.asks(), text)
	}
	if status, text = diskBalance(t, t.Context(), k, "--server", "nobody"); status == 0 || !strings.Contains(text, "`pegasus nodes` lists them") {
		t.Errorf("status %d\n%s", status, text)
	}
}

// Ctrl-C stops after the present move, and the next call goes on; it waits for what is under way.
func TestDiskBalanceInterrupted(t *testing.T) {
	k, s := startMoving(t, 6)
	ctx, cancel := context.WithCancel(t.Context())
	s.onMoving = cancel
	status, text := diskBalance(t, ctx, k)
	if wants(t, text, "interrupted: stops when this move has ended", "1 replicas moved, 0 not", "interrupted after 1 moves: call the command again to go on"); status == 0 || s.asks() != 1 || s.on("d2") != 1 {
		t.Errorf("status %d, %d moves are begun, %d replicas are on d2\n%s", status, s.asks(), s.on("d2"), text)
	}
	s.mu.Lock()
	s.onMoving = nil
	s.begin(base.Gpid{AppID: 2, PartitionIndex: 5}, "d1", "d2") // by somebody else
	s.mu.Unlock()
	status, text = diskBalance(t, t.Context(), k)
	if wants(t, text, "waits for a move that is under way: replica 2.5 from d1 to d2", "1 replicas moved, 0 not"); status != 0 || s.on("d2") != 3 {
		t.Errorf("status %d, %d replicas are on d2\n%s", status, s.on("d2"), text)
	}
}

// A server that can't move replicas is asked once, and says so. Moves that fail are told, and after some the server is left.
func TestDiskBalanceFails(t *testing.T) {
	k, s := startMoving(t, 6)
	s.refuse = func(*replicaadmin.ReplicaDiskMigrateRequest) (string, base.ErrorCode) {
		return "this server can't move a replica between its disks", base.ErrServiceNotActive
	}
	status, text := diskBalance(t, t.Context(), k)
	if wants(t, text, "this server can't move a replica between its disks", "0 replicas moved, 1 not"); status == 0 || s.asks() != 1 || s.on("d1") != 6 {
		t.Errorf("status %d, %d moves were asked for\n%s", status, s.asks(), text)
	}
	k, s = startMoving(t, 10)
	s.fails = func(g string) string { return "no space left for " + g }
	status, text = diskBalance(t, t.Context(), k)
	if wants(t, text, "failed: no space left for 2.0", "no space left for 2.2", "3 moves failed: the rest of this server is left as it is", "0 replicas moved, 3 not"); status == 0 || s.asks() != 3 {
		t.Errorf("status %d, %d moves were asked for\n%s", status, s.asks(), text)
	}
	// One that was moved by hand while it was planned for is no reason to end.
	k, s = startMoving(t, 6)
	s.refuse = func(q *replicaadmin.ReplicaDiskMigrateRequest) (string, base.ErrorCode) {
		if q.Pid.PartitionIndex == 0 {
			return "replica 2.0 is in d2 already", base.ErrPathAlreadyExist
		}
		return "", base.ErrOK
	}
	status, text = diskBalance(t, t.Context(), k)
	if wants(t, text, "replica 2.0 from d1 to d2: replica 2.0 is in d2 already", "3 replicas moved, 1 not"); status == 0 || s.on("d2") != 3 {
		t.Errorf("status %d, %d replicas are on d2\n%s", status, s.on("d2"), text)
	}
}
