package rrdb

import (
	"bytes"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
)

// bounds turn a range with inclusive or exclusive ends into a half-open one. In bytewise
// order the key after k is k followed by a zero byte.
func lowerBound(b, key []byte, inclusive bool) []byte {
	b = append(b, key...)
	if !inclusive {
		b = append(b, 0)
	}
	return b
}

func upperBound(b, key []byte, inclusive bool) []byte {
	b = append(b, key...)
	if inclusive {
		b = append(b, 0)
	}
	return b
}

// rangeBytes is the most bytes of rows that one answer holds.
func (s *Store) rangeBytes() int {
	if n := s.opts.Storage.MultiGetBytes; n > 0 && n < math.MaxInt32 {
		return int(n)
	}
	return math.MaxInt32
}

// budget is what one range read may use. A zero limit is none.
type budget struct {
	rows  int
	until time.Time
	now   func() time.Time

	seen   int
	hidden int // of a scan's page: rows seen before the first that is answered
}

// timeCheckRows is after how many rows the clock is read.
const timeCheckRows = 128

func (s *Store) newBudget(rows int) budget {
	b := budget{rows: max(rows, 1), now: s.now}
	if d := s.env.Load().iterationTime; d > 0 {
		b.until = s.now().Add(d)
	}
	return b
}

// late tells whether the time is over; it looks at the clock now and then, and never before
// the first row: each request gets ahead.
func (b *budget) late() bool {
	return b.seen > 0 && b.seen%timeCheckRows == 0 && !b.until.IsZero() && b.now().After(b.until)
}

// rowValue returns the value that an iterator is at; data is the engine's memory, valid
// until the iterator moves.
func rowValue(it *pebble.Iterator) (expireTS uint32, data []byte, err error) {
	v, err := it.ValueAndErr()
	if err != nil {
		return 0, nil, err
	}
	expireTS, _, data, ok := splitValue(v)
	if !ok {
		return 0, nil, badValue(it.Key(), v)
	}
	return expireTS, data, nil
}

func (s *Store) multiGet(arg *idl.MultiGetRequest, now uint32, res *Result) error {
	res.kind = kindMultiGet
	if err := base.CheckHashKey(arg.HashKey); err != nil {
		return err
	}
	f := filter{arg.SortKeyFilterType, arg.SortKeyFilterPattern}
	if !f.supported() {
		res.code = codeInvalidArgument
		return nil
	}
	if len(arg.SortKeys) > 0 {
		s.multiGetKeys(arg, now, res)
		return nil
	}
	return s.multiGetRange(arg, f, now, res)
}

// maxCount is how many rows a multi_get answers at most.
func (s *Store) maxCount(arg *idl.MultiGetRequest) int {
	n := s.opts.Storage.MultiGetIterations
	if asked := int(arg.MaxKvCount); asked > 0 && asked < n {
		n = asked
	}
	return n
}

// maxSize is how many bytes of sort keys and values a multi_get answers at most, but for
// the row that crosses the limit.
func (s *Store) maxSize(arg *idl.MultiGetRequest) int {
	n := s.rangeBytes()
	if asked := int(arg.MaxKvSize); asked > 0 && asked < n {
		n = asked
	}
	return n
}

func (s *Store) multiGetKeys(arg *idl.MultiGetRequest, now uint32, res *Result) {
	maxCount, maxSize := s.maxCount(arg), s.maxSize(arg)
	for _, sortKey := range arg.SortKeys {
		res.scratch = base.AppendKey(res.scratch[:0], arg.HashKey, sortKey)
		r, code := s.lookup(res.scratch, now)
		switch code {
		case codeOK:
		case codeNotFound:
			res.hides(r)
			continue
		default:
			res.fail(code)
			return
		}
		full := res.count >= maxCount || res.size >= maxSize
		if !full {
			if arg.NoValue {
				r.data = nil
			}
			res.addRow(sortKey, r.data)
			res.count++
			res.size += len(sortKey) + len(r.data)
		}
		if err := r.closer.Close(); err != nil {
			res.fail(s.readFailed(err))
			return
		}
		if full {
			res.code = codeIncomplete
			return
		}
	}
}

func (s *Store) multiGetRange(arg *idl.MultiGetRequest, f filter, now uint32, res *Result) error {
	lower, upper := sortKeyRange(arg, f)
	if bytes.Compare(lower, upper) >= 0 {
		return nil
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		res.fail(s.readFailed(err))
		return nil
	}
	res.reverse = arg.Reverse
	hashLen := 2 + len(arg.HashKey)
	maxCount, maxSize := s.maxCount(arg), s.maxSize(arg)
	b := s.newBudget(s.opts.Storage.MultiGetIterations)
	step := it.Next
	valid := false
	if arg.Reverse {
		step = it.Prev
		valid = it.Last()
	} else {
		valid = it.SeekPrefixGE(lower)
	}
	for ; valid; valid = step() {
		if res.count >= maxCount || res.size >= maxSize || b.seen >= b.rows || b.late() {
			res.code = codeIncomplete
			break
		}
		b.seen++
		expireTS, data, err := rowValue(it)
		if err != nil {
			_ = it.Close()
			res.fail(s.readFailed(err))
			return nil
		}
		sortKey := it.Key()[hashLen:]
		if expired(expireTS, now) {
			res.hidden.Expired++
			continue
		}
		if !f.match(sortKey) {
			res.hidden.Filtered++
			continue
		}
		if arg.NoValue {
			data = nil
		}
		res.addRow(sortKey, data)
		res.count++
		res.size += len(sortKey) + len(data)
	}
	res.seen = b.seen
	if err := it.Close(); err != nil {
		res.fail(s.readFailed(err))
	}
	return nil
}

// sortKeyRange returns the half-open range of keys that a multi_get asks for. It is within
// the hash key, and within the prefix that the filter asks for.
func sortKeyRange(arg *idl.MultiGetRequest, f filter) (lower, upper []byte) {
	key := func(sortKey []byte) []byte { return base.AppendKey(nil, arg.HashKey, sortKey) }
	lower = lowerBound(nil, key(arg.StartSortkey), arg.StartInclusive)
	if len(arg.StopSortkey) == 0 {
		upper = base.NextKey(nil, key(nil))
	} else {
		upper = upperBound(nil, key(arg.StopSortkey), arg.StopInclusive)
	}
	if p := f.prefix(); p != nil {
		first := key(p)
		if bytes.Compare(first, lower) > 0 {
			lower = first
		}
		if next := base.NextKey(nil, first); bytes.Compare(next, upper) < 0 {
			upper = next
		}
	}
	return lower, upper
}

// sortkeyCount counts the live rows of a hash key; -1 when the time doesn't suffice.
func (s *Store) sortkeyCount(hashKey []byte, now uint32, res *Result) error {
	res.kind = kindCount
	if err := base.CheckHashKey(hashKey); err != nil {
		return err
	}
	lower := base.AppendKey(nil, hashKey, nil)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: base.NextKey(nil, lower)})
	if err != nil {
		res.code = s.readFailed(err)
		return nil
	}
	b := s.newBudget(math.MaxInt)
	for valid := it.SeekPrefixGE(lower); valid; valid = it.Next() {
		if b.late() {
			res.number = -1
			break
		}
		b.seen++
		expireTS, _, err := rowValue(it)
		if err != nil {
			_ = it.Close()
			res.number = 0
			res.code = s.readFailed(err)
			return nil
		}
		if expired(expireTS, now) {
			res.hidden.Expired++
			continue
		}
		res.number++
	}
	res.seen = b.seen
	if err := it.Close(); err != nil {
		res.number = 0
		res.code = s.readFailed(err)
	}
	return nil
}
