package boottime

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

func boot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// Each Linux since 2.6.39 has it. Without it no lease can be kept.
		panic(fmt.Sprintf("read the boot clock: %v", err))
	}
	return time.Duration(ts.Nano())
}
