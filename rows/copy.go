package rows

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pegasus/client"
)

// CopyOptions say what is copied, or removed.
type CopyOptions struct {
	Choice
	Pace
	From, To string // names of the tables, for the state file
	FromID   int32  // with ToID, likewise: a table that was made anew has other rows
	ToID     int32
	State    string // file that says how far it is; empty: none
	// Bad is told of each row that the table doesn't take. An error ends all. It is called by one goroutine at a time.
	Bad      func(BadRow) error
	Progress func(Progress) // nil: nobody is told
}

// copyState says which partitions are done, and up to which key the others are.
type copyState struct {
	Format     int              `json:"format"`
	From       string           `json:"from"`
	To         string           `json:"to"`
	FromID     int32            `json:"from_id"`
	ToID       int32            `json:"to_id"`
	Chosen     string           `json:"chosen,omitempty"` // rows; empty: all
	Partitions []copiedPosition `json:"partitions"`
}

// same tells whether both are of one copy.
func (s *copyState) same(o *copyState) bool { return s.of() == o.of() && s.into() == o.into() }

func (s *copyState) of() string {
	text := fmt.Sprintf("%s with id %d and %d partitions", s.From, s.FromID, len(s.Partitions))
	if s.Chosen != "" {
		text += ", " + s.Chosen
	}
	return text
}

func (s *copyState) into() string { return fmt.Sprintf("%s with id %d", s.To, s.ToID) }

type copiedPosition struct {
	After []byte `json:"after,omitempty"` // row key; all up to it is written
	Done  bool   `json:"done,omitempty"`
}

type copier struct {
	src    Source
	o      *CopyOptions
	remove bool

	mu     sync.Mutex
	state  copyState
	result Result
	done   int
}

// Copy writes the rows of a table into another one. What the other one has besides stays.
func Copy(ctx context.Context, from Source, to Target, o CopyOptions) (Result, error) {
	return run(ctx, from, to, o, false)
}

// Clear removes rows of a table.
func Clear(ctx context.Context, from Source, to Target, o CopyOptions) (Result, error) {
	return run(ctx, from, to, o, true)
}

func run(ctx context.Context, from Source, to Target, o CopyOptions, remove bool) (Result, error) {
	c := &copier{src: from, o: &o, remove: remove}
	c.state = copyState{Format: stateFormat, From: o.From, To: o.To, FromID: o.FromID, ToID: o.ToID, Chosen: o.Choice.String(), Partitions: make([]copiedPosition, from.Partitions())}
	if o.State != "" {
		var old copyState
		there, err := readState(o.State, &old)
		if err != nil {
			return Result{}, err
		}
		if there {
			if !old.same(&c.state) {
				return Result{}, fmt.Errorf("the state file %s is of a copy of %s, to %s: give another name, or remove it to begin anew", o.State, old.of(), old.into())
			}
			c.state = old
		}
	}
	if err := c.save(); err != nil { // before anything is written
		return Result{}, err
	}
	id := to.AppID()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	saved := make(chan error, 1)
	go func() { saved <- c.keepSaving(ctx, cancel) }()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(o.walks())
	pace := o.Pace
	if pace.Parallel <= 0 {
		pace.Parallel = defaultParallel
	}
	// Partitions are apart, also in the order of writes: a hash key is in one of them.
	pace.Parallel, pace.Rows = max(1, pace.Parallel/o.walks()), pace.Rows/float64(o.walks())
	var left []int
	for p := range c.state.Partitions {
		if c.state.Partitions[p].Done {
			c.done++
			continue
		}
		left = append(left, p)
	}
	for _, p := range left {
		g.Go(func() error { return c.partition(gctx, p, to, pace) })
	}
	err := g.Wait()
	if err == nil {
		err = errors.Join(from.Still(ctx), same(ctx, to, id))
	}
	cancel(context.Canceled)
	err = errors.Join(err, <-saved, c.save())
	return c.result, err
}

func (c *copier) keepSaving(ctx context.Context, cancel context.CancelCauseFunc) error {
	tick := time.NewTicker(stateEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := c.save(); err != nil {
				cancel(err)
				return err
			}
		}
	}
}

func (c *copier) save() error {
	if c.o.State == "" {
		return nil
	}
	c.mu.Lock()
	st := c.state
	st.Partitions = append([]copiedPosition(nil), st.Partitions...)
	c.mu.Unlock()
	return writeState(c.o.State, st)
}

// partition copies a partition.
func (c *copier) partition(ctx context.Context, p int, to Target, pace Pace) error {
	sink := newSink(ctx, to, pace, func(x *change, err error) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.result.Bad++
		return c.o.Bad(BadRow{File: x.where.file, Err: x.refused(err), HashKey: x.hashKey, SortKey: x.sortKey})
	}, func(n int64) {
		c.mu.Lock()
		c.result.Written += n
		c.mu.Unlock()
	})
	defer sink.stop(context.Canceled)
	o := c.o.scan(c.remove)
	o.After = c.state.Partitions[p].After
	s := c.src.Scan(p, o)
	defer s.Close()
	where := place{file: fmt.Sprintf("partition %d of table %s", p, c.o.From)}
	var changes []change
	var size int
	flush := func(last *client.Row) error {
		if len(changes) == 0 {
			return nil
		}
		n := int64(len(changes))
		err := sink.write(changes, func() {})
		// A page is written before the next one is: so the last key says what is.
		err = errors.Join(err, sink.flush())
		if err != nil {
			return err
		}
		changes, size = nil, 0
		c.mu.Lock()
		defer c.mu.Unlock()
		c.state.Partitions[p].After = key(last)
		c.result.Read += n
		c.tell()
		return nil
	}
	var row client.Row
	for s.Next(ctx) {
		row = s.Row()
		x := change{hashKey: row.HashKey, sortKey: row.SortKey, value: row.Value, expireTS: row.ExpireTS, remove: c.remove, where: where}
		if c.remove {
			x.value, x.expireTS = nil, 0
		}
		changes = append(changes, x)
		if size += x.size(); len(changes) >= windowRows || size >= windowBytes {
			if err := flush(&row); err != nil {
				return err
			}
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read %s: %w", where.file, err)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := flush(&row); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Partitions[p] = copiedPosition{Done: true}
	c.done++
	c.tell()
	return nil
}

// tell is called with mu held.
func (c *copier) tell() {
	if c.o.Progress != nil {
		c.o.Progress(Progress{Read: c.result.Read, Written: c.result.Written, Bad: c.result.Bad, Partitions: len(c.state.Partitions), Done: c.done})
	}
}
