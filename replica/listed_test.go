package replica

import (
	"fmt"
	"testing"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/pause"
	"pegasus/base/tbin"
	"pegasus/base/version"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

// The hash that a request lacks is that of its row, whatever it asks for; that of a scan of a whole partition is the partition's number.
func TestHashIn(t *testing.T) {
	key, want := base.AppendKey(nil, []byte("hash"), []byte("sort")), base.CRC64([]byte("hash"))
	for _, x := range []struct {
		code string
		arg  tbin.Encoder
		want uint64
	}{
		{base.RPCGet, rpc.Blob(key), want},
		{base.RPCTTL, rpc.Blob(key), want},
		{base.RPCRemove, rpc.Blob(key), want},
		{base.RPCSortkeyCount, rpc.Blob("hash"), want},
		{base.RPCPut, &rrdb.UpdateRequest{Key: key, Value: []byte("v")}, want},
		{base.RPCIncr, &rrdb.IncrRequest{Key: key, Increment: 1}, want},
		{base.RPCMultiPut, &rrdb.MultiPutRequest{HashKey: []byte("hash")}, want},
		{base.RPCMultiGet, &rrdb.MultiGetRequest{HashKey: []byte("hash")}, want},
		{base.RPCMultiRemove, &rrdb.MultiRemoveRequest{HashKey: []byte("hash")}, want},
		{base.RPCCheckAndSet, &rrdb.CheckAndSetRequest{HashKey: []byte("hash")}, want},
		{base.RPCCheckAndMutate, &rrdb.CheckAndMutateRequest{HashKey: []byte("hash")}, want},
		{base.RPCGetScanner, &rrdb.GetScannerRequest{StartKey: key, StopKey: base.AppendKey(nil, []byte("hash"), []byte("z"))}, want},
		{base.RPCGetScanner, &rrdb.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}}, 6},
		{base.RPCGetScanner, &rrdb.GetScannerRequest{StartKey: key, StopKey: []byte{0xff, 0xff}}, 6},
		{base.RPCGetScanner, &rrdb.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xc3, 0xbf, 0xc3, 0xbf}}, 6},
		{base.RPCScan, &rrdb.ScanRequest{ContextId: 5}, 6},
		{base.RPCGet, rpc.Blob(""), 0},
		{base.RPCMultiGet, &rrdb.MultiGetRequest{}, 0},
		{base.RPCCLICall, rpc.Blob(key), 0},
	} {
		req := &rpc.Request{Code: x.code, Gpid: base.Gpid{AppID: 1, PartitionIndex: 6}, Body: rpc.AppendBody(nil, x.arg)}
		if got := hashIn(req); got != x.want {
			t.Errorf("%s: %x, want %x", x.code, got, x.want)
		}
	}
	if hashIn(&rpc.Request{Code: base.RPCPut}) != 0 {
		t.Error("a request without an argument has a hash")
	}
}

func FuzzHashIn(f *testing.F) {
	f.Add(uint8(0), rpc.AppendBody(nil, rpc.Blob("\x00\x04hashsort")))
	f.Add(uint8(4), rpc.AppendBody(nil, &rrdb.MultiPutRequest{HashKey: []byte("hash")}))
	f.Add(uint8(9), rpc.AppendBody(nil, &rrdb.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}}))
	codes := []string{base.RPCGet, base.RPCSortkeyCount, base.RPCPut, base.RPCIncr, base.RPCMultiPut, base.RPCMultiGet, base.RPCMultiRemove, base.RPCCheckAndSet,
		base.RPCCheckAndMutate, base.RPCGetScanner, base.RPCScan}
	f.Fuzz(func(_ *testing.T, code uint8, body []byte) {
		hashIn(&rpc.Request{Code: codes[int(code)%len(codes)], Body: body})
	})
}

// An id that says by how many partitions a client goes is read so over THFT only, if the metas say that no table has it, or if they are older and the table
// was split. Otherwise a request with such an id isn't answered from the rows of another table.
func TestWhoseIDItIs(t *testing.T) {
	g := newGroup(t, 2)
	g.mustPut(0, "k", "v")
	id := base.ListedID(g.gpid.AppID, 1)
	sync := func(may base.Opt[bool], envs ...base.Pair[string, string]) {
		t.Helper()
		g.meta.set(func() {
			g.meta.mayList, g.meta.app.Envs = may, append(envs, base.Pair[string, string]{Key: appenv.SlowQuery, Val: fmt.Sprint(20 + len(g.meta.app.Envs))})
		})
		if err := g.nodes[0].srv.meta.Sync(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	read := func(f rpc.Framing, app int32, want base.ErrorCode) {
		t.Helper()
		var res rrdb.ReadResponse
		key := rpc.Blob(rowKey("k"))
		err := g.pool.Call(t.Context(), g.nodes[0].addr.String(), rpc.Outgoing{Code: base.RPCGet, Framing: f, Gpid: base.Gpid{AppID: app}, Arg: key}, &res)
		if code := base.CodeOf(err); err != nil && code != want || err == nil && (want != base.ErrOK || string(res.Value) != "v") {
			t.Errorf("%v, table %d: %q, %v, want %v", f, app, res.Value, err, want)
		}
	}
	split := base.Pair[string, string]{Key: appenv.ValidateHash, Val: "true"}
	unset, yes, no := base.Opt[bool]{}, base.Some(true), base.Some(false)
	for _, x := range []struct {
		may  base.Opt[bool]
		envs []base.Pair[string, string]
		want base.ErrorCode
	}{
		{unset, nil, base.ErrObjectNotFound},
		{unset, []base.Pair[string, string]{split}, base.ErrOK},
		{no, []base.Pair[string, string]{split}, base.ErrObjectNotFound},
		{no, nil, base.ErrObjectNotFound},
		{yes, nil, base.ErrOK}, // it may be told before this server hears that it is split
		{yes, []base.Pair[string, string]{split}, base.ErrOK},
		{unset, nil, base.ErrOK}, // an older meta leads: it knows no better
		{no, nil, base.ErrObjectNotFound},
	} {
		sync(x.may, x.envs...)
		until(t, "the settings are taken", func() bool {
			_, is := g.view(0).info.Envs[appenv.ValidateHash]
			return is == (len(x.envs) > 0)
		})
		for _, f := range []rpc.Framing{rpc.THFT0, rpc.THFT1} {
			read(f, g.gpid.AppID, base.ErrOK)
			read(f, id, x.want)
			read(f, base.ListedID(g.gpid.AppID+1, 1), base.ErrObjectNotFound)
		}
		read(rpc.RDSN, id, base.ErrObjectNotFound)
	}
}

// Where clients that speak THFT aren't told a table under another id although it was split, their scans of whole partitions aren't refused for ever:
// they are watched as those of C++ clients are.
func TestScansOfATableThatIsNotListed(t *testing.T) {
	g := newGroup(t, 2)
	g.mustPut(0, "k", "v")
	r := g.nodes[0].srv.replica(g.gpid)
	if err := r.cut(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	pool := newGroupPool(t)
	scan := func(app int32) error {
		q := &rrdb.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, BatchSize: 10, FullScan: base.Some(true)}
		var res rrdb.ScanResponse
		return pool.Call(t.Context(), g.nodes[0].addr.String(), rpc.Outgoing{Code: base.RPCGetScanner, Framing: rpc.THFT1, Gpid: base.Gpid{AppID: app}, Arg: q}, &res)
	}
	refused := func(when string) {
		t.Helper()
		if err := scan(g.gpid.AppID); base.CodeOf(err) != base.ErrParentPartitionMisused {
			t.Errorf("%s: %v", when, err)
		}
	}
	for range 2 { // however long it waits in between
		refused("the table is told under another id")
		pause.For(t.Context(), scanPause)
	}
	if err := scan(base.ListedID(g.gpid.AppID, 2)); err != nil {
		t.Error(err)
	}
	g.meta.set(func() { g.meta.mayList = base.Some(false) })
	if err := g.nodes[0].srv.meta.Sync(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	refused("over a connection that is older than the cut")
	pause.For(t.Context(), scanPause)
	if err := scan(g.gpid.AppID); err != nil {
		t.Error(err)
	}
}

// Metas tell a table under another id from a version on, if they don't say that they can't.
func TestLists(t *testing.T) {
	v := version.Listings.Since()
	for _, x := range []struct {
		v    version.Version
		may  base.Opt[bool]
		want bool
	}{
		{v, base.Some(true), true}, {v, base.Opt[bool]{}, true}, {v, base.Some(false), false},
		{v - 1, base.Some(true), false}, {v - 1, base.Opt[bool]{}, false},
	} {
		l := new(mayList)
		l.take(1, x.may)
		l.take(2, base.Some(!x.may.V))
		if got := l.lists(x.v, 1); got != x.want {
			t.Errorf("version %d, %+v: %v", x.v, x.may, got)
		}
	}
}
