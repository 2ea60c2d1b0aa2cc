package stat

import (
	"context"
	"fmt"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/meta/probe"
	"pegasus/meta/service"
)

const (
	// unitsEvery is the interval of rows about capacity units. Upstream's is 10 s.
	unitsEvery = time.Minute
	sizesEvery = time.Hour
	// keep is for how long the table keeps a row, in seconds.
	keep = 90 * 24 * 3600
	// putTime bounds the writing of one row.
	putTime = 5 * time.Second
	// maxQueued bounds the rows that aren't written yet, the oldest are given up.
	maxQueued = 10000
)

// Table is where rows are written.
type Table interface {
	// Set writes a row that expires after ttl seconds.
	Set(ctx context.Context, hashKey, sortKey, value []byte, ttl int) error
}

// Options are what a Service needs.
type Options struct {
	Table string // its name; "": nothing is written
	// Open returns a table of this cluster, and what ends the connections to it.
	Open  func(ctx context.Context, name string) (Table, func(), error)
	Sizes func() map[int32]Size // of all tables
	Now   func() time.Time      // nil: time.Now
	Tick  time.Duration         // how often it is looked what is to be written; 0: a second
}

// EnsureDefaults replaces what isn't set.
func (o *Options) EnsureDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tick <= 0 {
		o.Tick = time.Second
	}
}

// Service writes rows while its meta leads.
type Service struct {
	service.Quiet
	leader service.Leader
	o      Options

	// When rows of capacity units and of sizes were last made. The goroutine of Lead has them.
	unitsT, sizesT time.Time

	mu    sync.Mutex
	queue []row
	lost  int
	used  map[base.RPCAddress]map[int32][2]int64
}

// New returns a Service of a meta that leads, or of none.
func New(l service.Leader, o Options) *Service {
	o.EnsureDefaults()
	return &Service{leader: l, o: o, used: map[base.RPCAddress]map[int32][2]int64{}}
}

// Register implements service.Service.
func (*Service) Register(*service.Routes) {}

// Ended takes the availability of a period.
func (s *Service) Ended(p probe.Period) {
	if s.o.Table == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(available(p))
}

// Used takes capacity units of reads and writes that the primaries of a table on a server counted.
func (s *Service) Used(node base.RPCAddress, table int32, units [2]int64) {
	if s.o.Table == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.used[node]
	if of == nil {
		of = map[int32][2]int64{}
		s.used[node] = of
	}
	sum := of[table]
	sum[0], sum[1] = sum[0]+units[0], sum[1]+units[1]
	of[table] = sum
}

// add queues a row; the caller holds the lock.
func (s *Service) add(r row) {
	if len(s.queue) >= maxQueued {
		s.queue = s.queue[1:]
		s.lost++
	}
	s.queue = append(s.queue, r)
}

// Lead implements service.Service.
func (s *Service) Lead(ctx context.Context) {
	if s.o.Table == "" {
		return
	}
	now := s.o.Now()
	s.unitsT, s.sizesT = now, now.Add(unitsEvery-sizesEvery) // sizes are known in a minute
	var table Table
	end := func() {}
	defer func() { end() }()
	tick := time.NewTicker(s.o.Tick)
	defer tick.Stop()
	var pause time.Time // no row is tried before
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.gather(s.o.Now()); err != nil {
			s.leader.Log().WithError(err).Error("a row about the cluster can't be made")
		}
		if time.Now().Before(pause) {
			continue
		}
		err := func() (err error) {
			if table == nil && s.waiting() {
				open, cancel := context.WithTimeout(ctx, putTime)
				defer cancel()
				if table, end, err = s.o.Open(open, s.o.Table); err != nil {
					table, end = nil, func() {}
					return err
				}
			}
			return s.write(ctx, table)
		}()
		if err != nil && ctx.Err() == nil {
			s.leader.Log().WithError(err).WithField("table", s.o.Table).Warn("rows about the cluster can't be written (probe.stat_table); they are tried again in a minute")
			pause = time.Now().Add(time.Minute)
		}
	}
}

func (s *Service) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) > 0
}

// gather queues the rows that are due.
func (s *Service) gather(now time.Time) error {
	var tables map[int32]Size
	if now.Sub(s.sizesT) >= sizesEvery { // sizesT is this goroutine's; who is asked may be calling Used
		tables = s.o.Sizes()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.unitsT) >= unitsEvery {
		s.unitsT = now
		for node, of := range s.used {
			r, err := units(now, node.String(), of)
			if err != nil {
				return fmt.Errorf("capacity units of %v: %w", node, err)
			}
			s.add(r)
		}
		clear(s.used)
	}
	if tables != nil {
		s.sizesT = now
		r, err := sizes(now, tables)
		if err != nil {
			return fmt.Errorf("sizes: %w", err)
		}
		s.add(r)
	}
	if s.lost > 0 {
		s.leader.Log().WithField("rows", s.lost).Error("rows about the cluster were given up, as they couldn't be written for long (probe.stat_table)")
		s.lost = 0
	}
	return nil
}

// write writes the rows that wait. What can't be written stays.
func (s *Service) write(ctx context.Context, t Table) error {
	for ctx.Err() == nil {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.mu.Unlock()
			return nil
		}
		r := s.queue[0]
		s.queue = s.queue[1:]
		s.mu.Unlock()
		put, cancel := context.WithTimeout(ctx, putTime)
		err := t.Set(put, []byte(r.hashKey), []byte(r.sortKey), []byte(r.value), keep)
		cancel()
		if err != nil {
			s.mu.Lock()
			if len(s.queue) < maxQueued {
				s.queue = append([]row{r}, s.queue...)
			} else {
				s.lost++
			}
			s.mu.Unlock()
			return fmt.Errorf("row %q %q: %w", r.hashKey, r.sortKey, err)
		}
	}
	return nil
}
