package rpc

// Detach moves what r holds out of the read buffer that it shares with other requests, unless
// it fills a good part of it. For requests that wait long before they are looked at: each then
// costs memory for its own bytes only. It must be called before the request's argument is read.
func (r *Request) Detach() {
	n := len(r.hdr) + len(r.Body)
	if n > len(r.buf.b)/2 {
		return
	}
	b := append(append(make([]byte, 0, n), r.hdr...), r.Body...)
	own := &readBuf{b: b, class: -1, acct: r.buf.acct, charged: int64(n)}
	own.refs.Store(1)
	if own.acct != nil {
		own.acct.add(own.charged)
	} else {
		own.charged = 0
	}
	h := len(r.hdr)
	r.buf.release()
	r.buf, r.Body = own, b[h:n:n]
	if h > 0 {
		r.hdr = b[:h:h]
	}
	r.rd.Reset(nil)
}
