package rrdb

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/sirupsen/logrus"

	"pegasus/base"
)

// Options configure a Store.
type Options struct {
	Dir    string
	FS     vfs.FS // nil is the operating system's
	Shared *Shared
	Gpid   base.Gpid
	Server string // "host:port" that stands in the answers

	MemtableBytes  int64 // size at which a memtable is flushed, unless Tuning says otherwise; 0 is 16 MiB
	SeparateValues int64 // values of at least so many bytes are stored apart from their keys; 0: none
	Limits         Limits
	Tuning         Tuning
	Create         bool          // make a new store; the directory must not hold one
	Logger         *logrus.Entry // nil is silence
	// OnError is called with errors of Pebble's background work, at most once a second: a failed
	// flush or compaction, or damage that a read found (errors.Is(err, ErrCorrupt)). It is also
	// called with the error that made the store fail (errors.Is(err, ErrFailed)). It runs on a
	// goroutine of its own. May be nil.
	OnError func(error)
	Now     func() time.Time // nil is time.Now
	// Remembers tells whether other clusters send writes to the table, or may do so: sweeps leave
	// tombstones of expired rows then. nil: they don't.
	Remembers func() bool
}

// Limits bound one read.
type Limits struct {
	ScanRows      int           // rows that a page of a scan looks at; 0 is 1000
	MultiGetRows  int           // rows that a multi_get looks at; 0 is 3000
	MultiGetBytes int           // bytes of rows that an answer holds; 0 is 30 MiB
	IterationTime time.Duration // time that a range read may take; 0 is no limit
}

// EnsureDefaults replaces zero values with their defaults.
func (o *Options) EnsureDefaults() {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = silent()
	}
	o.MemtableBytes = cmp.Or(o.MemtableBytes, 16<<20)
	o.Limits.EnsureDefaults()
}

// EnsureDefaults replaces zero values with their defaults.
func (l *Limits) EnsureDefaults() {
	l.ScanRows = cmp.Or(l.ScanRows, 1000)
	l.MultiGetRows = cmp.Or(l.MultiGetRows, 3000)
	l.MultiGetBytes = cmp.Or(l.MultiGetBytes, 30<<20)
}

// Validate returns an error if the options are invalid.
func (o *Options) Validate() error {
	switch {
	case o.Dir == "":
		return errors.New("option Dir is empty")
	case o.Shared == nil:
		return errors.New("option Shared is nil")
	case o.MemtableBytes < 0:
		return fmt.Errorf("option MemtableBytes is %d; it can't be negative", o.MemtableBytes)
	case o.SeparateValues < 0:
		return fmt.Errorf("option SeparateValues is %d; it can't be negative", o.SeparateValues)
	case o.Limits.ScanRows < 0, o.Limits.MultiGetRows < 0, o.Limits.MultiGetBytes < 0, o.Limits.IterationTime < 0:
		return fmt.Errorf("option Limits is %+v; none can be negative", o.Limits)
	}
	return nil
}

// memtableBytes returns the size of the store's memtables.
func (o *Options) memtableBytes() int64 {
	return o.Tuning.memtable(o.MemtableBytes, o.Shared.Engine.MemtablesBytes())
}

func silent() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}
