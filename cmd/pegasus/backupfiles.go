package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/cli"
	"pegasus/rowfile"
)

const backupPlace = "URL is where the backup lies: NAME/PATH with the name of a store in the configuration file ([blob.NAME]), or\n" +
	"file:///DIRECTORY, s3://BUCKET/PREFIX or hdfs://HOST:PORT/DIRECTORY, with keys of [blob.NAME] behind a ?. PATH is the directory of\n" +
	"the backup (its name is the id), of a table in it, or one above in which there is only one backup. No cluster is needed."

// backupFlags are common to the commands that read backups without a cluster.
type backupFlags struct {
	blobFlags
	table, now string
}

func (f *backupFlags) add(c *cobra.Command, table, now bool) {
	f.blobFlags.add(c)
	if table {
		c.Flags().StringVarP(&f.table, "table", "t", "", "the table, if the backup has several")
	}
	if now {
		c.Flags().StringVar(&f.now, "now", "", "the time at which rows count as expired or not: 2026-01-31T12:00:00Z, or Unix seconds (default: the present)")
	}
}

// parseNow reads --now.
func parseNow(s string) (time.Time, error) {
	if s == "" {
		return time.Now(), nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 && n < math.MaxInt32*4 {
		return time.Unix(n, 0), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("--now %q: give a time like 2026-01-31T12:00:00Z, or Unix seconds", s)
	}
	return t, nil
}

func (f *backupFlags) with(c *cobra.Command, do func(context.Context, *cli.Backups) error) error {
	now, err := parseNow(f.now)
	if err != nil {
		return err
	}
	return f.blobFlags.with(c, func(ctx context.Context, e *cli.Env, set *blob.Set, _ map[string]config.Blob) error {
		return do(ctx, &cli.Backups{Env: e, Set: set, Progress: c.ErrOrStderr(), Now: now})
	})
}

// backupFileCmds are the commands that read backups without a cluster.
func backupFileCmds() []*cobra.Command {
	var verifyFlags, exportFlags, countFlags, getFlags backupFlags
	verify := &cobra.Command{Use: "verify URL", Short: "Read all of a backup, and name each file that is missing or wrong", Args: wantArgs(1, 1),
		Long: "Read all of a backup: whether it is complete, sizes and checksums of files, every row, and the number and digest of rows that its manifest\n" +
			"has. A backup of upstream has no manifest. The exit status is 0 for a backup that is complete and whole, 2 for one that isn't,\n" +
			"1 if that couldn't be found out.\n\n" + backupPlace,
		RunE: func(c *cobra.Command, a []string) error {
			return verifyFlags.with(c, func(ctx context.Context, b *cli.Backups) error { return b.Verify(ctx, a[0], verifyFlags.table) })
		}}
	verifyFlags.add(verify, true, true)

	var o cli.ExportOptions
	exp := &cobra.Command{Use: "export URL", Short: "Write the rows of a backup as JSON lines, CSV or Parquet", Args: wantArgs(1, 1),
		Long: "Write the live rows of a table in a backup, with when they expire and were written. Keys and values are base64 in JSON lines and\n" +
			"CSV (text with escapes with --text), bytes in Parquet. A file that --to names appears when it is whole.\n\n" + backupPlace,
		RunE: func(c *cobra.Command, a []string) error {
			return exportFlags.with(c, func(ctx context.Context, b *cli.Backups) error {
				o.Table = exportFlags.table
				return b.Export(ctx, a[0], o)
			})
		}}
	exportFlags.add(exp, true, true)
	exp.Flags().StringVarP(&o.Format, "format", "f", "jsonl", "one of "+strings.Join(rowfile.Formats(), ", "))
	exp.Flags().StringVar(&o.To, "to", "", "file to write (default: standard output)")
	exp.Flags().BoolVar(&o.Text, "text", false, "write keys and values as text, with escapes for what can't be printed")
	exp.Flags().BoolVar(&o.Expired, "expired", false, "write rows that have expired, too")

	count := &cobra.Command{Use: "count URL", Short: "Count the rows of a table in a backup", Args: wantArgs(1, 1),
		Long: "Count the live and the expired rows of a table in a backup, by partition.\n\n" + backupPlace,
		RunE: func(c *cobra.Command, a []string) error {
			return countFlags.with(c, func(ctx context.Context, b *cli.Backups) error { return b.Count(ctx, a[0], countFlags.table) })
		}}
	countFlags.add(count, true, true)

	var escape bool
	get := &cobra.Command{Use: "get URL HASHKEY [SORTKEY]", Short: "Show a row of a backup, or all rows of a hash key", Args: wantArgs(2, 3),
		Long: "Show a row of a table in a backup, or all rows of a hash key, with when they expire; also rows that have expired.\n\n" + backupPlace,
		RunE: func(c *cobra.Command, a []string) error {
			return getFlags.with(c, func(ctx context.Context, b *cli.Backups) error {
				b.Escape = escape
				if len(a) == 2 {
					return b.Get(ctx, a[0], getFlags.table, a[1], "", true)
				}
				return b.Get(ctx, a[0], getFlags.table, a[1], a[2], false)
			})
		}}
	getFlags.add(get, true, true)
	get.Flags().BoolVarP(&escape, "escape", "e", false, "read keys with C escapes: \\xNN, \\n and so on")
	return []*cobra.Command{verify, exp, count, get}
}
