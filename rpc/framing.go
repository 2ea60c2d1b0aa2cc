package rpc

import "pegasus/base"

// Framing is the way a message is wrapped. It is fixed for a connection but for the two
// versions of THFT, which may alternate on one.
type Framing uint8

// The framings. The zero value, the choice of Outgoing, is RDSN.
const (
	RDSN  Framing = iota // native: 192 bytes little-endian header, both directions
	THFT0                // THFT request header version 0 (48 bytes)
	THFT1                // THFT request header version 1 (16 bytes and a Thrift struct)
)

// Thrift tells whether f is one of the THFT versions.
func (f Framing) Thrift() bool { return f != RDSN }

// String names the framing as logs show it.
func (f Framing) String() string {
	switch f {
	case RDSN:
		return "RDSN"
	case THFT0:
		return "THFT v0"
	case THFT1:
		return "THFT v1"
	}
	return "unknown framing"
}

// HeaderError is an answer whose header carries an error. It unwraps to the code.
type HeaderError struct {
	Code   base.ErrorCode
	RPC    string          // name of the request
	Addr   string          // who answered
	Leader base.RPCAddress // with ERR_FORWARD_TO_OTHERS over RDSN: whom to ask, if told
}

func (e *HeaderError) Error() string {
	s := e.RPC + " to " + e.Addr + ": " + string(e.Code)
	if !e.Leader.IsZero() {
		s += " (" + e.Leader.String() + ")"
	}
	return s
}

// Unwrap returns the code.
func (e *HeaderError) Unwrap() error { return e.Code }
