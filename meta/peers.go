package meta

import (
	"sync/atomic"

	"pegasus/base"
	"pegasus/rpc"
)

// Which host_port fields a peer understands doesn't stand in its messages: Go clients of 2022, which
// can't decode them, and of 2026 send the same bytes. Clients of either kind connect by the packed
// addresses, so that neither needs the fields, but for upstream's newest collector, which ends itself
// without them (collector/hotspot/partition_detector.go). It is known by its questions: each connection of it begins with the
// list of tables, and the next question is where the partitions of one are. No other published tool
// begins so: admin-cli begins with the list of nodes, or has that follow the list of tables, and the Go client's admin
// package asks for partitions only after a table was created (recorded sessions, compat_test).

// manners is what a connection has asked for, see knowsHostPort.
type manners struct{ step atomic.Int32 }

// The steps.
const (
	askedNothing  int32 = iota
	askedTables         // and nothing else
	asksAsNewest        // as the newest collector does
	asksAsAnybody       // what any other asks for
)

type mannersKey struct{}

// knowsHostPort takes note of what the connection of a THFT request asks for, and tells whether who
// is there asks as one does that decodes host_port fields and needs them.
func knowsHostPort(req *rpc.Request) bool {
	if req.Framing != rpc.THFT0 {
		return false // Java clients of any version do without them
	}
	m := req.Note(mannersKey{}, new(manners)).(*manners)
	for {
		was := m.step.Load()
		if now := nextStep(was, req.Code); now == was || m.step.CompareAndSwap(was, now) {
			return now == asksAsNewest
		}
	}
}

// nextStep is the step that the request of that name leads to.
func nextStep(was int32, code string) int32 {
	switch {
	case code == base.RPCListApps && was <= askedTables:
		return askedTables
	case code == base.RPCQueryPartitionConfigByIndex && was == askedTables:
		return asksAsNewest
	case was == asksAsNewest && (code == base.RPCListApps || code == base.RPCListNodes || code == base.RPCQueryPartitionConfigByIndex):
		return asksAsNewest
	}
	return asksAsAnybody
}
