package rrdb

import (
	"bytes"
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
)

// scanCompleted is the context id of a scan that has ended. Ids of sessions must be positive: clients use
// 0 after an error.
const scanCompleted = -1

// emptyPageFactor multiplies the rows that a page may look at while it is empty. Clients that lose their
// session after an empty page start the partition from the beginning.
const emptyPageFactor = 64

// unorderedStop is the stop key of every scan over a whole partition.
var unorderedStop = []byte{0xff, 0xff}

// scanOptions are the options of a scan. They outlive the request.
type scanOptions struct {
	prefix     bool // all rows have the hash key of the first
	batch      int  // rows a page
	noValue    bool
	validate   bool // hide rows of other partitions, if the table is set so
	timetag    bool // answer the rows' timetags in place of their data
	expiry     bool // answer the rows' expiry
	onlyCount  bool
	hashFilter filter
	sortFilter filter
}

// getScanner begins a scan and answers its first page.
//
// A scan whose start key has a hash key stays within that hash key, whatever the stop key is: clients
// rely on that. The exceptions are a full scan, and the stop key FF FF of scans over a whole
// partition: a client may resume them at any row.
func (s *reader) getScanner(arg *idl.GetScannerRequest, now uint32, res *Result) error {
	res.kind = kindScan
	o := scanOptions{
		batch:      s.limits.ScanRows,
		noValue:    arg.NoValue,
		validate:   arg.ValidatePartitionHash.Or(true),
		timetag:    arg.ReturnTimetag.Or(false),
		expiry:     arg.ReturnExpireTs.Or(false),
		onlyCount:  arg.OnlyReturnCount.Or(false),
		hashFilter: filter{arg.HashKeyFilterType, arg.HashKeyFilterPattern},
		sortFilter: filter{arg.SortKeyFilterType, arg.SortKeyFilterPattern},
	}
	if n := int(arg.BatchSize); n > 0 && n < o.batch {
		o.batch = n
	}
	hashKey, _, ok := base.SplitKey(arg.StartKey)
	if !o.hashFilter.supported() || !o.sortFilter.supported() || !ok && len(arg.StartKey) > 0 {
		res.code = codeInvalidArgument
		return nil
	}
	lower := lowerBound(nil, arg.StartKey, arg.StartInclusive)
	upper := upperBound(nil, arg.StopKey, arg.StopInclusive)
	if bytes.Compare(upper, metaPrefix) > 0 {
		upper = metaPrefix
	}
	o.prefix = len(hashKey) > 0 && !arg.FullScan.Or(false) && !bytes.Equal(arg.StopKey, unorderedStop)
	if o.prefix {
		if end := base.NextKey(nil, arg.StartKey[:2+len(hashKey)]); bytes.Compare(end, upper) < 0 {
			upper = end
		}
	}
	if p := o.hashFilter.prefix(); p != nil {
		if err := base.CheckHashKey(p); err != nil {
			return err
		}
		// Longer hash keys sort behind shorter ones, so a prefix bounds the start only.
		if first := base.AppendKey(nil, p, nil); bytes.Compare(first, lower) > 0 {
			lower = first
		}
	}
	res.counted = o.onlyCount
	if bytes.Compare(lower, upper) >= 0 {
		res.number = scanCompleted
		return nil
	}
	c := &scanSession{store: s, next: lower, upper: upper, scanOptions: o}
	s.page(c, s.limits.ScanRows, now, res, func() {
		c.hashFilter, c.sortFilter = c.hashFilter.clone(), c.sortFilter.clone()
	})
	return nil
}

// unborn tells whether a scan of a whole partition is meant for the partition that this one will be split into. Clients who know
// that there will be one send the scan here until it is there; its rows are in the scan of this partition.
func (s *reader) unborn(hash uint64, arg *idl.GetScannerRequest) bool {
	n := uint64(max(s.count.Load(), 0))
	whole := arg.FullScan.Or(false) || bytes.Equal(arg.StopKey, unorderedStop)
	return whole && n > 0 && s.cut.Load().Count <= int32(n) && hash == uint64(s.id.partition)+n
}

// scan answers the next page of a session.
func (s *reader) scan(id int64, now uint32, res *Result) {
	res.kind = kindScan
	c := s.sessions.take(s, id)
	if c == nil {
		res.code = codeNotFound
		return
	}
	res.counted = c.onlyCount
	s.page(c, c.batch, now, res, func() {})
}

// page reads rows from c.next on, at most rows of them unless all were hidden. If there are more it calls
// keep, which makes c independent of the request, and stores the session under a new id. If time or
// memory runs out the page ends, but not the scan.
func (s *reader) page(c *scanSession, rows int, now uint32, res *Result, keep func()) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: c.next, UpperBound: c.upper})
	if err != nil {
		res.fail(s.readFailed(err))
		return
	}
	var valid bool
	if c.prefix {
		valid = it.SeekPrefixGE(c.next)
	} else {
		valid = it.First()
	}
	env := s.env.Load()
	b := s.newBudget(rows)
	var tag [8]byte
	for ; valid; valid = it.Next() {
		if c.pageFull(&b, res, s.maxAnswerBytes()) {
			break
		}
		b.seen++
		key := it.Key()
		expireTS, timetag, data, err := taggedValue(it)
		if err != nil {
			_ = it.Close()
			res.fail(s.readFailed(err))
			return
		}
		if expired(expireTS, now) {
			res.hidden.Expired++
			continue
		}
		if s.hides(key) || c.validate && s.foreign(env, key) {
			continue
		}
		if !c.matches(key) {
			res.hidden.Filtered++
			continue
		}
		switch {
		case c.timetag:
			data = binary.BigEndian.AppendUint64(tag[:0], timetag)
		case c.noValue:
			data = nil
		}
		if !c.onlyCount && !c.add(res, key, data, expireTS) {
			break // the next page begins with it
		}
		if res.count == 0 {
			b.hidden = b.seen - 1
		}
		if res.count++; !c.onlyCount {
			res.size += len(key) + len(data)
		}
	}
	res.seen = b.seen
	if valid {
		c.next = append([]byte(nil), it.Key()...)
	}
	if err := it.Close(); err != nil {
		res.fail(s.readFailed(err))
		return
	}
	if !valid {
		res.number = scanCompleted
		return
	}
	keep()
	res.number = s.sessions.put(c)
}

// add appends a row. It reports false if there is no memory for it.
func (c *scanSession) add(res *Result, key, value []byte, expireTS uint32) bool {
	if c.expiry {
		return res.addRowExpiry(key, value, expireTS)
	}
	return res.addRow(key, value)
}

func (c *scanSession) pageFull(b *budget, res *Result, maxBytes int) bool {
	if res.count >= c.batch || len(res.rows) >= maxBytes || b.timeUp() || res.crowded() {
		return true
	}
	if res.count == 0 {
		return b.seen >= b.rows*emptyPageFactor
	}
	return b.seen-b.hidden >= b.rows
}

func (c *scanSession) matches(key []byte) bool {
	if len(c.hashFilter.pattern) == 0 && len(c.sortFilter.pattern) == 0 {
		return true
	}
	h, k, ok := base.SplitKey(key)
	return ok && c.hashFilter.match(h) && c.sortFilter.match(k)
}
