package meta

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/gen/metaquorum"
)

const (
	handOverWait = time.Second            // for another to lead, of a leader that ends
	handOverAsk  = 300 * time.Millisecond // of it, for the others to say that they live

	transferAsk = time.Second     // for the others to say that they live, when a person asks for another leader
	transferEnd = 5 * time.Second // until somebody leads, after raft has been asked
	// maxLag is how many entries who takes over may lack. Nothing can be changed until it has them.
	maxLag = 1000
)

// transfer has a member lead, or any, and returns who does. Who doesn't answer or is behind is refused before raft is asked:
// raft takes no changes while it waits for such a one.
func (s *Server) transfer(ctx context.Context, to string) (leader string, err error) {
	servers := s.quorum.servers()
	ask, asked := context.WithTimeout(ctx, transferAsk)
	defer asked()
	if to != "" {
		i := slices.IndexFunc(servers, func(m raft.Server) bool { return string(m.Address) == to })
		switch {
		case i < 0:
			return "", refuse(base.ErrObjectNotFound, "%s is no member of the quorum, which is %s", to, nameList(wireMembers(servers)))
		case servers[i].Suffrage != raft.Voter:
			return "", refuse(base.ErrInvalidState, "%s has no vote yet: wait until it has caught up", to)
		}
		servers = servers[i : i+1]
	} else if len(voters(servers)) < 2 {
		return "", refuse(base.ErrInvalidState, "%s is the only member of the quorum: `pegasus meta add` adds another one", s.name)
	}
	heirs := s.heirs(ask, servers)
	var why []string
	for _, h := range heirs {
		if h.unfit != "" {
			why = append(why, h.addr+" "+h.unfit)
			continue
		}
		if err = s.yieldTo(ctx, h.addr); err == nil {
			return s.awaitLeader(ctx, to)
		}
		why = append(why, fmt.Sprintf("%s: %v", h.addr, err))
	}
	return "", refuse(base.ErrTryAgain, "%s still leads: %s", s.name, strings.Join(why, "; "))
}

// heir is a member that could lead.
type heir struct {
	addr  string
	last  int64  // of its log
	unfit string // why it can't take over at once, "": it can
}

// heirs asks the other voters among servers, and returns them, the best first.
func (s *Server) heirs(ctx context.Context, servers []raft.Server) []heir {
	var list []heir
	for _, addr := range voters(servers) {
		if addr != s.name {
			list = append(list, heir{addr: addr})
		}
	}
	last := int64(s.quorum.raft.LastIndex())
	var wg sync.WaitGroup
	for i := range list {
		wg.Go(func() {
			h := &list[i]
			st, err := s.members.askStatus(ctx, h.addr)
			if err != nil {
				h.unfit = "gives no answer (" + err.Error() + ")"
				return
			}
			h.last, h.unfit = st.LastIndex, unfit(st, s.members.quorumID(), last)
		})
	}
	wg.Wait()
	slices.SortStableFunc(list, func(a, b heir) int { return cmp.Compare(b.last, a.last) })
	return list
}

// unfit says why a member can't take over at once from a leader of a quorum whose log ends with last, "": it can.
func unfit(st *metaquorum.QuorumStatusResponse, quorum string, last int64) string {
	switch {
	case st.Quorum != "" && st.Quorum != quorum: // "": it was just started, and has the log
		return "holds the state of another quorum"
	case st.Role != roleFollower:
		return "is " + st.Role + ", no follower"
	case last-st.LastIndex > maxLag:
		return fmt.Sprintf("has %d of %d entries: ask again when it has caught up", st.LastIndex, last)
	}
	return ""
}

// yieldTo has raft make another member the leader. It may fail although that comes about later.
func (s *Server) yieldTo(ctx context.Context, addr string) error {
	done := make(chan error, 1)
	go func() {
		done <- s.quorum.raft.LeadershipTransferToServer(raft.ServerID(addr), raft.ServerAddress(addr)).Error()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("it didn't take over in time: %w", ctx.Err())
	}
}

// awaitLeader waits until another member says that it leads, and returns who that is. It is an error if it is another one than
// the one that is wanted.
func (s *Server) awaitLeader(ctx context.Context, want string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, transferEnd)
	defer cancel()
	for {
		name := s.quorum.leaderName()
		if name != "" && name != s.name {
			if st, err := s.members.askStatus(ctx, name); err == nil && st.Role == roleLeader {
				if want != "" && name != want {
					return "", refuse(base.ErrTryAgain, "%s leads now, %s was elected in place of %s", name, name, want)
				}
				return name, nil
			}
		}
		if !pause.For(ctx, 5*time.Millisecond) {
			return "", &refusal{base.ErrTimeout, fmt.Sprintf("%s handed over, and nobody leads yet: `pegasus meta status` shows what became of it", s.name), true}
		}
	}
}

// handOver has another meta lead, so that nobody waits for an election.
func (s *Server) handOver(ctx context.Context) {
	q := s.quorum
	if q.raft == nil || q.raft.State() != raft.Leader {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handOverWait)
	defer cancel()
	servers := q.servers()
	ask, asked := context.WithTimeout(ctx, handOverAsk)
	heirs := slices.DeleteFunc(s.heirs(ask, servers), func(h heir) bool { return h.unfit != "" })
	asked()
	// Nobody can lead whom no majority of those that are left follows.
	if len(heirs) < len(voters(servers))/2+1 {
		return
	}
	for _, h := range heirs {
		err := s.yieldTo(ctx, h.addr)
		if err == nil {
			return
		}
		s.log.Infof("ends, and %s doesn't take over: %v", h.addr, err)
		if ctx.Err() != nil {
			return
		}
	}
}
