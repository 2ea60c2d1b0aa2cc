package rrdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
)

// MakeChild makes a copy of a parent's store, which Checkpoint made in o.Dir, the store of its child o.Gpid: what the copy holds of the
// child's rows is what there was at the cut, so that is its last decree. Nobody uses the copy meanwhile. It returns the child's
// cut. base.ErrInvalidState: the parent was not cut so that this is its child.
func MakeChild(ctx context.Context, o Options) (_ Cut, err error) {
	s, err := open(o, true)
	if err != nil {
		return Cut{}, err
	}
	defer func() {
		if err = errors.Join(err, s.Close()); err != nil {
			err = fmt.Errorf("making partition %v of the store of its parent: %w", o.Gpid, err)
		}
	}()
	c := s.Cut()
	if c.Count <= 0 || c.Partition+c.Count/2 != o.Gpid.PartitionIndex || c.Decree > s.LastApplied() {
		return Cut{}, fmt.Errorf("the parent is partition %d of %d since decree %d, and at %d: %w", c.Partition, c.Count, c.Decree, s.LastApplied(), base.ErrInvalidState)
	}
	c.Partition = o.Gpid.PartitionIndex
	s.applyMu.Lock()
	b := s.db.NewBatch()
	err = errors.Join(b.Set(cutKey, c.append(nil), nil), b.Set(metaKey, meta{c.Decree, c.Timestamp}.append(nil), nil))
	taken := s.Taken()
	if taken.Decree > c.Decree { // by the parent, without rows of the child's
		taken = Taken{}
		err = errors.Join(err, b.Delete(takeKey, nil))
	}
	if err == nil {
		err = s.db.Apply(b, pebble.NoSync)
	}
	err = errors.Join(err, b.Close())
	s.taken.Store(&taken)
	s.applied.Store(c.Decree)
	s.timestamp.Store(c.Timestamp)
	s.applyMu.Unlock()
	if err != nil {
		return Cut{}, err
	}
	if err := s.flushOnce(ctx); err != nil {
		return Cut{}, err
	}
	m, err := readMeta(s.db, true)
	if err == nil && m.decree != c.Decree {
		err = fmt.Errorf("the record of decree %d is not durable, %d is: %w", c.Decree, m.decree, base.ErrInvalidState)
	}
	return c, err
}
