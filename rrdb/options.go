package rrdb

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"
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
		FS:                 keepFiles{s.opts.FS, s},
		Lock:               lock,
		ErrorIfNotExists:   !s.opts.Create,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             engineLog{s},
		EventListener:      s.events(),

		DisableWAL:                  true,
		MemTableSize:                uint64(max(cfg.MemtableBytes, 256<<10)),
		MemTableStopWritesThreshold: 4,

		L0CompactionThreshold: 4,
		L0StopWritesThreshold: 60,
		LBaseMaxBytes:         64 << 20,
		MaxManifestFileSize:   4 << 20, // a checkpoint copies it

		CompactionConcurrencyRange: func() (lower, upper int) { return 1, max(cfg.Compactions, 1) },
	}
	o.Experimental.CompactionScheduler = s.slots
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

func (s *Store) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { s.report(fmt.Errorf("background work: %w", err)) },
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			s.report(fmt.Errorf("%w: %s: %w", ErrCorrupt, i.Path, i.Details))
		},
		FlushBegin: func(pebble.FlushInfo) { s.shared.memory.flushBegan(s) },
		FlushEnd: func(pebble.FlushInfo) {
			s.durable.stale.Store(true)
			s.shared.memory.flushEnded(s)
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			s.log.WithField("reason", i.Reason).Warn("writes are stalled")
		},
		WriteStallEnd: func() { s.log.Info("writes are no longer stalled") },
	}
}

// engineLog passes Pebble's few own messages on. Fatalf may return: see Store.fail.
type engineLog struct{ s *Store }

func (l engineLog) Infof(format string, args ...any)  { l.s.log.Debugf(format, args...) }
func (l engineLog) Errorf(format string, args ...any) { l.s.log.Warnf(format, args...) }
func (l engineLog) Fatalf(format string, args ...any) { l.s.fail(fmt.Errorf(format, args...)) }

// keepFiles is a file system that no longer deletes files once the store has failed.
type keepFiles struct {
	vfs.FS
	s *Store
}

// Remove implements vfs.FS.
func (k keepFiles) Remove(name string) error {
	if k.s.failure.get() != nil {
		return nil
	}
	return k.FS.Remove(name)
}

// Unwrap implements vfs.FS.
func (k keepFiles) Unwrap() vfs.FS { return k.FS }
