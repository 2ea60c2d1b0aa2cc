package replica

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"pegasus/base"
	"pegasus/pacifica"
	"pegasus/remotecmd"
	"pegasus/replica/part"
	"pegasus/rrdb"
)

// digestTime bounds one replica.digest, which reads the whole replica.
const digestTime = 60 * time.Second

// digests compares what replicas hold.
type digests struct {
	part.Quiet
	srv *Server
}

func newDigests(s *Server) part.Part { return digests{srv: s} }

// Register implements part.Part.
func (ds digests) Register(rt *part.Routes) {
	rt.Command(remotecmd.Command{Name: "replica.digest", Shows: remotecmd.Always, Args: "<app>.<partition> [now [rows]]", Help: "Show a hash over the live records of a replica, as JSON; now is in seconds since 2016; rows leaves out their timetags, in which clusters differ", Run: ds.command})
}

// Digest is what the remote command replica.digest answers. Replicas of a partition that
// applied the same decree have the same hash for the same now; with "rows" it is equal for equal rows, in whatever cluster.
type Digest struct {
	Replica string `json:"replica"`
	Status  string `json:"status"`
	Ballot  int64  `json:"ballot"`
	Decree  int64  `json:"decree"` // the content is that of this decree
	Rows    int64  `json:"rows"`
	Hash    string `json:"hash"` // hexadecimal
	Error   string `json:"error,omitempty"`
}

func (ds digests) command(args []string) string {
	d, err := ds.digest(args)
	if err != nil {
		d.Error = err.Error()
	}
	return remotecmd.JSON(d)
}

func (ds digests) digest(args []string) (d Digest, err error) {
	if len(args) < 1 || len(args) > 3 || len(args) == 3 && args[2] != "rows" {
		return d, fmt.Errorf("%d arguments are given; use: replica.digest <app>.<partition> [now [rows]]", len(args))
	}
	d.Replica = args[0]
	g, err := base.ParseGpid(args[0])
	if err != nil {
		return d, err
	}
	now := rrdb.ExpiryTime(ds.srv.meta.Clock.Now())
	if len(args) > 1 {
		n, err := strconv.ParseUint(args[1], 10, 32)
		if err != nil {
			return d, fmt.Errorf("now %q is not a number of seconds: %w", args[1], base.ErrInvalidParameters)
		}
		now = uint32(n)
	}
	r := ds.srv.replica(g)
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
	ctx, cancel := context.WithTimeout(ds.srv.ctx, digestTime)
	defer cancel()
	digest := r.store.Load().Digest
	if len(args) == 3 {
		digest = r.store.Load().DigestRows
	}
	sum, err := digest(ctx, now)
	if err != nil {
		return d, err
	}
	d.Decree, d.Rows, d.Hash = sum.Decree, sum.Rows, fmt.Sprintf("%016x", sum.Hash)
	return d, nil
}
