package rrdb

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
	"pegasus/rrdb/engine"
)

// applier applies mutations to a store's rows, flushes them, and knows which are in table files.
type applier struct {
	*instance
	// openedTS is the timestamp of the last mutation that the store held when it was opened; 0: none.
	openedTS int64

	applyMu     sync.Mutex
	applied     atomic.Int64
	timestamp   atomic.Int64
	progress    atomic.Pointer[PassProgress]
	metaBuf     []byte        // under applyMu
	expiries    expiryMap     // under applyMu
	recent      *recentWrites // under applyMu; nil unless a sweep reads a chunk
	newProgress *PassProgress // under applyMu: set by the mutations being applied; nil: none
	newCut      *Cut          // the same, of the cut
	rows        rowCounter

	durable durability
}

// LastApplied returns the decree of the last mutation applied; 0 for none.
func (s *applier) LastApplied() int64 { return s.applied.Load() }

// LastTimestamp returns the timestamp of the last mutation applied, microseconds since 1970. A new
// primary gives its mutations later timestamps.
func (s *applier) LastTimestamp() int64 { return s.timestamp.Load() }

// Mutation is a committed mutation. TimestampUS is in microseconds since 1970; it becomes
// the rows' timetag. An empty Payload only advances the decree.
type Mutation struct {
	Decree, TimestampUS int64
	Payload             []byte
}

// Apply is ApplyAll of one.
func (s *applier) Apply(decree, timestampUS int64, payload []byte) error {
	one := [1]Mutation{{decree, timestampUS, payload}}
	return s.ApplyAll(one[:])
}

// ApplyAll executes one or more consecutive mutations, none of which takes a set, in one batch: a crash leaves the effects of all
// of them or of none.
func (s *applier) ApplyAll(ms []Mutation) error {
	decree, timestampUS := ms[len(ms)-1].Decree, ms[len(ms)-1].TimestampUS
	if err := s.begin(); err != nil {
		return fmt.Errorf("applying decree %d: %w", decree, err)
	}
	defer s.leave()
	s.member.Admit()
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	b := s.db.NewBatch()
	defer b.Close()
	s.newProgress, s.newCut = nil, nil
	rows := 0
	for i := range ms {
		m := &ms[i]
		if next := s.applied.Load() + 1 + int64(i); m.Decree != next {
			return fmt.Errorf("applying decree %d: the last decree applied is %d: %w", m.Decree, next-1, base.ErrInvalidState)
		}
		n, err := s.fillBatch(b, m)
		if err != nil {
			return fmt.Errorf("applying decree %d: %w", m.Decree, err)
		}
		rows += n
	}
	s.metaBuf = meta{decree, timestampUS}.append(s.metaBuf[:0])
	if err := b.Set(metaKey, s.metaBuf, nil); err != nil {
		return fmt.Errorf("applying decree %d: %w", decree, err)
	}
	size := engine.BatchBytes(b)
	if err := s.db.Apply(b, pebble.NoSync); err != nil {
		return fmt.Errorf("applying decree %d: %w", decree, err)
	}
	if err := s.member.Err(); err != nil {
		return fmt.Errorf("applying decree %d: %w", decree, err)
	}
	s.applied.Store(decree)
	s.timestamp.Store(timestampUS)
	if s.newProgress != nil {
		s.progress.Store(s.newProgress)
	}
	if s.newCut != nil {
		s.cut.Store(s.newCut)
	}
	s.rows.applied.Add(int64(rows))
	s.member.Applied(size)
	return nil
}

// rowCounter counts puts minus removes, as an estimate of the rows that are in no table file yet. What
// is applied between the end of a memtable and the start of its flush counts as flushed.
type rowCounter struct {
	applied  atomic.Int64 // since the store was opened
	flushing atomic.Int64 // of applied, when the flush began that is under way
	flushed  atomic.Int64 // of applied
}

func (c *rowCounter) flushBegan() { c.flushing.Store(c.applied.Load()) }

func (c *rowCounter) flushEnded(err error) {
	if err == nil {
		c.flushed.Store(c.flushing.Load())
	}
}

func (c *rowCounter) unflushed() int64 { return c.applied.Load() - c.flushed.Load() }

// fillBatch adds a mutation to a batch, and returns its puts minus its removes.
func (s *applier) fillBatch(b *pebble.Batch, m *Mutation) (rows int, err error) {
	var op Op
	now := expirySeconds(m.TimestampUS / 1e6)
	r := NewOpReader(m.Payload)
	for r.Next(&op) {
		switch {
		case validKey(op.Key):
		case bytes.Equal(op.Key, progressKey) && !op.Delete:
			n, err := parseProgress(op.Value)
			if err != nil {
				return rows, fmt.Errorf("%w: %w", base.ErrInvalidData, err)
			}
			s.newProgress = &n
		case isCut(&op):
			if err := s.takeCut(b, m, op.Value); err != nil {
				return rows, err
			}
			continue
		default:
			return rows, fmt.Errorf("op with an invalid row key of %d bytes: %w", len(op.Key), base.ErrInvalidData)
		}
		if op.Delete && op.Timetag != 0 {
			gone := Op{Key: op.Key, ExpireTS: s.goneAfter(now)}
			s.countPut(&gone, now)
			d := b.SetDeferred(len(op.Key), valueHeader+tombstoneData)
			copy(d.Key, op.Key)
			putTombstone(d.Value, r.Timetag(&op, m.TimestampUS), now)
			if err := d.Finish(); err != nil {
				return rows, err
			}
			rows--
			continue
		}
		if op.Delete {
			if err := b.Delete(op.Key, nil); err != nil {
				return rows, err
			}
			rows--
			continue
		}
		s.countPut(&op, now)
		d := b.SetDeferred(len(op.Key), valueHeader+len(op.Value))
		copy(d.Key, op.Key)
		putValueHeader(d.Value, op.ExpireTS, r.Timetag(&op, m.TimestampUS))
		copy(d.Value[valueHeader:], op.Value)
		if err := d.Finish(); err != nil {
			return rows, err
		}
		rows++
	}
	return rows, r.Err()
}

// takeCut adds a cut to a batch. One that was made before stays.
func (s *applier) takeCut(b *pebble.Batch, m *Mutation, value []byte) error {
	c, err := parseCut(value)
	if err != nil {
		return fmt.Errorf("%w: %w", base.ErrInvalidData, err)
	}
	old := s.cut.Load()
	if s.newCut != nil {
		old = s.newCut // of this batch
	}
	if c.Partition != s.gpid.PartitionIndex || old.Count >= c.Count {
		return nil
	}
	c.Decree, c.Timestamp = m.Decree, m.TimestampUS
	s.newCut = &c
	return b.Set(cutKey, c.append(nil), nil)
}

// PassProgress returns the progress of the pass, as of the last mutation applied.
func (s *applier) PassProgress() PassProgress { return *s.progress.Load() }

// recentWrites are the keys written while a sweep reads a chunk. Under applyMu.
type recentWrites struct {
	keys     []recentWrite
	overflow bool
}

type recentWrite struct {
	key      []byte
	expireTS uint32
	bytes    int64
}

// countPut counts the expiry of a put that is about to be applied. applyMu is held.
func (s *applier) countPut(op *Op, now uint32) {
	size := int64(len(op.Key) + valueHeader + len(op.Value))
	switch r := s.recent; {
	case r == nil:
		s.expiries.add(op.Key, op.ExpireTS, now, size)
	case len(r.keys) >= sweepRecent:
		r.overflow = true
		s.expiries.add(op.Key, op.ExpireTS, now, size)
	default:
		r.keys = append(r.keys, recentWrite{bytes.Clone(op.Key), op.ExpireTS, size})
	}
}

// putRecord writes the metadata record again.
func (s *applier) putRecord() error {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	s.metaBuf = meta{s.applied.Load(), s.timestamp.Load()}.append(s.metaBuf[:0])
	return s.db.Set(metaKey, s.metaBuf, pebble.NoSync)
}

// load sets the decrees and the progress of a store that was just opened. Nothing is in memtables
// then, as there is no write-ahead log to replay, so what it reads is durable.
func (s *applier) load() error {
	m, err := readMeta(s.db, true)
	if err != nil {
		return classify(err)
	}
	if m.decree == 0 {
		// A store without a decree must be empty, otherwise the record was lost.
		it, err := s.db.NewIter(&pebble.IterOptions{UpperBound: metaPrefix})
		if err != nil {
			return classify(err)
		}
		rows := it.First()
		if err := it.Close(); err != nil {
			return classify(err)
		}
		if rows {
			return fmt.Errorf("the store has rows but no record of the last decree: %w", ErrCorrupt)
		}
	}
	s.applied.Store(m.decree)
	s.timestamp.Store(m.timestampUS)
	s.openedTS = m.timestampUS
	s.durable.decree.Store(m.decree)
	progress, err := readProgress(s.db)
	if err != nil {
		return err
	}
	s.progress.Store(&progress)
	cut, err := readCut(s.db)
	if err != nil {
		return err
	}
	s.cut.Store(&cut)
	taken, err := readTaken(s.db)
	if err != nil {
		return err
	}
	s.taken.Store(&taken)
	return nil
}
