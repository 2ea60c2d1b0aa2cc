package tbin

// Raw reads the next n bytes as they are, for values that aren't Thrift. The result
// aliases the frame and is nil on error.
func (r *Reader) Raw(n int) []byte { return r.take(n) }
