package rrdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"

	"pegasus/base"
)

// A set can be taken behind what is there: a row of it is left out if the store has a row of that key at the decree before which hasn't expired at the mutation's
// time. Pebble lets what is ingested win, so the tables in which there are such rows are written again without them, while mutations wait.
//
// Each member does that for itself, at the same decree, and comes to the same rows: what its store has differs from that of the others in expired rows
// alone. One that expired after the mutation's time counts as there. A member that applies the mutation late could have swept it by then, so no rows are swept
// while such a set lies beside the store and isn't taken.

// linkBehind is linkTables but for rows that are there.
func (s *Store) linkBehind(info SetInfo, dir, taken string, now uint32) (paths []string, err error) {
	po := pebbleOptions(&s.opts, s.instance)
	po.EnsureDefaults()
	for _, t := range info.Tables {
		from, to := s.fs.PathJoin(dir, t.Name), s.fs.PathJoin(taken, t.Name)
		n, err := s.writeAbsent(po, from, to, now)
		switch {
		case err != nil:
			return nil, fmt.Errorf("leaving out rows that are there of %s: %w", t.Name, err)
		case n < 0: // none is there
			err = s.fs.Link(from, to)
		case n == 0: // all are
			continue
		}
		if err != nil {
			return nil, err
		}
		paths = append(paths, to)
	}
	return paths, nil
}

// writeAbsent writes the rows of a table of which none is there to another table, and returns how many those are; -1: all, and nothing was written.
func (s *Store) writeAbsent(po *pebble.Options, from, to string, now uint32) (rows int, err error) {
	f, err := s.fs.Open(from)
	if err != nil {
		return 0, noSet(err)
	}
	readable, err := objstorageprovider.NewFileReadable(f, s.fs, objstorageprovider.NewReadaheadConfig(), from)
	if err != nil {
		return 0, errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(context.Background(), readable, po.MakeReaderOptions())
	if err != nil {
		return 0, badTable(errors.Join(err, readable.Close()))
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	there, all, err := s.there(r, now)
	if err != nil || len(there) == 0 {
		return -1, err
	}
	if rows = all - len(there); rows == 0 {
		return 0, nil
	}
	w, err := createTable(s.fs, to, lastLevel(s, po))
	if err != nil {
		return 0, err
	}
	n := 0
	err = eachRow(r, func(key []byte, value func() ([]byte, error)) error {
		if n++; len(there) > 0 && there[0] == n-1 {
			there = there[1:]
			return nil
		}
		v, err := value()
		if err != nil {
			return badTable(err)
		}
		return w.Set(key, v)
	})
	return rows, errors.Join(err, w.Close())
}

// there lists which rows of a table are there, by their places in it, and counts all.
func (s *Store) there(r *sstable.Reader, now uint32) (there []int, all int, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{UpperBound: metaPrefix})
	if err != nil {
		return nil, 0, classify(err)
	}
	defer func() {
		if cerr := it.Close(); err == nil && cerr != nil {
			err = classify(cerr)
		}
	}()
	valid, begun := true, false
	err = eachRow(r, func(key []byte, _ func() ([]byte, error)) error {
		all++
		if !begun || valid && bytes.Compare(it.Key(), key) < 0 {
			valid, begun = it.SeekGE(key), true
		}
		if !valid {
			return it.Error()
		}
		if !bytes.Equal(it.Key(), key) {
			return nil
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return classify(err)
		}
		expireTS, _, _, ok := splitValue(v)
		if !ok {
			return fmt.Errorf("a row of %d bytes: %w", len(v), ErrCorrupt)
		}
		if !expired(expireTS, now) {
			there = append(there, all-1)
		}
		return nil
	})
	return there, all, err
}

// eachRow reads a table of a set.
func eachRow(r *sstable.Reader, f func(key []byte, value func() ([]byte, error)) error) error {
	it, err := r.NewIter(block.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return badTable(err)
	}
	for kv := it.First(); kv != nil && err == nil; kv = it.Next() {
		err = f(kv.K.UserKey, func() ([]byte, error) {
			v, _, err := kv.Value(nil)
			return v, err
		})
	}
	if err == nil {
		if e := it.Error(); e != nil {
			err = badTable(e)
		}
	}
	return errors.Join(err, it.Close())
}

// badTable is the error of a table of a set that can't be read.
func badTable(err error) error {
	if err = classify(err); base.Passing(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNoSet, err)
}
