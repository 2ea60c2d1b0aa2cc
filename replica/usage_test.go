package replica

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/replicaadmin"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
	"pegasus/metrics"
	"pegasus/remotecmd/answer"
)

// TestCapacityUnits compares what each operation costs with upstream's arithmetic.
func TestCapacityUnits(t *testing.T) {
	g := alone(t)
	u := &g.nodes[0].srv.replica(g.gpid).observed
	blob := func(k []byte) value.Value { v := value.Blob(k); return &v }
	hash, big := []byte("hash"), make([]byte, 10000)
	key := base.AppendKey(nil, hash, []byte("s"))
	absent := base.AppendKey(nil, hash, []byte("absent"))
	for _, c := range []struct {
		name        string
		code        string
		arg, res    value.Value
		read, write int64
	}{
		{"put", base.RPCPut, &idl.UpdateRequest{Key: key, Value: big}, new(idl.UpdateResponse), 0, 3},
		{"put of 4096 bytes", base.RPCPut, &idl.UpdateRequest{Key: []byte("\x00\x01ab"), Value: make([]byte, 4092)}, new(idl.UpdateResponse), 0, 1},
		{"put of 4097 bytes", base.RPCPut, &idl.UpdateRequest{Key: []byte("\x00\x01ab"), Value: make([]byte, 4093)}, new(idl.UpdateResponse), 0, 2},
		{"get", base.RPCGet, blob(key), new(idl.ReadResponse), 3, 0},
		{"get of nothing", base.RPCGet, blob(absent), new(idl.ReadResponse), 1, 0},
		{"ttl", base.RPCTTL, blob(key), new(idl.TtlResponse), 1, 0},
		{"sortkey_count", base.RPCSortkeyCount, blob(hash), new(idl.CountResponse), 1, 0},
		{"multi_put", base.RPCMultiPut, &idl.MultiPutRequest{HashKey: hash, Kvs: []idl.KeyValue{{Key: []byte("m1"), Value: big}, {Key: []byte("m2"), Value: big}}}, new(idl.UpdateResponse), 0, 5},
		{"multi_get", base.RPCMultiGet, &idl.MultiGetRequest{HashKey: hash, MaxKvCount: 10, MaxKvSize: 1 << 20, StartInclusive: true}, new(idl.MultiGetResponse), 8, 0},
		{"batch_get", base.RPCBatchGet, &idl.BatchGetRequest{Keys: []idl.FullKey{{HashKey: hash, SortKey: []byte("m1")}}}, new(idl.BatchGetResponse), 3, 0},
		{"scan", base.RPCGetScanner, &idl.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, BatchSize: 100, StartInclusive: true}, new(idl.ScanResponse), 9, 0},
		{"multi_get of keys alone", base.RPCMultiGet, &idl.MultiGetRequest{HashKey: hash, MaxKvCount: 10, MaxKvSize: 1 << 20, StartInclusive: true, NoValue: true}, new(idl.MultiGetResponse), 1, 0},
		{"multi_get of two keys alone", base.RPCMultiGet, &idl.MultiGetRequest{HashKey: hash, SortKeys: [][]byte{[]byte("m1"), []byte("m2")}, NoValue: true}, new(idl.MultiGetResponse), 1, 0},
		{"scan of keys alone", base.RPCGetScanner, &idl.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, BatchSize: 100, StartInclusive: true, NoValue: true}, new(idl.ScanResponse), 1, 0},
		{"scan that counts", base.RPCGetScanner, &idl.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, BatchSize: 100, StartInclusive: true,
			OnlyReturnCount: base.Some(true)}, new(idl.ScanResponse), 1, 0},
		{"scan of an unknown session", base.RPCScan, &idl.ScanRequest{ContextId: 12345}, new(idl.ScanResponse), 1, 0},
		{"multi_remove", base.RPCMultiRemove, &idl.MultiRemoveRequest{HashKey: hash, SortKeys: [][]byte{[]byte("m1")}}, new(idl.MultiRemoveResponse), 0, 1},
		{"remove", base.RPCRemove, blob(key), new(idl.UpdateResponse), 0, 1},
		{"incr", base.RPCIncr, &idl.IncrRequest{Key: absent, Increment: 1}, new(idl.IncrResponse), 1, 1},
		{"incr of no number", base.RPCIncr, &idl.IncrRequest{Key: []byte("\x00\x04hashm2"), Increment: 1}, new(idl.IncrResponse), 1, 0},
		{"check_and_set that fails", base.RPCCheckAndSet, &idl.CheckAndSetRequest{HashKey: hash, CheckSortKey: []byte("m2"), CheckType: idl.CT_VALUE_NOT_EXIST,
			SetDiffSortKey: true, SetSortKey: []byte("x"), SetValue: big}, new(idl.CheckAndSetResponse), 1, 0},
		{"check_and_set", base.RPCCheckAndSet, &idl.CheckAndSetRequest{HashKey: hash, CheckSortKey: []byte("m2"), CheckType: idl.CT_VALUE_EXIST,
			SetDiffSortKey: true, SetSortKey: []byte("x"), SetValue: big}, new(idl.CheckAndSetResponse), 1, 3},
		{"check_and_mutate", base.RPCCheckAndMutate, &idl.CheckAndMutateRequest{HashKey: hash, CheckSortKey: []byte("m2"), CheckType: idl.CT_VALUE_EXIST,
			MutateList: []idl.Mutate{{Operation: idl.MO_PUT, SortKey: []byte("y"), Value: big}, {Operation: idl.MO_PUT, SortKey: []byte("z"), Value: big}}}, new(idl.CheckAndMutateResponse), 1, 5},
	} {
		before := u.Counts()
		if err := g.call(0, c.code, c.arg, c.res); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		after := u.Counts()
		read, write := after.ReadUnits-before.ReadUnits, after.WriteUnits-before.WriteUnits
		if read != c.read || write != c.write {
			t.Errorf("%s: %d read units, %d write units, want %d and %d", c.name, read, write, c.read, c.write)
		}
	}
	// The metas are told of them.
	r := g.nodes[0].srv.replica(g.gpid)
	if told, want := r.reported(r.look()), u.Counts(); !told.ReadUnits.Set || told.ReadUnits.V != want.ReadUnits || told.WriteUnits.V != want.WriteUnits || want.ReadUnits == 0 || want.WriteUnits == 0 {
		t.Errorf("the metas are told of %+v and %+v units, and there were %+v", told.ReadUnits, told.WriteUnits, want)
	}
}

// TestReadBytes: keys and values that were answered, a multi_get's hash key once.
func TestReadBytes(t *testing.T) {
	g := alone(t)
	u := &g.nodes[0].srv.replica(g.gpid).observed
	blob := func(k []byte) value.Value { v := value.Blob(k); return &v }
	hash := []byte("hash")
	put := &idl.MultiPutRequest{HashKey: hash, Kvs: []idl.KeyValue{{Key: []byte("m1"), Value: make([]byte, 100)}, {Key: []byte("m2"), Value: make([]byte, 200)}}}
	for _, c := range []struct {
		name     string
		code     string
		op       metrics.Op
		arg, res value.Value
		want     int64
	}{
		{"multi_put", base.RPCMultiPut, metrics.OpMultiPut, put, new(idl.UpdateResponse), 4 + 102 + 202},
		{"get", base.RPCGet, metrics.OpGet, blob(base.AppendKey(nil, hash, []byte("m1"))), new(idl.ReadResponse), 2 + 4 + 2 + 100},
		{"get of nothing", base.RPCGet, metrics.OpGet, blob(base.AppendKey(nil, hash, []byte("m9"))), new(idl.ReadResponse), 2 + 4 + 2},
		{"multi_get", base.RPCMultiGet, metrics.OpMultiGet, &idl.MultiGetRequest{HashKey: hash, StartInclusive: true}, new(idl.MultiGetResponse), 4 + 102 + 202},
		{"multi_get of keys alone", base.RPCMultiGet, metrics.OpMultiGet, &idl.MultiGetRequest{HashKey: hash, StartInclusive: true, NoValue: true}, new(idl.MultiGetResponse), 4 + 2 + 2},
		{"scan of keys alone", base.RPCGetScanner, metrics.OpScan, &idl.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, NoValue: true}, new(idl.ScanResponse), 8 + 8},
	} {
		before := u.Counts().Bytes[c.op]
		if err := g.call(0, c.code, c.arg, c.res); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if n := u.Counts().Bytes[c.op] - before; n != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, n, c.want)
		}
	}
}

// TestDetectHotkey is a detection by RPC from start to result, with upstream's words.
func TestDetectHotkey(t *testing.T) {
	g := newGroupWith(t, 1, func(c *config.Config) {
		c.Replica.MinReplicas = 1
		c.Replica.HotKeyInterval = config.Duration(time.Second)
	})
	detect := func(typ replicaadmin.HotkeyType, a replicaadmin.DetectAction) replicaadmin.DetectHotkeyResponse {
		t.Helper()
		var res replicaadmin.DetectHotkeyResponse
		if err := g.call(0, "RPC_DETECT_HOTKEY", &replicaadmin.DetectHotkeyRequest{Type: typ, Action: a, Pid: g.gpid}, &res); err != nil {
			t.Fatal(err)
		}
		return res
	}
	const write, read = replicaadmin.WRITE, replicaadmin.READ
	for _, c := range []struct {
		typ  replicaadmin.HotkeyType
		act  replicaadmin.DetectAction
		err  base.ErrorCode
		hint string
	}{
		{write, replicaadmin.QUERY, base.ErrBusy, "Can't get hotkey now, now state: hotkey_collector_state::STOPPED"},
		{write, replicaadmin.STOP, base.ErrOK, ""},
		{write, replicaadmin.START, base.ErrOK, "starting to detect replication::hotkey_type::WRITE hotkey"},
		{write, replicaadmin.START, base.ErrBusy, "still detecting replication::hotkey_type::WRITE hotkey, state is hotkey_collector_state::COARSE_DETECTING"},
		{read, replicaadmin.START, base.ErrOK, "starting to detect replication::hotkey_type::READ hotkey"},
		{read, replicaadmin.STOP, base.ErrOK, ""},
		{read, 3, base.ErrInvalidParameters, "invalid detect_action"},
		{2, replicaadmin.START, base.ErrInvalidParameters, "invalid hotkey_type"},
	} {
		if r := detect(c.typ, c.act); r.Err != c.err || r.ErrHint.Or("") != c.hint {
			t.Errorf("type %d action %d: %v %q, want %v %q", c.typ, c.act, r.Err, r.ErrHint.Or(""), c.err, c.hint)
		}
	}
	n := 0
	mix := func() {
		for range 20 {
			n++
			g.mustPut(0, fmt.Sprintf("key%d", n%50), "v")
			for range 3 {
				g.mustPut(0, "h\"\x01t", "v")
			}
		}
	}
	until(t, "the hot key is found", func() bool {
		mix()
		return detect(write, replicaadmin.QUERY).Err == base.ErrOK
	})
	if r := detect(write, replicaadmin.QUERY); r.HotkeyResult.Or("") != `h\"\x01t` {
		t.Errorf("the hot key is %q", r.HotkeyResult.Or(""))
	}
	if r := detect(write, replicaadmin.START); r.Err != base.ErrBusy {
		t.Errorf("start with a result: %v", r.Err)
	}
	// The sketch has seen it too.
	var found []answer.HotKeys
	until(t, "the sketch's span is over", func() bool {
		mix() // what was written before the last span isn't told any more
		found = nil
		if err := json.Unmarshal([]byte(g.run(0, "replica.hotkeys", "1")), &found); err != nil {
			t.Fatal(err)
		}
		return len(found) > 0 && len(found[0].Writes) > 0
	})
	if k := found[0].Writes[0]; string(k.Key) != "h\"\x01t" || k.Percent < 50 {
		t.Errorf("the sketch says %q with %v %%", k.Key, k.Percent)
	}
}
