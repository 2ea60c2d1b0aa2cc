package raftrpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"pegasus/base"
	"pegasus/rpc"
)

// session names one snapshot that is being received.
type session struct {
	from string
	id   int64
}

// incoming is such a snapshot: chunks go into the pipe, raft reads its other end.
type incoming struct {
	pipe   *io.PipeWriter
	next   int64 // offset of the chunk that must come now
	result chan raft.RPCResponse
	stale  *time.Timer
}

// InstallSnapshot sends a snapshot in chunks, each acknowledged before the next. The
// answer to the last one is raft's.
func (t *Transport) InstallSnapshot(_ raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, res *raft.InstallSnapshotResponse, data io.Reader) error {
	msg, err := encode(args)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.lastID++
	id := t.lastID
	t.mu.Unlock()
	buf := make([]byte, t.opts.ChunkBytes)
	for off := int64(0); ; {
		n, err := io.ReadFull(data, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("read the snapshot to send: %w", err)
		}
		last := off+int64(n) >= args.Size
		if n == 0 && !last {
			return fmt.Errorf("the snapshot ends after %d of %d bytes: %w", off, args.Size, io.ErrUnexpectedEOF)
		}
		q := &request{cluster: t.opts.Cluster, quorum: t.opts.Quorum(), session: id, offset: off, data: buf[:n], last: last}
		if off == 0 {
			q.message = msg
		}
		if last {
			return t.exchange(target, base.RPCRaftSnapshot, t.opts.ChunkTimeout, q, res)
		}
		if err := t.exchange(target, base.RPCRaftSnapshot, t.opts.ChunkTimeout, q, nil); err != nil {
			return err
		}
		off += int64(n)
	}
}

// serveChunk takes one chunk of a snapshot.
func (t *Transport) serveChunk(r *rpc.Request) {
	var args raft.InstallSnapshotRequest
	q, ok := t.accept(r, &args)
	if !ok {
		return
	}
	if q.session == 0 {
		r.ReplyError(base.ErrInvalidParameters)
		return
	}
	key := session{r.Remote.Addr().String(), q.session}
	// The frame is gone once r is answered, and the answer waits for the pipe.
	data := bytes.Clone(q.data)
	if q.message != nil && q.offset == 0 {
		t.open(key, &args)
	}
	t.mu.Lock()
	in := t.sessions[key]
	if in == nil || in.next != q.offset {
		t.mu.Unlock()
		r.Reply(&response{err: fmt.Sprintf("chunk at %d of an unknown snapshot", q.offset)})
		return
	}
	in.next += int64(len(data))
	in.stale.Reset(t.opts.ChunkTimeout)
	t.mu.Unlock()
	r.Go(func() { t.feed(r, key, in, data, q.last) })
}

// open begins to receive a snapshot.
func (t *Transport) open(key session, args *raft.InstallSnapshotRequest) {
	pr, pw := io.Pipe()
	in := &incoming{pipe: pw, result: make(chan raft.RPCResponse, 1)}
	in.stale = time.AfterFunc(t.opts.ChunkTimeout, func() {
		t.forget(key, in)
		pw.CloseWithError(fmt.Errorf("no more chunks of the snapshot from %s: %w", key.from, base.ErrTimeout))
	})
	t.mu.Lock()
	t.sessions[key] = in
	t.mu.Unlock()
	go func() {
		res, err := t.ask(args, io.LimitReader(pr, args.Size))
		pr.CloseWithError(errors.New("raft has finished with the snapshot"))
		in.result <- raft.RPCResponse{Response: res, Error: err}
	}()
}

func (t *Transport) forget(key session, in *incoming) {
	t.mu.Lock()
	if t.sessions[key] == in {
		delete(t.sessions, key)
	}
	t.mu.Unlock()
	in.stale.Stop()
}

// feed writes a chunk to raft and answers: at once when raft has read it, after the last
// one with raft's answer.
func (t *Transport) feed(r *rpc.Request, key session, in *incoming, data []byte, last bool) {
	_, err := in.pipe.Write(data)
	if err == nil && !last {
		r.Reply(&response{})
		return
	}
	// Raft has refused early, or everything was sent.
	in.pipe.Close()
	t.forget(key, in)
	var res raft.RPCResponse
	select {
	case res = <-in.result:
	case <-t.quit:
		res.Error = raft.ErrTransportShutdown
	}
	if res.Error == nil && !last {
		res.Error = err
	}
	if res.Error != nil {
		r.Reply(&response{err: res.Error.Error()})
		return
	}
	b, err := encode(res.Response)
	if err != nil {
		r.Reply(&response{err: err.Error()})
		return
	}
	r.Reply(&response{message: b})
}
