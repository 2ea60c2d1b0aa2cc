package admission

import (
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/rpc"
)

// Rules are what a table's settings demand of the requests of one partition. A nil Rules demands
// nothing.
type Rules struct {
	validate              bool // rows belong to this partition, or are refused
	partitions, partition int32
	slow                  time.Duration // 0: the server's

	deny                               appenv.Deny
	writes, writeBytes, reads, backups window
	readBytes                          *bucket // nil: no limit
}

// NewRules returns the rules of a partition of a table of so many, nil if there are none. bad
// are settings that can't be: they are taken for not set.
func NewRules(envs map[string]string, partition, partitions int32) (u *Rules, bad []string) {
	s, bad := appenv.Parse(envs)
	if s == (appenv.Settings{DefaultTTL: s.DefaultTTL, Iteration: s.Iteration, Compact: s.Compact, Operations: s.Operations, Scenario: s.Scenario, WriteBuffer: s.WriteBuffer}) {
		return nil, bad // the rest is the store's business
	}
	n := uint64(max(partitions, 1))
	u = &Rules{validate: s.ValidateHash, partitions: partitions, partition: partition, slow: s.SlowQuery, deny: s.Deny,
		writes: newWindow(s.Write, n), writeBytes: newWindow(s.WriteBytes, n), reads: newWindow(s.Read, n), backups: newWindow(s.BackupRequests, n)}
	if s.ReadBytes > 0 {
		u.readBytes = newBucket(max(s.ReadBytes/n, 1))
	}
	return u, bad
}

// SlowRead is how long a read of the table may take before it is logged; 0: as the server says.
func (u *Rules) SlowRead() time.Duration {
	if u == nil {
		return 0
	}
	return u.slow
}

// CheckHash refuses a row that belongs to another partition, where the table asks for it.
func (u *Rules) CheckHash(hash uint64) base.ErrorCode {
	if u != nil && u.validate && u.partitions > 0 && !base.InPartition(hash, u.partition, u.partitions) {
		return base.ErrParentPartitionMisused
	}
	return base.ErrOK
}

// Deny answers a request that the table's settings deny.
func (u *Rules) Deny(req *rpc.Request, write bool) bool {
	switch {
	case u == nil || write && !u.deny.Writes || !write && !u.deny.Reads:
		return false
	case u.deny.Reconfigure:
		req.ReplyError(base.ErrInvalidState)
	default:
		req.Drop()
	}
	return true
}

// HasRead counts the bytes that a read answers.
func (u *Rules) HasRead(bytes int64) {
	if u != nil && u.readBytes != nil {
		u.readBytes.consume(int(bytes))
	}
}
