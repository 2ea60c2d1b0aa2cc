//go:build faults

package main

import "pegasus/faults/hook"

// A binary with the tag faults obeys the control file of package hook. Only the fault run
// builds one.
func init() { hook.Install() }
