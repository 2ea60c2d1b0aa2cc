package replica

import (
	"sync/atomic"

	"pegasus/base"
	"pegasus/metrics"
	"pegasus/replica/observe"
	"pegasus/rpc"
)

// refusals count the requests of clients that were answered with an error.
type refusals struct{ readBusy, readFailed, writeBusy, writeFailed atomic.Int64 }

// add counts an answer, if it is a client's.
func (n *refusals) add(req *rpc.Request, code base.ErrorCode) {
	op, ok := observe.ClientOp(req.Code)
	switch write := op >= metrics.OpPut; {
	case !ok:
	case write && code == base.ErrBusy:
		n.writeBusy.Add(1)
	case write:
		n.writeFailed.Add(1)
	case code == base.ErrBusy:
		n.readBusy.Add(1)
	default:
		n.readFailed.Add(1)
	}
}

func (n *refusals) collect(e *metrics.Entity) {
	e.Set(metrics.ReadBusy, n.readBusy.Load())
	e.Set(metrics.ReadFailed, n.readFailed.Load())
	e.Set(metrics.WriteBusy, n.writeBusy.Load())
	e.Set(metrics.WriteFailed, n.writeFailed.Load())
}
