package replica

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
	"pegasus/pacifica"
	"pegasus/remotecmd/answer"
	"pegasus/replica/trace"
	"pegasus/rpc"
)

// putTraced is a put that the client wants to have traced.
func (g *group) putTraced(i int, k string, id uint64) error {
	arg := &idl.UpdateRequest{Key: rowKey(k), Value: []byte("v")}
	var r idl.UpdateResponse
	return g.pool.Call(g.t.Context(), g.nodes[i].srv.Addr().String(), rpc.Outgoing{Code: base.RPCPut, Gpid: g.gpid, Arg: arg, Trace: id}, &r)
}

// traces awaits n traces of an id on node i.
func (g *group) traces(i, n int, id uint64) (list []answer.Trace) {
	g.t.Helper()
	g.insist(fmt.Sprintf("%d traces on node %d", n, i), func() bool {
		list = g.nodes[i].srv.tracer.Find(id)
		return len(list) >= n
	}, func() {})
	return list
}

func stagesOf(a answer.Trace) (list []string) {
	for _, s := range a.Stages {
		list = append(list, strings.TrimSpace(s.What+" "+s.Server))
	}
	return list
}

// A write that its client wants to have traced shows its stages, on the primary and under the same id on each
// secondary.
func TestTracedWrite(t *testing.T) {
	g := newGroupWith(t, 3, func(c *config.Config) { c.Replica.TraceEvery = 0 })
	g.mustPut(0, "before", "v")
	for i := range 3 {
		if l := g.nodes[i].srv.tracer.Last(1); len(l) > 0 {
			t.Fatalf("traced though nobody wants it: %+v", l)
		}
	}
	const id = 0xabcdef
	if err := g.putTraced(0, "k", id); err != nil {
		t.Fatal(err)
	}
	a := g.traces(0, 1, id)[0]
	got := stagesOf(a)
	want := []string{trace.Received, trace.Taken, trace.Proposed, trace.Logged, trace.Committed, trace.Applied, trace.Answered}
	for i := 1; i < 3; i++ {
		n := g.nodes[i].srv.Addr().String()
		for _, what := range []string{trace.Sent, trace.Received, trace.Logged, trace.Answered, trace.Heard} {
			want = append(want, what+" "+n)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("the primary's trace %q lacks %q", got, w)
		}
	}
	for i := 1; i < len(a.Stages); i++ {
		if a.Stages[i].At < a.Stages[i-1].At {
			t.Errorf("stages aren't in order: %+v", a.Stages)
		}
	}
	if a.Op != "PUT" || a.Role != "primary" || a.Partition != g.gpid.String() || a.Decree == 0 || a.Error != "" || a.From == "" || a.Stages[len(a.Stages)-1].What != trace.Answered {
		t.Errorf("%+v", a)
	}
	for i := 1; i < 3; i++ {
		s := g.traces(i, 1, id)[0]
		if got := stagesOf(s); !slices.Equal(got, []string{trace.Received, trace.Logged, trace.Answered}) || s.Role != "secondary" || s.Decree != a.Decree {
			t.Errorf("the trace of secondary %d: %q, %+v", i, got, s)
		}
	}
	// A read, too.
	var r idl.ReadResponse
	k := rowKey("k")
	blob := value.Blob(k)
	if err := g.pool.Call(t.Context(), g.nodes[0].srv.Addr().String(), rpc.Outgoing{Code: base.RPCGet, Gpid: g.gpid, Arg: &blob, Trace: 77}, &r); err != nil {
		t.Fatal(err)
	}
	if got := stagesOf(g.traces(0, 1, 77)[0]); !slices.Equal(got, []string{trace.Received, trace.Read, trace.Answered}) {
		t.Errorf("a read: %q", got)
	}
}

// One write of so many is traced, and a write that was slow is told with its trace, or has the next
// one traced.
func TestSampledAndSlowWrites(t *testing.T) {
	g := newGroupWith(t, 1, func(c *config.Config) {
		c.Replica.MinReplicas, c.Replica.TraceEvery, c.Replica.SlowWrite = 1, 10, 1
	})
	s := g.nodes[0].srv
	for i := range 50 {
		g.mustPut(0, fmt.Sprint(i), "v")
	}
	var slow answer.SlowRequests
	g.insist("a slow write with its trace", func() bool {
		if err := json.Unmarshal([]byte(g.run(0, "replica.slow")), &slow); err != nil || slow.Error != "" {
			t.Fatal(err, slow.Error)
		}
		return slices.ContainsFunc(slow.Requests, func(q answer.SlowRequest) bool { return q.Op == "PUT" && q.Trace != nil && len(q.Trace.Stages) >= 7 })
	}, func() { g.mustPut(0, "more", "v") })
	if n := len(s.tracer.Last(1000)); n < 10 { // each is slow, so each has the next one traced
		t.Errorf("%d of 50 writes are traced", n)
	}
	s.observer.Slow(1)
}

// What isn't answered with its outcome has a trace that says so.
func TestTraceOfRefusedWrite(t *testing.T) {
	g := newGroupWith(t, 1, func(c *config.Config) { c.Replica.MinReplicas, c.Replica.TraceEvery = 1, 0 })
	r := g.nodes[0].srv.replica(g.gpid)
	inside, leave := make(chan struct{}), make(chan struct{})
	r.post(func(d *driver) {
		close(inside)
		<-leave
		d.core.Retire() // it leads no more
	})
	<-inside
	done := make(chan error, 1)
	go func() { done <- g.putTraced(0, "k", 9) }()
	g.insist("the write is queued", func() bool {
		r.inbox.mu.Lock()
		defer r.inbox.mu.Unlock()
		return len(r.inbox.traced) == 1
	}, func() {})
	close(leave)
	if err := <-done; err == nil {
		t.Error("it was written")
	}
	if a := g.traces(0, 1, 9)[0]; a.Error == "" {
		t.Errorf("%+v", a)
	}
}

// Who doesn't know the block of traces reads the message without it.
func TestTracedMessage(t *testing.T) {
	for _, m := range []pacifica.Message{
		{Type: pacifica.MsgPrepare, From: 1, To: 2, Ballot: 3, Prev: 4, Last: 5, Entries: []pacifica.Entry{{Ballot: 3, Decree: 5, Timestamp: 6, Payload: []byte("x")}}},
		{Type: pacifica.MsgAck, From: 2, To: 1, Ballot: 3, Prepared: 5, Tip: 7},
	} {
		prepare := m.Type == pacifica.MsgPrepare
		b := tracedMessage{&m, true, []trace.Item{{ID: 9, Decree: 5, Spans: trace.Spans{Logged: time.Millisecond, Answered: time.Second}}}}.AppendThrift(nil)
		got, err := decodeMessage(b)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v is read as %+v: %v", m, got, err)
		}
		items := trace.ReadBlock(b, prepare)
		if b[flagsAt]&flagTrace == 0 || b[flagsAt]&flagShort == 0 || len(items) != 1 || items[0].ID != 9 || prepare && items[0].Decree != 5 || !prepare && items[0].Answered != time.Second {
			t.Errorf("flags %x, %+v", b[flagsAt], items)
		}
	}
}
