package cppdata

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"pegasus/base"
	"pegasus/rocks"
	"pegasus/rocks/pegasus"
)

// Rows goes through the rows of a replica, by stored key, with those that have expired. It belongs to one goroutine, and must be closed.
type Rows struct {
	of      *Replica
	store   *pegasus.Rows
	changes *changes
	keys    []string // that the log changes, from here on
	more    bool     // store is at a row
	move    bool     // it has to move on first
	row     pegasus.Row
	err     error
}

// Rows replays the replica's log over its store. after is a stored key: only rows behind it are given; nil: all.
// ctx ends reading. A replica that isn't whole is an error, its Err, unless partial: then the rows are those as of its last mutation before what is wrong.
func (r *Replica) Rows(ctx context.Context, after []byte, partial bool) (*Rows, error) {
	if r.Err != nil && !(partial && r.Partial) {
		return nil, r.Err
	}
	s, err := r.openStore(ctx)
	if err != nil {
		return nil, err
	}
	stopped := min(max(r.stoppedAt().Unix()-base.EpochBegin, 0), math.MaxUint32)
	c := newChanges(ctx, s, r.Info.Envs, uint32(stopped))
	again := *r
	o := again.order(c.apply)
	if err := again.walk(ctx, o); err != nil {
		if e := ctx.Err(); e != nil {
			return nil, e
		}
		if !partial {
			return nil, err
		}
		r.Err = err
	}
	r.Decree = o.done
	rows := &Rows{of: r, changes: c, move: true}
	for k := range c.rows {
		if after == nil || k > string(after) {
			rows.keys = append(rows.keys, k)
		}
	}
	slices.Sort(rows.keys)
	var b rocks.Bounds
	if after != nil {
		b.Lower = append(bytes.Clone(after), 0)
	}
	if rows.store, err = s.Rows(ctx, b); err != nil {
		return nil, err
	}
	return rows, nil
}

// Next moves to the next row. False is the end, or an error, which Err tells.
func (r *Rows) Next() bool {
	if r.err != nil {
		return false
	}
	if r.move {
		r.move, r.more = false, r.store.Next()
	}
	for {
		if !r.more {
			if err := r.store.Err(); err != nil {
				r.err = fmt.Errorf("%s: %w", filepath.Join(r.of.Path, storeDir), err)
				return false
			}
			if len(r.keys) == 0 {
				return false
			}
		}
		if len(r.keys) == 0 || r.more && r.keys[0] > string(r.store.Row().Key) {
			r.row, r.move = r.store.Row(), true
			return true
		}
		k := r.keys[0]
		r.keys = r.keys[1:]
		if r.more && k == string(r.store.Row().Key) {
			r.more = r.store.Next()
		}
		if c := r.changes.rows[k]; !c.removed {
			r.row = pegasus.Row{Key: []byte(k), Value: c.Value}
			r.row.HashKey, r.row.SortKey, _ = base.SplitKey(r.row.Key)
			return true
		}
	}
}

// Row is the present row. Its slices are good until the next one.
func (r *Rows) Row() pegasus.Row { return r.row }

// Err is why the iterator ended, nil at the end of the rows.
func (r *Rows) Err() error { return r.err }

// Close frees what the iterator holds, and returns Err.
func (r *Rows) Close() error {
	r.store.Close()
	return r.Err()
}
