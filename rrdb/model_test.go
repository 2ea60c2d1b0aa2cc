package rrdb

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
)

// model is a partition as a map: what a store should be.
type model map[string]modelRow

type modelRow struct {
	value  string
	expire uint32
}

func (m model) apply(payload []byte) {
	var op Op
	r := NewOpReader(payload)
	for r.Next(&op) {
		if op.Delete {
			delete(m, string(op.Key))
		} else {
			m[string(op.Key)] = modelRow{string(op.Value), op.ExpireTS}
		}
	}
}

func (m model) live(key []byte, now uint32) (modelRow, bool) {
	r, ok := m[string(key)]
	return r, ok && (r.expire == 0 || r.expire > now)
}

// between lists the keys of a range as upstream's server would meet them.
func (m model) between(start, stop []byte, startInclusive, stopInclusive bool) [][]byte {
	var keys [][]byte
	for k := range m {
		b := []byte(k)
		if c := bytes.Compare(b, start); c < 0 || c == 0 && !startInclusive {
			continue
		}
		if c := bytes.Compare(b, stop); c > 0 || c == 0 && !stopInclusive {
			continue
		}
		keys = append(keys, b)
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

// walker does random things to a store and a model.
type walker struct {
	*harness
	rng       *rand.Rand
	committed model // what was applied
	latest    model // with what is on its way
	now       uint32
}

var (
	walkHashKeys = []string{"", "a", "b", "aa", "ab", "a\x00", "\xff", "\xff\xff"}
	walkSortKeys = []string{"", "a", "b", "aa", "ab", "\x00", "\xff", "\xff\xff", "a\xff", "ba", "c"}
	walkValues   = []string{"", "1", "22", "0x10", "word", "long value, as values go"}
)

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			h := newHarness(t, func(c *testConfig) {
				c.Limits.ScanRows, c.Limits.MultiGetRows, c.Limits.MultiGetBytes = 6, 9, 120
			})
			w := &walker{harness: h, rng: rand.New(rand.NewPCG(seed, 7)), committed: model{}, latest: model{}, now: 1000}
			for range 1500 {
				w.step()
			}
			w.commit()
			w.compare()
		})
	}
}

func (w *walker) step() {
	switch n := w.rng.IntN(100); {
	case n < 30:
		w.blindWrite()
	case n < 45:
		w.atomicWrite()
	case n < 50:
		w.propose()
	case n < 58:
		w.commit()
	case n < 60:
		w.now += uint32(w.rng.IntN(30))
		w.clock.set(w.now)
	case n < 62:
		w.commit()
		w.flush()
	case n == 62:
		w.commit()
		w.flush()
		w.close()
		w.open(false)
	case n == 63:
		if err := w.store.db.Compact(w.t.Context(), []byte{0}, []byte{0xff, 0xff, 0xff}, false); err != nil {
			w.t.Fatal(err)
		}
	case n < 75:
		w.point()
	case n < 88:
		w.multiGet()
	case n < 90:
		w.count()
	default:
		w.scanAll()
	}
}

// commit applies everything on its way.
func (w *walker) commit() {
	w.propose()
	for _, f := range w.flights {
		w.committed.apply(f.payload)
	}
	w.apply()
}

func (w *walker) expiry() int32 {
	if w.rng.IntN(3) > 0 {
		return 0
	}
	return int32(w.now) + int32(w.rng.IntN(40)) - 5
}

func (w *walker) row() (h, s []byte) {
	return []byte(pick(w.rng, walkHashKeys)), []byte(pick(w.rng, walkSortKeys))
}

// record evaluates a write and lets the model have the ops.
func (w *walker) record(code string, arg tbin.Encoder, answer tbin.Decoder) {
	w.t.Helper()
	before := len(w.payload)
	reply, err := w.evaluate(code, arg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.latest.apply(w.payload[before:])
	w.decode(&reply, answer)
}

func (w *walker) blindWrite() {
	h, s := w.row()
	var r idl.UpdateResponse
	switch w.rng.IntN(4) {
	case 0, 1:
		w.record(base.RPCPut, &idl.UpdateRequest{Key: base.AppendKey(nil, h, s), Value: []byte(pick(w.rng, walkValues)), ExpireTsSeconds: w.expiry()}, &r)
	case 2:
		k := value.Blob(base.AppendKey(nil, h, s))
		w.record(base.RPCRemove, &k, &r)
	case 3:
		arg := idl.MultiPutRequest{HashKey: h, ExpireTsSeconds: w.expiry()}
		for range 1 + w.rng.IntN(4) {
			_, s := w.row()
			arg.Kvs = append(arg.Kvs, idl.KeyValue{Key: s, Value: []byte(pick(w.rng, walkValues))})
		}
		w.record(base.RPCMultiPut, &arg, &r)
	}
	if r.Error != 0 {
		w.t.Fatalf("write is answered %+v", r)
	}
}

func (w *walker) atomicWrite() {
	h, s := w.row()
	key := base.AppendKey(nil, h, s)
	old, live := w.latest.live(key, w.now)
	if w.rng.IntN(2) == 0 {
		n, isInt := ParseInt([]byte(old.value))
		if !live || old.value == "" {
			n, isInt = 0, true
		}
		arg := idl.IncrRequest{Key: key, Increment: int64(w.rng.IntN(9) - 4), ExpireTsSeconds: w.expiry()}
		var r idl.IncrResponse
		w.record(base.RPCIncr, &arg, &r)
		if isInt && (r.Error != 0 || r.NewValue != n+arg.Increment) || !isInt && r.Error != 4 {
			w.t.Fatalf("incr by %d of %q (live %t): %+v", arg.Increment, old.value, live, r)
		}
		return
	}
	arg := idl.CheckAndSetRequest{
		HashKey: h, CheckSortKey: s, CheckType: pick(w.rng, []idl.CasCheckType{idl.CT_VALUE_EXIST, idl.CT_VALUE_NOT_EXIST, idl.CT_VALUE_BYTES_EQUAL}),
		CheckOperand: []byte(pick(w.rng, walkValues)), SetValue: []byte("set"), ReturnCheckValue: true, SetExpireTsSeconds: w.expiry(),
	}
	passes := map[idl.CasCheckType]bool{
		idl.CT_VALUE_EXIST: live, idl.CT_VALUE_NOT_EXIST: !live, idl.CT_VALUE_BYTES_EQUAL: live && old.value == string(arg.CheckOperand),
	}[arg.CheckType]
	var r idl.CheckAndSetResponse
	w.record(base.RPCCheckAndSet, &arg, &r)
	if passes != (r.Error == 0) || r.CheckValueExist != live || live && string(r.CheckValue) != old.value {
		w.t.Fatalf("check %v of %q (live %t) with %q: %+v", arg.CheckType, old.value, live, arg.CheckOperand, r)
	}
}

func (w *walker) ask(code string, arg tbin.Encoder, answer tbin.Decoder) {
	w.t.Helper()
	if answered, err := w.read(code, arg, answer); err != nil || !answered {
		w.t.Fatalf("%s: answered %t, %v", code, answered, err)
	}
}

func (w *walker) point() {
	h, s := w.row()
	key := value.Blob(base.AppendKey(nil, h, s))
	want, live := w.committed.live(key, w.now)
	var g idl.ReadResponse
	w.ask(base.RPCGet, &key, &g)
	var ttl idl.TtlResponse
	w.ask(base.RPCTTL, &key, &ttl)
	var b idl.BatchGetResponse
	w.ask(base.RPCBatchGet, &idl.BatchGetRequest{Keys: []idl.FullKey{{HashKey: h, SortKey: s}}}, &b)
	if !live {
		if g.Error != 1 || ttl.Error != 1 || len(b.Data) != 0 || b.Error != 0 {
			w.t.Fatalf("%q %q isn't there: %+v, %+v, %+v", h, s, g, ttl, b)
		}
		return
	}
	left := int32(-1)
	if want.expire > 0 {
		left = int32(want.expire - w.now)
	}
	if g.Error != 0 || string(g.Value) != want.value || ttl.Error != 0 || ttl.TtlSeconds != left || len(b.Data) != 1 || string(b.Data[0].Value) != want.value {
		w.t.Fatalf("%q %q is %+v: %+v, %+v, %+v", h, s, want, g, ttl, b)
	}
}

func (w *walker) multiGet() {
	h, start := w.row()
	_, stop := w.row()
	arg := idl.MultiGetRequest{
		HashKey: h, StartSortkey: start, StopSortkey: stop, StartInclusive: w.rng.IntN(2) == 0, StopInclusive: w.rng.IntN(2) == 0,
		MaxKvCount: int32(w.rng.IntN(12) - 1), MaxKvSize: int32(w.rng.IntN(150) - 20), NoValue: w.rng.IntN(4) == 0, Reverse: w.rng.IntN(3) == 0,
		SortKeyFilterType: idl.FilterType(w.rng.IntN(4)), SortKeyFilterPattern: []byte(pick(w.rng, []string{"", "", "a", "b", "\xff"})),
	}
	if w.rng.IntN(3) == 0 {
		arg.StartSortkey, arg.StopSortkey = nil, nil
	}
	if w.rng.IntN(4) == 0 {
		for range 1 + w.rng.IntN(6) {
			_, s := w.row()
			arg.SortKeys = append(arg.SortKeys, s)
		}
	}
	var r idl.MultiGetResponse
	w.ask(base.RPCMultiGet, &arg, &r)
	code, want := w.expectMultiGet(&arg)
	var got []string
	for _, kv := range r.Kvs {
		got = append(got, fmt.Sprintf("%q=%q", kv.Key, kv.Value))
	}
	if r.Error != code || !slices.Equal(got, want) {
		w.t.Fatalf("multi_get %+v:\n got %d %v\nwant %d %v", arg, r.Error, got, code, want)
	}
}

func (w *walker) expectMultiGet(arg *idl.MultiGetRequest) (code int32, rows []string) {
	maxCount, maxSize := 9, 120
	if arg.MaxKvCount > 0 {
		maxCount = min(maxCount, int(arg.MaxKvCount))
	}
	if arg.MaxKvSize > 0 {
		maxSize = min(maxSize, int(arg.MaxKvSize))
	}
	size := 0
	take := func(sortKey []byte, r modelRow) {
		if arg.NoValue {
			r.value = ""
		}
		rows = append(rows, fmt.Sprintf("%q=%q", sortKey, r.value))
		size += len(sortKey) + len(r.value)
	}
	if len(arg.SortKeys) > 0 {
		for _, s := range arg.SortKeys {
			r, live := w.committed.live(base.AppendKey(nil, arg.HashKey, s), w.now)
			if !live {
				continue
			}
			if len(rows) >= maxCount || size >= maxSize {
				return 7, rows
			}
			take(s, r)
		}
		return 0, rows
	}
	start := base.AppendKey(nil, arg.HashKey, arg.StartSortkey)
	stop, stopInclusive := base.AppendKey(nil, arg.HashKey, arg.StopSortkey), arg.StopInclusive
	if len(arg.StopSortkey) == 0 {
		stop, stopInclusive = base.NextKey(nil, base.AppendKey(nil, arg.HashKey, nil)), false
	}
	keys := w.committed.between(start, stop, arg.StartInclusive, stopInclusive)
	f := filter{arg.SortKeyFilterType, arg.SortKeyFilterPattern}
	if p := f.prefix(); p != nil {
		// Rows outside of the prefix aren't looked at, hence don't count.
		keys = slices.DeleteFunc(keys, func(k []byte) bool { return !bytes.HasPrefix(k[2+len(arg.HashKey):], p) })
	}
	if arg.Reverse {
		slices.Reverse(keys)
	}
	for i, k := range keys {
		if i >= 9 || len(rows) >= maxCount || size >= maxSize {
			code = 7
			break
		}
		sortKey := k[2+len(arg.HashKey):]
		if r, live := w.committed.live(k, w.now); live && f.match(sortKey) {
			take(sortKey, r)
		}
	}
	if arg.Reverse {
		slices.Reverse(rows)
	}
	return code, rows
}

func (w *walker) count() {
	h, _ := w.row()
	prefix := base.AppendKey(nil, h, nil)
	want := int64(0)
	for k := range w.committed {
		if _, live := w.committed.live([]byte(k), w.now); live && bytes.HasPrefix([]byte(k), prefix) {
			want++
		}
	}
	arg := value.Blob(h)
	var r idl.CountResponse
	w.ask(base.RPCSortkeyCount, &arg, &r)
	if r.Error != 0 || r.Count != want {
		w.t.Fatalf("count of %q is %d: %+v", h, want, r)
	}
}

func (w *walker) scanAll() {
	h, s := w.row()
	h2, s2 := w.row()
	arg := idl.GetScannerRequest{
		StartKey: base.AppendKey(nil, h, s), StopKey: base.AppendKey(nil, h2, s2), StartInclusive: w.rng.IntN(2) == 0, StopInclusive: w.rng.IntN(2) == 0,
		BatchSize: int32(w.rng.IntN(9) - 1), NoValue: w.rng.IntN(4) == 0,
		HashKeyFilterType: idl.FilterType(w.rng.IntN(4)), HashKeyFilterPattern: []byte(pick(w.rng, []string{"", "", "", "a", "\xff"})),
		SortKeyFilterType: idl.FilterType(w.rng.IntN(4)), SortKeyFilterPattern: []byte(pick(w.rng, []string{"", "", "", "a", "b"})),
	}
	switch w.rng.IntN(4) {
	case 0: // a hash scan
		arg.StopKey = base.NextKey(nil, base.AppendKey(nil, h, nil))
	case 1: // a whole partition
		arg.StartKey, arg.StopKey, arg.StartInclusive, arg.StopInclusive = []byte{0, 0}, []byte{0xff, 0xff}, true, false
	case 2: // resumed
		arg.StopKey, arg.StopInclusive = []byte{0xff, 0xff}, false
	}
	if w.rng.IntN(3) == 0 {
		arg.FullScan = base.Some(w.rng.IntN(2) == 0)
	}
	arg.ReturnExpireTs = base.Some(true)
	want := w.expectScan(&arg)

	var r idl.ScanResponse
	w.ask(base.RPCGetScanner, &arg, &r)
	var got []string
	ids := map[int64]bool{}
	for {
		for _, kv := range r.Kvs {
			got = append(got, fmt.Sprintf("%q=%q %d", kv.Key, kv.Value, kv.ExpireTsSeconds.V))
		}
		if r.Error != 0 || len(r.Kvs) > 6 || arg.BatchSize > 0 && len(r.Kvs) > int(arg.BatchSize) {
			w.t.Fatalf("scan %+v: page %+v", arg, r)
		}
		if r.ContextId == scanCompleted {
			break
		}
		if r.ContextId <= 0 || ids[r.ContextId] || len(r.Kvs) == 0 {
			w.t.Fatalf("scan %+v: context %d after %d rows", arg, r.ContextId, len(r.Kvs))
		}
		ids[r.ContextId] = true
		w.ask(base.RPCScan, &idl.ScanRequest{ContextId: r.ContextId}, &r)
	}
	if !slices.Equal(got, want) {
		w.t.Fatalf("scan %+v:\n got %v\nwant %v", arg, got, want)
	}
	if n := w.shared.sessions.len(); n != 0 {
		w.t.Fatalf("%d sessions are left of completed scans", n)
	}
}

func (w *walker) expectScan(arg *idl.GetScannerRequest) (rows []string) {
	startHash, _, _ := base.SplitKey(arg.StartKey)
	total := len(startHash) == 0 || arg.FullScan.Or(false) || string(arg.StopKey) == "\xff\xff"
	hf := filter{arg.HashKeyFilterType, arg.HashKeyFilterPattern}
	sf := filter{arg.SortKeyFilterType, arg.SortKeyFilterPattern}
	for _, k := range w.committed.between(arg.StartKey, arg.StopKey, arg.StartInclusive, arg.StopInclusive) {
		h, s, _ := base.SplitKey(k)
		r, live := w.committed.live(k, w.now)
		if !live || !hf.match(h) || !sf.match(s) || !total && !bytes.Equal(h, startHash) {
			continue
		}
		if arg.NoValue {
			r.value = ""
		}
		rows = append(rows, fmt.Sprintf("%q=%q %d", k, r.value, int32(r.expire)))
	}
	return rows
}

// compare checks the whole content.
func (w *walker) compare() {
	w.t.Helper()
	compareContent(w.t, w.store, w.committed)
}

func compareContent(t testing.TB, s *Store, want model) {
	t.Helper()
	it, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if bytes.HasPrefix(it.Key(), metaPrefix) {
			continue
		}
		e, _, data, _ := splitValue(it.Value())
		if got := (modelRow{string(data), e}); got != want[string(it.Key())] {
			t.Fatalf("row %q is %.50q, %d; should be %.50q, %d", it.Key(), got.value, got.expire, want[string(it.Key())].value, want[string(it.Key())].expire)
		}
		n++
	}
	if n != len(want) {
		t.Fatalf("%d rows, should be %d", n, len(want))
	}
}
