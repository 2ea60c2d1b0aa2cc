package compat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/compat_test/cluster"
	"pegasus/compat_test/wire"
	"pegasus/gen/command"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/registry"
	"pegasus/gen/rrdb"
	"pegasus/gen/value"
)

// badInput is a cluster that is sent what no client would send, and what is watched meanwhile:
// its processes, connections of others, and data.
type badInput struct {
	c    *cluster.Cluster
	pids map[string]int
	rows map[string]string

	meta, replica string // names of the servers that get the input
	gpid          base.Gpid
	others        map[string]*wire.Conn // connections of bystanders, by server
}

// TestBadInput: each input gets upstream's error code, or its connection closed where no answer
// can be formed, and a line in the log; the process, other connections and the data are untouched.
func TestBadInput(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Tables: "temp:4"})
	b := &badInput{c: c, pids: map[string]int{}, rows: map[string]string{}, others: map[string]*wire.Conn{}, meta: "meta1"}
	for _, s := range c.Servers() {
		pid, err := c.Pid(s)
		if err != nil {
			t.Fatal(err)
		}
		b.pids[s] = pid
		conn, err := wire.Dial(c.Addr(s))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		b.others[s] = conn
	}
	for i := range 200 {
		k, v := fmt.Sprintf("row%d", i), fmt.Sprint("value", i)
		if err := b.put(k, v); err != nil {
			t.Fatalf("put %s: %v", k, err)
		}
		b.rows[k] = v
	}
	cfg, err := c.Config("temp")
	if err != nil {
		t.Fatal(err)
	}
	b.gpid = cfg.Partitions[1].Pid
	b.replica = c.Name(cfg.Partitions[1].Primary.String())

	for _, group := range []struct {
		name string
		f    func(*testing.T)
	}{
		{"frames", b.frames},
		{"unknown code", b.unknownCode},
		{"wrong shape", b.wrongShape},
		{"wrong partition", b.wrongPartition},
		{"keys", b.keys},
		{"tables", b.tables},
		{"http", b.http},
		{"every code", b.everyCode},
		{"mutated frames", b.mutatedFrames},
	} {
		t.Run(group.name, group.f)
		b.untouched(t)
	}
}

// partition returns the partition of a hash key and its primary.
func (b *badInput) partition(hashKey string) (base.Gpid, uint64, string, error) {
	cfg, err := b.c.Config("temp")
	if err != nil {
		return base.Gpid{}, 0, "", err
	}
	hash := base.CRC64([]byte(hashKey))
	p := cfg.Partitions[hash%uint64(len(cfg.Partitions))]
	return p.Pid, hash, p.Primary.String(), nil
}

func (b *badInput) put(k, v string) error {
	g, hash, addr, err := b.partition(k)
	if err != nil {
		return err
	}
	var res rrdb.UpdateResponse
	arg := &rrdb.UpdateRequest{Key: base.AppendKey(nil, []byte(k), []byte("s")), Value: []byte(v)}
	if err := wire.Call(addr, "RPC_RRDB_RRDB_PUT", g, hash, arg, &res, 10*time.Second); err != nil {
		return err
	}
	if res.Error != 0 {
		return fmt.Errorf("code %d", res.Error)
	}
	return nil
}

// untouched checks what bad input must not have touched.
func (b *badInput) untouched(t *testing.T) {
	t.Helper()
	for s, pid := range b.pids {
		if now, err := b.c.Pid(s); err != nil || now != pid || !b.c.Alive(s) {
			t.Fatalf("%s was process %d, now %d, alive %v (%v)\n%s", s, pid, now, b.c.Alive(s), err, b.c.Logs())
		}
	}
	cfg, err := b.c.Config("temp")
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Partitions) != 4 {
		t.Fatalf("temp has %d partitions", len(cfg.Partitions))
	}
	var q layer2.QueryCfgResponse
	if err := b.others[b.meta].Call(wire.THFT0, "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", base.Gpid{}, 0,
		&layer2.QueryCfgRequest{AppName: "temp"}, &q, 10*time.Second); err != nil || q.Err != base.ErrOK {
		t.Errorf("another connection to the meta: %v %s", err, q.Err)
	}
	for k, v := range b.rows {
		hash := base.CRC64([]byte(k))
		p := cfg.Partitions[hash%4]
		key := value.Blob(base.AppendKey(nil, []byte(k), []byte("s")))
		var res rrdb.ReadResponse
		name := b.c.Name(p.Primary.String())
		if b.others[name] == nil {
			t.Fatalf("primary of %s is %q", p.Pid, name)
		}
		err := b.others[name].Call(wire.THFT0, "RPC_RRDB_RRDB_GET", p.Pid, hash, &key, &res, 10*time.Second)
		if err != nil || res.Error != 0 || string(res.Value) != v {
			t.Fatalf("%s over another connection to %s: code %d, %q, %v", k, name, res.Error, res.Value, err)
		}
	}
}

// logged counts the lines of a server's log that name an address.
// logged counts the lines of a server's log, from byte from on, that name addr.
func (b *badInput) logged(server, addr string, from int) int {
	text := b.log(server)
	n := 0
	for _, line := range strings.Split(text[min(from, len(text)):], "\n") {
		if strings.Contains(line, addr) {
			n++
		}
	}
	return n
}

func (b *badInput) log(server string) string {
	text, _ := os.ReadFile(filepath.Join(b.c.Dir, server, "log"))
	return string(text)
}

// logs runs input, which tells the address that it came from, until a line of the server's log
// names that address: lines that a peer can cause are written at a limited rate, so the first
// may be among those that were counted only.
func (b *badInput) logs(t *testing.T, server string, input func() string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		// An address may have been another connection's earlier on.
		from := len(b.log(server))
		addr, n := input(), 0
		if t.Failed() {
			return
		}
		err := cluster.Poll(1200*time.Millisecond, func() error {
			if n = b.logged(server, addr, from); n == 0 {
				return fmt.Errorf("no line of the log of %s names %s", server, addr)
			}
			return nil
		})
		if err == nil {
			if n != 1 {
				t.Errorf("%d lines of the log of %s name %s, want 1", n, server, addr)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Error(err)
			return
		}
	}
}

// closes sends bytes and demands that the server closes the connection without an answer. It
// returns the address they came from.
func (b *badInput) closes(t *testing.T, server string, bad []byte) string {
	t.Helper()
	conn, err := wire.Dial(b.c.Addr(server))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Send(bad) // the server may close before it has all
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, 1000)
	n, err := conn.Read(got)
	if n > 0 {
		t.Errorf("%s answered %q", server, got[:n])
	} else if isTimeout(err) {
		t.Errorf("%s keeps the connection open", server)
	}
	return conn.LocalAddr().String()
}

// answers sends a request and returns the answer and the address it was asked from.
func (b *badInput) answers(t *testing.T, server string, f *wire.Frame) (*wire.Frame, string) {
	t.Helper()
	conn, err := wire.Dial(b.c.Addr(server))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Send(f.Encode()); err != nil {
		t.Fatal(err)
	}
	a, err := conn.Receive(10 * time.Second)
	if err != nil {
		t.Fatalf("%s: %v, want an answer", server, err)
	}
	if a.ID != f.ID || a.Code != f.Code {
		t.Fatalf("%s answered id %d %s to id %d %s", server, a.ID, a.Code, f.ID, f.Code)
	}
	if err := ping(conn, f.Framing); err != nil {
		t.Fatalf("%s, after that: %v", server, err)
	}
	return a, conn.LocalAddr().String()
}

// refuses sends a request and demands an answer with this header error and no body. It returns
// the address it came from.
func (b *badInput) refuses(t *testing.T, server string, f *wire.Frame, code base.ErrorCode) string {
	t.Helper()
	a, addr := b.answers(t, server, f)
	if a.Err != string(code) || len(a.Body) != 0 {
		t.Fatalf("%s answered %s with error %s and %d bytes, want %s and none", server, f.Code, a.Err, len(a.Body), code)
	}
	return addr
}

func get(framing wire.Framing, g base.Gpid) *wire.Frame {
	key := value.Blob(base.AppendKey(nil, []byte("h"), []byte("s")))
	field := int16(1)
	if framing == wire.RDSN {
		field = 0
	}
	f := wire.New(framing, "RPC_RRDB_RRDB_GET", 7, g, registry.AppendBody(nil, field, &key))
	f.Hash = base.CRC64([]byte("h"))
	return f
}

func (b *badInput) frames(t *testing.T) {
	thft0, thft1, rdsn := get(wire.THFT0, b.gpid).Encode(), get(wire.THFT1, b.gpid).Encode(), get(wire.RDSN, b.gpid).Encode()
	edit := func(src []byte, f func(b []byte)) []byte {
		c := bytes.Clone(src)
		f(c)
		return c
	}
	be, le := binary.BigEndian, binary.LittleEndian
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	rnd := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 5000)
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	for _, c := range []struct {
		name string
		bad  []byte
	}{
		{"random bytes", random},
		{"zeros", make([]byte, 300)},
		{"unknown magic", append([]byte("RDSM"), rdsn[4:]...)},
		{"2 GB claimed, THFT 0", edit(thft0, func(b []byte) { be.PutUint32(b[16:], 1<<31-1) })},
		{"4 GB claimed, THFT 0", edit(thft0, func(b []byte) { be.PutUint32(b[16:], 1<<32-1) })},
		{"2 GB claimed, THFT 1 meta", edit(thft1, func(b []byte) { be.PutUint32(b[8:], 1<<31-1) })},
		{"2 GB claimed, THFT 1 body", edit(thft1, func(b []byte) { be.PutUint32(b[12:], 1<<31-1) })},
		{"2 GB claimed, rDSN", edit(rdsn, func(b []byte) { le.PutUint32(b[16:], 1<<31-1) })},
		{"4 GB claimed, rDSN", edit(rdsn, func(b []byte) { le.PutUint32(b[16:], 1<<32-1) })},
		{"header length 47", edit(thft0, func(b []byte) { be.PutUint32(b[8:], 47) })},
		{"header version 2", edit(thft0, func(b []byte) { be.PutUint32(b[4:], 2) })},
		{"message of type reply", edit(thft0, func(b []byte) { b[51] = 2 })},
		{"message name runs past the frame", edit(thft0, func(b []byte) { be.PutUint32(b[52:], 1<<20) })},
		{"message name of negative length", edit(thft0, func(b []byte) { be.PutUint32(b[52:], 1<<31) })},
		{"body too short for a message", append(edit(thft0[:48], func(b []byte) { be.PutUint32(b[16:], 3) }), 0x80, 1, 0)},
		{"meta is no struct", edit(thft1, func(b []byte) { copy(b[16:], "\xff\xff\xff\xff\xff\xff") })},
		{"wrong CRC of the header", edit(rdsn, func(b []byte) { le.PutUint32(b[12:], 12345) })},
		{"wrong CRC of the body", edit(rdsn, func(b []byte) { le.PutUint32(b[20:], 12345) })},
		{"a response", edit(rdsn, func(b []byte) { b[104] &^= 1 })},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.logs(t, b.replica, func() string { return b.closes(t, b.replica, c.bad) })
			b.closes(t, b.meta, c.bad)
		})
	}

	t.Run("right CRCs", func(t *testing.T) {
		good := edit(rdsn, func(b []byte) {
			le.PutUint32(b[20:], crc32.Checksum(b[192:], castagnoli))
			le.PutUint32(b[12:], crc32.Checksum(b[:192], castagnoli))
		})
		conn, err := wire.Dial(b.c.Addr(b.replica))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.Send(good); err != nil {
			t.Fatal(err)
		}
		if a, err := conn.Receive(10 * time.Second); err != nil || a.Err != "ERR_OK" {
			t.Errorf("answer %+v, %v", a, err)
		}
	})
	t.Run("truncated", func(t *testing.T) {
		for _, f := range [][]byte{thft0, thft1, rdsn} {
			for _, n := range []int{1, 3, 4, 10, 20, 47, len(f) - 1} {
				conn, err := wire.Dial(b.c.Addr(b.replica))
				if err != nil {
					t.Fatal(err)
				}
				conn.Send(f[:min(n, len(f)-1)])
				conn.Conn.(*net.TCPConn).CloseWrite()
				conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				if got, err := conn.Read(make([]byte, 100)); got > 0 || isTimeout(err) {
					t.Errorf("%d of %d bytes: answer of %d bytes, %v", n, len(f), got, err)
				}
				conn.Close()
			}
		}
	})
	t.Run("half a frame and then silence", func(t *testing.T) {
		for range 50 {
			conn, err := wire.Dial(b.c.Addr(b.replica))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.Send(edit(thft0, func(b []byte) { be.PutUint32(b[16:], 60<<20) }))
		}
		b.untouched(t) // while they are open
	})
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

func (b *badInput) unknownCode(t *testing.T) {
	for _, framing := range []wire.Framing{wire.THFT0, wire.THFT1, wire.RDSN} {
		for _, code := range []string{"RPC_NO_SUCH_CODE", "x", strings.Repeat("Y", 43)} {
			f := get(framing, base.Gpid{})
			f.Code = code
			b.refuses(t, b.replica, f, base.ErrHandlerNotFound)
			b.refuses(t, b.meta, f, base.ErrHandlerNotFound)
		}
		// Known, but for the other role.
		f := get(framing, base.Gpid{})
		f.Code = "RPC_CM_LIST_APPS"
		b.logs(t, b.replica, func() string { return b.refuses(t, b.replica, f, base.ErrHandlerNotFound) })
	}
}

// wrongShape: upstream's process dies of some of these. Ours answers with one of the two errors
// that every client knows, or closes the connection.
func (b *badInput) wrongShape(t *testing.T) {
	deep := []byte{}
	for range 5000 {
		deep = append(deep, 0x0c, 0, 5)
	}
	bodies := map[string][]byte{
		"empty":                {},
		"only a stop":          {0},
		"a number":             {0x08, 0, 1, 0, 0, 0, 1, 0},
		"text":                 append(append([]byte{0x0b, 0, 1}, tbin.AppendString(nil, "text")...), 0),
		"list of 2^31 structs": {0x0c, 0, 1, 0x0f, 0, 2, 0x0c, 0x7f, 0xff, 0xff, 0xff, 0, 0},
		"map of 2^31":          {0x0c, 0, 1, 0x0d, 0, 9, 0x0b, 0x0b, 0x7f, 0xff, 0xff, 0xff, 0, 0},
		"negative length":      {0x0c, 0, 1, 0xff, 0xff, 0xff, 0xff, 0},
		"string past the end":  {0x0c, 0, 1, 0x0b, 0, 1, 0x00, 0x10, 0, 0, 'x', 0, 0},
		"deep":                 append([]byte{0x0c, 0, 1}, deep...),
		"unknown types":        {0x0c, 0, 1, 0x7f, 0, 1, 0x55, 0x55, 0, 0},
	}
	for _, code := range []string{
		"RPC_RRDB_RRDB_GET", "RPC_RRDB_RRDB_PUT", "RPC_RRDB_RRDB_REMOVE", "RPC_RRDB_RRDB_MULTI_PUT", "RPC_RRDB_RRDB_MULTI_GET",
		"RPC_RRDB_RRDB_MULTI_REMOVE", "RPC_RRDB_RRDB_INCR", "RPC_RRDB_RRDB_CHECK_AND_SET", "RPC_RRDB_RRDB_CHECK_AND_MUTATE",
		"RPC_RRDB_RRDB_GET_SCANNER", "RPC_RRDB_RRDB_SCAN", "RPC_RRDB_RRDB_TTL", "RPC_RRDB_RRDB_SORTKEY_COUNT", "RPC_RRDB_RRDB_BATCH_GET",
		"RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", "RPC_CM_CREATE_APP", "RPC_CM_DROP_APP", "RPC_CM_LIST_APPS", "RPC_CM_LIST_NODES",
	} {
		t.Run(code, func(t *testing.T) {
			server, g := b.replica, b.gpid
			if strings.HasPrefix(code, "RPC_CM_") {
				server, g = b.meta, base.Gpid{}
			}
			for name, body := range bodies {
				for _, framing := range []wire.Framing{wire.THFT0, wire.THFT1, wire.RDSN} {
					conn, err := wire.Dial(b.c.Addr(server))
					if err != nil {
						t.Fatal(err)
					}
					f := wire.New(framing, code, 3, g, body)
					f.Hash = uint64(g.PartitionIndex)
					conn.Send(f.Encode())
					a, err := conn.Receive(10 * time.Second)
					conn.Close()
					if isTimeout(err) {
						t.Errorf("%s: neither answered nor closed", name)
					}
					if err != nil {
						continue // closed
					}
					// A struct with other fields than ours has all of ours unset. That can be
					// a request like another, with an answer like another.
					refused := a.Err == string(base.ErrInvalidData) || a.Err == string(base.ErrInvalidParameters)
					if !refused && a.Err != "ERR_OK" {
						t.Errorf("%s: %s", name, a.Err)
					}
					if refused == (len(a.Body) > 0) {
						t.Errorf("%s: error %s with a body of %d bytes", name, a.Err, len(a.Body))
					}
				}
			}
		})
	}
}

func (b *badInput) wrongPartition(t *testing.T) {
	for _, g := range []base.Gpid{{AppID: 1, PartitionIndex: 4}, {AppID: 77, PartitionIndex: 0}, {AppID: 1, PartitionIndex: -1}, {AppID: 1 << 30, PartitionIndex: 1 << 30}} {
		for _, framing := range []wire.Framing{wire.THFT0, wire.THFT1, wire.RDSN} {
			b.refuses(t, b.replica, get(framing, g), base.ErrObjectNotFound)
		}
	}
	b.logs(t, b.replica, func() string {
		return b.refuses(t, b.replica, get(wire.THFT0, base.Gpid{AppID: 9}), base.ErrObjectNotFound)
	})
	// A secondary serves nobody. Correct clients meet that after every change, so no log.
	cfg, err := b.c.Config("temp")
	if err != nil {
		t.Fatal(err)
	}
	b.refuses(t, b.c.Name(cfg.Partitions[1].Secondaries[0].String()), get(wire.THFT0, b.gpid), base.ErrInvalidState)

	// Upstream's process aborts on a put whose header names another hash than its key's. A
	// client that is wrong here is wrong everywhere, so it is told.
	for _, code := range []string{"RPC_RRDB_RRDB_PUT", "RPC_RRDB_RRDB_REMOVE"} {
		key := blob(string(base.AppendKey(nil, []byte("wrong hash"), []byte("s"))))
		arg := value.Value(key)
		if code == "RPC_RRDB_RRDB_PUT" {
			arg = &rrdb.UpdateRequest{Key: *key, Value: []byte("v")}
		}
		f := wire.New(wire.THFT0, code, 9, b.gpid, registry.AppendBody(nil, 1, arg))
		f.Hash = base.CRC64([]byte("wrong hash")) + 1
		b.logs(t, b.replica, func() string { return b.refuses(t, b.replica, f, base.ErrInvalidParameters) })
	}
}

func (b *badInput) keys(t *testing.T) {
	long := bytes.Repeat([]byte("k"), 65535)
	for _, c := range []struct {
		name string
		code string
		arg  value.Value
	}{
		{"hash key of 65535 bytes", "RPC_RRDB_RRDB_PUT", &rrdb.UpdateRequest{Key: append([]byte{0xff, 0xff}, long...), Value: []byte("v")}},
		{"multi put to 65535 bytes", "RPC_RRDB_RRDB_MULTI_PUT", &rrdb.MultiPutRequest{HashKey: long, Kvs: []rrdb.KeyValue{{Key: []byte("s"), Value: []byte("v")}}}},
		{"multi put to 100000 bytes", "RPC_RRDB_RRDB_MULTI_PUT", &rrdb.MultiPutRequest{HashKey: append(long, long...)[:100000], Kvs: []rrdb.KeyValue{{Key: []byte("s"), Value: []byte("v")}}}},
		{"multi remove of 65535 bytes", "RPC_RRDB_RRDB_MULTI_REMOVE", &rrdb.MultiRemoveRequest{HashKey: long, SortKeys: [][]byte{[]byte("s")}}},
		{"check and set of 65535 bytes", "RPC_RRDB_RRDB_CHECK_AND_SET", &rrdb.CheckAndSetRequest{HashKey: long}},
		{"multi get of 65535 bytes", "RPC_RRDB_RRDB_MULTI_GET", &rrdb.MultiGetRequest{HashKey: long}},
		{"empty key", "RPC_RRDB_RRDB_PUT", &rrdb.UpdateRequest{Key: []byte{}, Value: []byte("v")}},
		{"key of one byte", "RPC_RRDB_RRDB_PUT", &rrdb.UpdateRequest{Key: []byte{0}, Value: []byte("v")}},
		{"key shorter than it says", "RPC_RRDB_RRDB_PUT", &rrdb.UpdateRequest{Key: []byte{0, 9, 'a'}, Value: []byte("v")}},
		{"remove of half a key", "RPC_RRDB_RRDB_REMOVE", blob("\x00\x09a")},
		{"incr of half a key", "RPC_RRDB_RRDB_INCR", &rrdb.IncrRequest{Key: []byte{0, 9, 'a'}, Increment: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := wire.New(wire.THFT0, c.code, 11, b.gpid, registry.AppendBody(nil, 1, c.arg))
			b.logs(t, b.replica, func() string {
				// In the header, or as rocksdb's kInvalidArgument in the answer's struct.
				a, addr := b.answers(t, b.replica, f)
				if a.Err == "ERR_OK" {
					e, _ := registry.Lookup(c.code)
					res := e.Result()
					if _, err := registry.ReadBody(a.Body, res); err != nil || flatten(res).leaf["Error"] != "4" {
						t.Fatalf("answered %+v, %v, want error 4", res, err)
					}
				} else if a.Err != string(base.ErrInvalidParameters) && a.Err != string(base.ErrInvalidData) {
					t.Fatalf("answered %s", a.Err)
				}
				return addr
			})
		})
	}
	t.Run("write over the limit", func(t *testing.T) {
		f := wire.New(wire.THFT0, "RPC_RRDB_RRDB_PUT", 12, b.gpid, registry.AppendBody(nil, 1,
			&rrdb.UpdateRequest{Key: base.AppendKey(nil, []byte("h"), nil), Value: make([]byte, 1<<20)}))
		b.logs(t, b.replica, func() string { return b.refuses(t, b.replica, f, base.ErrInvalidData) })
	})
	t.Run("wrong arguments", func(t *testing.T) {
		// These have answers of their own kind: rocksdb's kInvalidArgument.
		for name, c := range map[string]struct {
			code     string
			arg, res value.Value
		}{
			"multi put of nothing":    {"RPC_RRDB_RRDB_MULTI_PUT", &rrdb.MultiPutRequest{HashKey: []byte("h")}, &rrdb.UpdateResponse{}},
			"multi remove of nothing": {"RPC_RRDB_RRDB_MULTI_REMOVE", &rrdb.MultiRemoveRequest{HashKey: []byte("h")}, &rrdb.MultiRemoveResponse{}},
			"check type 99":           {"RPC_RRDB_RRDB_CHECK_AND_SET", &rrdb.CheckAndSetRequest{HashKey: []byte("h"), CheckType: 99}, &rrdb.CheckAndSetResponse{}},
			"filter type 99":          {"RPC_RRDB_RRDB_MULTI_GET", &rrdb.MultiGetRequest{HashKey: []byte("h"), SortKeyFilterType: 99}, &rrdb.MultiGetResponse{}},
			"scan filter type 99":     {"RPC_RRDB_RRDB_GET_SCANNER", &rrdb.GetScannerRequest{SortKeyFilterType: 99}, &rrdb.ScanResponse{}},
			"mutation of nothing":     {"RPC_RRDB_RRDB_CHECK_AND_MUTATE", &rrdb.CheckAndMutateRequest{HashKey: []byte("h")}, &rrdb.CheckAndMutateResponse{}},
			"batch get of nothing":    {"RPC_RRDB_RRDB_BATCH_GET", &rrdb.BatchGetRequest{}, &rrdb.BatchGetResponse{}},
		} {
			err := wire.Call(b.c.Addr(b.replica), c.code, b.gpid, 0, c.arg, c.res, 10*time.Second)
			if got := flatten(c.res).leaf["Error"]; err != nil || got != "4" {
				t.Errorf("%s: %v, code %s, want 4", name, err, got)
			}
		}
	})
}

func blob(s string) *value.Blob { v := value.Blob(s); return &v }

func (b *badInput) tables(t *testing.T) {
	create := func(name string, partitions, replicas int32) base.ErrorCode {
		var res metaadmin.ConfigurationCreateAppResponse
		arg := &metaadmin.ConfigurationCreateAppRequest{AppName: name, Options: metaadmin.CreateAppOptions{
			PartitionCount: partitions, ReplicaCount: replicas, AppType: "pegasus", IsStateful: true}}
		if err := wire.Call(b.c.Addr(b.meta), "RPC_CM_CREATE_APP", base.Gpid{}, 0, arg, &res, 20*time.Second); err != nil {
			t.Fatal(err)
		}
		return res.Err
	}
	for _, c := range []struct {
		what                 string
		name                 string
		partitions, replicas int32
		want                 base.ErrorCode
	}{
		{"0 partitions", "bad", 0, 3, base.ErrInvalidParameters},
		{"-1 partitions", "bad", -1, 3, base.ErrInvalidParameters},
		{"10^6 partitions", "bad", 1000000, 3, base.ErrInvalidParameters},
		{"2^31-1 partitions", "bad", 1<<31 - 1, 3, base.ErrInvalidParameters},
		{"0 replicas", "bad", 4, 0, base.ErrInvalidParameters},
		{"1000 replicas", "bad", 4, 1000, base.ErrInvalidParameters},
		{"no name", "", 4, 3, base.ErrInvalidParameters},
		{"name of 257 bytes", strings.Repeat("n", 257), 4, 3, base.ErrInvalidParameters},
		{"name of a megabyte", strings.Repeat("n", 1<<20), 4, 3, base.ErrInvalidParameters},
		{"a table that is there", "temp", 4, 3, base.ErrAppExist},
	} {
		if got := create(c.name, c.partitions, c.replicas); got != c.want {
			t.Errorf("create with %s: %s, want %s", c.what, got, c.want)
		}
	}
	b.logs(t, b.meta, func() string {
		conn, err := wire.Dial(b.c.Addr(b.meta))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var res layer2.QueryCfgResponse
		err = conn.Call(wire.THFT0, "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", base.Gpid{}, 0, &layer2.QueryCfgRequest{AppName: "no_such_table"}, &res, 10*time.Second)
		if err != nil || res.Err != base.ErrObjectNotFound {
			t.Errorf("query of a table that isn't there: %v, %s", err, res.Err)
		}
		return conn.LocalAddr().String()
	})
	for _, name := range []string{"no_such_table", "", strings.Repeat("n", 300), "temp\x00"} {
		var res layer2.QueryCfgResponse
		err := wire.Call(b.c.Addr(b.meta), "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", base.Gpid{}, 0,
			&layer2.QueryCfgRequest{AppName: name}, &res, 10*time.Second)
		if err != nil || res.Err != base.ErrObjectNotFound || res.IsStateful || len(res.Partitions) != 0 {
			t.Errorf("query of table %.20q: %+v, %v", name, res, err)
		}
	}
}

func (b *badInput) http(t *testing.T) {
	for name, bad := range map[string]string{
		"no version":       "GET /\r\n\r\n",
		"no end":           "GET " + strings.Repeat("/x", 1<<20),
		"endless headers":  "GET / HTTP/1.1\r\n" + strings.Repeat("X-A: b\r\n", 1<<18),
		"negative length":  "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
		"huge length":      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n",
		"binary after GET": "GET \x00\x01\x02\xff\xfe\r\n\r\n",
	} {
		for _, server := range []string{b.replica, b.meta} {
			conn, err := net.DialTimeout("tcp", b.c.Addr(server), 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			conn.Write([]byte(bad)) // may be refused on the way
			conn.(*net.TCPConn).CloseWrite()
			// An answer of any kind or a closed connection, as long as it doesn't hang.
			if _, err := conn.Read(make([]byte, 4096)); isTimeout(err) {
				t.Errorf("%s: %s neither answered nor closed", name, server)
			}
			conn.Close()
		}
	}
}

// everyCode sends each known RPC code to each kind of server, with no body, an empty struct and
// rubbish. Most are for other servers, or from them; whatever they answer, nothing may suffer.
func (b *badInput) everyCode(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, code := range registry.Codes() {
		for _, server := range []string{b.meta, b.replica} {
			junk := make([]byte, rnd.IntN(200))
			for i := range junk {
				junk[i] = byte(rnd.Uint32())
			}
			for _, body := range [][]byte{{}, {0x0c, 0, 0, 0, 0}, append([]byte{0x0c, 0, 0}, junk...)} {
				for _, g := range []base.Gpid{{}, b.gpid} {
					b.swallow(t, server, wire.New(wire.RDSN, code, 100, g, body).Encode())
				}
			}
		}
	}
}

// swallow sends bytes and reads whatever comes back, until the server has seen their end and
// closes the connection.
func (b *badInput) swallow(t *testing.T, server string, bad []byte) {
	t.Helper()
	conn, err := wire.Dial(b.c.Addr(server))
	if err != nil {
		t.Fatalf("%s: %v, before %q", server, err, bad)
	}
	defer conn.Close()
	conn.Send(bad)
	conn.Conn.(*net.TCPConn).CloseWrite()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
		t.Errorf("%s keeps a connection open that has ended, after %q", server, bad)
	}
}

// ping asks what every server answers.
func ping(conn *wire.Conn, framing wire.Framing) error {
	var help value.Text
	return conn.Call(framing, "RPC_CLI_CLI_CALL", base.Gpid{}, 0, &command.Command{Cmd: "help"}, &help, 10*time.Second)
}

// mutatedFrames sends good frames with some bytes changed.
func (b *badInput) mutatedFrames(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	scan := registry.AppendBody(nil, 1, &rrdb.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, BatchSize: 10})
	mget := registry.AppendBody(nil, 1, &rrdb.MultiGetRequest{HashKey: []byte("row1"), MaxKvCount: 10, StartInclusive: true})
	seeds := [][]byte{
		get(wire.THFT0, b.gpid).Encode(), get(wire.THFT1, b.gpid).Encode(), get(wire.RDSN, b.gpid).Encode(),
		wire.New(wire.THFT0, "RPC_RRDB_RRDB_GET_SCANNER", 1, b.gpid, scan).Encode(),
		wire.New(wire.THFT1, "RPC_RRDB_RRDB_MULTI_GET", 2, b.gpid, mget).Encode(),
	}
	for range 600 {
		f := bytes.Clone(seeds[rnd.IntN(len(seeds))])
		for range 1 + rnd.IntN(4) {
			f[rnd.IntN(len(f))] = byte(rnd.Uint32())
		}
		b.swallow(t, b.replica, f)
	}
}
