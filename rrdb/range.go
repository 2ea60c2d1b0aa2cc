package rrdb

import (
	"bytes"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
)

func (s *reader) multiGet(arg *idl.MultiGetRequest, now uint32, res *Result) error {
	res.kind, res.asked = kindMultiGet, arg.HashKey
	if err := base.CheckHashKey(arg.HashKey); err != nil {
		return err
	}
	f := filter{arg.SortKeyFilterType, arg.SortKeyFilterPattern}
	if !f.supported() {
		res.code = codeInvalidArgument
		return nil
	}
	if len(arg.SortKeys) > 0 {
		return s.multiGetKeys(arg, now, res)
	}
	return s.multiGetRange(arg, f, now, res)
}

// maxCount is how many rows a multi_get answers at most.
func (s *reader) maxCount(arg *idl.MultiGetRequest) int {
	n := s.limits.MultiGetRows
	if asked := int(arg.MaxKvCount); asked > 0 && asked < n {
		n = asked
	}
	return n
}

// maxSize is how many bytes of sort keys and values a multi_get answers at most, but for
// the row that crosses the limit.
func (s *reader) maxSize(arg *idl.MultiGetRequest) int {
	n := s.maxAnswerBytes()
	if asked := int(arg.MaxKvSize); asked > 0 && asked < n {
		n = asked
	}
	return n
}

func (s *reader) multiGetKeys(arg *idl.MultiGetRequest, now uint32, res *Result) error {
	maxCount, maxSize := s.maxCount(arg), s.maxSize(arg)
	for _, sortKey := range arg.SortKeys {
		res.scratch = base.AppendKey(res.scratch[:0], arg.HashKey, sortKey)
		r, code := s.lookup(res.scratch, now)
		switch code {
		case codeOK:
		case codeNotFound:
			res.countHidden(r)
			continue
		default:
			res.fail(code)
			return nil
		}
		full := res.count >= maxCount || res.size >= maxSize
		if !full {
			if arg.NoValue {
				r.data = nil
			}
			if !res.addRow(sortKey, r.data) {
				_ = r.closer.Close()
				return errNoMemory
			}
			res.count++
			res.size += len(sortKey) + len(r.data)
		}
		if err := r.closer.Close(); err != nil {
			res.fail(s.readFailed(err))
			return nil
		}
		if full {
			res.code = codeIncomplete
			return nil
		}
	}
	return nil
}

func (s *reader) multiGetRange(arg *idl.MultiGetRequest, f filter, now uint32, res *Result) error {
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
	b := s.newBudget(s.limits.MultiGetRows)
	step := it.Next
	valid := false
	if arg.Reverse {
		step = it.Prev
		valid = it.Last()
	} else {
		valid = it.SeekPrefixGE(lower)
	}
	for ; valid; valid = step() {
		if res.count >= maxCount || res.size >= maxSize || b.seen >= b.rows || b.timeUp() {
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
		if !res.addRow(sortKey, data) {
			_ = it.Close()
			return errNoMemory
		}
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

// sortkeyCount counts the live rows of a hash key; -1 if the time runs out.
func (s *reader) sortkeyCount(hashKey []byte, now uint32, res *Result) error {
	res.kind, res.asked = kindCount, hashKey
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
		if b.timeUp() {
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
