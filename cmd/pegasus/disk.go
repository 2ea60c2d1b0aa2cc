package main

import (
	"context"

	"github.com/spf13/cobra"

	"pegasus/cli"
)

func diskCmd() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{Use: "disk", Short: "Show the data directories of replica servers, and bring back or give up those that failed", RunE: wantSubcommand}
	f.add(c)
	with := func(use, short string, n int, do func(context.Context, *cli.Env, []string) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: wantArgs(n, n),
			RunE: func(c *cobra.Command, args []string) error {
				return f.with(c, func(ctx context.Context, e *cli.Env) error { return do(ctx, e, args) })
			}}
	}
	ls := with("ls", "List the data directories with their state, what is in them and how much room they have", 0,
		func(ctx context.Context, e *cli.Env, _ []string) error { return e.DiskList(ctx) })
	retry := with("retry HOST:PORT TAG", "Have a replica server use a data directory again that failed", 2,
		func(ctx context.Context, e *cli.Env, a []string) error { return e.DiskRetry(ctx, a[0], a[1]) })
	retry.Long = "Have a replica server use a data directory again that failed, also one that it leaves alone because it failed too\n" +
		"often. The disk is tested first; `pegasus disk ls` shows what came of it. It may be another disk by now: if it is\n" +
		"empty the directory is made anew, and its replicas are copied from other servers."
	abandon := with("abandon HOST:PORT TAG", "Give up a data directory that failed, so that its replicas can be on another disk of that server", 2,
		func(ctx context.Context, e *cli.Env, a []string) error { return e.DiskAbandon(ctx, a[0], a[1]) })
	abandon.Long = "Give up a data directory that failed, so that its replicas can be on another disk of that server. Until then they are\n" +
		"copied to other servers only, for the disk might come back. What is on it stays as it is. After a restart the server\n" +
		"uses the directory again if it can; of a replica that is elsewhere by then the older copy is moved aside."
	c.AddCommand(ls, retry, abandon)
	return c
}
