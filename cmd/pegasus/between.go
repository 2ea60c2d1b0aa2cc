package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/cli"
	"pegasus/client"
	"pegasus/migrate"
	"pegasus/rpc"
)

// betweenFlags are those of commands that talk to two clusters.
type betweenFlags struct {
	from, to []string
	output   string
	timeout  time.Duration
	there    string // the table's name there
}

func (f *betweenFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringSliceVar(&f.from, "from", splitList(os.Getenv("PEGASUS_META")), "addresses of the meta servers of the first cluster (default from PEGASUS_META)")
	fl.StringSliceVar(&f.to, "to", nil, "addresses of the meta servers of the other cluster")
	fl.StringVar(&f.there, "name-there", "", "name of the table in the other cluster (default: the same)")
	fl.StringVarP(&f.output, "output", "o", "table", "output format: table or json")
	durationVar(fl, &f.timeout, "timeout", 10*time.Second, time.Millisecond, "time limit of an operation, including retries")
}

// with runs a command on the first cluster's Env and a client of the other one. rDSN's framing is what C++ servers of every
// version understand.
func (f *betweenFlags) with(c *cobra.Command, do func(context.Context, *cli.Env, *client.Client) error) error {
	if err := checkOutput(f.output); err != nil {
		return err
	}
	if err := checkMetas("from", f.from); err != nil {
		return err
	}
	if err := checkMetas("to", f.to); err != nil {
		return err
	}
	o := client.Options{Timeout: f.timeout, Framing: rpc.RDSN, Who: who()}
	from, to := client.New(f.from, o), client.New(f.to, o)
	defer from.Close()
	defer to.Close()
	return do(c.Context(), &cli.Env{Client: from, Out: c.OutOrStdout(), JSON: f.output == "json"}, to)
}

func compareCmd() *cobra.Command {
	c := &cobra.Command{Use: "compare", Short: "Compare tables of two clusters", RunE: wantSubcommand}
	f, x := &betweenFlags{}, cli.Comparison{}
	table := &cobra.Command{Use: "table NAME --from METAS --to METAS", Short: "Find the rows in which a table differs from that of another cluster", Args: wantArgs(1, 1),
		Long: "Find the rows that a table of the first cluster has and that of the other one hasn't, the other way round, and rows with another\n" +
			"value or expiry. Both may be written meanwhile: a row that differs is looked at again after --tolerance. The partition\n" +
			"counts may differ. Nothing is written. The exit status is 1 if a row differs, and 2 if none does, but some changed at each look.\n\n" +
			"With --sample the values of that share of the rows are compared, and all keys.",
		RunE: func(c *cobra.Command, a []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env, there *client.Client) error {
				x.Env, x.There, x.TableThere, x.ProgressOut = e, there, f.there, c.ErrOrStderr()
				return x.Run(ctx, a[0])
			})
		}}
	f.add(table)
	fl := table.Flags()
	fractionVar(fl, &x.Options.Sample, "sample", 1, 0.000001, 1, "share of the rows whose values are compared")
	durationVar(fl, &x.Options.Tolerance, "tolerance", 5*time.Second, 0, "how long a difference has to stay; what takes longer on its way counts as different")
	numberVar(fl, &x.Options.Limit, "limit", "", 20, base.Range{Min: 0, Max: 10000}, "rows that are printed; all are counted")
	fl.BoolVar(&x.Values, "values", false, "print values and expiries, too")
	numberVar(fl, &x.Options.Parallel, "parallel", "", 4, base.Range{Min: 1, Max: 64}, "partitions that are read at the same time")
	c.AddCommand(table)
	return c
}

// withoutTerminal is for what must not just die when its terminal is closed, or who reads its output ends: the returned
// context ends in the first case, and an error of a write is all there is in the second.
func withoutTerminal(ctx context.Context) (context.Context, context.CancelFunc) {
	signal.Ignore(syscall.SIGPIPE)
	if signal.Ignored(syscall.SIGHUP) {
		return context.WithCancel(ctx) // of nohup
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}

func migrateCmd() *cobra.Command {
	c := &cobra.Command{Use: "migrate", Short: "Move tables to other clusters", RunE: wantSubcommand}
	f, x := &betweenFlags{}, cli.Move{}
	verify := string(migrate.Auto)
	table := &cobra.Command{Use: "table NAME --from METAS --to METAS", Short: "Move a table to another cluster while it is used", Args: wantArgs(1, 1),
		Long: "Move a table to another cluster while it is used. Either may be one of ours or of C++. The source sends the table to the other\n" +
			"cluster, whose section [clusters.NAME] it has in its configuration. When little is behind, the source refuses writes, the rest\n" +
			"is sent, and the copy is verified. Then the clients are switched, which is up to you.\n\n" +
			"What is done is kept by the clusters: the command can be ended and run again at any time. If it fails while writes are\n" +
			"refused, it allows them again. --abort leaves the source as it was, --finish ends the migration when the clients are switched.",
		RunE: func(c *cobra.Command, a []string) error {
			x.Options.Verify = migrate.Verify(verify)
			switch x.Options.Verify {
			case migrate.Auto, migrate.ByDigest, migrate.ByCompare, migrate.None:
			default:
				return fmt.Errorf("--verify %q: give auto, digest, compare or none", verify)
			}
			if x.Options.DropCopy && !x.Abort {
				return errors.New("--drop-copy goes with --abort")
			}
			return f.with(c, func(ctx context.Context, e *cli.Env, there *client.Client) error {
				ctx, stop := withoutTerminal(ctx)
				defer stop()
				x.Env, x.There, x.MetasTo, x.Options.TableThere = e, there, f.to, f.there
				return x.Run(ctx, a[0])
			})
		}}
	f.add(table)
	fl := table.Flags()
	fl.StringVar(&x.Options.ClusterThere, "cluster", "", "name of the other cluster in the source's configuration (default: the name that it has itself)")
	numberVar(fl, &x.Options.Replicas, "replicas", "r", 0, replicaNumbers, "replicas of the table in the other cluster; 0 is as many as here")
	fl.StringVar(&verify, "verify", verify, "digest compares hashes while writes are refused; compare compares all rows before that; none; auto is digest where that is possible and quick enough")
	numberVar(fl, &x.Options.MaxBehind, "max-behind", "", 1000, base.Range{Min: 1, Max: 1 << 40}, "mutations that may be behind when writes are refused")
	durationVar(fl, &x.Options.MaxRefused, "max-refused", 0, 0, "how long writes may be refused until the copy is verified; then they are allowed again (0: 1m, and 5m if the source is of C++)")
	fl.BoolVar(&x.Options.KeepRefused, "keep-refused", false, "don't allow writes again when something fails")
	fl.BoolVar(&x.DryRun, "dry-run", false, "check both clusters and show what would be done")
	fl.BoolVar(&x.Abort, "abort", false, "leave the source as it was: it takes writes, and sends nothing")
	fl.BoolVar(&x.Options.DropCopy, "drop-copy", false, "with --abort: drop the table in the other cluster")
	fl.BoolVar(&x.Finish, "finish", false, "end the duplication, after the clients were switched")
	table.MarkFlagsMutuallyExclusive("dry-run", "abort", "finish")
	c.AddCommand(table, migrateTablesCmd(), migrateDirsCmd())
	return c
}
