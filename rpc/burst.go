package rpc

import (
	"syscall"

	"pegasus/base"
	"pegasus/base/tbin"
)

// Burst gathers what a stretch of work sends, on whatever connections: each connection is
// written to once, by Flush, on the goroutine that did the work. Answers and requests that
// are given to no Burst are written by a goroutine of the connection's own.
//
// A Burst belongs to one goroutine. Flush must follow soon.
type Burst struct {
	senders []*sender
}

// add notes that s has something to write. s.mu is held.
func (b *Burst) add(s *sender) {
	if s.burst != b {
		s.burst = b
		b.senders = append(b.senders, s)
	}
}

// Flush writes what was gathered. It never waits for a peer: what a socket doesn't take at
// once is left to another goroutine.
func (b *Burst) Flush() {
	for i, s := range b.senders {
		s.flushNow(b)
		b.senders[i] = nil
	}
	b.senders = b.senders[:0]
}

// Batch is what a connection's reader found at once: while it is handled, answers to its
// requests are gathered, and Flush comes after the function given to Server.AfterBatch.
type Batch struct {
	Burst
	// Work is the handler's own; it stays with the connection.
	Work any
}

// Batch returns that of the request's connection. Only ServeRPC may use it, on the
// goroutine that it is called on.
func (r *Request) Batch() *Batch { return &r.conn.batch }

// ReplyIn is Reply, but that the answer leaves with b. A nil b makes it Reply.
func (r *Request) ReplyIn(b *Burst, res tbin.Encoder) {
	r.answerIn(b, answer{code: base.ErrOK, typ: tbin.Struct, val: res})
}

// AfterBatch has f called on a connection's reader goroutine after the requests that were
// read at once went to the handler, before the next are read. Call it before Serve.
func (s *Server) AfterBatch(f func(*Batch)) { s.hooks.afterBatch = f }

// OnError has f called for each request that is answered with an error, before the answer is sent; f must not wait. Call it before Serve.
func (s *Server) OnError(f func(*Request, base.ErrorCode)) { s.hooks.onError = f }

// flushNow writes what is in the buffer, as much as the socket takes without waiting, and
// leaves the rest, and what comes meanwhile, to a writer. It does nothing if somebody writes.
func (s *sender) flushNow(b *Burst) {
	s.mu.Lock()
	if s.burst == b {
		s.burst = nil
	}
	if s.writing || s.out == nil || s.err != nil {
		s.mu.Unlock()
		return
	}
	if s.raw == nil {
		s.wake()
		s.mu.Unlock()
		return
	}
	s.writing = true
	w := s.take()
	s.mu.Unlock()

	n, err := s.tryWrite(w.b)
	if err == nil && n < len(w.b) {
		go s.writeRest(w, n)
		return
	}
	s.written(w, err)
	s.writing = false
	s.wake()
	s.notify()
	s.mu.Unlock()
}

// writeRest continues flushNow when the socket is full.
func (s *sender) writeRest(w *writeBuf, n int) {
	err := s.write(w.b[n:])
	s.written(w, err)
	s.mu.Unlock()
	s.writeLoop()
}

// tryWrite writes what the socket takes at once. writing is set.
func (s *sender) tryWrite(b []byte) (int, error) {
	s.try, s.tried, s.tryErr = b, 0, nil
	if s.tryFn == nil {
		s.tryFn = s.tryOnce
	}
	err := s.raw.Write(s.tryFn)
	s.try = nil
	if s.tryErr != nil {
		err = s.tryErr
	}
	return s.tried, err
}

func (s *sender) tryOnce(fd uintptr) bool {
	for s.tried < len(s.try) {
		n, err := rawWrite(fd, s.try[s.tried:])
		switch {
		case n > 0:
			s.tried += n
			continue
		case err == syscall.EINTR:
			continue
		case err != 0 && err != syscall.EAGAIN:
			s.tryErr = err
		}
		break
	}
	return true
}
