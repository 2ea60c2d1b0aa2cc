package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"pegasus/base/config"
	"pegasus/cli"
)

func restoreTableCmd() *cobra.Command {
	f := &clientFlags{}
	var o cli.RestoreOptions
	var file string
	c := &cobra.Command{Use: "restore PLACE", Short: "Make a table of a backup; `restore ls` shows the progress", Args: wantArgs(1, 1),
		Long: "Make a table of a backup. It has the rows of the backup, and the number of partitions that the table had.\n\n" +
			"PLACE is the directory of a table in a backup: NAME/[PATH/]CLUSTER/ID/TABLE_TABLEID, where NAME is a store of the servers'\n" +
			"configuration ([blob.NAME]), or a URL in one of the stores of --config, which must be the servers' configuration.\n\n" +
			"If a file of the backup is missing or damaged the restore fails, and leaves no table behind: the error and `pegasus restore\n" +
			"ls` name the file. With --skip-bad such a partition is empty, and the others are restored.",
		RunE: func(c *cobra.Command, a []string) error {
			if file != "" {
				cfg, err := config.Load(file)
				if err != nil {
					return err
				}
				o.Blobs = cfg.Blob
			}
			o.Progress = f.progress(c)
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return cli.ClusterBackups{Env: e}.Restore(ctx, a[0], o) })
		}}
	f.add(c)
	c.Flags().StringVar(&o.As, "as", "", "name of the new table (default: that of the table that was backed up)")
	c.Flags().BoolVar(&o.SkipBad, "skip-bad", false, "leave partitions empty whose backup is bad")
	c.Flags().BoolVar(&o.Wait, "wait", false, "wait until the table is restored and can be written")
	c.Flags().StringVar(&file, "config", os.Getenv("PEGASUS_CONFIG"), "configuration file with the stores, for a URL (default from PEGASUS_CONFIG)")
	ls := &cobra.Command{Use: "ls [TABLE]", Short: "List restores, or show the partitions of one", Args: wantArgs(0, 1),
		RunE: func(c *cobra.Command, a []string) error {
			table := ""
			if len(a) > 0 {
				table = a[0]
			}
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return cli.ClusterBackups{Env: e}.RestoreList(ctx, table) })
		}}
	c.AddCommand(ls)
	return c
}
