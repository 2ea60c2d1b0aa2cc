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
	c := &cobra.Command{Use: "rebalance", Short: "Balance replicas and primaries across the replica servers", Args: wantArgs(0, 0),
		Long: "Balance replicas and primaries across the replica servers, once: within one per table and in total, and bytes within\n" +
			"meta.balance_bytes_tolerance. At function level lively the meta server does this all the time.\n\n" +
			"With --dry-run the command only shows each move with its reason. Otherwise it shows the progress until all moves are\n" +
			"done. Interrupting the command doesn't stop the moves; --stop does. --status shows the progress, or the result. A new\n" +
			"leader of the meta servers continues. meta.balance_copies_per_node limits concurrent copies.",
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.Rebalance(ctx, a) })
		}}
	f.add(c)
	c.Flags().BoolVar(&a.DryRun, "dry-run", false, "show the moves and their reasons, and move nothing")
	c.Flags().BoolVar(&a.Status, "status", false, "show the progress of the running rebalance, or how the last one ended")
	c.Flags().BoolVar(&a.Stop, "stop", false, "stop the running rebalance")
	c.Flags().StringVar(&a.Table, "table", "", "rebalance only this table")
	c.Flags().BoolVar(&a.PrimariesOnly, "primaries-only", false, "move only primaries; copy no replicas")
	durationVar(c.Flags(), &a.Wait, "wait", longWait, 0, "how long to show progress; 0 doesn't wait")
	c.MarkFlagsMutuallyExclusive("dry-run", "status", "stop")
	return c
}

func nodeCmd() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{Use: "node", Short: "Drain, restart and forget replica servers", RunE: wantSubcommand}
	f.add(c)
	ls := f.sub("ls", "List the replica servers with their role, replicas and disks", 0, 0, func(ctx context.Context, e *cli.Env, _ []string) error {
		return e.NodeList(ctx)
	})
	var wait time.Duration
	drain := f.sub("drain HOST:PORT", "Move all replicas away from a replica server, so that it can be stopped", 1, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.NodeDrain(ctx, a[0], wait)
	})
	drain.Aliases = []string{"take-out"}
	durationVar(drain.Flags(), &wait, "wait", longWait, 0, "how long to show progress; 0 doesn't wait")
	back := f.sub("back HOST:PORT", "Let a drained replica server hold replicas again", 1, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.NodeBack(ctx, a[0])
	})
	forget := f.sub("forget HOST:PORT", "Make the meta servers forget a replica server that is gone for good", 1, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		return e.NodeForget(ctx, a[0])
	})
	var r cli.Restart
	restart := f.sub("restart --exec COMMAND [HOST:PORT...]", "Restart replica servers one after the other", 0, -1, func(ctx context.Context, e *cli.Env, a []string) error {
		if r.Exec == "" {
			return errors.New("--exec is missing: give the shell command that restarts a server; $1 and $PEGASUS_NODE are its address")
		}
		r.Nodes = a
		return e.NodeRestart(ctx, r)
	})
	restart.Long = "Restart replica servers one after the other: the given ones, or all live ones.\n\n" +
		"For each server, the command moves its primaries away, runs COMMAND in sh with the server's address as $1 and\n" +
		"$PEGASUS_NODE, and waits until the new process is serving and all partitions are healthy. It restarts a server only\n" +
		"while every partition is healthy and keeps two live replicas without it. At the end it balances the primaries."
	restart.Flags().StringVar(&r.Exec, "exec", "", "shell command that restarts the server with the address $1")
	durationVar(restart.Flags(), &r.Wait, "wait", 30*time.Minute, time.Second, "time limit of each step")
	restart.Flags().BoolVar(&r.NoRebalance, "no-rebalance", false, "don't balance the primaries at the end")
	c.AddCommand(ls, drain, back, forget, restart)
	return c
}
