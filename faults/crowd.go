package faults

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/gen/rrdb"
)

// maxMemory is what a replica server may have resident. It is told to use 1 GiB.
const maxMemory = 1500 << 20

// resident returns how many bytes of a process are in memory, at most so far.
func resident(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmHWM", pid)
}

// lean notes replica servers that have too much in memory.
func (w *world) lean(what string) {
	for _, s := range w.c.of("replica") {
		pid := s.Pid()
		if pid == 0 {
			continue
		}
		if n, err := resident(pid); err == nil && n > maxMemory {
			w.wrong("%s has had %d MB in memory, of %d that it may, after %s", s.Name, n>>20, maxMemory>>20, what)
		}
	}
}

// amplify sends requests that make far more than they are. What they are answered doesn't
// matter; servers must live, and the cluster become whole.
func amplify(ctx context.Context, w *world, r *rand.Rand) error {
	defer w.lean("requests that amplify")
	w.tell("requests that amplify")
	long := bytes.Repeat([]byte("A"), 65000)
	for range 3 {
		n := []int{1000, 10000, 150000}[r.IntN(3)]
		req := &rrdb.MultiRemoveRequest{HashKey: long}
		for i := range n {
			req.SortKeys = append(req.SortKeys, []byte(strconv.Itoa(i)))
		}
		var res rrdb.MultiRemoveResponse
		_, err := w.ca.call("", base.CRC64(long), base.RPCMultiRemove, req, &res)
		w.debug("removal of %d rows under a key of %d bytes: %v, code %d", n, len(long), err, res.Error)
	}
	// A hash key of 10 MB, read many times at once.
	hk := []byte("A-large")
	put := &rrdb.MultiPutRequest{HashKey: hk}
	for i := range 100 {
		put.Kvs = []rrdb.KeyValue{{Key: []byte(strconv.Itoa(i)), Value: bytes.Repeat([]byte{byte(i)}, 100<<10)}}
		var res rrdb.UpdateResponse
		if _, err := w.ca.call("", base.CRC64(hk), base.RPCMultiPut, put, &res); err != nil {
			w.debug("a row of 100 KiB: %v", err)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(func() {
			var res rrdb.MultiGetResponse
			_, err := w.ca.call("", base.CRC64(hk), base.RPCMultiGet, &rrdb.MultiGetRequest{HashKey: hk, StartInclusive: true, MaxKvCount: 1000, MaxKvSize: 30 << 20}, &res)
			w.debug("a large read: %v, %d rows", err, len(res.Kvs))
		})
	}
	wg.Wait()
	return nil
}

// halfFrame is the beginning of a request of 60 MB, as a client writes it.
func halfFrame() []byte {
	h := make([]byte, 48, 48+4096)
	copy(h, "THFT")
	binary.BigEndian.PutUint32(h[8:], 48)
	binary.BigEndian.PutUint32(h[16:], 60<<20)
	return append(h, make([]byte, 4096)...)
}

// slowClients opens connections to a server that send a part of a request and then no more.
func slowClients(ctx context.Context, w *world, r *rand.Rand) error {
	rs := w.c.of("replica")
	s := rs[r.IntN(len(rs))]
	d := between(r, 8*time.Second, 20*time.Second)
	w.tell("800 requests are half sent to %s, for %v", s.Name, d.Round(time.Millisecond))
	defer w.lean("half sent requests")
	half := halfFrame()
	post := []byte("POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + strings.Repeat("x", 4096))
	conns := connect(ctx, s.Addr, 800, func(i int) []byte {
		if i%4 == 0 {
			return post
		}
		return half
	})
	pause.For(ctx, d)
	for _, c := range conns {
		c.Close()
	}
	return nil
}

// connect opens up to n connections and sends something on each.
func connect(ctx context.Context, addr string, n int, first func(i int) []byte) (out []net.Conn) {
	d := net.Dialer{Timeout: time.Second}
	failed := 0
	for i := 0; i < n && failed < 10 && ctx.Err() == nil; i++ {
		c, err := d.DialContext(ctx, "tcp4", addr)
		if err != nil {
			failed++
			continue
		}
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := c.Write(first(i)); err != nil {
			c.Close()
			continue
		}
		out = append(out, c)
	}
	return out
}

// descriptors takes a server's file descriptors away: either of the running process, or it is
// started with few, and idle connections take what is left.
func descriptors(ctx context.Context, w *world, r *rand.Rand) error {
	s, free, err := w.claim(r, "replica")
	if err != nil {
		return err
	}
	defer free()
	d := between(r, 6*time.Second, 20*time.Second)
	idle := func(n int) func() {
		conns := connect(ctx, s.Addr, n, func(int) []byte { return []byte("T") })
		return func() {
			for _, c := range conns {
				c.Close()
			}
		}
	}
	if r.IntN(2) == 0 {
		w.tell("start %s with 256 descriptors, and 300 idle connections, for %v", s.Name, d.Round(time.Millisecond))
		s.excused("it has few descriptors")
		defer s.excused("")
		s.nofile = 256
		kill(s)
		err := s.Start()
		s.nofile = 0
		pause.For(ctx, 2*time.Second)
		defer idle(300)()
		pause.For(ctx, d)
		kill(s)
		return errors.Join(err, s.Start())
	}
	pid := s.Pid()
	es, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if pid == 0 || err != nil {
		return nil // it was killed meanwhile
	}
	var old unix.Rlimit
	few := uint64(len(es) + r.IntN(12))
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		return fmt.Errorf("limit of descriptors of %s: %w", s.Name, err)
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: few, Max: old.Max}, nil); err != nil {
		return fmt.Errorf("limit of descriptors of %s: %w", s.Name, err)
	}
	w.tell("%s may have %d descriptors, and has %d, for %v", s.Name, few, len(es), d.Round(time.Millisecond))
	done := idle(40)
	pause.For(ctx, d)
	if err = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &old, nil); errors.Is(err, unix.ESRCH) {
		err = nil // it was killed meanwhile
	}
	done()
	return err
}
