package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/reqmeta"
)

// Framing is one of the two languages, THFT's requests having two headers.
type Framing uint8

// The framings.
const (
	THFT0 Framing = iota
	THFT1
	RDSN
)

const rdsnHeader = 192

// Frame is one request or response.
type Frame struct {
	Framing  Framing
	Response bool
	Code     string // RPC code, without the _ACK of a response
	ID       uint64 // seqid of THFT, id of rDSN
	Err      string // a response's header error, "ERR_OK"
	Gpid     base.Gpid
	Hash     uint64 // partition hash of a request
	Timeout  int32  // ms, of a request
	Body     []byte // pseudo field, value, STOP; empty in a refusal

	meta   reqmeta.ThriftRequestMetaV1 // THFT1
	header []byte                      // THFT0 and RDSN: as it was parsed, so that what isn't named above survives
	mtype  uint16
}

// New returns a request.
func New(framing Framing, code string, id uint64, gpid base.Gpid, body []byte) *Frame {
	f := &Frame{Framing: framing, Code: code, ID: id, Gpid: gpid, Timeout: 10000, Body: body, mtype: 1}
	switch framing {
	case THFT0:
		f.header = make([]byte, 48)
		copy(f.header, "THFT")
		binary.BigEndian.PutUint32(f.header[8:], 48)
		binary.BigEndian.PutUint32(f.header[36:], uint32(gpid.ThreadHash()))
	case RDSN:
		h := make([]byte, rdsnHeader)
		copy(h, "RDSN")
		binary.LittleEndian.PutUint32(h[8:], rdsnHeader)
		binary.LittleEndian.PutUint64(h[32:], id*0x9e3779b97f4a7c15) // trace id
		binary.LittleEndian.PutUint64(h[104:], 0x441)
		binary.LittleEndian.PutUint64(h[112:], 0x7f000001_00010001) // a client without a port
		binary.LittleEndian.PutUint32(h[124:], uint32(gpid.ThreadHash()))
		f.header = h
	}
	return f
}

// Encode returns the frame's bytes, its lengths computed anew. rDSN checksums are left out
// (0 says so).
func (f *Frame) Encode() []byte {
	if f.Framing == RDSN {
		h := slices.Clone(f.header)
		le := binary.LittleEndian
		le.PutUint32(h[12:], 0)
		le.PutUint32(h[16:], uint32(len(f.Body)))
		le.PutUint32(h[20:], 0)
		le.PutUint64(h[24:], f.ID)
		name := f.Code
		if f.Response {
			name += "_ACK"
		}
		clear(h[40:88])
		copy(h[40:87], name)
		le.PutUint32(h[96:], uint32(f.Gpid.AppID))
		le.PutUint32(h[100:], uint32(f.Gpid.PartitionIndex))
		le.PutUint32(h[120:], uint32(f.Timeout))
		le.PutUint64(h[128:], f.Hash)
		return append(h, f.Body...)
	}
	msg := tbin.AppendI32(nil, int32(uint32(0x80010000)|uint32(f.mtype)))
	msg = tbin.AppendString(msg, f.Code)
	msg = tbin.AppendI32(msg, int32(f.ID))
	msg = append(msg, f.Body...)
	be := binary.BigEndian
	if f.Framing == THFT1 {
		m := f.meta
		m.AppId, m.PartitionIndex = base.Some(f.Gpid.AppID), base.Some(f.Gpid.PartitionIndex)
		m.ClientTimeout, m.ClientPartitionHash = base.Some(f.Timeout), base.Some(int64(f.Hash))
		meta := m.AppendThrift(nil)
		b := append([]byte("THFT"), 0, 0, 0, 1)
		b = be.AppendUint32(b, uint32(len(meta)))
		b = be.AppendUint32(b, uint32(len(msg)))
		return append(append(b, meta...), msg...)
	}
	h := slices.Clone(f.header)
	be.PutUint32(h[16:], uint32(len(msg)))
	be.PutUint32(h[24:], uint32(f.Gpid.AppID))
	be.PutUint32(h[28:], uint32(f.Gpid.PartitionIndex))
	be.PutUint32(h[32:], uint32(f.Timeout))
	be.PutUint64(h[40:], f.Hash)
	return append(h, msg...)
}

// Parse takes one whole frame apart. A frame that begins with neither magic is a THFT response.
func Parse(b []byte) (*Frame, error) {
	switch {
	case len(b) >= 4 && string(b[:4]) == "RDSN":
		return parseRDSN(b)
	case len(b) >= 4 && string(b[:4]) == "THFT":
		return parseTHFT(b)
	}
	f := &Frame{Response: true}
	if len(b) < 4 || int64(binary.BigEndian.Uint32(b)) != int64(len(b)) {
		return nil, fmt.Errorf("a THFT response of %d bytes whose length prefix says otherwise", len(b))
	}
	r := tbin.NewReader(b[4:])
	f.Err = r.String()
	if err := f.message(r); err != nil {
		return nil, err
	}
	code, ok := strings.CutSuffix(f.Code, "_ACK")
	if !ok || f.mtype != 2 {
		return nil, fmt.Errorf("message %q of type %d is no reply", f.Code, f.mtype)
	}
	f.Code = code
	return f, nil
}

func parseRDSN(b []byte) (*Frame, error) {
	if len(b) < rdsnHeader || len(b) != rdsnHeader+int(binary.LittleEndian.Uint32(b[16:])) {
		return nil, fmt.Errorf("an rDSN frame of %d bytes whose header says otherwise", len(b))
	}
	le := binary.LittleEndian
	f := &Frame{
		Framing: RDSN, Code: cstring(b[40:88]), ID: le.Uint64(b[24:]), Err: cstring(b[136:184]),
		Gpid:    base.Gpid{AppID: int32(le.Uint32(b[96:])), PartitionIndex: int32(le.Uint32(b[100:]))},
		Timeout: int32(le.Uint32(b[120:])), Hash: le.Uint64(b[128:]),
		Body: b[rdsnHeader:], header: b[:rdsnHeader:rdsnHeader],
	}
	if f.Response = le.Uint64(b[104:])&1 == 0; f.Response {
		code, ok := strings.CutSuffix(f.Code, "_ACK")
		if !ok {
			return nil, fmt.Errorf("response %q doesn't end in _ACK", f.Code)
		}
		f.Code = code
	}
	return f, nil
}

func parseTHFT(b []byte) (*Frame, error) {
	be := binary.BigEndian
	if len(b) < 16 {
		return nil, errors.New("THFT header cut off")
	}
	f, head, size := &Frame{}, 48, 0
	switch v := be.Uint32(b[4:]); v {
	case 0:
		if len(b) < 48 {
			return nil, errors.New("THFT header cut off")
		}
		size = int(be.Uint32(b[16:]))
		f.Gpid = base.Gpid{AppID: int32(be.Uint32(b[24:])), PartitionIndex: int32(be.Uint32(b[28:]))}
		f.Timeout, f.Hash, f.header = int32(be.Uint32(b[32:])), be.Uint64(b[40:]), b[:48:48]
	case 1:
		f.Framing = THFT1
		head, size = 16+int(be.Uint32(b[8:])), int(be.Uint32(b[12:]))
		if head > len(b) {
			return nil, errors.New("THFT meta cut off")
		}
		r := tbin.NewReader(b[16:head])
		f.meta.ReadThrift(r)
		if err := r.Err(); err != nil {
			return nil, err
		}
		f.Gpid = base.Gpid{AppID: f.meta.AppId.V, PartitionIndex: f.meta.PartitionIndex.V}
		f.Timeout, f.Hash = f.meta.ClientTimeout.V, uint64(f.meta.ClientPartitionHash.V)
	default:
		return nil, fmt.Errorf("THFT version %d", v)
	}
	if head+size != len(b) {
		return nil, fmt.Errorf("THFT header says %d+%d bytes, there are %d", head, size, len(b))
	}
	return f, f.message(tbin.NewReader(b[head:]))
}

// message reads a strict Thrift message begin and takes the rest as body.
func (f *Frame) message(r *tbin.Reader) error {
	v := uint32(r.I32())
	f.Code, f.mtype = r.String(), uint16(v)
	f.ID = uint64(uint32(r.I32()))
	if err := r.Err(); err != nil {
		return fmt.Errorf("message begin: %w", err)
	}
	if v>>16 != 0x8001 {
		return fmt.Errorf("message begins with %08x", v)
	}
	f.Body = r.Rest()
	return nil
}

func cstring(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
