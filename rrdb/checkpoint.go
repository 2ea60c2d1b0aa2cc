package rrdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
)

// Checkpoint makes a copy of the store in a directory that must not exist, with hard links where the
// file system has them. It returns the decree of the copy, which holds exactly the effects of all
// decrees up to it. Everything applied before the call is in the copy.
func (s *Store) Checkpoint(dir string) (decree int64, err error) {
	if err := s.begin(); err != nil {
		return 0, fmt.Errorf("checkpoint in %s: %w", dir, err)
	}
	defer s.leave()
	defer func() {
		if err != nil {
			err = fmt.Errorf("checkpoint in %s: %w", dir, err)
		}
	}()
	applied := s.LastApplied()
	if err := s.Flush(context.Background()); err != nil {
		return 0, err
	}
	if err := s.beginManifest(context.Background()); err != nil {
		return 0, err
	}
	defer s.manifests.copying()()
	if err := s.copyFiles(dir); err != nil {
		return 0, err
	}
	// Pebble copies its table files as of some moment during the call, and readers see that state
	// later. Only the copy knows the moment. Its last decree may be one that is being applied now:
	// waiting for applyMu makes sure that it counts as applied when this returns.
	s.applyMu.Lock()
	s.applyMu.Unlock() //lint:ignore SA2001 it waits for the batch
	m, err := s.readCopy(dir)
	if err == nil {
		err = s.member.Err()
	}
	if err == nil && m.decree < applied {
		err = fmt.Errorf("the copy ends at decree %d, but decree %d was applied before: %w", m.decree, applied, base.ErrInvalidState)
	}
	if err != nil {
		return 0, errors.Join(err, s.fs.RemoveAll(dir))
	}
	return m.decree, nil
}

// copyFiles is Pebble's Checkpoint, but that a directory that can't be synced is an error, not a panic.
func (s *Store) copyFiles(dir string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			cause, ok := p.(error)
			if !ok {
				panic(p)
			}
			err = errors.Join(fmt.Errorf("panic in Pebble: %w", cause), s.fs.RemoveAll(dir))
		}
	}()
	return s.db.Checkpoint(dir)
}

// readCopy returns the metadata record of a copy of the store.
func (s *Store) readCopy(dir string) (meta, error) {
	o := pebbleOptions(&s.opts, s.instance)
	o.ReadOnly, o.ErrorIfNotExists = true, true
	o.Experimental.CompactionScheduler = nil
	db, err := pebble.Open(dir, o)
	if err != nil {
		return meta{}, err
	}
	m, err := readMeta(db, true)
	return m, errors.Join(err, db.Close(), s.fs.Remove(s.fs.PathJoin(dir, "LOCK")))
}

// beginManifest makes Pebble begin a manifest, if it has begun none since it was opened, by writing the
// record of the last decree again. Pebble's DB.Checkpoint needs that: it copies as much of the current
// manifest as was written since the store was opened, which is nothing for a store that only answered
// reads.
func (s *Store) beginManifest(ctx context.Context) error {
	if s.manifests.hasBegun() {
		return nil
	}
	if err := s.putRecord(); err != nil {
		return err
	}
	if err := s.flushOnce(ctx); err != nil {
		return err
	}
	if !s.manifests.hasBegun() {
		return fmt.Errorf("a flush of %s began no new manifest: %w", s.dir, base.ErrInvalidState)
	}
	return nil
}
