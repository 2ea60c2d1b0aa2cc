package migrate

import (
	"context"
	"time"

	"pegasus/gen/duplication"
)

// Cluster is one end.
type Cluster interface {
	Info(ctx context.Context) (Info, error)
	// Table returns nil if there is no such table that can be used.
	Table(ctx context.Context, name string) (*Table, error)
	// Bytes is the size of one copy of the table's rows, -1 if it isn't known.
	Bytes(ctx context.Context, table string) (int64, error)
	Drop(ctx context.Context, table string) error
	// Deny has clients' writes to a table refused, or no longer.
	Deny(ctx context.Context, table string, deny bool) error
	// Refused asks each partition whether it refuses writes, and returns how many do.
	Refused(ctx context.Context, table string) (refused, of int, err error)
	// Decrees returns what the primary of each partition has.
	Decrees(ctx context.Context, table string) ([]Decrees, error)
	Duplications(ctx context.Context, table string) ([]Duplication, error)
	// Hurry has the servers exchange settings and confirmations with the metas now, where they can. Otherwise they
	// do so in their own time.
	Hurry(ctx context.Context)
	Duplicate(ctx context.Context, table, cluster, tableThere string, replicas int) error
	EndDuplication(ctx context.Context, table string, id int32) error
	// Digests returns a digest of the rows of each partition that are live at a time; errors.ErrUnsupported if the
	// cluster has none.
	Digests(ctx context.Context, table string, at time.Time) ([]Digest, error)
}

// Info is what a cluster says of itself.
type Info struct {
	Ours    bool   // not of C++
	Name    string // by which it calls itself; "" if it doesn't say
	Program string // in words
	Level   string // of functions, "steady"; "" if it isn't known
	Leader  string // the leading meta server
	ID      string // "" if it has none
	// Duplicates tells whether the version of the cluster allows duplications.
	Duplicates bool
	Free       int64 // bytes on all servers, -1 if it isn't known
	Alive      int   // replica servers
	Dead       int
}

// Table is a table.
type Table struct {
	ID                   int32
	Partitions, Replicas int
	Envs                 map[string]string
	Created              time.Time // zero: not known
	AtomicIdempotent     bool      // C++: atomic operations are allowed while it is duplicated
	Unhealthy            int       // partitions that lack a primary
}

// Decrees are those of a partition.
type Decrees struct{ Committed, Prepared int64 }

// Duplication is a table's to another cluster.
type Duplication struct {
	ID         int32
	Cluster    string
	TableThere string
	Status     duplication.DuplicationStatus
	Skips      bool // mode skip: what can't be sent is left out
	Created    time.Time
	Partitions []Progress
}

// Progress is how far a partition is.
type Progress struct {
	Confirmed, Committed int64 // -1: none, or not known
	Skipped              int64
	Why                  string // "" if it isn't known
}

// Digest is a hash over the rows of a partition.
type Digest struct {
	Rows int64
	Hash string
}
