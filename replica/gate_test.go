package replica

import (
	"testing"

	"pegasus/base"
	"pegasus/pacifica"
	"pegasus/rpc"
)

// BenchmarkGate is finding a request's replica, and both halves of a read's gate.
func BenchmarkGate(b *testing.B) {
	g := newGroup(b, 1)
	s := g.nodes[0].srv
	req := &rpc.Request{Code: base.RPCGet, Gpid: g.gpid}
	b.ReportAllocs()
	for b.Loop() {
		r := s.replica(req.Gpid)
		if code := s.gate.mayRead(r, req, r.admission.Rules.Load()); code != "ERR_OK" || !s.gate.mayAnswer(r) {
			b.Fatal(code)
		}
	}
}

// BenchmarkMessage is a prepare of 1 KB as it is encoded and decoded between servers.
func BenchmarkMessage(b *testing.B) {
	m := sampleMessage()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = wireMessage{&m}.AppendThrift(buf[:0])
		got, err := decodeMessage(buf)
		if err != nil || len(got.Entries) != 1 {
			b.Fatal(err)
		}
		keepEntries(got.Entries)
	}
}

func sampleMessage() pacifica.Message {
	return pacifica.Message{Type: pacifica.MsgPrepare, From: 1, To: 2, Ballot: 3, Role: pacifica.Secondary, Prev: 9, Commit: 8, Last: 10,
		Entries: []pacifica.Entry{{Ballot: 3, Decree: 10, Timestamp: 1, Payload: make([]byte, 1024)}}}
}
