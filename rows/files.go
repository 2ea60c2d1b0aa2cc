package rows

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"pegasus/base/durable"
)

// Files is an Output on this machine.
type Files struct{}

// Write implements Output.
func (Files) Write(_ context.Context, name string, write func(io.Writer) error) error {
	// What isn't a file, such as /dev/null, must not be replaced by one.
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("write %s: it is there and is no file", name)
	}
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+".tmp-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(f.Name()) // it has been renamed if all went well
	defer f.Close()
	if err := write(f); err != nil {
		return err
	}
	for _, step := range []func() error{func() error { return f.Chmod(0o644) }, f.Sync, f.Close, func() error { return os.Rename(f.Name(), name) }, func() error { return durable.Dir(dir) }} {
		if err := step(); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// Read implements Output.
func (Files) Read(_ context.Context, name string) ([]byte, bool, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return b, err == nil, err
}

// Has implements Output.
func (Files) Has(_ context.Context, name string) (bool, error) {
	_, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
