package state

import (
	"pegasus/base"
	"pegasus/base/tbin"
)

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

// readStruct hands each field to f, which reads or skips its value.
func readStruct(r *tbin.Reader, f func(r *tbin.Reader, t tbin.Type, id int16)) {
	if r.Begin() {
		for t, id := r.Field(); t != tbin.Stop; t, id = r.Field() {
			f(r, t, id)
		}
	}
	r.End()
}

// list reads the header of a list whose elements are of type t and at least `least` bytes
// long; another type is malformed.
func list(r *tbin.Reader, t tbin.Type, least int) int {
	et, n := r.ListHeader(least)
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

// field is what a struct's reader switches on: an id of the wrong type is skipped like an
// unknown id.
type field struct {
	id int16
	t  tbin.Type
}

func (c *Config) appendFields(b []byte) []byte {
	b = appendI64(b, 1, c.Ballot)
	b = appendI64(b, 2, int64(c.Primary))
	b = appendAddrs(b, 3, c.Secondaries)
	b = appendAddrs(b, 4, c.LastDrops)
	return appendI64(b, 5, c.LastCommitted)
}

func (c *Config) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.Ballot = r.I64()
	case field{2, tbin.I64}:
		c.Primary = Addr(r.I64())
	case field{3, tbin.List}:
		c.Secondaries = readAddrs(r)
	case field{4, tbin.List}:
		c.LastDrops = readAddrs(r)
	case field{5, tbin.I64}:
		c.LastCommitted = r.I64()
	default:
		r.Skip(t)
	}
}

func (c *Init) appendFields(b []byte) []byte {
	return appendString(appendString(b, 1, c.Cluster), 2, c.Quorum)
}

func (c *Init) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.String}:
		c.Cluster = r.String()
	case field{2, tbin.String}:
		c.Quorum = r.String()
	default:
		r.Skip(t)
	}
}

func (c *CreateTable) appendFields(b []byte) []byte {
	b = appendString(b, 1, c.Name)
	b = appendString(b, 2, c.Type)
	b = appendBool(b, 3, c.Stateful)
	b = appendI64(b, 4, int64(c.Partitions))
	b = appendI64(b, 5, int64(c.MaxReplicas))
	b = appendEnvs(b, 6, c.Envs)
	b = appendBool(b, 7, c.AtomicIdempotent)
	return appendI64(b, 8, c.Now)
}

func (c *CreateTable) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.String}:
		c.Name = r.String()
	case field{2, tbin.String}:
		c.Type = r.String()
	case field{3, tbin.Bool}:
		c.Stateful = r.Bool()
	case field{4, tbin.I64}:
		c.Partitions = int32(r.I64())
	case field{5, tbin.I64}:
		c.MaxReplicas = int32(r.I64())
	case field{6, tbin.Map}:
		c.Envs = readEnvs(r)
	case field{7, tbin.Bool}:
		c.AtomicIdempotent = r.Bool()
	case field{8, tbin.I64}:
		c.Now = r.I64()
	default:
		r.Skip(t)
	}
}

func (c *DropTable) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(c.ID))
	b = appendI64(b, 2, c.Now)
	return appendI64(b, 3, c.Expire)
}

func (c *DropTable) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = int32(r.I64())
	case field{2, tbin.I64}:
		c.Now = r.I64()
	case field{3, tbin.I64}:
		c.Expire = r.I64()
	default:
		r.Skip(t)
	}
}

// appendIDName and readIDName are the form of the two commands that name a table anew.
func appendIDName(b []byte, id int32, name string) []byte {
	return appendString(appendI64(b, 1, int64(id)), 2, name)
}

func readIDName(r *tbin.Reader, t tbin.Type, fid int16, id *int32, name *string) {
	switch (field{fid, t}) {
	case field{1, tbin.I64}:
		*id = int32(r.I64())
	case field{2, tbin.String}:
		*name = r.String()
	default:
		r.Skip(t)
	}
}

func (c *RecallTable) appendFields(b []byte) []byte { return appendIDName(b, c.ID, c.Name) }

func (c *RecallTable) readField(r *tbin.Reader, t tbin.Type, id int16) {
	readIDName(r, t, id, &c.ID, &c.Name)
}

func (c *RenameTable) appendFields(b []byte) []byte { return appendIDName(b, c.ID, c.Name) }

func (c *RenameTable) readField(r *tbin.Reader, t tbin.Type, id int16) {
	readIDName(r, t, id, &c.ID, &c.Name)
}

func (c *SetEnvs) appendFields(b []byte) []byte {
	b = appendI64(b, 1, int64(c.ID))
	b = appendStrings(b, 2, c.Del)
	return appendEnvs(b, 3, c.Set)
}

func (c *SetEnvs) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = int32(r.I64())
	case field{2, tbin.List}:
		c.Del = readStrings(r)
	case field{3, tbin.Map}:
		c.Set = readEnvs(r)
	default:
		r.Skip(t)
	}
}

func (c *SetReplicas) appendFields(b []byte) []byte {
	return appendI64(appendI64(b, 1, int64(c.ID)), 2, int64(c.Count))
}

func (c *SetReplicas) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = int32(r.I64())
	case field{2, tbin.I64}:
		c.Count = int32(r.I64())
	default:
		r.Skip(t)
	}
}

func (c *SetAtomic) appendFields(b []byte) []byte {
	return appendBool(appendI64(b, 1, int64(c.ID)), 2, c.On)
}

func (c *SetAtomic) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.ID = int32(r.I64())
	case field{2, tbin.Bool}:
		c.On = r.Bool()
	default:
		r.Skip(t)
	}
}

func (c *SetLevel) appendFields(b []byte) []byte { return appendI64(b, 1, int64(c.Level)) }

func (c *SetLevel) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.Level = Level(r.I64())
	default:
		r.Skip(t)
	}
}

func (c *ChangeConfigs) appendFields(b []byte) []byte {
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, 1), tbin.Struct, len(c.Changes))
	for i := range c.Changes {
		ch := &c.Changes[i]
		b = appendI64(b, 1, ch.Gpid.Word())
		b = tbin.AppendField(b, tbin.Struct, 2)
		b = tbin.AppendStop(ch.Config.appendFields(b))
		b = appendI64(b, 3, int64(ch.Adds))
		b = tbin.AppendStop(b)
	}
	return b
}

func (c *ChangeConfigs) readField(r *tbin.Reader, t tbin.Type, id int16) {
	if (field{id, t}) != (field{1, tbin.List}) {
		r.Skip(t)
		return
	}
	n := list(r, tbin.Struct, 1)
	c.Changes = nil
	for i := 0; i < n && r.Err() == nil; i++ {
		c.Changes = append(c.Changes, Change{})
		ch := &c.Changes[i]
		readStruct(r, func(r *tbin.Reader, t tbin.Type, id int16) {
			switch (field{id, t}) {
			case field{1, tbin.I64}:
				ch.Gpid = base.GpidFromWord(r.I64())
			case field{2, tbin.Struct}:
				readStruct(r, ch.Config.readField)
			case field{3, tbin.I64}:
				ch.Adds = Addr(r.I64())
			default:
				r.Skip(t)
			}
		})
	}
}
