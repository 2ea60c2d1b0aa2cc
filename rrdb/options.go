package rrdb

import (
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable/block"

	"pegasus/base"
)

// filterBitsPerKey costs 1.25 bytes a hash key and lets about 1 % of the tables without
// it through.
const filterBitsPerKey = 10

func pebbleOptions(s *Store, lock *pebble.Lock) *pebble.Options {
	cfg := s.opts.Storage
	o := &pebble.Options{
		Cache:              s.shared.cache,
		FileCache:          s.shared.files,
		Comparer:           comparer,
		FS:                 guardedFS{s.opts.FS, s},
		Lock:               lock,
		ErrorIfNotExists:   !s.opts.Create,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             engineLog{s},
		EventListener:      s.events(),

		DisableWAL:          true,
		MaxManifestFileSize: manifestBytes,

		CompactionConcurrencyRange: func() (lower, upper int) { return 1, max(cfg.Compactions, 1) },
	}
	s.opts.Tuning.apply(o, &cfg)
	o.MemTableSize -= stagger(o.MemTableSize, s.opts.Gpid, s.opts.Server)
	o.Experimental.CompactionScheduler = s.slots
	if n := cfg.SeparateValues; n > 0 {
		o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy { return separation(n) }
	}
	// Pebble takes the split of a key for the one between a key and its version, and would
	// put the values of all sort keys but a hash key's first into blocks of their own, as
	// those of old versions.
	o.Experimental.SpanPolicyFunc = func([]byte) (pebble.SpanPolicy, []byte, error) {
		return pebble.SpanPolicy{DisableValueSeparationBySuffix: true}, nil, nil
	}
	for i := range o.Levels {
		l := &o.Levels[i]
		l.FilterPolicy = bloom.FilterPolicy(filterBitsPerKey)
		l.BlockSize = 8 << 10
		l.IndexBlockSize = 64 << 10
	}
	// Level 0 lives for a moment, and on few cores compressing it is what a flush would
	// spend its time on. Below, the fastest codec of the platform.
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings {
		c := pebble.UniformDBCompressionSettings(block.FastestCompression)
		c.Levels[0] = block.NoCompression
		return c
	})
	return o
}

// stagger returns what to take off a memtable's size, up to a quarter: partitions of a table
// fill theirs at the same rate, and flushes that all came at the same time, on all servers,
// would hold up requests.
func stagger(size uint64, g base.Gpid, server string) uint64 {
	const steps = 16
	h := fnv.New32a()
	fmt.Fprint(h, g, server)
	return size / 4 * uint64(h.Sum32()%steps) / steps
}

// separation puts values of at least size bytes into files of their own, which compactions
// of the tables that refer to them don't rewrite. Files of which a fifth is garbage are
// written anew: that is what the separation may cost in space.
func separation(size int64) pebble.ValueSeparationPolicy {
	return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: int(min(size, math.MaxInt32)), MaxBlobReferenceDepth: 10,
		RewriteMinimumAge: time.Minute, TargetGarbageRatio: 0.2}
}

func (s *Store) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { s.report(fmt.Errorf("background work: %w", err)) },
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			s.report(fmt.Errorf("%w: %s: %w", ErrCorrupt, i.Path, i.Details))
		},
		ManifestCreated: s.manifestCreated,
		FlushBegin: func(pebble.FlushInfo) {
			s.shared.memory.flushBegan(s)
		},
		FlushEnd: func(pebble.FlushInfo) {
			s.durable.stale.Store(true)
			s.shared.memory.flushEnded(s)
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			s.mem.crowded.Store(true)
			s.log.WithField("reason", i.Reason).Warn("writes are stalled")
		},
		WriteStallEnd: func() {
			s.mem.dirty.Store(true)
			s.shared.memory.poke()
			s.log.Info("writes are no longer stalled")
		},
	}
}

// engineLog passes Pebble's few own messages on. Fatalf may return: see Store.fail.
type engineLog struct{ s *Store }

func (l engineLog) Infof(format string, args ...any)  { l.s.log.Debugf(format, args...) }
func (l engineLog) Errorf(format string, args ...any) { l.s.log.Warnf(format, args...) }
func (l engineLog) Fatalf(format string, args ...any) {
	f := fatalError{text: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if err, ok := a.(error); ok {
			f.cause = err
		}
	}
	l.s.fail(f)
}

// fatalError is a message with the error that it tells of, if it was told in full.
type fatalError struct {
	text  string
	cause error
}

func (f fatalError) Error() string { return f.text }
func (f fatalError) Unwrap() error { return f.cause }
