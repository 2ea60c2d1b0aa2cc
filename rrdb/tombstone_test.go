package rrdb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/dupinternal"
	idl "pegasus/gen/rrdb"
)

// site is a table of one of several clusters that send to each other. Its clock is its own.
type site struct {
	*harness
	id       uint8
	clock    int64
	last     int64
	outgoing [][]dupinternal.DuplicateEntry // one for each mutation
}

func newSite(t *testing.T, id uint8) *site {
	h := newHarness(t, func(c *testConfig) { c.Sweep.Tombstones = time.Hour })
	h.clock.set(receiveTime)
	h.remembers = true
	h.store.SetEnvs(map[string]string{"user_specified_compaction": removesUndying})
	return &site{harness: h, id: id, clock: h.timestamp(0)}
}

// removesUndying is a rule that deletes some rows, but only while they have no expiry.
var removesUndying = `{"ops":[` + removesUndyingOf("k3") + "," + removesUndyingOf("k4") + "," + removesUndyingOf("k5") + `]}`

func removesUndyingOf(key string) string {
	return `{"type":"COT_DELETE","params":"","rules":[{"type":"FRT_SORTKEY_PATTERN","params":"{\"pattern\":\"` + key + `\",\"match_type\":\"SMT_MATCH_PREFIX\"}"},` +
		`{"type":"FRT_TTL_RANGE","params":"{\"start_ttl\":0,\"stop_ttl\":0}"}]}`
}

// sweep removes what has expired.
func (s *site) sweep() {
	s.t.Helper()
	s.store.applyMu.Lock()
	s.store.expiries.forget() // all is read
	s.store.applyMu.Unlock()
	if _, err := s.store.Sweep(context.Background(), 0, 1<<40, nil); err != nil {
		s.t.Fatal(err)
	}
}

// rules makes a pass of the table's rules.
func (s *site) rules() {
	s.t.Helper()
	o := PassOptions{Repeated: true, Tombstones: true}
	keys, _, next, err := s.store.ScanForRules(context.Background(), nil, o, rate.NewLimiter(rate.Inf, 1))
	if err != nil || next != nil {
		s.t.Fatal(next, err)
	}
	payload, n, err := s.store.ApplyRules(keys, o, s.ov, AppendPassProgress(nil, PassProgress{}))
	if err != nil {
		s.t.Fatal(err)
	}
	if n > 0 {
		s.apply(payload, 0)
	}
}

// apply applies a mutation that is later than afterUS, and returns its timestamp.
func (s *site) apply(payload []byte, afterUS int64) int64 {
	s.t.Helper()
	s.last = max(s.clock, s.last+1, afterUS+1)
	s.decree++
	s.ov.Add(s.decree, s.last, payload)
	if err := s.store.Apply(s.decree, s.last, payload); err != nil {
		s.t.Fatal(err)
	}
	s.ov.Remove(s.decree)
	return s.last
}

// write makes a mutation of what clients, or another cluster, write.
func (s *site) write(code string, arg tbin.Encoder) {
	s.t.Helper()
	payload, reply, touched, err := s.store.Evaluate(&WriteRequest{Code: code, Arg: argReader(arg), Cluster: s.id, Tombstones: true}, s.ov, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if reply.Refused() {
		return
	}
	ts := s.apply(payload, touched.AfterUS)
	if code == base.RPCDuplicate {
		return
	}
	// What travels: the last op on each row.
	last := map[string]dupinternal.DuplicateEntry{}
	var op Op
	r := NewOpReader(payload)
	for r.Next(&op) {
		at, cluster, deleted := SplitTimetag(r.Timetag(&op, ts))
		if deleted {
			last[string(op.Key)] = verified(sent(base.RPCRemove, at, int8(cluster), blobArg(op.Key)))
		} else {
			last[string(op.Key)] = verified(sent(base.RPCPut, at, int8(cluster), &idl.UpdateRequest{Key: op.Key, Value: op.Value, ExpireTsSeconds: int32(op.ExpireTS)}))
		}
	}
	var ws []dupinternal.DuplicateEntry
	for _, w := range last {
		ws = append(ws, w)
	}
	s.outgoing = append(s.outgoing, ws)
}

// random writes something that clients write, on few keys.
func (s *site) random(rng *rand.Rand, now uint32) {
	key := func() string { return fmt.Sprint("k", rng.IntN(6)) }
	value := fmt.Sprint(s.id*10, rng.IntN(1000))
	if rng.IntN(3) == 0 {
		value += strings.Repeat("v", shrinkFrom)
	}
	expire := int32(0)
	switch rng.IntN(3) {
	case 0:
		expire = int32(now) + int32(rng.IntN(5)) + 1
	case 1:
		expire = int32(now) + 100_000
	}
	switch rng.IntN(10) {
	default:
		s.write(base.RPCPut, &idl.UpdateRequest{Key: rowKey("h", key()), Value: []byte(value), ExpireTsSeconds: expire})
	case 1:
		s.write(base.RPCRemove, blobArg(rowKey("h", key())))
	case 2:
		s.write(base.RPCMultiPut, &idl.MultiPutRequest{HashKey: []byte("h"), ExpireTsSeconds: expire, Kvs: []idl.KeyValue{{Key: []byte(key()), Value: []byte(value)}, {Key: []byte(key()), Value: []byte(value)}}})
	case 3:
		s.write(base.RPCMultiRemove, &idl.MultiRemoveRequest{HashKey: []byte("h"), SortKeys: [][]byte{[]byte(key()), []byte(key())}})
	case 4:
		s.write(base.RPCIncr, &idl.IncrRequest{Key: rowKey("h", key()), Increment: 3})
	case 5:
		s.write(base.RPCCheckAndSet, &idl.CheckAndSetRequest{HashKey: []byte("h"), CheckSortKey: []byte(key()), CheckType: idl.CT_VALUE_EXIST, SetSortKey: []byte(key()), SetValue: []byte(value), SetDiffSortKey: true})
	case 6:
		s.write(base.RPCCheckAndMutate, &idl.CheckAndMutateRequest{HashKey: []byte("h"), CheckSortKey: []byte(key()), CheckType: idl.CT_NO_CHECK, MutateList: []idl.Mutate{
			{Operation: idl.MO_DELETE, SortKey: []byte(key())}, {Operation: idl.MO_PUT, SortKey: []byte(key()), Value: []byte(value)}}})
	}
}

// Clusters that write the same rows, each with a clock of its own, agree in the end, whatever clients do and in
// whatever order, and how often, their writes arrive, also those of the same microsecond, and whenever each removes what has
// expired, or what its rules are to delete.
func TestClustersAgree(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 9))
		sites := []*site{newSite(t, 2), newSite(t, 3), newSite(t, 5)}
		now := uint32(receiveTime)
		type parcel struct {
			to int
			ws []dupinternal.DuplicateEntry
		}
		var road []parcel
		deliver := func() {
			if len(road) == 0 {
				return
			}
			i := rng.IntN(len(road))
			sites[road[i].to].write(base.RPCDuplicate, &dupinternal.DuplicateRequest{Entries: road[i].ws})
			if rng.IntN(5) > 0 { // else once more
				road = append(road[:i], road[i+1:]...)
			}
		}
		for range 250 {
			i := rng.IntN(len(sites))
			s := sites[i]
			switch rng.IntN(8) {
			case 0:
				s.sweep()
			case 1:
				s.rules()
			case 2, 3, 4:
				s.clock += int64(rng.IntN(3)) // often the same as another's
				s.random(rng, now)
				for _, ws := range s.outgoing {
					for to := range sites {
						if to != i {
							road = append(road, parcel{to, ws})
						}
					}
				}
				s.outgoing = nil
			default:
				deliver()
			}
			if rng.IntN(3) == 0 {
				now += uint32(rng.IntN(5))
				for _, s := range sites {
					s.harness.clock.set(now)
				}
			}
		}
		for len(road) > 0 {
			deliver()
			if s := sites[rng.IntN(len(sites))]; rng.IntN(4) == 0 {
				s.rules()
			} else if rng.IntN(8) == 0 {
				s.sweep()
			}
		}
		for _, s := range sites {
			s.rules() // what came twice
		}
		for k := range 6 {
			key := fmt.Sprint("k", k)
			v, tag := sites[0].rowAt(key)
			for _, s := range sites[1:] {
				if w, other := s.rowAt(key); w != v || tag != other {
					t.Fatalf("seed %d: row %s is %q (%x) in cluster %d, and %q (%x) in cluster %d", seed, key, v, tag, sites[0].id, w, other, s.id)
				}
			}
		}
		for _, s := range sites {
			s.close()
		}
	}
}

// A tombstone is seen by nobody, also after a restart, and is deleted once its time is over.
func TestTombstone(t *testing.T) {
	h := newHarness(t, func(c *testConfig) { c.Sweep.Tombstones = time.Hour })
	h.clock.set(receiveTime)
	const at = 1_700_000_000_000_000
	remove := func(key string) {
		payload, _, _, err := h.store.Evaluate(&WriteRequest{Code: base.RPCRemove, Arg: argReader(blobArg(rowKey("h", key))), Cluster: 2, Tombstones: true}, h.ov, h.payload)
		if err != nil {
			t.Fatal(err)
		}
		h.payload = payload
		h.propose()
		h.apply()
	}
	h.put("h", "stays", "v", 0)
	h.put("h", "own", "v", 0)
	remove("own")
	h.receive(2, sentPut(at, 3, "theirs", "v"), sentRemove(at+1, 3, "theirs"))
	check := func(when string, tombstones int) {
		t.Helper()
		if n := h.physical(); n != 1+tombstones {
			t.Errorf("%s: %d records", when, n)
		}
		for _, k := range []string{"own", "theirs"} {
			h.wantRow(k, "-", 0)
			var ttl idl.TtlResponse
			if _, err := h.read(base.RPCTTL, blobArg(rowKey("h", k)), &ttl); err != nil || ttl.Error != codeNotFound {
				t.Errorf("%s: ttl of %s: %+v, %v", when, k, ttl, err)
			}
		}
		var count idl.CountResponse
		if _, err := h.read(base.RPCSortkeyCount, blobArg("h"), &count); err != nil || count.Count != 1 {
			t.Errorf("%s: sortkey_count %+v, %v", when, count, err)
		}
		var all idl.MultiGetResponse
		if _, err := h.read(base.RPCMultiGet, &idl.MultiGetRequest{HashKey: []byte("h")}, &all); err != nil || len(all.Kvs) != 1 {
			t.Errorf("%s: multi_get %+v, %v", when, all, err)
		}
		var scan idl.ScanResponse
		if _, err := h.read(base.RPCGetScanner, &idl.GetScannerRequest{StopKey: []byte{0xff, 0xff}, BatchSize: 100}, &scan); err != nil || len(scan.Kvs) != 1 {
			t.Errorf("%s: scan %+v, %v", when, scan, err)
		}
	}
	check("at once", 2)
	h.store.applyMu.Lock()
	h.store.expiries = newExpiryMap(false) // all is read
	h.store.applyMu.Unlock()
	sweep := func() {
		t.Helper()
		if _, err := h.store.Sweep(context.Background(), time.Second, 1<<40, nil); err != nil {
			t.Fatal(err)
		}
	}
	h.clock.set(receiveTime + 1800)
	sweep()
	check("after half the time", 2)
	h.receive(2, verified(sentPut(at, 3, "own", "old")), sentPut(at, 3, "theirs", "old"))
	check("after older writes", 2)
	h.flush()
	h.close()
	h.open(false)
	check("after a restart", 2)
	sweep()
	check("swept after a restart", 2)
	h.clock.set(receiveTime + 3600 + sweepMaxAge + 100)
	// A store without a time that is certain takes that of its last write.
	h.receive(2, verified(sentPut(h.clock.now().UnixMicro(), 3, "stays", "v")))
	h.payload = AppendOp(nil, Op{Key: rowKey("h", "stays"), Value: []byte("v")})
	h.decree++
	if err := h.store.Apply(h.decree, h.clock.now().UnixMicro(), h.payload); err != nil {
		t.Fatal(err)
	}
	sweep()
	check("after its time", 0)
}

// Without Tombstones a client's remove is what it was, and a remove that another cluster sent can be decoded by
// the members that don't know tombstones.
func TestNoTombstone(t *testing.T) {
	h := newReceiver(t)
	payload, _, _, err := h.store.Evaluate(&WriteRequest{Code: base.RPCRemove, Arg: argReader(blobArg(rowKey("h", "k")))}, h.ov, nil)
	if want := AppendOp(nil, Op{Key: rowKey("h", "k"), Delete: true}); err != nil || string(payload) != string(want) {
		t.Errorf("%x, want %x, %v", payload, want, err)
	}
	var op Op
	r := NewOpReader(AppendOp(nil, Op{Key: rowKey("h", "k"), Delete: true, Timetag: Tombstone(5)}))
	if !r.Next(&op) || r.Timetag(&op, 77) != MakeTimetag(77, 5, true) {
		t.Errorf("%+v", op)
	}
}

// A row of a table that other clusters send to leaves a tombstone when it expires, without its data, for as long as a write that was
// made before it may arrive: none if its TTL is as long. One of another table leaves nothing.
func TestExpiredLeavesTombstone(t *testing.T) {
	s := newSite(t, 2)
	const lives = 3000
	value := strings.Repeat("v", 1000)
	tag := func(key string) (n int, tag uint64) {
		t.Helper()
		v, closer, err := s.store.db.Get(rowKey("h", key))
		if errors.Is(err, pebble.ErrNotFound) {
			return 0, 0
		}
		if err != nil {
			t.Fatal(err)
		}
		defer closer.Close()
		_, tag, data, _ := splitValue(v)
		return len(data), tag
	}
	made := s.last + 1
	put := func(key, value string, ttl int32) {
		s.write(base.RPCPut, &idl.UpdateRequest{Key: rowKey("h", key), Value: []byte(value), ExpireTsSeconds: receiveTime + ttl})
	}
	put("large", value, 10)
	was := MakeTimetag(s.last, 2, false)
	put("small", "v", 10)
	put("longer", value, lives)
	put("longest", value, 2*3600)
	s.write(base.RPCPut, &idl.UpdateRequest{Key: rowKey("h", "stays"), Value: []byte(value)})
	check := func(when string, large, small, longer, longest int) {
		t.Helper()
		s.sweep()
		for k, want := range map[string]int{"large": large, "small": small, "longer": longer, "longest": longest, "stays": 1000} {
			if n, _ := tag(k); n != want {
				t.Errorf("%s: %s has %d bytes of data, want %d", when, k, n, want)
			}
		}
	}
	check("at first", 1000, 1, 1000, 1000)
	s.harness.clock.set(receiveTime + 11)
	check("expired", tombstoneData, 1, 1000, 1000)
	if _, got := tag("large"); got != was|1 {
		t.Errorf("the tombstone has timetag %x, the row had %x", got, was)
	}
	older := verified(sent(base.RPCPut, made-1, 3, &idl.UpdateRequest{Key: rowKey("h", "large"), Value: []byte("old")}))
	s.write(base.RPCDuplicate, &dupinternal.DuplicateRequest{Entries: []dupinternal.DuplicateEntry{older}})
	s.wantRow("large", "-", 0)
	s.flush()
	s.close()
	s.open(false)
	check("after a restart", tombstoneData, 1, 1000, 1000)
	s.clock = s.harness.clock.now().UnixMicro() + 3700*1e6 // a store takes the time of its last write for certain
	s.harness.clock.set(receiveTime + lives + 1)
	check("the longer one expired", tombstoneData, 1, tombstoneData, 1000)
	s.harness.clock.set(receiveTime + 3601)
	check("after their time", 0, 0, 0, 1000)
	s.write(base.RPCRemove, blobArg(rowKey("h", "other")))
	s.harness.clock.set(receiveTime + 2*3600 + 1)
	check("the one with a TTL that is longer than that", 0, 0, 0, 0)

	s.remembers = false
	s.write(base.RPCPut, &idl.UpdateRequest{Key: rowKey("h", "large"), Value: []byte(value), ExpireTsSeconds: receiveTime + 2*3600 + 10})
	s.harness.clock.set(receiveTime + 2*3600 + 11)
	check("of a table that no other cluster sends to", 0, 0, 0, 0)
}
