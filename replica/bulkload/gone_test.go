package bulkload

import (
	"testing"
	"time"
)

// A set is made on through changes of the configuration, in which a replica is no member for a moment, and isn't if it stays none.
func TestGone(t *testing.T) {
	j, now := &job{}, time.Now()
	for i, x := range []struct {
		after time.Duration
		gone  bool
		want  time.Duration
	}{{0, false, 0}, {time.Second, true, 0}, {time.Second, true, time.Second}, {time.Second, false, 0}, {time.Minute, true, 0}, {time.Minute, true, time.Minute}, {0, false, 0}, {time.Hour, true, 0}} {
		now = now.Add(x.after)
		if got := j.goneFor(x.gone, now); got != x.want {
			t.Errorf("step %d: %v, want %v", i, got, x.want)
		}
	}
}
