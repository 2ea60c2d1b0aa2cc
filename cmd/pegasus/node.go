package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"pegasus/cli"
)

// longWait is how long commands watch what takes its time, unless told otherwise.
const longWait = 24 * time.Hour

func rebalanceCmd() *cobra.Command {
	f := &clientFlags{}
	var a cli.Rebalance
	c := &cobra.Command{Use: "rebalance", Short: "Even out replicas and primaries over the replica servers", Args: wantArgs(0, 0),
		Long: "Even out replicas and primaries over the replica servers, once: each table's, and all together, to within one,\n" +
			"and bytes within meta.balance_bytes_tolerance. At function level lively the meta does so by itself all the time.\n\n" +
			"With --dry-run nothing is moved: each move is shown with its reason. Without it progress is shown until all is done;\n" +
			"interrupting the command doesn't end the moving, --stop does, and --status tells how it goes or what it came to; a new leader\n" +
			"of the metas carries on. meta.balance_copies_per_node limits concurrent copies.",
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.Rebalance(ctx, a) })
		}}
	f.add(c)
	c.Flags().BoolVar(&a.DryRun, "dry-run", false, "show what would be moved, and why")
	c.Flags().BoolVar(&a.Status, "status", false, "tell how far the rebalancing is that is under way, or why the last one ended")
	c.Flags().BoolVar(&a.Stop, "stop", false, "end a rebalancing that is under way")
	c.Flags().StringVar(&a.Table, "table", "", "only this table")
	c.Flags().BoolVar(&a.PrimariesOnly, "primaries-only", false, "only choose other primaries among the replicas there are: nothing is copied")
	c.Flags().DurationVar(&a.Wait, "wait", longWait, "how long to show progress; 0: not at all")
	c.MarkFlagsMutuallyExclusive("dry-run", "status", "stop")
	return c
}

func nodeCmd() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{Use: "node", Short: "Take replica servers out, and restart them", RunE: wantSubcommand}
	f.add(c)
	with := func(use, short string, least, most int, do func(context.Context, *cli.Env, []string) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: wantArgs(least, most),
			RunE: func(c *cobra.Command, args []string) error {
				return f.with(c, func(ctx context.Context, e *cli.Env) error { return do(ctx, e, args) })
			}}
	}
	ls := with("ls", "List the replica servers with what they hold and may hold", 0, 0, func(ctx context.Context, e *cli.Env, _ []string) error {
		return e.NodeList(ctx)
	})
	var wait time.Duration
	drain := with("drain HOST:PORT", "Move everything away from a replica server, so that it can be stopped", 1, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.NodeDrain(ctx, a[0], wait)
	})
	drain.Aliases = []string{"take-out"}
	drain.Flags().DurationVar(&wait, "wait", longWait, "how long to show progress; 0: not at all")
	back := with("back HOST:PORT", "Let a replica server that was drained hold replicas again", 1, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.NodeBack(ctx, a[0])
	})
	var r cli.Restart
	restart := with("restart --exec COMMAND [HOST:PORT...]", "Restart replica servers one after the other", 0, -1, func(ctx context.Context, e *cli.Env, a []string) error {
		if r.Exec == "" {
			return errors.New("--exec is missing: give the shell command that restarts a server; its address is $1 and $PEGASUS_NODE")
		}
		r.Nodes = a
		return e.NodeRestart(ctx, r)
	})
	restart.Long = "Restart replica servers one after the other: those that are named, or all that live.\n\n" +
		"Of each the primaries are moved away first; then the command is run by sh with the server's address as $1 and\n" +
		"$PEGASUS_NODE; then it is waited until the new process serves and all partitions are whole. A server is restarted only\n" +
		"while every partition is whole and keeps two living replicas without it. In the end primaries are evened out."
	restart.Flags().StringVar(&r.Exec, "exec", "", "shell command that restarts the server $1")
	restart.Flags().DurationVar(&r.Wait, "wait", 30*time.Minute, "how long each step of a server may take")
	restart.Flags().BoolVar(&r.NoRebalance, "no-rebalance", false, "leave the primaries where they are in the end")
	c.AddCommand(ls, drain, back, restart)
	return c
}
