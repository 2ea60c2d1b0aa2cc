package rrdb

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/base/appenv"
)

// A table's rules say what becomes of rows that are there: those that never expire are given
// the table's default TTL, and user_specified_compaction deletes rows and changes their
// expiry. Upstream does it in its compactions, each replica by its own clock. Here the
// primary does it, in passes over its rows, as it does a client's write: what it finds
// (Ruled) it turns into ops (Enforce), which all replicas apply.

// rules are a table's.
type rules struct {
	defaultTTL uint32
	operations []appenv.Operation
	id         uint64
}

// newRules returns nil for a table without rules.
func newRules(s *appenv.Settings) *rules {
	ops, err := appenv.ParseOperations(s.Operations)
	if err != nil {
		ops = nil // Parse has refused it
	}
	if s.DefaultTTL == 0 && len(ops) == 0 {
		return nil
	}
	h := fnv.New64a()
	// How long the default is changes nothing for rows that were given one.
	fmt.Fprintf(h, "%t\x00%s", s.DefaultTTL > 0, s.Operations)
	return &rules{s.DefaultTTL, ops, max(h.Sum64(), 1)}
}

// RulesID returns what tells the table's rules from others, 0 if it has none. repeat tells
// that some of them are also for rows that come later, see PassOptions.
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

// apply returns what becomes of a row: its expiry, or that it goes. now is its time in
// seconds. As upstream, the operations all see the row as it is but for the default TTL; of
// several that change the expiry the last counts. In a repeated pass those that count from
// now or from the present expiry are left out: they would do so again and again.
func (u *rules) apply(key []byte, expireTS, now uint32, repeated bool) (expiry uint32, gone bool) {
	if expireTS == 0 && u.defaultTTL > 0 {
		expireTS = later(now, u.defaultTTL)
	}
	expiry = expireTS
	hashKey, sortKey, ok := base.SplitKey(key)
	if !ok {
		return expiry, false
	}
	for i := range u.operations {
		o := &u.operations[i]
		if repeated && (o.Kind == appenv.ExpireFromNow || o.Kind == appenv.ExpireFromCurrent) || !matchesAll(o.Rules, hashKey, sortKey, expireTS, now) {
			continue
		}
		switch o.Kind {
		case appenv.DeleteRow:
			return 0, true
		case appenv.ExpireFromNow:
			expiry = later(now, o.Value)
		case appenv.ExpireFromCurrent:
			if expireTS > 0 {
				expiry = later(expireTS, o.Value)
			}
		case appenv.ExpireAt:
			expiry = expirySeconds(int64(o.Value))
		}
	}
	return expiry, false
}

// later adds seconds to a time, up to the last that there is.
func later(t, seconds uint32) uint32 {
	return uint32(min(uint64(t)+uint64(seconds), math.MaxUint32))
}

func matchesAll(rules []appenv.RowRule, hashKey, sortKey []byte, expireTS, now uint32) bool {
	for i := range rules {
		r := &rules[i]
		switch r.Kind {
		case appenv.HashKeyPattern:
			if !r.Matches(hashKey) {
				return false
			}
		case appenv.SortKeyPattern:
			if !r.Matches(sortKey) {
				return false
			}
		case appenv.TTLRange:
			never := expireTS == 0 && r.From == 0 && r.To == 0
			within := uint64(now)+uint64(r.From) <= uint64(expireTS) && uint64(expireTS) <= uint64(now)+uint64(r.To)
			if !never && !within {
				return false
			}
		}
	}
	return true
}

// PassOptions say how rules are applied to rows.
type PassOptions struct {
	Now uint32 // see ExpiryTime; 0 is the store's clock
	// Repeated: the rules have been applied to all rows before. Only deletions and fixed
	// times are looked at, for rows that came since.
	Repeated bool
}

// Bounds of what one call of Ruled finds, and with it of a mutation.
const (
	ruledRows  = 256
	ruledBytes = 256 << 10
	ruledRead  = 4 << 20 // about how much it reads
)

// Ruled reads rows from a key on, nil for the first, and returns the keys of live ones that
// the table's rules change, as many as make a mutation of moderate size, and what they take
// with their values. next is where to go on, nil at the end.
func (s *Store) Ruled(ctx context.Context, from []byte, o PassOptions, pace *rate.Limiter) (keys [][]byte, size int, next []byte, err error) {
	if err := s.begin(); err != nil {
		return nil, 0, nil, fmt.Errorf("looking for rows with rules of %s: %w", s.opts.Gpid, err)
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
	read, step := 0, 0
	for valid := it.First(); valid; valid = it.Next() {
		key := it.Key()
		if len(keys) >= ruledRows || size >= ruledBytes || read >= ruledRead {
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
		if expired(expireTS, o.Now) {
			continue
		}
		if expiry, gone := u.apply(key, expireTS, o.Now, o.Repeated); gone || expiry != expireTS {
			keys = append(keys, bytes.Clone(key))
			size += n
		}
	}
	s.shared.ruledRead.Add(int64(read))
	if err == nil && next == nil {
		err = wait(ctx, pace, step)
	}
	if cerr := it.Close(); err == nil && cerr != nil {
		err = classify(cerr)
	}
	if err != nil {
		return nil, 0, nil, fmt.Errorf("looking for rows with rules of %s: %w", s.opts.Gpid, err)
	}
	return keys, size, next, nil
}

// wait takes n bytes from pace, which may be nil.
func wait(ctx context.Context, pace *rate.Limiter, n int) error {
	if pace == nil || n == 0 {
		return ctx.Err()
	}
	return pace.WaitN(ctx, min(n, pace.Burst()))
}

// Enforce applies the table's rules to the rows of keys, which Ruled has found, as they are
// by now, and appends what it takes to payload. Rows that have a write on its way in ov are
// left for the next time. What it appends keeps the rows' timetags: it isn't a client's
// write, and must win against none. rows is how many it changes. On error payload is returned
// as it was.
func (s *Store) Enforce(keys [][]byte, o PassOptions, ov *Overlay, payload []byte) (_ []byte, rows int, err error) {
	if err := s.begin(); err != nil {
		return payload, 0, fmt.Errorf("rules of %s: %w", s.opts.Gpid, err)
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
			return payload[:before], 0, fmt.Errorf("rules of %s: storage code %d: %w", s.opts.Gpid, code, base.ErrInvalidState)
		}
		expiry, gone := u.apply(key, r.expireTS, o.Now, o.Repeated)
		switch {
		case gone:
			payload = AppendOp(payload, Op{Key: key, Delete: true})
			rows++
		case expiry != r.expireTS:
			payload = AppendOp(payload, Op{Key: key, Value: r.data, ExpireTS: expiry, Timetag: r.timetag})
			rows++
		}
		if err := r.closer.Close(); err != nil {
			return payload[:before], 0, fmt.Errorf("rules of %s: %w", s.opts.Gpid, classify(err))
		}
	}
	return payload, rows, nil
}
