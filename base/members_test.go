package base

import "testing"

func TestMinMembers(t *testing.T) {
	for _, c := range []struct {
		replicas   int32
		configured int
		want       int
	}{{1, 0, 1}, {2, 0, 1}, {3, 0, 2}, {4, 0, 3}, {5, 0, 3}, {3, 1, 1}, {3, 3, 3}, {0, 0, 1}} {
		if n := MinMembers(c.replicas, c.configured); n != c.want {
			t.Errorf("%d replicas, configured %d: %d, want %d", c.replicas, c.configured, n, c.want)
		}
	}
}
