package rrdb

import (
	"container/list"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"
)

// scanSession is a scan between two pages: a position and the client's options. It pins nothing in the
// store.
type scanSession struct {
	store *reader
	next  []byte // first key that wasn't looked at
	// cut is the store's as of the beginning. A later one hides no rows from the scan: they are left in the store while it lasts.
	cut   Cut
	count int32 // of the table's partitions, as of the beginning
	// half, if not zero, is the partition of which it takes rows only.
	half  Cut
	upper []byte // end, exclusive
	scanOptions

	id    int64
	since time.Time
}

// sessionTable holds the scan sessions of all stores of a server, by context id. Their number and age are
// bounded. A client whose session is gone gets "not found", and begins a new scan after the last row
// that it got.
type sessionTable struct {
	limit int
	age   time.Duration
	now   func() time.Time

	mu    sync.Mutex
	byID  map[int64]*list.Element
	order *list.List // of *scanSession, oldest first
}

// olderThan tells whether the store has a session from before that cut.
func (t *sessionTable) olderThan(store *reader, count int32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(t.now())
	for e := t.order.Front(); e != nil; e = e.Next() {
		if s := e.Value.(*scanSession); s.store == store && s.cut.Count < count {
			return true
		}
	}
	return false
}

func newSessionTable(limit int, age time.Duration, now func() time.Time) *sessionTable {
	return &sessionTable{limit: limit, age: age, now: now, byID: map[int64]*list.Element{}, order: list.New()}
}

// put stores a session under a new positive id. Ids are random, so that neither another client nor one
// from before a restart uses the session of someone else.
func (t *sessionTable) put(s *scanSession) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.since = t.now()
	t.expire(s.since)
	for t.order.Len() >= t.limit {
		t.remove(t.order.Front())
	}
	for {
		s.id = randomID()
		if _, used := t.byID[s.id]; !used && s.id > 0 {
			break
		}
	}
	t.byID[s.id] = t.order.PushBack(s)
	return s.id
}

// take removes and returns the store's session of that id, nil if there is none.
func (t *sessionTable) take(store *reader, id int64) *scanSession {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(t.now())
	e := t.byID[id]
	if e == nil || e.Value.(*scanSession).store != store {
		return nil
	}
	return t.remove(e)
}

// drop removes all sessions of a store.
func (t *sessionTable) drop(store *reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.order.Front(); e != nil; {
		next := e.Next()
		if e.Value.(*scanSession).store == store {
			t.remove(e)
		}
		e = next
	}
}

func (t *sessionTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.order.Len()
}

func (t *sessionTable) expire(now time.Time) {
	for e := t.order.Front(); e != nil && now.Sub(e.Value.(*scanSession).since) > t.age; e = t.order.Front() {
		t.remove(e)
	}
}

func (t *sessionTable) remove(e *list.Element) *scanSession {
	s := t.order.Remove(e).(*scanSession)
	delete(t.byID, s.id)
	return s
}

func randomID() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, as crypto/rand says
	return int64(binary.BigEndian.Uint64(b[:]) >> 1)
}
