package rpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
)

// rawValue is a value already in its Thrift form.
type rawValue []byte

func (v rawValue) AppendThrift(b []byte) []byte { return append(b, v...) }

// The worked examples of the protocol description: requests and answers of real clients.
var (
	exampleA = hx(`54 48 46 54 00 00 00 00 00 00 00 30 00 00 00 00
		00 00 00 4a 00 00 00 00 00 00 00 00 00 00 00 00
		00 00 13 88 00 00 00 00 00 00 00 00 00 00 00 00
		80 01 00 01 00 00 00 26 "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX" 00 00 00 01
		0c 00 01  0b 00 01 00 00 00 04 "temp"  0f 00 02 08 00 00 00 00  00  00`)
	exampleBBody = hx(`0c 00 00
		0c 00 01 00 00 00 06 "ERR_OK" 08 00 02 00 00 00 02 08 00 03 00 00 00 01
		02 00 04 01 0f 00 05 0c 00 00 00 01
		0c 00 01 00 00 00 00 00 00 00 02 0a 00 02 00 00 00 00 00 00 00 03
		08 00 03 00 00 00 03 0c 00 04 7f 00 00 01 87 f1 00 01
		0f 00 05 0c 00 00 00 00 0f 00 06 0c 00 00 00 00
		0a 00 07 00 00 00 00 00 00 00 00 08 00 08 00 00 00 00 00 00 00`)
	exampleB = append(hx(`00 00 00 bb 00 00 00 06 "ERR_OK"
		80 01 00 02 00 00 00 2a "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX_ACK" 00 00 00 01`), exampleBBody...)
	exampleC = hx(`54 48 46 54 00 00 00 01 00 00 00 25 00 00 00 29
		08 00 01 00 00 00 02  08 00 02 00 00 00 04  08 00 03 00 00 03 e8
		0a 00 04 8c 2f 84 45 b4 cb fc 3c  02 00 05 00  00
		80 01 00 01 00 00 00 11 "RPC_RRDB_RRDB_GET" 00 00 00 07
		0c 00 01 00 00 00 04 00 01 61 73 00`)
	exampleDValue = hx(`08 00 01 00 00 00 00 0c 00 02 00 00 00 01 76 08 00 03 00 00 00 02
		08 00 04 00 00 00 04 0b 00 06 00 00 00 08 "h1:34801" 00`)
	exampleD = append(append(hx(`00 00 00 60 00 00 00 06 "ERR_OK"
		80 01 00 02 00 00 00 15 "RPC_RRDB_RRDB_GET_ACK" 00 00 00 07 0c 00 00`), exampleDValue...), 0)
	exampleE = hx(`52 44 53 4e 00 00 00 00 c0 00 00 00 00 00 00 00
		0c 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00
		34 12 00 00 00 00 00 00 "RPC_RRDB_RRDB_GET" z31
		00 00 00 00 00 00 00 00
		02 00 00 00 04 00 00 00
		41 04 00 00 00 00 00 00
		01 00 01 00 01 00 00 0a
		e8 03 00 00 e2 3d 00 00 3c fc cb b4 45 84 2f 8c
		z56
		0c 00 00 00 00 00 04 00 01 61 73 00`)
	exampleF = hx(`00 00 00 32 00 00 00 15 "ERR_HANDLER_NOT_FOUND"
		80 01 00 02 00 00 00 09 "RPC_X_ACK" 00 00 00 09`)
)

const hashOfA = 0x8c2f8445b4cbfc3c

// TestWorkedExamplesAnswered sends the examples' requests and compares the answers byte for byte.
func TestWorkedExamplesAnswered(t *testing.T) {
	mux := NewMux(nil)
	mux.HandleFunc("RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", func(r *Request) {
		if r.Framing != THFT0 || r.TimeoutMS != 5000 || r.Gpid != (base.Gpid{}) || !r.Remote.IsValid() {
			t.Errorf("request A was read as %+v", r)
		}
		rd := r.ArgReader()
		ft, id := rd.Field()
		if name := rd.String(); ft != tbin.String || id != 1 || name != "temp" || rd.Err() != nil {
			t.Errorf("argument of A: field %d of type %d = %q, %v", id, ft, name, rd.Err())
		}
		r.ReplyBody(base.ErrOK, exampleBBody)
	})
	mux.HandleFunc(codeGet, func(r *Request) {
		var key Blob
		if err := r.DecodeArg(&key); err != nil || string(key) != "\x00\x01as" {
			t.Errorf("argument of %v: %q, %v", r.Framing, key, err)
		}
		if r.Gpid != (base.Gpid{AppID: 2, PartitionIndex: 4}) || r.PartitionHash != hashOfA || r.TimeoutMS != 1000 ||
			r.ThreadHash != 2*7919+4 || r.IsBackup {
			t.Errorf("request was read as %+v", r)
		}
		if r.Framing == RDSN && r.FromAddress.String() != "10.0.0.1:1" {
			t.Errorf("from address %v", r.FromAddress)
		}
		r.Reply(rawValue(exampleDValue))
	})
	s := startServer(t, ServerOptions{}, mux, nil, nil)
	requestF := frame(THFT0, 9, "RPC_X", Blob("a"))
	self, err := base.ParseAddr(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	answerE := append([]byte(nil), exampleE[:rdsnHeader]...)
	copy(answerE[40:], "RPC_RRDB_RRDB_GET_ACK")
	answerE[104] = 0x40
	binary.LittleEndian.PutUint64(answerE[112:], uint64(self))
	copy(answerE[136:], "ERR_OK")
	answerE = append(append(append(answerE, 0x0c, 0, 0), exampleDValue...), 0)
	binary.LittleEndian.PutUint32(answerE[16:], uint32(len(answerE)-rdsnHeader))

	for _, c := range []struct {
		name      string
		ask, want []byte
	}{
		{"A", exampleA, exampleB}, {"C", exampleC, exampleD}, {"E", exampleE, answerE}, {"F", requestF, exampleF},
		{"A C A on one connection", bytes.Join([][]byte{exampleA, exampleC, exampleA}, nil), bytes.Join([][]byte{exampleB, exampleD, exampleB}, nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := s.dial()
			conn.t = t
			conn.send(c.ask)
			got := make([]byte, len(c.want))
			readFull(t, conn, got)
			if !bytes.Equal(got, c.want) {
				t.Errorf("got  %x\nwant %x", got, c.want)
			}
		})
	}
}

// TestWorkedExamplesAsked has the client side build the examples' requests.
func TestWorkedExamplesAsked(t *testing.T) {
	query := rawValue(hx(`0b 00 01 00 00 00 04 "temp" 0f 00 02 08 00 00 00 00 00`))
	a := appendTHFTRequest(nil, 1, &Outgoing{Code: "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", Framing: THFT0, TimeoutMS: 5000, Arg: query})
	get := Outgoing{Code: codeGet, Gpid: base.Gpid{AppID: 2, PartitionIndex: 4}, PartitionHash: hashOfA, TimeoutMS: 1000, Arg: Blob("\x00\x01as"), Framing: THFT1}
	c := appendTHFTRequest(nil, 7, &get)
	get.From = 0x0a00000100010001
	e := appendRDSNRequest(nil, 7, &get)
	binary.LittleEndian.PutUint64(e[rdsnOffTrace:], 0x1234)
	for _, x := range []struct {
		name      string
		got, want []byte
	}{{"A", a, exampleA}, {"C", c, exampleC}, {"E", e, exampleE}} {
		if !bytes.Equal(x.got, x.want) {
			t.Errorf("%s:\ngot  %x\nwant %x", x.name, x.got, x.want)
		}
	}
	res, err := parseTHFTResponse(exampleB)
	if err != nil || res.id != 1 || res.code != base.ErrOK || !bytes.Equal(res.body, exampleBBody) {
		t.Errorf("answer B was read as %+v, %v", res, err)
	}
	if n, err := thftResponseLen(exampleB); n != int64(len(exampleB)) || err != nil {
		t.Errorf("length of B: %d, %v", n, err)
	}
	if res, err = parseTHFTResponse(exampleF); err != nil || res.id != 9 || res.code != base.ErrHandlerNotFound || len(res.body) != 0 {
		t.Errorf("answer F was read as %+v, %v", res, err)
	}
}

func TestMessageBegin(t *testing.T) {
	for _, c := range []struct {
		name  string
		in    []byte
		ok    bool
		mtype byte
	}{
		{"strict", hx(`80 01 00 01 00 00 00 01 "x" 00 00 00 05 aa`), true, 1},
		{"strict one-way", hx(`80 01 00 04 00 00 00 01 "x" 00 00 00 05 aa`), true, 4},
		{"old form", hx(`00 00 00 01 "x" 01 00 00 00 05 aa`), true, 1},
		{"other version", hx(`80 02 00 01 00 00 00 01 "x" 00 00 00 05 aa`), false, 0},
		{"short", hx(`80 01 00 01 00 00 00 01 "x" 00 00 00`), false, 0},
		{"old form, short", hx(`00 00 00 01 "x" 01 00 00 00`), false, 0},
		{"name too long", hx(`80 01 00 01 7f ff ff ff "x" 00 00 00 05`), false, 0},
		{"name of negative length", hx(`80 01 00 01 ff ff ff ff "x" 00 00 00 05`), false, 0},
		{"empty", nil, false, 0},
	} {
		name, mtype, seq, rest, ok := messageBegin(c.in)
		if ok != c.ok {
			t.Errorf("%s: ok = %v", c.name, ok)
			continue
		}
		if ok && (string(name) != "x" || mtype != c.mtype || seq != 5 || !bytes.Equal(rest, []byte{0xaa})) {
			t.Errorf("%s: %q %d %d %x", c.name, name, mtype, seq, rest)
		}
	}
}

func TestRDSNChecksums(t *testing.T) {
	sum := func(f []byte) []byte {
		f = append([]byte(nil), f...)
		binary.LittleEndian.PutUint32(f[rdsnOffBodyCRC:], crc32.Checksum(f[rdsnHeader:], castagnoli))
		binary.LittleEndian.PutUint32(f[rdsnOffHeaderCRC:], 0)
		binary.LittleEndian.PutUint32(f[rdsnOffHeaderCRC:], crc32.Checksum(f[:rdsnHeader], castagnoli))
		return f
	}
	if got := crc32.Checksum([]byte("123456789"), castagnoli); got != 0xE3069283 {
		t.Fatalf("check value %08x", got)
	}
	good := sum(exampleE)
	if err := checkRDSN(good); err != nil {
		t.Errorf("good checksums: %v", err)
	}
	for _, at := range []int{0, 30, 100, 191, rdsnHeader, len(good) - 1} {
		bad := append([]byte(nil), good...)
		bad[at] ^= 1
		var fe *frameError
		if err := checkRDSN(bad); !errors.As(err, &fe) {
			t.Errorf("flipped byte %d: %v", at, err)
		}
	}
	if err := checkRDSN(exampleE); err != nil {
		t.Errorf("absent checksums: %v", err)
	}
}

func TestLongNames(t *testing.T) {
	long := "RPC_" + string(bytes.Repeat([]byte("N"), 60))
	s := startServer(t, ServerOptions{}, NewMux(nil), nil, nil)
	for _, f := range []Framing{RDSN, THFT0, THFT1} {
		c := s.dial()
		c.send(frame(f, 3, long, Blob("a")))
		if r := c.recv(f); r.code != base.ErrHandlerNotFound || r.id != 3 {
			t.Errorf("%v: %+v", f, r)
		}
	}
}

func TestDecodeBody(t *testing.T) {
	for _, c := range []struct {
		name string
		body []byte
		ok   bool
	}{
		{"id 0", hx(`0c 00 00 00 00 00 01 61 00`), true},
		{"id 1", hx(`0c 00 01 00 00 00 01 61 00`), true},
		{"type isn't compared", hx(`0b 00 09 00 00 00 01 61 00`), true},
		{"bytes behind", hx(`0c 00 00 00 00 00 01 61 00 ff ff`), true},
		{"empty", nil, false},
		{"only STOP", hx(`00`), false},
		{"no STOP", hx(`0c 00 00 00 00 00 01 61`), false},
		{"short value", hx(`0c 00 00 00 00 00 02 61`), false},
		{"negative length", hx(`0c 00 00 ff ff ff ff 61 00`), false},
	} {
		var b Blob
		err := DecodeBody(c.body, &b)
		if c.ok && (err != nil || string(b) != "a") {
			t.Errorf("%s: %q, %v", c.name, b, err)
		}
		if !c.ok && !errors.Is(err, base.ErrInvalidData) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if got := AppendBodyOf(nil, tbin.I64, 1, I64(5)); !bytes.Equal(got, hx(`0a 00 01 z7 05 00`)) {
		t.Errorf("clear_scanner's argument: %x", got)
	}
	if got := AppendBody(nil, base.RPCAddress(0x7F00000187290001)); !bytes.Equal(got, hx(`0c 00 00 7f 00 00 01 87 29 00 01 00`)) {
		t.Errorf("forward hint: %x", got)
	}
}

func TestKnownCodes(t *testing.T) {
	if n := len(base.RPCNames()); n > maxKnownCodes || len(knownCodes) != n {
		t.Fatalf("%d names, %d different", n, len(knownCodes))
	}
	name := []byte(codeGet)
	if n := testing.AllocsPerRun(100, func() {
		if s, k := internCode(name); s != codeGet || k == nil {
			t.Error("not interned")
		}
	}); n != 0 {
		t.Errorf("%v allocations for a known name", n)
	}
}
