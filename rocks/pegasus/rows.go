package pegasus

import (
	"context"
	"fmt"

	"pegasus/base"
	"pegasus/rocks"
	"pegasus/rocks/damage"
)

// Row is a row of a table. Its slices are good until the next one.
type Row struct {
	Key              []byte // as stored: base.SplitKey gives the next two
	HashKey, SortKey []byte
	Value
}

// Replica reads the database of a replica: a live one that was stopped, a checkpoint, or a backup.
type Replica struct {
	db   *rocks.DB
	meta Meta
}

// Open reads what the replica knows of its data.
func Open(ctx context.Context, dir rocks.Dir, o rocks.Options) (*Replica, error) {
	db, err := rocks.Open(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	m, err := ReadMeta(ctx, db)
	if err != nil {
		return nil, err
	}
	return &Replica{db: db, meta: m}, nil
}

// Meta is what the replica knows of its data.
func (r *Replica) Meta() Meta { return r.meta }

// DB is the database itself.
func (r *Replica) DB() *rocks.DB { return r.db }

// Rows goes through the rows, expired ones too, by stored key.
func (r *Replica) Rows(ctx context.Context, b rocks.Bounds) (*Rows, error) {
	it, err := r.db.NewIter(ctx, DataFamily, b)
	if err != nil {
		return nil, err
	}
	return &Rows{it: it, version: r.meta.DataVersion}, nil
}

// Rows is an iterator over rows. It belongs to one goroutine, and must be closed.
type Rows struct {
	it      *rocks.Iter
	version int
	row     Row
	err     error
}

// Next moves to the next row. False is the end, or an error, which Err tells.
func (r *Rows) Next() bool {
	for r.err == nil && r.it.Next() {
		key := r.it.Key()
		if len(key) == 0 { // of a mutation without effect
			continue
		}
		hash, sort, ok := base.SplitKey(key)
		if !ok {
			r.err = damage.Newf(r.it.Table(), -1, damage.Row, "key %x is shorter than the length of its hash key says", key)
			return false
		}
		v, err := ParseValue(r.version, r.it.Value())
		if err != nil {
			r.err = damage.Newf(r.it.Table(), -1, damage.Row, "the value of key %x: %w", key, err)
			return false
		}
		r.row = Row{Key: key, HashKey: hash, SortKey: sort, Value: v}
		return true
	}
	return false
}

// Row is the present row.
func (r *Rows) Row() Row { return r.row }

// Err is why the iterator ended, nil at the end of the rows.
func (r *Rows) Err() error {
	if r.err != nil {
		return r.err
	}
	if err := r.it.Err(); err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	return nil
}

// Close frees what the iterator holds, and returns Err.
func (r *Rows) Close() error {
	r.it.Close()
	return r.Err()
}
