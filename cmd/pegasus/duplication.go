package main

import (
	"context"
	"math"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/cli"
	"pegasus/client"
	"pegasus/gen/duplication"
)

// Numbers of the flags; 0 stands for what isn't said.
var (
	replicaNumbers = base.Range{Min: 0, Max: base.Replicas.Max}
	duplicationIDs = base.Range{Min: 0, Max: math.MaxInt32}
)

func dupCmd() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{Use: "dup", Short: "Send tables to other clusters, and show how far they are", RunE: wantSubcommand}
	f.add(c)
	with := func(use, short string, n int, do func(context.Context, cli.Dups, []string) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: wantArgs(n, n),
			RunE: func(c *cobra.Command, args []string) error {
				return f.with(c, func(ctx context.Context, e *cli.Env) error { return do(ctx, cli.Dups{Env: e}, args) })
			}}
	}
	var o client.DuplicationOptions
	add := with("add TABLE CLUSTER", "Send a table, and all that is written to it, to another cluster", 2,
		func(ctx context.Context, e cli.Dups, a []string) error { return e.Add(ctx, a[0], a[1], o) })
	add.Long = "Send a table to another cluster, which has a section [clusters.NAME] in the configuration of this cluster's servers. The table\n" +
		"is created there if it doesn't exist. What is there now is copied first, and then what is written is sent."
	add.Flags().StringVar(&o.RemoteTable, "remote-table", "", "name of the table in the other cluster (default: the same)")
	numberVar(add.Flags(), &o.Replicas, "replicas", "r", 0, replicaNumbers, "replicas of the table in the other cluster if it is created; 0 is as many as here")
	add.Flags().BoolVar(&o.NoCopy, "no-copy", false, "send only what is written from now on; the table must exist in the other cluster")
	ls := with("ls", "List the tables that are sent to other clusters", 0,
		func(ctx context.Context, e cli.Dups, _ []string) error { return e.List(ctx) })
	var why bool
	show := with("show TABLE", "Show how far each partition is, and with --why the reason", 1,
		func(ctx context.Context, e cli.Dups, a []string) error { return e.Show(ctx, a[0], why) })
	show.Flags().BoolVar(&why, "why", false, "say why each partition stands where it does; JSON always says it")
	var id int
	set := func(use, short string, to duplication.DuplicationStatus) *cobra.Command {
		return with(use, short, 1, func(ctx context.Context, e cli.Dups, a []string) error { return e.Set(ctx, a[0], int32(id), to) })
	}
	pause := set("pause TABLE", "Stop sending; what isn't sent yet is kept", duplication.DS_PAUSE)
	resume := set("resume TABLE", "Go on sending", duplication.DS_LOG)
	remove := set("remove TABLE", "End a duplication; the table in the other cluster stays", duplication.DS_REMOVED)
	mode := with("fail-mode TABLE slow|skip", "Try what can't be sent until it succeeds (slow), or leave it out and count it (skip)", 2,
		func(ctx context.Context, e cli.Dups, a []string) error {
			return e.FailMode(ctx, a[0], int32(id), a[1])
		})
	for _, x := range []*cobra.Command{pause, resume, remove, mode} {
		numberVar(x.Flags(), &id, "id", "", 0, duplicationIDs, "which of the table's duplications; 0 is the only one")
		c.AddCommand(x)
	}
	c.AddCommand(add, ls, show)
	return c
}
