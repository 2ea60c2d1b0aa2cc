package rows

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/base/tbin"
	"pegasus/client"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

// Target takes writes; see client.Table.
type Target interface {
	Go(op client.Op, timeout time.Duration, done func(body []byte, err error))
	AppID() int32
	Refresh(context.Context) error // asks for the table's id and servers again
}

// same is an error if a table was dropped and made anew since it had an id: what was written before is gone.
func same(ctx context.Context, to Target, id int32) error {
	if err := to.Refresh(ctx); err != nil {
		return err
	}
	if now := to.AppID(); now != id {
		return fmt.Errorf("the table was dropped and made anew meanwhile, with id %d in place of %d: not all rows are in it. Begin again", now, id)
	}
	return nil
}

// Pace bounds what is written.
type Pace struct {
	Rows     float64       // a second; 0: no bound
	Parallel int           // writes on their way; 0: 256
	Patience time.Duration // for how long a write that fails is tried again; 0: 5 minutes
}

const (
	defaultParallel = 256
	defaultPatience = 5 * time.Minute
	// mostRows and mostBytes bound one write: well below what servers take.
	mostRows  = 500
	mostBytes = 256 << 10
	// bytesOnTheWay bounds the rows of all windows that aren't written yet: they keep the memory of all their rows.
	bytesOnTheWay = 64 << 20
	retryPause    = 200 * time.Millisecond
	// lateFor is how long an attempt that got no answer can still reach the partition. An answer to a later attempt says nothing of it
	// if it travelled by another connection. Longest is what the kernel holds of a connection that was given up while the network was
	// down: it tries for about 100 s. A server that was stopped has lost its lease by then.
	lateFor = 2 * time.Minute
	// mostLate bounds the rows that are remembered for that long, by a few numbers each.
	mostLate = 1 << 20
)

// change is a row to be written or removed.
type change struct {
	hashKey, sortKey, value []byte
	expireTS                uint32
	remove                  bool
	where                   place
}

func (c *change) size() int { return len(c.hashKey) + len(c.sortKey) + len(c.value) + 64 }

// refused says what kind of row it is that a table doesn't take: most often it is too large.
func (c *change) refused(err error) error {
	return fmt.Errorf("the table doesn't take it (a key of %d bytes, a value of %d): %w", len(c.hashKey)+len(c.sortKey), len(c.value), err)
}

// place is where a row comes from.
type place struct {
	file string
	line int64
}

// sink writes changes. write is for one goroutine at a time.
type sink struct {
	ctx   context.Context
	stop  context.CancelCauseFunc
	to    Target
	pace  Pace
	limit *rate.Limiter
	bad   func(*change, error) error // a row that the table doesn't take; an error ends all
	wrote func(n int64)

	mu    sync.Mutex
	moved sync.Cond
	busy  map[string]int // writes of a hash key on their way
	ops   int
	bytes int
	// late counts the attempts of a row that may still come, by the hash of its key. Of two rows with the same hash one waits in vain.
	late map[uint64]int
	seed maphash.Seed
}

func newSink(ctx context.Context, to Target, p Pace, bad func(*change, error) error, wrote func(int64)) *sink {
	if p.Parallel <= 0 {
		p.Parallel = defaultParallel
	}
	if p.Patience <= 0 {
		p.Patience = defaultPatience
	}
	s := &sink{to: to, pace: p, bad: bad, wrote: wrote, busy: map[string]int{}, late: map[uint64]int{}, seed: maphash.MakeSeed()}
	s.ctx, s.stop = context.WithCancelCause(ctx)
	s.moved.L = &s.mu
	if p.Rows > 0 {
		s.limit = rate.NewLimiter(rate.Limit(p.Rows), max(int(p.Rows), mostRows))
	}
	context.AfterFunc(s.ctx, func() {
		s.mu.Lock()
		s.moved.Broadcast()
		s.mu.Unlock()
	})
	return s
}

// write has changes written, and calls done when all of them are, or were refused. It waits for room, not for the writes. Of changes
// with the same keys the last one counts. The changes' slices must stay as they are.
func (s *sink) write(changes []change, done func()) error {
	batches := group(changes)
	if len(batches) == 0 {
		done()
	}
	size := 0
	for i := range batches {
		size += batches[i].size
	}
	if err := s.await(func() bool { return s.bytes == 0 || s.bytes+size <= bytesOnTheWay }, func() { s.bytes += size }); err != nil {
		return err
	}
	var left atomic.Int64
	left.Store(int64(len(batches)))
	// A hash key with several batches holds its place until all of them are written.
	turns := make(map[string]int, len(batches))
	for i := range batches {
		turns[batches[i].turn]++
	}
	for i := range batches {
		b := &batches[i]
		if s.limit != nil {
			if err := s.limit.WaitN(s.ctx, len(b.changes)); err != nil {
				return s.cause()
			}
		}
		n := turns[b.turn]
		turns[b.turn] = 0 // the first one takes the places of all
		if err := s.begin(b, n); err != nil {
			return err
		}
		s.send(b.changes, time.Now(), func() {
			freed := 0
			if left.Add(-1) == 0 {
				freed = size
				done() // before flush can end
			}
			s.end(b, freed)
		})
	}
	return nil
}

func (s *sink) cause() error { return context.Cause(s.ctx) }

// begin waits until a batch may be sent. n > 0: it is the first of n of its turn, and those before must have ended. None of its rows
// may have an attempt on its way that nobody waits for any more.
func (s *sink) begin(b *batch, n int) error {
	return s.await(func() bool {
		return s.ops < s.pace.Parallel && (n == 0 || s.busy[b.turn] == 0) && !s.mayCome(b.changes)
	}, func() {
		s.ops++
		if n > 0 {
			s.busy[b.turn] = n
		}
	})
}

// await waits until may holds, and does then what then does. Both are called with mu held.
func (s *sink) await(may func() bool, then func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.ctx.Err() == nil && !may() {
		s.moved.Wait()
	}
	if s.ctx.Err() != nil {
		return s.cause()
	}
	then()
	return nil
}

func (s *sink) end(b *batch, freed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops--
	s.bytes -= freed
	if s.busy[b.turn]--; s.busy[b.turn] == 0 {
		delete(s.busy, b.turn)
	}
	s.moved.Broadcast()
}

// lost notes that an attempt of a group got no answer. A later row of the same key waits until it can't come any more.
func (s *sink) lost(g []change) {
	list := make([]uint64, len(g)) // and not the rows, which are large
	for i := range g {
		list[i] = s.row(&g[i])
	}
	s.mu.Lock()
	for _, h := range list {
		s.late[h]++
	}
	s.mu.Unlock()
	time.AfterFunc(lateFor, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, h := range list {
			if s.late[h] > 1 {
				s.late[h]--
			} else {
				delete(s.late, h)
			}
		}
		s.moved.Broadcast()
	})
}

// mayCome is called with mu held.
func (s *sink) mayCome(g []change) bool {
	if len(s.late) == 0 {
		return false
	}
	return len(s.late) >= mostLate || slices.ContainsFunc(g, func(c change) bool { return s.late[s.row(&c)] > 0 })
}

// row identifies a row.
func (s *sink) row(c *change) uint64 {
	return maphash.Bytes(s.seed, base.AppendKey(nil, c.hashKey, c.sortKey))
}

// flush waits until nothing is on its way.
func (s *sink) flush() error {
	return s.await(func() bool { return s.ops == 0 }, func() {})
}

// batch is changes that one write can carry: of one hash key, with one expiry, none of them with the same sort key.
type batch struct {
	changes []change
	turn    string // what it waits for: the writes of its hash key, or of its row if it has none
	size    int
}

// group puts changes together. The batches of a hash key may be written in any order. A row costs no memory of its own: there are many.
func group(changes []change) []batch {
	type id struct {
		hashKey  string
		expireTS uint32
		remove   bool
	}
	size := 0
	for i := range changes {
		size += 2 + len(changes[i].hashKey) + len(changes[i].sortKey)
	}
	buf := make([]byte, 0, size)
	for i := range changes {
		buf = base.AppendKey(buf, changes[i].hashKey, changes[i].sortKey)
	}
	all := string(buf) // the keys of all rows
	last := make(map[string]int, len(changes))
	at := 0
	for i := range changes {
		n := 2 + len(changes[i].hashKey) + len(changes[i].sortKey)
		last[all[at:at+n]] = i
		at += n
	}
	var list []batch
	of := make([]int, len(changes)) // of each change the index of its batch, -1: a later one has its keys
	rows := make([]int, 0, 16)      // of each batch
	open := map[id]int{}
	at = 0
	for i := range changes {
		c := &changes[i]
		h, n := len(c.hashKey), 2+len(c.hashKey)+len(c.sortKey)
		key := all[at : at+n]
		at += n
		if of[i] = -1; last[key] != i {
			continue
		}
		turn, k := key[2:2+h], id{key[2 : 2+h], c.expireTS, c.remove}
		g, ok := open[k]
		switch {
		case h == 0: // a write of many rows needs a hash key
			turn, ok = key, false
		case !ok || rows[g] >= mostRows || list[g].size+c.size() > mostBytes:
			open[k], ok = len(list), false
		}
		if !ok {
			g = len(list)
			list, rows = append(list, batch{turn: turn}), append(rows, 0)
		}
		of[i] = g
		rows[g]++
		list[g].size += c.size()
	}
	room := make([]change, len(changes))
	for g, n := range rows {
		list[g].changes, room = room[:0:n], room[n:]
	}
	for i, g := range of {
		if g >= 0 {
			list[g].changes = append(list[g].changes, changes[i])
		}
	}
	return list
}

// request makes the write of a group.
func request(g []change) client.Op {
	c := &g[0]
	op := client.Op{Hash: base.HashOf(c.hashKey, c.sortKey), Write: true}
	switch {
	case len(g) == 1 && c.remove:
		op.Code, op.Arg = base.RPCRemove, rpc.Blob(base.AppendKey(nil, c.hashKey, c.sortKey))
	case len(g) == 1:
		op.Code = base.RPCPut
		op.Arg = &rrdb.UpdateRequest{Key: base.AppendKey(nil, c.hashKey, c.sortKey), Value: c.value, ExpireTsSeconds: int32(c.expireTS)}
	case c.remove:
		arg := &rrdb.MultiRemoveRequest{HashKey: c.hashKey, SortKeys: make([][]byte, len(g))}
		for i := range g {
			arg.SortKeys[i] = g[i].sortKey
		}
		op.Code, op.Arg = base.RPCMultiRemove, arg
	default:
		arg := &rrdb.MultiPutRequest{HashKey: c.hashKey, Kvs: make([]rrdb.KeyValue, len(g)), ExpireTsSeconds: int32(c.expireTS)}
		for i := range g {
			arg.Kvs[i] = rrdb.KeyValue{Key: g[i].sortKey, Value: g[i].value}
		}
		op.Code, op.Arg = base.RPCMultiPut, arg
	}
	return op
}

// send writes a group, again if that helps, and calls done once.
func (s *sink) send(g []change, since time.Time, done func()) {
	op := request(g)
	op.Lost = func() { s.lost(g) }
	s.to.Go(op, 0, func(body []byte, err error) {
		if err == nil {
			err = outcome(op.Code, len(g) > 1 && g[0].remove, body)
		}
		switch {
		case err == nil:
			s.wrote(int64(len(g)))
			done()
		case s.ctx.Err() != nil:
			done()
		case refused(err) && len(g) > 1:
			// Which of the rows it is, is found out.
			go s.oneByOne(g, since, done)
		case refused(err):
			if err := s.bad(&g[0], err); err != nil {
				s.stop(err)
			}
			done()
		case fatal(err) || time.Since(since) > s.pace.Patience:
			s.stop(fmt.Errorf("write %s: %w", g[0].where, err))
			done()
		default:
			go func() {
				pause.For(s.ctx, retryPause)
				s.send(g, since, done)
			}()
		}
	})
}

func (s *sink) oneByOne(g []change, since time.Time, done func()) {
	for i := range g {
		one := make(chan struct{})
		s.send(g[i:i+1:i+1], since, func() { close(one) })
		<-one
	}
	done()
}

func (p place) String() string {
	if p.line == 0 {
		return "a row of " + p.file
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}

// outcome returns what a server has against a write.
func outcome(code string, multiRemove bool, body []byte) error {
	var result int32
	var err error
	if multiRemove {
		var r rrdb.MultiRemoveResponse
		err = decode(body, &r)
		result = r.Error
	} else {
		var r rrdb.UpdateResponse
		err = decode(body, &r)
		result = r.Error
	}
	if err != nil {
		return fmt.Errorf("answer to %s: %w", code, err)
	}
	if result != 0 {
		return &client.StoreError{Op: code, Code: result}
	}
	return nil
}

func decode(body []byte, to tbin.Decoder) error { return rpc.DecodeBody(bytes.Clone(body), to) }

// refused tells whether it is the row that is wrong.
func refused(err error) bool {
	var se *client.StoreError
	if errors.As(err, &se) {
		return se.Code == client.CodeInvalidArgument
	}
	return errors.Is(err, base.ErrInvalidData) || errors.Is(err, base.ErrInvalidParameters)
}

// fatal tells whether trying again is of no use: the metas know no such table, or the table is not for us.
func fatal(err error) bool {
	var ae *client.AdminError
	return errors.As(err, &ae) && (ae.Code == base.ErrObjectNotFound || ae.Code == base.ErrBusyDropping) || errors.Is(err, base.ErrACLDeny)
}
