// Package pause waits. It owns the one way in which a goroutine that may be told to end lets time
// pass, and knows nothing else.
package pause

import (
	"context"
	"time"
)

// For waits for d and returns true, or false as soon as ctx has ended.
func For(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
