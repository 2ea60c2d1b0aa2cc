package backup

import (
	"context"
	"errors"
	"fmt"

	"pegasus/blob"
)

// Stores are the places of backups, by the name of the provider.
type Stores interface {
	Get(ctx context.Context, name string) (*blob.Store, error)
}

// Pace bounds what all backups of a server read.
type Pace interface {
	// Wait returns when n more bytes may be read.
	Wait(ctx context.Context, n int) error
	// Limit sets the highest rate in bytes a second, 0 for no limit.
	Limit(rate int64)
	// Rate returns the rate in force, 0 if there is no limit.
	Rate() int64
	// Run sets the rate in force until ctx ends.
	Run(ctx context.Context)
}

// Options of New.
type Options struct {
	Stores Stores
	Pace   Pace
	// Root is the directory in a store for backups of this cluster, if the request names none.
	Root string
	// HostName and Port are what others know the server by.
	HostName string
	Port     int
	// Concurrency is how many partitions are backed up at a time; 0 is 1.
	Concurrency int
}

// EnsureDefaults replaces zero values with their defaults.
func (o *Options) EnsureDefaults() {
	if o.Concurrency == 0 {
		o.Concurrency = 1
	}
}

// Validate returns an error if the options are invalid.
func (o *Options) Validate() error {
	switch {
	case o.Stores == nil:
		return errors.New("option Stores is nil")
	case o.Pace == nil:
		return errors.New("option Pace is nil")
	case o.Root == "":
		return errors.New("option Root is empty")
	case o.HostName == "" || o.Port <= 0:
		return fmt.Errorf("options HostName and Port are %q and %d", o.HostName, o.Port)
	case o.Concurrency < 0:
		return fmt.Errorf("option Concurrency is %d; it can't be negative", o.Concurrency)
	}
	return nil
}
