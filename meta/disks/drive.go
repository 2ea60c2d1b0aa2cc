package disks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/base/diskplan"
	"pegasus/gen/command"
	"pegasus/gen/replicaadmin"
	"pegasus/remotecmd/answer"
	"pegasus/rpc"
)

const (
	// callTime bounds a question to a server.
	callTime = 5 * time.Second
	// calm is after what time a server is looked at again at which nothing was to be moved.
	calm = time.Minute
	// replicaRest is for how long a replica stays that was moved, or that wasn't for a reason.
	replicaRest = time.Hour
	// failureRest is for how long a server is left alone after a move that failed, times so many in a row; at most mostRest.
	failureRest, mostRest = 10 * time.Minute, time.Hour
	// silence is for how long nothing need be heard of a move, or nothing be copied.
	silence = 10 * time.Minute
	// settles is for how long a replica that was moved is waited for until it is a member again.
	settles = time.Minute
)

// begin has a server move what comes first in its plan. It tells whether a move is under way there.
func (s *Service) begin(ctx context.Context, a base.RPCAddress) bool {
	p := s.plan(a)
	if p == nil {
		return false
	}
	list, err := s.movesOf(ctx, a)
	if err != nil {
		s.Log().Debugf("replica server %v: its disks aren't looked at: %v", a, err)
		s.rest(a, calm)
		return false
	}
	if s.adopt(a, list) {
		return true
	}
	m := &move{Move: *p, heard: time.Now()}
	if !s.set(a, nil, m) { // from here on the balancer leaves it alone
		return false
	}
	var r replicaadmin.ReplicaDiskMigrateResponse
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err = s.Call(call, a, base.RPCReplicaDiskMigrate, &replicaadmin.ReplicaDiskMigrateRequest{Pid: m.Gpid, OriginDisk: m.From, TargetDisk: m.To}, &r)
	if err == nil && r.Err != base.ErrOK {
		err = fmt.Errorf("%s: %w", r.Hint.V, r.Err)
	}
	switch {
	case err == nil:
		s.Log().Infof("replica server %v: moves %s: %s", a, describe(&m.Move), m.Why)
		s.o.Note(m.Gpid, fmt.Sprintf("moves at %v %s", a, describe(&m.Move)), m.Why)
		return true
	case base.CodeOf(err) == base.ErrBusy || base.CodeOf(err) == base.ErrInvalidState:
		// Something else uses the replica, or the directory. It passes.
		s.Log().Debugf("replica server %v doesn't move %s: %v", a, describe(&m.Move), err)
		s.end(a, m, replicaRest/6, s.o.Every)
	default:
		s.fail(a, m, err)
	}
	return false
}

// ask asks a server for its moves, once in the time of a leader.
func (s *Service) ask(ctx context.Context, a base.RPCAddress) {
	list, err := s.movesOf(ctx, a)
	if err != nil {
		s.Log().Debugf("replica server %v: which replicas it moves isn't known: %v", a, err)
		s.rest(a, calm)
		return
	}
	s.mu.Lock()
	if n := s.of[a]; n != nil {
		n.asked = true
	}
	s.mu.Unlock()
	s.adopt(a, list)
}

// adopt follows the move that a server makes, which somebody else began or an earlier leader. It tells whether there is one.
func (s *Service) adopt(a base.RPCAddress, list answer.DiskMoves) bool {
	last := list.Last((*answer.DiskMove).UnderWay)
	if last == nil {
		return false
	}
	g, err := base.ParseGpid(last.Replica)
	if err != nil {
		s.Log().Debugf("replica server %v moves what is no replica: %v", a, err)
		return true
	}
	s.set(a, nil, &move{Move: diskplan.Move{Gpid: g, From: last.From, To: last.To, Bytes: last.Bytes, Why: "this leader didn't begin it"}, copied: last.Done, heard: time.Now(), others: true})
	return true
}

func describe(m *diskplan.Move) string {
	return fmt.Sprintf("replica %v (%d MiB) from data directory %s to %s", m.Gpid, m.Bytes>>20, m.From, m.To)
}

// set makes now the move that is under way at a server, if was is it.
func (s *Service) set(a base.RPCAddress, was, now *move) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.of[a]
	if n == nil || n.move != was {
		return false
	}
	n.move = now
	return true
}

// end forgets a move. Its replica is left alone for a while, and so is the server.
func (s *Service) end(a base.RPCAddress, m *move, replica, server time.Duration) {
	s.mu.Lock()
	if n := s.of[a]; n != nil && n.move == m {
		n.move, n.until = nil, time.Now().Add(server)
		n.resting[m.Gpid] = time.Now().Add(replica)
	}
	s.mu.Unlock()
	s.o.Ended()
}

// fail ends a move that failed.
func (s *Service) fail(a base.RPCAddress, m *move, err error) {
	s.mu.Lock()
	failed := 1
	if n := s.of[a]; n != nil {
		n.failed++
		failed = n.failed
	}
	s.mu.Unlock()
	rest := min(time.Duration(failed)*failureRest, mostRest)
	s.Log().Warnf("replica server %v: not moved: %s: %v; its disks are left as they are for %v (`pegasus disk ls` shows them)", a, describe(&m.Move), err, rest)
	s.o.Note(m.Gpid, fmt.Sprintf("not moved at %v: %s", a, describe(&m.Move)), err.Error())
	s.end(a, m, replicaRest, rest)
}

// follow asks a server how far its move is, and tells whether it has ended.
func (s *Service) follow(ctx context.Context, a base.RPCAddress, alive bool) bool {
	s.mu.Lock()
	var m *move
	settled := false
	if n := s.of[a]; n != nil && n.move != nil {
		m = n.move
		settled = m.moved && slices.ContainsFunc(n.said.Replicas, func(r diskplan.Replica) bool { return r.Gpid == m.Gpid && r.Disk == m.To && !r.Fixed })
	}
	s.mu.Unlock()
	switch {
	case m == nil:
		return true
	case !alive:
		s.fail(a, m, errors.New("the server is dead: it begins without what was copied"))
		return true
	case m.moved && (settled || m.others || time.Since(m.heard) > settles):
		s.mu.Lock()
		if n := s.of[a]; n != nil {
			n.failed = 0
		}
		s.mu.Unlock()
		s.Log().Infof("replica server %v: moved %s", a, describe(&m.Move))
		s.o.Note(m.Gpid, fmt.Sprintf("moved at %v: %s", a, describe(&m.Move)), m.Why)
		s.end(a, m, replicaRest, 0)
		return true
	case m.moved:
		return false
	}
	list, err := s.movesOf(ctx, a)
	last := list.Last(answer.Of(m.Gpid.String(), m.From, m.To))
	switch {
	case err == nil && last == nil:
		s.fail(a, m, errors.New("the server doesn't know of the move any more: it was started again"))
		return true
	case err == nil && last.State == replicaadmin.CLOSED.String():
		m.moved, m.heard = true, time.Now()
	case err == nil && !last.UnderWay():
		s.fail(a, m, errors.New(last.Error))
		return true
	case err == nil && last.Done != m.copied:
		m.copied, m.heard = last.Done, time.Now()
	case time.Since(m.heard) > silence:
		s.fail(a, m, fmt.Errorf("nothing was heard of it for %v (%v)", silence, err))
		return true
	}
	return false
}

// movesOf asks a server for its moves, the newest last.
func (s *Service) movesOf(ctx context.Context, a base.RPCAddress) (answer.DiskMoves, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var text rpc.Str
	if err := s.Call(ctx, a, base.RPCCLICall, &command.Command{Cmd: "replica.disk-moves"}, &text); err != nil {
		return nil, err
	}
	return answer.ReadMoves(string(text))
}
