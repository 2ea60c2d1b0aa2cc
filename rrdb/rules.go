package rrdb

import (
	"fmt"
	"hash/fnv"
	"math"

	"pegasus/base"
	"pegasus/base/appenv"
)

// The rules of a table change existing rows: rows without an expiry get the table's default TTL, and
// user_specified_compaction deletes rows or changes their expiry. Upstream applies them in compactions,
// each replica by its own clock. Here the primary applies them in passes over its rows, like a client's
// write: it finds rows (ScanForRules) and turns them into ops (ApplyRules), which all replicas apply.

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
		ops = nil // Parse has reported it
	}
	if s.DefaultTTL == 0 && len(ops) == 0 {
		return nil
	}
	h := fnv.New64a()
	// The length of the default TTL doesn't matter: rows that have got one keep it.
	fmt.Fprintf(h, "%t\x00%s", s.DefaultTTL > 0, s.Operations)
	return &rules{s.DefaultTTL, ops, max(h.Sum64(), 1)}
}

// apply returns the new expiry of a row, or that the row is deleted. now is the current time in seconds.
// As in upstream, each operation sees the row with the default TTL applied but without the changes of
// other operations; the last one that changes the expiry counts. A repeated pass leaves out the
// operations that are relative to now or to the current expiry: they would change the row each time.
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

// later adds seconds to a time, up to the latest possible.
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
