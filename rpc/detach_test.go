package rpc

import (
	"bytes"
	"testing"
)

// A request that is detached has its bytes to itself, charged to the budget until it is
// answered, and gives the shared buffer back; one that fills its buffer stays there.
func TestDetach(t *testing.T) {
	srv := NewServer(ServerOptions{MaxInFlightBytes: 16 << 20}, nil, nil, nil)
	from := srv.newOrigin()
	bud := &from.accounts[clients]
	shared := getBuf(2, bud)
	copy(shared.b, "headerbody")
	r := newRequest()
	r.conn = &serverConn{srv: srv, origin: from}
	r.buf, r.hdr, r.Body = shared, shared.b[:6:6], shared.b[6:10]
	shared.retain()
	r.Detach()
	if shared.refs.Load() != 1 || r.buf == shared || bud.used.Load() != 10 {
		t.Errorf("the shared buffer has %d references, %d bytes are charged", shared.refs.Load(), bud.used.Load())
	}
	copy(shared.b, "xxxxxxxxxxxxx")
	if !bytes.Equal(r.hdr, []byte("header")) || !bytes.Equal(r.Body, []byte("body")) {
		t.Errorf("%q %q after the shared buffer was written over", r.hdr, r.Body)
	}
	own := r.buf
	r.Detach()
	if r.buf != own {
		t.Error("it moved again")
	}
	if r.Crowded() || !r.TryReserve(4<<20) {
		t.Error("there is no memory for an answer")
	}
	if !r.Crowded() && r.TryReserve(1<<20) {
		t.Error("what is needed for the answer isn't counted")
	}
	if bud.used.Load() != 4<<20+10 {
		t.Errorf("%d bytes are charged", bud.used.Load())
	}
	r.finish()
	if bud.used.Load() != 0 {
		t.Errorf("%d bytes stay charged", bud.used.Load())
	}
	shared.release()
}
