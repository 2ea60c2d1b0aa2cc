package meta

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/metaquorum"
	"pegasus/rpc"
)

// lockedBuffer is a log's output.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends p.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) has(s string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Contains(b.b.Bytes(), []byte(s))
}

// A meta whose locks are held for ever ends, says where it hangs, and another one leads.
func TestHangingMetaEnds(t *testing.T) {
	for _, what := range []string{"leader", "state"} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t, 3, 1, steady)
			led := c.leader()
			log := &lockedBuffer{}
			led.srv.log.Logger.SetOutput(log)
			led.srv.log.Logger.SetLevel(logrus.ErrorLevel)
			release := make(chan struct{})
			hold := func() {
				if l := led.srv.leader.Load(); what == "leader" {
					l.mu.Lock()
					defer l.mu.Unlock()
				} else {
					led.srv.fsm.mu.Lock()
					defer led.srv.fsm.mu.Unlock()
				}
				<-release
			}
			var wg sync.WaitGroup
			wg.Go(hold)
			select {
			case err := <-led.srv.Failed():
				if !errors.Is(err, errHung) {
					t.Errorf("it ends with: %v", err)
				}
			case <-time.After(maxWait):
				t.Error("a meta that hangs doesn't end")
			}
			if !log.has("goroutine ") || !log.has("TestHangingMetaEnds") {
				t.Error("the log doesn't say where it hangs")
			}
			close(release)
			wg.Wait()
			c.stopMeta(led)
			c.leader()
		})
	}
}

// Ticks are counted, not time: a process that stood still, or was slow, isn't taken for one
// that hangs.
func TestWatchCountsItsOwnTicks(t *testing.T) {
	var w watch
	for range 10 * watchTicks {
		w.silent = 0
		for range watchTicks {
			if w.tick() {
				t.Fatal("a silence of a lease is taken for a hang")
			}
		}
	}
	if !w.tick() {
		t.Error("a silence longer than a lease isn't taken for a hang")
	}
}

// A server that is slow, but answers, goes on.
func TestServerAnswersItself(t *testing.T) {
	c := newCluster(t, 1, 1, func(cfg *config.Config) { cfg.FD.Lease = config.Duration(500 * time.Millisecond) })
	s := c.metas[0].srv
	end := time.Now().Add(2 * time.Second)
	for time.Now().Before(end) {
		if !(watchdog{s}).askSelf(maxWait) {
			t.Fatal("no answer")
		}
	}
	select {
	case err := <-s.Failed():
		t.Errorf("it ended: %v", err)
	default:
	}
}

// What a meta asks itself is answered to nobody else, whatever address he gives: it is answered
// out of what is kept for servers.
func TestSelfCheckIsNobodyElses(t *testing.T) {
	c := newCluster(t, 1, 0, steady)
	s := c.metas[0].srv
	if !(watchdog{s}).askSelf(maxWait) {
		t.Error("it doesn't answer itself")
	}
	var r metaquorum.QuorumStatusResponse
	err := s.pool.Call(t.Context(), s.name, rpc.Outgoing{Code: base.RPCSelfCheck, Arg: &metaquorum.QuorumStatusRequest{}, From: s.self()}, &r)
	if base.CodeOf(err) != base.ErrInvalidParameters {
		t.Errorf("somebody else is answered: %v", err)
	}
}
