package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/base/tbin"
	"pegasus/gen/command"
	"pegasus/gen/layer2"
	"pegasus/rpc"
)

// metaAnswer is a meta server's response: all of them begin with an error code.
type metaAnswer interface {
	tbin.Decoder
	// outcome returns the code and, if the code says to ask somebody else, whom.
	outcome() (base.ErrorCode, base.RPCAddress)
}

// probeTimeout is how long the metas are waited for that are asked who leads.
const probeTimeout = time.Second

// metaCall asks the leading meta server, finding it first if need be. try bounds one attempt. It
// returns who answered. The answer's own error code is left to the caller, but for those that mean
// "not me" and "not yet".
//
// No meta that hangs holds a call up: all are asked at once who leads, and an attempt is given up
// when its meta says nothing more while another one leads.
func (c *Client) metaCall(ctx context.Context, op, code string, try time.Duration, arg tbin.Encoder, newAnswer func() metaAnswer) (metaAnswer, string, error) {
	ctx, cancel := c.withDeadline(ctx)
	defer cancel()
	if len(c.metas) == 0 {
		return nil, "", fmt.Errorf("%s: no meta server address is configured: %w", op, base.ErrInvalidParameters)
	}
	if err := c.reach(ctx, op); err != nil {
		return nil, "", err
	}
	start, backoff := time.Now(), c.opts.BackoffMin
	addr := ""
	if l := c.leader.Load(); l != nil {
		addr = *l
	}
	for attempt := 1; ; attempt++ {
		var err error
		if addr == "" {
			addr, err = c.findLeader(ctx)
		}
		next := ""
		if err == nil {
			ans := newAnswer()
			var to base.RPCAddress
			if err = c.attempt(ctx, addr, code, try, arg, ans); err == nil {
				var result base.ErrorCode
				switch result, to = ans.outcome(); result {
				case base.ErrForwardToOthers, base.ErrServiceNotActive, base.ErrUnderRecovery:
					err = fmt.Errorf("%s from %s: %w", code, addr, result)
				default:
					c.leader.Store(&addr)
					return ans, addr, nil
				}
			}
			if !metaRetry(err) {
				c.leader.Store(nil)
				return nil, addr, fmt.Errorf("%s: %w", op, err)
			}
			if l := leaderIn(err); l != 0 {
				to = l
			}
			if !to.IsZero() && to.String() != addr {
				next = to.String()
			}
		}
		c.leader.Store(nil)
		if ctx.Err() == nil && next != "" && attempt%len(c.metas) != 0 {
			addr = next // whom a follower names; not for ever, two may name each other
			continue
		}
		if !sleep(ctx, backoff) {
			err = fmt.Errorf("%s: no leading meta server found among %v in %v (%d attempts), last: %w",
				op, c.metas, time.Since(start).Round(time.Millisecond), attempt, err)
			if errors.Is(ctx.Err(), context.Canceled) { // the caller wanted no more, which says nothing of the metas
				err = fmt.Errorf("%w (%w)", err, context.Canceled)
			}
			return nil, addr, err
		}
		addr, backoff = next, min(backoff*2, c.opts.BackoffMax)
	}
}

func metaRetry(err error) bool {
	switch base.CodeOf(err) {
	case base.ErrForwardToOthers, base.ErrServiceNotActive, base.ErrUnderRecovery, base.ErrNetworkFailure, base.ErrTimeout, base.ErrBusy:
		return true
	}
	return false
}

// attempt asks one meta, and gives up when that one hangs while another one leads.
func (c *Client) attempt(ctx context.Context, addr, code string, try time.Duration, arg tbin.Encoder, ans tbin.Decoder) error {
	ctx, cancel := context.WithTimeout(ctx, try)
	defer cancel()
	watched := make(chan struct{})
	var replaced error
	if len(c.metas) > 1 {
		go func() {
			defer close(watched)
			if replaced = c.awaitReplaced(ctx, addr); replaced != nil {
				cancel()
			}
		}()
	} else {
		close(watched)
	}
	err := c.pool.Call(ctx, addr, rpc.Outgoing{Code: code, Arg: arg, Framing: c.opts.Framing, Who: c.opts.Who}, ans)
	cancel()
	<-watched
	if err != nil && replaced != nil {
		return replaced
	}
	return err
}

// awaitReplaced waits until addr says nothing while another meta leads, which the error tells, or
// until ctx ends: nil.
func (c *Client) awaitReplaced(ctx context.Context, addr string) error {
	for sleep(ctx, probeTimeout) {
		if p := c.probe(ctx, addr); p.err == nil || ctx.Err() != nil {
			continue
		}
		if other, err := c.findLeader(ctx); err == nil && other != addr {
			return fmt.Errorf("meta server %s doesn't answer, and %s does: %w", addr, other, base.ErrTimeout)
		}
	}
	return nil
}

// ErrNoAnswer is that no meta server says anything at all.
var ErrNoAnswer = errors.New("no meta server answers")

// reach waits until some meta says something, whatever it is, for Options.NoAnswer. The error tells what was tried.
func (c *Client) reach(ctx context.Context, op string) error {
	if c.opts.NoAnswer <= 0 || c.heard.Load() {
		return nil
	}
	start := time.Now()
	whole, cancel := context.WithTimeout(ctx, c.opts.NoAnswer)
	defer cancel()
	for {
		round, end := context.WithCancel(whole)
		answers := make(chan probed, len(c.metas))
		for _, m := range c.metas {
			go func() { answers <- c.probe(round, m) }()
		}
		said := make(map[string]error, len(c.metas))
		for range c.metas {
			p := <-answers
			if p.err == nil {
				end()
				c.heard.Store(true)
				return nil
			}
			said[p.addr] = p.err
		}
		end()
		if !sleep(whole, 100*time.Millisecond) {
			var tried []string
			for _, m := range c.metas {
				tried = append(tried, fmt.Sprintf("%s: %v", m, said[m]))
			}
			err := fmt.Errorf("%s: %w; tried for %v: %s", op, ErrNoAnswer, time.Since(start).Round(100*time.Millisecond), strings.Join(tried, "; "))
			if errors.Is(ctx.Err(), context.Canceled) {
				err = fmt.Errorf("%w (%w)", err, context.Canceled)
			}
			return err
		}
	}
}

// reachServer waits until a server, meta or replica, says something, for Options.NoAnswer.
func (c *Client) reachServer(ctx context.Context, addr string) error {
	if _, ok := c.spoke.Load(addr); ok || c.opts.NoAnswer <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.NoAnswer)
	defer cancel()
	var text rpc.Str
	err := c.pool.Call(ctx, addr, rpc.Outgoing{Code: base.RPCCLICall, Arg: &command.Command{Cmd: "version"}, Framing: c.opts.Framing}, &text)
	switch base.CodeOf(err) {
	case base.ErrTimeout, base.ErrNetworkFailure:
		return fmt.Errorf("server %s doesn't answer: %w", addr, err)
	}
	c.spoke.Store(addr, true) // also where it refuses
	return nil
}

// probed is what a meta says of who leads.
type probed struct {
	addr   string
	leads  bool
	leader string // whom it names, if it doesn't lead
	err    error  // it didn't answer
}

// probe asks a meta whether it leads, by a request that all versions have and that changes nothing. It
// asks over THFT, because a follower relays what comes over RDSN: then its answer doesn't tell it from
// the leader, and a follower of an older version refuses requests that only the leader knows.
func (c *Client) probe(ctx context.Context, addr string) probed {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	p := probed{addr: addr}
	var ans queryAnswer
	err := c.pool.Call(ctx, addr, rpc.Outgoing{Code: base.RPCQueryPartitionConfigByIndex, Arg: &layer2.QueryCfgRequest{}, Framing: rpc.THFT1}, &ans)
	to := leaderIn(err)
	if err == nil {
		var code base.ErrorCode
		switch code, to = ans.outcome(); code {
		case base.ErrForwardToOthers, base.ErrServiceNotActive, base.ErrUnderRecovery:
		default:
			p.leads = true
			return p
		}
	} else if base.CodeOf(err) != base.ErrForwardToOthers {
		p.err = err
	}
	if !to.IsZero() {
		p.leader = to.String()
	}
	return p
}

// findLeader asks all metas at once which of them leads, and those that they name. Where the one that
// is named can't be reached, a follower that relays to it stands for it.
func (c *Client) findLeader(ctx context.Context) (string, error) {
	if len(c.metas) == 1 {
		return c.metas[0], nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		asked   = map[string]bool{}
		answers = make(chan probed)
		open    = 0
		relay   string
		last    error
	)
	ask := func(addr string) {
		if addr == "" || asked[addr] || len(asked) >= 2*len(c.metas) {
			return
		}
		asked[addr] = true
		open++
		go func() {
			select {
			case answers <- c.probe(ctx, addr):
			case <-ctx.Done():
			}
		}()
	}
	for _, m := range c.metas {
		ask(m)
	}
	for ; open > 0; open-- {
		select {
		case <-ctx.Done():
			if last == nil {
				last = fmt.Errorf("no meta server says who leads: %w", base.ErrTimeout)
			}
			return "", last
		case p := <-answers:
			switch {
			case p.leads:
				return p.addr, nil
			case p.err != nil:
				last = p.err
			default:
				last = fmt.Errorf("meta server %s doesn't lead: %w", p.addr, base.ErrForwardToOthers)
				if p.leader != "" && !c.opts.Framing.Thrift() {
					relay = p.addr
				}
				ask(p.leader)
			}
		}
	}
	if relay != "" {
		return relay, nil
	}
	return "", last
}

// sleep waits for d, or reports false because ctx ended or would end before.
func sleep(ctx context.Context, d time.Duration) bool {
	if dl, ok := ctx.Deadline(); ok && time.Until(dl) <= d {
		return false
	}
	return pause.For(ctx, d)
}
