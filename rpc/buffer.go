package rpc

import (
	"sync"
	"sync/atomic"
)

// bufSizes are the sizes of pooled read buffers. A connection reads into one of the first
// smallClasses, chosen by how much it sends; the others are for frames that don't fit.
var bufSizes = [...]int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20}

const (
	smallClasses = 3
	maxSmall     = 64 << 10
	growBy       = 4 // how many times what has arrived of a frame its next buffer holds
)

var bufPools [len(bufSizes)]sync.Pool

// readBuf is a read buffer shared by its connection and the requests that lie in it. It
// goes back to its pool with the last reference.
type readBuf struct {
	b     []byte
	class int // index in bufSizes; -1: of no standard size, not pooled
	refs  atomic.Int32
	acct  *account
	// charged is what the account counts for this buffer. Only the connection's reader
	// changes it, while it holds a reference.
	charged int64
}

// classFor returns the smallest class that holds n bytes, -1 if none does.
func classFor(n int) int {
	for i, s := range bufSizes {
		if n <= s {
			return i
		}
	}
	return -1
}

func getBuf(class int, acct *account) *readBuf {
	b, _ := bufPools[class].Get().(*readBuf)
	if b == nil {
		b = &readBuf{b: make([]byte, bufSizes[class]), class: class}
	}
	b.acct = acct
	b.refs.Store(1)
	return b
}

// getLargeBuf returns a buffer of at least n bytes.
func getLargeBuf(n int, acct *account) *readBuf {
	if class := classFor(n); class >= 0 {
		return getBuf(class, acct)
	}
	b := &readBuf{b: make([]byte, n), class: -1, acct: acct}
	b.refs.Store(1)
	return b
}

// large tells whether b was taken for one frame.
func (b *readBuf) large() bool { return len(b.b) > maxSmall }

func (b *readBuf) retain() { b.refs.Add(1) }

func (b *readBuf) release() {
	if b.refs.Add(-1) != 0 {
		return
	}
	b.uncharge()
	if b.class >= 0 {
		bufPools[b.class].Put(b)
	}
}

func (b *readBuf) uncharge() {
	if b.charged != 0 {
		n := b.charged
		b.charged = 0
		b.acct.add(-n)
	}
}

// writeBuf collects frames for one write.
type writeBuf struct {
	b       []byte
	acct    *account // nil: not counted
	charged int64    // what acct counts for b
}

// charge counts the bytes of b, if they are many.
func (w *writeBuf) charge() {
	if n := int64(cap(w.b)); w.acct != nil && len(w.b) > freeOutput && n != w.charged {
		w.acct.addOutput(n - w.charged)
		w.charged = n
	}
}

var (
	writeSizes = [...]int{4 << 10, 64 << 10, 1 << 20}
	writePools [len(writeSizes)]sync.Pool
)

const maxPooledWrite = 4 << 20

// getWriteBuf returns an empty buffer that holds about hint bytes.
func getWriteBuf(hint int, acct *account) *writeBuf {
	class := 0
	for class < len(writeSizes)-1 && hint > writeSizes[class] {
		class++
	}
	w, _ := writePools[class].Get().(*writeBuf)
	if w == nil {
		w = &writeBuf{b: make([]byte, 0, writeSizes[class])}
	}
	w.acct = acct
	return w
}

func putWriteBuf(w *writeBuf) {
	if w.charged != 0 {
		w.acct.addOutput(-w.charged)
	}
	w.acct, w.charged = nil, 0
	c := cap(w.b)
	if c > maxPooledWrite {
		return
	}
	class := len(writeSizes) - 1
	for class > 0 && c < writeSizes[class] {
		class--
	}
	w.b = w.b[:0]
	writePools[class].Put(w)
}
