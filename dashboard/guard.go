package dashboard

import (
	"net"
	"net/http"
	"net/netip"
)

// mayChange tells whether who asks may change something, "" or why not. As long as nobody has to say who they are
// that is a browser on the meta's own host, that shows a page of this dashboard (an ssh tunnel is one).
func mayChange(q *http.Request) (why string) {
	if a, err := netip.ParseAddrPort(q.RemoteAddr); err != nil || !a.Addr().Unmap().IsLoopback() {
		return "changes are made only from the meta server's own host: use the pegasus command, or a tunnel (ssh -L)"
	}
	for _, h := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"} {
		if q.Header.Get(h) != "" {
			return "the request comes through a proxy, so it isn't known whose it is: use the pegasus command, or a tunnel (ssh -L)"
		}
	}
	// A page of a stranger whose name was made to lead here has that name.
	host := q.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if a, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !a.IsLoopback()) {
		return "open the dashboard as localhost or 127.0.0.1 to change something"
	}
	return ""
}

// sameOrigin refuses forms of other pages.
var sameOrigin = http.NewCrossOriginProtection()
