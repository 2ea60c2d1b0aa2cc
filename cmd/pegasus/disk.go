package main

import (
	"context"

	"github.com/spf13/cobra"

	"pegasus/cli"
)

func diskCmd() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{Use: "disk", Short: "Show the data directories of replica servers; add one, move replicas between them, balance them, retry or abandon failed ones", RunE: wantSubcommand}
	f.add(c)
	with := func(use, short string, n int, do func(context.Context, *cli.Env, []string) error) *cobra.Command {
		return f.sub(use, short, n, n, do)
	}
	ls := with("ls", "List the data directories with their state, replicas and free space", 0,
		func(ctx context.Context, e *cli.Env, _ []string) error { return cli.Disks{Env: e}.List(ctx) })
	retry := with("retry HOST:PORT TAG", "Have a replica server use a failed data directory again", 2,
		func(ctx context.Context, e *cli.Env, a []string) error {
			return cli.Disks{Env: e}.Retry(ctx, a[0], a[1])
		})
	retry.Long = "Have a replica server use a failed data directory again, even if it failed too often. The server tests the disk first;\n" +
		"`pegasus disk ls` shows the result. If the disk was replaced and is empty, the server creates the directory, and the\n" +
		"replicas are copied from other servers."
	abandon := with("abandon HOST:PORT TAG", "Abandon a failed data directory, so that the server can hold its replicas on other disks", 2,
		func(ctx context.Context, e *cli.Env, a []string) error {
			return cli.Disks{Env: e}.Abandon(ctx, a[0], a[1])
		})
	abandon.Long = "Abandon a failed data directory, so that the server can hold its replicas on other disks. Otherwise they are copied only\n" +
		"to other servers, because the disk may come back. Nothing on the disk is deleted. After a restart the server uses the\n" +
		"directory again if it works. If a replica is on two disks by then, the older copy is moved aside."
	add := with("add HOST:PORT TAG PATH", "Have a replica server use one more data directory, without a restart", 3,
		func(ctx context.Context, e *cli.Env, a []string) error {
			return cli.Disks{Env: e}.Add(ctx, a[0], a[1], a[2])
		})
	add.Long = "Have a replica server use one more data directory, without a restart. The directory must be empty; the server creates it if\n" +
		"its parent is there. The other data directories remember it, so that the server uses it after a restart, too. Add it to\n" +
		"replica.data_dirs nonetheless: `pegasus disk ls` says what to write."
	from, to := "", ""
	move := with("move HOST:PORT APP_ID.PARTITION --from TAG --to TAG", "Move a replica to another data directory of its server, while it is used", 2,
		func(ctx context.Context, e *cli.Env, a []string) error {
			return cli.Disks{Env: e}.Move(ctx, a[0], a[1], from, to)
		})
	move.Long = "Move a replica to another data directory of its server, while it is used. The data is copied at the rate at which learners\n" +
		"copy; then the replica changes over, for which requests wait for a moment. The command waits for the end. If it is interrupted the\n" +
		"server goes on: `pegasus disk ls` shows how far it is. After an error the replica is where it was."
	move.Flags().StringVar(&from, "from", "", "tag of the data directory that the replica is in")
	move.Flags().StringVar(&to, "to", "", "tag of the data directory that it is to be in")
	for _, name := range []string{"from", "to"} {
		if err := move.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	var b cli.DiskBalance
	balance := with("balance", "Balance replicas across the data directories of each replica server", 0,
		func(ctx context.Context, e *cli.Env, _ []string) error { return cli.Disks{Env: e}.Balance(ctx, b) })
	balance.Long = "Balance replicas across the data directories of each replica server: bytes within a tenth of what is a directory's\n" +
		"share by its room, and numbers of replicas as far as that allows. With --dry-run the command only shows each move with\n" +
		"its reason. Otherwise the servers move one replica at a time. Ctrl-C stops after the present move; the next call goes on."
	balance.Flags().StringVar(&b.Server, "server", "", "balance only this replica server (host:port)")
	balance.Flags().BoolVar(&b.DryRun, "dry-run", false, "show the moves and their reasons, and move nothing")
	c.AddCommand(ls, add, balance, move, retry, abandon)
	return c
}
