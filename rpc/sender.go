package rpc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pegasus/base"
)

const (
	// writeChunk is what one write may take before its time limit starts anew.
	writeChunk = 256 << 10
	// freeOutput is how much unsent output of a connection isn't counted.
	freeOutput = 64 << 10
)

// sender is the outgoing half of a connection: frames are appended to a buffer under mu,
// and whoever finds nobody writing writes it, so that frames that come meanwhile share the
// next write. There is no goroutine while there is nothing to send.
type sender struct {
	nc     net.Conn
	clock  *atomic.Int64 // milliseconds, never 0
	acct   *account      // counts large output; nil: not counted; under mu
	loopFn func()        // writeLoop, made once so that starting it doesn't allocate
	// limit is how long the peer may take nothing of writeChunk bytes before the connection ends; 0:
	// somebody else looks at writeSince.
	limit time.Duration
	// writeSince is when the write under way began, 0 if there is none.
	writeSince atomic.Int64

	mu      sync.Mutex
	cond    sync.Cond // on mu: output or the count of answers changed, while waiting is set
	waiting bool
	out     *writeBuf // frames nobody has begun to write; nil: none
	hint    int       // length of the last write
	inWrite int       // bytes of the write under way
	writing bool      // somebody writes and will look at out again
	err     error     // the connection has ended
	gone    atomic.Bool
	burst   *Burst // the one that was given this sender last and hasn't flushed it

	// For writing without waiting; of whoever has set writing.
	raw    syscall.RawConn // nil: nc is no socket
	tryFn  func(fd uintptr) bool
	try    []byte
	tried  int
	tryErr error
}

func (s *sender) init(nc net.Conn, clock *atomic.Int64, acct *account) {
	s.connected(nc)
	s.clock, s.acct = clock, acct
	s.cond.L = &s.mu
	s.loopFn = s.writeLoop
}

// connected sets the connection, which may come after init.
func (s *sender) connected(nc net.Conn) {
	s.nc = nc
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
}

// buffer returns where to append a frame. mu is held.
func (s *sender) buffer() *writeBuf {
	if s.out == nil {
		s.out = getWriteBuf(s.hint, s.acct)
	}
	return s.out
}

// wake makes somebody write what is in the buffer. mu is held.
func (s *sender) wake() {
	if !s.writing && s.out != nil && s.err == nil {
		s.writing = true
		go s.loopFn()
	}
}

// unsent returns the bytes that wait or are being written. mu is held.
func (s *sender) unsent() int {
	n := s.inWrite
	if s.out != nil {
		n += len(s.out.b)
	}
	return n
}

// writeLoop writes until nothing is left.
func (s *sender) writeLoop() {
	runtime.Gosched() // those who are about to append get into the first write
	s.mu.Lock()
	for s.out != nil && s.err == nil {
		s.writeOut()
	}
	s.writing = false
	s.notify()
	s.mu.Unlock()
}

// flush writes what is in the buffer on the caller's goroutine, unless somebody writes
// already. What comes meanwhile is left to a writer. mu is held, and given up meanwhile.
func (s *sender) flush() {
	if s.writing || s.out == nil || s.err != nil {
		return
	}
	s.writing = true
	s.writeOut()
	s.writing = false
	s.wake()
	s.notify()
}

// writeOut takes the buffer and writes it. mu is held, and given up meanwhile; writing is set.
func (s *sender) writeOut() {
	w := s.take()
	s.mu.Unlock()
	s.written(w, s.write(w.b))
}

// take takes the buffer to write it. mu is held; writing is set.
func (s *sender) take() *writeBuf {
	w := s.out
	s.out = nil
	s.inWrite = len(w.b)
	s.hint = len(w.b)
	return w
}

// written ends a write. It returns with mu held.
func (s *sender) written(w *writeBuf, err error) {
	putWriteBuf(w)
	s.mu.Lock()
	s.inWrite = 0
	if err != nil {
		s.fail(err)
	}
	s.notify()
}

// write writes b, waiting for the peer if need be.
func (s *sender) write(b []byte) error {
	if s.raw != nil {
		n, err := s.tryWrite(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	for len(b) > 0 {
		n := min(len(b), writeChunk)
		s.writeSince.Store(s.clock.Load())
		if s.limit > 0 {
			if err := s.nc.SetWriteDeadline(time.Now().Add(s.limit)); err != nil {
				return err
			}
		}
		if _, err := s.nc.Write(b[:n]); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = fmt.Errorf("the peer accepted no data for %v: %w", s.limit, base.ErrTimeout)
			}
			return err
		}
		b = b[n:]
	}
	if s.writeSince.Swap(0) != 0 && s.limit > 0 {
		return s.nc.SetWriteDeadline(time.Time{})
	}
	return nil
}

// notify wakes those who wait on cond. mu is held.
func (s *sender) notify() {
	if s.waiting {
		s.cond.Broadcast()
	}
}

// fail ends the connection for err, if it hasn't ended. mu is held.
func (s *sender) fail(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	s.gone.Store(true)
	if s.out != nil {
		putWriteBuf(s.out)
		s.out = nil
	}
	if s.nc != nil {
		s.nc.Close()
	}
	s.notify()
}
