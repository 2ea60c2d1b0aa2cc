package meta

import (
	"fmt"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
)

const (
	historyParts  = 10000 // partitions whose last events are remembered
	historyEvents = 8     // of each
)

// event is something that was done about a partition, and why.
type event struct {
	at        time.Time
	what, why string
}

// history is the last events of a partition, the oldest first.
type history struct{ events []event }

// recordEvent remembers an event. The caller holds mu.
func (ps *partitions) recordEvent(g base.Gpid, what, why string) {
	h := ps.history[g]
	if h == nil {
		if len(ps.history) >= historyParts {
			for old := range ps.history { // whichever comes
				delete(ps.history, old)
				break
			}
		}
		h = &history{}
		ps.history[g] = h
	}
	if len(h.events) == historyEvents {
		h.events = append(h.events[:0], h.events[1:]...)
	}
	h.events = append(h.events, event{time.Now(), what, why})
}

func typeName(t metaadmin.ConfigType) string { return strings.TrimPrefix(t.String(), "CT_") }

// difference says in words what changed between two configurations.
func difference(old, now *state.Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "ballot %d", now.Ballot)
	if now.Primary != old.Primary {
		fmt.Fprintf(&b, ", primary %v", now.Primary)
	}
	for _, a := range now.AppendMembers(nil) {
		if !old.Has(a) && a != now.Primary {
			fmt.Fprintf(&b, ", %v joined", a)
		}
	}
	for _, a := range old.AppendMembers(nil) {
		if !now.Has(a) {
			fmt.Fprintf(&b, ", %v left", a)
		}
	}
	return b.String()
}
