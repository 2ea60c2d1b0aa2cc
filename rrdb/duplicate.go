package rrdb

import (
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/dupinternal"
	idl "pegasus/gen/rrdb"
)

// MaxAhead is how far before this cluster's clock another's may be. The writes of a primary that has
// received something from another cluster get later timetags than that, so that they win everywhere;
// what is from a time further in the future doesn't move them.
const MaxAhead = time.Hour

// Duplicated is what came of a request with writes of other clusters. The answer says that all is well
// even if some couldn't be applied: upstream's server ends its process if it is told that a write is
// invalid, and repeats it for ever after any other error.
type Duplicated struct {
	// Writes is how many the request brought. TimestampsUS are theirs, those that can be, in microseconds
	// since 1970.
	Writes       int
	TimestampsUS []int64
	// Stale is how many rows were left as they are, because a later write of them is there.
	Stale int
	// Own is how many writes were left out because they were made here: they have come in a circle.
	Own int
	// Future is how many were made more than MaxAhead after now.
	Future int
	// Lost is how many can't be applied. Reason says why, of the first.
	Lost   int
	Reason string
	// LostIDs tell those apart, one for each: a write that is sent again has the same in this process.
	LostIDs []uint64
	// Clusters are the numbers of the clusters that made the writes, one bit for each.
	Clusters [2]uint64
}

// lostSeed makes LostIDs.
var lostSeed = maphash.MakeSeed()

func (d *Duplicated) lose(w *dupinternal.DuplicateEntry, format string, args ...any) {
	var h maphash.Hash
	h.SetSeed(lostSeed)
	maphash.WriteComparable(&h, w.Timestamp.V)
	maphash.WriteComparable(&h, w.ClusterId.V)
	maphash.WriteComparable(&h, string(w.TaskCode.V))
	_, _ = h.Write(w.RawMessage.V)
	d.LostIDs = append(d.LostIDs, h.Sum64())
	if d.Lost++; d.Reason == "" {
		d.Reason = fmt.Sprintf(format, args...)
	}
}

// From tells whether a write was made by the cluster of that number.
func (d *Duplicated) From(cluster uint8) bool {
	return d.Clusters[cluster>>6&1]&(1<<(cluster&63)) != 0
}

// hint is what the sender is told about writes that were left out; upstream's doesn't read it.
func (d *Duplicated) hint() string {
	var parts []string
	if d.Own > 0 {
		parts = append(parts, fmt.Sprintf("%d writes were made by this cluster itself", d.Own))
	}
	if d.Lost > 0 {
		parts = append(parts, fmt.Sprintf("%d writes can't be applied, the first because %s", d.Lost, d.Reason))
	}
	return strings.Join(parts, "; ")
}

// sentRow is a row of a write that another cluster sends. Its key is rest behind hashKey, or rest alone:
// with the hash key of a request once for each row, a small request would take much memory.
type sentRow struct {
	hashKey, rest, value []byte
	expireTS             uint32
	timetag              uint64
	joined               bool
	remove               bool
	verify               bool
}

func (r *sentRow) key() []byte {
	if r.joined {
		return base.AppendKey(nil, r.hashKey, r.rest)
	}
	return r.rest
}

// hash leads to the partition of the row.
func (r *sentRow) hash() uint64 {
	if r.joined {
		return base.HashOf(r.hashKey, r.rest)
	}
	return base.HashOfKey(r.rest)
}

// size is what the op of the row takes at most.
func (r *sentRow) size() int {
	key := len(r.rest)
	if r.joined {
		key += 2 + len(r.hashKey)
	}
	return opSize(key, len(r.value))
}

// duplicate evaluates the writes that another cluster sends, those that can be applied. All of them
// become one mutation; a request that can't, because rows of it belong elsewhere or take too much, is
// an error: ErrDivide, or base.ErrInconsistentState if it is a part of one already.
//
// A row is left as it is if a later write of it is there, by the timetags: always if the two are of the
// same cluster, whose writes can't be in another order than that; otherwise if the sender asks for it
// (verify_timetag). Upstream doesn't compare writes of one cluster, and not removes. Equal timetags
// don't differ in time: a mutation may have several writes of a row, and its sender keeps their order.
func (e *evaluation) duplicate() error {
	e.reply.kind = replyDuplicate
	q := readDuplicates(&e.arg)
	if err := e.argErr(); err != nil {
		return err
	}
	d := &Duplicated{Writes: len(q.Entries), TimestampsUS: make([]int64, 0, len(q.Entries))}
	var rows []sentRow
	for i := range q.Entries {
		rows = e.sentRows(&q.Entries[i], d, rows)
	}
	partitions, size, foreign, elsewhere := max(e.s.count.Load(), e.count), 0, 0, false
	for i := range rows {
		size += rows[i].size()
		// The rows of a request with a hash key are all in its partition.
		same := i > 0 && rows[i].joined && len(rows[i].hashKey) > 0 && rows[i-1].joined && &rows[i].hashKey[0] == &rows[i-1].hashKey[0]
		if !same {
			elsewhere = partitions > 0 && !base.InPartition(rows[i].hash(), e.s.id.partition, partitions)
		}
		if elsewhere {
			foreign++
		}
	}
	switch whole := !q.Divided.V; {
	case whole && (foreign > 0 || e.maxBytes > 0 && size > e.maxBytes):
		return ErrDivide
	case foreign > 0:
		return fmt.Errorf("%d rows of a part of %s belong to other partitions than this one of %d: %w", foreign, e.code, partitions, base.ErrInconsistentState)
	}
	if err := e.reserve(size); err != nil {
		return err
	}
	e.touched.Dup = d
	for i := range rows {
		if code := e.apply(&rows[i], d); code != codeOK {
			e.touched = Touched{} // it is sent again
			if e.ov != nil {
				e.ov.Discard() // it has looked at ops that are dropped now, and would take the next ones for those
			}
			return e.refuse(code)
		}
	}
	e.reply.hint = d.hint()
	if len(e.payload) == e.before || e.touched.Rows == 0 {
		return e.refuse(codeOK)
	}
	return nil
}

// readDuplicates reads the argument: a list of writes, or before upstream's 2.4 a single one, whose
// fields stand in place of the list.
func readDuplicates(r *tbin.Reader) (q dupinternal.DuplicateRequest) {
	peek := *r
	peek.Begin()
	switch t, id := peek.Field(); {
	case t == tbin.Stop, t == tbin.List && id == 1:
		q.ReadThrift(r)
		return q
	}
	var one dupinternal.DuplicateEntry
	one.ReadThrift(r)
	q.Entries = []dupinternal.DuplicateEntry{one}
	return q
}

// sentRows appends the rows of one write, unless it is left out.
func (e *evaluation) sentRows(w *dupinternal.DuplicateEntry, d *Duplicated, rows []sentRow) []sentRow {
	ts, cluster := w.Timestamp.V, w.ClusterId.V
	switch {
	case ts <= 0 || ts > maxTimestamp:
		d.lose(w, "its timestamp is %d", ts)
		return rows
	case cluster < 0:
		d.lose(w, "it is of cluster %d", uint8(cluster))
		return rows
	}
	d.TimestampsUS = append(d.TimestampsUS, ts)
	d.Clusters[cluster>>6] |= 1 << (cluster & 63)
	if e.cluster != 0 && uint8(cluster) == e.cluster {
		d.Own++
		return rows
	}
	if e.ahead(ts) {
		d.Future++
	}
	before := len(rows)
	rows, problem := decodeSent(w, rows)
	for i := before; i < len(rows) && problem == ""; i++ {
		r := &rows[i]
		r.timetag, r.verify = MakeTimetag(ts, uint8(cluster), r.remove), w.VerifyTimetag.V
		if e.maxBytes > 0 && r.size() > e.maxBytes {
			problem = fmt.Sprintf("a row of it takes more than %d bytes", e.maxBytes)
		}
	}
	if problem == "" {
		return rows
	}
	d.lose(w, "%s: %s", base.ShortRPC(string(w.TaskCode.V)), problem)
	return rows[:before]
}

// decodeSent appends the rows of a write as its client sent them.
func decodeSent(w *dupinternal.DuplicateEntry, rows []sentRow) (_ []sentRow, problem string) {
	var r tbin.Reader
	r.Reset(w.RawMessage.V)
	// Clients number the argument 1, upstream's own 0.
	if t, _ := r.Field(); t != tbin.Struct || r.Err() != nil {
		return rows, "its message is no argument"
	}
	before := len(rows)
	switch code := string(w.TaskCode.V); code {
	case base.RPCPut:
		var q idl.UpdateRequest
		q.ReadThrift(&r)
		// Upstream sends a remove by check_and_mutate as a put of this type.
		remove := q.Type.Or(idl.UT_PUT) == idl.UT_CHECK_AND_MUTATE_REMOVE
		if remove {
			q.Value = nil
		}
		rows = append(rows, sentRow{rest: q.Key, value: q.Value, expireTS: uint32(q.ExpireTsSeconds), remove: remove})
	case base.RPCRemove:
		rows = append(rows, sentRow{rest: r.Bytes(), remove: true})
	case base.RPCMultiPut:
		var q idl.MultiPutRequest
		q.ReadThrift(&r)
		if base.CheckHashKey(q.HashKey) != nil {
			return rows, "its hash key is too long"
		}
		for i := range q.Kvs {
			rows = append(rows, sentRow{hashKey: q.HashKey, rest: q.Kvs[i].Key, joined: true, value: q.Kvs[i].Value, expireTS: uint32(q.ExpireTsSeconds)})
		}
	case base.RPCMultiRemove:
		var q idl.MultiRemoveRequest
		q.ReadThrift(&r)
		if base.CheckHashKey(q.HashKey) != nil {
			return rows, "its hash key is too long"
		}
		for _, k := range q.SortKeys {
			rows = append(rows, sentRow{hashKey: q.HashKey, rest: k, joined: true, remove: true})
		}
	default:
		return rows, "such requests can't be repeated, and aren't sent to other clusters"
	}
	if t, _ := r.Field(); t != tbin.Stop || r.Err() != nil || r.Len() != 0 {
		return rows[:before], "its message is damaged"
	}
	for i := before; i < len(rows); i++ {
		if !rows[i].joined && !validKey(rows[i].rest) {
			return rows[:before], "its key is invalid"
		}
	}
	return rows, ""
}

// apply appends the op of a row, unless a later write of the row is there. code is that of an error of
// Pebble.
func (e *evaluation) apply(r *sentRow, d *Duplicated) (code int32) {
	at, cluster, _ := SplitTimetag(r.timetag)
	key := r.key()
	is, here, code := e.writtenBy(key)
	if code != codeOK {
		return code
	}
	is = numbered(is, e.cluster)
	switch _, by, _ := SplitTimetag(is); {
	case here == absent, !r.verify && by != cluster:
	case here == unwritten:
		// A client's write in this very mutation, whose timestamp will be later than that of r.
		if !e.ahead(at) {
			e.after(at)
			d.Stale++
			return codeOK
		}
	case is>>1 > r.timetag>>1: // without the bit of a remove: equal times are of one mutation, and in order
		d.Stale++
		return codeOK
	}
	if !e.ahead(at) {
		e.after(at)
	}
	e.wroteKey(key, len(key)+len(r.value))
	op := Op{Key: key, Value: r.value, Timetag: r.timetag, Delete: r.remove}
	if !r.remove {
		op.ExpireTS = e.s.expiry(r.expireTS, e.now)
	}
	e.payload = AppendOp(e.payload, op)
	return codeOK
}

// numbered is a timetag with the number of this cluster if it has none: the row was written here before writes bore that number. Other
// clusters were sent it with the number, and of two writes of the same time all must prefer the same one.
func numbered(timetag uint64, own uint8) uint64 {
	if us, by, deleted := SplitTimetag(timetag); by == 0 {
		return MakeTimetag(us, own, deleted)
	}
	return timetag
}

// presence is where a row is, or what a remove left of it.
type presence uint8

const (
	absent    presence = iota // there is nothing
	unwritten                 // it is a write of a client in the payload being filled
	present
)

// writtenBy returns the timetag of a row as the writes in flight will leave it. That of a client's write
// in the payload being filled isn't known yet, but for its cluster.
func (e *evaluation) writtenBy(key []byte) (timetag uint64, p presence, code int32) {
	var op Op
	var timestampUS int64
	var found bool
	if e.ov == nil {
		op, found = lastOp(e.payload, key)
	} else {
		op, timestampUS, found = e.ov.find(key, e.payload)
	}
	switch {
	case !found:
		timetag, found, code := e.s.writtenAt(key)
		if !found {
			return 0, absent, code
		}
		return timetag, present, codeOK
	case op.Timetag != 0:
		if timetag := timetagAt(op.Timetag, timestampUS); timetag>>8 != 0 {
			return timetag, present, codeOK
		}
		return op.Timetag, unwritten, codeOK
	case op.Delete:
		return 0, absent, codeOK
	case timestampUS == 0:
		return MakeTimetag(0, e.cluster, false), unwritten, codeOK
	}
	return MakeTimetag(timestampUS, e.cluster, false), present, codeOK
}

// ahead tells whether a timestamp is too far in the future to be followed.
func (e *evaluation) ahead(timestampUS int64) bool {
	return timestampUS/1e6-base.EpochBegin > int64(e.now)+int64(MaxAhead/time.Second)
}

// after demands that the mutation gets a later timestamp.
func (e *evaluation) after(timestampUS int64) {
	e.touched.AfterUS = max(e.touched.AfterUS, timestampUS)
}
