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

// filterBitsPerKey costs 1.25 bytes for each hash key; about 1 % of lookups in a table that doesn't
// have the hash key read it all the same.
const filterBitsPerKey = 10

// storeFormat is Pebble's format of a store: the newest that the Pebble in 086adc4 knows. It is fixed
// here, so that a newer Pebble doesn't raise it: an older program couldn't open the store any more. A
// newer format is a version.Feature, for stores opened once the cluster's version allows it.
const storeFormat = pebble.FormatValueSeparation

// pebbleOptions returns the options of the store's Pebble, without the event listener and those that
// say how it is opened.
func pebbleOptions(so *Options, s *instance) *pebble.Options {
	o := &pebble.Options{
		Comparer:            comparer,
		FormatMajorVersion:  storeFormat,
		Logger:              pebbleLog{s},
		DisableWAL:          true,
		MaxManifestFileSize: manifestBytes,
	}
	// What is ingested replaces older rows in memtables, and those are written first. Else it would wait in memory as they do, and a crash
	// would lose it: there is no write-ahead log to name it.
	o.Experimental.DisableIngestAsFlushable = func() bool { return true }
	s.member.Configure(o)
	so.Tuning.apply(o, so.memtableBytes())
	o.MemTableSize -= stagger(o.MemTableSize, so.Gpid, so.Server)
	if n := so.SeparateValues; n > 0 {
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

// stagger returns the bytes to subtract from a memtable's size, up to a quarter. The partitions of a
// table fill their memtables at the same rate; without it they would flush at the same time, on all
// servers, and hold up requests.
func stagger(size uint64, g base.Gpid, server string) uint64 {
	const steps = 16
	h := fnv.New32a()
	fmt.Fprint(h, g, server)
	return size / 4 * uint64(h.Sum32()%steps) / steps
}

// separation stores values of at least size bytes in files of their own, which compactions of the
// tables that refer to them don't rewrite. Files of which a fifth is garbage are rewritten: that bounds
// the space that it costs.
func separation(size int64) pebble.ValueSeparationPolicy {
	return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: int(min(size, math.MaxInt32)), MaxBlobReferenceDepth: 10,
		RewriteMinimumAge: time.Minute, TargetGarbageRatio: 0.2}
}

// pebbleLog passes Pebble's messages to the log. Fatalf returns, see instance.fail.
type pebbleLog struct{ s *instance }

func (l pebbleLog) Infof(format string, args ...any)  { l.s.log.Debugf(format, args...) }
func (l pebbleLog) Errorf(format string, args ...any) { l.s.log.Warnf(format, args...) }
func (l pebbleLog) Fatalf(format string, args ...any) {
	f := fatalError{text: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if err, ok := a.(error); ok {
			f.cause = err
		}
	}
	l.s.fail(f)
}

// fatalError is a message of Fatalf, with the error among its arguments.
type fatalError struct {
	text  string
	cause error
}

func (f fatalError) Error() string { return f.text }
func (f fatalError) Unwrap() error { return f.cause }
