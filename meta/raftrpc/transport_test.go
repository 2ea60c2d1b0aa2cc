package raftrpc

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/rpc"
)

func quiet() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// pair starts two transports that can talk to each other.
func pair(t *testing.T, change func(a, b *Options)) (a, b *Transport) {
	t.Helper()
	var opts [2]Options
	var lis [2]net.Listener
	for i := range opts {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		lis[i] = l
		pool := rpc.NewPool(rpc.PoolOptions{})
		t.Cleanup(pool.Close)
		opts[i] = Options{
			Self: raft.ServerAddress(l.Addr().String()), Cluster: "c", Pool: pool, ChunkBytes: 1000, Log: quiet(),
			VoteTimeout: 5 * time.Second, AppendTimeout: 5 * time.Second, ChunkTimeout: 5 * time.Second,
		}
	}
	for i := range opts {
		opts[i].Quorum = func() string { return "q" }
		opts[i].Admit = func(m Message) error {
			if m.From != opts[0].Self && m.From != opts[1].Self {
				return fmt.Errorf("%q is none of the meta servers", m.From)
			}
			return nil
		}
	}
	if change != nil {
		change(&opts[0], &opts[1])
	}
	var ts [2]*Transport
	for i := range opts {
		ts[i] = New(opts[i])
		mux := rpc.NewMux(nil)
		ts[i].Register(mux)
		srv := rpc.NewServer(rpc.ServerOptions{}, mux, nil, nil)
		go srv.Serve(lis[i])
		t.Cleanup(func() {
			ts[i].Close()
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := srv.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	return ts[0], ts[1]
}

// answer serves one message as raft would.
func answer(t *Transport, f func(raft.RPC)) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case m := <-t.Consumer():
			f(m)
		case <-time.After(10 * time.Second):
		}
	}()
	return done
}

func header(a *Transport) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: 3, ID: []byte(a.opts.Self), Addr: []byte(a.opts.Self)}
}

func TestMessages(t *testing.T) {
	a, b := pair(t, nil)
	target := b.LocalAddr()
	if string(a.EncodePeer("x", target)) != string(target) || a.DecodePeer([]byte(target)) != target {
		t.Error("peer addresses change on the way")
	}

	entries := []*raft.Log{{Index: 7, Term: 3, Type: raft.LogCommand, Data: []byte("cmd"), AppendedAt: time.Unix(5, 6)}}
	got := answer(b, func(m raft.RPC) {
		q := m.Command.(*raft.AppendEntriesRequest)
		if q.Term != 3 || len(q.Entries) != 1 || string(q.Entries[0].Data) != "cmd" || !q.Entries[0].AppendedAt.Equal(time.Unix(5, 6)) {
			t.Errorf("arrived: %+v", q)
		}
		m.Respond(&raft.AppendEntriesResponse{Term: 3, LastLog: 7, Success: true}, nil)
	})
	var ar raft.AppendEntriesResponse
	if err := a.AppendEntries("", target, &raft.AppendEntriesRequest{RPCHeader: header(a), Term: 3, PrevLogEntry: 6, Entries: entries}, &ar); err != nil {
		t.Fatal(err)
	}
	if ar.LastLog != 7 || !ar.Success {
		t.Errorf("answer: %+v", ar)
	}
	<-got

	got = answer(b, func(m raft.RPC) { m.Respond(&raft.RequestVoteResponse{Granted: true, Term: 9}, nil) })
	var vr raft.RequestVoteResponse
	if err := a.RequestVote("", target, &raft.RequestVoteRequest{RPCHeader: header(a)}, &vr); err != nil || !vr.Granted || vr.Term != 9 {
		t.Errorf("vote: %+v %v", vr, err)
	}
	<-got

	got = answer(b, func(m raft.RPC) { m.Respond(&raft.RequestPreVoteResponse{Granted: true}, nil) })
	var pr raft.RequestPreVoteResponse
	if err := a.RequestPreVote("", target, &raft.RequestPreVoteRequest{RPCHeader: header(a)}, &pr); err != nil || !pr.Granted {
		t.Errorf("pre-vote: %+v %v", pr, err)
	}
	<-got

	got = answer(b, func(m raft.RPC) { m.Respond(nil, errors.New("no such luck")) })
	var tr raft.TimeoutNowResponse
	if err := a.TimeoutNow("", target, &raft.TimeoutNowRequest{RPCHeader: header(a)}, &tr); err == nil || err.Error() != "no such luck" {
		t.Errorf("raft's error came back as %v", err)
	}
	<-got

	if _, err := a.AppendEntriesPipeline("", target); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("pipeline: %v", err)
	}
}

func TestHeartbeatGoesBeside(t *testing.T) {
	a, b := pair(t, nil)
	b.SetHeartbeatHandler(func(m raft.RPC) { m.Respond(&raft.AppendEntriesResponse{Term: 4}, nil) })
	// Nobody consumes: only the handler can answer.
	var res raft.AppendEntriesResponse
	if err := a.AppendEntries("", b.LocalAddr(), &raft.AppendEntriesRequest{RPCHeader: header(a), Term: 4}, &res); err != nil || res.Term != 4 {
		t.Fatalf("heartbeat: %+v %v", res, err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	a, b := pair(t, func(a, b *Options) { a.Cluster = "other" })
	var res raft.RequestVoteResponse
	err := a.RequestVote("", b.LocalAddr(), &raft.RequestVoteRequest{RPCHeader: header(a)}, &res)
	if err == nil || !strings.Contains(err.Error(), `cluster "c"`) {
		t.Errorf("another cluster: %v", err)
	}

	a, b = pair(t, nil)
	h := header(a)
	h.Addr = []byte("10.1.1.1:1")
	err = a.RequestVote("", b.LocalAddr(), &raft.RequestVoteRequest{RPCHeader: h}, &res)
	if err == nil || !strings.Contains(err.Error(), "none of the meta servers") {
		t.Errorf("no peer: %v", err)
	}

	var got Message
	a, b = pair(t, func(_, b *Options) {
		b.Admit = func(m Message) error {
			got = m
			return errors.New("not today")
		}
	})
	err = a.RequestVote("", b.LocalAddr(), &raft.RequestVoteRequest{RPCHeader: header(a)}, &res)
	if want := (Message{From: a.LocalAddr(), Quorum: "q", Vote: true}); err == nil || !strings.Contains(err.Error(), "not today") || got != want {
		t.Errorf("admission: %v, asked about %+v", err, got)
	}
	a, b = pair(t, nil)

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, q := range []*request{{cluster: "c", message: []byte{0xde, 0xff, 0xff, 1}}, {cluster: "c", message: []byte{}}} {
		err = a.opts.Pool.Call(ctx, string(b.LocalAddr()), rpc.Outgoing{Code: base.RPCRaftAppend, Arg: q}, nil)
		if !errors.Is(err, base.ErrInvalidData) {
			t.Errorf("rubbish %x: %v", q.message, err)
		}
	}
}

func TestSnapshot(t *testing.T) {
	for _, size := range []int{0, 1, 999, 1000, 5000, 12345} {
		a, b := pair(t, nil)
		data := make([]byte, size)
		rand.Read(data)
		var arrived []byte
		got := answer(b, func(m raft.RPC) {
			arrived, _ = io.ReadAll(m.Reader)
			m.Respond(&raft.InstallSnapshotResponse{Success: true, Term: m.Command.(*raft.InstallSnapshotRequest).Term}, nil)
		})
		var res raft.InstallSnapshotResponse
		err := a.InstallSnapshot("", b.LocalAddr(), &raft.InstallSnapshotRequest{RPCHeader: header(a), Term: 2, Size: int64(size)}, &res, bytes.NewReader(data))
		if err != nil || !res.Success || res.Term != 2 {
			t.Fatalf("%d bytes: %+v %v", size, res, err)
		}
		<-got
		if !bytes.Equal(arrived, data) {
			t.Fatalf("%d bytes: %d others arrived", size, len(arrived))
		}
		if n := len(b.sessions); n != 0 {
			t.Errorf("%d bytes: %d sessions left", size, n)
		}
	}
}

func TestSnapshotRefused(t *testing.T) {
	a, b := pair(t, nil)
	got := answer(b, func(m raft.RPC) { m.Respond(nil, errors.New("an old term")) })
	var res raft.InstallSnapshotResponse
	err := a.InstallSnapshot("", b.LocalAddr(), &raft.InstallSnapshotRequest{RPCHeader: header(a), Size: 5000}, &res, bytes.NewReader(make([]byte, 5000)))
	if err == nil || !strings.Contains(err.Error(), "an old term") {
		t.Errorf("refusal came back as %v", err)
	}
	<-got
	answer(b, func(m raft.RPC) { io.ReadAll(m.Reader) })
	if err := a.InstallSnapshot("", b.LocalAddr(), &raft.InstallSnapshotRequest{RPCHeader: header(a), Size: 5000}, &res, bytes.NewReader(make([]byte, 300))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a snapshot that ends early: %v", err)
	}
}

// A sender that goes away in the middle doesn't leave raft waiting.
func TestSnapshotStops(t *testing.T) {
	a, b := pair(t, func(a, b *Options) { b.ChunkTimeout = 50 * time.Millisecond })
	got := answer(b, func(m raft.RPC) {
		_, err := io.ReadAll(m.Reader)
		if !errors.Is(err, base.ErrTimeout) {
			t.Errorf("raft's reader got %v", err)
		}
		m.Respond(nil, err)
	})
	msg, err := encode(&raft.InstallSnapshotRequest{RPCHeader: header(a), Size: 5000})
	if err != nil {
		t.Fatal(err)
	}
	q := &request{cluster: "c", message: msg, session: 1, data: make([]byte, 100)}
	if err := a.exchange(b.LocalAddr(), base.RPCRaftSnapshot, 5*time.Second, q, nil); err != nil {
		t.Fatal(err)
	}
	<-got
	q = &request{cluster: "c", session: 1, offset: 100, data: make([]byte, 100)}
	if err := a.exchange(b.LocalAddr(), base.RPCRaftSnapshot, 5*time.Second, q, nil); err == nil || !strings.Contains(err.Error(), "unknown snapshot") {
		t.Errorf("a late chunk: %v", err)
	}
}

// Messages don't pile up in a server whose raft takes none.
func TestRaftTakesNothing(t *testing.T) {
	a, b := pair(t, func(a, b *Options) { b.ChunkTimeout = 50 * time.Millisecond })
	var res raft.RequestVoteResponse
	err := a.RequestVote("", b.LocalAddr(), &raft.RequestVoteRequest{RPCHeader: header(a)}, &res)
	if err == nil || !strings.Contains(err.Error(), raft.ErrEnqueueTimeout.Error()) {
		t.Errorf("a vote that nobody takes: %v", err)
	}
}

func TestClose(t *testing.T) {
	a, b := pair(t, nil)
	b.Close()
	var res raft.RequestVoteResponse
	if err := a.RequestVote("", b.LocalAddr(), &raft.RequestVoteRequest{RPCHeader: header(a)}, &res); err == nil || !strings.Contains(err.Error(), "shutdown") {
		t.Errorf("a closed transport answers %v", err)
	}
	a.Close()
	if err := a.RequestVote("", b.LocalAddr(), &raft.RequestVoteRequest{RPCHeader: header(a)}, &res); !errors.Is(err, raft.ErrTransportShutdown) {
		t.Errorf("a closed transport sends: %v", err)
	}
}
