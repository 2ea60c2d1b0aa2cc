package rrdb

import (
	"bytes"
	"context"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/time/rate"
)

// run is a sequence of expired rows without a live row between them.
type run struct {
	keys       [][]byte // all keys of a short run; nil for a long one
	start, end []byte   // half open
	rows       int
}

// chunk is the result of reading a range of rows.
type chunk struct {
	start       []byte
	cutoff, now uint32
	goneFrom    func(expireTS uint32, timetag uint64, data []byte) uint32
	cut         Cut  // rows that aren't its partition's go, too
	shrink      bool // tombstones are made of expired rows that stay

	runs    []run
	faded   []faded
	open    bool // the last run isn't complete
	segs    []segment
	seg     segment // the one being filled
	bytes   int64
	deleted int64
	points  int
}

func (c *chunk) read(ctx context.Context, it *pebble.Iterator, pace *rate.Limiter) (next []byte, err error) {
	var step int64
	for valid := it.First(); valid; valid = it.Next() {
		key := it.Key()
		if c.bytes >= sweepChunk || c.points+len(c.faded) >= 4*sweepRecent {
			return bytes.Clone(key), nil
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, classify(err)
		}
		expireTS, timetag, data, ok := splitValue(v)
		if !ok {
			return nil, badValue(key, v)
		}
		n := int64(len(key) + len(v))
		c.bytes += n
		if step += n; step >= sweepStep {
			if err := pace.WaitN(ctx, int(min(step, int64(pace.Burst())))); err != nil {
				return nil, err
			}
			step = 0
		}
		if gone := c.goneFrom(expireTS, timetag, data); expired(gone, c.cutoff) || c.cut.Count > 0 && !inPartition(key, c.cut.Partition, c.cut.Count) {
			c.deleted += n
			c.expiredRow(key)
		} else {
			if c.shrink && expired(expireTS, c.cutoff) && len(data) >= shrinkFrom {
				c.faded = append(c.faded, faded{bytes.Clone(key), timetag, madeAt(expireTS, timetag)})
				c.deleted += int64(len(data) - tombstoneData)
				n -= int64(len(data) - tombstoneData)
			}
			c.liveRow(key, gone, n)
		}
	}
	return nil, it.Error()
}

func (c *chunk) expiredRow(key []byte) {
	k := bytes.Clone(key)
	if !c.open {
		first := k
		if len(c.runs) == 0 && c.seg.bytes == 0 && len(c.segs) == 0 {
			first = notBefore(c.start) // joins the last run of the chunk before
		}
		c.runs = append(c.runs, run{start: first})
		c.open = true
	}
	r := &c.runs[len(c.runs)-1]
	r.rows++
	switch {
	case r.rows < sweepRange:
		r.keys = append(r.keys, k)
		c.points++
	case r.rows == sweepRange:
		c.points -= len(r.keys)
		r.keys = nil
	}
}

func (c *chunk) liveRow(key []byte, expireTS uint32, n int64) {
	if c.open {
		c.runs[len(c.runs)-1].end = bytes.Clone(key)
		c.open = false
	}
	if c.seg.bytes >= segmentBytes {
		c.seg.end = bytes.Clone(key)
		c.segs = append(c.segs, c.seg)
		c.seg = segment{}
	}
	c.seg.bytes += n
	if expireTS != 0 {
		if expireTS > c.now && expireTS-c.now > maxExpiryAhead {
			expireTS = c.now + maxExpiryAhead
		}
		c.seg.add(roundExpiry(expireTS, c.now), n)
	}
}

// finish ends the last run at upper and the last segment at end; end is nil for the end of all keys.
func (c *chunk) finish(end, upper []byte) {
	if c.open {
		c.runs[len(c.runs)-1].end = upper
		if end != nil {
			c.runs[len(c.runs)-1].end = end
		}
	}
	c.seg.end = end
	c.segs = append(c.segs, c.seg)
}

// notBefore returns k, or the smallest possible row key if k is empty.
func notBefore(k []byte) []byte {
	if len(k) == 0 {
		return firstKey
	}
	return k
}
