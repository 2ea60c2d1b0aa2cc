package rpc

// Charge counts n bytes more, or fewer if n is negative, as memory that is needed to answer r,
// beside the request itself and the answer once it is encoded. What is left of it is given back
// with the answer. It never waits: who waits is whoever would read further requests. Charges of
// one request must not be concurrent, with each other or the answer.
func (r *Request) Charge(n int64) {
	if b := r.buf.budget; b != nil {
		r.held += n
		b.add(n)
	}
}

// Crowded tells that requests and answers take all the memory that they may: a handler that can
// make do with less should.
func (r *Request) Crowded() bool {
	b := r.buf.budget
	return b != nil && b.over()
}
