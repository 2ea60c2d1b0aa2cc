//go:build faults && plantedbugs

package main

import (
	"fmt"
	"os"

	"pegasus/pacifica"
)

// A binary with the tags faults and plantedbugs has the bug that PEGASUS_PLANT names: to
// show that the fault run finds it.
func init() {
	if err := pacifica.PlantBug(os.Getenv("PEGASUS_PLANT")); err != nil {
		fmt.Fprintln(os.Stderr, "PEGASUS_PLANT:", err)
		os.Exit(2)
	}
}
