package rpc

import (
	"net/netip"

	"pegasus/base"
	"pegasus/base/tbin"
)

// Request is one message that wants an answer. It is valid until it is answered by
// exactly one of the Reply methods or Drop; these may be called from any goroutine, also
// after the connection died (then they only release what the request holds).
type Request struct {
	Code          string // RPC name, for example "RPC_RRDB_RRDB_GET"
	Gpid          base.Gpid
	PartitionHash uint64
	TimeoutMS     int32 // what the client said; nothing here acts on it
	ThreadHash    int32
	IsBackup      bool // is_backup_request: may be answered by a secondary
	Forwarded     bool // RDSN only: relayed by another server
	Framing       Framing
	Remote        netip.AddrPort  // the socket's peer
	FromAddress   base.RPCAddress // RDSN: who asks, as it says; 0 otherwise
	// Body is the pseudo field header, the value and STOP. It is a slice of the read
	// buffer: who keeps a part of it beyond the answer copies it.
	Body []byte

	known *knownCode
	rd    tbin.Reader
}

// DecodeArg reads the argument into d; byte strings in d may alias Body. The error wraps
// base.ErrInvalidData.
func (r *Request) DecodeArg(d tbin.Decoder) error {
	r.rd.Reset(r.Body)
	return decodeBody(&r.rd, d)
}

// ArgReader returns a Reader positioned at the argument's value.
func (r *Request) ArgReader() tbin.Reader {
	var rd tbin.Reader
	rd.Reset(r.Body)
	if t, _ := rd.Field(); t == tbin.Stop {
		rd.Fail(base.ErrInvalidData)
	}
	return rd
}

// Reply answers ERR_OK with res.
func (r *Request) Reply(res tbin.Encoder) {}

// ReplyString answers ERR_OK with a bare string, as RPC_CLI_CLI_CALL does.
func (r *Request) ReplyString(s string) {}

// ReplyBody answers with a body that is already in its final form (see AppendBody), for
// example one that another server gave. An empty body with ERR_OK is sent as ERR_UNKNOWN.
func (r *Request) ReplyBody(code base.ErrorCode, body []byte) {}

// ReplyError answers with an error in the header and no body. Over THFT a code that some
// published client can't decode is replaced (base.ErrorCode.ForClient).
func (r *Request) ReplyError(code base.ErrorCode) {}

// ReplyErrorWith is ReplyError with a body behind the header.
func (r *Request) ReplyErrorWith(code base.ErrorCode, res tbin.Encoder) {}

// Drop gives the request up: no answer is sent.
func (r *Request) Drop() {}
