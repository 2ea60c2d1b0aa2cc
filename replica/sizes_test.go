package replica

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strconv"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	idl "pegasus/gen/rrdb"
	"pegasus/pacifica"
	"pegasus/replica/admission"
	"pegasus/replica/wal"
)

// largest returns a message whose every number is as long as it can be.
func largest(es ...pacifica.Entry) int64 {
	m := &pacifica.Message{Type: pacifica.MsgPrepare, From: math.MaxUint64, To: math.MaxUint64, Ballot: math.MinInt64, Signature: math.MinInt64,
		Base: math.MinInt64, Prev: math.MinInt64, Commit: math.MinInt64, Last: math.MinInt64, Prepared: math.MinInt64, Entries: es}
	return int64(len(wireMessage{m}.AppendThrift(nil)))
}

// TestSizesFit: what one request may write fits into a mutation, and each mutation into a
// message and a record of the log, whatever the frame.
func TestSizesFit(t *testing.T) {
	entry := pacifica.Entry{Ballot: math.MinInt64, Decree: math.MinInt64, Timestamp: math.MinInt64}
	// Of a frame: headers, names, and the argument's envelope.
	const frameHeader = 1024
	around := largest(entry) + frameHeader
	perEntry := largest(entry, entry) - largest(entry)
	if perEntry > 64 {
		t.Errorf("an entry takes %d bytes beside its payload; a core counts 64", perEntry)
	}
	for _, frame := range []int64{0, 65536, 100_000, 1 << 20, 64 << 20, 1 << 30, math.MaxInt32} {
		z := admission.SizesOf(frame)
		if frame == 0 {
			frame = 64 << 20
		}
		if z.Write <= 0 || 2*z.Write > z.Entry-z.Entry/8 {
			t.Errorf("frame %d: two writes of %d bytes don't fit a mutation of %d", frame, z.Write, z.Entry)
		}
		if z.Entry > wal.MaxPayload {
			t.Errorf("frame %d: a mutation of %d bytes doesn't fit a record of the log", frame, z.Entry)
		}
		if z.Entry+around > frame {
			t.Errorf("frame %d: a message with %d bytes doesn't fit", frame, z.Entry+around)
		}
		// A core counts 64 bytes beside a payload; the log, the sizes of whose records bound what
		// comes from there, no less than this.
		const record = 34
		if n := z.Send + z.Send/record*max(0, perEntry-record) + around; n > frame {
			t.Errorf("frame %d: a message of small entries has %d bytes", frame, n)
		}
	}
	// The settings that servers begin with take what clients are allowed to send.
	if c := config.Default(); admission.SizesOf(c.RPC.MaxFrameBytes).Write < 16*c.Replica.MaxWriteBytes {
		t.Errorf("a write may take %d bytes, a request may have %d", admission.SizesOf(c.RPC.MaxFrameBytes).Write, c.Replica.MaxWriteBytes)
	}
}

func multiRemove(hashKey, rows int) *idl.MultiRemoveRequest {
	req := &idl.MultiRemoveRequest{HashKey: bytes.Repeat([]byte("h"), hashKey)}
	for i := range rows {
		req.SortKeys = append(req.SortKeys, []byte(strconv.Itoa(i)))
	}
	return req
}

// TestLargeWritesReachAllMembers: what isn't refused is on all members, however close to
// the bound it is; what is refused harms nobody.
func TestLargeWritesReachAllMembers(t *testing.T) {
	const frame = 256 << 10
	g := newGroupWith(t, 3, func(c *config.Config) { c.RPC.MaxFrameBytes, c.Replica.MaxWriteBytes = frame, 0; patient(c) })
	config, most := g.meta.config(g.gpid), g.nodes[0].srv.sizes.Write
	refused, taken := 0, 0
	for _, hashKey := range []int{100, 10_000, 60_000} {
		for rows := most/int64(hashKey+30) - 1; rows < most/int64(hashKey)+2; rows += max(1, most/int64(hashKey)/100) {
			var res idl.MultiRemoveResponse
			if err := g.call(0, base.RPCMultiRemove, multiRemove(hashKey, int(rows)), &res); err != nil {
				t.Fatalf("%d rows: %v", rows, err)
			}
			switch res.Error {
			case 0:
				taken++
			case 4: // invalid argument: clients don't repeat it
				refused++
			default:
				t.Errorf("%d rows: code %d", rows, res.Error)
			}
		}
	}
	if refused == 0 || taken == 0 {
		t.Errorf("%d were taken, %d refused", taken, refused)
	}
	g.same(0, 1, 2)
	if c := g.meta.config(g.gpid); c.Ballot != config.Ballot {
		t.Errorf("the configuration went from %+v to %+v", config, c)
	}
}

// TestAmplifiedWrite: a request that would become a thousand times as large is refused at
// once, and the group stays as it is. Requests that come together don't add up either.
func TestAmplifiedWrite(t *testing.T) {
	g := newGroupWith(t, 3, func(c *config.Config) {
		c.RPC.MaxFrameBytes = 4 << 20
		patient(c)
	})
	g.mustPut(0, "a", "1")
	before := g.meta.config(g.gpid)
	for _, rows := range []int{30, 1100, 60_000} {
		var res idl.MultiRemoveResponse
		if err := g.call(0, base.RPCMultiRemove, multiRemove(65_000, rows), &res); err != nil || res.Error != 4 {
			t.Errorf("%d rows: %v, code %d", rows, err, res.Error)
		}
	}
	// Each of these is allowed.
	done := make(chan error, 20)
	for range cap(done) {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var res idl.MultiRemoveResponse
			err := g.callWith(ctx, 0, base.RPCMultiRemove, multiRemove(60_000, 20), &res)
			if err == nil && res.Error != 0 {
				err = errors.New("refused")
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil && base.CodeOf(err) != base.ErrCapacityExceeded {
			t.Error(err)
		}
	}
	until(t, "writes are taken", func() bool { return g.put(0, "b", "1") == nil })
	g.same(0, 1, 2)
	if c := g.meta.config(g.gpid); c.Ballot != before.Ballot {
		t.Errorf("the configuration went from %+v to %+v", before, c)
	}
}
