package clienttest

import (
	"bytes"
	"maps"
	"slices"
	"strconv"

	"pegasus/base"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

// partition keeps rows by their encoded keys.
type partition struct {
	gpid    base.Gpid
	ballot  int64
	members []int // servers, the primary first
	decree  int64
	rows    map[string]stored
	scans   map[int64]*session
	nextID  int64
	now     uint32
}

type stored struct {
	value   []byte
	expires uint32
}

// session is an open scan: what it was asked for, and where it goes on.
type session struct {
	req  rrdb.GetScannerRequest
	keys []string
}

func newPartition(g base.Gpid) *partition {
	return &partition{gpid: g, ballot: 3, rows: map[string]stored{}, scans: map[int64]*session{}, nextID: 1}
}

func (p *partition) live(key string) (stored, bool) {
	s, ok := p.rows[key]
	return s, ok && (s.expires == 0 || s.expires > p.now)
}

func (p *partition) put(key, value []byte, expires int32) {
	p.rows[string(key)] = stored{bytes.Clone(value), uint32(expires)}
}

// sorted lists the live keys in a range.
func (p *partition) sorted(in func(key []byte) bool) []string {
	var keys []string
	for k := range maps.Keys(p.rows) {
		if _, ok := p.live(k); ok && in([]byte(k)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func matches(t rrdb.FilterType, pattern, s []byte) bool {
	switch t {
	case rrdb.FT_MATCH_ANYWHERE:
		return bytes.Contains(s, pattern)
	case rrdb.FT_MATCH_PREFIX:
		return bytes.HasPrefix(s, pattern)
	case rrdb.FT_MATCH_POSTFIX:
		return bytes.HasSuffix(s, pattern)
	}
	return true
}

func between(k, from []byte, fromIncl bool, to []byte, toIncl bool) bool {
	a, b := bytes.Compare(k, from), bytes.Compare(k, to)
	return (a > 0 || a == 0 && fromIncl) && (b < 0 || b == 0 && toIncl)
}

func (p *partition) answer(r *rpc.Request) {
	app, idx := p.gpid.AppID, p.gpid.PartitionIndex
	switch r.Code {
	case base.RPCGet:
		var key rpc.Blob
		if !decode(r, &key) {
			return
		}
		res := &rrdb.ReadResponse{Error: 1, AppId: app, PartitionIndex: idx}
		if s, ok := p.live(string(key)); ok {
			res.Error, res.Value = 0, s.value
		}
		r.Reply(res)
	case base.RPCTTL:
		var key rpc.Blob
		if !decode(r, &key) {
			return
		}
		res := &rrdb.TtlResponse{Error: 1}
		if s, ok := p.live(string(key)); ok {
			if res.Error, res.TtlSeconds = 0, -1; s.expires > 0 {
				res.TtlSeconds = int32(s.expires - p.now)
			}
		}
		r.Reply(res)
	case base.RPCPut:
		var q rrdb.UpdateRequest
		if !decode(r, &q) {
			return
		}
		p.put(q.Key, q.Value, q.ExpireTsSeconds)
		r.Reply(&rrdb.UpdateResponse{Decree: p.commit()})
	case base.RPCRemove:
		var key rpc.Blob
		if !decode(r, &key) {
			return
		}
		delete(p.rows, string(key))
		r.Reply(&rrdb.UpdateResponse{Decree: p.commit()})
	case base.RPCIncr:
		p.incr(r)
	case base.RPCMultiPut:
		var q rrdb.MultiPutRequest
		if !decode(r, &q) {
			return
		}
		for _, kv := range q.Kvs {
			p.put(base.AppendKey(nil, q.HashKey, kv.Key), kv.Value, q.ExpireTsSeconds)
		}
		r.Reply(&rrdb.UpdateResponse{Decree: p.commit()})
	case base.RPCMultiRemove:
		var q rrdb.MultiRemoveRequest
		if !decode(r, &q) {
			return
		}
		for _, k := range q.SortKeys {
			delete(p.rows, string(base.AppendKey(nil, q.HashKey, k)))
		}
		r.Reply(&rrdb.MultiRemoveResponse{Count: int64(len(q.SortKeys)), Decree: p.commit()})
	case base.RPCMultiGet:
		p.multiGet(r)
	case base.RPCBatchGet:
		var q rrdb.BatchGetRequest
		if !decode(r, &q) {
			return
		}
		res := &rrdb.BatchGetResponse{}
		for _, k := range q.Keys {
			if s, ok := p.live(string(base.AppendKey(nil, k.HashKey, k.SortKey))); ok {
				res.Data = append(res.Data, rrdb.FullData{HashKey: k.HashKey, SortKey: k.SortKey, Value: s.value})
			}
		}
		r.Reply(res)
	case base.RPCSortkeyCount:
		var h rpc.Blob
		if !decode(r, &h) {
			return
		}
		prefix := base.AppendKey(nil, h, nil)
		r.Reply(&rrdb.CountResponse{Count: int64(len(p.sorted(func(k []byte) bool { return bytes.HasPrefix(k, prefix) })))})
	case base.RPCCheckAndSet:
		p.checkAndSet(r)
	case base.RPCGetScanner:
		p.openScan(r)
	case base.RPCScan:
		var q rrdb.ScanRequest
		if !decode(r, &q) {
			return
		}
		s := p.scans[q.ContextId]
		if s == nil {
			r.Reply(&rrdb.ScanResponse{Error: 1})
			return
		}
		delete(p.scans, q.ContextId)
		p.page(r, s)
	case base.RPCClearScanner:
		var id rpc.I64
		if r.DecodeArg(&id) == nil {
			delete(p.scans, int64(id))
		}
		r.Drop()
	default:
		r.ReplyError(base.ErrHandlerNotFound)
	}
}

func (p *partition) commit() int64 { p.decree++; return p.decree }

func (p *partition) incr(r *rpc.Request) {
	var q rrdb.IncrRequest
	if !decode(r, &q) {
		return
	}
	res := &rrdb.IncrResponse{Decree: p.commit()}
	s, _ := p.live(string(q.Key))
	n := int64(0)
	if len(s.value) > 0 {
		var err error
		if n, err = strconv.ParseInt(string(s.value), 10, 64); err != nil {
			res.Error = 4
			r.Reply(res)
			return
		}
	}
	res.NewValue = n + q.Increment
	p.put(q.Key, strconv.AppendInt(nil, res.NewValue, 10), max(q.ExpireTsSeconds, 0))
	r.Reply(res)
}

func (p *partition) checkAndSet(r *rpc.Request) {
	var q rrdb.CheckAndSetRequest
	if !decode(r, &q) {
		return
	}
	s, ok := p.live(string(base.AppendKey(nil, q.HashKey, q.CheckSortKey)))
	res := &rrdb.CheckAndSetResponse{Error: 13, CheckValueReturned: q.ReturnCheckValue}
	if q.ReturnCheckValue && ok {
		res.CheckValueExist, res.CheckValue = true, s.value
	}
	if q.CheckType == rrdb.CT_VALUE_NOT_EXIST && !ok || q.CheckType == rrdb.CT_VALUE_BYTES_EQUAL && ok && bytes.Equal(s.value, q.CheckOperand) {
		to := q.CheckSortKey
		if q.SetDiffSortKey {
			to = q.SetSortKey
		}
		res.Error, res.Decree = 0, p.commit()
		p.put(base.AppendKey(nil, q.HashKey, to), q.SetValue, q.SetExpireTsSeconds)
	}
	r.Reply(res)
}

func (p *partition) multiGet(r *rpc.Request) {
	var q rrdb.MultiGetRequest
	if !decode(r, &q) {
		return
	}
	var keys []string
	if len(q.SortKeys) > 0 {
		for _, k := range q.SortKeys {
			keys = append(keys, string(base.AppendKey(nil, q.HashKey, k)))
		}
	} else {
		prefix := base.AppendKey(nil, q.HashKey, nil)
		keys = p.sorted(func(k []byte) bool {
			if !bytes.HasPrefix(k, prefix) {
				return false
			}
			sk := k[len(prefix):]
			to, incl := q.StopSortkey, q.StopInclusive
			if len(to) == 0 {
				to, incl = sk, true
			}
			return between(sk, q.StartSortkey, q.StartInclusive, to, incl) && matches(q.SortKeyFilterType, q.SortKeyFilterPattern, sk)
		})
		if q.Reverse {
			slices.Reverse(keys)
		}
	}
	res := &rrdb.MultiGetResponse{}
	for _, k := range keys {
		s, ok := p.live(k)
		if !ok {
			continue
		}
		if q.MaxKvCount > 0 && len(res.Kvs) >= int(q.MaxKvCount) {
			res.Error = 7
			break
		}
		_, sk, _ := base.SplitKey([]byte(k))
		kv := rrdb.KeyValue{Key: sk, Value: s.value}
		if q.NoValue {
			kv.Value = nil
		}
		res.Kvs = append(res.Kvs, kv)
	}
	if q.Reverse {
		slices.Reverse(res.Kvs)
	}
	r.Reply(res)
}

func (p *partition) openScan(r *rpc.Request) {
	s := &session{}
	if !decode(r, &s.req) {
		return
	}
	q := &s.req
	// The request's bytes go back to the connection with the answer.
	q.StartKey, q.StopKey = bytes.Clone(q.StartKey), bytes.Clone(q.StopKey)
	q.HashKeyFilterPattern, q.SortKeyFilterPattern = bytes.Clone(q.HashKeyFilterPattern), bytes.Clone(q.SortKeyFilterPattern)
	prefix := q.StartKey
	if h, _, _ := base.SplitKey(q.StartKey); len(h) == 0 || q.FullScan.Or(false) {
		prefix = nil
	} else {
		prefix = base.AppendKey(nil, h, nil)
	}
	s.keys = p.sorted(func(k []byte) bool {
		h, sk, _ := base.SplitKey(k)
		return bytes.HasPrefix(k, prefix) && between(k, q.StartKey, q.StartInclusive, q.StopKey, q.StopInclusive) &&
			matches(q.HashKeyFilterType, q.HashKeyFilterPattern, h) && matches(q.SortKeyFilterType, q.SortKeyFilterPattern, sk)
	})
	p.page(r, s)
}

func (p *partition) page(r *rpc.Request, s *session) {
	batch := int(s.req.BatchSize)
	if batch <= 0 || batch > 1000 {
		batch = 1000
	}
	res := &rrdb.ScanResponse{ContextId: -1}
	n := 0
	for len(s.keys) > 0 && n < batch {
		k := s.keys[0]
		s.keys = s.keys[1:]
		row, ok := p.live(k)
		if !ok {
			continue
		}
		n++
		if s.req.OnlyReturnCount.Or(false) {
			continue
		}
		kv := rrdb.KeyValue{Key: []byte(k), Value: row.value}
		if s.req.NoValue {
			kv.Value = []byte{}
		}
		if s.req.ReturnExpireTs.Or(false) {
			kv.ExpireTsSeconds = base.Some(int32(row.expires))
		}
		res.Kvs = append(res.Kvs, kv)
	}
	if s.req.OnlyReturnCount.Or(false) {
		res.KvCount = base.Some(int32(n))
	}
	if len(s.keys) > 0 {
		res.ContextId = p.nextID
		p.nextID++
		p.scans[res.ContextId] = s
	}
	r.Reply(res)
}
