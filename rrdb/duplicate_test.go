package rrdb

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/dupinternal"
	idl "pegasus/gen/rrdb"
)

// rawMessage is the argument of a request as its client sent it.
func rawMessage(arg tbin.Encoder) []byte {
	b := tbin.AppendField(nil, tbin.Struct, 1)
	return tbin.AppendStop(arg.AppendThrift(b))
}

func sent(code string, ts int64, cluster int8, arg tbin.Encoder) dupinternal.DuplicateEntry {
	return dupinternal.DuplicateEntry{Timestamp: base.Some(ts), TaskCode: base.Some(base.TaskCode(code)), RawMessage: base.Some(rawMessage(arg)), ClusterId: base.Some(cluster)}
}

func verified(w dupinternal.DuplicateEntry) dupinternal.DuplicateEntry {
	w.VerifyTimetag = base.Some(true)
	return w
}

func sentPut(ts int64, cluster int8, sortKey, value string) dupinternal.DuplicateEntry {
	return sent(base.RPCPut, ts, cluster, &idl.UpdateRequest{Key: rowKey("h", sortKey), Value: []byte(value)})
}

func sentRemove(ts int64, cluster int8, sortKey string) dupinternal.DuplicateEntry {
	return sent(base.RPCRemove, ts, cluster, rowArg("h", sortKey))
}

// receiveTime is shortly after the harness's mutations.
const receiveTime = 1_700_000_000 - base.EpochBegin + 1

func newReceiver(t testing.TB) *harness {
	h := newHarness(t, nil)
	h.clock.set(receiveTime)
	return h
}

// receive applies a request with writes of other clusters, and checks its answer.
func (h *harness) receive(own uint8, ws ...dupinternal.DuplicateEntry) Duplicated {
	h.t.Helper()
	return h.receiveArg(own, &dupinternal.DuplicateRequest{Entries: ws})
}

func (h *harness) receiveArg(own uint8, arg tbin.Encoder) Duplicated {
	h.t.Helper()
	d := h.evaluateSent(own, arg)
	if len(h.payload) > 0 {
		h.propose()
	}
	h.apply()
	return d
}

func (h *harness) evaluateSent(own uint8, arg tbin.Encoder) Duplicated {
	h.t.Helper()
	before := len(h.payload)
	payload, reply, touched, err := h.store.Evaluate(&WriteRequest{Code: base.RPCDuplicate, Arg: argReader(arg), Cluster: own, MaxBytes: 1 << 20}, h.ov, h.payload)
	if err != nil {
		h.t.Fatal(err)
	}
	if reply.Refused() != (len(payload) == before) {
		h.t.Fatalf("refused %t, %d bytes of ops", reply.Refused(), len(payload)-before)
	}
	h.payload = payload
	var answer dupinternal.DuplicateResponse
	h.decode(&reply, &answer)
	if answer.Error != base.Some(int32(0)) || answer.ErrorHint.Set != (touched.Dup.Own+touched.Dup.Lost > 0) {
		h.t.Fatalf("answer %+v to %+v", answer, touched.Dup)
	}
	return *touched.Dup
}

// rowAt returns the value and the timetag of a row, or "-" if there is none.
func (h *harness) rowAt(sortKey string) (string, uint64) {
	h.t.Helper()
	r, code := h.store.lookup(rowKey("h", sortKey), ExpiryTime(h.clock.now()))
	if code == codeNotFound {
		return "-", 0
	}
	if code != codeOK {
		h.t.Fatalf("code %d", code)
	}
	defer r.closer.Close()
	return string(r.data), r.timetag
}

func (h *harness) wantRow(sortKey, value string, timetag uint64) {
	h.t.Helper()
	if v, tag := h.rowAt(sortKey); v != value || value != "-" && tag != timetag {
		h.t.Errorf("row %q is %q with timetag %x, want %q with %x", sortKey, v, tag, value, timetag)
	}
}

// Each kind of write that another cluster sends has the effect that it had there, and keeps its timetag.
func TestReceive(t *testing.T) {
	h := newReceiver(t)
	const ts = 1_700_000_000_000_000
	tag := MakeTimetag(ts, 3, false)
	d := h.receive(2,
		sentPut(ts, 3, "a", "1"), sentPut(ts, 3, "b", "1"), sentPut(ts, 3, "c", "1"),
		sent(base.RPCMultiPut, ts, 3, &idl.MultiPutRequest{HashKey: []byte("h"), Kvs: []idl.KeyValue{{Key: []byte("d"), Value: []byte("4")}, {Key: []byte("e"), Value: []byte("5")}}}),
		sentRemove(ts, 3, "a"),
		sent(base.RPCMultiRemove, ts, 3, &idl.MultiRemoveRequest{HashKey: []byte("h"), SortKeys: [][]byte{[]byte("b"), []byte("x")}}),
		sent(base.RPCPut, ts, 3, &idl.UpdateRequest{Key: rowKey("h", "c"), Type: base.Some(idl.UT_CHECK_AND_MUTATE_REMOVE)}),
		sent(base.RPCPut, ts, 3, &idl.UpdateRequest{Key: rowKey("h", "n"), Value: []byte("17"), Type: base.Some(idl.UT_INCR)}),
		sent(base.RPCPut, ts, 3, &idl.UpdateRequest{Key: rowKey("h", "ttl"), Value: []byte("v"), ExpireTsSeconds: int32(receiveTime + 5000)}),
	)
	if d.Writes != 9 || len(d.TimestampsUS) != 9 || d.Stale+d.Own+d.Lost+d.Future != 0 || !d.From(3) || d.From(2) || d.From(67) {
		t.Errorf("%+v", d)
	}
	for _, k := range []string{"a", "b", "c", "x"} {
		h.wantRow(k, "-", 0)
	}
	h.wantRow("d", "4", tag)
	h.wantRow("e", "5", tag)
	h.wantRow("n", "17", tag)
	h.wantRow("ttl", "v", tag)
	h.clock.set(receiveTime + 5000)
	h.wantRow("ttl", "-", 0)

	// Releases before 2.4 send one write, its fields in place of the list.
	one := sentPut(ts+1, 3, "old", "form")
	one.RawMessage.V[2] = 0 // as upstream numbers the argument of what it has rewritten
	if d := h.receiveArg(2, &one); d.Writes != 1 || d.Lost != 0 {
		t.Errorf("%+v", d)
	}
	h.wantRow("old", "form", MakeTimetag(ts+1, 3, false))
	// No writes at all are none.
	if d := h.receive(2); d.Writes != 0 || d.Lost != 0 {
		t.Errorf("%+v", d)
	}
}

// The later write of a row stays, whichever arrives first: always of one cluster's writes, of several
// if the sender asks for it.
func TestReceiveLastWriterWins(t *testing.T) {
	h := newReceiver(t)
	at := h.timestamp(0)
	early, late := at-1000, at+1000
	put := func(ts int64, cluster int8, v string) dupinternal.DuplicateEntry { return sentPut(ts, cluster, "k", v) }
	for i, c := range []struct {
		name   string
		writes []dupinternal.DuplicateEntry
		want   string
		tag    uint64
		stale  int
	}{
		{"in order", []dupinternal.DuplicateEntry{put(1, 3, "1"), put(2, 3, "2")}, "2", MakeTimetag(2, 3, false), 0},
		{"out of order", []dupinternal.DuplicateEntry{put(2, 3, "2"), put(1, 3, "1")}, "2", MakeTimetag(2, 3, false), 1},
		{"of one mutation", []dupinternal.DuplicateEntry{put(2, 3, "2"), put(2, 3, "3")}, "3", MakeTimetag(2, 3, false), 0},
		{"of one mutation, verified", []dupinternal.DuplicateEntry{verified(put(2, 3, "2")), verified(put(2, 3, "3"))}, "3", MakeTimetag(2, 3, false), 0},
		{"two clusters", []dupinternal.DuplicateEntry{put(2, 3, "2"), put(1, 4, "1")}, "1", MakeTimetag(1, 4, false), 0},
		{"two clusters, verified", []dupinternal.DuplicateEntry{put(2, 3, "2"), verified(put(1, 4, "1"))}, "2", MakeTimetag(2, 3, false), 1},
		{"the same time, verified", []dupinternal.DuplicateEntry{put(2, 4, "4"), verified(put(2, 3, "3"))}, "4", MakeTimetag(2, 4, false), 1},
		{"an earlier remove", []dupinternal.DuplicateEntry{put(2, 3, "2"), sentRemove(1, 3, "k")}, "2", MakeTimetag(2, 3, false), 1},
		{"a later remove", []dupinternal.DuplicateEntry{put(2, 3, "2"), sentRemove(2, 3, "k")}, "-", 0, 0},
		{"a remove of another cluster", []dupinternal.DuplicateEntry{put(2, 3, "2"), sentRemove(1, 4, "k")}, "-", 0, 0},
		{"a remove of another cluster, verified", []dupinternal.DuplicateEntry{put(2, 3, "2"), verified(sentRemove(1, 4, "k"))}, "2", MakeTimetag(2, 3, false), 1},
		{"nothing there, verified", []dupinternal.DuplicateEntry{verified(put(1, 3, "1"))}, "1", MakeTimetag(1, 3, false), 0},
	} {
		for _, apart := range []bool{false, true} {
			h.payload = AppendOp(h.payload, Op{Key: rowKey("h", "k"), Delete: true})
			h.propose()
			h.apply()
			var d Duplicated
			if apart {
				for _, w := range c.writes {
					d.Stale += h.receive(2, w).Stale
				}
			} else {
				d = h.receive(2, c.writes...)
			}
			if d.Stale != c.stale {
				t.Errorf("%d %s, apart %t: %d stale", i, c.name, apart, d.Stale)
			}
			if v, tag := h.rowAt("k"); v != c.want || tag != c.tag {
				t.Errorf("%d %s, apart %t: %q with timetag %x, want %q with %x", i, c.name, apart, v, tag, c.want, c.tag)
			}
		}
	}

	// A client's write: applied, on its way, and in the mutation that is being filled.
	for _, state := range []string{"applied", "on its way", "being filled"} {
		for _, c := range []struct {
			w    dupinternal.DuplicateEntry
			want string
		}{
			{verified(put(early, 3, "early")), "own"}, {put(early, 3, "early"), "early"},
			{verified(put(late, 3, "late")), "late"},
			{verified(sentRemove(early, 3, "k")), "own"}, {verified(sentRemove(late, 3, "k")), "-"},
		} {
			h.decree = h.store.LastApplied()
			reply, err := h.evaluateOwn(2, "k", "own")
			if err != nil || reply.Refused() {
				t.Fatal(err)
			}
			if state != "being filled" {
				h.propose()
			}
			if state == "applied" {
				h.apply()
			}
			h.receive(2, c.w)
			want := c.want
			if state == "being filled" && c.w.VerifyTimetag.V {
				want = "own" // its timestamp will be later still
			}
			if v, _ := h.rowAt("k"); v != want {
				t.Errorf("a client's write, %s, then %+v: %q, want %q", state, c.w, v, want)
			}
		}
	}
}

// A row that was written here before writes bore this cluster's number has that number at the clusters it was sent to. All prefer the
// same one of two writes of the same time.
func TestReceiveBesideUnnumbered(t *testing.T) {
	for _, state := range []string{"applied", "on its way"} {
		for cluster, want := range map[int8]string{1: "own", 3: "theirs"} {
			h := newReceiver(t)
			if reply, err := h.evaluateOwn(0, "k", "own"); err != nil || reply.Refused() {
				t.Fatal(err)
			}
			h.propose()
			at := h.timestamp(h.decree)
			if state == "applied" {
				h.apply()
			}
			h.receive(2, verified(sentPut(at, cluster, "k", "theirs")))
			if v, _ := h.rowAt("k"); v != want {
				t.Errorf("%s, then a write of cluster %d: %q, want %q", state, cluster, v, want)
			}
			h.close()
		}
	}
}

// What a request that fails has left in the overlay isn't taken for the beginning of what is written next.
func TestReceiveFails(t *testing.T) {
	incr := &idl.IncrRequest{Key: rowKey("h", "n"), Increment: 1}
	for _, before := range []int64{0, 1} { // what was written in the mutation before
		h := newReceiver(t)
		if err := h.store.db.Set(rowKey("h", "bad"), []byte("no value"), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		for range before {
			if reply, err := h.evaluate(base.RPCIncr, incr); err != nil || reply.Refused() {
				t.Fatalf("%+v, %v", reply, err)
			}
		}
		arg := &dupinternal.DuplicateRequest{Entries: []dupinternal.DuplicateEntry{sentPut(1, 3, "a", "1"), sentPut(1, 3, "bad", "1")}}
		if payload, reply, touched, err := h.store.Evaluate(&WriteRequest{Code: base.RPCDuplicate, Arg: argReader(arg)}, h.ov, h.payload); err != nil || !reply.Refused() || touched.Dup != nil || len(payload) != len(h.payload) {
			t.Fatalf("%+v, %+v, %v", reply, touched, err)
		}
		for _, put := range []*idl.UpdateRequest{{Key: rowKey("h", "n"), Value: []byte("5")}, {Key: rowKey("h", "long"), Value: make([]byte, 100)}} {
			if reply, err := h.evaluate(base.RPCPut, put); err != nil || reply.Refused() {
				t.Fatalf("%+v, %v", reply, err)
			}
		}
		if reply, err := h.evaluate(base.RPCIncr, incr); err != nil || reply.number != 6 {
			t.Errorf("after %d writes, 5 and 1 are %d, %v", before, reply.number, err)
		}
		h.close()
	}
}

func (h *harness) evaluateOwn(cluster uint8, sortKey, value string) (Reply, error) {
	h.t.Helper()
	payload, reply, _, err := h.store.Evaluate(&WriteRequest{Code: base.RPCPut, Arg: argReader(&idl.UpdateRequest{Key: rowKey("h", sortKey), Value: []byte(value)}), Cluster: cluster}, h.ov, h.payload)
	h.payload = payload
	return reply, err
}

// A mutation gets a later timestamp than what it follows, unless that is from far in the future.
func TestReceiveFollowsClocks(t *testing.T) {
	h := newReceiver(t)
	now := h.clock.now().UnixMicro()
	soon, far := now+time.Minute.Microseconds(), now+2*MaxAhead.Microseconds()
	evaluate := func(ws ...dupinternal.DuplicateEntry) Touched {
		_, _, touched, err := h.store.Evaluate(&WriteRequest{Code: base.RPCDuplicate, Arg: argReader(&dupinternal.DuplicateRequest{Entries: ws}), Cluster: 2}, h.ov, h.payload)
		if err != nil {
			t.Fatal(err)
		}
		return touched
	}
	if x := evaluate(sentPut(soon, 3, "k", "v"), sentPut(now, 3, "l", "v")); x.AfterUS != soon || x.Dup.Future != 0 {
		t.Errorf("%+v", x)
	}
	if x := evaluate(sentPut(far, 3, "k", "v")); x.AfterUS != 0 || x.Dup.Future != 1 || x.Rows != 1 {
		t.Errorf("%+v", x)
	}
	// What loses against a client's write in this mutation makes it later, too; what is from far in
	// the future wins.
	if _, err := h.evaluateOwn(2, "k", "own"); err != nil {
		t.Fatal(err)
	}
	if x := evaluate(verified(sentPut(soon, 3, "k", "v"))); x.AfterUS != soon || x.Dup.Stale != 1 || x.Rows != 0 {
		t.Errorf("%+v", x)
	}
	if x := evaluate(verified(sentPut(far, 3, "k", "v"))); x.AfterUS != 0 || x.Dup.Stale != 0 || x.Rows != 1 {
		t.Errorf("%+v", x)
	}
}

// What can't be applied is left out and told, and what stands beside it is applied.
func TestReceiveBadInput(t *testing.T) {
	h := newReceiver(t)
	h.store.SetPartitionCount(4)
	good := func(i int, sortKey string) dupinternal.DuplicateEntry {
		return sent(base.RPCPut, int64(i), 3, &idl.UpdateRequest{Key: keyIn(t, 2, 4, sortKey), Value: []byte("v")})
	}
	with := func(change func(*dupinternal.DuplicateEntry)) dupinternal.DuplicateEntry {
		w := good(7, "bad")
		change(&w)
		return w
	}
	for i, c := range []struct {
		name string
		w    dupinternal.DuplicateEntry
		lost int
		own  int
		why  string
	}{
		{"own", with(func(w *dupinternal.DuplicateEntry) { w.ClusterId.V = 2 }), 0, 1, ""},
		{"no code", with(func(w *dupinternal.DuplicateEntry) { w.TaskCode = base.Opt[base.TaskCode]{} }), 1, 0, "can't be repeated"},
		{"unknown code", with(func(w *dupinternal.DuplicateEntry) { w.TaskCode.V = "RPC_X" }), 1, 0, "RPC_X: such requests can't be repeated"},
		{"an increment", with(func(w *dupinternal.DuplicateEntry) {
			*w = sent(base.RPCIncr, 7, 3, &idl.IncrRequest{Key: rowKey("h", "bad"), Increment: 1})
		}), 1, 0, "INCR: such requests can't be repeated"},
		{"a bulk load", with(func(w *dupinternal.DuplicateEntry) { w.TaskCode.V = base.RPCIngest }), 1, 0, "BULK_LOAD: such requests"},
		{"no message", with(func(w *dupinternal.DuplicateEntry) { w.RawMessage = base.Opt[[]byte]{} }), 1, 0, "PUT: its message is no argument"},
		{"cut", with(func(w *dupinternal.DuplicateEntry) { w.RawMessage.V = w.RawMessage.V[:len(w.RawMessage.V)/2] }), 1, 0, "PUT: its message is damaged"},
		{"more behind it", with(func(w *dupinternal.DuplicateEntry) { w.RawMessage.V = append(w.RawMessage.V, 0) }), 1, 0, "PUT: its message is damaged"},
		{"of another request", with(func(w *dupinternal.DuplicateEntry) { w.TaskCode.V = base.RPCMultiRemove }), 1, 0, "MULTI_REMOVE: "},
		{"no key", with(func(w *dupinternal.DuplicateEntry) { *w = sent(base.RPCPut, 7, 3, &idl.UpdateRequest{}) }), 1, 0, "PUT: its key is invalid"},
		{"a short key", with(func(w *dupinternal.DuplicateEntry) { *w = sent(base.RPCRemove, 7, 3, blobArg{0, 9, 'x'}) }), 1, 0, "REMOVE: its key is invalid"},
		{"a long hash key", with(func(w *dupinternal.DuplicateEntry) {
			*w = sent(base.RPCMultiPut, 7, 3, &idl.MultiPutRequest{HashKey: make([]byte, 1<<16), Kvs: make([]idl.KeyValue, 1)})
		}), 1, 0, "MULTI_PUT: its hash key is too long"},
		{"no rows", with(func(w *dupinternal.DuplicateEntry) {
			*w = sent(base.RPCMultiPut, 7, 3, &idl.MultiPutRequest{HashKey: []byte("h")})
		}), 0, 0, ""},
		{"before 1970", with(func(w *dupinternal.DuplicateEntry) { w.Timestamp.V = -1 }), 1, 0, "its timestamp is -1"},
		{"after all times", with(func(w *dupinternal.DuplicateEntry) { w.Timestamp.V = 1 << 56 }), 1, 0, "its timestamp is"},
		{"cluster 200", with(func(w *dupinternal.DuplicateEntry) { w.ClusterId.V = -56 }), 1, 0, "it is of cluster 200"},
		{"a large row", with(func(w *dupinternal.DuplicateEntry) {
			*w = sent(base.RPCPut, 7, 3, &idl.UpdateRequest{Key: keyIn(t, 1, 4, "bad"), Value: make([]byte, 1<<20)})
		}), 1, 0, "PUT: a row of it takes more than 1048576 bytes"},
	} {
		before, after := fmt.Sprintf("before%d", i), fmt.Sprintf("after%d", i)
		d := h.receive(2, good(7, before), c.w, good(8, after))
		if d.Writes != 3 || d.Lost != c.lost || d.Own != c.own || d.Stale != 0 || !strings.Contains(d.Reason, c.why) {
			t.Errorf("%s: %+v", c.name, d)
		}
		for _, k := range []string{before, after} {
			if !h.has(keyIn(t, 2, 4, k)) {
				t.Errorf("%s: what stands beside it isn't applied", c.name)
			}
		}
		if h.has(keyIn(t, 2, 4, "bad")) || h.has(keyIn(t, 1, 4, "bad")) {
			t.Errorf("%s is applied", c.name)
		}
		h.receive(2, c.w) // alone
	}
	// A request that isn't one gets an error, as its sender can't have sent that.
	whole := (&dupinternal.DuplicateRequest{Entries: []dupinternal.DuplicateEntry{good(1, "x")}}).AppendThrift(nil)
	for n := range len(whole) {
		_, _, _, err := h.store.Evaluate(&WriteRequest{Code: base.RPCDuplicate, Arg: *tbin.NewReader(whole[:n])}, h.ov, nil)
		if base.CodeOf(err) != base.ErrInvalidData {
			t.Fatalf("the first %d of %d bytes: %v", n, len(whole), err)
		}
	}
}

func (h *harness) has(key []byte) bool {
	h.t.Helper()
	r, code := h.store.lookup(key, 1)
	if code == codeOK {
		_ = r.closer.Close()
	}
	return code == codeOK
}

// keyIn returns a key of a partition.
func keyIn(t *testing.T, index, count int32, sortKey string) []byte {
	for i := range 1000 {
		if k := rowKey(fmt.Sprint("h", i), sortKey); inPartition(k, index, count) {
			return k
		}
	}
	t.Fatal("no such key")
	return nil
}

// The writes of a cluster with a number carry it, on every replica, also when the replica that applies
// them has been told of another number since; without a number nothing changes.
func TestClusterOfWrites(t *testing.T) {
	h := newHarness(t, nil)
	for _, cluster := range []uint8{0, 5, 127} {
		h.payload = nil
		for _, k := range []string{"a", "b"} {
			if _, err := h.evaluateOwn(cluster, k, "v"); err != nil {
				t.Fatal(err)
			}
		}
		want := AppendOp(AppendOp(nil, Op{Key: rowKey("h", "a"), Value: []byte("v")}), Op{Key: rowKey("h", "b"), Value: []byte("v")})
		if cluster != 0 {
			want = append([]byte{opCluster, cluster}, want...)
		}
		if string(h.payload) != string(want) {
			t.Errorf("cluster %d: payload %x, want %x", cluster, h.payload, want)
		}
		var op Op
		r, n := NewOpReader(h.payload), 0
		for r.Next(&op) {
			if tag := r.Timetag(&op, 9); tag != MakeTimetag(9, cluster, false) || op.Timetag != 0 {
				t.Errorf("cluster %d: timetag %x", cluster, tag)
			}
			n++
		}
		if n != 2 || r.Err() != nil {
			t.Errorf("%d ops, %v", n, r.Err())
		}
		d := h.propose()
		h.apply()
		h.wantRow("b", "v", MakeTimetag(h.timestamp(d), cluster, false))
	}
	// A refused write leaves no number behind.
	payload, reply, _, err := h.store.Evaluate(&WriteRequest{Code: base.RPCCheckAndSet, Cluster: 5,
		Arg: argReader(&idl.CheckAndSetRequest{HashKey: []byte("h"), CheckSortKey: []byte("a"), CheckType: idl.CT_VALUE_NOT_EXIST})}, h.ov, nil)
	if err != nil || !reply.Refused() || len(payload) != 0 {
		t.Errorf("%d bytes, %v", len(payload), err)
	}
	for _, bad := range [][]byte{{opCluster}, {opCluster, 5}, {opCluster, 128, opDelete, 0}, {opCluster, 5, opCluster, 5}, {opDelete | opExpires, 0}} {
		r := NewOpReader(bad)
		if r.Next(&Op{}) || r.Err() == nil {
			t.Errorf("%x is read", bad)
		}
	}
	// A remove of another cluster keeps its timetag in the mutation.
	op := Op{Key: rowKey("h", "a"), Delete: true, Timetag: MakeTimetag(9, 3, true)}
	r, got := NewOpReader(AppendOp(nil, op)), Op{}
	if !r.Next(&got) || got.Timetag != op.Timetag || !got.Delete || r.Timetag(&got, 1) != op.Timetag {
		t.Errorf("%+v, %v", got, r.Err())
	}
	if ts, c, del := SplitTimetag(op.Timetag); ts != 9 || c != 3 || !del {
		t.Error(ts, c, del)
	}
}
