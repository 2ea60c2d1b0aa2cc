package faults

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSmoke is half a minute of the fault run with all nemeses that fit into it, seed fixed.
func TestSmoke(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	if err := CheckSandbox(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	dir := t.TempDir()
	bin := filepath.Join(dir, "faults")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/faults").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(ctx, bin, "-seed", "1", "-duration", "30s", "-nemeses", "all,-pause-long,-pause-source", "-dir", dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	last := lines[len(lines)-1]
	for _, want := range []string{"faults: seed=1 ", " lost=0 ", " violations=0 ", " replicas_equal=yes"} {
		if !strings.Contains(last, want) {
			t.Errorf("the last line lacks %q: %s", want, last)
		}
	}
	t.Log(last)
}
