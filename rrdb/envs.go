package rrdb

import (
	"strconv"
	"time"
)

// Names of the table environments that change how a store answers.
const (
	envDefaultTTL    = "default_ttl"
	envValidateHash  = "replica.split.validate_partition_hash"
	envIterationTime = "replica.rocksdb_iteration_threshold_time_ms"
)

// environment is the parsed form of a table's environments.
type environment struct {
	defaultTTL    uint32 // seconds; 0 is none
	validateHash  bool   // scans skip rows that belong to another partition
	iterationTime time.Duration
}

// SetEnvs replaces the table's environments. Unknown keys are ignored, and so are values
// that can't be parsed: the meta server checked them before.
func (s *Store) SetEnvs(envs map[string]string) {
	e := &environment{iterationTime: s.opts.Storage.IterationTime.D()}
	if v, err := strconv.ParseUint(envs[envDefaultTTL], 10, 31); err == nil {
		e.defaultTTL = uint32(v)
	}
	e.validateHash = envs[envValidateHash] == "true"
	if v, err := strconv.ParseInt(envs[envIterationTime], 10, 32); err == nil && v > 0 {
		e.iterationTime = time.Duration(v) * time.Millisecond
	}
	s.env.Store(e)
}

// SetPartitionCount tells how many partitions the table has, which is what rows are
// checked against when scans validate them. Until it is known all rows are answered.
func (s *Store) SetPartitionCount(n int32) { s.partitions.Store(n) }

// expiry returns what a put with that expiry stores: the table's default if it has none.
func (s *Store) expiry(expireTS, now uint32) uint32 {
	if ttl := s.env.Load().defaultTTL; expireTS == 0 && ttl > 0 {
		return now + ttl
	}
	return expireTS
}

// foreign tells whether a row must be hidden because it went to another partition.
func (s *Store) foreign(e *environment, key []byte) bool {
	n := s.partitions.Load()
	return e.validateHash && n > 0 && !inPartition(key, s.id.partition, n)
}
