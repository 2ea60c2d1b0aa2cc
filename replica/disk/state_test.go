package disk

import "testing"

func TestTooShort(t *testing.T) {
	for _, c := range []struct {
		avail, percent int64
		was, want      bool
	}{
		{100, 10, false, false}, {99, 10, false, true}, {105, 10, true, true}, {110, 10, true, false}, {0, 0, false, false}, {0, 0, true, false},
	} {
		if got := tooShort(1000, c.avail, c.percent, c.was); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
