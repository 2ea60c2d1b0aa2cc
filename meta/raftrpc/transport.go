package raftrpc

import (
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
	handle(t, mux, base.RPCRaftAppend, func() any { return &raft.AppendEntriesRequest{} })
	handle(t, mux, base.RPCRaftVote, func() any { return &raft.RequestVoteRequest{} })
	handle(t, mux, base.RPCRaftPreVote, func() any { return &raft.RequestPreVoteRequest{} })
	handle(t, mux, base.RPCRaftTimeoutNow, func() any { return &raft.TimeoutNowRequest{} })
	mux.HandleFunc(base.RPCRaftSnapshot, t.serveChunk)
}

func handle(t *Transport, mux *rpc.Mux, code string, alloc func() any) {
	mux.HandleFunc(code, func(r *rpc.Request) {
		cmd := alloc()
		if _, ok := t.accept(r, cmd); !ok {
			return
		}
		r.Go(func() { t.serve(r, cmd, nil) })
	})
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
	return t.call(target, base.RPCRaftAppend, timeout, args, res)
}

// RequestVote asks for a vote.
func (t *Transport) RequestVote(_ raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, res *raft.RequestVoteResponse) error {
	return t.call(target, base.RPCRaftVote, t.opts.VoteTimeout, args, res)
}

// RequestPreVote asks whether a vote would be given.
func (t *Transport) RequestPreVote(_ raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, res *raft.RequestPreVoteResponse) error {
	return t.call(target, base.RPCRaftPreVote, t.opts.VoteTimeout, args, res)
}

// TimeoutNow makes another server stand for election at once.
func (t *Transport) TimeoutNow(_ raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, res *raft.TimeoutNowResponse) error {
	return t.call(target, base.RPCRaftTimeoutNow, t.opts.VoteTimeout, args, res)
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
