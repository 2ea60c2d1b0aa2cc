package main

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"pegasus/bench"
	"pegasus/rpc"
)

func benchCmd() *cobra.Command {
	var (
		f        clientFlags
		o        bench.Options
		pids     string
		thrift   bool
		progress bool
	)
	c := &cobra.Command{
		Use:   "bench",
		Short: "Load a table and measure; check that what was acknowledged is there",
		Long: "Load a table and measure, or check that what was acknowledged is there.\n\nOperations:\n" + bench.Ops() +
			"\nWithout --count and --time a run takes 10 seconds. The exit status is 1 if an operation\nfailed or a row is lost or wrong.",
		Args: wantArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			var err error
			if o.Pids, err = bench.ParsePids(pids); err != nil {
				return err
			}
			o.Metas, o.Timeout = f.metas, f.timeout
			if thrift {
				o.Framing = rpc.THFT1
			}
			if progress {
				o.Progress = c.ErrOrStderr()
			}
			if o.Rate > 0 && !c.Flags().Changed("outstanding") {
				o.Outstanding = 1000
			}
			rep, err := bench.Run(c.Context(), o)
			if rep == nil {
				return err
			}
			if f.output == "json" {
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				if jerr := enc.Encode(rep); err == nil {
					err = jerr
				}
				return err
			}
			rep.Print(c.OutOrStdout())
			return err
		},
	}
	f.add(c)
	fl := c.Flags()
	fl.StringVar(&o.Table, "table", "", "table to load")
	fl.StringVar(&o.Op, "op", "set", "what to do, see above")
	fl.Int64Var(&o.Count, "count", 0, "operations")
	fl.DurationVar(&o.Duration, "time", 0, "duration of the run")
	fl.Float64Var(&o.Rate, "rate", 0, "operations a second to offer, whether or not they are answered; 0: the next when one is answered")
	fl.IntVar(&o.Clients, "clients", 4, "clients, each with connections of its own")
	fl.IntVar(&o.Outstanding, "outstanding", 25, "operations in flight, each client (with --rate: 1000)")
	fl.IntVar(&o.ValueSize, "value-size", 1024, "bytes of a value")
	fl.Int64Var(&o.Keys, "keys", 0, "rows to choose from; 0: --count, or 1000000")
	fl.IntVar(&o.RowsPerHash, "rows-per-hash", 0, "rows that share a hash key; 0: 1, and 100 for operations on many rows")
	fl.Uint64Var(&o.Seed, "seed", 1, "seed of values and of the choice of rows")
	fl.StringVar(&o.Dist, "dist", "", "choice of rows: uniform, zipf, latest, sequential (default: the operation's own)")
	fl.Float64Var(&o.ReadRatio, "read-ratio", 0.5, "of --op mixed")
	fl.StringVar(&o.Acked, "record-acked", "", "file that records which rows were acknowledged, and that verify reads")
	fl.BoolVar(&o.Check, "verify", false, "compare what get reads with what set writes")
	fl.BoolVar(&o.NoResend, "no-resend", false, "never send a write again whose fate is unknown")
	fl.DurationVar(&o.GiveUp, "give-up", 30*time.Second, "end when nothing succeeded for this long")
	fl.StringVar(&pids, "pids", "", "server processes to account: ids separated by commas, or the directory of a onebox")
	fl.BoolVar(&thrift, "thrift", false, "speak the THFT framing, as Java clients do, in place of rDSN's")
	fl.BoolVar(&progress, "progress", true, "a line each second on standard error")
	return c
}
