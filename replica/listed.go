package replica

import (
	"strings"
	"sync"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/tbin"
	"pegasus/base/version"
	idl "pegasus/gen/rrdb"
	"pegasus/pacifica"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// place makes of a request of a published client that speaks THFT what the gate goes by.
//
// The hash: pypegasus3 leaves it out, and trusts that a server looks at the partition only. Which half of a partition that is
// split a row is in, the hash tells. So it is taken from the request. That of a scan of a whole partition is the partition's number, as
// the others send it.
//
// The partition: these clients are told that a child that isn't registered is where its parent is. Its requests are the parent's
// until it is.
func (g *gate) place(req *rpc.Request) {
	if !req.Framing.Thrift() {
		return
	}
	if req.PartitionHash == 0 {
		req.PartitionHash = hashIn(req)
	}
	if id, l := base.TableID(req.Gpid.AppID); l > 0 && g.reads(req.Gpid, base.Gpid{AppID: id, PartitionIndex: req.Gpid.PartitionIndex}, l) {
		req.Gpid.AppID, req.Listing = id, l
	}
	index, count, ok := req.Listing.ChildOf(req.Gpid.PartitionIndex)
	if !ok {
		return
	}
	if c := g.srv.replica(req.Gpid); c != nil {
		if v := c.view.Load(); v.Ballot > 0 || v.Status != pacifica.Inactive {
			return
		}
	}
	parent := base.Gpid{AppID: req.Gpid.AppID, PartitionIndex: index}
	r := g.srv.replica(parent)
	if r == nil {
		return
	}
	v := r.view.Load()
	if now := max(v.info.Partitions, r.whose()); v.Status == pacifica.Primary && (now == count/2 || now == count) {
		req.Gpid = parent
	}
}

// reads tells whether a request for literal, whose id says l besides the id of own, is for own.
func (g *gate) reads(literal, own base.Gpid, l base.Listing) bool {
	if g.srv.replica(literal) != nil || g.srv.isBetween(literal) {
		return false // the id is a table's
	}
	if may, told := g.mayList.of(own.AppID); told {
		return may
	}
	// The metas are older, or haven't said yet. A table isn't told so before it is split.
	r := g.srv.replica(own)
	if index, _, ok := l.ChildOf(own.PartitionIndex); r == nil && ok {
		r = g.srv.replica(base.Gpid{AppID: own.AppID, PartitionIndex: index})
	}
	return r != nil && (r.whose() > 0 || strings.EqualFold(r.view.Load().info.Envs[appenv.ValidateHash], "true"))
}

// mayList is what the metas said of tables, see base.MayList.
type mayList struct{ m sync.Map } // by the table's id

func (l *mayList) of(id int32) (may, told bool) {
	v, told := l.m.Load(id)
	may, _ = v.(bool)
	return may, told
}

// take takes what a config sync says. Older metas say nothing.
func (l *mayList) take(id int32, may base.Opt[bool]) {
	if was, told := l.of(id); may.Set && (!told || was != may.V) {
		l.m.Store(id, may.V)
	}
}

// listed tells whether clients that speak THFT are told the table under another id once it is split. If not, nobody knows of a scan by how many
// partitions it goes.
func (r *replica) listed() bool {
	_, v := r.srv.disks.Cluster()
	return r.srv.gate.mayList.lists(v, r.gpid.AppID)
}

// lists tells whether metas of a cluster of that version tell a table under another id once it is split.
func (l *mayList) lists(v version.Version, id int32) bool {
	may, told := l.of(id)
	return v.Allows(version.Listings) && (may || !told)
}

// hashIn returns the partition hash that a request's argument says, 0 if none: an argument that can't be read is refused by who reads it.
func hashIn(req *rpc.Request) uint64 {
	rd := req.ArgReader()
	switch req.Code {
	case base.RPCGet, base.RPCTTL, base.RPCRemove:
		return hashOfKey(rd.Bytes())
	case base.RPCSortkeyCount:
		return hashOf(rd.Bytes())
	case base.RPCPut, base.RPCIncr:
		return hashOfKey(first(&rd))
	case base.RPCMultiGet, base.RPCMultiPut, base.RPCMultiRemove, base.RPCCheckAndSet, base.RPCCheckAndMutate:
		return hashOf(first(&rd))
	case base.RPCScan, base.RPCClearScanner:
		return uint64(max(req.Gpid.PartitionIndex, 0))
	case base.RPCGetScanner:
		var q idl.GetScannerRequest
		q.ReadThrift(&rd)
		if rd.Err() != nil {
			return 0
		}
		if rrdb.Whole(&q) {
			return uint64(max(req.Gpid.PartitionIndex, 0))
		}
		return hashOfKey(q.StartKey)
	}
	return 0
}

// first returns the blob in field 1 of a struct, which is where requests have their key.
func first(rd *tbin.Reader) []byte {
	for {
		t, id := rd.Field()
		switch {
		case t == tbin.Stop || rd.Err() != nil:
			return nil
		case id == 1 && t == tbin.Struct:
			return rd.Bytes()
		}
		rd.Skip(t)
	}
}

func hashOfKey(key []byte) uint64 {
	if len(key) < 2 {
		return 0
	}
	return base.HashOfKey(key)
}

func hashOf(hashKey []byte) uint64 {
	if len(hashKey) == 0 {
		return 0
	}
	return base.CRC64(hashKey)
}
