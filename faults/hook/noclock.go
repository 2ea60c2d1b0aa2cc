//go:build !faultclock

package hook

import (
	"fmt"
	"os"
)

func setClock(seconds int64) {
	fmt.Fprintf(os.Stderr, "faults: the clock can't be moved by %d s: this binary was built without the tag faultclock\n", seconds)
}
