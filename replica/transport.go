package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/pacifica"
	"pegasus/replica/trace"
	"pegasus/rpc"
)

// base.RPCPacifica carries the messages of package pacifica between replica servers. Our
// servers form groups only with each other, so this is our own. The header's partition hash is
// the tag of the sender's cluster, see identity.

// pingTimeout is how long an empty prepare may go unanswered before its receiver counts
// as unreachable.
const pingTimeout = 2 * time.Second

const messageVersion = 1

var errMessage = errors.New("malformed replication message")

// wireMessage gives a pacifica message its form on the wire: a version byte, type, role,
// flags, then varints, then the entries, each with decree and ballot implied.
type wireMessage struct{ *pacifica.Message }

const (
	flagGap = 1 << iota
	flagReject
	flagBusy
	flagShort
	flagTip   // Tip is behind the entries; who doesn't know the flag doesn't look there
	flagTrace // package trace's block is at the end; the same holds
)

// flagsAt is where a message has its flags.
const flagsAt = 3

// AppendThrift appends the message; the name is that of the interface by which rpc takes
// arguments.
func (w wireMessage) AppendThrift(b []byte) []byte {
	m := w.Message
	var flags byte
	if m.Gap {
		flags |= flagGap
	}
	if m.Reject {
		flags |= flagReject
	}
	if m.Busy {
		flags |= flagBusy
	}
	if m.Tip != 0 {
		flags |= flagTip
	}
	b = append(b, messageVersion, byte(m.Type), byte(m.Role), flags)
	b = binary.BigEndian.AppendUint64(b, uint64(m.From))
	b = binary.BigEndian.AppendUint64(b, uint64(m.To))
	for _, v := range [...]int64{m.Ballot, m.Signature, m.Base, m.Prev, m.Commit, m.Last, m.Prepared, int64(len(m.Entries))} {
		b = binary.AppendVarint(b, v)
	}
	for i := range m.Entries {
		e := &m.Entries[i]
		b = binary.AppendVarint(b, e.Decree)
		b = binary.AppendVarint(b, e.Ballot)
		b = binary.AppendVarint(b, e.Timestamp)
		b = binary.AppendUvarint(b, uint64(len(e.Payload)))
		b = append(b, e.Payload...)
	}
	if m.Tip != 0 {
		b = binary.AppendVarint(b, m.Tip)
	}
	return b
}

// shortMessage is a message whose sender's disk has too little free space. It is a type of its
// own, and not a field, so that making an interface of a message takes no memory.
type shortMessage struct{ *pacifica.Message }

// AppendThrift appends the message.
func (s shortMessage) AppendThrift(b []byte) []byte {
	at := len(b) + flagsAt
	b = wireMessage(s).AppendThrift(b)
	b[at] |= flagShort
	return b
}

// decodeMessage is the inverse of AppendThrift, but for what it says of the sender's disk. Payloads are copied: they outlive the frame.
func decodeMessage(b []byte) (pacifica.Message, error) {
	var m pacifica.Message
	if len(b) < 20 {
		return m, fmt.Errorf("%w: %d bytes", errMessage, len(b))
	}
	if b[0] != messageVersion {
		return m, fmt.Errorf("%w: version %d, this server speaks %d", errMessage, b[0], messageVersion)
	}
	m.Type, m.Role = pacifica.MsgType(b[1]), pacifica.Status(b[2])
	flags := b[flagsAt]
	m.Gap, m.Reject, m.Busy = flags&flagGap != 0, flags&flagReject != 0, flags&flagBusy != 0
	m.From = base.RPCAddress(binary.BigEndian.Uint64(b[4:]))
	m.To = base.RPCAddress(binary.BigEndian.Uint64(b[12:]))
	b = b[20:]
	bad := false
	next := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			bad = true
			return 0
		}
		b = b[n:]
		return v
	}
	m.Ballot, m.Signature, m.Base, m.Prev = next(), next(), next(), next()
	m.Commit, m.Last, m.Prepared = next(), next(), next()
	n := next()
	if bad || n < 0 || n > int64(len(b)/4) {
		return m, fmt.Errorf("%w: header", errMessage)
	}
	end := func() error {
		if flags&flagTip == 0 {
			return nil
		}
		if m.Tip = next(); bad {
			return fmt.Errorf("%w: tip", errMessage)
		}
		return nil
	}
	if n == 0 {
		return m, end()
	}
	// One allocation for all payloads; they live and die together in the window.
	total := len(b)
	buf := make([]byte, 0, total)
	m.Entries = newEntries(int(n))
	for i := range m.Entries {
		e := &m.Entries[i]
		e.Decree, e.Ballot, e.Timestamp = next(), next(), next()
		size, k := binary.Uvarint(b)
		if bad || k <= 0 || size > uint64(len(b)-k) {
			return m, fmt.Errorf("%w: entry %d of %d", errMessage, i, n)
		}
		at := len(buf)
		buf = append(buf, b[k:k+int(size)]...)
		e.Payload = buf[at:len(buf):len(buf)]
		b = b[k+int(size):]
		if e.Decree != m.Prev+1+int64(i) {
			return m, fmt.Errorf("%w: decree %d after %d", errMessage, e.Decree, m.Prev+int64(i))
		}
	}
	return m, end()
}

// send passes the messages of one round of a replica to the network. Messages without
// entries are answered by the receiving server at once, which is how a dead peer is noticed.
func (r *driver) send(ms []pacifica.Message) {
	for i := range ms {
		m := &ms[i]
		to := m.To
		out := rpc.Outgoing{Code: base.RPCPacifica, Gpid: r.gpid, Arg: wireMessage{m}, PartitionHash: r.srv.meta.Identity.Tag(), OneWay: true, From: r.srv.addr, Burst: r.worker.burst}
		if m.Type == pacifica.MsgAck && r.dir.Short() {
			out.Arg = shortMessage{m}
		}
		if r.isTracing() {
			r.traceMessage(m, &out)
		}
		if m.Type == pacifica.MsgPrepare && len(m.Entries) == 0 {
			out.OneWay = false
			r.srv.pool.Go(r.srv.peerName(to), pingTimeout, out, func(_ []byte, err error) {
				if errors.Is(err, base.ErrNetworkFailure) || errors.Is(err, base.ErrClusterNotFound) {
					r.post(func(r *driver) { r.core.Unreachable(to) })
				}
			})
			continue
		}
		r.srv.pool.Go(r.srv.peerName(to), pingTimeout, out, nil)
	}
}

// hearRoom takes what an acknowledgement says of its sender's disk.
func (r *replica) hearRoom(m *pacifica.Message, short bool) {
	if m.Type != pacifica.MsgAck || m.Role != pacifica.Secondary || !r.admission.Peers.Heard(m.From, short, time.Now()) {
		return
	}
	if name := r.srv.peerName(m.From); short {
		r.log.Warnf("the disk of secondary %s has too little free space: writes are refused", name)
	} else {
		r.log.Warnf("the disk of secondary %s has enough free space again", name)
	}
}

// entryList is a list of entries that no message has, or, empty, what it lay in.
type entryList struct{ es []pacifica.Entry }

var entryLists, emptyLists sync.Pool

// newEntries returns a list of n entries for a message that was received.
func newEntries(n int) []pacifica.Entry {
	l, _ := entryLists.Get().(*entryList)
	if l == nil {
		return make([]pacifica.Entry, n, max(n, 8))
	}
	es := l.es
	l.es = nil
	emptyLists.Put(l)
	if cap(es) < n {
		return make([]pacifica.Entry, n)
	}
	return es[:n]
}

// keepEntries takes back what newEntries gave. A core keeps entries, not the list.
func keepEntries(es []pacifica.Entry) {
	if cap(es) == 0 || cap(es) > 256 {
		return
	}
	clear(es)
	l, _ := emptyLists.Get().(*entryList)
	if l == nil {
		l = new(entryList)
	}
	l.es = es[:0]
	entryLists.Put(l)
}

// payloadOf strips the pseudo field header and STOP of a body.
func payloadOf(body []byte) []byte {
	if len(body) < 4 {
		return nil
	}
	return body[3 : len(body)-1]
}

// empty is a struct without fields.
type empty struct{}

// AppendThrift appends the STOP.
func (empty) AppendThrift(b []byte) []byte { return tbin.AppendStop(b) }

// tracedMessage is a message that tells of traces.
type tracedMessage struct {
	*pacifica.Message
	short bool
	items []trace.Item
}

// AppendThrift appends the message.
func (x tracedMessage) AppendThrift(b []byte) []byte {
	at := len(b) + flagsAt
	b = wireMessage{x.Message}.AppendThrift(b)
	b[at] |= flagTrace
	if x.short {
		b[at] |= flagShort
	}
	return trace.AppendBlock(b, x.items, x.Type == pacifica.MsgPrepare)
}
