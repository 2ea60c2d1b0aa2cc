package observe

import (
	"fmt"
	"time"

	"pegasus/replica/observe/hotkey"
)

// Options of an Observer. All but the units can be changed later, see Observer.Register.
type Options struct {
	// ReadUnit and WriteUnit are the bytes of one capacity unit, powers of two.
	ReadUnit, WriteUnit int64
	Reads               ReadLimits
	HotKeys             hotkey.Limits
	// SlowWrite is from how long on a write is logged; 0: none is.
	SlowWrite time.Duration
	// RedactKeys leaves keys out of the log.
	RedactKeys bool
}

// ReadLimits say which reads get a line in the log: those that reach one of them. A limit of 0 is none.
type ReadLimits struct {
	Took                       time.Duration
	Get, MultiGet, BatchGet    int64 // bytes of the answer
	MultiGetRows, BatchGetRows int64 // rows that were looked at
}

// EnsureDefaults replaces what isn't set and has to be.
func (o *Options) EnsureDefaults() {
	if o.ReadUnit == 0 {
		o.ReadUnit = 4096
	}
	if o.WriteUnit == 0 {
		o.WriteUnit = 4096
	}
	o.HotKeys.EnsureDefaults()
}

// Validate returns an error if the options contradict themselves.
func (o *Options) Validate() error {
	for _, n := range []int64{o.ReadUnit, o.WriteUnit} {
		if n <= 0 || n&(n-1) != 0 {
			return fmt.Errorf("a capacity unit of %d bytes: it must be a power of two", n)
		}
	}
	l := o.Reads
	if min(int64(o.SlowWrite), int64(l.Took), l.Get, l.MultiGet, l.BatchGet, l.MultiGetRows, l.BatchGetRows) < 0 {
		return fmt.Errorf("limits of reads that aren't logged must not be negative: %+v, writes %v", l, o.SlowWrite)
	}
	return o.HotKeys.Validate()
}
