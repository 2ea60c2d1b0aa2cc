package replica

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"pegasus/base"
	"pegasus/pacifica"
	"pegasus/remotecmd"
	"pegasus/replica/wal"
	"pegasus/rrdb"
)

// digestTime bounds one replica.digest, which reads the whole replica.
const digestTime = 60 * time.Second

// commands are the remote commands of a replica server beside the common ones. What they
// return is JSON; an error is an object with the one field "error".
func (s *Server) commands() []remotecmd.Command {
	return append(s.upstreamCommands(),
		remotecmd.Command{Name: "replica.disks", Help: "Show the state of each data directory, as JSON", Run: func([]string) string { return asJSON(s.disks()) }},
		remotecmd.Command{Name: "replica.disk-retry", Args: "<tag>", Help: "Try a data directory again that failed, at once; on an empty disk it is made anew", Run: s.diskCommand(s.retryDisk)},
		remotecmd.Command{Name: "replica.disk-abandon", Args: "<tag>", Help: "Give up a data directory that failed, so that its replicas can be elsewhere on this server", Run: s.diskCommand(s.abandonDisk)},
		remotecmd.Command{Name: "replica.hotkeys", Args: "[app_id]", Help: "Show the hash keys that took most requests in the last seconds, by partition, as JSON", Run: s.hotKeysCommand},
		remotecmd.Command{Name: "replica.digest", Args: "<app>.<partition> [now]", Help: "Show a hash over the live records of a replica, as JSON; now is in seconds since 2016", Run: s.digestCommand},
		remotecmd.Command{Name: "replica.learning", Help: "Show who learns here and of replicas here, and how far it is, as JSON", Run: s.learningCommand},
		remotecmd.Command{Name: "replica.wal-stats", Help: "Show counters of the log of each data directory, as JSON", Run: s.walStatsCommand})
}

// Digest is what the remote command replica.digest answers. Replicas of a partition that
// applied the same decree have the same hash for the same now.
type Digest struct {
	Replica string `json:"replica"`
	Status  string `json:"status"`
	Ballot  int64  `json:"ballot"`
	Decree  int64  `json:"decree"` // the content is that of this decree
	Rows    int64  `json:"rows"`
	Hash    string `json:"hash"` // hexadecimal
	Error   string `json:"error,omitempty"`
}

func (s *Server) digestCommand(args []string) string {
	d, err := s.digest(args)
	if err != nil {
		d.Error = err.Error()
	}
	return asJSON(d)
}

func (s *Server) digest(args []string) (d Digest, err error) {
	if len(args) < 1 || len(args) > 2 {
		return d, fmt.Errorf("%d arguments are given; use: replica.digest <app>.<partition> [now]", len(args))
	}
	d.Replica = args[0]
	g, err := base.ParseGpid(args[0])
	if err != nil {
		return d, err
	}
	now := rrdb.ExpiryTime(time.Now())
	if len(args) == 2 {
		n, err := strconv.ParseUint(args[1], 10, 32)
		if err != nil {
			return d, fmt.Errorf("now %q is not a number of seconds: %w", args[1], base.ErrInvalidParameters)
		}
		now = uint32(n)
	}
	r := s.replica(g)
	if r == nil {
		return d, fmt.Errorf("replica %v is not here: %w", g, base.ErrObjectNotFound)
	}
	v := r.look()
	d.Status, d.Ballot = v.Status.String(), v.Ballot
	if v.failed != nil {
		return d, fmt.Errorf("replica %v is out of service: %w", g, v.failed)
	}
	if v.Status == pacifica.Inactive {
		return d, fmt.Errorf("replica %v is inactive: %w", g, base.ErrInactiveState)
	}
	ctx, cancel := context.WithTimeout(s.ctx, digestTime)
	defer cancel()
	sum, err := r.store.Load().Digest(ctx, now)
	if err != nil {
		return d, err
	}
	d.Decree, d.Rows, d.Hash = sum.Decree, sum.Rows, fmt.Sprintf("%016x", sum.Hash)
	return d, nil
}

// WALStats is what the remote command replica.wal-stats answers for one data directory.
type WALStats struct {
	Dir string `json:"dir"` // its tag
	wal.Stats
}

func (s *Server) walStatsCommand([]string) string {
	all := make([]WALStats, 0, len(s.dirs))
	for _, d := range s.dirs {
		all = append(all, WALStats{d.tag, d.log().Stats()})
	}
	return asJSON(all)
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return `{"error":` + strconv.Quote(err.Error()) + `}`
	}
	return string(b)
}
