// Package durable makes names in directories outlive a power failure. It owns that one step, and the files made with it, for
// everything that works on the operating system's files; what goes through Pebble's vfs, where
// faults are planted, has its own in replica/disk.
package durable

import (
	"errors"
	"os"
)

// Dir makes what was created, renamed and removed in a directory durable.
func Dir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
