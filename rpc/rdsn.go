package rpc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"pegasus/base"
	"pegasus/base/tbin"
)

// The native header: 192 bytes, little-endian, src/rpc/rpc_message.h upstream.
const (
	rdsnHeader  = 192
	rdsnNameLen = 48 // of the NUL-terminated names

	rdsnOffLength    = 8
	rdsnOffHeaderCRC = 12
	rdsnOffBodyLen   = 16
	rdsnOffBodyCRC   = 20
	rdsnOffID        = 24
	rdsnOffTrace     = 32
	rdsnOffName      = 40
	rdsnOffCode      = 88
	rdsnOffApp       = 96
	rdsnOffPartition = 100
	rdsnOffContext   = 104
	rdsnOffFrom      = 112
	rdsnOffTimeout   = 120
	rdsnOffThread    = 124
	rdsnOffHash      = 128
	rdsnOffError     = 136
	rdsnOffErrorCode = 184

	ctxRequest          = 1 << 0
	ctxForwarded        = 1 << 1
	ctxThriftBinary     = 1 << 6
	ctxForwardSupported = 1 << 10
	ctxBackup           = 1 << 11
	ctxTrace            = 1 << 63 // ours, where upstream has none: the trace id is that of a trace
)

var (
	magicRDSN  = []byte("RDSN")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	zeros4     [4]byte
)

// rdsnFrameLen returns the length of the frame that b begins with, 0 if b is shorter than
// a header.
func rdsnFrameLen(b []byte) (int64, error) {
	if len(b) < rdsnHeader {
		return 0, nil
	}
	if !bytes.Equal(b[:4], magicRDSN) {
		return 0, badFrame("bad magic %q on an RDSN connection", b[:4])
	}
	return rdsnHeader + int64(binary.LittleEndian.Uint32(b[rdsnOffBodyLen:])), nil
}

// checkRDSN checks the checksums of a whole frame. Zero means that there is none.
func checkRDSN(f []byte) error {
	le := binary.LittleEndian
	if want := le.Uint32(f[rdsnOffHeaderCRC:]); want != 0 {
		sum := crc32.Update(0, castagnoli, f[:rdsnOffHeaderCRC])
		sum = crc32.Update(sum, castagnoli, zeros4[:])
		if sum = crc32.Update(sum, castagnoli, f[rdsnOffBodyLen:rdsnHeader]); sum != want {
			return badFrame("header checksum is %08x, should be %08x", sum, want)
		}
	}
	if want := le.Uint32(f[rdsnOffBodyCRC:]); want != 0 {
		if sum := crc32.Checksum(f[rdsnHeader:], castagnoli); sum != want {
			return badFrame("body checksum is %08x, should be %08x", sum, want)
		}
	}
	return nil
}

// cString returns the bytes before the first NUL of a fixed-size name field.
func cString(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b[:len(b)-1]
}

// parseRDSNRequest fills r from a whole frame, of which r keeps slices.
func parseRDSNRequest(r *Request, f []byte) error {
	if err := checkRDSN(f); err != nil {
		return err
	}
	le := binary.LittleEndian
	ctx := le.Uint64(f[rdsnOffContext:])
	if ctx&ctxRequest == 0 {
		return badFrame("RDSN message is not a request")
	}
	r.Framing = RDSN
	r.hdr = f[:rdsnHeader:rdsnHeader]
	r.Code, r.known = internCode(cString(f[rdsnOffName : rdsnOffName+rdsnNameLen]))
	r.Gpid = base.Gpid{
		AppID:          int32(le.Uint32(f[rdsnOffApp:])),
		PartitionIndex: int32(le.Uint32(f[rdsnOffPartition:])),
	}
	r.IsBackup = ctx&ctxBackup != 0
	r.Forwarded = ctx&ctxForwarded != 0
	if ctx&ctxTrace != 0 {
		r.Trace = le.Uint64(f[rdsnOffTrace:])
	}
	r.FromAddress = base.RPCAddress(le.Uint64(f[rdsnOffFrom:]))
	r.TimeoutMS = int32(le.Uint32(f[rdsnOffTimeout:]))
	r.ThreadHash = int32(le.Uint32(f[rdsnOffThread:]))
	r.PartitionHash = le.Uint64(f[rdsnOffHash:])
	r.Body = f[rdsnHeader:]
	return nil
}

// appendRDSNResponse appends the header of an answer to r: the request's, as an answer. The
// body length is filled in by endRDSN.
func appendRDSNResponse(b []byte, r *Request, code base.ErrorCode, from base.RPCAddress) []byte {
	at := len(b)
	b = append(b, r.hdr...)
	h := b[at:]
	le := binary.LittleEndian
	clear(h[rdsnOffHeaderCRC:rdsnOffID])
	clear(h[rdsnOffName:rdsnOffApp])
	putName(h[rdsnOffName:rdsnOffName+rdsnNameLen], r.Code, ackSuffix)
	le.PutUint64(h[rdsnOffContext:], le.Uint64(h[rdsnOffContext:])&^ctxRequest)
	le.PutUint64(h[rdsnOffFrom:], uint64(from))
	clear(h[rdsnOffError:])
	putName(h[rdsnOffError:rdsnOffError+rdsnNameLen], string(code), "")
	return b
}

// who returns what the sender of a request says of itself: it stands where an answer has its error.
func (r *Request) who() string {
	if r.Framing != RDSN || len(r.hdr) < rdsnHeader {
		return ""
	}
	b := cString(r.hdr[rdsnOffError : rdsnOffError+rdsnNameLen])
	for _, c := range b {
		if c < ' ' || c > '~' {
			return ""
		}
	}
	return string(b)
}

// putName writes a NUL-terminated name into a field that is all zero, cut to fit.
func putName(field []byte, name, suffix string) {
	n := copy(field[:maxCodeName], name)
	copy(field[n:maxCodeName], suffix)
}

// endRDSN fills in the body length of the frame that begins at b[at].
func endRDSN(b []byte, at int) {
	binary.LittleEndian.PutUint32(b[at+rdsnOffBodyLen:], uint32(len(b)-at-rdsnHeader))
}

// appendRDSNRequest appends a whole request frame.
func appendRDSNRequest(b []byte, id uint64, o *Outgoing) []byte {
	at := len(b)
	var zero [rdsnHeader]byte
	b = append(b, zero[:]...)
	h := b[at:]
	le := binary.LittleEndian
	copy(h, magicRDSN)
	le.PutUint32(h[rdsnOffLength:], rdsnHeader)
	le.PutUint64(h[rdsnOffID:], id)
	le.PutUint64(h[rdsnOffTrace:], id)
	putName(h[rdsnOffName:rdsnOffName+rdsnNameLen], o.Code, "")
	le.PutUint32(h[rdsnOffApp:], uint32(o.Gpid.AppID))
	le.PutUint32(h[rdsnOffPartition:], uint32(o.Gpid.PartitionIndex))
	ctx := uint64(ctxRequest | ctxThriftBinary | ctxForwardSupported)
	if o.IsBackup {
		ctx |= ctxBackup
	}
	if o.Trace != 0 {
		ctx |= ctxTrace
		le.PutUint64(h[rdsnOffTrace:], o.Trace)
	}
	le.PutUint64(h[rdsnOffContext:], ctx)
	le.PutUint64(h[rdsnOffFrom:], uint64(o.From))
	le.PutUint32(h[rdsnOffTimeout:], uint32(o.TimeoutMS))
	le.PutUint32(h[rdsnOffThread:], uint32(o.Gpid.ThreadHash()))
	le.PutUint64(h[rdsnOffHash:], o.PartitionHash)
	if o.Who != "" {
		putName(h[rdsnOffError:rdsnOffError+rdsnNameLen], o.Who, "")
	}
	b = appendOutgoingBody(b, o, 0)
	endRDSN(b, at)
	return b
}

func appendOutgoingBody(b []byte, o *Outgoing, id int16) []byte {
	switch {
	case o.Arg != nil:
		return AppendBodyOf(b, o.ArgType, id, o.Arg)
	case o.Body != nil:
		return append(b, o.Body...)
	}
	return tbin.AppendStop(b)
}

// response is an answer as the client side parses it.
type response struct {
	id   uint64
	code base.ErrorCode
	body []byte // slice of the frame; empty: none
}

// parseRDSNResponse parses a whole frame.
func parseRDSNResponse(f []byte) (response, error) {
	if err := checkRDSN(f); err != nil {
		return response{}, err
	}
	le := binary.LittleEndian
	if le.Uint64(f[rdsnOffContext:])&ctxRequest != 0 {
		return response{}, badFrame("RDSN request instead of an answer")
	}
	code := base.InternErrorCode(cString(f[rdsnOffError : rdsnOffError+rdsnNameLen]))
	if code == "" {
		code = base.ErrUnknown
	}
	return response{le.Uint64(f[rdsnOffID:]), code, f[rdsnHeader:]}, nil
}

// frameError is a message that breaks the rules of its framing. Its connection is closed.
type frameError struct{ msg string }

func (e *frameError) Error() string { return e.msg }

func badFrame(format string, args ...any) error {
	return &frameError{fmt.Sprintf(format, args...)}
}
