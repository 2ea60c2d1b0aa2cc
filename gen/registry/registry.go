package registry

import (
	"fmt"
	"sort"

	"pegasus/base/tbin"
	"pegasus/gen/prepare"
	"pegasus/gen/value"
)

// Entry tells what an RPC code carries.
type Entry struct {
	// Arg returns a new, zero argument.
	Arg func() value.Value
	// Result returns a new, zero result; it is nil if the RPC has no answer.
	Result func() value.Value
}

// Lookup returns the entry of an RPC code such as "RPC_RRDB_RRDB_GET".
func Lookup(code string) (Entry, bool) {
	for _, t := range []map[string]Entry{dataCodes, metaCodes, replicaCodes} {
		if e, ok := t[code]; ok {
			return e, true
		}
	}
	return Entry{}, false
}

// Codes returns every known code, sorted.
func Codes() []string {
	var l []string
	for _, t := range []map[string]Entry{dataCodes, metaCodes, replicaCodes} {
		for c := range t {
			l = append(l, c)
		}
	}
	sort.Strings(l)
	return l
}

// AppendBody appends v as an RPC body: in field id, which is 1 in a THFT request and 0
// anywhere else. RPC_PREPARE's body has its own form and no use for the id.
func AppendBody(b []byte, id int16, v value.Value) []byte {
	if p, ok := v.(*prepare.Body); ok {
		return p.AppendThrift(b)
	}
	return value.AppendField(b, id, v)
}

// ReadBody fills v from an RPC body, of which nothing may be left over, and returns the
// id of the field it was in. The error wraps tbin.ErrMalformed.
func ReadBody(body []byte, v value.Value) (id int16, err error) {
	r := tbin.NewReader(body)
	if p, ok := v.(*prepare.Body); ok {
		p.ReadThrift(r)
	} else {
		id = value.ReadField(r, v)
	}
	if err := r.Err(); err != nil {
		return 0, fmt.Errorf("read %T at byte %d of %d: %w", v, r.Offset(), len(body), err)
	}
	if r.Len() > 0 {
		return 0, fmt.Errorf("read %T: %d bytes left over: %w", v, r.Len(), tbin.ErrMalformed)
	}
	return id, nil
}

// ptr is a pointer to T that is a Value.
type ptr[T any] interface {
	*T
	value.Value
}

func maker[T any, P ptr[T]]() func() value.Value {
	return func() value.Value { return P(new(T)) }
}

func call[A, R any, PA ptr[A], PR ptr[R]]() Entry {
	return Entry{maker[A, PA](), maker[R, PR]()}
}

func oneWay[A any, PA ptr[A]]() Entry {
	return Entry{Arg: maker[A, PA]()}
}
