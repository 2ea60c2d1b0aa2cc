package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds the server with the hooks of package hook into dir, from the module that
// the working directory is in, and returns its path. With clock its wall clock can be
// moved too, for which the standard library is compiled anew, once, with time patched. With
// bugs it has the bugs that Options.Plant can name.
func Build(ctx context.Context, dir string, clock, bugs bool) (string, error) {
	out := filepath.Join(dir, "pegasus")
	args := []string{"build", "-o", out, "-tags", "faults"}
	if bugs {
		args[4] += ",plantedbugs"
	}
	if clock {
		overlay, err := patchTime(ctx, dir)
		if err != nil {
			return "", err
		}
		args[4] += ",faultclock"
		args = append(args, "-overlay", overlay)
	}
	root, err := goCommand(ctx, "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "pegasus/cmd/pegasus")...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, b)
	}
	return out, nil
}

// patchTime writes the overlay that makes time.Now add an offset to the wall clock, and
// leave the monotonic clock alone. There is no other way to a jump of one process's clock:
// date(1) moves the machine's, and a Go binary calls no library that could be preloaded.
func patchTime(ctx context.Context, dir string) (overlay string, err error) {
	root, err := goCommand(ctx, "env", "GOROOT")
	if err != nil {
		return "", err
	}
	file := filepath.Join(root, "src", "time", "time.go")
	src, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("patch of package time: %w", err)
	}
	patched, err := patchNow(src)
	if err != nil {
		return "", fmt.Errorf("patch of %s: %w", file, err)
	}
	to := filepath.Join(dir, "time.go.patched")
	if err := os.WriteFile(to, patched, 0o644); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {file: to}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o644)
}

func patchNow(src []byte) ([]byte, error) {
	const from = "func Now() Time {\n\tsec, nsec, mono := "
	at := bytes.Index(src, []byte(from))
	if at < 0 {
		return nil, fmt.Errorf("time.Now doesn't begin as this version of the fault run knows it (%q)", from)
	}
	end := at + len(from) + bytes.IndexByte(src[at+len(from):], '\n') + 1
	out := append([]byte(nil), src[:end]...)
	out = append(out, "\tsec += faultOffset\n"...)
	out = append(out, src[end:]...)
	return append(out, `
var faultOffset int64

// SetFaultOffset moves the wall clock of this process.
func SetFaultOffset(seconds int64) { faultOffset = seconds }
`...), nil
}

func goCommand(ctx context.Context, args ...string) (string, error) {
	b, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(b)), nil
}
