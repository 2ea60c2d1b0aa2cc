package rrdb

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/base/appenv"
)

// RulesID returns the identity of the table's rules, 0 if it has none. repeat tells whether some of them
// also apply to rows that are written later, see PassOptions.
func (s *Store) RulesID() (id uint64, repeat bool) {
	u := s.env.Load().rules
	if u == nil {
		return 0, false
	}
	for i := range u.operations {
		if u.operations[i].Kind == appenv.DeleteRow || u.operations[i].Kind == appenv.ExpireAt {
			repeat = true
		}
	}
	return u.id, repeat
}

// PassOptions configure a pass.
type PassOptions struct {
	Now uint32 // see ExpiryTime; 0 is the store's clock
	// Repeated: the rules were applied to all rows before. Only deletions and fixed expiries are
	// applied, to rows that were written since.
	Repeated bool
	// MaxBytes, if it isn't 0, also bounds the bytes that one ScanForRules finds; a single row may be
	// larger.
	MaxBytes int
	// Tombstones: rows that are deleted are remembered with the timetags that they had, see Tombstone.
	Tombstones bool
}

// Bounds of one ScanForRules, and with it of a mutation.
const (
	passRows  = 256
	passBytes = 256 << 10
	passRead  = 4 << 20 // about how much it reads
)

// ScanForRules reads rows from a key on, nil for the first, and returns the keys of live rows that the
// table's rules change, enough for a mutation of moderate size. size is their bytes with their values.
// next is the key to continue at, nil at the end.
func (s *Store) ScanForRules(ctx context.Context, from []byte, o PassOptions, pace *rate.Limiter) (keys [][]byte, size int, next []byte, err error) {
	if err := s.begin(); err != nil {
		return nil, 0, nil, fmt.Errorf("scanning %s for rules: %w", s.gpid, err)
	}
	defer s.leave()
	ctx, cancel := s.whileOpen(ctx)
	defer cancel()
	u := s.env.Load().rules
	if u == nil {
		return nil, 0, nil, nil
	}
	if o.Now == 0 {
		o.Now = ExpiryTime(s.now())
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: metaPrefix})
	if err != nil {
		return nil, 0, nil, classify(err)
	}
	limit := passBytes
	if o.MaxBytes > 0 {
		limit = min(limit, o.MaxBytes)
	}
	read, step := 0, 0
	for valid := it.First(); valid; valid = it.Next() {
		key := it.Key()
		if len(keys) >= passRows || size >= limit || read >= passRead {
			next = bytes.Clone(key)
			break
		}
		expireTS, data, verr := rowValue(it)
		if verr != nil {
			err = classify(verr)
			break
		}
		n := len(key) + len(data)
		read += n
		if step += n; step >= sweepStep {
			if err = wait(ctx, pace, step); err != nil {
				break
			}
			step = 0
		}
		if expired(expireTS, o.Now) || s.hides(key) {
			continue
		}
		if expiry, gone := u.apply(key, expireTS, o.Now, o.Repeated); gone || expiry != expireTS {
			if len(keys) > 0 && size+n > limit {
				next = bytes.Clone(key)
				break
			}
			keys = append(keys, bytes.Clone(key))
			size += n
		}
	}
	s.shared.passRead.Add(int64(read))
	if err == nil && next == nil {
		err = wait(ctx, pace, step)
	}
	if cerr := it.Close(); err == nil && cerr != nil {
		err = classify(cerr)
	}
	if err != nil {
		return nil, 0, nil, fmt.Errorf("scanning %s for rules: %w", s.gpid, err)
	}
	return keys, size, next, nil
}

// ApplyRules applies the table's rules to the current rows of keys, which ScanForRules has found, and
// appends the ops to payload. It skips rows that have a write in flight in ov. The ops keep the rows'
// timetags: they aren't writes of a client, and must not win against one. rows is the number of rows
// changed. On error payload is returned unchanged.
func (s *Store) ApplyRules(keys [][]byte, o PassOptions, ov *Overlay, payload []byte) (_ []byte, rows int, err error) {
	if err := s.begin(); err != nil {
		return payload, 0, fmt.Errorf("applying rules of %s: %w", s.gpid, err)
	}
	defer s.leave()
	u := s.env.Load().rules
	if u == nil {
		return payload, 0, nil
	}
	if o.Now == 0 {
		o.Now = ExpiryTime(s.now())
	}
	before := len(payload)
	for _, key := range keys {
		if s.hides(key) {
			continue
		}
		if ov != nil {
			if _, found := ov.Lookup(key, payload); found {
				continue
			}
		}
		r, code := s.lookup(key, o.Now)
		switch code {
		case codeOK:
		case codeNotFound:
			continue
		default:
			return payload[:before], 0, fmt.Errorf("applying rules of %s: storage code %d: %w", s.gpid, code, base.ErrInvalidState)
		}
		expiry, gone := u.apply(key, r.expireTS, o.Now, o.Repeated)
		switch {
		case gone:
			payload = AppendOp(payload, Op{Key: key, Delete: true, Timetag: o.gone(r.timetag)})
			rows++
		case expiry != r.expireTS:
			payload = AppendOp(payload, Op{Key: key, Value: r.data, ExpireTS: expiry, Timetag: r.timetag})
			rows++
		}
		if err := r.closer.Close(); err != nil {
			return payload[:before], 0, fmt.Errorf("applying rules of %s: %w", s.gpid, classify(err))
		}
	}
	return payload, rows, nil
}

// gone is the timetag of the op that deletes a row with a timetag: that very one, so that it hides older writes
// of the row, and no later one. Any write is later than a row without a time.
func (o *PassOptions) gone(timetag uint64) uint64 {
	if !o.Tombstones || timetag>>8 == 0 {
		return 0
	}
	return timetag | 1
}
