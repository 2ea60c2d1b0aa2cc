package rpc

import (
	"io"
	"net"
	"syscall"
)

// requestOverhead is what a request costs beside its frame, in bytes.
const requestOverhead = 512

// frameReader reads a connection into pooled buffers in which frames are parsed in place.
// It belongs to the connection's reader goroutine. While it waits for the first byte of a
// frame it holds no buffer, if the connection is a socket.
type frameReader struct {
	nc   net.Conn
	raw  syscall.RawConn // nil: nc is no socket
	acct *account
	stop func() bool // the connection is to end: don't wait for memory
	// waiting is told when waiting for memory begins (true) and ends; it may be nil.
	waiting func(begin bool)

	buf        *readBuf
	start, end int  // unparsed bytes in buf
	held       int  // requests that lie in buf
	level      int  // class of the next small buffer
	fewReads   int  // reads in a row that would have fitted a smaller one
	upto       int  // where in buf to stop reading: what follows a long frame isn't read with it
	exempt     bool // the frame being received is exempt from the budget
	exemptOf   *account
	parked     int64 // charged while the rest of a frame is waited for

	readFn func(fd uintptr) bool
	need   int // argument of readFn
	n      int // its result
	err    error
}

func (f *frameReader) init(nc net.Conn, acct *account, stop func() bool) {
	f.nc, f.acct, f.stop = nc, acct, stop
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			f.raw, f.readFn = raw, f.readOnce
		}
	}
}

// cover has the reader go on with nc, which holds what is unparsed.
func (f *frameReader) cover(nc net.Conn) {
	f.drop()
	f.nc, f.raw, f.readFn = nc, nil, nil
}

// unparsed returns the bytes that are read and not yet consumed.
func (f *frameReader) unparsed() []byte {
	if f.buf == nil {
		return nil
	}
	return f.buf.b[f.start:f.end:f.end]
}

// consume passes over the first n unparsed bytes, a frame.
func (f *frameReader) consume(n int) {
	f.start += n
	if f.exempt {
		f.endExemption()
	}
}

// hold adds a reference to the buffer for a request that lies in it.
func (f *frameReader) hold() *readBuf {
	f.held++
	f.buf.retain()
	return f.buf
}

// settle charges the budget for the requests that are still unanswered at the end of a
// batch. Those that were answered at once never touch the shared counter.
func (f *frameReader) settle() {
	b := f.buf
	if b == nil || b.refs.Load() == 1 {
		return
	}
	want := int64(len(b.b)) + int64(f.held)*requestOverhead
	if d := want - b.charged; d > 0 {
		b.charged = want
		b.acct.add(d)
	}
}

// slim makes sure that the reader holds no buffer that is charged while it waits for
// something else than the rest of a frame in a buffer of its own.
func (f *frameReader) slim(need int) {
	switch {
	case f.buf == nil || f.buf.charged == 0:
	case f.start == f.end:
		f.drop()
	case need <= maxSmall:
		f.moveTo(getLargeBuf(max(bufSizes[f.level], need, f.end-f.start), f.acct))
	}
}

// drop gives the buffer up; requests in it keep it alive.
func (f *frameReader) drop() {
	if f.buf != nil {
		f.buf.release()
		f.buf = nil
	}
	f.start, f.end, f.held = 0, 0, 0
}

// close releases everything.
func (f *frameReader) close() {
	f.drop()
	if f.exempt {
		f.endExemption()
	}
}

func (f *frameReader) endExemption() { f.exemptOf.dropExempt(ofFrames, &f.exempt) }

// fill reads at least one more byte. need is the length of the frame that begins at the
// first unparsed byte, or of its header if that is all that can be said.
func (f *frameReader) fill(need int) error {
	if !f.room(need) {
		return net.ErrClosed
	}
	f.n, f.err, f.need = 0, nil, need
	var err error
	if f.raw != nil {
		err = f.raw.Read(f.readFn)
	} else {
		f.readable(need)
		f.park()
		f.n, f.err = f.nc.Read(f.buf.b[f.end:f.upto])
	}
	f.unpark()
	if err != nil {
		return err
	}
	if f.n <= 0 {
		if f.err == nil {
			return io.EOF
		}
		return f.err
	}
	f.end += f.n
	f.adapt()
	return nil
}

// readable sees to it that there is a buffer, and sets how far it may be filled.
func (f *frameReader) readable(need int) {
	if f.buf == nil {
		f.buf = getBuf(f.level, f.acct)
	}
	f.upto = len(f.buf.b)
	if f.buf.large() {
		f.upto = min(f.upto, max(f.start+need, f.end+1))
	}
}

// park counts the buffer while the peer lets the rest of a frame be waited for, and unpark ends
// it: what is held for those who send half of something is known.
func (f *frameReader) park() {
	if f.buf.charged == 0 && f.start < f.end && f.parked == 0 {
		f.parked = int64(len(f.buf.b))
		f.acct.add(f.parked)
	}
}

func (f *frameReader) unpark() {
	if f.parked != 0 {
		f.acct.add(-f.parked)
		f.parked = 0
	}
}

// readOnce is what the poller calls, first at once and then each time when the socket has
// become readable.
func (f *frameReader) readOnce(fd uintptr) bool {
	f.readable(f.need)
	for {
		n, err := rawRead(fd, f.buf.b[f.end:f.upto])
		switch err {
		case 0:
			f.n, f.err = n, nil
			return true
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			if f.start == f.end {
				f.drop()
			} else {
				f.park()
			}
			return false
		}
		f.n, f.err = n, err
		return true
	}
}

// adapt picks the next buffer's size by how much the last read gave.
func (f *frameReader) adapt() {
	switch {
	case f.end == len(f.buf.b) && f.level < smallClasses-1:
		f.level++
		f.fewReads = 0
	case f.level > 0 && f.n <= bufSizes[f.level-1]/2:
		if f.fewReads++; f.fewReads == 16 {
			f.level--
			f.fewReads = 0
		}
	default:
		f.fewReads = 0
	}
}

// room makes room behind the unparsed bytes. It reports false when the connection is to
// end while it waits for memory.
func (f *frameReader) room(need int) bool {
	if f.buf == nil {
		return true
	}
	have, size := f.end-f.start, len(f.buf.b)
	if have == 0 {
		switch {
		case f.buf.large():
			f.drop()
		case f.buf.refs.Load() == 1:
			f.start, f.end, f.held = 0, 0, 0
			f.buf.uncharge()
		case size-f.end < size/4:
			f.drop()
		}
		return true
	}
	if need <= have {
		need = have + 1
	}
	if f.start+need <= size {
		return true
	}
	if need <= maxSmall {
		if need <= size && !f.buf.large() && f.buf.refs.Load() == 1 {
			copy(f.buf.b, f.buf.b[f.start:f.end])
			f.start, f.end, f.held = 0, have, 0
			f.buf.uncharge()
			return true
		}
		f.moveTo(getBuf(max(f.level, classFor(need)), f.acct))
		return true
	}
	// A long frame's buffer grows with what arrives, not with what was announced.
	if f.start == 0 && f.end < size && (f.buf.large() || f.buf.refs.Load() == 1) {
		return true
	}
	grown := min(growBy*max(have, bufSizes[0]), need)
	if class := classFor(grown); class >= 0 {
		grown = bufSizes[class]
	}
	if !f.charge(int64(grown)) {
		return false
	}
	nb := getLargeBuf(grown, f.acct)
	nb.charged = int64(grown)
	f.moveTo(nb)
	return true
}

// charge counts a buffer for a frame that is received in parts, waiting if need be.
func (f *frameReader) charge(n int64) bool {
	if f.acct.tryGrow(ofFrames, n, f.exempt) {
		return true
	}
	if f.waiting != nil {
		f.waiting(true)
		defer f.waiting(false)
	}
	f.exemptOf = f.acct
	return f.acct.grow(ofFrames, n, &f.exempt, f.stop)
}

func (f *frameReader) moveTo(nb *readBuf) {
	n := copy(nb.b, f.buf.b[f.start:f.end])
	f.drop()
	f.buf, f.end = nb, n
}
