package rrdb

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/rrdb/engine"
)

// SharedOptions configure what the stores of one server share.
type SharedOptions struct {
	Engine          engine.Options
	Sweep           SweepOptions
	MaxScanSessions int              // sessions kept; above it the oldest goes. 0 is 10000
	ScanSessionAge  time.Duration    // a session unused for that long goes. 0 is 5 minutes
	Logger          *logrus.Entry    // nil is silence
	Now             func() time.Time // nil is time.Now
	// DeleteTime returns a time that is certainly not in the future: rows that expired before it may
	// be deleted. Its error says why none may. nil: each store uses its own clock, limited to
	// shortly after its last write.
	DeleteTime func() (time.Time, error)
}

// SweepOptions configure the sweeps, which delete expired rows.
type SweepOptions struct {
	Interval       time.Duration // 0: never
	Delay          time.Duration // how long a row must have been expired to be deleted
	Tombstones     time.Duration // how long tombstones stay
	BytesPerSecond int64         // of rows that are read; 0 is no limit
}

// EnsureDefaults replaces zero values with their defaults.
func (o *SharedOptions) EnsureDefaults() {
	if o.MaxScanSessions == 0 {
		o.MaxScanSessions = 10000
	}
	if o.ScanSessionAge == 0 {
		o.ScanSessionAge = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = silent()
	}
	if o.Engine.Logger == nil {
		o.Engine.Logger = o.Logger
	}
}

// Validate returns an error if the options are invalid.
func (o *SharedOptions) Validate() error {
	switch {
	case o.MaxScanSessions < 0:
		return fmt.Errorf("option MaxScanSessions is %d; it can't be negative", o.MaxScanSessions)
	case o.ScanSessionAge < 0:
		return fmt.Errorf("option ScanSessionAge is %v; it can't be negative", o.ScanSessionAge)
	case o.Sweep.Interval < 0, o.Sweep.Delay < 0, o.Sweep.Tombstones < 0, o.Sweep.BytesPerSecond < 0:
		return fmt.Errorf("option Sweep is %+v; none can be negative", o.Sweep)
	}
	return nil
}

// Shared is what all stores of a server have in common: the engine, scan sessions, and the sweeps
// of expired rows. Close it after the stores.
type Shared struct {
	Engine   *engine.Engine
	sessions *sessionTable
	sweeps   *sweeps
	// passRead counts the bytes of rows read for the tables' rules.
	passRead atomic.Int64

	stop context.CancelFunc
	done sync.WaitGroup
}

// NewShared makes a Shared and starts its goroutines.
func NewShared(o SharedOptions) (*Shared, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("setting up what stores share: %w", err)
	}
	e, err := engine.New(o.Engine)
	if err != nil {
		return nil, fmt.Errorf("setting up what stores share: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Shared{
		Engine:   e,
		sessions: newSessionTable(o.MaxScanSessions, o.ScanSessionAge, o.Now),
		sweeps:   &sweeps{SweepOptions: o.Sweep, deleteTime: o.DeleteTime, log: o.Logger, stores: map[sweepable]struct{}{}},
		stop:     cancel,
	}
	if o.Sweep.Interval > 0 {
		s.done.Go(func() { s.sweeps.run(ctx) })
	}
	return s, nil
}

// Close ends the goroutines and frees the caches. All stores must be closed.
func (s *Shared) Close() {
	s.stop()
	s.done.Wait()
	s.Engine.Close()
}

// SharedMetrics are gauges of what the stores share, and sums since the start.
type SharedMetrics struct {
	engine.Metrics
	ScanSessions   int
	Sweeps         int64 // of a store, in which there was something to look at
	SweepTime      time.Duration
	SweptRows      int64 // expired rows deleted
	SweptBytes     int64 // what they took, uncompressed
	SweepReadBytes int64 // rows read to find them
	RulesReadBytes int64 // rows read to find those that tables' rules change
}

// Metrics returns the present figures.
func (s *Shared) Metrics() SharedMetrics {
	c := &s.sweeps.counts
	return SharedMetrics{
		Metrics:        s.Engine.Metrics(),
		ScanSessions:   s.sessions.len(),
		Sweeps:         c.runs.Load(),
		SweepTime:      time.Duration(c.nanos.Load()),
		SweptRows:      c.rows.Load(),
		SweptBytes:     c.bytes.Load(),
		SweepReadBytes: c.read.Load(),
		RulesReadBytes: s.passRead.Load(),
	}
}
