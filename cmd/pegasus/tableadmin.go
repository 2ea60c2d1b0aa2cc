package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/cli"
)

// tableAdminCmds are the rarer subcommands of `table`.
func tableAdminCmds(f *clientFlags) []*cobra.Command {
	as := ""
	recall := f.sub("recall NAME|ID", "Bring a dropped table back", 1, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		return cli.TableAdmin{Env: e}.Recall(ctx, a[0], as)
	})
	recall.Long = "Bring a dropped table back, with its data. `pegasus table ls --all` lists dropped tables. Of several with one name, give the id."
	recall.Flags().StringVar(&as, "as", "", "its new name (default: the one that it had)")

	rename := f.sub("rename NAME NEW_NAME", "Give a table another name", 2, 2, func(ctx context.Context, e *cli.Env, a []string) error {
		return cli.TableAdmin{Env: e}.Rename(ctx, a[0], a[1])
	})
	rename.Long = "Give a table another name. Clients that use it go on until they look it up again; then they need the new name."

	replicas := f.sub("replicas NAME [NUMBER]", "Show or set how many replicas the partitions of a table have", 1, 2, func(ctx context.Context, e *cli.Env, a []string) error {
		n := int64(0)
		if len(a) > 1 {
			var err error
			if n, err = strconv.ParseInt(a[1], 10, 32); err != nil || n < base.Replicas.Min || n > base.Replicas.Max {
				return fmt.Errorf("NUMBER is %q: give a whole number, %d to %d", a[1], base.Replicas.Min, base.Replicas.Max)
			}
		}
		return cli.TableAdmin{Env: e}.Replicas(ctx, a[0], int32(n))
	})

	atomic := f.sub("atomic-idempotent NAME [on|off]", "Show or set atomic_idempotent of a table", 1, 2, func(ctx context.Context, e *cli.Env, a []string) error {
		return cli.TableAdmin{Env: e}.Atomic(ctx, a[0], append(a, "")[1])
	})
	atomic.Long = "Show or set atomic_idempotent of a table. C++ servers need it to duplicate incr, check-and-set and check-and-mutate. These\n" +
		"servers always make such writes idempotent: the property is kept for tools, and for clusters that a table moves to."

	var r cli.Rebalance
	balance := f.sub("balance NAME", "Balance the replicas and primaries of one table", 1, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		r.Table = a[0]
		return e.Rebalance(ctx, r)
	})
	balance.Long = "Balance the replicas and primaries of one table: `pegasus rebalance --table NAME`."
	balance.Flags().BoolVar(&r.DryRun, "dry-run", false, "show the moves and their reasons, and move nothing")
	balance.Flags().BoolVar(&r.PrimariesOnly, "primaries-only", false, "move only primaries; copy no replicas")
	durationVar(balance.Flags(), &r.Wait, "wait", longWait, 0, "how long to show progress; 0 doesn't wait")

	var p cli.Proposal
	propose := f.sub("propose NAME.PARTITION primary|secondary|remove HOST:PORT", "Ask for a change of one partition", 3, 3, func(ctx context.Context, e *cli.Env, a []string) error {
		p.Partition, p.Do, p.Node = a[0], a[1], a[2]
		return cli.TableAdmin{Env: e}.Propose(ctx, p)
	})
	propose.Long = "Ask the meta servers for a change of one partition: a secondary becomes the primary, a server gets a secondary, or gives up\n" +
		"the one that it has. The meta servers refuse what would be unsafe. What lacks or is uneven afterwards they repair by themselves."
	propose.Flags().BoolVar(&p.DryRun, "dry-run", false, "only say what would be proposed")

	var cp cli.Compact
	compact := f.sub("compact NAME", "Compact all replicas of a table", 1, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		cp.Table = a[0]
		return cli.TableAdmin{Env: e}.Compact(ctx, cp)
	})
	compact.Long = "Compact all replicas of a table: removed, overwritten and expired rows give their room back. The command shows the progress\n" +
		"until all are done. Interrupting it doesn't stop the servers; `pegasus table env set NAME manual_compact.disabled=true` does."
	compact.Flags().BoolVar(&cp.Status, "status", false, "only show how far it is")
	compact.Flags().BoolVar(&cp.Bottommost, "bottommost", false, "also what is at the lowest level already")
	numberVar(compact.Flags(), &cp.MaxRunning, "max-running", "", 0, base.Range{Min: 0, Max: 1 << 20}, "replicas of a server at a time; 0: as the table's settings say")
	durationVar(compact.Flags(), &cp.Wait, "wait", 24*time.Hour, 0, "how long to show progress; 0 doesn't wait")

	var over time.Duration
	stats := f.sub("stats [NAME]", "Show what clients ask of each table, or of each partition of one, in a second", 0, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		return cli.Servers{Env: e}.Stats(ctx, append(a, "")[0], over)
	})
	durationVar(stats.Flags(), &over, "over", time.Second, 10*time.Millisecond, "how long to measure")
	history := false
	usage := f.sub("usage [NAME]", "Show what each table takes on disks and in memory, or used by hour", 0, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		if history {
			return cli.Servers{Env: e}.UsageHistory(ctx, append(a, "")[0])
		}
		return cli.Servers{Env: e}.Usage(ctx, append(a, "")[0])
	})
	usage.Flags().BoolVar(&history, "history", false, "capacity units and size by hour, of the last two days at most")
	return []*cobra.Command{recall, rename, replicas, atomic, balance, propose, compact, stats, usage}
}

// levelCmd is `meta level`.
func levelCmd() *cobra.Command {
	f := &clientFlags{}
	c := f.sub("level [LEVEL]", "Show or set how much the meta servers do by themselves", 0, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		return cli.TableAdmin{Env: e}.MetaLevel(ctx, append(a, "")[0])
	})
	c.Long = "Show or set how much the meta servers do by themselves: " + strings.Join(cli.Levels(), ", ") + ". They begin with steady. With freezed\n" +
		"or less nothing is created or dropped, and lost replicas aren't replaced: set it back when the work is done."
	c.ValidArgs = cli.Levels()
	f.add(c)
	return c
}

func dddCmd() *cobra.Command {
	f := &clientFlags{}
	var d cli.Ddd
	c := f.sub("ddd [TABLE[.PARTITION]]", "Show partitions that go on only if somebody does something, and fix them", 0, 1, func(ctx context.Context, e *cli.Env, a []string) error {
		d.What = append(a, "")[0]
		return cli.TableAdmin{Env: e}.Diagnose(ctx, d)
	})
	c.Long = "Show the partitions that no member of serves and that no repair helps, with the replicas that are known and what can be done.\n\n" +
		"With --fix they go on with the replica that has the most data, or with that of the server --with. Rows that it lacks are\n" +
		"lost: start the dead servers instead, if they still exist. It is what `pegasus recover --accept-loss` does."
	f.add(c)
	c.Flags().BoolVar(&d.Fix, "fix", false, "go on with what there is; rows may be lost")
	c.Flags().StringVar(&d.With, "with", "", "address of the replica server whose replica is used (default: the one with the most data)")
	c.Flags().BoolVar(&d.DryRun, "dry-run", false, "only show what --fix would do")
	return c
}
