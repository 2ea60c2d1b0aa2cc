package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/cli"
	"pegasus/client"
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
	if f.output != "table" && f.output != "json" {
		return fmt.Errorf("--output %q: give table or json", f.output)
	}
	for _, x := range []struct {
		flag  string
		metas []string
	}{{"from", f.from}, {"to", f.to}} {
		if len(x.metas) == 0 {
			return errors.New("--" + x.flag + " is missing: give the addresses of the cluster's meta servers, host:port, separated by commas")
		}
		for _, m := range x.metas {
			if err := config.CheckAddr(m); err != nil {
				return fmt.Errorf("--%s: %w; write host:port; separate several addresses with commas", x.flag, err)
			}
		}
	}
	o := client.Options{Timeout: f.timeout, Framing: rpc.RDSN}
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
			"counts may differ. Nothing is written. The exit status is 1 if a row differs.\n\n" +
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
