package rrdb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Apply executes one committed mutation: all its ops and its decree in one batch. Decrees
// are consecutive.
func (s *Store) Apply(decree, timestampUS int64, payload []byte) error {
	one := [1]Mutation{{decree, timestampUS, payload}}
	return s.ApplyAll(one[:])
}

// ApplyAll executes one or more consecutive mutations: a crash leaves the effects of a beginning of them, of
// all of them or none unless one takes a set. That may take a second. When it is done, all of it and all before is durable: LastFlushed is at
// least its decree. ErrNoSet: the set isn't here, so that the store has nothing of it, and can't go on without.
func (s *Store) ApplyAll(ms []Mutation) error {
	for len(ms) > 0 {
		n := 0
		for n < len(ms) && !IsTake(ms[n].Payload) {
			n++
		}
		if n == 0 {
			if err := s.applyTake(&ms[0]); err != nil {
				return fmt.Errorf("applying decree %d: %w", ms[0].Decree, err)
			}
			ms = ms[1:]
			continue
		}
		if err := s.applier.ApplyAll(ms[:n]); err != nil {
			return err
		}
		ms = ms[n:]
	}
	return nil
}

// RemoveSets removes the sets of loads up to one. Nobody makes or takes them meanwhile.
func (s *Store) RemoveSets(upTo int64) error {
	parent := s.fs.PathDir(s.dir)
	names, err := s.fs.List(parent)
	for _, n := range names {
		rest, is := strings.CutPrefix(n, SetPrefix)
		load, e := strconv.ParseInt(rest, 10, 64)
		if is && e == nil && load <= upTo {
			err = errors.Join(err, s.fs.RemoveAll(s.fs.PathJoin(parent, n)))
		}
	}
	if err != nil {
		return fmt.Errorf("removing the sets of rows beside %s: %w", s.dir, err)
	}
	return nil
}

// CheckTake tells whether the set is here that a mutation takes, unless it was taken.
func (s *Store) CheckTake(payload []byte) error {
	t, err := ParseTake(payload)
	if err != nil || t.Load <= s.Taken().Load {
		return err
	}
	info, err := s.ReadSet(s.SetDir(t.Load))
	if err != nil {
		return err
	}
	return info.is(&t)
}

func (s *Store) applyTake(m *Mutation) error {
	t, err := ParseTake(m.Payload)
	if err != nil {
		return err
	}
	if last := s.Taken().Load; t.Load <= last {
		// Asked for a second time, while the first was under way. Rows of it may have changed since.
		s.log.Infof("load %d was taken already, the last was %d", t.Load, last)
		return s.applier.Apply(m.Decree, m.TimestampUS, nil)
	}
	return s.takeSet(context.Background(), Taken{t, m.Decree, m.TimestampUS}, s.SetDir(t.Load))
}
