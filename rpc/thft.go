package rpc

import (
	"bytes"
	"encoding/binary"

	"pegasus/base"
	"pegasus/base/tbin"
)

// THFT frames: requests have a header of version 0 or 1 before a Thrift message; responses
// have none but a length and the name of an error. All integers are big-endian.
// src/rpc/thrift_message_parser.cpp upstream.
const (
	thftHeader0 = 48
	thftHeader1 = 16

	thriftVersion1 = 0x80010000
	thriftVersion  = 0xffff0000
	mtypeCall      = 1
	mtypeReply     = 2
	mtypeOneWay    = 4

	thftMinResponse = 4 + 4 + 4 + 4 + 4 // length, error name, message begin without names
)

var magicTHFT = []byte("THFT")

// thftFrameLen returns the length of the request that b begins with, 0 if b is shorter
// than a header.
func thftFrameLen(b []byte) (int64, error) {
	if len(b) < thftHeader1 {
		return 0, nil
	}
	if !bytes.Equal(b[:4], magicTHFT) {
		return 0, badFrame("bad magic %q on a THFT connection", b[:4])
	}
	be := binary.BigEndian
	switch v := be.Uint32(b[4:]); v {
	case 0:
		if n := be.Uint32(b[8:]); n != thftHeader0 {
			return 0, badFrame("THFT v0 header length %d", n)
		}
		if len(b) < thftHeader0 {
			return 0, nil
		}
		return thftHeader0 + int64(be.Uint32(b[16:])), nil
	case 1:
		return thftHeader1 + int64(be.Uint32(b[8:])) + int64(be.Uint32(b[12:])), nil
	default:
		return 0, badFrame("THFT header version %d", v)
	}
}

// parseTHFTRequest fills r from a whole frame, of which r keeps slices.
func parseTHFTRequest(r *Request, f []byte) error {
	be := binary.BigEndian
	var body []byte
	if be.Uint32(f[4:]) == 0 {
		r.Framing = THFT0
		r.Gpid = base.Gpid{AppID: int32(be.Uint32(f[24:])), PartitionIndex: int32(be.Uint32(f[28:]))}
		r.TimeoutMS = int32(be.Uint32(f[32:]))
		r.ThreadHash = int32(be.Uint32(f[36:]))
		r.PartitionHash = be.Uint64(f[40:])
		body = f[thftHeader0:]
	} else {
		r.Framing = THFT1
		meta := thftHeader1 + int(be.Uint32(f[8:]))
		if err := parseTHFTMeta(r, f[thftHeader1:meta:meta]); err != nil {
			return err
		}
		body = f[meta:]
	}
	name, mtype, seq, body, ok := messageBegin(body)
	switch {
	case !ok:
		return badFrame("THFT body doesn't start with a Thrift message")
	case mtype != mtypeCall && mtype != mtypeOneWay:
		return badFrame("THFT request with message type %d", mtype)
	}
	if len(name) > maxCodeName {
		name = name[:maxCodeName]
	}
	r.Code, r.known = internCode(name)
	r.seq = seq
	r.Body = body
	return nil
}

// parseTHFTMeta reads the struct of a version 1 header (src/rpc/request_meta.thrift).
func parseTHFTMeta(r *Request, meta []byte) error {
	rd := &r.rd
	rd.Reset(meta)
	for {
		t, id := rd.Field()
		switch {
		case t == tbin.Stop:
			if err := rd.Err(); err != nil {
				return badFrame("THFT v1 header: %v", err)
			}
			r.ThreadHash = r.Gpid.ThreadHash()
			return nil
		case id == 1 && t == tbin.I32:
			r.Gpid.AppID = rd.I32()
		case id == 2 && t == tbin.I32:
			r.Gpid.PartitionIndex = rd.I32()
		case id == 3 && t == tbin.I32:
			r.TimeoutMS = rd.I32()
		case id == 4 && t == tbin.I64:
			r.PartitionHash = uint64(rd.I64())
		case id == 5 && t == tbin.Bool:
			r.IsBackup = rd.Bool()
		default:
			rd.Skip(t)
		}
	}
}

// messageBegin reads the head of a Thrift message, in its strict form (version word first)
// or the old one (name first), and returns what follows.
func messageBegin(b []byte) (name []byte, mtype byte, seq int32, rest []byte, ok bool) {
	be := binary.BigEndian
	if len(b) < 4 {
		return
	}
	v := be.Uint32(b)
	strict := v&(1<<31) != 0
	if strict {
		if v&thriftVersion != thriftVersion1 || len(b) < 8 {
			return
		}
		mtype = byte(v)
		b = b[4:]
	}
	n := int64(be.Uint32(b))
	b = b[4:]
	tail := int64(4)
	if !strict {
		tail = 5
	}
	if n+tail > int64(len(b)) {
		return
	}
	name, b = b[:n], b[n:]
	if !strict {
		mtype, b = b[0], b[1:]
	}
	return name, mtype, int32(be.Uint32(b)), b[4:], true
}

// appendTHFTResponse appends an answer to r up to its body. The length is filled in by
// endTHFT.
func appendTHFTResponse(b []byte, r *Request, code base.ErrorCode) []byte {
	b = append(b, 0, 0, 0, 0)
	b = tbin.AppendString(b, string(code))
	b = binary.BigEndian.AppendUint32(b, thriftVersion1|mtypeReply)
	if r.known != nil {
		b = tbin.AppendString(b, r.known.ack)
	} else {
		b = tbin.AppendI32(b, int32(len(r.Code)+len(ackSuffix)))
		b = append(b, r.Code...)
		b = append(b, ackSuffix...)
	}
	return tbin.AppendI32(b, r.seq)
}

// endTHFT fills in the length of the answer that begins at b[at].
func endTHFT(b []byte, at int) {
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at))
}

// appendTHFTRequest appends a whole request frame.
func appendTHFTRequest(b []byte, id uint64, o *Outgoing) []byte {
	be := binary.BigEndian
	at := len(b)
	b = append(b, magicTHFT...)
	var lenAt, bodyAt int
	if o.Framing == THFT0 {
		b = be.AppendUint32(b, 0)
		b = be.AppendUint32(b, thftHeader0)
		b = be.AppendUint32(b, 0)
		lenAt = len(b)
		b = be.AppendUint64(b, 0) // body length, checksum
		b = be.AppendUint32(b, uint32(o.Gpid.AppID))
		b = be.AppendUint32(b, uint32(o.Gpid.PartitionIndex))
		b = be.AppendUint32(b, uint32(o.TimeoutMS))
		b = be.AppendUint32(b, uint32(o.Gpid.ThreadHash()))
		b = be.AppendUint64(b, o.PartitionHash)
	} else {
		b = be.AppendUint32(b, 1)
		b = be.AppendUint64(b, 0) // meta length, body length
		b = tbin.AppendI32(tbin.AppendField(b, tbin.I32, 1), o.Gpid.AppID)
		b = tbin.AppendI32(tbin.AppendField(b, tbin.I32, 2), o.Gpid.PartitionIndex)
		b = tbin.AppendI32(tbin.AppendField(b, tbin.I32, 3), o.TimeoutMS)
		b = tbin.AppendI64(tbin.AppendField(b, tbin.I64, 4), int64(o.PartitionHash))
		b = tbin.AppendBool(tbin.AppendField(b, tbin.Bool, 5), o.IsBackup)
		b = tbin.AppendStop(b)
		be.PutUint32(b[at+8:], uint32(len(b)-at-thftHeader1))
		lenAt = at + 12
	}
	bodyAt = len(b)
	mtype := uint32(mtypeCall)
	if o.OneWay {
		mtype = mtypeOneWay
	}
	b = be.AppendUint32(b, thriftVersion1|mtype)
	b = tbin.AppendString(b, o.Code)
	b = tbin.AppendI32(b, int32(uint32(id)))
	b = appendOutgoingBody(b, o, 1)
	be.PutUint32(b[lenAt:], uint32(len(b)-bodyAt))
	return b
}

// thftResponseLen returns the length of the answer that b begins with, 0 if b is too short
// to tell.
func thftResponseLen(b []byte) (int64, error) {
	if len(b) < 4 {
		return 0, nil
	}
	n := int64(int32(binary.BigEndian.Uint32(b)))
	if n < thftMinResponse {
		return 0, badFrame("THFT answer of length %d", n)
	}
	return n, nil
}

// parseTHFTResponse parses a whole answer.
func parseTHFTResponse(f []byte) (response, error) {
	be := binary.BigEndian
	f = f[4:]
	n := int64(be.Uint32(f))
	if n > int64(len(f)-4) {
		return response{}, badFrame("THFT answer whose error name has %d bytes", n)
	}
	code := base.InternErrorCode(f[4 : 4+n])
	if code == "" {
		code = base.ErrUnknown
	}
	_, mtype, seq, body, ok := messageBegin(f[4+n:])
	if !ok || mtype != mtypeReply {
		return response{}, badFrame("THFT answer is not a Thrift reply")
	}
	return response{uint64(uint32(seq)), code, body}, nil
}
