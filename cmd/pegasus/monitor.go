package main

import (
	"os"
	"strings"
	"syscall"
)

// The Go runtime's monitor thread goes to sleep when nothing runs, and each system call that
// may block wakes it; then it looks on every 20 us for a while. A replica server under light
// load is idle between any two requests, and so pays for that with each write of its log: a
// third of the CPU time of a put. With schedtrace the monitor doesn't go to sleep in that way
// but looks 100 times a second. The trace itself is asked for each 24 days, the most there is.
const wakefulMonitor = "schedtrace=2147483647"

// keepMonitorAwake starts the program again with that setting, which can be given only by the
// environment and only at the start. The process stays the same. It does nothing if there is
// such a setting, and goes on as it is if it can't be done.
func keepMonitorAwake() {
	debug := os.Getenv("GODEBUG")
	if strings.Contains(debug, "schedtrace=") {
		return
	}
	if debug != "" {
		debug += ","
	}
	self, err := os.Executable()
	if err != nil || os.Setenv("GODEBUG", debug+wakefulMonitor) != nil {
		return
	}
	_ = syscall.Exec(self, os.Args, os.Environ()) // returns only if it failed
}
