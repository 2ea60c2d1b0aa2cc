package compare

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/client"
	"pegasus/rows"
)

// Side is one of the tables.
type Side interface {
	rows.Source
	// Get reads a row with its value and expiry.
	Get(ctx context.Context, hashKey, sortKey []byte) (r client.Row, found bool, err error)
}

// Options say what is compared. The zero value compares all, and takes each difference at its word.
type Options struct {
	// Sample is the share of rows whose values are compared, chosen by their keys; 0 is all. That a row is there is
	// looked at for all rows.
	Sample    float64
	Tolerance time.Duration // how long a difference has to stay
	Limit     int           // differences that are returned; all are counted
	Parallel  int           // walks at the same time; 0: 4
	// Progress is told now and then, from one goroutine at a time; nil: nobody is.
	Progress func(Report)
}

// Kind is what is wrong with a row.
type Kind string

// The kinds. The first table is the one that is copied from.
const (
	Missing Kind = "missing" // only the first table has it
	Extra   Kind = "extra"   // only the second one has it
	Value   Kind = "value"
	Expiry  Kind = "expiry"
)

// Difference is a row in which the tables differ, as it was at the last look.
type Difference struct {
	Kind             Kind
	HashKey, SortKey []byte
	From, To         *client.Row // nil: it isn't there
}

// Report is what was found.
type Report struct {
	From, To                         int64 // rows that were read
	Sampled                          int64 // rows whose values were compared, with Options.Sample
	Missing, Extra, Values, Expiries int64
	Changing                         int64 // rows that changed at each look
	Again                            int64 // rows that were looked at again
	Differences                      []Difference
	Stopped                          bool // there were so many that the walk was ended
	Took                             time.Duration
}

// Different is the number of rows that differ.
func (r *Report) Different() int64 { return r.Missing + r.Extra + r.Values + r.Expiries }

// The bounds.
const (
	maxSuspects = 4096  // rows that wait for another look
	lookers     = 32    // looks at the same time
	looks       = 5     // at a row that changes
	enough      = 10000 // differences that end the walk
	// expirySlack is for servers that tell how long a row will live instead of until when.
	expirySlack = 2
	tellEvery   = 4096 // rows
)

var errEnough = errors.New("the tables differ in too many rows")

// sum stands for a row without keeping it. 0: it isn't there; 1: not known.
type sum uint64

const unknown sum = 1

func sumOf(r *client.Row) sum {
	if r == nil {
		return 0
	}
	h := xxhash.New()
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], r.ExpireTS)
	h.Write(b[:])
	h.Write(r.Value)
	return sum(h.Sum64() | 2)
}

type suspect struct {
	hashKey, sortKey []byte
	from, to         sum
	due              time.Time
	sampled          bool // nothing is known against it
}

type run struct {
	from, to Side
	opt      Options
	suspects chan suspect
	began    time.Time

	mu     sync.Mutex
	report Report
	since  atomic.Int64 // rows since the last time that progress was told
}

// Tables compares two tables. An error ends it early, with what was found until then.
func Tables(ctx context.Context, from, to Side, o Options) (Report, error) {
	o.Parallel = cmp.Or(o.Parallel, 4)
	r := &run{from: from, to: to, opt: o, suspects: make(chan suspect, maxSuspects), began: time.Now()}
	err := r.all(ctx)
	r.report.Took = time.Since(r.began)
	if errors.Is(err, errEnough) {
		r.report.Stopped, err = true, nil
	}
	slices.SortFunc(r.report.Differences, func(a, b Difference) int {
		return order(a.HashKey, a.SortKey, b.HashKey, b.SortKey)
	})
	return r.report, err
}

func (r *run) all(ctx context.Context) error {
	a, b := r.from.Partitions(), r.to.Partitions()
	if a <= 0 || b <= 0 {
		return fmt.Errorf("compare: tables of %d and %d partitions: %w", a, b, base.ErrInvalidData)
	}
	groups := gcd(a, b)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var looking, walking sync.WaitGroup
	for range lookers {
		looking.Go(func() {
			for s := range r.suspects {
				if ctx.Err() != nil {
					continue // so that no walk waits
				}
				if err := r.look(ctx, s); err != nil {
					cancel(err)
				}
			}
		})
	}
	next := make(chan int)
	for range min(r.opt.Parallel, groups) {
		walking.Go(func() {
			for g := range next {
				if err := r.group(ctx, g, groups); err != nil {
					cancel(err)
				}
			}
		})
	}
	for g := range groups {
		if ctx.Err() == nil {
			next <- g
		}
	}
	close(next)
	walking.Wait()
	close(r.suspects)
	looking.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := r.from.Still(ctx); err != nil {
		return fmt.Errorf("the table that is copied from: %w", err)
	}
	if err := r.to.Still(ctx); err != nil {
		return fmt.Errorf("the other table: %w", err)
	}
	return nil
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// group compares the partitions whose numbers are g modulo groups.
func (r *run) group(ctx context.Context, g, groups int) error {
	whole := r.opt.Sample <= 0 || r.opt.Sample >= 1
	from, to := open(r.from, g, groups, whole), open(r.to, g, groups, whole)
	defer from.close()
	defer to.close()
	a, err := from.next(ctx)
	if err != nil {
		return fmt.Errorf("the table that is copied from: %w", err)
	}
	b, err := to.next(ctx)
	if err != nil {
		return fmt.Errorf("the other table: %w", err)
	}
	for a != nil || b != nil {
		o := 0
		switch {
		case a == nil:
			o = 1
		case b == nil:
			o = -1
		default:
			o = order(a.HashKey, a.SortKey, b.HashKey, b.SortKey)
		}
		if err := r.meet(ctx, o, a, b, whole); err != nil {
			return err
		}
		if o <= 0 {
			if a, err = from.next(ctx); err != nil {
				return fmt.Errorf("the table that is copied from: %w", err)
			}
		}
		if o >= 0 {
			if b, err = to.next(ctx); err != nil {
				return fmt.Errorf("the other table: %w", err)
			}
		}
	}
	return nil
}

// meet judges two heads of the walks, of which the lower one counts: o < 0 is a, o > 0 is b.
func (r *run) meet(ctx context.Context, o int, a, b *client.Row, whole bool) error {
	r.count(o)
	s := suspect{due: time.Now().Add(r.opt.Tolerance)}
	sums := func(x *client.Row) sum {
		if whole || x == nil {
			return sumOf(x)
		}
		return unknown
	}
	switch {
	case o < 0:
		s.hashKey, s.sortKey, s.from = a.HashKey, a.SortKey, sums(a)
	case o > 0:
		s.hashKey, s.sortKey, s.to = b.HashKey, b.SortKey, sums(b)
	case whole && same(a, b):
		return nil
	case !whole && !chosen(a, r.opt.Sample):
		return nil
	default:
		s.hashKey, s.sortKey, s.from, s.to = a.HashKey, a.SortKey, sums(a), sums(b)
		if !whole {
			s.sampled, s.due = true, time.Time{}
		}
	}
	// The keys are slices of pages.
	s.hashKey, s.sortKey = bytes.Clone(s.hashKey), bytes.Clone(s.sortKey)
	select {
	case r.suspects <- s:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// chosen tells whether a row is in the sample.
func chosen(a *client.Row, share float64) bool {
	h := xxhash.New()
	h.Write(a.HashKey)
	h.Write([]byte{0})
	h.Write(a.SortKey)
	return float64(h.Sum64()>>11)/(1<<53) < share
}

func (r *run) count(o int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o <= 0 {
		r.report.From++
	}
	if o >= 0 {
		r.report.To++
	}
	if r.opt.Progress != nil && r.since.Add(1)%tellEvery == 0 {
		now := r.report
		now.Differences, now.Took = nil, time.Since(r.began)
		r.opt.Progress(now)
	}
}

func order(h1, s1, h2, s2 []byte) int {
	// As encoded keys: the length of the hash key comes first.
	return cmp.Or(cmp.Compare(len(h1), len(h2)), bytes.Compare(h1, h2), bytes.Compare(s1, s2))
}

func same(a, b *client.Row) bool {
	return (a == nil) == (b == nil) && (a == nil || bytes.Equal(a.Value, b.Value) && sameExpiry(a, b))
}

func sameExpiry(a, b *client.Row) bool {
	if a.ExpireTS == 0 || b.ExpireTS == 0 {
		return a.ExpireTS == b.ExpireTS
	}
	return max(a.ExpireTS, b.ExpireTS)-min(a.ExpireTS, b.ExpireTS) <= expirySlack
}

// look looks at a row until it is equal, or is unequal in the same way twice, or has changed too often.
func (r *run) look(ctx context.Context, s suspect) error {
	if s.sampled {
		r.add(func(p *Report) { p.Sampled++ })
	}
	for n := 1; ; n++ {
		if wait := time.Until(s.due); wait > 0 && !pause.For(ctx, wait) {
			return context.Cause(ctx)
		}
		if n > 1 || !s.sampled {
			r.add(func(p *Report) { p.Again++ })
		}
		a, err := get(ctx, r.from, &s)
		if err != nil {
			return fmt.Errorf("the table that is copied from: %w", err)
		}
		b, err := get(ctx, r.to, &s)
		if err != nil {
			return fmt.Errorf("the other table: %w", err)
		}
		from, to := sumOf(a), sumOf(b)
		switch {
		case same(a, b):
			return nil
		case from == s.from && to == s.to:
			return r.found(&s, a, b)
		case n == looks:
			r.add(func(p *Report) { p.Changing++ })
			return nil
		}
		s.from, s.to, s.due = from, to, time.Now().Add(r.opt.Tolerance)
	}
}

func get(ctx context.Context, t Side, s *suspect) (*client.Row, error) {
	r, ok, err := t.Get(ctx, s.hashKey, s.sortKey)
	if err != nil || !ok {
		return nil, err
	}
	return &r, nil
}

// found counts a difference.
func (r *run) found(s *suspect, a, b *client.Row) error {
	d := Difference{HashKey: s.hashKey, SortKey: s.sortKey, From: a, To: b}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.report
	switch {
	case b == nil:
		d.Kind = Missing
		p.Missing++
	case a == nil:
		d.Kind = Extra
		p.Extra++
	case !bytes.Equal(a.Value, b.Value):
		d.Kind = Value
		p.Values++
	default:
		d.Kind = Expiry
		p.Expiries++
	}
	if len(p.Differences) < r.opt.Limit {
		p.Differences = append(p.Differences, d)
	}
	if p.Different() >= enough {
		return errEnough
	}
	return nil
}

func (r *run) add(f func(*Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.report)
}
