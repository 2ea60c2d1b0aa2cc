package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/gen/placement"
	"pegasus/rpc"
)

// giveOver makes the meta do what a server that stops asks for: a secondary leads, and later it
// is taken out of the group.
func (m *fakeMeta) giveOver(req *rpc.Request) {
	var q placement.NodeStopRequest
	if err := req.DecodeArg(&q); err != nil {
		m.t.Errorf("node stop: %v", err)
	}
	res := &placement.NodeStopResponse{Err: base.ErrOK}
	m.mu.Lock()
	m.stops = append(m.stops, q)
	old := !m.newer
	for g, p := range m.parts {
		if old {
			break
		}
		var rest []base.RPCAddress
		for _, a := range p.Secondaries {
			if a != q.Node {
				rest = append(rest, a)
			}
		}
		switch {
		case len(rest) == 0:
			if p.Primary == q.Node {
				res.Left++
			}
		case p.Primary == q.Node:
			rest = append(rest, q.Node)
			go m.promote(g, rest[0], rest[1:]...)
			res.Moving, res.Left = res.Moving+1, res.Left+1
		case q.Gone && len(rest) < len(p.Secondaries):
			go m.promote(g, p.Primary, rest...)
		}
	}
	m.mu.Unlock()
	if old {
		req.ReplyError(base.ErrHandlerNotFound)
		return
	}
	req.Reply(res)
}

// load writes to whoever leads, again and again, and remembers what was acknowledged.
type load struct {
	g    *group
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	acked   map[string]bool
	strange []error // errors that don't send a client to another server
}

func (g *group) load(writers int) *load {
	ctx, stop := context.WithCancel(g.t.Context())
	l := &load{g: g, stop: stop, acked: map[string]bool{}}
	for w := range writers {
		l.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				l.write(ctx, fmt.Sprintf("%d.%d", w, i))
			}
		})
	}
	return l
}

func (l *load) write(ctx context.Context, k string) {
	for ctx.Err() == nil {
		p := l.g.meta.config(l.g.gpid).Primary
		i := slices.IndexFunc(l.g.nodes, func(n *node) bool { return n.addr == p })
		err := l.g.put(i, k, "v"+k)
		l.mu.Lock()
		switch {
		case err == nil:
			l.acked[k] = true
		case errors.Is(err, base.ErrInvalidState), errors.Is(err, base.ErrObjectNotFound), errors.Is(err, base.ErrNetworkFailure):
		default:
			l.strange = append(l.strange, err)
		}
		l.mu.Unlock()
		if err == nil {
			return
		}
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// more waits until n more writes were acknowledged.
func (l *load) more(n int) {
	l.g.t.Helper()
	from := l.count()
	until(l.g.t, fmt.Sprintf("%d more writes are acknowledged", n), func() bool { return l.count() >= from+n })
}

// end ends the load; every acknowledged row must be there, on node i.
func (l *load) end(i int) {
	t := l.g.t
	t.Helper()
	l.stop()
	l.wg.Wait()
	for _, err := range l.strange {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a client was told %v", err)
		}
	}
	for k := range l.acked {
		l.g.wantGet(i, k, "v"+k)
	}
	t.Logf("%d rows", len(l.acked))
}

// TestStopUnderLoad: a primary that is stopped under load gives over its role, so that clients
// are only ever sent elsewhere, answers everything, and ends without an error; what it held is
// in its store, and nothing is to be replayed.
func TestStopUnderLoad(t *testing.T) {
	g := newGroupWith(t, 3, patient)
	g.meta.beNewer()
	l := g.load(8)
	l.more(200)
	// Generous: the bound of a real end is the business of Run.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := g.nodes[0].srv.Close(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("close: %v, %v", err, ctx.Err())
	}
	<-g.nodes[0].end
	g.nodes[0].srv = nil
	if c := g.meta.config(g.gpid); c.Primary == g.nodes[0].addr || slices.Contains(c.Secondaries, g.nodes[0].addr) {
		t.Errorf("after its end the configuration is %+v", c)
	}
	l.more(200)
	to := slices.IndexFunc(g.nodes, func(n *node) bool { return n.addr == g.meta.config(g.gpid).Primary })
	l.end(to)
	g.nodes[0].start()
	if n := g.nodes[0].srv.replayed.Load(); n > 0 {
		t.Errorf("%d entries were replayed after an orderly end", n)
	}
	if g.nodes[0].srv.replica(g.gpid).store.Load().LastApplied() == 0 {
		t.Error("the store is empty")
	}
}

// TestStopSecondaryUnderLoad: while a secondary ends it goes on acknowledging, so that no write
// waits for it.
func TestStopSecondaryUnderLoad(t *testing.T) {
	g := newGroupWith(t, 3, patient)
	g.meta.beNewer()
	l := g.load(8)
	l.more(200)
	g.nodes[2].stop()
	if g.meta.config(g.gpid).Primary != g.nodes[0].addr {
		t.Error("another primary leads")
	}
	l.more(200)
	l.end(0)
}

// TestStopWithOldMeta: a meta that doesn't know of servers that end, or none at all, holds
// nobody up, and whoever waits for a write is answered.
func TestStopWithOldMeta(t *testing.T) {
	g := newGroup(t, 3)
	l := g.load(8)
	l.more(200)
	last := g.nodes[0].srv.replica(g.gpid)
	g.nodes[0].stop()
	l.stop()
	l.wg.Wait()
	for _, err := range l.strange {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a client was told %v", err)
		}
	}
	if n := last.store.Load().LastFlushed(); n < last.appliedAt.Load() {
		t.Errorf("flushed up to %d of %d", n, last.appliedAt.Load())
	}
}

// TestStopSaysSo: a server says twice that it ends, and sends no beacon after the second.
func TestStopSaysSo(t *testing.T) {
	g := newGroup(t, 1)
	g.meta.beNewer()
	started := g.nodes[0].srv.started.UnixMilli()
	g.nodes[0].stop()
	g.meta.mu.Lock()
	defer g.meta.mu.Unlock()
	n := len(g.meta.stops)
	if n < 2 || g.meta.stops[0].Gone || !g.meta.stops[n-1].Gone || g.meta.stops[n-1].StartTime != started {
		t.Errorf("it said %+v", g.meta.stops)
	}
	if g.meta.afterEnd > 0 {
		t.Errorf("%d beacons came after it said that it had ended", g.meta.afterEnd)
	}
}

// TestStopWhileOpening: a server that is told to end while it still opens replicas, which may take
// minutes, doesn't open the rest first.
func TestStopWhileOpening(t *testing.T) {
	g := newGroup(t, 1)
	n := g.nodes[0]
	name := n.srv.replica(g.gpid).infoName()
	n.stop()
	kept := name + ".kept"
	if err := os.Rename(name, kept); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(name, 0o600); err != nil { // who reads it waits
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, n.cfg, quiet()) }()
	var w *os.File
	until(t, "the replica is being opened", func() (ok bool) {
		fd, err := syscall.Open(name, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			w = os.NewFile(uintptr(fd), name)
		}
		return err == nil
	})
	defer w.Close() // the replica can't be opened then, and the goroutine ends
	began := time.Now()
	cancel()
	select {
	case err := <-ended:
		if err != nil || time.Since(began) > 5*stopTime { // a moment, on a machine that does nothing else
			t.Errorf("ended after %v with %v", time.Since(began), err)
		}
	case <-time.After(10 * stopTime):
		t.Error("still opening")
	}
}
