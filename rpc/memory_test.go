package rpc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const codeServer = "RPC_PACIFICA"

// vouching answers with its argument; who sends codeServer is taken for a server of the cluster.
func vouching(r *Request) {
	if r.Code == codeServer {
		r.Vouch()
	}
	echo(r)
}

// peerCall sends a request as the servers of a cluster do, and fails unless it is answered long
// before a frame that makes no progress would time out.
func peerCall(t *testing.T, p *Pool, addr string, size int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), partTimeout*2/3)
	defer cancel()
	var res Blob
	if err := p.Call(ctx, addr, Outgoing{Code: codeServer, Arg: Blob(make([]byte, size))}, &res); err != nil || len(res) != size {
		t.Fatalf("a server's request of %d bytes: %v", size, err)
	}
}

// elsewhere returns a pool that calls from another address.
func elsewhere(t *testing.T) *Pool {
	return testPool(t, PoolOptions{Dial: func(ctx context.Context, addr string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		return d.DialContext(ctx, "tcp", addr)
	}})
}

// TestHalfSentFrames: as many frames as it takes are announced, half sent, and left there. The
// servers of the cluster talk to each other meanwhile, memory stays within bounds, and when
// somebody needs it, those who don't go on lose their connections.
func TestHalfSentFrames(t *testing.T) {
	const limit, half, conns = 16 << 20, 300 << 10, 200
	s := startServer(t, ServerOptions{MaxInFlightBytes: limit}, HandlerFunc(vouching), nil, nil)
	known := testPool(t, PoolOptions{})
	peerCall(t, known, s.addr, 100)
	for range conns {
		c := s.dial()
		f := frame(RDSN, 1, codePut, Blob(make([]byte, 2*half)))
		go c.Write(f[:half])
	}
	eventually(t, "no more memory for frames in parts", func() bool { return s.budgets[clients].crowded() })
	for range 5 {
		for _, size := range []int{100, 100 << 10, 1 << 20} {
			peerCall(t, known, s.addr, size)
			peerCall(t, testPool(t, PoolOptions{}), s.addr, size) // one that was unknown before
		}
	}
	if n := s.Stats().InFlightBytes; n > limit {
		t.Errorf("%d bytes are in flight, the limit is %d", n, limit)
	}
	ctx, cancel := context.WithTimeout(context.Background(), partTimeout*2/3)
	defer cancel()
	var res Blob
	if err := elsewhere(t).Call(ctx, s.addr, Outgoing{Code: codePut, Arg: Blob(make([]byte, 1<<20))}, &res); err != nil {
		t.Errorf("a client elsewhere that sends what it announces: %v", err)
	}
	eventually(t, "those who stopped to be told so", func() bool { return s.logged("arrives too slowly") > 0 })
}

// TestSmallHalves is TestHalfSentFrames with frames that fit the small buffers: these count too
// while the rest is waited for.
func TestSmallHalves(t *testing.T) {
	s := startServer(t, ServerOptions{MaxInFlightBytes: 16 << 20}, HandlerFunc(vouching), nil, nil)
	const conns, half = 50, 30 << 10
	var cs []*rawConn
	f := frame(RDSN, 1, codePut, Blob(make([]byte, 2*half)))
	for range conns {
		c := s.dial()
		c.send(f[:half])
		cs = append(cs, c)
	}
	eventually(t, "all halves counted", func() bool { return s.Stats().InFlightBytes >= conns*half })
	for _, c := range cs {
		c.send(f[half:])
		if r := c.recv(RDSN); r.code != "ERR_OK" {
			t.Fatal(r.code)
		}
	}
	eventually(t, "all memory given back", func() bool { return s.Stats().InFlightBytes == 0 })
}

// TestOneAddressLeavesSome: requests from one address that take all it may leave memory for
// those from another.
func TestOneAddressLeavesSome(t *testing.T) {
	var p parked
	s := startServer(t, ServerOptions{MaxInFlightBytes: 4 << 20}, HandlerFunc(func(r *Request) {
		if r.Code == codePut {
			p.ServeRPC(r)
			return
		}
		echo(r)
	}), nil, nil)
	for range 8 {
		c := s.dial()
		go func() {
			for j := 1; j <= 100; j++ {
				if _, err := c.Write(frame(RDSN, uint64(j), codePut, Blob(make([]byte, 50<<10)))); err != nil {
					return
				}
			}
		}()
	}
	eventually(t, "one address to have all it may", func() bool { return s.budgets[clients].crowded() })
	alive(t, elsewhere(t), s.addr)
	for p.count() > 0 {
		for _, r := range p.take() {
			r.Drop()
		}
	}
}

// TestAnswersWaitForMemory: many large answers are asked for at once, by somebody who reads them
// slowly. What the handlers hold, and what waits to be sent, stays within the limit and one
// answer; all are answered in the end.
func TestAnswersWaitForMemory(t *testing.T) {
	const limit, size, count, step = 32 << 20, 6 << 20, 60, 1 << 20
	var held, most atomic.Int64
	build := func(r *Request) {
		var b []byte
		defer func() { held.Add(-int64(len(b))) }()
		for len(b) < size {
			if !r.Reserve(2 * step) {
				r.ReplyError("ERR_BUSY")
				return
			}
			b = append(b, make([]byte, step)...)
			n := held.Add(step)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
		}
		r.Reply(Blob(b))
	}
	s := startServer(t, ServerOptions{MaxInFlightBytes: limit}, HandlerFunc(func(r *Request) {
		r.Announce(128 << 10)
		go build(r)
	}), nil, nil)
	c := s.dial()
	for i := range count {
		c.send(appendRDSNRequest(nil, uint64(i+1), &Outgoing{Code: codeGet, Arg: Blob("k"), TimeoutMS: int32(patience.Milliseconds())}))
	}
	peak := int64(0)
	for range count {
		peak = max(peak, s.Stats().InFlightBytes)
		if r := c.recv(RDSN); r.code != "ERR_OK" || len(r.body) < size {
			t.Fatalf("%s with %d bytes", r.code, len(r.body))
		}
	}
	if m := most.Load(); m > limit {
		t.Errorf("handlers held %d bytes at once, the limit is %d", m, limit)
	}
	if peak > limit+4*size {
		t.Errorf("%d bytes were in flight, the limit is %d", peak, limit)
	}
	eventually(t, "all memory given back", func() bool { return s.Stats().InFlightBytes == 0 })
}

// TestExemptAnswersAreSentFirst: answers that are larger than what there is for answers are made
// one after another, by exemption. The next isn't made while the one before waits for a client
// that reads nothing.
func TestExemptAnswersAreSentFirst(t *testing.T) {
	const limit, size, count = 16 << 20, 9 << 20, 20
	var made atomic.Int32
	var s *testServer
	var most atomic.Int64
	build := func(r *Request) {
		if !r.Reserve(2 * size) {
			r.ReplyError("ERR_BUSY")
			return
		}
		made.Add(1)
		n := s.Stats().InFlightBytes
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		r.Reply(Blob(make([]byte, size)))
	}
	s = startServer(t, ServerOptions{MaxInFlightBytes: limit}, HandlerFunc(func(r *Request) { go build(r) }), nil, nil)
	c := s.dial()
	for i := range count {
		c.send(appendRDSNRequest(nil, uint64(i+1), &Outgoing{Code: codeGet, Arg: Blob("k"), TimeoutMS: int32(patience.Milliseconds())}))
	}
	eventually(t, "an answer that waits to be sent", func() bool { return made.Load() > 0 && s.Stats().InFlightBytes < 2*size })
	still := time.Now().Add(100 * time.Millisecond)
	eventually(t, "quiet", func() bool { return time.Now().After(still) })
	if n := made.Load(); n > 2 { // what the kernel takes of the first may let in the second
		t.Errorf("%d answers were made while nothing was read", n)
	}
	for range count {
		if r := c.recv(RDSN); r.code != "ERR_OK" || len(r.body) < size {
			t.Fatalf("%s with %d bytes", r.code, len(r.body))
		}
	}
	if m := most.Load(); m > 2*limit {
		t.Errorf("%d bytes were in flight, the limit is %d", m, limit)
	}
	eventually(t, "all memory given back", func() bool { return s.Stats().InFlightBytes == 0 })
}

// TestAnswersOfABatch: answers that are given at once stop the reader when they pile up, in the
// middle of what it has read.
func TestAnswersOfABatch(t *testing.T) {
	const size, count = 1 << 20, 300
	value := Blob(make([]byte, size))
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	s := startServer(t, ServerOptions{MaxInFlightBytes: 32 << 20}, HandlerFunc(func(r *Request) { r.Reply(value) }), nil, nil)
	c := s.dial()
	var batch []byte
	for i := range count {
		batch = append(batch, frame(THFT0, uint64(i+1), codeGet, Blob("k"))...)
	}
	c.send(batch) // and nothing is read of the answers
	eventually(t, "answers to wait", func() bool { return s.Stats().InFlightBytes > maxUnsent })
	still := time.Now().Add(100 * time.Millisecond)
	eventually(t, "quiet", func() bool { return time.Now().After(still) })
	if n := s.Stats().InFlightBytes; n > 32<<20 {
		t.Errorf("%d bytes of answers wait", n)
	}
	runtime.ReadMemStats(&m1)
	if n := int64(m1.HeapAlloc) - int64(m0.HeapAlloc); n > 100<<20 {
		t.Errorf("the heap grew by %d bytes", n)
	}
	for range count {
		if r := c.recv(THFT0); len(r.body) < size {
			t.Fatalf("an answer of %d bytes", len(r.body))
		}
	}
}

// TestPlaces: when clients have all connections they may, a server of the cluster still gets one;
// a client that doesn't use its own loses it to one that would.
func TestPlaces(t *testing.T) {
	s := startServer(t, ServerOptions{MaxConnections: 3}, HandlerFunc(vouching), nil, nil)
	var pools []*Pool
	for range 3 {
		p := testPool(t, PoolOptions{})
		alive(t, p, s.addr)
		pools = append(pools, p)
	}
	for range 3 {
		peerCall(t, testPool(t, PoolOptions{}), s.addr, 100)
	}
	p := testPool(t, PoolOptions{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Call(ctx, s.addr, Outgoing{Code: codeGet, Arg: Blob("x")}, nil); err == nil {
		t.Error("a fourth client got a connection")
	}
	eventually(t, "a line of the log", func() bool { return s.logged("refusing connection") > 0 })
	s.mu.Lock()
	for c := range s.conns { // as if they had done nothing for long
		c.lastRead.Store(s.clock.Load() - 2*idleFirst.Milliseconds())
	}
	s.mu.Unlock()
	eventually(t, "a place for the fourth", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return p.Call(ctx, s.addr, Outgoing{Code: codeGet, Arg: Blob("x")}, nil) == nil
	})
	peerCall(t, testPool(t, PoolOptions{}), s.addr, 100)
	for _, p := range append(pools, p) {
		p.Close()
	}
}

// TestStalledHTTP: a body that is too long, or stops, ends its request, and so does an answer
// that isn't read.
func TestStalledHTTP(t *testing.T) {
	var read atomic.Int64
	wrote := make(chan error, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodGet {
			var err error
			for err == nil {
				_, err = w.Write(make([]byte, 1<<20))
			}
			wrote <- err
			return
		}
		b, err := io.ReadAll(q.Body)
		read.Add(int64(len(b)))
		if err != nil {
			http.Error(w, "body: "+err.Error(), http.StatusRequestEntityTooLarge)
		}
	})
	s := startServer(t, ServerOptions{}, HandlerFunc(echo), h, func(s *Server) {
		s.http.srv.ReadTimeout = 500 * time.Millisecond
		s.writeTimeout = 500 * time.Millisecond
	})
	res, err := http.Post("http://"+s.addr+"/x", "", bytes.NewReader(make([]byte, 20<<20)))
	if err == nil {
		if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("a body of 20 MiB: %s, %q", res.Status, b)
		}
		res.Body.Close()
	}
	if n := read.Load(); n > maxHTTPBody {
		t.Errorf("%d bytes of a body were read", n)
	}
	var wg sync.WaitGroup
	for range 20 {
		c := s.dial()
		c.send([]byte(fmt.Sprintf("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", 1<<19, strings.Repeat("x", 1000))))
		wg.Add(1)
		go func() {
			defer wg.Done()
			io.Copy(io.Discard, c) // returns when the server closes
		}()
	}
	wg.Wait()
	s.dial().send([]byte("GET /x HTTP/1.1\r\nHost: x\r\n\r\n"))
	select {
	case <-wrote:
	case <-time.After(patience):
		t.Error("an answer that isn't read waits for ever")
	}
}

// TestNoDescriptorLeft: in a process that has no descriptor left, who connects is told so at once,
// and not left waiting; when there are some again all is well.
func TestNoDescriptorLeft(t *testing.T) {
	const child = "PEGASUS_TEST_NO_DESCRIPTOR"
	if os.Getenv(child) != "" {
		limit := &syscall.Rlimit{Cur: 40, Max: 40}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, limit); err != nil {
			t.Fatal(err)
		}
		s := startServer(t, ServerOptions{}, HandlerFunc(echo), nil, nil)
		fmt.Printf("\nlistening %s\n", s.addr)
		io.Copy(io.Discard, os.Stdin)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestNoDescriptorLeft$")
	cmd.Env = append(os.Environ(), child+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	addr := ""
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		addr, _ = strings.CutPrefix(lines.Text(), "listening ")
		if addr == lines.Text() {
			addr = ""
		}
	}
	var open []net.Conn
	refused := 0
	for range 60 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	for i := len(open) - 1; i >= 0 && refused < 5; i-- {
		open[i].SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := open[i].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("connection %d is left waiting: %v", i, err)
		}
		refused++
	}
	for _, c := range open {
		c.Close()
	}
	p := testPool(t, PoolOptions{})
	eventually(t, "a connection", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return p.Call(ctx, addr, Outgoing{Code: codeGet, Arg: Blob("x")}, nil) == nil
	})
}

// TestCopiesHavePlaces: servers copy checkpoints from each other by HTTP. When clients have all
// connections they may, one comes through from where a server of the cluster is connected from.
func TestCopiesHavePlaces(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "copied") })
	s := startServer(t, ServerOptions{MaxConnections: 3}, HandlerFunc(vouching), h, nil)
	for range 3 {
		alive(t, elsewhere(t), s.addr)
	}
	get := func() error {
		c := http.Client{Transport: new(http.Transport), Timeout: patience}
		defer c.CloseIdleConnections()
		res, err := c.Get("http://" + s.addr + "/x")
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	if get() == nil {
		t.Error("a client got a fourth connection")
	}
	peer := testPool(t, PoolOptions{})
	peerCall(t, peer, s.addr, 100)
	for range 3 {
		if err := get(); err != nil {
			t.Fatalf("a copy for a server: %v", err)
		}
	}
	peer.Close()
	eventually(t, "the server to be gone", func() bool { return get() != nil })
	eventually(t, "places given back", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.places.total == 3 && s.places.servers == 0 && s.places.claims == 0 && s.places.trials == 0
	})
}

// TestPeersDontWaitForAnswersOfClients: a server's connection is read on while clients hold all
// the memory for answers, also after it was given a large answer itself.
func TestPeersDontWaitForAnswersOfClients(t *testing.T) {
	s := startServer(t, ServerOptions{MaxInFlightBytes: 16 << 20}, HandlerFunc(vouching), nil, nil)
	s.budgets[clients].used.Add(s.budgets[clients].limit)
	c := s.dial()
	for i := range 3 {
		c.send(frame(RDSN, uint64(i+1), codeServer, Blob(make([]byte, 2*writeChunk))))
		if r := c.recv(RDSN); r.code != "ERR_OK" {
			t.Fatal(r.code)
		}
	}
	s.budgets[clients].used.Add(-s.budgets[clients].limit)
}

// TestClaimsMakeRoom: connections that say that they are a server's, and then nothing more, keep
// none of a server out.
func TestClaimsMakeRoom(t *testing.T) {
	s := startServer(t, ServerOptions{MaxConnections: 3}, HandlerFunc(func(r *Request) {
		if r.Framing == RDSN && r.Remote.Addr().As4() == [4]byte{127, 0, 0, 1} {
			vouching(r)
			return
		}
		echo(r)
	}), nil, nil)
	dial := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	for i := range s.places.reserve() {
		c, err := dial.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write(frame(RDSN, uint64(i+1), codeServer, Blob("x")))
		if r, err := recvFrom(c, RDSN); err != nil || r.code != "ERR_OK" {
			t.Fatal(r.code, err)
		}
	}
	p := testPool(t, PoolOptions{})
	eventually(t, "a place for a server", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return p.Call(ctx, s.addr, Outgoing{Code: codeServer, Arg: Blob("x")}, nil) == nil
	})
}
