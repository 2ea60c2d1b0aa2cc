package cluster

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// FreePort finds a port p such that p.. and p+200.. are free for so many metas and replica
// servers. It looks below the range from which the kernel takes ports of outgoing connections,
// and at a place of its own in every process, so that test packages running side by side rarely
// meet.
func FreePort(tb testing.TB, metas, replicas int) int {
	tb.Helper()
	for range 200 {
		p := 11000 + rand.IntN(200)*100
		if Free(p, metas) && Free(p+200, replicas) {
			return p
		}
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
