package main

import (
	"encoding/json"
	"math"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/bench"
	"pegasus/rpc"
)

// many is how many rows and operations there can be: their product with a row's size still fits.
var many = base.Range{Min: 0, Max: 1 << 40}

func benchCmd() *cobra.Command {
	var (
		f        clientFlags
		o        bench.Options
		pids     string
		thrift   bool
		progress bool
		seed     int64
	)
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the performance of a table, and verify acknowledged writes",
		Long: "Measure the performance of a table, or verify that acknowledged writes are there.\n\nOperations:\n" + bench.Ops() +
			"\nA run takes 10 seconds unless --count or --time says otherwise. The exit status is 1 if an\noperation failed, or if a row is lost or wrong.",
		Args: wantArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			var err error
			if o.Pids, err = bench.ParsePids(pids); err != nil {
				return err
			}
			o.Metas, o.Timeout, o.Seed = f.metas, f.timeout, uint64(seed)
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
	fl.StringVar(&o.Table, "table", "", "table to use")
	fl.StringVar(&o.Op, "op", "set", "operation to run (see above)")
	numberVar(fl, &o.Count, "count", "", 0, many, "operations")
	durationVar(fl, &o.Duration, "time", 0, 0, "duration of the run")
	fractionVar(fl, &o.Rate, "rate", 0, 0, 1e9, "target rate, in operations per second; 0 starts an operation as soon as another one ends")
	numberVar(fl, &o.Clients, "clients", "", 4, base.Range{Min: 1, Max: 10000}, "number of clients; each has its own connections")
	numberVar(fl, &o.Outstanding, "outstanding", "", 25, base.Range{Min: 1, Max: 1000000}, "operations in flight per client (default with --rate: 1000)")
	numberVar(fl, &o.ValueSize, "value-size", "", 1024, base.Range{Min: 0, Max: 16 << 20}, "size of a value, in bytes")
	numberVar(fl, &o.Keys, "keys", "", 0, many, "number of rows to choose from; 0 uses --count, or 1000000")
	numberVar(fl, &o.RowsPerHash, "rows-per-hash", "", 0, base.Range{Min: 0, Max: 1000000}, "rows per hash key; 0 uses 1, or 100 for operations on several rows")
	numberVar(fl, &seed, "seed", "", 1, base.Range{Min: 0, Max: math.MaxInt64}, "seed for values and for the choice of rows")
	fl.StringVar(&o.Dist, "dist", "", "distribution of rows: uniform, zipf, latest or sequential (default: depends on the operation)")
	fractionVar(fl, &o.ReadRatio, "read-ratio", 0.5, 0, 1, "share of reads with --op mixed")
	fl.StringVar(&o.Acked, "record-acked", "", "file for the record of acknowledged rows, which --op verify reads")
	fl.BoolVar(&o.Check, "verify", false, "check the values that get reads")
	fl.BoolVar(&o.NoResend, "no-resend", false, "never retry a write that may have been applied")
	durationVar(fl, &o.GiveUp, "give-up", 30*time.Second, 0, "stop after this time without a successful operation")
	fl.StringVar(&pids, "pids", "", "server processes to measure: comma-separated process ids, or the directory of a onebox")
	fl.BoolVar(&thrift, "thrift", false, "use THFT framing, as Java clients do, instead of rDSN's")
	fl.BoolVar(&progress, "progress", true, "print a line per second to standard error")
	return c
}
