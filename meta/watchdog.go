package meta

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"pegasus/base"
	"pegasus/gen/metaquorum"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// errHung ends a server that doesn't answer itself. Nothing of it can be relied on to stop,
// so the process has to end as it is.
var errHung = errors.New("this meta server hangs, and ends so that another one, or a new process of it, takes over")

const (
	// watchTicks make a lease. Ticks are counted, not the time: a process that was suspended,
	// or gets no processor, isn't to be blamed for what it couldn't do meanwhile.
	watchTicks = 32
	maxStack   = 4 << 20 // bytes of stacks in the log
	maxStop    = 15 * time.Second
)

// watch counts the ticks of a silence.
type watch struct{ silent int }

// tick tells whether the silence has lasted for too long.
func (w *watch) tick() bool {
	w.silent++
	return w.silent > watchTicks
}

// watchdog ends a server that hangs.
type watchdog struct{ s *Server }

// watchSelf asks this server through its own port, again and again, and fails it if it hasn't
// answered for a lease.
func (wd watchdog) watchSelf() {
	lease := wd.s.cfg.FD.Lease.D()
	tick := time.NewTicker(max(lease/watchTicks, time.Millisecond))
	defer tick.Stop()
	answers := make(chan bool, 1)
	asking := false
	var w watch
	for {
		select {
		case <-wd.s.ctx.Done():
			return
		case ok := <-answers:
			asking = false
			if ok {
				w.silent = 0
			}
		case <-tick.C:
			if w.tick() {
				wd.hang(fmt.Errorf("no answer to itself for %v: %w", lease, errHung))
				return
			}
			if !asking {
				asking = true
				go func() { answers <- wd.askSelf(2 * lease) }()
			}
		}
	}
}

// askSelf reports whether this server did what is asked of it. That it can't be connected to,
// or is too busy, is an answer: then it looks by itself.
func (wd watchdog) askSelf(limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(wd.s.ctx, limit)
	defer cancel()
	var r metaquorum.QuorumStatusResponse
	err := wd.s.pool.Call(ctx, wd.s.local, rpc.Outgoing{Code: base.RPCSelfCheck, PartitionHash: wd.s.secret, Arg: &metaquorum.QuorumStatusRequest{}, From: wd.s.self()}, &r)
	switch {
	case err == nil:
		return true
	case errors.Is(err, base.ErrTimeout):
		return false
	}
	wd.s.log.Debugf("ask itself: %v", err)
	wd.touch()
	return true
}

// onSelfCheck answers once all locks could be taken.
func (wd watchdog) onSelfCheck(req *rpc.Request) {
	var q metaquorum.QuorumStatusRequest
	if err := req.DecodeArg(&q); err != nil {
		req.Refuse(base.ErrInvalidData, err)
		return
	}
	if req.FromAddress != wd.s.self() || req.PartitionHash != wd.s.secret {
		req.Refuse(base.ErrInvalidParameters, errors.New("a meta server asks this only itself"))
		return
	}
	req.Vouch() // strangers that take what others may have must not make this server end
	go func() {
		wd.touch()
		req.Reply(&metaquorum.QuorumStatusResponse{Err: base.ErrOK})
	}()
}

// touch takes each lock once. Where there are other metas, raft has to move too: while its
// loop stands still its heartbeats keep them from electing another leader.
func (wd watchdog) touch() {
	if l := wd.s.leader.Load(); l != nil {
		l.locked(func(*state.State) {})
		l.parts.changes.waiting()
	}
	wd.s.fsm.read(func(*state.State) {})
	wd.s.overrides.leftAlone()
	if len(voters(wd.s.quorum.servers())) > 1 && !wd.s.quorum.store.waiting.Load() {
		wd.verifyOrRoom()
	}
}

// verifyOrRoom waits until raft has given any answer, or until its loop waits for room.
func (wd watchdog) verifyOrRoom() {
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		wd.s.quorum.raft.VerifyLeader().Error()
	}()
	for {
		select {
		case <-answered:
			return
		case <-time.After(storePause):
			if wd.s.quorum.store.waiting.Load() {
				return
			}
		}
	}
}

// hang fails the server, with what all goroutines do in the log.
func (wd watchdog) hang(err error) {
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		b := make([]byte, maxStack)
		b = b[:runtime.Stack(b, true)]
		wd.s.log.Errorf("%v; all goroutines:\n%s", err, b)
	}()
	select {
	case <-logged:
	case <-time.After(time.Second): // the log may hang as well
	}
	wd.s.fail(err)
}
