package cluster

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// taken are the hundreds of ports that tests of this process have which run at the same time. A server
// that a test has killed leaves its port free for a while, and looking whether it is free takes it.
var taken struct {
	sync.Mutex
	ports map[int]bool
}

// take tells whether a test has p.. and p+200.. for itself until give is called.
func take(p int) bool {
	taken.Lock()
	defer taken.Unlock()
	if taken.ports[p] || taken.ports[p+200] {
		return false
	}
	if taken.ports == nil {
		taken.ports = map[int]bool{}
	}
	taken.ports[p], taken.ports[p+200] = true, true
	return true
}

func give(p int) {
	taken.Lock()
	defer taken.Unlock()
	delete(taken.ports, p)
	delete(taken.ports, p+200)
}

// FreePort finds a port p such that p.. and p+200.. are free for so many metas and replica
// servers. It looks below the range from which the kernel takes ports of outgoing connections,
// and at a place of its own in every process, so that test packages running side by side rarely
// meet. No other test of this process gets them before this one ends.
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
