package replica

import (
	"runtime"
	"testing"
	"time"
)

// TestSpareProcessor: while there is heavy work there is a processor more, and only then.
func TestSpareProcessor(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	runtime.SetDefaultGOMAXPROCS()
	usual := runtime.GOMAXPROCS(0)
	become := func(n int, when string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); runtime.GOMAXPROCS(0) != n; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d processors, want %d", when, runtime.GOMAXPROCS(0), n)
			}
		}
	}
	h := heavy{began: make(chan struct{}, 1)}
	halt, ended := make(chan struct{}), make(chan struct{})
	go func() { h.spareLoop(halt); close(ended) }()
	for range 2 {
		h.changed(1)
		h.changed(1)
		become(usual+spareProcessors, "a flush and a compaction")
		h.changed(-1)
		h.changed(-1)
		become(usual, "none")
	}
	h.changed(1)
	become(usual+spareProcessors, "a flush")
	close(halt)
	<-ended
	become(usual, "the end")
}
