package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

// ScanOptions choose the rows of a scan. The zero value takes all of them.
type ScanOptions struct {
	Batch      int // rows a page; 0: the server's limit
	NoValue    bool
	HashFilter Filter // full scans
	SortFilter Filter

	// Hash scans: the range of sort keys; To empty is "to the end".
	From, To                   []byte
	FromExclusive, ToInclusive bool

	After []byte // full scans: in the first partition, only rows behind this row key

	ExpireTS bool // fill Row.ExpireTS
	// Timetag has each row's timetag instead of its value. Servers that can't tell it answer 0, which no row has.
	Timetag bool
}

// Row is one row of a scan.
type Row struct {
	HashKey, SortKey, Value []byte
	ExpireTS                uint32 // seconds since base.EpochBegin; 0: never, or not asked for
	Timetag                 uint64 // microseconds of the write << 8 | cluster << 1 | deleted; 0: not asked for, or not known
}

// Scanner walks over rows. It is for one goroutine. Rows that are written or removed while
// it walks may or may not be met; every other row in its range is met exactly once.
type Scanner struct {
	t     *Table
	opts  ScanOptions
	parts []scanPart // partitions still to be walked; a hash scan has one

	full       bool
	hash       uint64 // of the partition being walked
	start      []byte // where to (re)start in it
	startIncl  bool
	stop       []byte
	stopIncl   bool
	context    int64 // > 0: the server's session; 0: none yet; < 0: the partition is done
	partActive bool

	count bool  // only rows' number is asked for
	n     int64 // rows of the partition being walked, with count
	lost  int   // sessions lost, with count

	refused int // see maxRefused

	page []rrdb.KeyValue
	row  Row
	err  error
}

// scanPart is a partition that is still to be walked.
type scanPart struct {
	index, of int // partition index of a table with that many
	// after is the last row that was met of it, before the table was split; nil: none.
	after []byte
}

// ScanHash walks the rows of one hash key in the order of their sort keys.
func (t *Table) ScanHash(hashKey []byte, o ScanOptions) (*Scanner, error) {
	hash, err := hashOnly(hashKey)
	if err != nil {
		return nil, err
	}
	if err := checkBatch(o.Batch); err != nil {
		return nil, err
	}
	s := &Scanner{t: t, opts: o, parts: []scanPart{{}}, hash: hash}
	s.start, s.startIncl = base.AppendKey(nil, hashKey, o.From), !o.FromExclusive
	if len(o.To) > 0 {
		s.stop, s.stopIncl = base.AppendKey(nil, hashKey, o.To), o.ToInclusive
	} else {
		s.stop = base.NextKey(nil, base.AppendKey(nil, hashKey, nil))
	}
	if c := bytes.Compare(s.start, s.stop); c > 0 || c == 0 && !(s.startIncl && s.stopIncl) {
		s.parts = nil
	}
	return s, nil
}

// ScanAll walks all rows of the table, or of the partitions named, one partition after the
// other, each in the order of its keys.
func (t *Table) ScanAll(o ScanOptions, partitions ...int) *Scanner {
	return t.scanAll(o, t.parts(partitions))
}

// ScanParts is ScanAll with a scanner for each partition. Together they meet each row once, also if the table is split meanwhile.
func (t *Table) ScanParts(o ScanOptions, partitions ...int) []*Scanner {
	parts := t.parts(partitions)
	list := make([]*Scanner, len(parts))
	for i := range parts {
		list[i] = t.scanAll(o, parts[i:i+1:i+1])
	}
	return list
}

// parts are the partitions named, or all.
func (t *Table) parts(partitions []int) (list []scanPart) {
	n := t.Partitions()
	if len(partitions) == 0 {
		for i := range n {
			partitions = append(partitions, i)
		}
	}
	for _, p := range partitions {
		list = append(list, scanPart{index: p, of: max(n, p+1)})
	}
	return list
}

func (t *Table) scanAll(o ScanOptions, parts []scanPart) *Scanner {
	s := &Scanner{t: t, opts: o, full: true, parts: parts, err: checkBatch(o.Batch)}
	if len(parts) > 0 && len(o.After) > 0 {
		s.parts[0].after = o.After
	}
	return s
}

func checkBatch(n int) error {
	if err := base.Counts.Check("Batch", int64(n)); err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	return nil
}

// Next moves to the next row. False is the end, or an error: see Err.
func (s *Scanner) Next(ctx context.Context) bool {
	for len(s.page) == 0 {
		if !s.nextPage(ctx) {
			return false
		}
	}
	kv := &s.page[0]
	s.page = s.page[1:]
	h, k, ok := base.SplitKey(kv.Key)
	if !ok {
		s.err = fmt.Errorf("scan: row key of %d bytes is truncated: %w", len(kv.Key), base.ErrInvalidData)
		return false
	}
	s.row = Row{HashKey: h, SortKey: k, Value: kv.Value, ExpireTS: uint32(kv.ExpireTsSeconds.Or(0))}
	if s.opts.Timetag {
		if s.row.Value = nil; len(kv.Value) == 8 {
			s.row.Timetag = binary.BigEndian.Uint64(kv.Value)
		}
	}
	return true
}

// Ready tells whether the next row is there, without a request.
func (s *Scanner) Ready() bool { return len(s.page) > 0 }

// Row returns the row that Next moved to; its slices stay valid.
func (s *Scanner) Row() Row { return s.row }

// Err returns what ended the scan before its end.
func (s *Scanner) Err() error { return s.err }

// Count walks to the end and returns the number of rows, without transferring them.
func (s *Scanner) Count(ctx context.Context) (int64, error) {
	s.count = true
	var n int64
	for s.nextPage(ctx) {
		if s.context < 0 {
			n += s.n
			s.n = 0
		}
	}
	return n, s.err
}

// Close gives the server's session up, if one is open. It waits for nothing.
func (s *Scanner) Close() {
	if s.partActive && s.context > 0 {
		r := s.t.route.Load()
		if at := r.of(s.hash); at.primary != "" {
			s.t.c.pool.Go(at.primary, s.t.c.opts.AttemptTimeout, rpc.Outgoing{Code: base.RPCClearScanner, Gpid: at.gpid,
				PartitionHash: s.hash, Arg: clearArg(s.context), ArgType: tbin.I64, Framing: s.t.c.opts.Framing, OneWay: true}, func([]byte, error) {})
		}
	}
	s.parts, s.page, s.partActive = nil, nil, false
}

// maxLost is how often Count starts a partition over.
const maxLost = 10

type clearArg int64

func (v clearArg) AppendThrift(b []byte) []byte { return tbin.AppendI64(b, int64(v)) }

// nextPage fetches a page, which may be empty; false is the end or an error.
func (s *Scanner) nextPage(ctx context.Context) bool {
	if s.err != nil {
		return false
	}
	if s.partActive && s.context < 0 {
		s.partActive, s.parts = false, s.parts[1:]
	}
	if len(s.parts) == 0 {
		return false
	}
	if !s.partActive {
		s.partActive, s.context = true, 0
		if s.full {
			s.hash = uint64(s.parts[0].index)
			s.start, s.startIncl, s.stop, s.stopIncl = []byte{0, 0}, true, []byte{0xff, 0xff}, false
			if after := s.parts[0].after; after != nil {
				s.start, s.startIncl = after, false
			}
		}
	}
	ctx, cancel := s.t.c.withDeadline(ctx)
	defer cancel()
	var res *rrdb.ScanResponse
	var err error
	if s.context > 0 {
		res, err = do[rrdb.ScanResponse](ctx, s.t, Op{Code: base.RPCScan, Hash: s.hash, Counted: s.full,
			Arg: &rrdb.ScanRequest{ContextId: s.context}, Attempt: s.t.c.opts.RangeTimeout})
		if s.full && errors.Is(err, base.ErrParentPartitionMisused) || err == nil && res.Error == CodeNotFound {
			// The session is gone: the server restarted, the primary moved, an answer was lost, or the partition was split
			// long ago.
			err, s.context = nil, 0
			if s.count {
				// There is no last row to go on after: the partition is counted anew.
				s.n = 0
				if s.lost++; s.lost > maxLost {
					s.err = fmt.Errorf("count: servers lost the scan session %d times: %w", s.lost, base.ErrTryAgain)
					return false
				}
			}
		}
	}
	if err == nil && s.context == 0 {
		res, err = do[rrdb.ScanResponse](ctx, s.t, Op{Code: base.RPCGetScanner, Hash: s.hash, Counted: s.full, Arg: s.request(), Attempt: s.t.c.opts.RangeTimeout})
		if s.full && errors.Is(err, base.ErrParentPartitionMisused) {
			return s.follow(ctx, err)
		}
	}
	if err == nil {
		err = storeError("scan", res.Error)
	}
	if err != nil {
		s.err = err
		return false
	}
	if s.context = res.ContextId; s.context == 0 {
		s.context = -1
	}
	s.page = res.Kvs
	s.n += int64(res.KvCount.Or(int32(len(res.Kvs))))
	if n := len(res.Kvs); n > 0 {
		s.start, s.startIncl = res.Kvs[n-1].Key, false
	}
	return true
}

// maxRefused is how often a partition may be refused because the server knows of more of them than the meta told.
const maxRefused = 100

// follow goes on after a server said that the table has more partitions than the scan goes by: with those that the partition
// became. Up to the last row that was met, it met the rows of all of them.
func (s *Scanner) follow(ctx context.Context, why error) bool {
	s.partActive, s.context, s.page = false, 0, nil
	p := s.parts[0]
	if n := s.t.Partitions(); n <= p.of || n%p.of != 0 {
		if s.refused++; s.refused > maxRefused || n%p.of != 0 && p.of%n != 0 || !sleep(ctx, 100*time.Millisecond) {
			s.err = why
			return false
		}
		s.t.refresh(s.t.route.Load(), func(error) {})
		return true
	}
	if !s.count && !s.startIncl {
		p.after = s.start
	}
	s.n = 0
	p.of *= 2
	child := p
	child.index += p.of / 2
	s.parts = append([]scanPart{p, child}, s.parts[1:]...)
	return true
}

func (s *Scanner) request() *rrdb.GetScannerRequest {
	o := &s.opts
	r := &rrdb.GetScannerRequest{StartKey: s.start, StopKey: s.stop, StartInclusive: s.startIncl, StopInclusive: s.stopIncl,
		BatchSize: int32(o.Batch), NoValue: o.NoValue,
		HashKeyFilterType: o.HashFilter.Type, HashKeyFilterPattern: o.HashFilter.Pattern,
		SortKeyFilterType: o.SortFilter.Type, SortKeyFilterPattern: o.SortFilter.Pattern,
		ValidatePartitionHash: base.Some(s.full), FullScan: base.Some(s.full)}
	if s.full {
		r.PartitionCount = base.Some(int32(s.parts[0].of))
	}
	if o.Timetag {
		// Who doesn't know the field leaves the values out.
		r.NoValue, r.ReturnTimetag = true, base.Some(true)
	}
	if o.ExpireTS {
		r.ReturnExpireTs = base.Some(true)
	}
	if s.count {
		r.OnlyReturnCount = base.Some(true)
	}
	return r
}
