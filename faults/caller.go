package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/base/tbin"
	"pegasus/client"
	"pegasus/gen/layer2"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

// outcome is what is known of an attempt.
type outcome uint8

const (
	done    outcome = iota
	refused         // it surely has no effect, now and later
	unknown
)

// judge tells what an error says about the fate of a request. What isn't known to be a
// refusal is unknown.
func judge(err error) outcome {
	if err == nil {
		return done
	}
	var h *rpc.HeaderError
	if errors.As(err, &h) {
		switch h.Code {
		case base.ErrInvalidState, base.ErrObjectNotFound, base.ErrNotEnoughMember, base.ErrInvalidData, base.ErrCapacityExceeded,
			base.ErrParentPartitionMisused, base.ErrHandlerNotFound, base.ErrBusy, base.ErrInactiveState:
			return refused
		}
		return unknown
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" || errors.Is(err, base.ErrBusy) || errors.Is(err, errNoPrimary) {
		return refused // it never left
	}
	return unknown
}

var errNoPrimary = errors.New("the partition has no primary")

// caller sends single attempts.
type caller struct {
	own     string // the beginning of the hash keys of its histories, where two clusters share a table
	table   string
	timeout time.Duration
	pool    *rpc.Pool
	cl      *client.Client
	config  atomic.Pointer[layer2.QueryCfgResponse]
	stale   chan struct{}
}

func newCaller(c *client.Client, table string, timeout time.Duration) *caller {
	return &caller{table: table, timeout: timeout, cl: c, stale: make(chan struct{}, 1),
		pool: rpc.NewPool(rpc.PoolOptions{DialTimeout: time.Second, BackoffMax: 200 * time.Millisecond})}
}

// follow keeps the route fresh until ctx ends: at once when a call failed, and each second.
func (c *caller) follow(ctx context.Context) {
	for ctx.Err() == nil {
		qctx, cancel := context.WithTimeout(ctx, time.Second)
		cfg, err := c.cl.Admin().QueryConfig(qctx, c.table)
		cancel()
		if err == nil {
			c.config.Store(cfg)
		}
		if !pause.For(ctx, 50*time.Millisecond) {
			return
		}
		wait, cancel := context.WithTimeout(ctx, time.Second)
		select {
		case <-c.stale:
		case <-wait.Done():
		}
		cancel()
	}
}

// primary returns who serves a hash, and the partition.
func (c *caller) primary(hash uint64) (addr string, g base.Gpid) {
	cfg := c.config.Load()
	if cfg == nil || len(cfg.Partitions) == 0 {
		return "", base.Gpid{}
	}
	p := &cfg.Partitions[hash%uint64(len(cfg.Partitions))]
	if !p.Primary.IsZero() {
		addr = p.Primary.String()
	}
	return addr, p.Pid
}

// call makes one attempt, at addr or, if that is "", at the primary. It returns where.
func (c *caller) call(addr string, hash uint64, code string, arg tbin.Encoder, res tbin.Decoder) (string, error) {
	to, g := c.primary(hash)
	if addr != "" {
		to = addr
	}
	if to == "" {
		c.refresh()
		return "", errNoPrimary
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	err := c.pool.Call(ctx, to, rpc.Outgoing{Code: code, Gpid: g, PartitionHash: hash, Arg: arg}, res)
	if err != nil && addr == "" {
		c.refresh()
	}
	return to, err
}

func (c *caller) refresh() {
	select {
	case c.stale <- struct{}{}:
	default:
	}
}

func (c *caller) close() { c.pool.Close() }

var errStore = errors.New("storage error")

// result turns the error field of an answer into an error, but for the codes that belong
// to its meaning.
func result(code int32, fine ...int32) error {
	if code == 0 {
		return nil
	}
	for _, f := range fine {
		if code == f {
			return nil
		}
	}
	return fmt.Errorf("%w %d", errStore, code)
}

var start = time.Now()

// now is the time of histories.
func now() int64 { return int64(time.Since(start)) }

// hashKey names the hash key of a history.
func (c *caller) hashKey(key int32) []byte { return []byte(c.own + "k" + strconv.Itoa(int(key))) }

var sortKeys = [rows][]byte{[]byte("a"), []byte("b"), []byte("c"), []byte("n")}

func text(v int64) []byte { return strconv.AppendInt(nil, v, 10) }

func number(b []byte) (int64, error) {
	v, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || v <= 0 {
		return 0, fmt.Errorf("the row holds %q, which nobody wrote: %w", b, base.ErrInvalidData)
	}
	return v, nil
}

// do carries out op with one attempt at addr ("": the primary) and fills in its outcome. A
// value that nobody can have written is an error that wraps base.ErrInvalidData.
func (c *caller) do(op *Op, addr string) (outcome, error) {
	hk := c.hashKey(op.Key)
	hash := base.CRC64(hk)
	row := func(i uint8) []byte { return base.AppendKey(nil, hk, sortKeys[i]) }
	var err, bad error
	send := func(code string, arg tbin.Encoder, res tbin.Decoder) bool {
		op.Server, err = c.call(addr, hash, code, arg, res)
		return err == nil
	}
	op.Call = now()
	switch op.Kind {
	case Get:
		var res rrdb.ReadResponse
		if send(base.RPCGet, rpc.Blob(row(op.Row)), &res) {
			if err = result(res.Error, base.StoreNotFound); err == nil && res.Error == 0 {
				op.Got, bad = number(res.Value)
			}
		}
	case Set:
		var res rrdb.UpdateResponse
		if send(base.RPCPut, &rrdb.UpdateRequest{Key: row(op.Row), Value: text(op.Value)}, &res) {
			err = result(res.Error)
		}
	case Del:
		var res rrdb.UpdateResponse
		if send(base.RPCRemove, rpc.Blob(row(op.Row)), &res) {
			err = result(res.Error)
		}
	case Incr:
		var res rrdb.IncrResponse
		if send(base.RPCIncr, &rrdb.IncrRequest{Key: row(op.Row), Increment: op.Value}, &res) {
			err, op.Got = result(res.Error), res.NewValue
		}
	case CheckAndSet:
		var res rrdb.CheckAndSetResponse
		arg := &rrdb.CheckAndSetRequest{HashKey: hk, CheckSortKey: sortKeys[op.CheckRow], CheckOperand: text(op.Operand), SetSortKey: sortKeys[op.Row],
			SetDiffSortKey: op.CheckRow != op.Row, SetValue: text(op.Value), ReturnCheckValue: true,
			CheckType: []rrdb.CasCheckType{rrdb.CT_VALUE_NOT_EXIST, rrdb.CT_VALUE_EXIST, rrdb.CT_VALUE_BYTES_EQUAL}[op.Check]}
		if send(base.RPCCheckAndSet, arg, &res) {
			err, op.Applied = result(res.Error, base.StoreTryAgain), res.Error == 0
			if err == nil && res.CheckValueExist {
				op.Got, bad = number(res.CheckValue)
			}
		}
	case MultiSet:
		var res rrdb.UpdateResponse
		arg := &rrdb.MultiPutRequest{HashKey: hk}
		for i := range sortKeys {
			if op.Mask>>i&1 != 0 {
				arg.Kvs = append(arg.Kvs, rrdb.KeyValue{Key: sortKeys[i], Value: text(op.Value)})
			}
		}
		if send(base.RPCMultiPut, arg, &res) {
			err = result(res.Error)
		}
	case MultiDel:
		var res rrdb.MultiRemoveResponse
		arg := &rrdb.MultiRemoveRequest{HashKey: hk}
		for i := range sortKeys {
			if op.Mask>>i&1 != 0 {
				arg.SortKeys = append(arg.SortKeys, sortKeys[i])
			}
		}
		if send(base.RPCMultiRemove, arg, &res) {
			err = result(res.Error)
		}
	case MultiGet:
		var res rrdb.MultiGetResponse
		arg := &rrdb.MultiGetRequest{HashKey: hk, StartInclusive: true, MaxKvCount: 100, MaxKvSize: 1 << 20}
		if send(base.RPCMultiGet, arg, &res) {
			if err = result(res.Error); err == nil {
				for _, kv := range res.Kvs {
					bad = errors.Join(bad, op.saw(kv.Key, kv.Value))
				}
			}
		}
	case Scan:
		var res rrdb.ScanResponse
		arg := &rrdb.GetScannerRequest{StartKey: base.AppendKey(nil, hk, nil), StopKey: base.NextKey(nil, base.AppendKey(nil, hk, nil)), StartInclusive: true, BatchSize: 100}
		if send(base.RPCGetScanner, arg, &res) {
			if err = result(res.Error); err == nil {
				for _, kv := range res.Kvs {
					h, s, ok := base.SplitKey(kv.Key)
					if !ok || string(h) != string(hk) {
						bad = errors.Join(bad, fmt.Errorf("scan of %s meets row %q: %w", hk, kv.Key, base.ErrInvalidData))
						continue
					}
					bad = errors.Join(bad, op.saw(s, kv.Value))
				}
			}
		}
	}
	op.Return = now()
	if bad != nil {
		return done, fmt.Errorf("key %d at %s: %w", op.Key, op.Server, bad)
	}
	out := judge(err)
	op.Unknown = out == unknown
	return out, nil
}

// saw notes a row that a range read returned.
func (op *Op) saw(sortKey, value []byte) error {
	for i := range sortKeys {
		if string(sortKeys[i]) == string(sortKey) {
			v, err := number(value)
			if err == nil && op.All[i] != 0 {
				err = fmt.Errorf("row %s comes twice: %w", sortKey, base.ErrInvalidData)
			}
			op.All[i] = v
			return err
		}
	}
	return fmt.Errorf("row %q, which nobody wrote: %w", sortKey, base.ErrInvalidData)
}

// newClient returns a client of the cluster that tries again, for everything but histories.
func newClient(metas []string) *client.Client {
	return client.New(metas, client.Options{Timeout: 10 * time.Second, AttemptTimeout: 2 * time.Second, RangeTimeout: 5 * time.Second})
}

// tasks runs functions with a stop that waits for them.
type tasks struct {
	wg     sync.WaitGroup
	cancel context.CancelFunc
	ctx    context.Context
}

func newTasks(ctx context.Context) *tasks {
	t := &tasks{}
	t.ctx, t.cancel = context.WithCancel(ctx)
	return t
}

func (t *tasks) run(f func(ctx context.Context)) { t.wg.Go(func() { f(t.ctx) }) }

func (t *tasks) stop() {
	t.cancel()
	t.wg.Wait()
}
