package state

import (
	"errors"
	"fmt"

	"pegasus/base/tbin"
	"pegasus/base/version"
)

// ErrUnknownCommand is what Decode wraps when the entry was written by a version that
// knows more. Who meets it must stop: going on would leave its State different from the
// others'.
var ErrUnknownCommand = errors.New("the meta's log has an entry that this version doesn't know")

// Fields with their zero value are not written.

func appendI64(b []byte, id int16, v int64) []byte {
	if v == 0 {
		return b
	}
	return tbin.AppendI64(tbin.AppendField(b, tbin.I64, id), v)
}

func appendBool(b []byte, id int16, v bool) []byte {
	if !v {
		return b
	}
	return tbin.AppendBool(tbin.AppendField(b, tbin.Bool, id), v)
}

func appendString(b []byte, id int16, v string) []byte {
	if v == "" {
		return b
	}
	return tbin.AppendString(tbin.AppendField(b, tbin.String, id), v)
}

func appendAddrs(b []byte, id int16, v []Addr) []byte {
	if len(v) == 0 {
		return b
	}
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, id), tbin.I64, len(v))
	for _, a := range v {
		b = tbin.AppendI64(b, int64(a))
	}
	return b
}

func appendStrings(b []byte, id int16, v []string) []byte {
	if len(v) == 0 {
		return b
	}
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, id), tbin.String, len(v))
	for _, s := range v {
		b = tbin.AppendString(b, s)
	}
	return b
}

func appendEnvs(b []byte, id int16, v []Env) []byte {
	if len(v) == 0 {
		return b
	}
	b = tbin.AppendMap(tbin.AppendField(b, tbin.Map, id), tbin.String, tbin.String, len(v))
	for _, e := range v {
		b = tbin.AppendString(tbin.AppendString(b, e.Key), e.Val)
	}
	return b
}

// unknownField ends reading. What an older version wrote has no such field, and a newer one
// says that it is newer: passing over a field would leave this State different from the others.
func unknownField(r *tbin.Reader, id int16) {
	r.Fail(fmt.Errorf("field %d: %w", id, ErrUnknownCommand))
}

// readStruct hands each field to f, which reads its value.
func readStruct(r *tbin.Reader, f func(r *tbin.Reader, t tbin.Type, id int16)) {
	if r.Begin() {
		for t, id := r.Field(); t != tbin.Stop; t, id = r.Field() {
			f(r, t, id)
		}
	}
	r.End()
}

// list reads the header of a list whose elements are of type t and at least size bytes
// long; another type is malformed.
func list(r *tbin.Reader, t tbin.Type, size int) int {
	et, n := r.ListHeader(size)
	if n > 0 && et != t {
		r.Fail(tbin.ErrMalformed)
		return 0
	}
	return n
}

func readAddrs(r *tbin.Reader) []Addr {
	n := list(r, tbin.I64, 8)
	if n == 0 {
		return nil
	}
	v := make([]Addr, n)
	for i := range v {
		v[i] = Addr(r.I64())
	}
	return v
}

func readStrings(r *tbin.Reader) []string {
	n := list(r, tbin.String, 4)
	var v []string
	for range n {
		v = append(v, r.String())
	}
	return v
}

func readEnvs(r *tbin.Reader) []Env {
	kt, vt, n := r.MapHeader(8)
	if n > 0 && (kt != tbin.String || vt != tbin.String) {
		r.Fail(tbin.ErrMalformed)
		return nil
	}
	var v []Env
	for range n {
		k := r.String()
		v = append(v, Env{Key: k, Val: r.String()})
	}
	return v
}

// field is what a struct's reader switches on: an id of the wrong type is like an unknown id.
type field struct {
	id int16
	t  tbin.Type
}

// readVersion reads a version that this program understands; others stop the reader.
func readVersion(r *tbin.Reader) version.Version {
	v := r.I64()
	if v < int64(version.First) || v > int64(version.Newest) {
		r.Fail(ErrUnknownCommand)
		return 0
	}
	return version.Version(v)
}

// appendIDName and readIDName are the form of a number with a text: a table and its name, for example.
func appendIDName(b []byte, id int32, name string) []byte {
	return appendString(appendI64(b, 1, int64(id)), 2, name)
}

func readIDName(r *tbin.Reader, t tbin.Type, fid int16, table *int32, name *string) {
	switch (field{fid, t}) {
	case field{1, tbin.I64}:
		*table = int32(r.I64())
	case field{2, tbin.String}:
		*name = r.String()
	default:
		unknownField(r, fid)
	}
}

// readTwo reads a field of a struct whose first two are numbers.
func readTwo(r *tbin.Reader, t tbin.Type, id int16, first, second *int32) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		*first = int32(r.I64())
	case field{2, tbin.I64}:
		*second = int32(r.I64())
	default:
		unknownField(r, id)
	}
}
