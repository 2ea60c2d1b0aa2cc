package httpapi

import (
	"net"
	"net/http"
	"sync"
)

// A page is made in memory, and stays there until the client has taken it. So there are only so
// many at a time, and one address gets half of them.
const (
	maxPages     = 32
	maxPagesFrom = maxPages / 2
)

// busy counts the requests under way.
type busy struct {
	mu   sync.Mutex
	all  int
	from map[string]int
}

func hostOf(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return remote
}

// enter counts a request, unless there are too many.
func (b *busy) enter(remote string) bool {
	host := hostOf(remote)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all >= maxPages || b.from[host] >= maxPagesFrom {
		return false
	}
	if b.from == nil {
		b.from = map[string]int{}
	}
	b.all++
	b.from[host]++
	return true
}

func (b *busy) leave(remote string) {
	host := hostOf(remote)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.from[host]--; b.from[host] == 0 {
		delete(b.from, host)
	}
}

// Few makes h one of the pages of which there are only so many at a time.
func (r *Router) Few(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !r.busy.enter(q.RemoteAddr) {
			w.Header().Set("Retry-After", "1")
			write(w, Text(http.StatusServiceUnavailable, "too many concurrent page requests; try again\n"))
			return
		}
		defer r.busy.leave(q.RemoteAddr)
		h.ServeHTTP(w, q)
	})
}
