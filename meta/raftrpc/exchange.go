package raftrpc

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"pegasus/base"
	"pegasus/rpc"
)

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
	r.Vouch()
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
	late := time.NewTimer(t.opts.ChunkTimeout)
	defer late.Stop()
	select {
	case t.consume <- msg:
	case <-late.C:
		// Raft is busy, with its disk perhaps. The sender has given up long ago and sends again.
		return nil, raft.ErrEnqueueTimeout
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
