package base

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// No TTL becomes a moment in the past, or no expiry at all.
func TestExpireAt(t *testing.T) {
	now := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	since := now.Unix() - EpochBegin
	for _, c := range []struct {
		ttl  int64
		want int64
		err  string
	}{
		{0, 0, ""},
		{1, since + 1, ""},
		{math.MaxInt32 - since, math.MaxInt32, ""},
		{math.MaxInt32 - since + 1, 0, "give one that ends before 2084-01-19"},
		{math.MaxInt32 + 1, 0, "the TTL is 2147483648: give 0 to 2147483647"},
		{1 << 32, 0, "the TTL is 4294967296"},
		{math.MaxInt64, 0, "give 0 to"},
		{-1, 0, "the TTL is -1: give 0 to"},
		{math.MinInt64, 0, "give 0 to"},
	} {
		got, err := ExpireAt(c.ttl, now)
		switch {
		case c.err == "" && (err != nil || int64(got) != c.want):
			t.Errorf("%d: %d, %v, want %d", c.ttl, got, err, c.want)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || !errors.Is(err, ErrInvalidParameters)):
			t.Errorf("%d: %d, %v, want %q", c.ttl, got, err, c.err)
		}
	}
	if got, err := ExpireAt(5, time.Unix(0, 0)); err == nil {
		t.Errorf("a clock before 2016 gives %d", got)
	}
}
