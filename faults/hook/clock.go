//go:build faultclock

package hook

import "time"

// setClock moves the wall clock of this process.
func setClock(seconds int64) { time.SetFaultOffset(seconds) }
