package durable

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// File makes a file of what write writes, in a directory that is there. It is there durably and whole when File returns nil; after an error what was there
// before still is.
func File(name string, write func(io.Writer) error) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+".tmp-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(f.Name()) // it has been renamed if all went well
	defer f.Close()
	if err := write(f); err != nil {
		return err
	}
	for _, step := range []func() error{func() error { return f.Chmod(0o644) }, f.Sync, f.Close, func() error { return os.Rename(f.Name(), name) }, func() error { return Dir(dir) }} {
		if err := step(); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}
