package replica

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pegasus/pacifica"
)

func sampleMessages() []pacifica.Message {
	return []pacifica.Message{
		{Type: pacifica.MsgPrepare, From: 1, To: 2, Ballot: 3, Role: pacifica.Secondary, Base: 4, Prev: 5, Commit: 5, Last: 7, Entries: []pacifica.Entry{
			{Ballot: 3, Decree: 6, Timestamp: 99, Payload: []byte("x")}, {Ballot: 3, Decree: 7, Timestamp: 100, Payload: []byte{}}}},
		{Type: pacifica.MsgPrepare, From: 0x7f00000187f10001, To: 2, Ballot: 3, Role: pacifica.Learner, Signature: 3<<32 + 1, Prev: -1},
		{Type: pacifica.MsgAck, From: 2, To: 1, Ballot: 3, Role: pacifica.Secondary, Prepared: 7, Commit: 6, Gap: true},
		{Type: pacifica.MsgAck, From: 2, To: 1, Ballot: 4, Reject: true, Busy: true},
		{Type: pacifica.MsgSnapshot, From: 1, To: 2, Ballot: 3, Role: pacifica.Learner, Signature: 1},
		{Type: pacifica.MsgSnapshot, From: 1, To: 2, Ballot: 3, Role: pacifica.Learner, Signature: 1, Prev: 7, Tip: 1 << 50},
		{Type: pacifica.MsgAck, From: 2, To: 1, Ballot: 3, Role: pacifica.Learner, Prepared: 7, Commit: 6, Tip: 99},
	}
}

func TestMessageRoundTrip(t *testing.T) {
	for _, m := range sampleMessages() {
		got, err := decodeMessage(wireMessage{&m}.AppendThrift(nil))
		if err != nil {
			t.Fatalf("%v: %v", m, err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("got  %+v\nwant %+v", got, m)
		}
	}
}

func TestMessageIsCopied(t *testing.T) {
	m := sampleMessages()[0]
	b := wireMessage{&m}.AppendThrift(nil)
	got, err := decodeMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if string(got.Entries[0].Payload) != "x" {
		t.Error("the payload changed with the frame")
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range sampleMessages() {
		f.Add(wireMessage{&m}.AppendThrift(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMessage(b)
		if err != nil {
			if !errors.Is(err, errMessage) {
				t.Fatalf("error without its sentinel: %v", err)
			}
			return
		}
		again, err := decodeMessage(wireMessage{&m}.AppendThrift(nil))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("decoded again: %+v, %v; first %+v", again, err, m)
		}
	})
}

func TestPayloadOf(t *testing.T) {
	if got := payloadOf([]byte{12, 0, 0, 'a', 'b', 0}); !bytes.Equal(got, []byte("ab")) {
		t.Errorf("got %q", got)
	}
	if got := payloadOf([]byte{0}); got != nil {
		t.Errorf("got %q of a body without a value", got)
	}
}
