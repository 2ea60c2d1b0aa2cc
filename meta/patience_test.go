package meta

import (
	"testing"
	"time"
)

func TestPatience(t *testing.T) {
	var p patience
	start := time.Unix(1000, 0)
	for _, step := range []struct {
		at    float64
		term  uint64
		times int
		what  string
	}{
		{0, 7, 1, "the first look"},
		{1, 8, 1, "a leader died"},
		{2, 9, 1, "and a vote was split"},
		{18, 10, 1, "that is long over"},
		{19, 11, 1, "two"},
		{20, 12, 2, "three within the window"},
		{21, 13, 2, "counted anew since"},
		{22, 15, 4, "several terms at a time"},
		{23, 99, 4, "no more than the most"},
		{52.5, 99, 4, "calm, not long enough"},
		{53, 99, 2, "calm"},
		{60, 100, 2, "one more leader"},
		{89, 100, 2, "its time isn't over"},
		{90, 100, 1, "calm again"},
		{1000, 100, 1, "never less than configured"},
	} {
		before := p.times
		changed := p.look(start.Add(time.Duration(step.at*float64(time.Second))), step.term)
		if p.times != step.times {
			t.Fatalf("%s, at %v: %d times the timeouts, want %d", step.what, step.at, p.times, step.times)
		}
		if changed != (before != 0 && before != p.times) {
			t.Errorf("%s: told that the timeouts changed: %v", step.what, changed)
		}
	}
}
