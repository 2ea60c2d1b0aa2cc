package engine

import (
	"cmp"
	"fmt"
	"io"

	"github.com/sirupsen/logrus"
)

// Options configure an Engine.
type Options struct {
	BlockCacheBytes int64         // cache of data blocks; 0 is 256 MiB
	OpenFiles       int           // table files kept open; 0 is 1000
	Compactions     int           // that run at the same time; 0 is 1
	MemtablesBytes  int64         // memory of all memtables together; 0 is 256 MiB
	Logger          *logrus.Entry // nil is silence
}

// Smaller values don't work.
const (
	minBlockCache = 1 << 20
	minOpenFiles  = 64
	minMemtables  = 1 << 20
)

// EnsureDefaults replaces zero values with their defaults, and raises values that are too small to work.
func (o *Options) EnsureDefaults() {
	o.BlockCacheBytes = atLeast(cmp.Or(o.BlockCacheBytes, 256<<20), minBlockCache)
	o.OpenFiles = atLeast(cmp.Or(o.OpenFiles, 1000), minOpenFiles)
	o.Compactions = cmp.Or(o.Compactions, 1)
	o.MemtablesBytes = atLeast(cmp.Or(o.MemtablesBytes, 256<<20), minMemtables)
	if o.Logger == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		o.Logger = logrus.NewEntry(l)
	}
}

// atLeast raises n to a minimum, but leaves a negative number for Validate.
func atLeast[T int | int64](n, minimum T) T {
	if n < 0 {
		return n
	}
	return max(n, minimum)
}

// Validate returns an error if the options are invalid.
func (o *Options) Validate() error {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"BlockCacheBytes", o.BlockCacheBytes},
		{"OpenFiles", int64(o.OpenFiles)},
		{"Compactions", int64(o.Compactions)},
		{"MemtablesBytes", o.MemtablesBytes},
	} {
		if f.value <= 0 {
			return fmt.Errorf("option %s is %d; it must be positive", f.name, f.value)
		}
	}
	return nil
}
