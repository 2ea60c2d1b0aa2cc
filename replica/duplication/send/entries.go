package send

import (
	"bytes"
	"errors"
	"fmt"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/duplication/ship"
	"pegasus/gen/dupinternal"
	idl "pegasus/gen/rrdb"
	"pegasus/replica/wal"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// errTake says that a mutation's rows aren't in the log, since they came as files. Only a copy has them.
var errTake = errors.New("the rows of a bulk load aren't in the log")

func clusterOf(tag uint64) uint8 {
	_, cluster, _ := rrdb.SplitTimetag(tag)
	return cluster
}

// entryOf makes of a mutation what is sent of it: the last operation on each row, those that clients of
// cluster own made. lanes is the partition count of the table that they go to. The operations keep slices of the payload.
func entryOf(e *wal.Entry, own uint8, lanes int) (ship.Entry, error) {
	out := ship.Entry{Decree: e.Decree}
	switch {
	case rrdb.IsServerWrite(e.Payload):
		return out, nil
	case rrdb.IsTake(e.Payload):
		return out, fmt.Errorf("entry of decree %d: %w", e.Decree, errTake)
	}
	at := map[string]int{}
	var op rrdb.Op
	r := rrdb.NewOpReader(e.Payload)
	for from := 0; r.Next(&op); from = r.Offset() {
		tag := op.Timetag
		switch by := clusterOf(tag); {
		case tag == 0:
			tag = rrdb.MakeTimetag(e.Timestamp, own, op.Delete)
		case op.Delete && tag == rrdb.Tombstone(by) && (by == 0 || by == own):
			tag = rrdb.MakeTimetag(e.Timestamp, own, true)
		case by != 0 && by != own:
			// Another cluster's. What was written here before in the same mutation is gone by it.
			if i, ok := at[string(op.Key)]; ok {
				out.Ops[i].Data = nil
				delete(at, string(op.Key))
			}
			continue
		}
		s := ship.Op{Decree: e.Decree, Lane: int32(base.HashOfKey(op.Key) % uint64(lanes)), Tag: tag, Data: e.Payload[from:r.Offset()]}
		if i, ok := at[string(op.Key)]; ok {
			out.Ops[i].Data = nil
		}
		at[string(op.Key)] = len(out.Ops)
		out.Ops = append(out.Ops, s)
	}
	if err := r.Err(); err != nil {
		return ship.Entry{}, fmt.Errorf("entry of decree %d: %w", e.Decree, err)
	}
	kept := out.Ops[:0]
	for _, s := range out.Ops {
		if s.Data != nil {
			kept = append(kept, s)
		}
	}
	out.Ops = kept
	return out, nil
}

// row is a write on its way.
type row struct {
	key, value []byte
	expireTS   uint32
	tag        uint64
	remove     bool
}

// rowsOf reads the operations of a batch.
func rowsOf(ops []ship.Op) ([]row, error) {
	rows := make([]row, 0, len(ops))
	for i := range ops {
		var op rrdb.Op
		r := rrdb.NewOpReader(ops[i].Data)
		if !r.Next(&op) {
			return nil, fmt.Errorf("operation of decree %d: %w", ops[i].Decree, r.Err())
		}
		rows = append(rows, row{op.Key, op.Value, op.ExpireTS, ops[i].Tag, op.Delete})
	}
	return rows, nil
}

// requestOf makes the request with rows, in their order. Rows of a write that go together are one
// entry of it.
func requestOf(rows []row, own uint8) *dupinternal.DuplicateRequest {
	q := &dupinternal.DuplicateRequest{}
	for len(rows) > 0 {
		n := together(rows)
		us, cluster, _ := rrdb.SplitTimetag(rows[0].tag)
		if cluster == 0 {
			cluster = own
		}
		code, raw := message(rows[:n])
		q.Entries = append(q.Entries, dupinternal.DuplicateEntry{Timestamp: base.Some(us), TaskCode: base.Some(base.TaskCode(code)),
			RawMessage: base.Some(raw), ClusterId: base.Some(int8(cluster)), VerifyTimetag: base.Some(true)})
		rows = rows[n:]
	}
	return q
}

// together is how many of the rows can travel as one request of a client.
func together(rows []row) int {
	h, _, ok := base.SplitKey(rows[0].key)
	n := 1
	for ok && len(h) > 0 && n < len(rows) {
		a, b := &rows[0], &rows[n]
		other, _, fits := base.SplitKey(b.key)
		if !fits || a.remove != b.remove || a.tag != b.tag || a.expireTS != b.expireTS || !bytes.Equal(h, other) {
			break
		}
		n++
	}
	return n
}

// message is the argument of the client's request that writes these rows.
func message(rows []row) (code string, raw []byte) {
	r := &rows[0]
	switch h, _, _ := base.SplitKey(r.key); {
	case len(rows) == 1 && r.remove:
		return base.RPCRemove, rpc.AppendBodyOf(nil, tbin.Struct, 1, rpc.Blob(r.key))
	case len(rows) == 1:
		return base.RPCPut, rpc.AppendBodyOf(nil, tbin.Struct, 1, &idl.UpdateRequest{Key: r.key, Value: r.value, ExpireTsSeconds: int32(r.expireTS)})
	case r.remove:
		q := &idl.MultiRemoveRequest{HashKey: h, MaxCount: -1}
		for i := range rows {
			_, s, _ := base.SplitKey(rows[i].key)
			q.SortKeys = append(q.SortKeys, s)
		}
		return base.RPCMultiRemove, rpc.AppendBodyOf(nil, tbin.Struct, 1, q)
	default:
		q := &idl.MultiPutRequest{HashKey: h, ExpireTsSeconds: int32(r.expireTS)}
		for i := range rows {
			_, s, _ := base.SplitKey(rows[i].key)
			q.Kvs = append(q.Kvs, idl.KeyValue{Key: s, Value: rows[i].value})
		}
		return base.RPCMultiPut, rpc.AppendBodyOf(nil, tbin.Struct, 1, q)
	}
}
