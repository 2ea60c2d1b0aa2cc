package disk

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/replica/wal"
)

// newDir is a directory that isn't open yet.
func newDir(p Place, o *Options) *Dir {
	d := &Dir{Tag: p.Tag, Path: p.Path, Flushes: make(chan struct{}, runtime.GOMAXPROCS(0)), statfs: statfs}
	logs := o.WAL
	logs.FS, logs.Dir, logs.Logger = vfs.Default, filepath.Join(p.Path, "wal"), o.Log.WithField("dir", p.Tag)
	if o.AfterBatch != nil {
		logs.AfterBatch = o.AfterBatch(d)
	}
	d.openLog = func() (*wal.Log, error) {
		here, err := d.Replicas()
		if err != nil {
			return nil, err
		}
		st, err := vfs.Default.Stat(IdentName(p.Path))
		if err != nil {
			return nil, fmt.Errorf("data directory %s: %w", p.Path, err)
		}
		device := st.DeviceID()
		logs := logs
		logs.Replicas = here
		l, err := wal.Open(logs)
		if err != nil {
			return nil, fmt.Errorf("log of data directory %s: %w", p.Path, err)
		}
		d.device.Store(&device)
		return l, nil
	}
	return d
}

// openDir prepares a directory and opens its log. Its parent must exist.
func (s *Set) openDir(d *Dir) error {
	if parent := filepath.Dir(d.Path); parent != "." {
		if _, err := vfs.Default.Stat(parent); err != nil {
			return fmt.Errorf("data directory %s: %w: create its parent directory, or change replica.data_dirs", d.Path, err)
		}
	}
	if err := s.prepare(d); err != nil {
		return err
	}
	l, err := d.openLog()
	if err != nil {
		return err
	}
	d.log.Store(l)
	d.measure()
	return nil
}

// prepare makes what of a directory isn't there, checks whose it is, and empties what nobody misses.
func (s *Set) prepare(d *Dir) error {
	if err := s.identity.prepare(d.place()); err != nil {
		return err
	}
	if err := emptyDir(d.Scratch()); err != nil {
		return fmt.Errorf("data directory %s: %w", d.Path, err)
	}
	return nil
}

// dropOthers drops what a log has of other replicas than those that are in its directory.
func (s *Set) dropOthers(l *wal.Log, here []base.Gpid) {
	for _, g := range l.Replicas() {
		if !slices.Contains(here, g) {
			l.Drop(g, func(err error) {
				if err != nil {
					s.log.Warnf("drop what the log has of %v: %v", g, err)
				}
			})
		}
	}
}
