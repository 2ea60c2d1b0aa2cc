package main

import (
	"strings"
	"testing"
)

func TestSoak(t *testing.T) {
	var out strings.Builder
	if !soak(&out, 5, 3, 0, 0) {
		t.Errorf("failed:\n%s", &out)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if got := lines[len(lines)-1]; got != "seeds 3, violations 0, planted bugs found 0 of 0" {
		t.Errorf("last line %q", got)
	}
	if !strings.Contains(out.String(), "covered: ") {
		t.Errorf("says nothing of what it covered:\n%s", &out)
	}
}
