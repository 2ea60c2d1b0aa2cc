package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/client/clienttest"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

func setup(t *testing.T, opts client.Options) (*clienttest.Cluster, *client.Client, *client.Table) {
	t.Helper()
	k := clienttest.Start(t, 3)
	k.CreateTable("temp", 8, 3)
	opts.BackoffMin = time.Millisecond
	c := client.New([]string{k.Meta}, opts)
	t.Cleanup(c.Close)
	tb, err := c.Table(context.Background(), "temp")
	if err != nil {
		t.Fatal(err)
	}
	return k, c, tb
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRows(t *testing.T) {
	for _, framing := range []rpc.Framing{rpc.RDSN, rpc.THFT0, rpc.THFT1} {
		t.Run(framing.String(), func(t *testing.T) {
			ctx := context.Background()
			k, _, tb := setup(t, client.Options{Framing: framing})
			h, s := []byte("user\x00\xff"), []byte{0, 1, 2}
			if _, found, err := tb.Get(ctx, h, s); found || err != nil {
				t.Fatalf("get of nothing: %v, %v", found, err)
			}
			check(t, tb.Set(ctx, h, s, []byte("value"), 0))
			v, found, err := tb.Get(ctx, h, s)
			if string(v) != "value" || !found || err != nil {
				t.Fatalf("get: %q, %v, %v", v, found, err)
			}
			if ttl, found, err := tb.TTL(ctx, h, s); ttl != -1 || !found || err != nil {
				t.Errorf("ttl: %v, %v, %v", ttl, found, err)
			}
			check(t, tb.Set(ctx, h, nil, nil, 100))
			if ttl, found, err := tb.TTL(ctx, h, nil); ttl < 95 || ttl > 100 || !found || err != nil {
				t.Errorf("ttl of a row that expires: %v, %v, %v", ttl, found, err)
			}
			k.SetNow(func() time.Time { return time.Now().Add(101 * time.Second) })
			if _, found, _ := tb.Get(ctx, h, nil); found {
				t.Error("the row didn't expire: the expiry was sent wrong")
			}
			check(t, tb.Del(ctx, h, s))
			if _, found, err := tb.TTL(ctx, h, s); found || err != nil {
				t.Errorf("ttl after del: %v, %v", found, err)
			}
			for i, want := range []int64{5, 10} {
				if n, err := tb.Incr(ctx, h, []byte("n"), 5, 0); n != want || err != nil {
					t.Errorf("incr %d: %d, %v", i, n, err)
				}
			}
			check(t, tb.Set(ctx, h, []byte("n"), []byte("no number"), 0))
			var se *client.StoreError
			if _, err := tb.Incr(ctx, h, []byte("n"), 1, 0); !errors.As(err, &se) || se.Code != client.CodeInvalidArgument {
				t.Errorf("incr of text: %v", err)
			}
			if err := tb.Set(ctx, make([]byte, 65535), nil, nil, 0); !errors.Is(err, base.ErrInvalidParameters) {
				t.Errorf("long hash key: %v", err)
			}
			// A row without a hash key goes where its sort key's hash says.
			check(t, tb.Set(ctx, nil, []byte("alone"), []byte("x"), 0))
			if v, found, err := tb.Get(ctx, nil, []byte("alone")); string(v) != "x" || !found || err != nil {
				t.Errorf("row without hash key: %q, %v, %v", v, found, err)
			}
		})
	}
}

func TestMulti(t *testing.T) {
	ctx := context.Background()
	_, _, tb := setup(t, client.Options{})
	h := []byte("h")
	var rows []client.KV
	for i := range 10 {
		rows = append(rows, client.KV{SortKey: fmt.Appendf(nil, "s%d", i), Value: fmt.Appendf(nil, "v%d", i)})
	}
	check(t, tb.MultiSet(ctx, h, rows, 0))
	if n, err := tb.SortKeyCount(ctx, h); n != 10 || err != nil {
		t.Errorf("count: %d, %v", n, err)
	}
	for _, tc := range []struct {
		o    client.MultiGetOptions
		want string
		all  bool
	}{
		{client.MultiGetOptions{}, "s0 s1 s2 s3 s4 s5 s6 s7 s8 s9", true},
		{client.MultiGetOptions{From: []byte("s7")}, "s7 s8 s9", true},
		{client.MultiGetOptions{From: []byte("s7"), FromExclusive: true, To: []byte("s9")}, "s8", true},
		{client.MultiGetOptions{From: []byte("s7"), To: []byte("s9"), ToInclusive: true}, "s7 s8 s9", true},
		{client.MultiGetOptions{MaxCount: 2}, "s0 s1", false},
		{client.MultiGetOptions{MaxCount: 2, Reverse: true}, "s8 s9", false},
		{client.MultiGetOptions{Filter: client.Filter{Type: rrdb.FT_MATCH_POSTFIX, Pattern: []byte("3")}}, "s3", true},
		{client.MultiGetOptions{SortKeys: [][]byte{[]byte("s4"), []byte("no"), []byte("s2")}}, "s4 s2", true},
	} {
		got, all, err := tb.MultiGet(ctx, h, tc.o)
		check(t, err)
		var keys []string
		for _, r := range got {
			keys = append(keys, string(r.SortKey))
			if string(r.Value) != "v"+string(r.SortKey[1:]) {
				t.Errorf("%+v: row %q => %q", tc.o, r.SortKey, r.Value)
			}
		}
		if s := strings.Join(keys, " "); s != tc.want || all != tc.all {
			t.Errorf("%+v: got %s, %v", tc.o, s, all)
		}
	}
	check(t, tb.MultiDel(ctx, h, [][]byte{[]byte("s0"), []byte("s1")}))
	if n, err := tb.SortKeyCount(ctx, h); n != 8 || err != nil {
		t.Errorf("count after del: %d, %v", n, err)
	}
	if _, _, err := tb.MultiGet(ctx, nil, client.MultiGetOptions{}); !errors.Is(err, base.ErrInvalidParameters) {
		t.Errorf("empty hash key: %v", err)
	}
	var keys []client.FullRow
	for i := range 50 {
		hk := fmt.Appendf(nil, "b%d", i)
		check(t, tb.Set(ctx, hk, hk, hk, 0))
		keys = append(keys, client.FullRow{HashKey: hk, SortKey: hk}, client.FullRow{HashKey: hk, SortKey: []byte("none")})
	}
	got, err := tb.BatchGet(ctx, keys)
	check(t, err)
	if len(got) != 50 {
		t.Errorf("batch-get: %d rows of 50", len(got))
	}
	c, err := tb.CheckAndSet(ctx, h, client.Check{SortKey: []byte("s2"), Type: rrdb.CT_VALUE_BYTES_EQUAL, Operand: []byte("v2"), ReturnValue: true}, []byte("new"), []byte("x"), 0)
	if err != nil || !c.Applied || !c.Exists || string(c.Value) != "v2" {
		t.Errorf("check-and-set: %+v, %v", c, err)
	}
	c, err = tb.CheckAndSet(ctx, h, client.Check{SortKey: []byte("s2"), Type: rrdb.CT_VALUE_NOT_EXIST}, []byte("new"), []byte("y"), 0)
	if err != nil || c.Applied {
		t.Errorf("check-and-set that must fail: %+v, %v", c, err)
	}
	if v, _, _ := tb.Get(ctx, h, []byte("new")); string(v) != "x" {
		t.Errorf("new row: %q", v)
	}
}

func TestUnknownTable(t *testing.T) {
	_, c, tb := setup(t, client.Options{})
	_, err := c.Table(context.Background(), "none")
	if !errors.Is(err, base.ErrObjectNotFound) || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("got %v", err)
	}
	// A table that is dropped while it is in use: the meta's word ends the retries.
	check(t, c.Admin().DropTable(context.Background(), "temp", 0, false))
	_, err = c.Admin().QueryConfig(context.Background(), "temp")
	if !errors.Is(err, base.ErrObjectNotFound) {
		t.Errorf("config of a dropped table: %v", err)
	}
	_ = tb
}

func TestDroppedTableEndsRetries(t *testing.T) {
	k, c, tb := setup(t, client.Options{})
	check(t, c.Admin().DropTable(context.Background(), "temp", 0, false))
	k.SetHook(func(server int, r *rpc.Request) bool {
		if server >= 0 {
			r.ReplyError(base.ErrObjectNotFound)
		}
		return server >= 0
	})
	start := time.Now()
	err := tb.Set(context.Background(), []byte("h"), nil, nil, 0)
	var ae *client.AdminError
	if !errors.As(err, &ae) || ae.Code != base.ErrObjectNotFound {
		t.Errorf("got %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestPrimaryMoves(t *testing.T) {
	ctx := context.Background()
	k, _, tb := setup(t, client.Options{})
	for i := range 100 {
		h := fmt.Appendf(nil, "h%d", i)
		check(t, tb.Set(ctx, h, nil, h, 0))
		k.MovePrimary("temp", i%8, (i/8)%3)
		v, found, err := tb.Get(ctx, h, nil)
		if err != nil || !found || !bytes.Equal(v, h) {
			t.Fatalf("row %d after a move: %q, %v, %v", i, v, found, err)
		}
	}
}

func TestNoPrimaryForAWhile(t *testing.T) {
	k, _, tb := setup(t, client.Options{})
	for p := range 8 {
		k.MovePrimary("temp", p, -1)
	}
	result := make(chan error, 1)
	go func() { result <- tb.Set(context.Background(), []byte("h"), nil, nil, 0) }()
	before := k.Seen("RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX")
	for k.Seen("RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX") < before+2 {
		select {
		case err := <-result:
			t.Fatalf("ended early: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	for p := range 8 {
		k.MovePrimary("temp", p, 1)
	}
	select {
	case err := <-result:
		check(t, err)
	case <-time.After(time.Minute):
		t.Fatal("the write didn't go on when there was a primary again")
	}
}

// What each error of a server leads to: attempts counted at the server.
func TestErrors(t *testing.T) {
	write := func(tb *client.Table, ctx context.Context) error {
		return tb.Set(ctx, []byte("h"), nil, nil, 0)
	}
	incr := func(tb *client.Table, ctx context.Context) error {
		_, err := tb.Incr(ctx, []byte("h"), nil, 1, 0)
		return err
	}
	for _, tc := range []struct {
		name    string
		op      func(*client.Table, context.Context) error
		code    base.ErrorCode
		once    bool // the error comes once, then all is well
		noRe    bool
		again   bool
		unknown bool
	}{
		{"wrong state", write, base.ErrInvalidState, true, false, true, false},
		{"not here", write, base.ErrObjectNotFound, true, false, true, false},
		{"full", write, base.ErrCapacityExceeded, true, false, true, false},
		{"few members", incr, base.ErrNotEnoughMember, true, false, true, false},
		{"timeout of a set", write, base.ErrTimeout, true, false, true, false},
		{"timeout of a set, not to be repeated", write, base.ErrTimeout, true, true, false, true},
		{"timeout of an incr", incr, base.ErrTimeout, true, false, false, true},
		{"busy", write, base.ErrBusy, false, false, false, false},
		{"too large", write, base.ErrInvalidData, false, false, false, false},
		{"denied", write, base.ErrACLDeny, false, false, false, false},
		{"for ever", write, base.ErrNotEnoughMember, false, false, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, _, tb := setup(t, client.Options{NoResend: tc.noRe, BackoffMax: 5 * time.Millisecond})
			var seen atomic.Int32
			k.SetHook(func(server int, r *rpc.Request) bool {
				if server < 0 || seen.Add(1) > 1 && tc.once {
					return false
				}
				r.ReplyError(tc.code)
				return true
			})
			attempt := func(within time.Duration) error {
				ctx, cancel := context.WithTimeout(context.Background(), within)
				defer cancel()
				seen.Store(0)
				return tc.op(tb, ctx)
			}
			var err error
			if tc.once || !tc.again {
				err = attempt(30 * time.Second)
			} else {
				// Where the deadline meets an attempt that is under way, its outcome isn't known.
				for range 50 {
					var ce *client.Error
					if err = attempt(400 * time.Millisecond); !errors.Is(err, base.ErrTimeout) {
						break
					}
					if !errors.As(err, &ce) || !ce.Unknown {
						t.Errorf("cut off: %v", err)
					}
				}
			}
			if tc.again != (seen.Load() > 1) {
				t.Errorf("%d attempts", seen.Load())
			}
			if tc.once && tc.again {
				check(t, err)
				return
			}
			var ce *client.Error
			if !errors.As(err, &ce) || !errors.Is(err, tc.code) {
				t.Fatalf("got %v", err)
			}
			if ce.Unknown != tc.unknown || ce.Addr == "" || ce.Table != "temp" || ce.Attempts != int(seen.Load()) {
				t.Errorf("got %+v after %d attempts", ce, seen.Load())
			}
		})
	}
}

// A write is told of each attempt that got no answer, also if a later one succeeds.
func TestLostAttempts(t *testing.T) {
	k, _, tb := setup(t, client.Options{AttemptTimeout: 50 * time.Millisecond, Timeout: time.Minute})
	var seen, lost atomic.Int64
	k.SetHook(func(_ int, r *rpc.Request) bool {
		if r.Code != base.RPCPut || seen.Add(1) > 2 {
			return false
		}
		r.Drop()
		return true
	})
	arg := &rrdb.UpdateRequest{Key: base.AppendKey(nil, []byte("h"), nil), Value: []byte("v")}
	op := client.Op{Code: base.RPCPut, Hash: base.HashOf([]byte("h"), nil), Arg: arg, Write: true, Lost: func() { lost.Add(1) }}
	type result struct {
		err  error
		lost int64
	}
	done := make(chan result, 1)
	tb.Go(op, 0, func(_ []byte, err error) { done <- result{err, lost.Load()} })
	// A slow machine may lose more of them.
	if r := <-done; r.err != nil || r.lost < 2 {
		t.Errorf("%v, %d attempts were told as lost", r.err, r.lost)
	}
}

func TestSilentServer(t *testing.T) {
	k, _, tb := setup(t, client.Options{AttemptTimeout: 50 * time.Millisecond})
	var silent atomic.Bool
	silent.Store(true)
	k.SetHook(func(server int, r *rpc.Request) bool {
		if server < 0 || !silent.Load() {
			return false
		}
		r.Drop()
		return true
	})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := tb.Set(ctx, []byte("h"), nil, nil, 0)
	var ce *client.Error
	if !errors.As(err, &ce) || !errors.Is(err, base.ErrTimeout) || !ce.Unknown || ce.Attempts < 2 {
		t.Errorf("got %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v of a deadline of 300ms", d)
	}
	// Another server takes over: the call in flight finds it.
	result := make(chan error, 1)
	go func() { result <- tb.Set(context.Background(), []byte("h"), nil, nil, 0) }()
	n := k.Seen("RPC_RRDB_RRDB_PUT")
	for k.Seen("RPC_RRDB_RRDB_PUT") == n {
		<-time.After(time.Millisecond)
	}
	silent.Store(false)
	for p := range 8 {
		k.MovePrimary("temp", p, 2)
	}
	check(t, <-result)
}

func TestCancelledContext(t *testing.T) {
	k, _, tb := setup(t, client.Options{})
	came := make(chan struct{}, 10)
	k.SetHook(func(server int, r *rpc.Request) bool {
		if server >= 0 {
			r.Drop()
			came <- struct{}{}
		}
		return server >= 0
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-came
		cancel()
	}()
	err := tb.Set(ctx, []byte("h"), nil, nil, 0)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestFollowerMetas(t *testing.T) {
	k := clienttest.Start(t, 1)
	k.CreateTable("temp", 2, 1)
	// A meta that names the leader, one that knows none, one that isn't there, and the leader
	// itself, which isn't in the list.
	leader, err := base.ParseAddr(k.Meta)
	check(t, err)
	knows, clueless := clienttest.Start(t, 0), clienttest.Start(t, 0)
	follower := func(hint base.RPCAddress) clienttest.Hook {
		return func(_ int, r *rpc.Request) bool {
			res := &layer2.QueryCfgResponse{Err: base.ErrForwardToOthers}
			if hint != 0 {
				res.Partitions = []layer2.PartitionConfiguration{{Primary: hint}}
			}
			r.Reply(res)
			return true
		}
	}
	knows.SetHook(follower(leader))
	clueless.SetHook(follower(0))
	gone := "127.0.0.1:1"
	c := client.New([]string{gone, clueless.Meta, knows.Meta}, client.Options{BackoffMin: time.Millisecond})
	defer c.Close()
	tb, err := c.Table(context.Background(), "temp")
	check(t, err)
	check(t, tb.Set(context.Background(), []byte("h"), nil, nil, 0))
	// The leader is remembered.
	n := knows.Seen("RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX")
	_, err = c.Admin().ListTables(context.Background(), layer2.AS_AVAILABLE)
	check(t, err)
	if knows.Seen("RPC_CM_LIST_APPS") != 0 || knows.Seen("RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX") != n || k.Seen("RPC_CM_LIST_APPS") != 1 {
		t.Error("the leader wasn't asked first")
	}
	lost := client.New([]string{gone, clueless.Meta}, client.Options{Timeout: 100 * time.Millisecond, BackoffMin: time.Millisecond})
	defer lost.Close()
	_, err = lost.Table(context.Background(), "temp")
	if errors.Is(err, context.Canceled) {
		t.Errorf("nobody gave up: %v", err)
	}
	if err == nil || !strings.Contains(err.Error(), "no leading meta server found among") {
		t.Errorf("without a leader: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err = lost.Table(ctx, "temp"); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller gave up: %v", err)
	}
}

// hung is a server that takes connections and says nothing, as a process after SIGSTOP.
func hung(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// A meta that hangs holds nothing up, wherever it stands in the list.
func TestHungMetas(t *testing.T) {
	ctx := context.Background()
	k := clienttest.Start(t, 1)
	k.CreateTable("temp", 1, 1)
	for name, metas := range map[string][]string{
		"first": {hung(t), k.Meta}, "the first two": {hung(t), hung(t), k.Meta}, "last": {k.Meta, hung(t)},
	} {
		c := client.New(metas, client.Options{AttemptTimeout: time.Minute, Timeout: time.Minute})
		defer c.Close()
		began := time.Now()
		_, err := c.Table(ctx, "temp")
		check(t, err)
		_, err = c.Admin().ListTables(ctx, layer2.AS_AVAILABLE)
		check(t, err)
		check(t, c.Admin().DropTable(ctx, "none", 0, true))
		if took := time.Since(began); took > 20*time.Second { // a moment, on a machine that does nothing else
			t.Errorf("with the hung meta %s three calls took %v", name, took)
		}
	}
}

// A follower that relays queries is no leader: it may be of an older version, and know less. It is
// asked only if the leader that it names can't be reached.
func TestRelayingFollower(t *testing.T) {
	ctx := context.Background()
	follower, leader := clienttest.Start(t, 1), clienttest.Start(t, 1)
	leader.CreateTable("temp", 1, 1)
	named, err := base.ParseAddr(leader.Meta)
	check(t, err)
	var relays atomic.Bool
	var leads atomic.Pointer[base.RPCAddress]
	leads.Store(&named)
	follower.SetHook(func(_ int, r *rpc.Request) bool {
		switch {
		case r.Framing.Thrift():
			r.Reply(&layer2.QueryCfgResponse{Err: base.ErrForwardToOthers, Partitions: []layer2.PartitionConfiguration{{Primary: *leads.Load()}}})
		case r.Code == base.RPCListApps && !relays.Load():
			r.ReplyError(base.ErrHandlerNotFound)
		case r.Code == base.RPCListApps:
			r.Reply(&metaadmin.ConfigurationListAppsResponse{Err: base.ErrOK, Infos: make([]layer2.AppInfo, 3)})
		default:
			r.Reply(&layer2.QueryCfgResponse{Err: base.ErrOK})
		}
		return true
	})
	for range 10 { // whoever answers first
		c := client.New([]string{follower.Meta, leader.Meta}, client.Options{Timeout: 20 * time.Second})
		list, err := c.Admin().ListTables(ctx, layer2.AS_AVAILABLE)
		c.Close()
		if err != nil || len(list) != 1 {
			t.Fatalf("the follower was taken for the leader: %v, %v", list, err)
		}
	}
	relays.Store(true)
	nobody, err := base.ParseAddr("127.0.0.1:1")
	check(t, err)
	leads.Store(&nobody)
	c := client.New([]string{follower.Meta, "127.0.0.1:2"}, client.Options{Timeout: 20 * time.Second})
	defer c.Close()
	if list, err := c.Admin().ListTables(ctx, layer2.AS_AVAILABLE); err != nil || len(list) != 3 {
		t.Errorf("by a follower that relays: %v, %v", list, err)
	}
}

// A leader that hangs while it is asked is left for the one that leads after it, and a slow leader
// isn't.
func TestLeaderHangs(t *testing.T) {
	ctx := context.Background()
	old, next := clienttest.Start(t, 1), clienttest.Start(t, 1)
	next.CreateTable("temp", 1, 1)
	var hangs, leads, slow atomic.Bool
	old.SetHook(func(_ int, r *rpc.Request) bool {
		switch {
		case hangs.Load():
			r.Drop()
			leads.Store(true)
			return true
		case slow.Load() && r.Code == base.RPCListApps:
			r.Detach()
			time.AfterFunc(4*time.Second, func() { r.Reply(&metaadmin.ConfigurationListAppsResponse{Err: base.ErrOK}) })
			return true
		}
		return false
	})
	next.SetHook(func(_ int, r *rpc.Request) bool {
		if !leads.Load() && r.Code == base.RPCQueryPartitionConfigByIndex {
			r.Reply(&layer2.QueryCfgResponse{Err: base.ErrForwardToOthers})
			return true
		}
		return false
	})
	c := client.New([]string{next.Meta, old.Meta}, client.Options{Timeout: 20 * time.Second})
	defer c.Close()
	list, err := c.Admin().ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil || len(list) != 0 || old.Seen(base.RPCListApps) != 1 {
		t.Fatalf("the old leader wasn't asked: %v, %v", list, err)
	}
	slow.Store(true)
	if list, err = c.Admin().ListTables(ctx, layer2.AS_AVAILABLE); err != nil || len(list) != 0 || old.Seen(base.RPCListApps) != 2 || next.Seen(base.RPCListApps) != 0 {
		t.Fatalf("a leader that takes its time was left: %v, %v", list, err)
	}
	slow.Store(false)
	// Less time than it takes to find out whether somebody else leads is still time.
	for in, tries := 0, 0; in < 5; tries++ { // a busy machine may take so long
		short, cancel := context.WithTimeout(ctx, 900*time.Millisecond)
		list, err = c.Admin().ListTables(short, layer2.AS_AVAILABLE)
		cancel()
		if err == nil && len(list) == 0 {
			in++
		} else if len(list) != 0 || tries > 20 {
			t.Fatalf("with 900 ms of time, at try %d: %v, %v", tries, list, err)
		}
	}
	hangs.Store(true)
	began := time.Now()
	list, err = c.Admin().ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil || len(list) != 1 {
		t.Errorf("after the leader hung: %v, %v", list, err)
	}
	if took := time.Since(began); took > 15*time.Second { // of 20
		t.Errorf("the hung leader was waited for for %v", took)
	}
}

func TestScans(t *testing.T) {
	ctx := context.Background()
	k, _, tb := setup(t, client.Options{})
	want := map[string]string{}
	for i := range 40 {
		for j := range 25 {
			h, s := fmt.Sprintf("h%02d", i), fmt.Sprintf("s%02d", j)
			check(t, tb.Set(ctx, []byte(h), []byte(s), []byte(h+s), 0))
			want[h+s] = h + s
		}
	}
	t.Run("all", func(t *testing.T) {
		sc, got := tb.ScanAll(client.ScanOptions{Batch: 7}), map[string]string{}
		for sc.Next(ctx) {
			r := sc.Row()
			got[string(r.HashKey)+string(r.SortKey)] = string(r.Value)
		}
		check(t, sc.Err())
		if len(got) != len(want) {
			t.Errorf("%d rows of %d", len(got), len(want))
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("row %s: %q", k, got[k])
			}
		}
	})
	t.Run("sessions lost", func(t *testing.T) {
		sc, seen := tb.ScanAll(client.ScanOptions{Batch: 7}), map[string]int{}
		for i := 0; sc.Next(ctx); i++ {
			r := sc.Row()
			seen[string(r.HashKey)+string(r.SortKey)]++
			if i%10 == 0 {
				k.LoseSessions()
			}
		}
		check(t, sc.Err())
		if len(seen) != len(want) {
			t.Errorf("%d rows of %d", len(seen), len(want))
		}
		for k, n := range seen {
			if n != 1 {
				t.Errorf("row %s met %d times", k, n)
			}
		}
	})
	t.Run("one hash key", func(t *testing.T) {
		sc, err := tb.ScanHash([]byte("h07"), client.ScanOptions{Batch: 3, From: []byte("s03"), To: []byte("s20"), FromExclusive: true, ToInclusive: true, NoValue: true})
		check(t, err)
		var keys []string
		for sc.Next(ctx) {
			if r := sc.Row(); string(r.HashKey) != "h07" || len(r.Value) != 0 {
				t.Errorf("row %q %q => %q", r.HashKey, r.SortKey, r.Value)
			}
			keys = append(keys, string(sc.Row().SortKey))
			k.LoseSessions()
		}
		check(t, sc.Err())
		if len(keys) != 17 || keys[0] != "s04" || keys[16] != "s20" || !slices.IsSorted(keys) {
			t.Errorf("got %v", keys)
		}
	})
	t.Run("empty range", func(t *testing.T) {
		sc, err := tb.ScanHash([]byte("h07"), client.ScanOptions{From: []byte("s20"), To: []byte("s03")})
		check(t, err)
		if sc.Next(ctx) || sc.Err() != nil {
			t.Errorf("row %v, error %v", sc.Row(), sc.Err())
		}
	})
	t.Run("filters", func(t *testing.T) {
		sc := tb.ScanAll(client.ScanOptions{HashFilter: client.Filter{Type: rrdb.FT_MATCH_POSTFIX, Pattern: []byte("7")},
			SortFilter: client.Filter{Type: rrdb.FT_MATCH_PREFIX, Pattern: []byte("s1")}})
		n := 0
		for sc.Next(ctx) {
			n++
		}
		if check(t, sc.Err()); n != 40 {
			t.Errorf("%d rows", n)
		}
	})
	t.Run("count", func(t *testing.T) {
		n, err := tb.ScanAll(client.ScanOptions{Batch: 10}).Count(ctx)
		if check(t, err); n != 1000 {
			t.Errorf("counted %d", n)
		}
		// A session lost in the middle of a partition: it is counted anew, nothing twice.
		var once sync.Once
		k.SetHook(func(server int, r *rpc.Request) bool {
			if r.Code == "RPC_RRDB_RRDB_SCAN" {
				once.Do(k.LoseSessions)
			}
			return false
		})
		n, err = tb.ScanAll(client.ScanOptions{Batch: 10}).Count(ctx)
		if check(t, err); n != 1000 {
			t.Errorf("counted %d after a lost session", n)
		}
		k.SetHook(nil)
		sc, err := tb.ScanHash([]byte("h01"), client.ScanOptions{})
		check(t, err)
		if n, err := sc.Count(ctx); n != 25 || err != nil {
			t.Errorf("hash key counted: %d, %v", n, err)
		}
	})
	t.Run("close", func(t *testing.T) {
		sc := tb.ScanAll(client.ScanOptions{Batch: 1})
		if !sc.Next(ctx) {
			t.Fatal(sc.Err())
		}
		sc.Close()
		for deadline := time.Now().Add(time.Minute); k.Seen("RPC_RRDB_RRDB_CLEAR_SCANNER") == 0; {
			if time.Now().After(deadline) {
				t.Fatal("the session wasn't given up")
			}
			<-time.After(time.Millisecond)
		}
		if sc.Next(ctx) {
			t.Error("a row after Close")
		}
	})
}

// A row's expiry is refused where it can't be written, on each way to write one.
func TestTTLLimits(t *testing.T) {
	ctx := context.Background()
	_, _, tb := setup(t, client.Options{})
	h, s, v := []byte("h"), []byte("s"), []byte("v")
	for _, ttl := range []int{-1, -1 << 40, 1<<31 - 1, 1 << 31, 1<<32 + 1, 1<<63 - 1} {
		_, errSet := tb.CheckAndSet(ctx, h, client.Check{SortKey: s}, s, v, ttl)
		_, errMutate := tb.CheckAndMutate(ctx, h, client.Check{SortKey: s}, []client.Mutation{{SortKey: s, Value: v, TTL: ttl}})
		errs := map[string]error{"set": tb.Set(ctx, h, s, v, ttl), "multi-set": tb.MultiSet(ctx, h, []client.KV{{SortKey: s, Value: v}}, ttl),
			"check-and-set": errSet, "check-and-mutate": errMutate}
		if ttl > 0 {
			_, errs["incr"] = tb.Incr(ctx, h, s, 1, ttl)
		}
		for op, err := range errs {
			if !errors.Is(err, base.ErrInvalidParameters) || !strings.Contains(err.Error(), op) {
				t.Errorf("%s with a TTL of %d: %v", op, ttl, err)
			}
		}
	}
	if _, found, err := tb.Get(ctx, h, s); found || err != nil {
		t.Errorf("a refused write was made: %v, %v", found, err)
	}
	for _, n := range []int{-1, 1 << 31, 1<<32 + 1} {
		if _, _, err := tb.MultiGet(ctx, h, client.MultiGetOptions{MaxCount: n}); !errors.Is(err, base.ErrInvalidParameters) {
			t.Errorf("multi-get of at most %d rows: %v", n, err)
		}
		if _, err := tb.ScanHash(h, client.ScanOptions{Batch: n}); !errors.Is(err, base.ErrInvalidParameters) {
			t.Errorf("scan of %d rows a page: %v", n, err)
		}
		if sc := tb.ScanAll(client.ScanOptions{Batch: n}); sc.Next(ctx) || !errors.Is(sc.Err(), base.ErrInvalidParameters) {
			t.Errorf("scan of all rows, %d a page: %v", n, sc.Err())
		}
	}
}

// What the server would call an invalid argument is named.
func TestInvalidArguments(t *testing.T) {
	ctx := context.Background()
	k, _, tb := setup(t, client.Options{})
	h, s := []byte("h"), []byte("s")
	_, noSteps := tb.CheckAndMutate(ctx, h, client.Check{SortKey: s}, nil)
	_, noType := tb.CheckAndSet(ctx, h, client.Check{SortKey: s, Type: 99}, s, s, 0)
	check(t, tb.Set(ctx, h, s, []byte("many"), 0))
	_, noNumber := tb.Incr(ctx, h, s, 1, 0)
	k.SetHook(func(_ int, r *rpc.Request) bool {
		if r.Code != base.RPCCheckAndSet {
			return false
		}
		r.Reply(&rrdb.CheckAndSetResponse{Error: client.CodeInvalidArgument})
		return true
	})
	_, notCompared := tb.CheckAndSet(ctx, h, client.Check{SortKey: s, Type: rrdb.CT_VALUE_INT_EQUAL, Operand: []byte("x")}, s, s, 0)
	for _, tc := range []struct {
		err  error
		want string
	}{
		{tb.MultiSet(ctx, h, nil, 0), "multi-set: there are no rows"},
		{tb.MultiDel(ctx, h, nil), "multi-del: there are no sort keys"},
		{noSteps, "check-and-mutate: there are no steps"},
		{noType, "check-and-set: check type 99 is unknown"},
		{noNumber, "incr: invalid argument (code 4): the row's value is not a decimal number"},
		{notCompared, "check-and-set: invalid argument (code 4): the operand, or the value of the row to check, is not a whole number"},
	} {
		if tc.err == nil || !strings.Contains(tc.err.Error(), tc.want) {
			t.Errorf("%v, want %q", tc.err, tc.want)
		}
	}
}

func TestAdmin(t *testing.T) {
	ctx := context.Background()
	k, c, _ := setup(t, client.Options{})
	a := c.Admin()
	id, err := a.CreateTable(ctx, "stat", 4, 2, client.CreateOptions{Envs: []base.Pair[string, string]{{Key: "business.info", Val: "b"}}})
	if err != nil || id != 2 {
		t.Fatalf("create: %d, %v", id, err)
	}
	// What messages can't hold, and what the servers would ignore, isn't sent.
	for _, bad := range []struct {
		partitions, replicas int
		setting, value, want string
	}{
		{1<<32 + 4, 2, "business.info", "x", "the number of partitions is 4294967300: give 1 to 1048576"},
		{-1, 2, "business.info", "x", "the number of partitions is -1"},
		{4, 1<<32 + 2, "business.info", "x", "the number of replicas is 4294967298"},
		{4, 2, "nosuch", "x", "nosuch: unknown setting"},
		{4, 2, "default_ttl", "-1", "default_ttl: invalid value '-1', should be '>= 0'"},
	} {
		sent := k.Seen(base.RPCCreateApp)
		_, err := a.CreateTable(ctx, "bad", bad.partitions, bad.replicas, client.CreateOptions{Envs: []base.Pair[string, string]{{Key: bad.setting, Val: bad.value}}})
		if !errors.Is(err, base.ErrInvalidParameters) || !strings.Contains(err.Error(), bad.want) || k.Seen(base.RPCCreateApp) != sent {
			t.Errorf("create %+v: %v", bad, err)
		}
	}
	for _, reserve := range []time.Duration{-time.Nanosecond, -time.Hour, 1 << 62} {
		if err := a.DropTable(ctx, "none", reserve, true); !errors.Is(err, base.ErrInvalidParameters) {
			t.Errorf("drop with a reserve of %v: %v", reserve, err)
		}
	}
	if _, err := a.Explain(ctx, "temp", 1<<32); !errors.Is(err, base.ErrInvalidParameters) {
		t.Errorf("explain: %v", err)
	}
	_, err = a.CreateTable(ctx, "stat", 4, 2, client.CreateOptions{})
	if !errors.Is(err, base.ErrAppExist) || !strings.Contains(err.Error(), `create table "stat"`) {
		t.Errorf("create again: %v", err)
	}
	tables, err := a.ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil || len(tables) != 2 || tables[0].AppName != "temp" || tables[1].AppName != "stat" || len(tables[1].Envs) != 1 {
		t.Errorf("list: %+v, %v", tables, err)
	}
	nodes, err := a.ListNodes(ctx)
	if err != nil || len(nodes) != 3 || !nodes[0].Alive {
		t.Errorf("nodes: %+v, %v", nodes, err)
	}
	q, err := a.QueryConfig(ctx, "stat")
	if err != nil || len(q.Partitions) != 4 || len(q.Partitions[0].Secondaries) != 1 {
		t.Errorf("config: %+v, %v", q, err)
	}
	info, err := a.ClusterInfo(ctx)
	if err != nil || len(info) != 1 || info[0].Val != "fake" {
		t.Errorf("cluster info: %v, %v", info, err)
	}
	check(t, a.DropTable(ctx, "stat", time.Hour, false))
	if err := a.DropTable(ctx, "stat", 0, false); !errors.Is(err, base.ErrAppNotExist) {
		t.Errorf("drop again: %v", err)
	}
	check(t, a.SetEnvs(ctx, "temp", []base.Pair[string, string]{{Key: "default_ttl", Val: "9"}, {Key: "business.info", Val: "x"}}))
	check(t, a.DelEnvs(ctx, "temp", []string{"business.info", "never.set"}))
	if tables, err := a.ListTables(ctx, layer2.AS_AVAILABLE); err != nil || len(tables) != 1 || len(tables[0].Envs) != 1 || tables[0].Envs[0].Val != "9" {
		t.Errorf("with a setting: %+v, %v", tables, err)
	}
	if err := a.ProposeMovePrimary(ctx, base.Gpid{}, 0, 0); !errors.Is(err, base.ErrHandlerNotFound) {
		t.Errorf("unknown to the server: %v", err)
	}
}

// Many callers whose server disappears share the look-ups.
func TestLookUpsAreShared(t *testing.T) {
	k, _, tb := setup(t, client.Options{})
	for p := range 8 {
		k.MovePrimary("temp", p, (p+1)%3)
	}
	before := k.Seen("RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX")
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if err := tb.Set(context.Background(), fmt.Appendf(nil, "h%d", i), nil, nil, 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := k.Seen("RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX") - before; n < 1 || n > 5 {
		t.Errorf("%d look-ups for 200 calls after one change", n)
	}
}
