package main

import (
	"strings"
	"testing"
)

func TestSoak(t *testing.T) {
	var out strings.Builder
	if !soak(&out, 5, 3, 0, "", 2, 0) {
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

func TestSoakOfOneBug(t *testing.T) {
	var out strings.Builder
	if !soak(&out, 1, 3, 1000, "grace-below-lease", 1, 20) {
		t.Errorf("failed:\n%s", &out)
	}
	for _, want := range []string{"planted bug grace-below-lease", "VIOLATION", "planted bugs found 1 of 1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
	out.Reset()
	if soak(&out, 1, 3, 0, "", 1, 0); strings.Contains(out.String(), "NOT FOUND") {
		t.Errorf("looked for bugs:\n%s", &out)
	}
}
