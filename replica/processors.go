package replica

import (
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// Go gives a processor to whoever has it for up to 10 ms, and looks at the network only when
// one comes free: while flushes and compactions keep all of them busy, requests wait for such
// turns. With a processor more than the machine has they don't: the operating system decides,
// and it prefers a thread that was waiting for the network to one that computes. Otherwise an
// additional processor costs time, looking for work that isn't there.
const (
	spareProcessors = 1
	spareLinger     = 500 * time.Millisecond // after the last flush or compaction: each change stops the process for a moment
)

// heavy counts the flushes and compactions that run.
type heavy struct {
	running atomic.Int64
	began   chan struct{} // capacity 1
}

// changed is called by the stores, with their locks held.
func (h *heavy) changed(by int64) {
	if h.running.Add(by) > 0 && by > 0 {
		select {
		case h.began <- struct{}{}:
		default:
		}
	}
}

// spareLoop has Go use more processors while stores are at heavy work, until halt is closed.
// It is for a process of one server, and does nothing if the environment says how many
// processors are to be used.
func (h *heavy) spareLoop(halt <-chan struct{}) {
	if os.Getenv("GOMAXPROCS") != "" {
		return
	}
	for {
		select {
		case <-halt:
			return
		case <-h.began:
		}
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcessors)
		h.calm(halt)
		runtime.SetDefaultGOMAXPROCS()
	}
}

// calm returns when no flush and no compaction ran for a while, or with halt.
func (h *heavy) calm(halt <-chan struct{}) {
	t := time.NewTicker(spareLinger / 2)
	defer t.Stop()
	for quiet := 0; quiet < 2; quiet++ {
		select {
		case <-halt:
			return
		case <-h.began:
			quiet = -1
		case <-t.C:
			if h.running.Load() > 0 {
				quiet = -1
			}
		}
	}
}
