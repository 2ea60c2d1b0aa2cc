package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/base"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

// Table is one table of a cluster. It is safe for use by many goroutines.
//
// A hash key is at most base.MaxHashKey bytes; one that is empty makes the sort key decide
// about the partition, and is only good for the single-row methods. TTLs are in seconds;
// 0 is "never expires". See base.ExpireAt for the longest.
type Table struct {
	c     *Client
	name  string
	route atomic.Pointer[route]

	mu         sync.Mutex
	waiting    []func(error)
	refreshing bool
	refreshed  time.Time
}

// KV is a row of a hash key.
type KV struct{ SortKey, Value []byte }

// Name returns the table's name.
func (t *Table) Name() string { return t.name }

// AppID returns the table's id, as of the last look-up.
func (t *Table) AppID() int32 { return t.route.Load().appID }

// Partitions returns the number of partitions, as of the last look-up.
func (t *Table) Partitions() int { return len(t.route.Load().parts) }

func row(hashKey, sortKey []byte) (key []byte, hash uint64, err error) {
	if err := base.CheckHashKey(hashKey); err != nil {
		return nil, 0, err
	}
	return base.AppendKey(make([]byte, 0, 2+len(hashKey)+len(sortKey)), hashKey, sortKey), base.HashOf(hashKey, sortKey), nil
}

func hashOnly(hashKey []byte) (uint64, error) {
	if len(hashKey) == 0 {
		return 0, fmt.Errorf("the hash key is empty; this operation needs one: %w", base.ErrInvalidParameters)
	}
	if err := base.CheckHashKey(hashKey); err != nil {
		return 0, err
	}
	return base.CRC64(hashKey), nil
}

// Get reads a row; found is false if there is none.
func (t *Table) Get(ctx context.Context, hashKey, sortKey []byte) (value []byte, found bool, err error) {
	key, hash, err := row(hashKey, sortKey)
	if err != nil {
		return nil, false, err
	}
	res, err := do[rrdb.ReadResponse](ctx, t, Op{Code: base.RPCGet, Hash: hash, Arg: rpc.Blob(key)})
	switch {
	case err != nil:
		return nil, false, err
	case res.Error == CodeNotFound:
		return nil, false, nil
	}
	return res.Value, res.Error == 0, storeError("get", res.Error)
}

// Set writes a row.
func (t *Table) Set(ctx context.Context, hashKey, sortKey, value []byte, ttl int) error {
	key, hash, err := row(hashKey, sortKey)
	if err != nil {
		return err
	}
	expires, err := base.ExpireAt(int64(ttl), time.Now())
	if err != nil {
		return fmt.Errorf("set: %w", err)
	}
	arg := &rrdb.UpdateRequest{Key: key, Value: value, ExpireTsSeconds: expires}
	res, err := do[rrdb.UpdateResponse](ctx, t, Op{Code: base.RPCPut, Hash: hash, Arg: arg, Write: true})
	if err != nil {
		return err
	}
	return storeError("set", res.Error)
}

// Del removes a row, if there is one.
func (t *Table) Del(ctx context.Context, hashKey, sortKey []byte) error {
	key, hash, err := row(hashKey, sortKey)
	if err != nil {
		return err
	}
	res, err := do[rrdb.UpdateResponse](ctx, t, Op{Code: base.RPCRemove, Hash: hash, Arg: rpc.Blob(key), Write: true})
	if err != nil {
		return err
	}
	return storeError("del", res.Error)
}

// TTL returns how many seconds a row will live on, -1 if it doesn't expire; found is false
// if there is none.
func (t *Table) TTL(ctx context.Context, hashKey, sortKey []byte) (seconds int, found bool, err error) {
	key, hash, err := row(hashKey, sortKey)
	if err != nil {
		return 0, false, err
	}
	res, err := do[rrdb.TtlResponse](ctx, t, Op{Code: base.RPCTTL, Hash: hash, Arg: rpc.Blob(key)})
	switch {
	case err != nil:
		return 0, false, err
	case res.Error == CodeNotFound:
		return 0, false, nil
	}
	return int(res.TtlSeconds), res.Error == 0, storeError("ttl", res.Error)
}

// Incr adds to a row that holds a decimal number (none counts as 0) and returns the sum.
// ttl 0 keeps the row's expiry, a negative one removes it. It isn't sent again when its
// fate is unknown.
func (t *Table) Incr(ctx context.Context, hashKey, sortKey []byte, by int64, ttl int) (int64, error) {
	key, hash, err := row(hashKey, sortKey)
	if err != nil {
		return 0, err
	}
	arg := &rrdb.IncrRequest{Key: key, Increment: by, ExpireTsSeconds: -1}
	if ttl >= 0 {
		if arg.ExpireTsSeconds, err = base.ExpireAt(int64(ttl), time.Now()); err != nil {
			return 0, fmt.Errorf("incr: %w", err)
		}
	}
	res, err := do[rrdb.IncrResponse](ctx, t, Op{Code: base.RPCIncr, Hash: hash, Arg: arg, Write: true, Once: true})
	if err != nil {
		return 0, err
	}
	return res.NewValue, storeError("incr", res.Error)
}

// MultiGetOptions choose the rows of a hash key. The zero value takes all of them.
type MultiGetOptions struct {
	SortKeys [][]byte // these rows only; the rest but NoValue and the limits is ignored then

	From, To                   []byte // sort keys; To empty is "to the end"
	FromExclusive, ToInclusive bool   // leave out the row From; take in the row To
	Filter                     Filter // on the sort key
	Reverse                    bool   // take from the end; the order of the result stays ascending

	MaxCount, MaxBytes int // 0: the server's limits
	NoValue            bool
}

// Filter chooses keys by a part of them.
type Filter struct {
	Type    rrdb.FilterType
	Pattern []byte
}

// MultiGet reads rows of a hash key, in ascending order of the sort key or in the order
// asked for. all is false if there are more than a limit let through.
func (t *Table) MultiGet(ctx context.Context, hashKey []byte, o MultiGetOptions) (rows []KV, all bool, err error) {
	hash, err := hashOnly(hashKey)
	if err != nil {
		return nil, false, err
	}
	if err := errors.Join(base.Counts.Check("MaxCount", int64(o.MaxCount)), base.Counts.Check("MaxBytes", int64(o.MaxBytes))); err != nil {
		return nil, false, fmt.Errorf("multi-get: %w", err)
	}
	arg := &rrdb.MultiGetRequest{HashKey: hashKey, SortKeys: o.SortKeys, MaxKvCount: int32(o.MaxCount), MaxKvSize: int32(o.MaxBytes),
		NoValue: o.NoValue, StartSortkey: o.From, StopSortkey: o.To, StartInclusive: !o.FromExclusive, StopInclusive: o.ToInclusive,
		SortKeyFilterType: o.Filter.Type, SortKeyFilterPattern: o.Filter.Pattern, Reverse: o.Reverse}
	res, err := do[rrdb.MultiGetResponse](ctx, t, Op{Code: base.RPCMultiGet, Hash: hash, Arg: arg, Attempt: t.c.opts.RangeTimeout})
	if err != nil {
		return nil, false, err
	}
	if res.Error != 0 && res.Error != CodeIncomplete {
		return nil, false, storeError("multi-get", res.Error)
	}
	rows = make([]KV, len(res.Kvs))
	for i := range res.Kvs {
		rows[i] = KV{res.Kvs[i].Key, res.Kvs[i].Value}
	}
	return rows, res.Error == 0, nil
}

// MultiSet writes rows of a hash key, all or none of them.
func (t *Table) MultiSet(ctx context.Context, hashKey []byte, rows []KV, ttl int) error {
	hash, err := hashOnly(hashKey)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("multi-set: there are no rows: give at least one: %w", base.ErrInvalidParameters)
	}
	expires, err := base.ExpireAt(int64(ttl), time.Now())
	if err != nil {
		return fmt.Errorf("multi-set: %w", err)
	}
	arg := &rrdb.MultiPutRequest{HashKey: hashKey, Kvs: make([]rrdb.KeyValue, len(rows)), ExpireTsSeconds: expires}
	for i, r := range rows {
		arg.Kvs[i].Key, arg.Kvs[i].Value = r.SortKey, r.Value
	}
	res, err := do[rrdb.UpdateResponse](ctx, t, Op{Code: base.RPCMultiPut, Hash: hash, Arg: arg, Write: true})
	if err != nil {
		return err
	}
	return storeError("multi-set", res.Error)
}

// MultiDel removes rows of a hash key, all or none of them.
func (t *Table) MultiDel(ctx context.Context, hashKey []byte, sortKeys [][]byte) error {
	hash, err := hashOnly(hashKey)
	if err != nil {
		return err
	}
	if len(sortKeys) == 0 {
		return fmt.Errorf("multi-del: there are no sort keys: give at least one: %w", base.ErrInvalidParameters)
	}
	arg := &rrdb.MultiRemoveRequest{HashKey: hashKey, SortKeys: sortKeys}
	res, err := do[rrdb.MultiRemoveResponse](ctx, t, Op{Code: base.RPCMultiRemove, Hash: hash, Arg: arg, Write: true})
	if err != nil {
		return err
	}
	return storeError("multi-del", res.Error)
}

// SortKeyCount counts the rows of a hash key.
func (t *Table) SortKeyCount(ctx context.Context, hashKey []byte) (int64, error) {
	hash, err := hashOnly(hashKey)
	if err != nil {
		return 0, err
	}
	res, err := do[rrdb.CountResponse](ctx, t, Op{Code: base.RPCSortkeyCount, Hash: hash, Arg: rpc.Blob(hashKey), Attempt: t.c.opts.RangeTimeout})
	if err != nil {
		return 0, err
	}
	if res.Error == 0 && res.Count < 0 {
		return 0, fmt.Errorf("the server timed out while counting: %w", base.ErrTimeout)
	}
	return res.Count, storeError("sort-key-count", res.Error)
}

// FullRow is a row with its whole key.
type FullRow struct{ HashKey, SortKey, Value []byte }

// BatchGet reads rows of any hash keys with one request for each partition; the result has
// those that exist, in no particular order.
func (t *Table) BatchGet(ctx context.Context, keys []FullRow) ([]FullRow, error) {
	n := uint64(t.Partitions())
	groups := map[uint64]*rrdb.BatchGetRequest{}
	for _, k := range keys {
		if err := base.CheckHashKey(k.HashKey); err != nil {
			return nil, err
		}
		i := base.HashOf(k.HashKey, k.SortKey) % n
		if groups[i] == nil {
			groups[i] = &rrdb.BatchGetRequest{}
		}
		groups[i].Keys = append(groups[i].Keys, rrdb.FullKey{HashKey: k.HashKey, SortKey: k.SortKey})
	}
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		out   []FullRow
		first error
	)
	for i, g := range groups {
		wg.Go(func() {
			res, err := do[rrdb.BatchGetResponse](ctx, t, Op{Code: base.RPCBatchGet, Hash: i, Arg: g})
			if err == nil {
				err = storeError("batch-get", res.Error)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				first = err
				return
			}
			for _, d := range res.Data {
				out = append(out, FullRow{d.HashKey, d.SortKey, d.Value})
			}
		})
	}
	wg.Wait()
	return out, first
}

// Check is the condition of CheckAndSet and CheckAndMutate.
type Check struct {
	SortKey     []byte
	Type        rrdb.CasCheckType
	Operand     []byte
	ReturnValue bool
}

// valid says what is wrong with a check, as far as that doesn't depend on the row.
func (c *Check) valid() error {
	if c.Type < rrdb.CT_NO_CHECK || c.Type > rrdb.CT_VALUE_INT_GREATER {
		return fmt.Errorf("check type %d is unknown: %w", c.Type, base.ErrInvalidParameters)
	}
	return nil
}

// Checked is what became of a conditional write.
type Checked struct {
	Applied bool
	// With Check.ReturnValue: whether the checked row existed, and its value before.
	Exists bool
	Value  []byte
}

// CheckAndSet writes a row of a hash key if the check holds, as one step. It isn't sent
// again when its fate is unknown.
func (t *Table) CheckAndSet(ctx context.Context, hashKey []byte, check Check, sortKey, value []byte, ttl int) (Checked, error) {
	hash, err := hashOnly(hashKey)
	if err != nil {
		return Checked{}, err
	}
	expires, err := base.ExpireAt(int64(ttl), time.Now())
	if err = errors.Join(err, check.valid()); err != nil {
		return Checked{}, fmt.Errorf("check-and-set: %w", err)
	}
	arg := &rrdb.CheckAndSetRequest{HashKey: hashKey, CheckSortKey: check.SortKey, CheckType: check.Type, CheckOperand: check.Operand,
		SetDiffSortKey: !slices.Equal(sortKey, check.SortKey), SetSortKey: sortKey, SetValue: value,
		SetExpireTsSeconds: expires, ReturnCheckValue: check.ReturnValue}
	res, err := do[rrdb.CheckAndSetResponse](ctx, t, Op{Code: base.RPCCheckAndSet, Hash: hash, Arg: arg, Write: true, Once: true})
	if err != nil {
		return Checked{}, err
	}
	return checked("check-and-set", res.Error, res.CheckValueExist, res.CheckValue)
}

// Mutation is one step of CheckAndMutate.
type Mutation struct {
	Delete  bool
	SortKey []byte
	Value   []byte
	TTL     int
}

// CheckAndMutate writes and removes rows of a hash key if the check holds, as one step. It
// isn't sent again when its fate is unknown.
func (t *Table) CheckAndMutate(ctx context.Context, hashKey []byte, check Check, steps []Mutation) (Checked, error) {
	hash, err := hashOnly(hashKey)
	if err != nil {
		return Checked{}, err
	}
	if err := check.valid(); err != nil {
		return Checked{}, fmt.Errorf("check-and-mutate: %w", err)
	}
	if len(steps) == 0 {
		return Checked{}, fmt.Errorf("check-and-mutate: there are no steps: give at least one: %w", base.ErrInvalidParameters)
	}
	arg := &rrdb.CheckAndMutateRequest{HashKey: hashKey, CheckSortKey: check.SortKey, CheckType: check.Type, CheckOperand: check.Operand,
		MutateList: make([]rrdb.Mutate, len(steps)), ReturnCheckValue: check.ReturnValue}
	now := time.Now()
	for i, s := range steps {
		m := &arg.MutateList[i]
		m.SortKey, m.Value = s.SortKey, s.Value
		if m.SetExpireTsSeconds, err = base.ExpireAt(int64(s.TTL), now); err != nil {
			return Checked{}, fmt.Errorf("check-and-mutate, step %d: %w", i+1, err)
		}
		if s.Delete {
			m.Operation = rrdb.MO_DELETE
		}
	}
	res, err := do[rrdb.CheckAndMutateResponse](ctx, t, Op{Code: base.RPCCheckAndMutate, Hash: hash, Arg: arg, Write: true, Once: true})
	if err != nil {
		return Checked{}, err
	}
	return checked("check-and-mutate", res.Error, res.CheckValueExist, res.CheckValue)
}

func checked(op string, code int32, exists bool, value []byte) (Checked, error) {
	c := Checked{Applied: code == 0, Exists: exists, Value: value}
	if code == CodeTryAgain {
		code = 0
	}
	return c, storeError(op, code)
}
