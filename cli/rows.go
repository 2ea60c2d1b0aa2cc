package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/rrdb"
)

type rowJSON struct {
	HashKey string  `json:"hash_key"`
	SortKey string  `json:"sort_key"`
	Value   *string `json:"value,omitempty"`
	Expires string  `json:"expires,omitempty"`
}

// rowArgs looks the table up and reads the keys of a row.
func rowArgs(e *Env, ctx context.Context, table string, args ...string) (*client.Table, [][]byte, error) {
	b, err := e.manyBytes(args...)
	if err != nil {
		return nil, nil, err
	}
	t, err := e.Client.Table(ctx, table)
	return t, b, err
}

func missing(table string, hashKey, sortKey []byte) error {
	return &NotFoundError{table, Quote(hashKey), Quote(sortKey)}
}

// Get prints a row's value. A row that doesn't exist is a *NotFoundError.
func (e *Env) Get(ctx context.Context, table, hashKey, sortKey string) error {
	t, k, err := rowArgs(e, ctx, table, hashKey, sortKey)
	if err != nil {
		return err
	}
	v, found, err := t.Get(ctx, k[0], k[1])
	if err != nil {
		return err
	}
	if !found {
		return missing(table, k[0], k[1])
	}
	text := Escape(v)
	return e.print(rowJSON{HashKey: Escape(k[0]), SortKey: Escape(k[1]), Value: &text}, "%s", text)
}

// Set writes a row; ttl is in seconds, 0 for "never expires".
func (e *Env) Set(ctx context.Context, table, hashKey, sortKey, value string, ttl int) error {
	t, k, err := rowArgs(e, ctx, table, hashKey, sortKey, value)
	if err != nil {
		return err
	}
	if ttl < 0 {
		return fmt.Errorf("--ttl %d: give seconds, or 0 for a row that never expires", ttl)
	}
	if err := t.Set(ctx, k[0], k[1], k[2], ttl); err != nil {
		return err
	}
	return e.ok()
}

// Del removes a row.
func (e *Env) Del(ctx context.Context, table, hashKey, sortKey string) error {
	t, k, err := rowArgs(e, ctx, table, hashKey, sortKey)
	if err != nil {
		return err
	}
	if err := t.Del(ctx, k[0], k[1]); err != nil {
		return err
	}
	return e.ok()
}

func (e *Env) ok() error { return e.print(map[string]bool{"ok": true}, "OK") }

// TTL prints how many seconds a row will live on.
func (e *Env) TTL(ctx context.Context, table, hashKey, sortKey string) error {
	t, k, err := rowArgs(e, ctx, table, hashKey, sortKey)
	if err != nil {
		return err
	}
	ttl, found, err := t.TTL(ctx, k[0], k[1])
	if err != nil {
		return err
	}
	if !found {
		return missing(table, k[0], k[1])
	}
	text := "doesn't expire"
	if ttl >= 0 {
		text = fmt.Sprintf("%d seconds", ttl)
	}
	return e.print(map[string]int{"ttl_seconds": ttl}, "%s", text)
}

// Incr adds to a row and prints the sum.
func (e *Env) Incr(ctx context.Context, table, hashKey, sortKey string, by int64, ttl int) error {
	t, k, err := rowArgs(e, ctx, table, hashKey, sortKey)
	if err != nil {
		return err
	}
	n, err := t.Incr(ctx, k[0], k[1], by, ttl)
	if err != nil {
		return err
	}
	return e.print(map[string]int64{"value": n}, "%d", n)
}

// ParseFilter reads "prefix:TEXT", "postfix:TEXT" or "anywhere:TEXT"; empty is no filter.
func (e *Env) ParseFilter(s string) (client.Filter, error) {
	if s == "" {
		return client.Filter{}, nil
	}
	how, text, ok := strings.Cut(s, ":")
	types := map[string]rrdb.FilterType{"prefix": rrdb.FT_MATCH_PREFIX, "postfix": rrdb.FT_MATCH_POSTFIX, "anywhere": rrdb.FT_MATCH_ANYWHERE}
	if !ok || types[how] == 0 {
		return client.Filter{}, fmt.Errorf("filter %q: write prefix:TEXT, postfix:TEXT or anywhere:TEXT", s)
	}
	b, err := e.bytes(text)
	return client.Filter{Type: types[how], Pattern: b}, err
}

// Range are the flags that choose rows of a hash key.
type Range struct {
	From, To, Filter string // sort keys; Filter as ParseFilter has it
	ToInclusive      bool
	NoValue          bool
	Max              int // rows; 0 is all
}

// MultiGet prints rows of a hash key: those named, or those of the range.
func (e *Env) MultiGet(ctx context.Context, table, hashKey string, sortKeys []string, r Range, reverse bool) error {
	t, k, err := rowArgs(e, ctx, table, append([]string{hashKey, r.From, r.To}, sortKeys...)...)
	if err != nil {
		return err
	}
	f, err := e.ParseFilter(r.Filter)
	if err != nil {
		return err
	}
	rows, all, err := t.MultiGet(ctx, k[0], client.MultiGetOptions{SortKeys: k[3:], From: k[1], To: k[2], ToInclusive: r.ToInclusive,
		Filter: f, Reverse: reverse, NoValue: r.NoValue, MaxCount: r.Max})
	if err != nil {
		return err
	}
	if e.JSON {
		list := make([]rowJSON, len(rows))
		for i, row := range rows {
			list[i] = rowJSON{HashKey: Escape(k[0]), SortKey: Escape(row.SortKey)}
			if !r.NoValue {
				v := Escape(row.Value)
				list[i].Value = &v
			}
		}
		return e.json(map[string]any{"rows": list, "all": all})
	}
	for _, row := range rows {
		if err := printRow(e, client.Row{HashKey: k[0], SortKey: row.SortKey, Value: row.Value}, r.NoValue); err != nil {
			return err
		}
	}
	if !all {
		_, err = fmt.Fprintf(e.Out, "(%d rows, there are more)\n", len(rows))
	}
	return err
}

// printRow prints one row of many.
func printRow(e *Env, r client.Row, noValue bool) error {
	if e.JSON {
		j := rowJSON{HashKey: Escape(r.HashKey), SortKey: Escape(r.SortKey)}
		if !noValue {
			v := Escape(r.Value)
			j.Value = &v
		}
		j.Expires = expiryOf(&r)
		return e.json(j)
	}
	b := make([]byte, 0, 64+len(r.HashKey)+len(r.SortKey)+len(r.Value))
	b = append(appendQuote(b, r.HashKey), " : "...)
	b = appendQuote(b, r.SortKey)
	if !noValue {
		b = appendQuote(append(b, " => "...), r.Value)
	}
	if x := expiryOf(&r); x != "" {
		b = append(append(append(b, " (until "...), x...), ')')
	}
	_, err := e.Out.Write(append(b, '\n'))
	return err
}

// expiryOf is until when a row lives, "" for ever.
func expiryOf(r *client.Row) string {
	if r.ExpireTS == 0 {
		return ""
	}
	return moment(int64(r.ExpireTS) + base.EpochBegin)
}

// Scan are the arguments of `scan` and `count`.
type Scan struct {
	Range
	HashKey    *string // nil: all hash keys
	HashFilter string
	Batch      int
	Expires    bool
	Partition  int // -1: all
}

// pageRows is how many rows a server is asked for at a time, unless it is said.
const pageRows = 1000

// scanners are walks over the rows, one after the other in the order of partitions.
func scanners(e *Env, ctx context.Context, table string, a Scan) ([]*client.Scanner, error) {
	t, k, err := rowArgs(e, ctx, table, a.From, a.To)
	if err != nil {
		return nil, err
	}
	o := client.ScanOptions{Batch: a.Batch, NoValue: a.NoValue, From: k[0], To: k[1], ToInclusive: a.ToInclusive, ExpireTS: a.Expires}
	if o.Batch == 0 {
		o.Batch = pageRows
	}
	if a.Max > 0 {
		o.Batch = min(o.Batch, a.Max)
	}
	if o.SortFilter, err = e.ParseFilter(a.Filter); err != nil {
		return nil, err
	}
	if o.HashFilter, err = e.ParseFilter(a.HashFilter); err != nil {
		return nil, err
	}
	if a.HashKey != nil {
		h, err := e.bytes(*a.HashKey)
		if err != nil {
			return nil, err
		}
		s, err := t.ScanHash(h, o)
		return []*client.Scanner{s}, err
	}
	if a.From != "" || a.To != "" {
		return nil, fmt.Errorf("--from and --to are sort keys and need a hash key")
	}
	if a.Partition >= t.Partitions() {
		return nil, fmt.Errorf("--partition %d: table %s has partitions 0 to %d", a.Partition, table, t.Partitions()-1)
	}
	if a.Partition >= 0 {
		return t.ScanParts(o, a.Partition), nil
	}
	return t.ScanParts(o), nil
}

const (
	// walksAhead is how many partitions are read at a time.
	walksAhead = 4
	// pagesAhead is how many pages of each wait until they are printed.
	pagesAhead = 2
)

// Scan prints rows: of one hash key in the order of sort keys, or of the whole table,
// partition by partition.
func (e *Env) Scan(ctx context.Context, table string, a Scan) error {
	list, err := scanners(e, ctx, table, a)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var walking sync.WaitGroup
	defer func() {
		cancel()
		walking.Wait() // the servers are told of the ends
	}()
	buffered := *e
	out := bufio.NewWriterSize(e.Out, 256<<10)
	buffered.Out = out
	n := 0
	print := func(rows []client.Row) (enough bool, err error) {
		for _, r := range rows {
			if err := printRow(&buffered, r, a.NoValue); err != nil {
				return false, err
			}
			if n++; n == a.Max {
				enough = true
				break
			}
		}
		return enough, out.Flush()
	}
	ahead := walksAhead
	if a.Max > 0 {
		ahead = 1
	}
	walks := make([]chan []client.Row, len(list))
	begin := func(i int) {
		if i < len(list) {
			walks[i] = make(chan []client.Row, pagesAhead)
			walking.Go(func() { pages(ctx, list[i], walks[i]) })
		}
	}
	for i := range ahead - 1 {
		begin(i)
	}
	for i, s := range list {
		begin(i + ahead - 1)
		for rows := range walks[i] {
			if enough, err := print(rows); enough || err != nil {
				return err
			}
		}
		if err := s.Err(); err != nil { // the walk has ended, and nobody uses it any more
			return err
		}
	}
	return ctx.Err()
}

// pages walks to the end, and hands the rows on as they come.
func pages(ctx context.Context, s *client.Scanner, to chan<- []client.Row) {
	defer close(to)
	defer s.Close()
	var rows []client.Row
	for s.Next(ctx) {
		if rows = append(rows, s.Row()); s.Ready() {
			continue
		}
		select {
		case to <- rows:
			rows = nil
		case <-ctx.Done():
			return
		}
	}
}

// Count prints the number of rows.
func (e *Env) Count(ctx context.Context, table string, a Scan) error {
	start := time.Now()
	list, err := scanners(e, ctx, table, a)
	if err != nil {
		return err
	}
	var n atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(walksAhead)
	for _, s := range list {
		g.Go(func() error {
			defer s.Close()
			of, err := s.Count(gctx)
			n.Add(of)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return e.print(map[string]any{"rows": n.Load(), "seconds": time.Since(start).Seconds()}, "%d", n.Load())
}
