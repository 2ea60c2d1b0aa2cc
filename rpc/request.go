package rpc

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
)

// Request is one message that wants an answer. It is valid until it is answered by
// exactly one of the Reply methods or Drop; these may be called from any goroutine, also
// after the connection died (then they only release what the request holds).
type Request struct {
	Code          string // RPC name, for example "RPC_RRDB_RRDB_GET"
	Gpid          base.Gpid
	Listing       base.Listing // by how many partitions the client goes; set by who knows that the table's id says it
	PartitionHash uint64
	TimeoutMS     int32 // what the client said; nothing here acts on it
	ThreadHash    int32
	IsBackup      bool // is_backup_request: may be answered by a secondary
	Forwarded     bool // RDSN only: relayed by another server
	Framing       Framing
	Remote        netip.AddrPort  // the socket's peer
	FromAddress   base.RPCAddress // RDSN: who asks, as it says; 0 otherwise
	// Trace, unless it is 0, is the id under which the sender wants to know when was done what.
	Trace uint64
	// Body is the pseudo field header, the value and STOP. It is a slice of the read
	// buffer: who keeps a part of it beyond the answer copies it.
	Body []byte

	conn  *serverConn
	buf   *readBuf // what Body and hdr lie in
	hdr   []byte   // RDSN: the request's header
	seq   int32    // THFT: the message's sequence number
	held  int64    // counted for the answer, see Reserve
	known *knownCode
	// exempt: the answer grows without regard to the budget.
	exempt bool
	rd     tbin.Reader
	// state is a count of uses, which a recycled Request continues, and in bit 0 whether
	// this use has been answered.
	state atomic.Uint64
}

var requestPool = sync.Pool{New: func() any { return new(Request) }}

// newRequest returns an empty Request.
func newRequest() *Request {
	r := requestPool.Get().(*Request)
	r.state.Store((r.state.Load() | 1) + 1)
	return r
}

// recycle gives r back. Its use must be marked answered, or never have begun.
func (r *Request) recycle() {
	r.Code, r.Body, r.hdr, r.conn, r.buf, r.known = "", nil, nil, nil, nil, nil
	r.Gpid, r.Listing, r.PartitionHash, r.TimeoutMS, r.ThreadHash = base.Gpid{}, 0, 0, 0, 0
	r.IsBackup, r.Forwarded, r.FromAddress, r.Trace, r.seq = false, false, 0, 0, 0
	r.rd.Reset(nil)
	requestPool.Put(r)
}

// Connected returns when r's connection came, to a second or so.
func (r *Request) Connected() time.Time {
	return time.Now().Add(-time.Duration(r.conn.srv.clock.Load()-r.conn.began) * time.Millisecond)
}

// Asker names who sent r, for the log: the peer's address, and what it says of itself if it does. Nobody
// has checked that.
func (r *Request) Asker() string {
	s := r.Remote.String()
	if who := r.who(); who != "" {
		s += " (" + who + ")"
	}
	return s
}

// Note returns what is remembered of r's connection under key as long as it lasts: fresh, if nothing is yet.
func (r *Request) Note(key, fresh any) any {
	v, _ := r.conn.notes.LoadOrStore(key, fresh)
	return v
}

// Noted returns what Note has remembered under key, nil if nothing.
func (r *Request) Noted(key any) any {
	v, _ := r.conn.notes.Load(key)
	return v
}

// Go runs f, which answers r, on a goroutine of its own. If it panics, that ends in an answer, as
// in a Handler, and not in the end of the process.
func (r *Request) Go(f func()) {
	c, use := r.conn, r.state.Load()
	go func() {
		defer c.caught(r, use)
		f()
	}()
}

// Guard is Go on the goroutine that calls it, for requests that were put aside.
func (r *Request) Guard(f func()) {
	defer r.conn.caught(r, r.state.Load())
	f()
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
func (r *Request) Reply(res tbin.Encoder) {
	r.answer(answer{code: base.ErrOK, typ: tbin.Struct, val: res})
}

// ReplyString answers ERR_OK with a bare string, as RPC_CLI_CLI_CALL does.
func (r *Request) ReplyString(s string) {
	r.answer(answer{code: base.ErrOK, typ: tbin.String, val: Str(s)})
}

// ReplyBody answers with a body that is already in its final form (see AppendBody), for
// example one that another server gave. An empty body with ERR_OK is sent as ERR_UNKNOWN.
func (r *Request) ReplyBody(code base.ErrorCode, body []byte) {
	r.answer(answer{code: code, raw: body})
}

// ReplyError answers with an error in the header and no body. Over THFT a code that some
// published client can't decode is replaced (base.ErrorCode.ForClient).
func (r *Request) ReplyError(code base.ErrorCode) { r.answer(answer{code: code}) }

// Refuse is ReplyError for input that a correct client doesn't send, or hardly ever: why it is
// refused also goes to the server's log.
func (r *Request) Refuse(code base.ErrorCode, why error) {
	r.Complain(why)
	r.ReplyError(code)
}

// Complain writes to the server's log, at a limited rate, what is wrong with a request that
// is not answered yet.
func (r *Request) Complain(why error) {
	r.conn.srv.complaints.warnf("refused %s for %v from %v: %v", r.Code, r.Gpid, r.Remote, why)
}

// ReplyErrorWith is ReplyError with a body behind the header.
func (r *Request) ReplyErrorWith(code base.ErrorCode, res tbin.Encoder) {
	r.answer(answer{code: code, typ: tbin.Struct, val: res})
}

// Drop gives the request up: no answer is sent.
func (r *Request) Drop() {
	if r.claim() {
		r.conn.drop()
		r.finish()
	}
}

// answer is what a request is answered with; the body is val, or raw, or absent.
type answer struct {
	code base.ErrorCode
	typ  tbin.Type
	val  tbin.Encoder
	raw  []byte
}

// claim marks r answered. A second answer is a bug of a handler; as long as the Request
// wasn't used again it is seen, and ignored.
func (r *Request) claim() bool {
	st := r.state.Load()
	return st&1 == 0 && r.state.CompareAndSwap(st, st|1)
}

func (r *Request) answer(a answer) { r.answerIn(nil, a) }

func (r *Request) answerIn(b *Burst, a answer) {
	if r.claim() {
		if a.code != base.ErrOK && r.conn.srv.hooks.onError != nil {
			r.conn.srv.hooks.onError(r, a.code)
		}
		r.conn.reply(r, &a, b)
		r.finish()
	}
}

// finish releases what r holds after the answer.
func (r *Request) finish() {
	if r.held != 0 || r.exempt {
		r.Withdraw()
	}
	r.buf.release()
	r.recycle()
}

// appendAnswer appends the frame that answers r with a. If a's value panics, or the frame
// is longer than maxFrame, the answer is an error instead, told in problem.
func appendAnswer(b []byte, r *Request, a *answer, from base.RPCAddress, maxFrame int64) (out []byte, problem any) {
	at := len(b)
	defer func() {
		if p := recover(); p != nil {
			out, problem = appendFrame(b[:at], r, &answer{code: base.ErrUnknown}, from), p
		}
	}()
	if a.code == "" || a.code == base.ErrOK && a.val == nil && len(a.raw) == 0 {
		// Published clients die of ERR_OK without a body.
		a = &answer{code: base.ErrUnknown}
	}
	out = appendFrame(b, r, a, from)
	if n := int64(len(out) - at); n > maxFrame {
		return appendFrame(out[:at], r, &answer{code: base.ErrCapacityExceeded}, from), tooLong(n)
	}
	return out, nil
}

type tooLong int64

func appendFrame(b []byte, r *Request, a *answer, from base.RPCAddress) []byte {
	at := len(b)
	if r.Framing == RDSN {
		b = appendRDSNResponse(b, r, a.code, from)
	} else {
		code := a.code
		if code != base.ErrOK {
			code = code.ForClient()
			if code == base.ErrParentPartitionMisused && r.Framing == THFT0 && r.TimeoutMS == 0 {
				// pypegasus3 says no timeout, doesn't know this code, and breaks off the connection. Those who say one know it, and
				// the Go client does the right thing with it only: with the other it repeats the call until it times out.
				code = base.ErrInvalidState
			}
		}
		b = appendTHFTResponse(b, r, code)
	}
	switch {
	case a.val != nil:
		b = AppendBodyOf(b, a.typ, 0, a.val)
	default:
		b = append(b, a.raw...)
	}
	if r.Framing == RDSN {
		endRDSN(b, at)
	} else {
		endTHFT(b, at)
	}
	return b
}
