//go:build !linux

package boottime

import "time"

// boot is the monotonic clock, which other systems may let stand still in a suspend.
func boot() time.Duration { return time.Since(origin) }
