package disks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/replicaadmin"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/remotecmd/answer"
	"pegasus/rpc"
)

// fake is a cluster in which each server has the directories a and b, and all its replicas in a. It is a Leader.
type fake struct {
	t     *testing.T
	s     *Service
	nodes map[base.RPCAddress]*fakeNode
	may   string
	fixed map[base.Gpid]bool
	notes []string
	ended int
}

type fakeNode struct {
	dead    bool
	down    error // what who asks gets
	refuses base.ErrorCode
	at      map[base.Gpid]string
	status  metadata.PartitionStatus
	moves   answer.DiskMoves
	asked   int // to move one
}

func newFake(t *testing.T, atOnce, nodes, replicas int) *fake {
	f := &fake{t: t, nodes: map[base.RPCAddress]*fakeNode{}, fixed: map[base.Gpid]bool{}}
	f.begin(atOnce)
	for i := range nodes {
		a, err := base.ParseAddr(fmt.Sprintf("10.0.0.%d:34801", i+1))
		if err != nil {
			t.Fatal(err)
		}
		n := &fakeNode{at: map[base.Gpid]string{}, status: metadata.PS_SECONDARY}
		for k := range replicas {
			n.at[base.Gpid{AppID: 1, PartitionIndex: int32(k)}] = "a"
		}
		f.nodes[a] = n
		f.tell(a)
	}
	return f
}

// begin has a new leader lead.
func (f *fake) begin(atOnce int) {
	f.s = New(f, Options{AtOnce: atOnce, Every: time.Second, May: func() string { return f.may }, Ended: func() { f.ended++ },
		Fixed: func(_ base.RPCAddress, of []base.Gpid) (out []bool) {
			for _, g := range of {
				out = append(out, f.fixed[g])
			}
			return out
		},
		Note: func(g base.Gpid, what, why string) {
			f.notes = append(f.notes, fmt.Sprintf("%v: %s: %s", g, what, why))
		}})
}

const gib = 1 << 30

// tell has a node tell what it has.
func (f *fake) tell(a base.RPCAddress) {
	n := f.nodes[a]
	q := &metaadmin.ConfigurationQueryByNodeRequest{Node: a}
	room := map[string]int64{"a": 500 << 10, "b": 500 << 10}
	for g, tag := range n.at {
		q.StoredReplicas.V = append(q.StoredReplicas.V, metadata.ReplicaInfo{Pid: g, DiskTag: tag, Status: n.status, Bytes: base.Some(int64(10 * gib))})
		room[tag] -= 10 << 10
	}
	for _, tag := range []string{"a", "b"} {
		q.Disks.V = append(q.Disks.V, metaadmin.DiskReport{Tag: tag, CapacityMb: 500 << 10, AvailableMb: room[tag]})
	}
	f.s.Report(&service.Report{Node: a, Request: q})
}

// finish has what moves at a node get there; why isn't "": it stays.
func (f *fake) finish(a base.RPCAddress, why string) {
	f.t.Helper()
	n := f.nodes[a]
	m := n.moves.Last((*answer.DiskMove).UnderWay)
	if m == nil {
		f.t.Fatalf("nothing moves at %v", a)
	}
	if m.State, m.Error = "IDLE", why; why == "" {
		m.State = "CLOSED"
		for g := range n.at {
			if g.String() == m.Replica {
				n.at[g] = m.To
			}
		}
	}
}

func (f *fake) look() { f.s.look(f.t.Context()) }

// running are the nodes at which something moves.
func (f *fake) running() (as []base.RPCAddress) {
	for a, n := range f.nodes {
		if n.moves.Last((*answer.DiskMove).UnderWay) != nil {
			as = append(as, a)
		}
	}
	slices.Sort(as)
	return as
}

func (f *fake) wantRunning(n int) []base.RPCAddress {
	f.t.Helper()
	as := f.running()
	if len(as) != n {
		f.t.Fatalf("%d servers move one, want %d: %q", len(as), n, f.notes)
	}
	return as
}

func (f *fake) Apply(state.Command) state.Result   { return state.Result{} }
func (f *fake) Read(func(*state.State))            {}
func (f *fake) Send(base.RPCAddress, rpc.Outgoing) {}
func (f *fake) Kick()                              {}
func (f *fake) Nodes() (list []service.Node) {
	for a, n := range f.nodes {
		list = append(list, service.Node{Addr: a, Alive: !n.dead})
	}
	return list
}

func (f *fake) Log() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

func (f *fake) Call(_ context.Context, a base.RPCAddress, code string, arg tbin.Encoder, to tbin.Decoder) error {
	n := f.nodes[a]
	if n.down != nil {
		return n.down
	}
	switch code {
	case base.RPCCLICall:
		b, err := json.Marshal(n.moves)
		if err != nil {
			return err
		}
		*to.(*rpc.Str) = rpc.Str(b)
	case base.RPCReplicaDiskMigrate:
		q, r := arg.(*replicaadmin.ReplicaDiskMigrateRequest), to.(*replicaadmin.ReplicaDiskMigrateResponse)
		n.asked++
		if n.moves.Last((*answer.DiskMove).UnderWay) != nil {
			f.t.Errorf("%v is asked to move two at once", a)
		}
		if r.Err = base.ErrOK; n.refuses != "" {
			r.Err = n.refuses
			return nil
		}
		n.moves = append(n.moves, answer.DiskMove{Replica: q.Pid.String(), From: q.OriginDisk, To: q.TargetDisk, State: "MOVING"})
	}
	return nil
}

// Replicas are moved until each server's directories are even: one at a server, as many in the cluster as are allowed.
func TestEvensOut(t *testing.T) {
	f := newFake(t, 2, 3, 6)
	for round := 0; ; round++ {
		if round > 100 {
			t.Fatalf("it doesn't come to an end: %q", f.notes)
		}
		f.look()
		as := f.running()
		if len(as) == 0 {
			break
		}
		if len(as) > 2 {
			t.Fatalf("%v move one", as)
		}
		partitions := map[string]bool{}
		for _, a := range as {
			partitions[f.nodes[a].moves.Last((*answer.DiskMove).UnderWay).Replica] = true
		}
		if len(partitions) != len(as) {
			t.Errorf("two members of a partition move at once: %v", partitions)
		}
		for _, a := range as {
			moving := f.nodes[a].moves.Last((*answer.DiskMove).UnderWay).Replica
			if !slices.ContainsFunc([]int32{0, 1, 2, 3, 4, 5}, func(i int32) bool {
				g := base.Gpid{AppID: 1, PartitionIndex: i}
				return g.String() == moving && f.s.Moving(g)
			}) {
				t.Errorf("%s isn't known to move", moving)
			}
			f.finish(a, "")
		}
		f.look() // it is there, and has no role yet: nothing else begins at that server
		if again := f.running(); slices.ContainsFunc(again, func(a base.RPCAddress) bool { return slices.Contains(as, a) }) {
			t.Fatalf("%v begin before what was moved is a member again", again)
		}
		for a := range f.nodes {
			f.tell(a)
		}
	}
	for a, n := range f.nodes {
		count := map[string]int{}
		for _, tag := range n.at {
			count[tag]++
		}
		if count["a"] != 3 || count["b"] != 3 || n.asked != 3 {
			t.Errorf("%v: %v after %d moves", a, count, n.asked)
		}
	}
	if f.ended != 9 || len(f.notes) != 18 || !strings.Contains(f.notes[0], "above its share") || !strings.Contains(f.notes[0], "from data directory a to b") {
		t.Errorf("%d ended: %q", f.ended, f.notes)
	}
	if f.s.Moving(base.Gpid{AppID: 1}) {
		t.Error("something is moved still")
	}
}

// Nothing is begun that would be in the way of anything else.
func TestGivesWay(t *testing.T) {
	f := newFake(t, 4, 1, 4)
	f.may = "servers come first"
	f.look()
	f.wantRunning(0)
	f.may = ""
	for i := range int32(4) {
		f.fixed[base.Gpid{AppID: 1, PartitionIndex: i}] = i != 2
	}
	f.look()
	a := f.wantRunning(1)[0]
	if m := f.nodes[a].moves[0]; m.Replica != "1.2" {
		t.Errorf("%+v moves", m)
	}
	f.finish(a, "")
	f.tell(a)
	f.look()
	if f.look(); f.nodes[a].asked != 1 {
		t.Error("more is moved than may be")
	}

	// Somebody else's move, of before this leader, is waited for.
	f = newFake(t, 4, 1, 4)
	a = f.s.sorted(func(base.RPCAddress, *server) bool { return true })[0]
	f.nodes[a].moves = answer.DiskMoves{{Replica: "7.1", From: "a", To: "b", State: "MOVED"}}
	f.look()
	if f.nodes[a].asked != 0 {
		t.Error("it is asked while it moves one")
	}
	if !f.s.Moving(base.Gpid{AppID: 7, PartitionIndex: 1}) {
		t.Error("the balancer isn't told of it")
	}
	f.finish(a, "")
	for range 3 {
		f.look()
	}
	f.wantRunning(1)

	// No member, no other directory, switched off.
	f = newFake(t, 4, 1, 4)
	f.nodes[a].status = metadata.PS_POTENTIAL_SECONDARY
	f.tell(a)
	f.look()
	f.wantRunning(0)
	f = newFake(t, 4, 1, 4)
	f.s.Report(&service.Report{Node: a, Request: &metaadmin.ConfigurationQueryByNodeRequest{Node: a}})
	f.look()
	f.wantRunning(0)
	f = newFake(t, 0, 1, 4)
	f.s.Lead(t.Context()) // returns
	f.wantRunning(0)
}

// A new leader knows what an earlier one began before it begins more: as many at once as are allowed, and no two of a partition.
func TestLeaderChanges(t *testing.T) {
	for _, c := range []struct{ atOnce, want int }{{1, 1}, {2, 2}} {
		f := newFake(t, c.atOnce, 2, 4)
		as := f.s.sorted(func(base.RPCAddress, *server) bool { return true })
		// The server that is asked last makes a move of the replica that would be the first to be moved elsewhere.
		f.look()
		first := f.nodes[as[0]].moves[0]
		for _, n := range f.nodes {
			n.moves = nil
		}
		f.nodes[as[1]].moves = answer.DiskMoves{{Replica: first.Replica, From: "a", To: "b", State: "MOVING"}}
		f.begin(c.atOnce)
		for _, a := range as {
			f.tell(a)
		}
		for range 3 {
			f.look()
		}
		f.wantRunning(c.want)
		if list := f.nodes[as[0]].moves; len(list) != c.want-1 || len(list) > 0 && list[0].Replica == first.Replica {
			t.Errorf("at most %d at once: besides %s of another server, %+v moves", c.atOnce, first.Replica, list)
		}
	}
}

// A move that fails is told, its replica stays for an hour, and its server rests.
func TestFailures(t *testing.T) {
	rested := func(f *fake, a base.RPCAddress) time.Duration { return time.Until(f.s.of[a].until) }
	for _, c := range []struct {
		name string
		do   func(f *fake, a base.RPCAddress)
		want string
	}{
		{"its disk is full", func(f *fake, a base.RPCAddress) { f.finish(a, "too little room") }, "too little room"},
		{"the server dies", func(f *fake, a base.RPCAddress) { f.nodes[a].dead = true }, "is dead"},
		{"the server was started again", func(f *fake, a base.RPCAddress) { f.nodes[a].moves = nil }, "started again"},
		{"nothing is heard", func(f *fake, a base.RPCAddress) {
			f.nodes[a].down = errors.New("no route")
			f.look()
			f.s.of[a].move.heard = time.Now().Add(-2 * silence)
		}, "no route"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, 4, 1, 4)
			f.look()
			a := f.wantRunning(1)[0]
			g := f.s.of[a].move.Gpid
			c.do(f, a)
			f.look()
			if n := len(f.notes); n != 2 || !strings.Contains(f.notes[1], "not moved") || !strings.Contains(f.notes[1], c.want) {
				t.Errorf("%q", f.notes)
			}
			if d := rested(f, a); d < failureRest/2 || f.s.Moving(g) || f.ended != 1 {
				t.Errorf("it rests for %v", d)
			}
			n := f.nodes[a]
			n.dead, n.down, n.moves = false, nil, nil
			f.s.of[a].until = time.Time{}
			f.look()
			if m := f.nodes[a].moves; len(m) != 1 || m[0].Replica == g.String() {
				t.Errorf("then %+v moves", m)
			}
		})
	}

	// What is in use is no failure.
	f := newFake(t, 4, 1, 4)
	a := f.s.sorted(func(base.RPCAddress, *server) bool { return true })[0]
	f.nodes[a].refuses = base.ErrBusy
	f.look()
	if f.s.of[a].failed != 0 || len(f.notes) != 0 || rested(f, a) > time.Minute || f.s.of[a].move != nil {
		t.Errorf("%d, %q", f.s.of[a].failed, f.notes)
	}
	// What is refused otherwise is one, and longer each time.
	f.nodes[a].refuses = base.ErrDiskInsufficient
	for i := range 3 {
		f.s.of[a].until = time.Time{}
		f.look()
		if d := rested(f, a); d < time.Duration(i+1)*failureRest-time.Minute || d > time.Duration(i+1)*failureRest {
			t.Errorf("after %d failures it rests for %v", i+1, d)
		}
	}
}
