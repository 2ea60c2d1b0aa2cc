package wal

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"pegasus/base"
)

const (
	// maxRead bounds the entries of one Read; maxGap and maxSpan what is read at once:
	// entries of one replica stand among those of others, and reading over small gaps is
	// cheaper than reading twice.
	maxRead = 1 << 16
	maxGap  = 4 << 10
	maxSpan = 1 << 20
)

// target is an entry to be read.
type target struct {
	seg            *segment
	decree, ballot int64
	loc            loc
}

var spans = sync.Pool{New: func() any { b := make([]byte, 0, maxSpan); return &b }}

// Read returns entries from decree `from` on, without holes, in order, each in its
// latest version: as many as fit into maxBytes (of the log), at least one. There are none
// if from is above State.Last. The error wraps ErrGone if the log doesn't hold from, or
// base.ErrCorruption if an entry is damaged. The payloads belong to the caller.
func (l *Log) Read(g base.Gpid, from int64, maxBytes int64) ([]Entry, error) {
	ts, err := l.targets(g, from, maxBytes)
	if err != nil || len(ts) == 0 {
		return nil, err
	}
	defer func() {
		for i := range ts {
			if i == 0 || ts[i].seg != ts[i-1].seg {
				l.release(ts[i].seg)
			}
		}
	}()
	var size uint64
	for i := range ts {
		size += uint64(ts[i].loc.n)
	}
	out := make([]Entry, 0, len(ts))
	arena := make([]byte, 0, size)
	span := spans.Get().(*[]byte)
	defer spans.Put(span)
	for len(ts)-len(out) > 0 {
		rest := ts[len(out):]
		n := 1
		first, end := int64(rest[0].loc.off), int64(rest[0].loc.off)+int64(rest[0].loc.n)
		for n < len(rest) && rest[n].seg == rest[0].seg {
			off := int64(rest[n].loc.off)
			if off < end || off-end > maxGap || off+int64(rest[n].loc.n)-first > maxSpan {
				break
			}
			end = off + int64(rest[n].loc.n)
			n++
		}
		b := (*span)[:0]
		if end-first > int64(cap(b)) {
			b = make([]byte, 0, end-first)
		}
		b = b[:end-first]
		seg := rest[0].seg
		if _, err := seg.f.ReadAt(b, first); errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%d bytes at offset %d of %s are missing: %w", len(b), first, seg.name, base.ErrCorruption)
		} else if err != nil {
			return nil, fmt.Errorf("read %d bytes at offset %d of %s: %w: %w", len(b), first, seg.name, base.ErrDiskIoError, err)
		}
		s := seedOf(l.id, seg.seq)
		for i := range rest[:n] {
			t := &rest[i]
			at := int64(t.loc.off) - first
			e, err := decodeEntry(b[at:at+int64(t.loc.n)], s, seg.seq, t.loc, &Entry{Gpid: g, Decree: t.decree, Ballot: t.ballot})
			if err != nil {
				return nil, err
			}
			start := len(arena)
			arena = append(arena, e.Payload...)
			e.Payload = arena[start:len(arena):len(arena)]
			out = append(out, e)
		}
	}
	l.stats.reads.Add(uint64(len(out)))
	l.stats.readBytes.Add(size)
	return out, nil
}

// targets finds what Read is to read and holds the segments.
func (l *Log) targets(g base.Gpid, from, maxBytes int64) ([]target, error) {
	l.ix.RLock()
	defer l.ix.RUnlock()
	if l.replicas == nil {
		return nil, ErrClosed
	}
	r := l.replicas[g]
	if r == nil || from > r.state.Last {
		return nil, nil
	}
	if _, _, ok := r.lookup(from); !ok {
		return nil, fmt.Errorf("decree %d of %s: %w", from, g, ErrGone)
	}
	var ts []target
	var size int64
	for i := r.find(from); i < len(r.runs) && r.runs[i].first <= from; i++ {
		t := &r.runs[i]
		for _, at := range t.locs[from-t.first:] {
			size += int64(at.n)
			if len(ts) > 0 && (size > maxBytes || len(ts) == maxRead) {
				break
			}
			ts = append(ts, target{seg: t.seg, decree: from, ballot: t.ballot, loc: at})
			from++
		}
		if from <= t.last() {
			break
		}
	}
	for i := range ts {
		if i == 0 || ts[i].seg != ts[i-1].seg {
			ts[i].seg.refs.Add(1)
		}
	}
	return ts, nil
}

// decodeEntry decodes the record b that stands at at, and verifies that it is the one
// that want (gpid, decree, ballot) names. The payload aliases b.
func decodeEntry(b []byte, s seed, seq uint64, at loc, want *Entry) (Entry, error) {
	rec, err := parseRecord(b, s, seq, int64(at.off))
	var c change
	if err == nil && (rec.kind != kindMutation || rec.size != int64(len(b))) {
		err = errBadRecord
	}
	if err == nil {
		c, err = parseChange(rec)
	}
	if err == nil && (c.Gpid != want.Gpid || c.Decree != want.Decree || c.Ballot != want.Ballot) {
		err = fmt.Errorf("%w: it is decree %d, ballot %d of %s", errBadRecord, c.Decree, c.Ballot, c.Gpid)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("decree %d of %s at offset %d of %s: %w: %w",
			want.Decree, want.Gpid, at.off, segmentName(seq), base.ErrCorruption, err)
	}
	return c.Entry, nil
}

// Replay calls fn with the entries from decree `from` up to the last, in order, reading
// a bounded part at a time. A payload belongs to fn. Errors are those of Read and of fn.
func (l *Log) Replay(g base.Gpid, from int64, fn func(Entry) error) error {
	for {
		es, err := l.Read(g, from, maxSpan)
		if err != nil || len(es) == 0 {
			return err
		}
		for _, e := range es {
			if err := fn(e); err != nil {
				return err
			}
		}
		from = es[len(es)-1].Decree + 1
	}
}
