package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	files "pegasus/backup"
	"pegasus/base"
	"pegasus/base/version"
	"pegasus/blob"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// Stores are the places of backups, by the name of the provider.
type Stores interface {
	Get(ctx context.Context, name string) (*blob.Store, error)
}

// Options of New.
type Options struct {
	// Disabled: requests are refused, and nothing is begun.
	Disabled bool
	// Root is the directory in a store for backups of this cluster.
	Root   string
	Stores Stores
	// Clock is the time by which policies begin, in the zone of their start times.
	Clock func() time.Time
	// Frozen says why nothing is begun or removed at present, "" if something may be.
	Frozen func() string

	// Poll is how often a server is asked how far a partition is.
	Poll time.Duration
	// Stall is after which time without progress another server is asked for a partition.
	Stall time.Duration
	// Patience is after which time without any progress a backup fails.
	Patience time.Duration
	// Settle is how long after their removal it is looked whether files are still being written.
	Settle time.Duration
}

// EnsureDefaults replaces zero values with their defaults.
func (o *Options) EnsureDefaults() {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.Poll, time.Second}, {&o.Stall, 10 * time.Minute}, {&o.Patience, time.Hour}, {&o.Settle, 3 * time.Second}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
}

const (
	callTimeout  = 10 * time.Second // of a server that is asked
	startTimeout = 8 * time.Second  // of the file that a backup begins with, while the request waits
	perServer    = 4                // partitions that one server is asked for at a time, of all backups
	mostFailures = 10               // of a partition, until its backup fails
	minInterval  = 24 * 60 * 60     // seconds between two backups of a policy
	mostPolicies = 1000
	mostTables   = 10000     // of a policy
	mostInterval = 100 * 365 // days
)

// Service is the backups of a meta that leads.
type Service struct {
	leader service.Leader
	o      Options
	kick   chan struct{}

	modifying sync.Mutex // of policies: held while a command is committed

	mu      sync.Mutex
	jobs    map[int64]*job
	servers map[base.RPCAddress]*server
	waits   map[string]string // why a policy's backup that is due doesn't begin
}

// server is what the jobs know of a replica server.
type server struct {
	asked int       // partitions that it is being asked for
	moved time.Time // when one of them made progress
}

// job is a backup that is being driven, or removed.
type job struct {
	id     int64
	driven bool // else its files are being removed
	cancel context.CancelFunc
	done   chan struct{}

	// Service.mu guards these.
	tables  map[int32]*progress
	waiting []string // what it waits for
}

// progress is how far a table is.
type progress struct {
	done  int   // partitions
	mille int64 // of all partitions together
	bytes int64 // of the partitions that are done
}

// ended tells whether ctx has ended.
func ended(ctx context.Context) bool { return ctx.Err() != nil }

func (s *Service) log(b *state.Backup) *logrus.Entry {
	l := s.leader.Log().WithField("backup", b.ID)
	if b.Policy != "" {
		l = l.WithField("policy", b.Policy)
	}
	return l
}

// nowMS is the time in Unix milliseconds.
func (s *Service) nowMS() int64 { return s.o.Clock().UnixMilli() }

// wake has the next round begin at once.
func (s *Service) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// backup returns a backup of the State.
func (s *Service) backup(id int64) (b state.Backup, ok bool) {
	s.leader.Read(func(st *state.State) { b, ok = st.Backup(id) })
	return b, ok
}

// location is where a backup is.
func location(b *state.Backup) files.Location {
	return files.Location{Path: b.Path, Cluster: b.Root, ID: b.ID}
}

// cleanPath is a backup_path as it is kept.
func cleanPath(path string) string { return strings.Trim(path, "/") }

// refusal says why the cluster can't have backups now; "" if it can.
func (s *Service) refusal() (code base.ErrorCode, hint string) {
	if s.o.Disabled {
		return base.ErrServiceNotActive, "backups are switched off by meta.cold_backup_disabled"
	}
	var v version.Version
	s.leader.Read(func(st *state.State) { v = st.Version() })
	if err := version.Permit(v, 2); err != nil {
		return base.ErrInvalidState, "backups: " + err.Error()
	}
	if why := s.o.Frozen(); why != "" {
		return base.ErrInvalidState, why
	}
	return base.ErrOK, ""
}

// codeOf is the code of an error of a store, as upstream's servers have it.
func codeOf(err error) base.ErrorCode {
	var code base.ErrorCode
	switch {
	case err == nil:
		return base.ErrOK
	case errors.As(err, &code):
		return code
	case errors.Is(err, blob.ErrNotFound), errors.Is(err, files.ErrNone):
		return base.ErrObjectNotFound
	case errors.Is(err, blob.ErrInvalid):
		return base.ErrInvalidParameters
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, blob.ErrUnavailable):
		return base.ErrTimeout
	}
	return base.ErrFsInternal
}

// policyOf is what servers are told as the name of a backup's policy.
func policyOf(b *state.Backup) string {
	if b.Policy != "" {
		return b.Policy
	}
	return fmt.Sprintf("fake_policy_%d", b.ID)
}

// setWaiting notes what a job waits for.
func (s *Service) setWaiting(j *job, waiting ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.waiting = waiting
}

// server returns what is known of a server. The caller holds mu.
func (s *Service) server(a base.RPCAddress) *server {
	v := s.servers[a]
	if v == nil {
		v = &server{}
		s.servers[a] = v
	}
	return v
}
