package rrdb

import (
	"context"
	"fmt"
	"math"
	"path"
	"reflect"
	"strconv"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/base/appenv"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
)

// pass carries a pass of the table's rules out as a primary does, and returns how many rows
// it changed.
func (h *harness) pass(repeated bool) (rows int) {
	h.t.Helper()
	o := PassOptions{Repeated: repeated}
	for from := []byte(nil); ; {
		keys, _, next, err := h.store.ScanForRules(context.Background(), from, o, rate.NewLimiter(rate.Inf, 1))
		if err != nil {
			h.t.Fatal(err)
		}
		if len(keys) > 0 {
			var n int
			if h.payload, n, err = h.store.ApplyRules(keys, o, h.ov, h.payload); err != nil {
				h.t.Fatal(err)
			}
			rows += n
			h.propose()
			h.apply()
		}
		if next == nil {
			return rows
		}
		from = next
	}
}

// expiry returns a row's, and whether it is live.
func (h *harness) expiry(hashKey, sortKey string) (uint32, bool) {
	h.t.Helper()
	r, code := h.store.lookup(rowKey(hashKey, sortKey), ExpiryTime(h.clock.now()))
	if code == codeNotFound {
		return 0, false
	}
	if code != codeOK {
		h.t.Fatalf("row %s %s: code %d", hashKey, sortKey, code)
	}
	if err := r.closer.Close(); err != nil {
		h.t.Fatal(err)
	}
	return r.expireTS, true
}

func TestRulesApply(t *testing.T) {
	const now = 1000
	hash := appenv.RowRule{Kind: appenv.HashKeyPattern, Match: appenv.MatchPrefix, Pattern: "h"}
	sortRule := appenv.RowRule{Kind: appenv.SortKeyPattern, Match: appenv.MatchPostfix, Pattern: "s"}
	other := appenv.RowRule{Kind: appenv.SortKeyPattern, Pattern: "x"}
	ttl := func(from, to uint32) appenv.RowRule {
		return appenv.RowRule{Kind: appenv.TTLRange, From: from, To: to}
	}
	op := func(k appenv.OperationKind, v uint32, rules ...appenv.RowRule) appenv.Operation {
		return appenv.Operation{Kind: k, Value: v, Rules: rules}
	}
	type ops = []appenv.Operation
	for i, c := range []struct {
		defaultTTL uint32
		ops        ops
		expireTS   uint32
		repeated   bool
		expiry     uint32
		gone       bool
	}{
		{0, nil, 5000, false, 5000, false},
		{60, nil, 0, false, 1060, false},
		{60, nil, 5000, false, 5000, false},
		{60, nil, 0, true, 1060, false},
		{math.MaxUint32, nil, 0, false, math.MaxUint32, false},
		{0, ops{op(appenv.DeleteRow, 0, hash)}, 0, false, 0, true},
		{0, ops{op(appenv.DeleteRow, 0, hash)}, 0, true, 0, true},
		{0, ops{op(appenv.DeleteRow, 0, hash, sortRule)}, 0, false, 0, true},
		{0, ops{op(appenv.DeleteRow, 0, hash, other)}, 0, false, 0, false},
		{0, ops{op(appenv.DeleteRow, 0, ttl(0, 0))}, 0, false, 0, true},
		{0, ops{op(appenv.DeleteRow, 0, ttl(0, 0))}, 2000, false, 2000, false},
		{0, ops{op(appenv.DeleteRow, 0, ttl(0, 0))}, 1000, false, 0, true},
		{0, ops{op(appenv.DeleteRow, 0, ttl(10, 20))}, 1010, false, 0, true},
		{0, ops{op(appenv.DeleteRow, 0, ttl(10, 20))}, 1020, false, 0, true},
		{0, ops{op(appenv.DeleteRow, 0, ttl(10, 20))}, 1009, false, 1009, false},
		{0, ops{op(appenv.DeleteRow, 0, ttl(10, 20))}, 1021, false, 1021, false},
		{0, ops{op(appenv.DeleteRow, 0, ttl(10, 20))}, 0, false, 0, false},
		{0, ops{op(appenv.DeleteRow, 0, ttl(10, math.MaxUint32))}, math.MaxUint32, false, 0, true},
		{15, ops{op(appenv.DeleteRow, 0, ttl(10, 20))}, 0, false, 0, true},
		{0, ops{op(appenv.ExpireFromNow, 7, hash)}, 0, false, 1007, false},
		{0, ops{op(appenv.ExpireFromNow, 7, hash)}, 5000, false, 1007, false},
		{0, ops{op(appenv.ExpireFromNow, 7, hash)}, 5000, true, 5000, false},
		{0, ops{op(appenv.ExpireFromNow, 7, other)}, 5000, false, 5000, false},
		{0, ops{op(appenv.ExpireFromCurrent, 7, hash)}, 5000, false, 5007, false},
		{0, ops{op(appenv.ExpireFromCurrent, 7, hash)}, 5000, true, 5000, false},
		{0, ops{op(appenv.ExpireFromCurrent, 7, hash)}, 0, false, 0, false},
		{60, ops{op(appenv.ExpireFromCurrent, 7, hash)}, 0, false, 1067, false},
		{0, ops{op(appenv.ExpireAt, base.EpochBegin+77, hash)}, 5000, false, 77, false},
		{0, ops{op(appenv.ExpireAt, base.EpochBegin+77, hash)}, 0, true, 77, false},
		// Each sees the row as it is; the last wins, and the first deletion.
		{0, ops{op(appenv.ExpireFromCurrent, 7, hash), op(appenv.ExpireFromCurrent, 9, hash)}, 5000, false, 5009, false},
		{0, ops{op(appenv.ExpireFromNow, 7, hash), op(appenv.DeleteRow, 0, ttl(0, 10))}, 5000, false, 1007, false},
		{0, ops{op(appenv.ExpireFromNow, 7, hash), op(appenv.DeleteRow, 0, hash)}, 5000, false, 0, true},
	} {
		u := &rules{defaultTTL: c.defaultTTL, operations: c.ops}
		if expiry, gone := u.apply(rowKey("hash", "keys"), c.expireTS, now, c.repeated); expiry != c.expiry || gone != c.gone {
			t.Errorf("case %d: %d %t, want %d %t", i, expiry, gone, c.expiry, c.gone)
		}
	}
}

func TestDefaultTTLReachesOldRows(t *testing.T) {
	h := newHarness(t, nil)
	const rows = 1000
	for i := range rows {
		h.put(fmt.Sprintf("h%04d", i), "s", "value", uint32(i%2)*90000)
	}
	r, _ := h.store.lookup(rowKey("h0000", "s"), 1)
	tag := r.timetag
	if err := r.closer.Close(); err != nil {
		t.Fatal(err)
	}
	if id, _ := h.store.RulesID(); id != 0 || h.pass(false) != 0 {
		t.Errorf("a table without rules has rules %d, or rows change", id)
	}
	h.store.SetEnvs(map[string]string{"default_ttl": "500"})
	id, repeat := h.store.RulesID()
	if id == 0 || repeat {
		t.Errorf("rules %d, to repeat: %t", id, repeat)
	}
	if n := h.pass(false); n != rows/2 {
		t.Errorf("%d rows changed, want %d", n, rows/2)
	}
	now := ExpiryTime(h.clock.now())
	for i := range rows {
		want := now + 500
		if i%2 == 1 {
			want = 90000
		}
		if got, live := h.expiry(fmt.Sprintf("h%04d", i), "s"); !live || got != want {
			t.Fatalf("row %d expires at %d, live %t, want %d", i, got, live, want)
		}
	}
	// It is the same write as before, but for when it expires.
	r, _ = h.store.lookup(rowKey("h0000", "s"), 1)
	if r.timetag != tag || string(r.data) != "value" {
		t.Errorf("timetag %d, was %d; data %q", r.timetag, tag, r.data)
	}
	if err := r.closer.Close(); err != nil {
		t.Fatal(err)
	}
	h.store.SetEnvs(map[string]string{"default_ttl": "900"})
	if again, _ := h.store.RulesID(); again != id {
		t.Errorf("another length of the default makes other rules: %d, %d", again, id)
	}
	if n := h.pass(false); n != 0 {
		t.Errorf("%d rows changed though all have an expiry", n)
	}
}

// A row whose write is on its way belongs to that write; one that is gone or changed since it
// was found is taken as it is.
func TestRulesMeetWrites(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 4 {
		h.put("h", strconv.Itoa(i), "old", 0)
	}
	h.store.SetEnvs(map[string]string{"default_ttl": "500"})
	keys, size, next, err := h.store.ScanForRules(context.Background(), nil, PassOptions{}, nil)
	if err != nil || len(keys) != 4 || size == 0 || next != nil {
		t.Fatalf("found %d rows of %d bytes, next %x: %v", len(keys), size, next, err)
	}
	h.payload = AppendOp(nil, Op{Key: rowKey("h", "0"), Delete: true})
	h.payload = AppendOp(h.payload, Op{Key: rowKey("h", "1"), Value: []byte("new"), ExpireTS: 7777})
	h.propose()
	h.apply()
	// This one is in flight, and then one is in the payload being filled.
	h.payload = AppendOp(nil, Op{Key: rowKey("h", "2"), Value: []byte("new"), ExpireTS: 8888})
	h.propose()
	h.payload = AppendOp(nil, Op{Key: rowKey("h", "3"), Delete: true})
	var rows int
	if h.payload, rows, err = h.store.ApplyRules(keys, PassOptions{}, h.ov, h.payload); err != nil || rows != 0 {
		t.Errorf("%d rows changed: %v", rows, err)
	}
	h.propose()
	h.apply()
	for i, want := range []uint32{0, 7777, 8888, 0} {
		if got, live := h.expiry("h", strconv.Itoa(i)); got != want || live != (want > 0) {
			t.Errorf("row %d expires at %d, live %t, want %d", i, got, live, want)
		}
	}
}

func TestOperationsDelete(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 3000 {
		h.put([]string{"user", "tmp"}[i%2], fmt.Sprintf("%05d", i), "v", 0)
	}
	h.put("tmp", "expired", "v", 10)
	h.store.SetEnvs(map[string]string{"user_specified_compaction": `{"ops":[{"type":"COT_DELETE","params":"","rules":[{"type":"FRT_HASHKEY_PATTERN","params":"{\"pattern\":\"tmp\",\"match_type\":\"SMT_MATCH_PREFIX\"}"}]}]}`})
	if _, repeat := h.store.RulesID(); !repeat {
		t.Error("deletions aren't repeated")
	}
	if n := h.pass(false); n != 1500 {
		t.Errorf("%d rows changed, want 1500", n)
	}
	var users, tmps value.Blob
	users, tmps = []byte("user"), []byte("tmp")
	for _, c := range []struct {
		hash *value.Blob
		want int64
	}{{&users, 1500}, {&tmps, 0}} {
		var res idl.CountResponse
		if _, err := h.read(base.RPCSortkeyCount, c.hash, &res); err != nil || res.Count != c.want {
			t.Errorf("%s: %d rows, %v, want %d", *c.hash, res.Count, err, c.want)
		}
	}
	h.put("tmp", "late", "v", 0)
	if n := h.pass(true); n != 1 {
		t.Errorf("%d rows changed by the repeated pass, want 1", n)
	}
}

// The note travels with the mutation: a crash has it as old as the rows are, a checkpoint
// and a store that is opened again have it too.
func TestNote(t *testing.T) {
	h := newHarness(t, nil)
	if n := h.store.PassProgress(); !reflect.DeepEqual(n, PassProgress{}) {
		t.Errorf("a new store's note: %+v", n)
	}
	first := PassProgress{Rules: 7, At: 1700000000, Next: rowKey("h", "s")}
	h.payload = AppendPassProgress(AppendOp(nil, Op{Key: rowKey("a", "b"), Value: []byte("v")}), first)
	h.propose()
	h.apply()
	h.flush()
	second := PassProgress{Rules: 7, At: 1700000000, Done: true}
	h.payload = AppendPassProgress(nil, second)
	h.propose()
	if n := h.store.PassProgress(); !reflect.DeepEqual(n, first) {
		t.Errorf("before it is applied: %+v", n)
	}
	h.apply()
	if n := h.store.PassProgress(); !reflect.DeepEqual(n, second) {
		t.Errorf("applied: %+v", n)
	}
	sum, err := h.store.Digest(context.Background(), 1)
	if err != nil || sum.Rows != 1 {
		t.Errorf("the note counts as a row: %+v %v", sum, err)
	}
	for _, c := range []struct {
		payload []byte
		own     bool
	}{{nil, false}, {[]byte{0xff}, false}, {AppendOp(nil, Op{Key: rowKey("a", "b")}), false}, {AppendPassProgress(nil, PassProgress{}), true}, {AppendOp(AppendPassProgress(nil, second), Op{Key: rowKey("a", "b")}), true}} {
		if IsServerWrite(c.payload) != c.own {
			t.Errorf("mutation %x is the server's own: %t", c.payload, !c.own)
		}
	}
	dir := path.Join("data", "copy")
	if _, err := h.store.Checkpoint(dir); err != nil {
		t.Fatal(err)
	}
	o := h.options()
	o.Dir = dir
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if n := c.PassProgress(); !reflect.DeepEqual(n, second) {
		t.Errorf("in the checkpoint: %+v", n)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	h.payload = AppendPassProgress(nil, PassProgress{})
	h.propose()
	h.apply()
	h.crash()
	if n := h.store.PassProgress(); !reflect.DeepEqual(n, second) {
		t.Errorf("after a crash: %+v", n)
	}
	for _, bad := range [][]byte{nil, {1}, append([]byte{2, 0}, make([]byte, 16)...), append([]byte{1, 2}, make([]byte, 16)...)} {
		if err := h.store.Apply(h.decree+1, 1, AppendOp(nil, Op{Key: progressKey, Value: bad})); base.CodeOf(err) != base.ErrInvalidData {
			t.Errorf("note %x: %v", bad, err)
		}
	}
}

func TestRuledIsPaced(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 100 {
		h.put("h", strconv.Itoa(i), string(make([]byte, 10000)), 0)
	}
	h.store.SetEnvs(map[string]string{"default_ttl": "500"})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	pace := rate.NewLimiter(1, sweepStep)
	pace.AllowN(time.Now(), sweepStep)
	if _, _, _, err := h.store.ScanForRules(ctx, nil, PassOptions{}, pace); err == nil {
		t.Error("a pass reads faster than it may")
	}
}
