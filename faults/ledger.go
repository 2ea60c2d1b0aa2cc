package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

// ledger is rows that are written once and removed once, with what is known of both. Scans
// are checked against it, and the end of the run: a row is there, or it isn't, or nobody
// can know.
type ledger struct {
	own        string // the beginning of its hash keys, where two clusters share a table
	partitions int
	sizes      int // of the largest value

	mu    sync.Mutex
	parts [][]*entry // by partition, in the order of creation
	byKey map[string]*entry
	next  int
	live  []*entry // acknowledged and not removed, oldest first
	acked int
	last  []int64 // by partition, when a row was acknowledged last
}

// entry is one row. Times are those of histories; 0 is never.
type entry struct {
	key       []byte // of the row, encoded
	num       int
	setCall   int64
	setAck    int64 // acknowledged
	setRefuse bool  // surely never written
	delCall   int64
	delAck    int64
}

func newLedger(partitions, sizes int) *ledger {
	return &ledger{partitions: partitions, sizes: sizes, parts: make([][]*entry, partitions), last: make([]int64, partitions), byKey: map[string]*entry{}}
}

// value is what row num holds: its number and a filling that follows from it.
func (l *ledger) value(num int) []byte {
	b := strconv.AppendInt(nil, int64(num), 10)
	r := rand.New(rand.NewPCG(uint64(num), 7))
	for range r.IntN(l.sizes + 1) {
		b = append(b, byte(' '+r.IntN(95)))
	}
	return b
}

// begin makes a row that is about to be written.
func (l *ledger) begin() (e *entry, hash uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	hk := []byte(l.own + "L" + strconv.Itoa(l.next))
	e = &entry{num: l.next, key: base.AppendKey(nil, hk, nil), setCall: now()}
	hash = base.CRC64(hk)
	p := int(hash % uint64(l.partitions))
	l.parts[p] = append(l.parts[p], e)
	l.byKey[string(e.key)] = e
	return e, hash
}

func (l *ledger) wrote(e *entry, out outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch out {
	case done:
		e.setAck = now()
		l.acked++
		hk, _, _ := base.SplitKey(e.key)
		l.last[base.CRC64(hk)%uint64(l.partitions)] = e.setAck
		l.live = append(l.live, e)
	case refused:
		e.setRefuse = true
	}
}

// oldest takes the oldest row, to remove it, if more than most are live.
func (l *ledger) oldest(most int) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.live) <= most {
		return nil
	}
	e := l.live[0]
	l.live = l.live[1:]
	e.delCall = now()
	return e
}

func (l *ledger) removed(e *entry, out outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch out {
	case done:
		e.delAck = now()
	case refused:
		e.delCall = 0 // it lives on
		l.live = append([]*entry{e}, l.live...)
	}
}

// write makes one attempt at a new row and returns its outcome.
func (l *ledger) write(c *caller) (outcome, error) {
	e, hash := l.begin()
	var res rrdb.UpdateResponse
	_, err := c.call("", hash, base.RPCPut, &rrdb.UpdateRequest{Key: e.key, Value: l.value(e.num)}, &res)
	if err == nil {
		err = result(res.Error)
	}
	out := judge(err)
	l.wrote(e, out)
	return out, err
}

// remove makes one attempt at removing the oldest row, if there are more than most.
func (l *ledger) remove(c *caller, most int) (tried bool, out outcome) {
	e := l.oldest(most)
	if e == nil {
		return false, refused
	}
	hk, _, _ := base.SplitKey(e.key)
	var res rrdb.UpdateResponse
	_, err := c.call("", base.CRC64(hk), base.RPCRemove, rpc.Blob(e.key), &res)
	if err == nil {
		err = result(res.Error)
	}
	out = judge(err)
	l.removed(e, out)
	return true, out
}

// lastWrite returns when a row of a partition was acknowledged last, 0 if none was.
func (l *ledger) lastWrite(partition int) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last[partition]
}

func (l *ledger) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

// scanResult is what a scan of the ledger found wrong.
type scanResult struct {
	rows int
	lost []string // acknowledged, not removed, and not there
	odd  []string // there, though it can't be; or with another value; or twice
}

// scan walks a partition and compares. An error means that it didn't come to its end, and
// says nothing.
func (l *ledger) scan(ctx context.Context, c *client.Client, table string, partition, batch int) (r scanResult, err error) {
	t, err := c.Table(ctx, table)
	if err != nil {
		return r, err
	}
	if t.Partitions() != l.partitions {
		return r, fmt.Errorf("table has %d partitions, not %d", t.Partitions(), l.partitions)
	}
	began := now()
	found := map[string][]byte{}
	s := t.ScanAll(client.ScanOptions{Batch: batch, HashFilter: client.Filter{Type: rrdb.FT_MATCH_PREFIX, Pattern: []byte(l.own + "L")}}, partition)
	defer s.Close()
	for s.Next(ctx) {
		row := s.Row()
		key := string(base.AppendKey(nil, row.HashKey, row.SortKey))
		if _, twice := found[key]; twice {
			r.odd = append(r.odd, fmt.Sprintf("row %q comes twice in a scan of partition %d", row.HashKey, partition))
		}
		found[key] = row.Value
	}
	if s.Err() != nil {
		return r, s.Err()
	}
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	l.compare(&r, partition, found, began, now())
	return r, nil
}

// compare judges what a scan found that took from began to ended.
func (l *ledger) compare(r *scanResult, partition int, found map[string][]byte, began, ended int64) {
	r.rows = len(found)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.parts[partition] {
		_, there := found[string(e.key)]
		switch {
		case !there && e.setAck != 0 && e.setAck < began && (e.delCall == 0 || e.delCall > ended):
			r.lost = append(r.lost, fmt.Sprintf("row %q of partition %d, acknowledged at %.3fs, is missing from a scan from %.3fs to %.3fs",
				e.key[2:], partition, seconds(e.setAck), seconds(began), seconds(ended)))
		case there && e.setRefuse:
			r.odd = append(r.odd, fmt.Sprintf("row %q of partition %d is there, its write at %.3fs was refused", e.key[2:], partition, seconds(e.setCall)))
		case there && e.delAck != 0 && e.delAck < began:
			r.odd = append(r.odd, fmt.Sprintf("row %q of partition %d is there, its removal was acknowledged at %.3fs, the scan began at %.3fs",
				e.key[2:], partition, seconds(e.delAck), seconds(began)))
		}
	}
	for key, v := range found {
		e := l.byKey[key]
		switch {
		case e == nil:
			r.odd = append(r.odd, fmt.Sprintf("row %q of partition %d, which nobody wrote", key[2:], partition))
		case !bytes.Equal(v, l.value(e.num)):
			r.odd = append(r.odd, fmt.Sprintf("row %q of partition %d holds %d bytes which nobody wrote", key[2:], partition, len(v)))
		}
	}
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

// scanAll scans every partition, again where it fails, and adds up.
func (l *ledger) scanAll(ctx context.Context, c *client.Client, table string) (sum scanResult, err error) {
	for p := range l.partitions {
		e := poll(ctx, func() error {
			r, err := l.scan(ctx, c, table, p, 1000)
			if err == nil {
				sum.rows += r.rows
				sum.lost = append(sum.lost, r.lost...)
				sum.odd = append(sum.odd, r.odd...)
			}
			return err
		})
		if e != nil {
			err = errors.Join(err, fmt.Errorf("scan of partition %d: %w", p, e))
		}
	}
	return sum, err
}
