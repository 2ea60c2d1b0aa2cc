package rrdb

import (
	"time"

	"pegasus/base/appenv"
)

// environment is what of a table's environments changes how a store answers.
type environment struct {
	defaultTTL    uint32 // seconds; 0 is none
	validateHash  bool   // scans skip rows that belong to another partition
	iterationTime time.Duration
	rules         *rules // nil: none
}

// SetEnvs replaces the table's environments. Unknown keys are ignored, and so are values
// that package appenv refuses.
func (s *Store) SetEnvs(envs map[string]string) {
	v, _ := appenv.Parse(envs)
	e := &environment{defaultTTL: v.DefaultTTL, validateHash: v.ValidateHash, iterationTime: s.opts.Storage.IterationTime.D(), rules: newRules(&v)}
	if v.Iteration != nil {
		e.iterationTime = *v.Iteration
	}
	s.env.Store(e)
}

// SetPartitionCount tells how many partitions the table has, which is what rows are
// checked against when scans validate them. Until it is known all rows are answered.
func (s *Store) SetPartitionCount(n int32) { s.partitions.Store(n) }

// expiry returns what a put with that expiry stores: the table's default if it has none.
func (s *Store) expiry(expireTS, now uint32) uint32 {
	if ttl := s.env.Load().defaultTTL; expireTS == 0 && ttl > 0 {
		return later(now, ttl)
	}
	return expireTS
}

// foreign tells whether a row must be hidden because it went to another partition.
func (s *Store) foreign(e *environment, key []byte) bool {
	n := s.partitions.Load()
	return e.validateHash && n > 0 && !inPartition(key, s.id.partition, n)
}
