package main

import (
	"context"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/cli"
)

func debugCmd() *cobra.Command {
	var output, partition string
	d := &cli.Debug{Env: &cli.Env{}}
	c := &cobra.Command{Use: "debug", Short: "Look into files of servers, ours and C++ ones, also damaged ones, without changing them", RunE: wantSubcommand}
	c.PersistentFlags().StringVarP(&output, "output", "o", "table", "output format: table or json (one object a line)")
	with := func(use, short, long string, least, most int, do func(context.Context, []string) error) *cobra.Command {
		s := &cobra.Command{Use: use, Short: short, Long: long, Args: wantArgs(least, most),
			RunE: func(c *cobra.Command, args []string) error {
				if err := checkOutput(output); err != nil {
					return err
				}
				d.Out, d.JSON = c.OutOrStdout(), output == "json"
				if partition != "" {
					g, err := base.ParseGpid(partition)
					if err != nil {
						return fmt.Errorf("--partition: %w", err)
					}
					d.Gpid = &g
				}
				return do(c.Context(), args)
			}}
		c.AddCommand(s)
		return s
	}
	rows := func(s *cobra.Command) {
		s.Flags().BoolVar(&d.Rows, "rows", false, "print rows, too")
		numberVar(s.Flags(), &d.Limit, "limit", "", 0, base.Range{Min: 0, Max: math.MaxInt64}, "how many records are printed; 0: all")
	}
	version := func(s *cobra.Command) {
		numberVar(s.Flags(), &d.DataVersion, "data-version", "", 1, base.Range{Min: 0, Max: 1}, "version of values of C++ servers that don't say it themselves")
	}
	escape := func(s *cobra.Command) {
		s.Flags().BoolVarP(&d.Escape, "escape", "e", false, `interpret C escapes in keys: \n \\ \xNN \NNN`)
	}
	const damaged = "Nothing is locked or written, so the files may be in use. A place that can't be read is told, and what is readable behind it; the exit\nstatus is 2 then."
	w := with("wal FILE|DIRECTORY...", "Print replication logs", "Print replication logs: the directory wal of a data directory of ours, plog of a C++ replica, or files of either.\nChecksums of C++ logs are chained, so nothing is told behind a damaged place of one.\n\n"+damaged, 1, -1,
		func(ctx context.Context, a []string) error { return d.WAL(ctx, a) })
	rows(w)
	w.Flags().StringVar(&partition, "partition", "", "only mutations of this partition, APP_ID.PARTITION")
	numberVar(w.Flags(), &d.From, "from", "", 0, base.Range{Min: 0, Max: math.MaxInt64}, "only mutations from this decree on")
	numberVar(w.Flags(), &d.To, "to", "", 0, base.Range{Min: 0, Max: math.MaxInt64}, "only mutations up to this decree; 0: all")
	s := with("sst FILE...", "Print and check table files", "Print what table files say of themselves, of stores of ours and of RocksDB, and check all of their blocks.\n\n"+damaged, 1, -1,
		func(ctx context.Context, a []string) error { return d.SST(ctx, a) })
	rows(s)
	version(s)
	m := with("manifest FILE...", "Print the edits of manifests", "Print the edits of the files MANIFEST-NUMBER of stores of ours and of RocksDB. Of ours, edits with files of values or with tables that share\na file are told up to that field.\n\n"+damaged, 1, -1,
		func(ctx context.Context, a []string) error { return d.Manifest(ctx, a) })
	rows(m)
	st := with("store DIRECTORY [HASHKEY [SORTKEY]]", "Print what a store holds, or one row", "Print what a store holds: the directory store.NUMBER of a replica of ours, data/rdb of a C++ one, or a checkpoint of either. Rows that the replication log\nhas and no table are not there. Expired rows are told as others are.\n\n"+damaged, 1, 3,
		func(ctx context.Context, a []string) error {
			var keys [2]*string
			for i := range a[1:] {
				keys[i] = &a[1+i]
			}
			return d.Store(ctx, a[0], keys[0], keys[1])
		})
	rows(st)
	escape(st)
	var isHex bool
	var partitions int32
	key := with("key HASHKEY [SORTKEY]", "Print how a key is stored, or what a stored key means", "", 1, 2,
		func(_ context.Context, a []string) error { return d.Key(a, isHex, partitions) })
	key.Flags().BoolVar(&isHex, "hex", false, "the argument is a stored key, in hexadecimal digits")
	hash := with("hash HASHKEY [SORTKEY]", "Print the hash of a key, and its partition", "", 1, 2,
		func(_ context.Context, a []string) error { return d.Key(a, false, partitions) })
	for _, s := range []*cobra.Command{key, hash} {
		escape(s)
		numberVar(s.Flags(), &partitions, "partitions", "", 0, base.Range{Min: 0, Max: math.MaxInt32}, "partitions of the table; 0: no partition is told")
	}
	v := with("value HEX", "Print what a stored value means", "", 1, 1, func(_ context.Context, a []string) error { return d.Value(a[0]) })
	version(v)
	return c
}
