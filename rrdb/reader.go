package rrdb

import (
	"math"
	"sync/atomic"
	"time"

	"pegasus/base/appenv"
)

// reader answers reads, and evaluates writes on the rows that it reads.
type reader struct {
	*instance
	id       identity
	limits   Limits
	sessions *sessionTable

	env atomic.Pointer[environment]
}

// identity is the partition and the server, which every answer names.
type identity struct {
	appID, partition int32
	server           string
}

// environment holds the settings of a table that change the answers.
type environment struct {
	defaultTTL    uint32 // seconds; 0 is none
	validateHash  bool   // scans skip rows that belong to another partition
	iterationTime time.Duration
	rules         *rules // nil: none
}

// SetEnvs replaces the table's environments. Unknown keys and invalid values are ignored.
func (s *reader) SetEnvs(envs map[string]string) {
	v, _ := appenv.Parse(envs)
	e := &environment{defaultTTL: v.DefaultTTL, validateHash: v.ValidateHash, iterationTime: s.limits.IterationTime, rules: newRules(&v)}
	if v.Iteration != nil {
		e.iterationTime = *v.Iteration
	}
	s.env.Store(e)
}

// expiry returns the expiry that a put stores: the table's default if the put has none.
func (s *reader) expiry(expireTS, now uint32) uint32 {
	if ttl := s.env.Load().defaultTTL; expireTS == 0 && ttl > 0 {
		return later(now, ttl)
	}
	return expireTS
}

// foreign tells whether a row is hidden because it belongs to another partition.
func (s *reader) foreign(c *scanSession, e *environment, key []byte) bool {
	n := c.count
	return e.validateHash && n > 0 && !inPartition(key, s.id.partition, n)
}

// maxAnswerBytes returns the limit of the bytes of rows in one answer.
func (s *reader) maxAnswerBytes() int {
	return min(s.limits.MultiGetBytes, math.MaxInt32)
}

// budget bounds one range read. A zero limit is none.
type budget struct {
	rows  int
	until time.Time
	now   func() time.Time

	seen   int
	hidden int // of a scan's page: rows seen before the first that is answered
}

// timeCheckRows is the number of rows after which the clock is read.
const timeCheckRows = 128

func (s *reader) newBudget(rows int) budget {
	b := budget{rows: max(rows, 1), now: s.now}
	if d := s.env.Load().iterationTime; d > 0 {
		b.until = s.now().Add(d)
	}
	return b
}

// timeUp tells whether the time is over. It reads the clock after every timeCheckRows rows, and never
// before the first row, so that each request makes progress.
func (b *budget) timeUp() bool {
	return b.seen > 0 && b.seen%timeCheckRows == 0 && !b.until.IsZero() && b.now().After(b.until)
}
