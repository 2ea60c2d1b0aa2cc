package observe

import (
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/httpapi"
	"pegasus/replica/observe/hotkey"
	"pegasus/replica/part"
	"pegasus/rpc"
	"pegasus/rrdb"
)

func observer(t testing.TB, o Options) *Observer {
	t.Helper()
	x, err := New(o, func() []*Replica { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// How long is too long can be set for a table.
func TestSlowQuerySetting(t *testing.T) {
	o := observer(t, Options{})
	if o.Abnormal(time.Hour, 0, &rrdb.Touched{Code: base.RPCGet, Out: 1 << 30, Seen: 1 << 20}) {
		t.Error("a read is abnormal without limits")
	}
	o.change(func(c *Options) { c.Reads.Took = 100 * time.Millisecond })
	for _, c := range []struct {
		table, took time.Duration
		want        bool
	}{
		{0, 99 * time.Millisecond, false},
		{0, 100 * time.Millisecond, true},
		{20 * time.Millisecond, 20 * time.Millisecond, true},
		{time.Second, 500 * time.Millisecond, false},
		{0, 500 * time.Millisecond, true},
	} {
		for _, code := range []string{base.RPCGet, base.RPCTTL, base.RPCScan} {
			if got := o.Abnormal(c.took, c.table, &rrdb.Touched{Code: code}); got != c.want {
				t.Errorf("%s in %v where the table says %v: %t", code, c.took, c.table, got)
			}
		}
	}
}

// A limit is reached by what equals it, and 0 is none.
func TestReadLimits(t *testing.T) {
	o := observer(t, Options{Reads: ReadLimits{Get: 10, MultiGet: 20, MultiGetRows: 5, BatchGetRows: 2}})
	for _, c := range []struct {
		t    rrdb.Touched
		want bool
	}{
		{rrdb.Touched{Code: base.RPCGet, Out: 9, Seen: 100}, false},
		{rrdb.Touched{Code: base.RPCGet, Out: 10}, true},
		{rrdb.Touched{Code: base.RPCMultiGet, Out: 19, Seen: 4}, false},
		{rrdb.Touched{Code: base.RPCMultiGet, Out: 20}, true},
		{rrdb.Touched{Code: base.RPCMultiGet, Seen: 5}, true},
		{rrdb.Touched{Code: base.RPCBatchGet, Out: 1 << 30, Seen: 1}, false},
		{rrdb.Touched{Code: base.RPCBatchGet, Seen: 2}, true},
		{rrdb.Touched{Code: base.RPCScan, Out: 1 << 30, Seen: 1 << 20}, false},
	} {
		if got := o.Abnormal(time.Minute, 0, &c.t); got != c.want {
			t.Errorf("%+v: %t", c.t, got)
		}
	}
}

func TestOptions(t *testing.T) {
	var o Options
	o.EnsureDefaults()
	if err := o.Validate(); err != nil || o.ReadUnit != 4096 || o.HotKeys.Interval != 10*time.Second {
		t.Errorf("the defaults are %+v: %v", o, err)
	}
	for _, bad := range []Options{{ReadUnit: 1000}, {WriteUnit: -1}, {Reads: ReadLimits{Get: -1}}} {
		bad.EnsureDefaults()
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}

// What is changed while the server runs is in the options from then on.
func TestLiveOptions(t *testing.T) {
	o := observer(t, Options{})
	routes := part.NewRoutes(rpc.NewMux(nil), httpapi.NewRouter())
	o.Register(routes)
	c := config.Default()
	r := &c.Replica
	r.SlowQuery, r.AbnormalGet, r.AbnormalMultiGet, r.AbnormalMultiGetRows = config.Duration(time.Second), 1, 2, 3
	r.AbnormalBatchGet, r.AbnormalBatchGetRows, r.RedactKeys, r.SlowWrite = 4, 5, true, config.Duration(6*time.Second)
	r.HotBucket, r.HotKey, r.HotKeyInterval, r.HotKeyTime = 6, 7, config.Duration(8*time.Second), config.Duration(9*time.Second)
	for _, apply := range routes.Mutable() {
		apply(c)
	}
	want := Options{ReadUnit: 4096, WriteUnit: 4096, RedactKeys: true, SlowWrite: 6 * time.Second,
		Reads:   ReadLimits{Took: time.Second, Get: 1, MultiGet: 2, MultiGetRows: 3, BatchGet: 4, BatchGetRows: 5},
		HotKeys: hotkey.Limits{Bucket: 6, Key: 7, Interval: 8 * time.Second, GiveUp: 9 * time.Second}}
	if got := *o.options.Load(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if s := o.quote([]byte("secret")); s != Redacted {
		t.Errorf("a key is shown as %s", s)
	}
}

// Counting is on the path of each request.
func TestCountingAllocatesNothing(t *testing.T) {
	o, r := observer(t, Options{}), new(Replica)
	read := rrdb.Touched{Code: base.RPCMultiGet, HashKey: []byte("hash"), Out: 100, Rows: 2, Seen: 2}
	write := rrdb.Touched{Code: base.RPCPut, HashKey: []byte("hash"), In: 100, Rows: 1}
	count := func() {
		o.Read(r, OpOf(read.Code), &read, false)
		o.Write(r, OpOf(write.Code), &write)
		o.Abnormal(time.Millisecond, 0, &read)
	}
	for range 1000 { // the sketches have seen the key
		count()
	}
	if n := testing.AllocsPerRun(1000, count); n > 0 {
		t.Errorf("%.1f allocations a request", n)
	}
	if r.readUnits.Load() == 0 || r.writeUnits.Load() == 0 {
		t.Error("nothing was counted")
	}
}
