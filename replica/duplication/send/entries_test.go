package send

import (
	"bytes"
	"fmt"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/duplication/ship"
	"pegasus/gen/dupinternal"
	idl "pegasus/gen/rrdb"
	"pegasus/replica/wal"
	"pegasus/rpc"
	"pegasus/rrdb"
)

const own = 1

func rowKey(h, s string) []byte { return base.AppendKey(nil, []byte(h), []byte(s)) }

// received is what the other cluster makes of the entries of a request: one line for each row.
func received(t testing.TB, q *dupinternal.DuplicateRequest) (lines []string) {
	t.Helper()
	var back dupinternal.DuplicateRequest
	if err := rpc.DecodeBody(rpc.AppendBodyOf(nil, tbin.Struct, 1, q), &back); err != nil {
		t.Fatal(err)
	}
	for i := range back.Entries {
		for _, r := range decodeEntry(t, &back.Entries[i]) {
			lines = append(lines, r.String())
		}
	}
	return lines
}

func (r row) String() string {
	h, s, _ := base.SplitKey(r.key)
	if r.remove {
		return fmt.Sprintf("%x remove %s/%s", r.tag, h, s)
	}
	return fmt.Sprintf("%x put %s/%s=%s expires %d", r.tag, h, s, r.value, r.expireTS)
}

// decodeEntry reads an entry as a server does that knows clients' requests only.
func decodeEntry(t testing.TB, e *dupinternal.DuplicateEntry) (rows []row) {
	t.Helper()
	if !e.VerifyTimetag.V || !e.ClusterId.Set || !e.Timestamp.Set {
		t.Fatalf("%+v", e)
	}
	arg := func(d tbin.Decoder) {
		if err := rpc.DecodeBody(e.RawMessage.V, d); err != nil {
			t.Fatalf("%s: %v", e.TaskCode.V, err)
		}
	}
	switch string(e.TaskCode.V) {
	case base.RPCPut:
		var q idl.UpdateRequest
		arg(&q)
		rows = append(rows, row{key: q.Key, value: q.Value, expireTS: uint32(q.ExpireTsSeconds)})
	case base.RPCRemove:
		var q rpc.Blob
		arg(&q)
		rows = append(rows, row{key: q, remove: true})
	case base.RPCMultiPut:
		var q idl.MultiPutRequest
		arg(&q)
		for _, kv := range q.Kvs {
			rows = append(rows, row{key: base.AppendKey(nil, q.HashKey, kv.Key), value: kv.Value, expireTS: uint32(q.ExpireTsSeconds)})
		}
	case base.RPCMultiRemove:
		var q idl.MultiRemoveRequest
		arg(&q)
		for _, s := range q.SortKeys {
			rows = append(rows, row{key: base.AppendKey(nil, q.HashKey, s), remove: true})
		}
	default:
		t.Fatalf("a request %s", e.TaskCode.V)
	}
	for i := range rows {
		rows[i].tag = rrdb.MakeTimetag(e.Timestamp.V, uint8(e.ClusterId.V), rows[i].remove)
	}
	return rows
}

func TestEntries(t *testing.T) {
	put := func(h, s, v string, expires uint32) rrdb.Op {
		return rrdb.Op{Key: rowKey(h, s), Value: []byte(v), ExpireTS: expires}
	}
	remove := func(h, s string) rrdb.Op { return rrdb.Op{Key: rowKey(h, s), Delete: true} }
	tagged := func(o rrdb.Op, tag uint64) rrdb.Op { o.Timetag = tag; return o }
	const at = 0x1000
	tag, removed := fmt.Sprintf("%x", rrdb.MakeTimetag(at, own, false)), fmt.Sprintf("%x", rrdb.MakeTimetag(at, own, true))
	for _, c := range []struct {
		name    string
		ops     []rrdb.Op
		want    []string
		entries int
	}{
		{"nothing", nil, nil, 0},
		{"a put", []rrdb.Op{put("h", "s", "v", 0)}, []string{tag + " put h/s=v expires 0"}, 1},
		{"a remove", []rrdb.Op{remove("h", "s")}, []string{removed + " remove h/s"}, 1},
		{"rows of a hash key travel together", []rrdb.Op{put("h", "a", "1", 9), put("h", "b", "2", 9), put("h", "c", "3", 8), remove("h", "d"), remove("h", "e"), put("i", "a", "4", 0)},
			[]string{tag + " put h/a=1 expires 9", tag + " put h/b=2 expires 9", tag + " put h/c=3 expires 8", removed + " remove h/d", removed + " remove h/e", tag + " put i/a=4 expires 0"}, 4},
		{"without a hash key each goes alone", []rrdb.Op{put("", "a", "1", 0), put("", "b", "2", 0)}, []string{tag + " put /a=1 expires 0", tag + " put /b=2 expires 0"}, 2},
		{"the last write of a row counts", []rrdb.Op{put("h", "a", "1", 0), remove("h", "a"), put("h", "b", "1", 0), put("h", "b", "2", 0)},
			[]string{removed + " remove h/a", tag + " put h/b=2 expires 0"}, 2},
		{"of other clusters nothing", []rrdb.Op{tagged(put("h", "a", "1", 0), rrdb.MakeTimetag(5, 2, false)), put("h", "b", "2", 0), tagged(put("h", "b", "3", 0), rrdb.MakeTimetag(5, 2, false))}, nil, 0},
		{"a row written anew here", []rrdb.Op{tagged(put("h", "a", "1", 0), rrdb.MakeTimetag(5, own, false)), tagged(put("h", "b", "1", 0), rrdb.MakeTimetag(6, 0, false))},
			[]string{fmt.Sprintf("%x put h/a=1 expires 0", rrdb.MakeTimetag(5, own, false)), fmt.Sprintf("%x put h/b=1 expires 0", rrdb.MakeTimetag(6, own, false))}, 2},
		{"a remove that leaves a tombstone", []rrdb.Op{tagged(remove("h", "a"), rrdb.Tombstone(own)), tagged(remove("h", "b"), rrdb.Tombstone(2))}, []string{removed + " remove h/a"}, 1},
		{"what the server writes for rules", []rrdb.Op{{Key: []byte("\xff\xffrules"), Value: []byte("x")}}, nil, -1},
	} {
		var payload []byte
		for _, o := range c.ops {
			payload = rrdb.AppendOp(payload, o)
		}
		if c.entries < 0 {
			payload = rrdb.AppendPassProgress(nil, rrdb.PassProgress{Done: true})
			payload = rrdb.AppendOp(payload, put("h", "s", "v", 0))
		}
		e, err := entryOf(&wal.Entry{Decree: 7, Timestamp: at, Payload: payload}, own, 4)
		if err != nil || e.Decree != 7 {
			t.Fatalf("%s: %+v, %v", c.name, e, err)
		}
		if len(e.Ops) == 0 {
			if c.want != nil {
				t.Errorf("%s: nothing is sent", c.name)
			}
			continue
		}
		for _, o := range e.Ops {
			rows, err := rowsOf([]ship.Op{o})
			if err != nil || o.Lane != int32(base.HashOfKey(rows[0].key)%4) {
				t.Errorf("%s: %+v, %v", c.name, o, err)
			}
		}
		rows, err := rowsOf(e.Ops)
		if err != nil {
			t.Fatal(err)
		}
		q := requestOf(rows, own)
		if got := received(t, q); fmt.Sprint(got) != fmt.Sprint(c.want) || len(q.Entries) != c.entries {
			t.Errorf("%s: %d entries\n%q, want\n%q", c.name, len(q.Entries), got, c.want)
		}
	}
}

// A damaged entry of the log is an error, and nothing of it is sent.
func FuzzEntry(f *testing.F) {
	f.Add(rrdb.AppendOp(rrdb.AppendOp(nil, rrdb.Op{Key: rowKey("h", "s"), Value: []byte("v"), ExpireTS: 4}), rrdb.Op{Key: rowKey("h", "s"), Delete: true}))
	f.Add(rrdb.AppendOp(nil, rrdb.Op{Key: []byte("x"), Value: []byte("v"), Timetag: rrdb.MakeTimetag(1, 3, false)}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		e, err := entryOf(&wal.Entry{Decree: 1, Timestamp: 9, Payload: payload}, own, 3)
		if err != nil {
			if len(e.Ops) != 0 {
				t.Fatalf("%v, and %d operations", err, len(e.Ops))
			}
			return
		}
		seen := map[string]bool{}
		rows, err := rowsOf(e.Ops)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if seen[string(r.key)] || clusterOf(r.tag) != own && clusterOf(r.tag) != 0 {
				t.Fatalf("%v", r)
			}
			seen[string(r.key)] = true
		}
		if len(rows) == 0 {
			return
		}
		n := 0
		q := requestOf(rows, own)
		for i := range q.Entries {
			for _, r := range decodeEntry(t, &q.Entries[i]) {
				if !bytes.Equal(r.key, rows[n].key) || !bytes.Equal(r.value, rows[n].value) || r.remove != rows[n].remove || r.expireTS != rows[n].expireTS {
					t.Fatalf("%v became %v", rows[n], r)
				}
				n++
			}
		}
		if n != len(rows) {
			t.Fatalf("%d of %d rows", n, len(rows))
		}
	})
}
