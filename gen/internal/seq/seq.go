package seq

import (
	"fmt"

	"pegasus/base/tbin"
)

var (
	errElem  = fmt.Errorf("%w: container holds another element type", tbin.ErrMalformed)
	errEmpty = fmt.Errorf("%w: container claims more elements than it holds", tbin.ErrMalformed)
)

// Seq is a container being read: N elements are to come. On error N is 0.
type Seq struct {
	N            int
	start, least int
}

// List enters a list or set whose elements must be of type elem.
func List(r *tbin.Reader, elem tbin.Type, least int) Seq {
	if !r.Begin() {
		return Seq{}
	}
	t, n := r.ListHeader(least)
	// Some writers give an empty container another element type: harmless.
	if n > 0 && t != elem {
		r.Fail(errElem)
		return Seq{}
	}
	return Seq{n, r.Offset(), least}
}

// Map enters a map; least is for a key and a value together.
func Map(r *tbin.Reader, key, val tbin.Type, least int) Seq {
	if !r.Begin() {
		return Seq{}
	}
	k, v, n := r.MapHeader(least)
	if n > 0 && (k != key || v != val) {
		r.Fail(errElem)
		return Seq{}
	}
	return Seq{n, r.Offset(), least}
}

// End leaves the container after its last element.
func (s Seq) End(r *tbin.Reader) {
	if r.Offset()-s.start < s.N*s.least {
		r.Fail(errEmpty)
	}
	r.End()
}

// Make returns room for the elements; nil if there are none.
func Make[T any](s Seq) []T {
	if s.N == 0 {
		return nil
	}
	return make([]T, s.N)
}
