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
	firstLarge   = 256 << 10 // what a frame that claims more gets before its bytes arrive
)

var bufPools [len(bufSizes)]sync.Pool

// readBuf is a read buffer shared by its connection and the requests that lie in it. It
// goes back to its pool with the last reference.
type readBuf struct {
	b      []byte
	class  int // index in bufSizes; -1: of no standard size, not pooled
	refs   atomic.Int32
	budget *budget
	// charged is what the budget counts for this buffer. Only the connection's reader
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

func getBuf(class int, bud *budget) *readBuf {
	b, _ := bufPools[class].Get().(*readBuf)
	if b == nil {
		b = &readBuf{b: make([]byte, bufSizes[class]), class: class}
	}
	b.budget = bud
	b.refs.Store(1)
	return b
}

// getLargeBuf returns a buffer of at least n bytes.
func getLargeBuf(n int, bud *budget) *readBuf {
	if class := classFor(n); class >= 0 {
		return getBuf(class, bud)
	}
	b := &readBuf{b: make([]byte, n), class: -1, budget: bud}
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
		b.budget.add(-n)
	}
}

// writeBuf collects frames for one write.
type writeBuf struct{ b []byte }

var (
	writeSizes = [...]int{4 << 10, 64 << 10, 1 << 20}
	writePools [len(writeSizes)]sync.Pool
)

const maxPooledWrite = 4 << 20

// getWriteBuf returns an empty buffer that holds about hint bytes.
func getWriteBuf(hint int) *writeBuf {
	class := 0
	for class < len(writeSizes)-1 && hint > writeSizes[class] {
		class++
	}
	if w, _ := writePools[class].Get().(*writeBuf); w != nil {
		return w
	}
	return &writeBuf{make([]byte, 0, writeSizes[class])}
}

func putWriteBuf(w *writeBuf) {
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

// budget bounds the memory of requests read and not yet answered, and of large answers
// not yet sent, over all connections of a server.
//
// It can't deadlock: what makes readers wait is given back by handlers and writers, who
// never wait for it. Only a frame that is received in parts into a buffer of its own is
// charged while its reader waits; such frames together take at most half of the limit,
// and one at a time is exempt, so one frame always gets on and then frees its share.
type budget struct {
	limit   int64
	used    atomic.Int64
	waiters atomic.Int32

	mu     sync.Mutex
	cond   sync.Cond
	exempt bool // some frame is
}

func newBudget(limit int64) *budget {
	b := &budget{limit: limit}
	b.cond.L = &b.mu
	return b
}

// low is what use must fall to before those that wait go on: a little below the limit, so
// that they aren't woken for each answer.
func (b *budget) low() int64 { return b.limit - b.limit/8 }

// add charges n bytes, or gives them back if n is negative. It never waits.
func (b *budget) add(n int64) {
	if u := b.used.Add(n); n < 0 && b.waiters.Load() > 0 && u <= b.low() {
		b.kick()
	}
}

// kick makes everybody who waits look again.
func (b *budget) kick() {
	b.mu.Lock()
	b.cond.Broadcast()
	b.mu.Unlock()
}

func (b *budget) over() bool { return b.used.Load() > b.limit }

// wait returns once the use is below the limit again, or stop says true.
func (b *budget) wait(stop func() bool) {
	b.waiters.Add(1)
	b.mu.Lock()
	for b.used.Load() > b.low() && !stop() {
		b.cond.Wait()
	}
	b.mu.Unlock()
	b.waiters.Add(-1)
}

// tryGrow charges n bytes for a frame that is being received, if that needs no waiting.
func (b *budget) tryGrow(n int64, exempt bool) bool {
	if !exempt && b.used.Load()+n > b.limit/2 {
		return false
	}
	b.used.Add(n)
	return true
}

// grow is tryGrow that waits for room, or until it may make this frame the exempt one,
// which it tells by *exempt. It reports false, and charges nothing, when stop says true.
func (b *budget) grow(n int64, exempt *bool, stop func() bool) bool {
	b.waiters.Add(1)
	defer b.waiters.Add(-1)
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case stop():
			return false
		case b.used.Load()+n <= b.limit/2:
			b.used.Add(n)
			return true
		case !b.exempt:
			b.exempt, *exempt = true, true
			b.used.Add(n)
			return true
		}
		b.cond.Wait()
	}
}

// dropExempt ends the exemption of a frame that is complete or given up.
func (b *budget) dropExempt(exempt *bool) {
	if !*exempt {
		return
	}
	*exempt = false
	b.mu.Lock()
	b.exempt = false
	b.cond.Broadcast()
	b.mu.Unlock()
}
