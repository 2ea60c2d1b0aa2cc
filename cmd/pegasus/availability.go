package main

import (
	"context"

	"github.com/spf13/cobra"

	"pegasus/cli"
)

// availabilityCmd shows what the probes of partitions found.
func availabilityCmd(f *clientFlags) *cobra.Command {
	c := f.sub("availability [NAME]", "Show how available tables were, and which partitions fail", 0, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.Availability(ctx, f.metas, append(a, "")[0])
	})
	c.Long = "Show which part of the probes of each table succeeded in the last hour and day, and which partitions fail now. The leading meta\n" +
		"server asks the primary of every partition each probe.interval whether it can be read and written; it knows what was since it leads."
	return c
}
