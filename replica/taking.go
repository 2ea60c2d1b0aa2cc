package replica

import (
	"sync/atomic"

	"pegasus/pacifica"
	"pegasus/rrdb"
)

// taking is the mutation in a replica's log that takes a set of rows (rrdb.Take), until it is applied. That takes longer than others, so rounds are for the
// replica's own goroutine then, and a primary evaluates no write meanwhile, which would not see those rows.
type taking struct{ load, decree atomic.Int64 }

// note looks for it among entries that the replica logs.
func (t *taking) note(es []pacifica.Entry) {
	for i := range es {
		if !rrdb.IsTake(es[i].Payload) {
			continue
		}
		if op, err := rrdb.ParseTake(es[i].Payload); err == nil {
			t.set(op.Load, es[i].Decree)
		}
	}
}

func (t *taking) set(load, decree int64) {
	t.load.Store(load)
	t.decree.Store(decree)
}

// applied says that the mutation of a decree is applied.
func (t *taking) applied(decree int64) {
	if d := t.decree.Load(); d != 0 && decree >= d {
		t.clear()
	}
}

func (t *taking) clear() {
	t.load.Store(0)
	t.decree.Store(0)
}

// pending tells whether there is one.
func (t *taking) pending() bool { return t.decree.Load() != 0 }
