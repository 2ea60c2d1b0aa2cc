package disk

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ReadJSON decodes the file into v.
func ReadJSON(name string, v any) error {
	f, err := vfs.Default.Open(name)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(f)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// WriteJSON replaces the file atomically and durably.
func WriteJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp := name + ".tmp"
	f, err := vfs.Default.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = vfs.Default.Rename(tmp, name)
	}
	if err == nil {
		err = SyncDir(filepath.Dir(name))
	}
	return err
}

// SyncDir makes what was created, renamed and removed in a directory durable.
func SyncDir(path string) error {
	d, err := vfs.Default.OpenDir(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

func emptyDir(path string) error {
	names, err := vfs.Default.List(path)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := vfs.Default.RemoveAll(filepath.Join(path, n)); err != nil {
			return err
		}
	}
	return nil
}
