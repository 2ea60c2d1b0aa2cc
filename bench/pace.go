package bench

import (
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"pegasus/rpc"
)

// paceStep is the least time between two looks at what is due: what becomes due meanwhile
// leaves together, and waits for half of it on average. With half of that, and starting what is
// overdue where an answer came in, the generator took a fifth more of the processors.
const paceStep = 200 * time.Microsecond

// pace starts operations when they are due, until the function that it returns is called.
//
// Go's timers aren't exact enough for that: an idle process is woken on whole milliseconds,
// a busy one when a goroutine ends its turn, and all of that would be measured as latency. So
// one goroutine sleeps in the system, with a timer of a microsecond's slack, on a processor
// of its own among Go's.
func (r *run) pace(loaders []*loader) (stop func()) {
	procs := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(procs + 1)
	var end atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked: the thread ends, and its slack with it
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1000, 0, 0, 0)
		var (
			burst rpc.Burst
			ready []*slot
		)
		for !end.Load() {
			at := time.Now().Add(10 * time.Millisecond)
			for _, l := range loaders {
				var due time.Time
				due, ready = l.dispatch(&burst, ready)
				if due.Before(at) {
					at = due
				}
			}
			burst.Flush()
			sleep(max(time.Until(at), paceStep))
		}
	}()
	return func() {
		end.Store(true)
		<-ended
		runtime.GOMAXPROCS(procs)
	}
}

// sleep sleeps in the system. The scheduler isn't told: the goroutine keeps its processor.
func sleep(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}
