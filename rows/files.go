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
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return durable.File(name, write)
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
