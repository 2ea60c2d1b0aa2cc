package prepare

import (
	"encoding/binary"
	"fmt"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/metadata"
	"pegasus/gen/value"
)

// Serialization is the serialization_type of an Update whose data is Thrift binary.
const Serialization = 1

// WriteEmpty is the code of the update in an empty mutation.
const WriteEmpty = "RPC_REPLICATION_WRITE_EMPTY"

var errCount = fmt.Errorf("%w: more updates than the frame holds", tbin.ErrMalformed)

// Update is one client write inside a mutation.
type Update struct {
	Code          string // RPC code name, e.g. RPC_RRDB_RRDB_PUT
	Serialization int32
	Data          []byte // the request's RPC body: field header, value, STOP; aliases the frame
}

// Mutation is one decree's worth of writes.
type Mutation struct {
	Version             int64 // 0
	Pid                 base.Gpid
	Ballot              int64
	Decree              int64
	LogOffset           int64
	LastCommittedDecree int64
	Timestamp           int64 // microseconds, unique and increasing in a replica
	Updates             []Update
}

// updateHeader is what an update takes at least: two lengths and the type.
const updateHeader = 12

// AppendThrift appends the mutation in its packed layout.
func (m *Mutation) AppendThrift(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(m.Version))
	b = le.AppendUint32(b, uint32(m.Pid.AppID))
	b = le.AppendUint32(b, uint32(m.Pid.PartitionIndex))
	for _, v := range []int64{m.Ballot, m.Decree, m.LogOffset, m.LastCommittedDecree, m.Timestamp} {
		b = le.AppendUint64(b, uint64(v))
	}
	b = le.AppendUint32(b, uint32(len(m.Updates)))
	for _, u := range m.Updates {
		b = le.AppendUint32(b, uint32(len(u.Code)))
		b = append(b, u.Code...)
		b = le.AppendUint32(b, uint32(u.Serialization))
		b = le.AppendUint32(b, uint32(len(u.Data)))
	}
	for _, u := range m.Updates {
		b = append(b, u.Data...)
	}
	return b
}

// ReadThrift replaces m by the mutation that r is at. Several may follow one another.
func (m *Mutation) ReadThrift(r *tbin.Reader) {
	*m = Mutation{Version: i64(r)}
	m.Pid = base.Gpid{AppID: i32(r), PartitionIndex: i32(r)}
	m.Ballot = i64(r)
	m.Decree = i64(r)
	m.LogOffset = i64(r)
	m.LastCommittedDecree = i64(r)
	m.Timestamp = i64(r)
	n := i32(r)
	if n < 0 || int(n) > r.Len()/updateHeader {
		r.Fail(errCount)
	}
	if r.Err() != nil || n == 0 {
		return
	}
	m.Updates = make([]Update, n)
	sizes := make([]int32, n)
	for i := range m.Updates {
		m.Updates[i].Code = string(r.Raw(int(i32(r))))
		m.Updates[i].Serialization = i32(r)
		sizes[i] = i32(r)
	}
	for i := range m.Updates {
		m.Updates[i].Data = r.Raw(int(sizes[i]))
	}
}

func i32(r *tbin.Reader) int32 {
	v := r.Raw(4)
	if v == nil {
		return 0
	}
	return int32(binary.LittleEndian.Uint32(v))
}

func i64(r *tbin.Reader) int64 {
	v := r.Raw(8)
	if v == nil {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(v))
}

// Body is the whole body of an RPC_PREPARE request. Unlike other values it is not put
// into a field: its form is the RPC body.
type Body struct {
	Pid      base.Gpid
	Config   metadata.ReplicaConfiguration
	Mutation Mutation
}

// AppendThrift appends the RPC body.
func (p *Body) AppendThrift(b []byte) []byte {
	b = value.AppendField(b, 0, p.Pid)
	b = value.AppendField(b, 0, &p.Config)
	return p.Mutation.AppendThrift(b)
}

// ReadThrift replaces p by the RPC body that r is at.
func (p *Body) ReadThrift(r *tbin.Reader) {
	value.ReadField(r, &p.Pid)
	value.ReadField(r, &p.Config)
	p.Mutation.ReadThrift(r)
}
