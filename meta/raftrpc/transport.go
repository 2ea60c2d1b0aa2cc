package raftrpc

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/rpc"
)

// Options configure a Transport.
type Options struct {
	// Self is this server, as the others call it.
	Self    raft.ServerAddress
	Cluster string
	// Quorum returns the identity of the quorum that goes with each message, "" as long as it
	// isn't known.
	Quorum func() string
	// Admit says why a message must not reach raft, nil if it may.
	Admit func(Message) error
	Pool  *rpc.Pool
	// VoteTimeout bounds votes and heartbeats, AppendTimeout entries, ChunkTimeout one
	// chunk of a snapshot.
	VoteTimeout, AppendTimeout, ChunkTimeout time.Duration
	// ChunkBytes of a snapshot travel at once; 0: 4 MiB.
	ChunkBytes int
	Log        *logrus.Entry
}

// Message is what Admit is told of a message.
type Message struct {
	From   raft.ServerAddress // as the sender calls itself
	Quorum string             // what the sender belongs to, "": it doesn't know
	Vote   bool               // it asks for a vote
}

// Transport is a raft.Transport, with pre-vote. Register its handlers before raft starts.
type Transport struct {
	opts    Options
	consume chan raft.RPC
	quit    chan struct{}
	once    sync.Once
	strange rate.Sometimes // lines about messages that don't belong here

	mu        sync.Mutex
	heartbeat func(raft.RPC)
	sessions  map[session]*incoming
	lastID    int64
}

// New returns a Transport.
func New(opts Options) *Transport {
	if opts.ChunkBytes <= 0 {
		opts.ChunkBytes = 4 << 20
	}
	return &Transport{
		opts:     opts,
		consume:  make(chan raft.RPC),
		quit:     make(chan struct{}),
		strange:  rate.Sometimes{First: 3, Interval: time.Minute},
		sessions: map[session]*incoming{},
		lastID:   time.Now().UnixNano(), // unlike those of an earlier process
	}
}

// Register makes mux give raft's messages to t.
func (t *Transport) Register(mux *rpc.Mux) {
	handle(t, mux, codeAppend, func() any { return &raft.AppendEntriesRequest{} })
	handle(t, mux, codeVote, func() any { return &raft.RequestVoteRequest{} })
	handle(t, mux, codePreVote, func() any { return &raft.RequestPreVoteRequest{} })
	handle(t, mux, codeTimeoutNow, func() any { return &raft.TimeoutNowRequest{} })
	mux.HandleFunc(codeSnapshot, t.serveChunk)
}

func handle(t *Transport, mux *rpc.Mux, code string, alloc func() any) {
	mux.HandleFunc(code, func(r *rpc.Request) {
		cmd := alloc()
		if _, ok := t.accept(r, cmd); !ok {
			return
		}
		go t.serve(r, cmd, nil)
	})
}

// accept decodes a message and checks where it comes from. If it may not be served, r has
// been answered.
func (t *Transport) accept(r *rpc.Request, cmd any) (*request, bool) {
	var q request
	if err := r.DecodeArg(&q); err != nil {
		r.ReplyError(base.ErrInvalidData)
		return nil, false
	}
	if q.cluster != t.opts.Cluster {
		t.strange.Do(func() {
			t.opts.Log.Warnf("%s from %v belongs to cluster %q, this is %q: check cluster.meta_servers there", r.Code, r.Remote, q.cluster, t.opts.Cluster)
		})
		r.Reply(&response{err: fmt.Sprintf("cluster %q, not %q", t.opts.Cluster, q.cluster)})
		return nil, false
	}
	if q.message == nil {
		return &q, true
	}
	if err := decode(q.message, cmd); err != nil {
		t.strange.Do(func() { t.opts.Log.Warnf("%s from %v: %v", r.Code, r.Remote, err) })
		r.ReplyError(base.ErrInvalidData)
		return nil, false
	}
	from := raft.ServerAddress(cmd.(raft.WithRPCHeader).GetRPCHeader().Addr)
	m := Message{From: from, Quorum: q.quorum}
	switch cmd.(type) {
	case *raft.RequestVoteRequest, *raft.RequestPreVoteRequest:
		m.Vote = true
	}
	if err := t.opts.Admit(m); err != nil {
		t.strange.Do(func() { t.opts.Log.Warnf("%s from %v, who calls itself %q: refused: %v", r.Code, r.Remote, from, err) })
		r.Reply(&response{err: err.Error()})
		return nil, false
	}
	return &q, true
}

// serve gives a message to raft and answers with what raft says.
func (t *Transport) serve(r *rpc.Request, cmd any, data io.Reader) {
	res, err := t.ask(cmd, data)
	if err != nil {
		r.Reply(&response{err: err.Error()})
		return
	}
	b, err := encode(res)
	if err != nil {
		r.Reply(&response{err: err.Error()})
		return
	}
	r.Reply(&response{message: b})
}

func (t *Transport) ask(cmd any, data io.Reader) (any, error) {
	ch := make(chan raft.RPCResponse, 1)
	msg := raft.RPC{Command: cmd, Reader: data, RespChan: ch}
	if a, ok := cmd.(*raft.AppendEntriesRequest); ok && isHeartbeat(a) {
		t.mu.Lock()
		fn := t.heartbeat
		t.mu.Unlock()
		if fn != nil {
			fn(msg)
			return t.wait(ch)
		}
	}
	select {
	case t.consume <- msg:
	case <-t.quit:
		return nil, raft.ErrTransportShutdown
	}
	return t.wait(ch)
}

func (t *Transport) wait(ch chan raft.RPCResponse) (any, error) {
	select {
	case res := <-ch:
		return res.Response, res.Error
	case <-t.quit:
		return nil, raft.ErrTransportShutdown
	}
}

// isHeartbeat tells an append without content, which raft can serve beside everything else.
func isHeartbeat(a *raft.AppendEntriesRequest) bool {
	return a.Term != 0 && a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && len(a.Entries) == 0 && a.LeaderCommitIndex == 0
}

// call sends one message and decodes the answer.
func (t *Transport) call(target raft.ServerAddress, code string, timeout time.Duration, args, res any) error {
	b, err := encode(args)
	if err != nil {
		return err
	}
	return t.exchange(target, code, timeout, &request{cluster: t.opts.Cluster, quorum: t.opts.Quorum(), message: b}, res)
}

func (t *Transport) exchange(target raft.ServerAddress, code string, timeout time.Duration, q *request, res any) error {
	select {
	case <-t.quit:
		return raft.ErrTransportShutdown
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var s response
	if err := t.opts.Pool.Call(ctx, string(target), rpc.Outgoing{Code: code, Arg: q}, &s); err != nil {
		return fmt.Errorf("raft: %w", err)
	}
	if res == nil {
		if s.err != "" {
			return s.result(nil)
		}
		return nil
	}
	return s.result(res)
}

// Consumer is where raft takes messages from.
func (t *Transport) Consumer() <-chan raft.RPC { return t.consume }

// LocalAddr returns Options.Self.
func (t *Transport) LocalAddr() raft.ServerAddress { return t.opts.Self }

// AppendEntriesPipeline says that there is none: entries are few, and batched.
func (t *Transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries sends entries or a heartbeat.
func (t *Transport) AppendEntries(_ raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, res *raft.AppendEntriesResponse) error {
	timeout := t.opts.AppendTimeout
	if isHeartbeat(args) {
		timeout = t.opts.VoteTimeout
	}
	return t.call(target, codeAppend, timeout, args, res)
}

// RequestVote asks for a vote.
func (t *Transport) RequestVote(_ raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, res *raft.RequestVoteResponse) error {
	return t.call(target, codeVote, t.opts.VoteTimeout, args, res)
}

// RequestPreVote asks whether a vote would be given.
func (t *Transport) RequestPreVote(_ raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, res *raft.RequestPreVoteResponse) error {
	return t.call(target, codePreVote, t.opts.VoteTimeout, args, res)
}

// TimeoutNow makes another server stand for election at once.
func (t *Transport) TimeoutNow(_ raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, res *raft.TimeoutNowResponse) error {
	return t.call(target, codeTimeoutNow, t.opts.VoteTimeout, args, res)
}

// EncodePeer returns the address as bytes.
func (t *Transport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }

// DecodePeer is the inverse of EncodePeer.
func (t *Transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler sets who serves heartbeats beside the other messages.
func (t *Transport) SetHeartbeatHandler(fn func(raft.RPC)) {
	t.mu.Lock()
	t.heartbeat = fn
	t.mu.Unlock()
}

// Close ends all waiting; the pool stays open, it isn't ours.
func (t *Transport) Close() error {
	t.once.Do(func() {
		close(t.quit)
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, in := range t.sessions {
			in.pipe.CloseWithError(raft.ErrTransportShutdown)
		}
	})
	return nil
}
