package rows

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Large is one of the largest rows.
type Large struct {
	HashKey, SortKey []byte
	Bytes            int64 // of keys and value
}

// Stats is what a walk over a table finds.
type Stats struct {
	Rows                                int64
	HashKeys                            int64 // that differ
	Expiring                            int64 // rows that expire
	HashKeyBytes, SortKeyBytes, Value   int64 // in all
	MaxHashKey, MaxSortKey, MaxValue    int64
	MaxRowsOfHashKey, MaxBytesOfHashKey int64
	Top                                 []Large // the largest rows, the largest first
}

// StatsOptions say what is looked at.
type StatsOptions struct {
	Choice
	Top      int // the largest rows that are told
	Progress func(Progress)
}

type byBytes []Large

func (h byBytes) Len() int           { return len(h) }
func (h byBytes) Less(i, j int) bool { return h[i].Bytes < h[j].Bytes }
func (h byBytes) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byBytes) Push(x any)        { *h = append(*h, x.(Large)) }
func (h *byBytes) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// Look walks over a table and sums up what is there.
func Look(parent context.Context, src Source, o StatsOptions) (Stats, error) {
	var all Stats
	var mu sync.Mutex
	done := 0
	g, ctx := errgroup.WithContext(parent)
	g.SetLimit(o.walks())
	for p := range src.Partitions() {
		g.Go(func() error {
			one, err := look(ctx, src.Scan(p, o.scan(false)), o.Top)
			if err != nil {
				return fmt.Errorf("read partition %d: %w", p, err)
			}
			mu.Lock()
			defer mu.Unlock()
			all.add(&one, o.Top)
			if done++; o.Progress != nil {
				o.Progress(Progress{Read: all.Rows, Partitions: src.Partitions(), Done: done})
			}
			return nil
		})
	}
	err := g.Wait()
	if err == nil {
		err = src.Still(parent)
	}
	slices.SortStableFunc(all.Top, func(a, b Large) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), bytes.Compare(a.HashKey, b.HashKey), bytes.Compare(a.SortKey, b.SortKey))
	})
	return all, err
}

func look(ctx context.Context, s Rows, top int) (st Stats, err error) {
	defer s.Close()
	var hashKey []byte // of the rows that are summed up at present
	var rows, size int64
	for s.Next(ctx) {
		r := s.Row()
		n := int64(len(r.HashKey) + len(r.SortKey) + len(r.Value))
		if st.Rows == 0 || !bytes.Equal(r.HashKey, hashKey) {
			hashKey, rows, size = r.HashKey, 0, 0
			st.HashKeys++
		}
		rows++
		size += n
		st.Rows++
		if r.ExpireTS > 0 {
			st.Expiring++
		}
		for _, x := range []struct {
			n        int
			sum, max *int64
		}{{len(r.HashKey), &st.HashKeyBytes, &st.MaxHashKey}, {len(r.SortKey), &st.SortKeyBytes, &st.MaxSortKey}, {len(r.Value), &st.Value, &st.MaxValue}} {
			*x.sum += int64(x.n)
			*x.max = max(*x.max, int64(x.n))
		}
		st.MaxRowsOfHashKey, st.MaxBytesOfHashKey = max(st.MaxRowsOfHashKey, rows), max(st.MaxBytesOfHashKey, size)
		if top > 0 && (len(st.Top) < top || n > st.Top[0].Bytes) {
			st.keep(Large{r.HashKey, r.SortKey, n}, top)
		}
	}
	if err := s.Err(); err != nil {
		return st, err
	}
	return st, context.Cause(ctx)
}

// keep adds a row to the largest ones.
func (st *Stats) keep(l Large, top int) {
	h := byBytes(st.Top)
	heap.Push(&h, l)
	if len(h) > top {
		heap.Pop(&h)
	}
	st.Top = h
}

func (st *Stats) add(o *Stats, top int) {
	st.Rows += o.Rows
	st.HashKeys += o.HashKeys
	st.Expiring += o.Expiring
	st.HashKeyBytes += o.HashKeyBytes
	st.SortKeyBytes += o.SortKeyBytes
	st.Value += o.Value
	for _, x := range []struct {
		to   *int64
		from int64
	}{{&st.MaxHashKey, o.MaxHashKey}, {&st.MaxSortKey, o.MaxSortKey}, {&st.MaxValue, o.MaxValue},
		{&st.MaxRowsOfHashKey, o.MaxRowsOfHashKey}, {&st.MaxBytesOfHashKey, o.MaxBytesOfHashKey}} {
		*x.to = max(*x.to, x.from)
	}
	for _, l := range o.Top {
		st.keep(l, top)
	}
}
