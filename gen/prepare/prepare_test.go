package prepare_test

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/metadata"
	"pegasus/gen/prepare"
)

var mutation = prepare.Mutation{
	Pid: base.Gpid{AppID: 2, PartitionIndex: 3}, Ballot: 4, Decree: 5, LogOffset: 6,
	LastCommittedDecree: 4, Timestamp: 0x0102030405060708,
	Updates: []prepare.Update{
		{Code: "A", Serialization: prepare.Serialization, Data: []byte("xyz")},
		{Code: prepare.WriteEmpty, Serialization: prepare.Serialization, Data: []byte{}},
	},
}

const mutationHex = "0000000000000000 02000000 03000000 0400000000000000 0500000000000000" +
	"0600000000000000 0400000000000000 0807060504030201 02000000" +
	"01000000 41 01000000 03000000" +
	"1b000000 5250435f5245504c49434154494f4e5f57524954455f454d505459 01000000 00000000" +
	"78797a"

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestMutation pins the packed layout, and that mutations may follow one another.
func TestMutation(t *testing.T) {
	want := unhex(t, mutationHex)
	if got := mutation.AppendThrift(nil); !bytes.Equal(got, want) {
		t.Fatalf("encodes to\n%x, want\n%x", got, want)
	}
	frame := append(bytes.Clone(want), want...)
	r := tbin.NewReader(frame)
	for i := range 2 {
		var m prepare.Mutation
		m.ReadThrift(r)
		if r.Err() != nil || !reflect.DeepEqual(m, mutation) {
			t.Errorf("mutation %d: %v, %+v", i, r.Err(), m)
		}
	}
	if r.Len() != 0 {
		t.Errorf("%d bytes left", r.Len())
	}
	for n := range len(want) {
		r := tbin.NewReader(want[:n])
		if new(prepare.Mutation).ReadThrift(r); r.Err() == nil {
			t.Fatalf("cut to %d of %d bytes it still decodes", n, len(want))
		}
	}
}

// TestBody: gpid and configuration are pseudo structs of their own before the mutation.
func TestBody(t *testing.T) {
	b := prepare.Body{Pid: mutation.Pid, Mutation: mutation, Config: metadata.ReplicaConfiguration{
		Pid: mutation.Pid, Ballot: 4, Primary: 0x7f00000187f10001, Status: metadata.PS_SECONDARY}}
	want := unhex(t, "0c0000 0000000300000002 00 0c0000"+
		"0c0001 0000000300000002 0a0002 0000000000000004 0c0003 7f00000187f10001"+
		"080004 00000004 0a0005 0000000000000000 00 00"+mutationHex)
	got := b.AppendThrift(nil)
	if !bytes.Equal(got, want) {
		t.Fatalf("encodes to\n%x, want\n%x", got, want)
	}
	var back prepare.Body
	r := tbin.NewReader(got)
	if back.ReadThrift(r); r.Err() != nil || r.Len() != 0 || !reflect.DeepEqual(back, b) {
		t.Errorf("%v, %d bytes left, %+v", r.Err(), r.Len(), back)
	}
}
