package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"pegasus/base"
	"pegasus/gen/registry"
	"pegasus/gen/value"
)

// MaxAnswer is the longest answer that is believed.
const MaxAnswer = 64 << 20

// Conn is one connection. It isn't for concurrent use.
type Conn struct {
	net.Conn
	r  *bufio.Reader
	id uint64
}

// Dial connects to addr.
func Dial(addr string) (*Conn, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: c, r: bufio.NewReaderSize(c, 64<<10)}, nil
}

// Send writes bytes as they are.
func (c *Conn) Send(b []byte) error {
	c.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, err := c.Write(b)
	return err
}

// Receive reads one answer, in whichever framing it comes.
func (c *Conn) Receive(limit time.Duration) (*Frame, error) {
	c.SetReadDeadline(time.Now().Add(limit))
	head, err := c.r.Peek(4)
	if err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(head))
	if string(head) == "RDSN" {
		if head, err = c.r.Peek(rdsnHeader); err != nil {
			return nil, err
		}
		n = rdsnHeader + int64(binary.LittleEndian.Uint32(head[16:]))
	}
	if n > MaxAnswer {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return nil, err
	}
	f, err := Parse(b)
	if err == nil && !f.Response {
		err = errors.New("the server sent a request")
	}
	return f, err
}

// Call sends a request of the given framing and reads its answer into res. The error is the
// answer's header error (a base.ErrorCode) if it has one.
func (c *Conn) Call(framing Framing, code string, gpid base.Gpid, hash uint64, arg, res value.Value, limit time.Duration) error {
	c.id++
	field := int16(1)
	if framing == RDSN {
		field = 0
	}
	f := New(framing, code, c.id, gpid, registry.AppendBody(nil, field, arg))
	f.Hash = hash
	if err := c.Send(f.Encode()); err != nil {
		return err
	}
	a, err := c.Receive(limit)
	if err != nil {
		return fmt.Errorf("%s: %w", code, err)
	}
	if a.ID != c.id || a.Code != code {
		return fmt.Errorf("%s with id %d was answered by %s with id %d", code, c.id, a.Code, a.ID)
	}
	if a.Err != "ERR_OK" {
		return base.ErrorCode(a.Err)
	}
	_, err = registry.ReadBody(a.Body, res)
	return err
}

// Call is Conn.Call on a connection of its own.
func Call(addr, code string, gpid base.Gpid, hash uint64, arg, res value.Value, limit time.Duration) error {
	c, err := Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Call(THFT0, code, gpid, hash, arg, res, limit)
}
