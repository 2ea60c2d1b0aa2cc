package base

import (
	"fmt"
	"math"
	"time"
)

// Range is what a number that somebody gives may be, both ends included.
type Range struct{ Min, Max int64 }

// Check says which number is out of the range, and what to give instead.
func (r Range) Check(what string, n int64) error {
	switch {
	case n >= r.Min && n <= r.Max:
		return nil
	case r.Max == math.MaxInt64:
		return fmt.Errorf("%s is %d: give at least %d: %w", what, n, r.Min, ErrInvalidParameters)
	}
	return fmt.Errorf("%s is %d: give %d to %d: %w", what, n, r.Min, r.Max, ErrInvalidParameters)
}

// The ranges of the numbers in requests. Most of them travel in 32 bits.
var (
	Counts     = Range{0, math.MaxInt32}     // of rows or bytes, 0 is "no limit" or "the server's"
	Partitions = Range{1, 1 << 20}           // of a table
	Replicas   = Range{1, 100}               // of a partition
	TTLSeconds = Range{0, math.MaxInt32}     // 0 is "never expires"; see ExpireAt
	Reserve    = Range{0, 100 * 365 * 86400} // seconds that a dropped table is kept; 0 is the cluster's default
)

// MaxTableName is the longest name of a table, in bytes.
const MaxTableName = 256

// lastExpiry is the last moment at which a row can expire, in seconds since EpochBegin: the field
// is signed on the wire, and increments give its negative values a meaning.
const lastExpiry = math.MaxInt32

// ExpireAt turns a TTL in seconds into the moment that travels: seconds since EpochBegin, 0 for
// "never".
func ExpireAt(ttl int64, now time.Time) (int32, error) {
	if err := TTLSeconds.Check("the TTL", ttl); err != nil || ttl == 0 {
		return 0, err
	}
	at := now.Unix() - EpochBegin + ttl
	if at < 1 || at > lastExpiry {
		return 0, fmt.Errorf("the TTL is %d seconds: give one that ends before %s, the last day on which a row can expire: %w", ttl,
			time.Unix(EpochBegin+lastExpiry, 0).UTC().Format(time.DateOnly), ErrInvalidParameters)
	}
	return int32(at), nil
}
