package cppdata

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/tbin"
	"pegasus/cppdata/plog"
	"pegasus/gen/dupinternal"
	"pegasus/gen/rrdb"
	"pegasus/rocks"
	"pegasus/rocks/damage"
	"pegasus/rocks/pegasus"
	store "pegasus/rrdb"
)

// writeEmpty is a request that is in logs alone: it moves the decree on.
const writeEmpty = "RPC_REPLICATION_WRITE_EMPTY"

// change is what the log made of a row.
type change struct {
	pegasus.Value
	removed bool
}

// changes are the rows that a log changes over a store.
type changes struct {
	store      *pegasus.Replica
	ctx        context.Context
	rows       map[string]change
	begun      map[string]change // by the present mutation, which counts as a whole or not at all
	defaultTTL uint32
	stopped    uint32 // time for mutations that have none
}

func newChanges(ctx context.Context, s *pegasus.Replica, envs []base.Pair[string, string], stopped uint32) *changes {
	m := map[string]string{}
	for _, e := range envs {
		m[e.Key] = e.Val
	}
	set, _ := appenv.Parse(m)
	return &changes{store: s, ctx: ctx, rows: map[string]change{}, begun: map[string]change{}, defaultTTL: set.DefaultTTL, stopped: stopped}
}

// apply evaluates the requests of a mutation.
func (c *changes) apply(file string, m *plog.Mutation) error {
	clear(c.begun)
	for i := range m.Updates {
		u := &m.Updates[i]
		w := write{changes: c, at: m.TimestampUS, now: c.stopped}
		if m.TimestampUS > 0 {
			w.now = seconds(m.TimestampUS)
		}
		if err := w.request(u); err != nil {
			var unsupported *damage.Unsupported
			var damaged *damage.Error
			switch {
			case errors.As(err, &unsupported):
				return &damage.Unsupported{File: place(file, m), What: unsupported.What}
			case errors.As(err, &damaged), c.ctx.Err() != nil:
				return err // of the store
			}
			return damage.Newf(place(file, m), -1, plog.Log, "%s: %w", u.Code, err)
		}
	}
	maps.Copy(c.rows, c.begun)
	return nil
}

// seconds are those since base.EpochBegin.
func seconds(us int64) uint32 { return uint32(min(max(us/1e6-base.EpochBegin, 0), math.MaxUint32)) }

// write is a request that is evaluated.
type write struct {
	*changes
	at  int64  // its timestamp
	now uint32 // the time by which expiry is judged
}

// request evaluates a request.
func (w *write) request(u *plog.Update) error {
	switch u.Code {
	case writeEmpty:
		return nil
	case base.RPCIngest:
		return &damage.Unsupported{What: "the taking in of a bulk load's files, which the store hasn't made durable; start the C++ server once and stop it, or use another replica"}
	}
	return w.argument(u.Code, u.Data, true)
}

// argument evaluates the argument of a request, a struct with one field.
func (w *write) argument(code string, data []byte, client bool) error {
	var r tbin.Reader
	r.Reset(data)
	// Clients number the argument 1, upstream's own code 0.
	t, _ := r.Field()
	if r.Err() != nil || t != tbin.Struct {
		return errors.New("its data is no argument")
	}
	do, err := w.decode(code, &r, client)
	if err != nil {
		return err
	}
	if t, _ := r.Field(); r.Err() != nil || t != tbin.Stop || r.Len() != 0 {
		return errors.New("its argument is damaged")
	}
	return do()
}

// decode reads the argument, and returns what it does to rows.
func (w *write) decode(code string, r *tbin.Reader, client bool) (do func() error, err error) {
	switch code {
	case base.RPCPut:
		var q rrdb.UpdateRequest
		q.ReadThrift(r)
		return func() error {
			// A remove by check_and_mutate comes as a put of a type of its own. C++ secondaries put an empty value then; the primary, and the client, meant a remove.
			if q.Type.Or(rrdb.UT_PUT) == rrdb.UT_CHECK_AND_MUTATE_REMOVE {
				return w.remove(q.Key)
			}
			return w.put(q.Key, q.Value, uint32(q.ExpireTsSeconds), w.at)
		}, nil
	case base.RPCRemove:
		key := r.Bytes()
		return func() error { return w.remove(key) }, nil
	case base.RPCMultiPut:
		var q rrdb.MultiPutRequest
		q.ReadThrift(r)
		return func() error {
			if err := base.CheckHashKey(q.HashKey); err != nil {
				return err
			}
			for i := range q.Kvs {
				if err := w.put(base.AppendKey(nil, q.HashKey, q.Kvs[i].Key), q.Kvs[i].Value, uint32(q.ExpireTsSeconds), w.at); err != nil {
					return err
				}
			}
			return nil
		}, nil
	case base.RPCMultiRemove:
		var q rrdb.MultiRemoveRequest
		q.ReadThrift(r)
		return func() error {
			if err := base.CheckHashKey(q.HashKey); err != nil {
				return err
			}
			for _, k := range q.SortKeys {
				if err := w.remove(base.AppendKey(nil, q.HashKey, k)); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
	if client {
		switch code {
		case base.RPCIncr:
			var q rrdb.IncrRequest
			q.ReadThrift(r)
			return func() error { return w.incr(&q) }, nil
		case base.RPCCheckAndSet:
			var q rrdb.CheckAndSetRequest
			q.ReadThrift(r)
			return func() error { return w.checkAndSet(&q) }, nil
		case base.RPCCheckAndMutate:
			var q rrdb.CheckAndMutateRequest
			q.ReadThrift(r)
			return func() error { return w.checkAndMutate(&q) }, nil
		case base.RPCDuplicate:
			entries := readDuplicates(r)
			return func() error { return w.duplicate(entries) }, nil
		}
	}
	return nil, &damage.Unsupported{What: fmt.Sprintf("a request %q", code)}
}

// readDuplicates reads the argument of a duplication: a list of writes, or before upstream's 2.4 a single one, whose fields stand in place of the list.
func readDuplicates(r *tbin.Reader) []dupinternal.DuplicateEntry {
	peek := *r
	peek.Begin()
	if t, id := peek.Field(); t == tbin.Stop || t == tbin.List && id == 1 {
		var q dupinternal.DuplicateRequest
		q.ReadThrift(r)
		return q.Entries
	}
	var one dupinternal.DuplicateEntry
	one.ReadThrift(r)
	return []dupinternal.DuplicateEntry{one}
}

func (w *write) put(key, value []byte, expireTS uint32, timestampUS int64) error {
	return w.set(key, value, expireTS, store.MakeTimetag(timestampUS, 0, false))
}

func (w *write) set(key, value []byte, expireTS uint32, timetag uint64) error {
	if _, _, ok := base.SplitKey(key); !ok {
		return fmt.Errorf("its key %x is none", key)
	}
	if expireTS == 0 && w.defaultTTL > 0 {
		expireTS = uint32(min(uint64(w.now)+uint64(w.defaultTTL), math.MaxUint32))
	}
	w.begun[string(key)] = change{Value: pegasus.Value{ExpireTS: expireTS, Timetag: timetag, Data: value}}
	return nil
}

func (w *write) remove(key []byte) error {
	if _, _, ok := base.SplitKey(key); !ok {
		return fmt.Errorf("its key %x is none", key)
	}
	w.begun[string(key)] = change{removed: true}
	return nil
}

// read returns a row, if it is live.
func (w *write) read(key []byte) (v pegasus.Value, live bool, err error) {
	c, ok := w.begun[string(key)]
	if !ok {
		c, ok = w.rows[string(key)]
	}
	if !ok {
		it, err := w.store.Rows(w.ctx, rocks.Bounds{Lower: key, Upper: append(key[:len(key):len(key)], 0)})
		if err != nil {
			return v, false, err
		}
		defer it.Close()
		if !it.Next() {
			return v, false, it.Err()
		}
		c.Value = it.Row().Value
		c.Data = append([]byte(nil), c.Data...)
	}
	if c.removed || c.Expired(w.now) {
		return v, false, nil
	}
	return c.Value, true, nil
}

// Atomic writes have no timestamp of their own: a C++ server stores them with 0.
const noTimestamp = 0

func (w *write) incr(q *rrdb.IncrRequest) error {
	if _, _, ok := base.SplitKey(q.Key); !ok {
		return fmt.Errorf("its key %x is none", q.Key)
	}
	v, live, err := w.read(q.Key)
	if err != nil {
		return err
	}
	var old int64
	if len(v.Data) > 0 {
		var ok bool
		if old, ok = store.ParseInt(v.Data); !ok {
			return nil // it was refused
		}
	}
	sum, ok := store.AddInt(old, q.Increment)
	if !ok {
		return nil
	}
	return w.put(q.Key, strconv.AppendInt(nil, sum, 10), store.IncrExpiry(v.ExpireTS, q.ExpireTsSeconds, live), noTimestamp)
}

// passes tells whether a row passes a check.
func (w *write) passes(hashKey, sortKey []byte, kind rrdb.CasCheckType, operand []byte) (bool, error) {
	if err := base.CheckHashKey(hashKey); err != nil {
		return false, err
	}
	v, live, err := w.read(base.AppendKey(nil, hashKey, sortKey))
	return err == nil && store.Passes(kind, live, v.Data, operand), err
}

func (w *write) checkAndSet(q *rrdb.CheckAndSetRequest) error {
	ok, err := w.passes(q.HashKey, q.CheckSortKey, q.CheckType, q.CheckOperand)
	if !ok {
		return err
	}
	sortKey := q.CheckSortKey
	if q.SetDiffSortKey {
		sortKey = q.SetSortKey
	}
	return w.put(base.AppendKey(nil, q.HashKey, sortKey), q.SetValue, uint32(q.SetExpireTsSeconds), noTimestamp)
}

func (w *write) checkAndMutate(q *rrdb.CheckAndMutateRequest) error {
	for i := range q.MutateList {
		if op := q.MutateList[i].Operation; op != rrdb.MO_PUT && op != rrdb.MO_DELETE {
			return nil // it was refused
		}
	}
	ok, err := w.passes(q.HashKey, q.CheckSortKey, q.CheckType, q.CheckOperand)
	if !ok {
		return err
	}
	for i := range q.MutateList {
		m := &q.MutateList[i]
		key := base.AppendKey(nil, q.HashKey, m.SortKey)
		if m.Operation == rrdb.MO_DELETE {
			err = w.remove(key)
		} else {
			err = w.put(key, m.Value, uint32(m.SetExpireTsSeconds), noTimestamp)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// duplicate evaluates writes that another cluster sent.
func (w *write) duplicate(entries []dupinternal.DuplicateEntry) error {
	for i := range entries {
		e := &entries[i]
		one := write{changes: &changes{store: w.store, ctx: w.ctx, begun: map[string]change{}, defaultTTL: w.defaultTTL}, at: e.Timestamp.V, now: w.now}
		if err := one.argument(string(e.TaskCode.V), e.RawMessage.V, false); err != nil {
			return fmt.Errorf("write %d of a duplication, %s: %w", i, e.TaskCode.V, err)
		}
		timetag := store.MakeTimetag(e.Timestamp.V, uint8(e.ClusterId.V), false)
		for key, c := range one.begun {
			if c.removed {
				w.begun[key] = c
				continue
			}
			if e.VerifyTimetag.V { // what is there later stays
				is, live, err := w.read([]byte(key))
				if err != nil {
					return err
				}
				if live && is.Timetag >= timetag {
					continue
				}
			}
			c.Timetag = timetag
			w.begun[key] = c
		}
	}
	return nil
}
