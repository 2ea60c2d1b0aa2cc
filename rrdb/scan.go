package rrdb

import (
	"bytes"
	"encoding/binary"
	"fmt"

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

// pypegasusStop is that of pypegasus3, which takes it for text.
var pypegasusStop = []byte("\u00ff\u00ff")

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
func (s *reader) getScanner(req *ReadRequest, arg *idl.GetScannerRequest, res *Result) error {
	res.kind = kindScan
	now := req.Now
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
	c := &scanSession{store: s, next: lower, upper: upper, count: s.count.Load(), scanOptions: o}
	c.cut = *s.cut.Load() // after the count: a partition is cut before the table has more
	if Whole(arg) {
		done, err := s.choose(c, req, arg)
		if err != nil {
			return err
		}
		if done {
			res.number = scanCompleted
			return nil
		}
	}
	if bytes.Compare(lower, upper) >= 0 {
		res.number = scanCompleted
		return nil
	}
	return s.page(c, s.limits.ScanRows, now, res, func() {
		c.hashFilter, c.sortFilter = c.hashFilter.clone(), c.sortFilter.clone()
	})
}

// Whole tells whether a scan is one of a whole partition, or the rest of one.
func Whole(arg *idl.GetScannerRequest) bool {
	return arg.FullScan.Or(false) || bytes.Equal(arg.StopKey, unorderedStop) || bytes.Equal(arg.StopKey, pypegasusStop) && bytes.Equal(arg.StartKey, []byte{0, 0})
}

// choose decides which rows a scan of a whole partition gets. done: none. base.ErrParentPartitionMisused: the client goes by fewer
// partitions than the table has, and would miss rows.
//
// Our client says by how many it goes (partition_count), and of others that speak THFT base.Listing tells. While the table is being
// split it may be twice as many as this partition knows; then the scan is of one half, whether this partition is cut yet or not.
//
// C++ clients don't say. They walk over a list of partitions that they made when they began, and name a partition in the
// header's hash. From it nobody can tell whether the child is in the list. So who is in doubt is asked to begin again, see ScanWatch.
func (s *reader) choose(c *scanSession, req *ReadRequest, arg *idl.GetScannerRequest) (done bool, err error) {
	own := c.cut.Count
	if own == 0 {
		own = max(c.count, 0)
	}
	index := req.PartitionHash
	by := arg.PartitionCount.V
	if by <= 0 && req.Listed {
		if by = req.Listing.Count(own); by == 0 {
			if req.Listing > 0 || c.cut.Count == 0 {
				return false, nil
			}
			by = max(own/2, 1) // any count that it isn't
		}
	}
	if by > 0 {
		of := index < uint64(by) && (own == 0 && index == uint64(s.id.partition) || own > 0 && index%uint64(own) == uint64(s.id.partition))
		switch {
		case of && by == own:
		case of && (own == 0 || by == 2*own):
			c.half = Cut{Partition: int32(index), Count: by}
		default:
			return false, fmt.Errorf("a scan of partition %d of %d: this is partition %d of %d: %w", index, by, s.id.partition, own, base.ErrParentPartitionMisused)
		}
		return false, nil
	}
	// Clients who know that there will be a child send its scan here until it is there: its rows are in the scan of this partition.
	if own > 0 && index == uint64(s.id.partition)+uint64(own) {
		return true, nil
	}
	if req.Watch == nil {
		return false, nil
	}
	// A client that goes on behind a row which isn't in this partition began when it was.
	foreign := c.cut.Count > 0 && validKey(arg.StartKey) && !arg.StartInclusive && !inPartition(arg.StartKey, c.cut.Partition, c.cut.Count)
	if code := req.Watch.Begins(c.cut.Count); foreign || code != base.ErrOK {
		if code == base.ErrOK {
			code = base.ErrParentPartitionMisused
		}
		return false, fmt.Errorf("a scan of partition %d by a client that may not know that there are %d: %w", index, c.cut.Count, code)
	}
	return false, nil
}

// ScanWatch knows clients whose scans may be of partitions as they were before the table was split.
type ScanWatch interface {
	// Begins: a scan of a whole partition begins, by a client that doesn't say by how many partitions it goes; the partition was cut
	// when there were to be count of them, 0: never. With an error it isn't served.
	Begins(count int32) base.ErrorCode
	// Older: a scan from before the last cut goes on.
	Older()
}

// scan answers the next page of a session.
func (s *reader) scan(req *ReadRequest, id int64, res *Result) error {
	now := req.Now
	res.kind = kindScan
	c := s.sessions.take(s, id)
	if c == nil {
		res.code = codeNotFound
		return nil
	}
	res.counted = c.onlyCount
	if c.cut.Count < s.cut.Load().Count {
		s.older.Add(1)
		defer s.older.Add(-1)
		if req.Watch != nil {
			req.Watch.Older()
		}
	}
	return s.page(c, c.batch, now, res, func() {})
}

// page reads rows from c.next on, at most rows of them unless all were hidden. If there are more it calls
// keep, which makes c independent of the request, and stores the session under a new id. If time or
// memory runs out the page ends, but not the scan. base.ErrParentPartitionMisused: what the scan is to read yet is being removed.
func (s *reader) page(c *scanSession, rows int, now uint32, res *Result, keep func()) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: c.next, UpperBound: c.upper})
	if err != nil {
		res.fail(s.readFailed(err))
		return nil
	}
	if s.giving.Load() > c.cut.Count {
		_ = it.Close()
		return fmt.Errorf("the scan began before the partition had the rows of one of %d only, and the others are removed: %w", s.giving.Load(), base.ErrParentPartitionMisused)
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
			return nil
		}
		if expired(expireTS, now) {
			res.hidden.Expired++
			continue
		}
		if c.hides(key) || c.validate && s.foreign(c, env, key) {
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
		return nil
	}
	if !valid {
		res.number = scanCompleted
		return nil
	}
	keep()
	res.number = s.sessions.put(c)
	return nil
}

// add appends a row. It reports false if there is no memory for it.
func (c *scanSession) add(res *Result, key, value []byte, expireTS uint32) bool {
	if c.expiry {
		return res.addRowExpiry(key, value, expireTS)
	}
	return res.addRow(key, value)
}

// hides tells whether a row isn't in the scan because of the partition that it is in.
func (c *scanSession) hides(key []byte) bool {
	return c.cut.Count > 0 && !inPartition(key, c.cut.Partition, c.cut.Count) || c.half.Count > 0 && !inPartition(key, c.half.Partition, c.half.Count)
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
