package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// taken are the hundreds of ports that tests of this process have. A server that a test has killed
// leaves its port free for a while, and looking whether it is free takes it.
var taken struct {
	sync.Mutex
	ports map[int][]net.Listener
}

// take tells whether a test has p.. and p+200.. for itself until give is called. It holds a name of an
// abstract Unix socket for each, so that test processes that run side by side don't meet either.
func take(p int) bool {
	taken.Lock()
	defer taken.Unlock()
	var held []net.Listener
	for _, hundred := range []int{p, p + 200} {
		l, err := net.Listen("unix", fmt.Sprintf("@pegasus-test-ports-%d", hundred))
		if err != nil { // another test has it
			for _, l := range held {
				l.Close()
			}
			return false
		}
		held = append(held, l)
	}
	if taken.ports == nil {
		taken.ports = map[int][]net.Listener{}
	}
	taken.ports[p] = held
	return true
}

func give(p int) {
	taken.Lock()
	defer taken.Unlock()
	for _, l := range taken.ports[p] {
		l.Close()
	}
	delete(taken.ports, p)
}

// FreePort finds a port p such that p.. and p+200.. are free for so many metas and replica
// servers. It looks below the range from which the kernel takes ports of outgoing connections,
// and at a random place. No other test gets them before this one ends, in whatever process.
func FreePort(tb testing.TB, metas, replicas int) int {
	tb.Helper()
	for range 200 {
		p := 11000 + rand.IntN(200)*100
		if !take(p) {
			continue
		}
		if Free(p, metas) && Free(p+200, replicas) {
			tb.Cleanup(func() { give(p) })
			return p
		}
		give(p)
	}
	tb.Fatal("no free ports")
	return 0
}

// Free tells whether n ports from p on can be listened on.
func Free(p, n int) bool {
	for i := range n {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p+i)))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
