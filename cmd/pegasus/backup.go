package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/cli"
)

// backupCmd is `pegasus backup`: backups of the cluster, and backups that are read without one.
func backupCmd() *cobra.Command {
	c := &cobra.Command{Use: "backup", Short: "Back up tables, and work with backups", RunE: wantSubcommand}
	c.AddCommand(backupCreateCmd(), backupListCmd(), backupShowCmd(), backupCancelCmd(), backupDeleteCmd(), backupPolicyCmd())
	c.AddCommand(backupFileCmds()...)
	return c
}

func backupCreateCmd() *cobra.Command {
	f := &clientFlags{}
	var provider, path string
	var wait time.Duration
	c := &cobra.Command{Use: "create TABLE", Short: "Back up a table now", Args: wantArgs(1, 1),
		Long: "Back up a table now. The replica servers write it to a blob store of their configuration, [blob.NAME], each partition as of one\n" +
			"moment. Writes go on meanwhile. The backup goes on if this command ends, and if servers fail.",
		RunE: func(c *cobra.Command, a []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error {
				return cli.ClusterBackups{Env: e}.Create(ctx, a[0], provider, path, wait, f.progress(c))
			})
		}}
	f.add(c)
	c.Flags().StringVarP(&provider, "provider", "p", "local_service", "name of the blob store")
	c.Flags().StringVar(&path, "path", "", "directory in the store above that of the cluster's backups")
	durationVar(c.Flags(), &wait, "wait", longWait, 0, "how long to show progress; 0 doesn't wait")
	return c
}

// eitherFlags are those of a command that works with a backup of the cluster, or of a place without one.
type eitherFlags struct {
	clientFlags
	config string
}

func (f *eitherFlags) add(c *cobra.Command) {
	f.clientFlags.add(c)
	var files blobFlags // for the default and the words of --config
	other := &cobra.Command{}
	files.add(other)
	config := other.PersistentFlags().Lookup("config")
	c.Flags().StringVar(&f.config, "config", config.DefValue, config.Usage)
}

// place works with a place without a cluster.
func (f *eitherFlags) place(c *cobra.Command, do func(context.Context, *cli.Backups) error) error {
	b := backupFlags{blobFlags: blobFlags{config: f.config, output: f.output}}
	return b.with(c, do)
}

func backupListCmd() *cobra.Command {
	f := &eitherFlags{}
	var table, policy string
	c := &cobra.Command{Use: "ls [URL]", Short: "List the backups of the cluster, or those below a place", Args: wantArgs(0, 1),
		Long: "Without URL: list the backups of the cluster, the newest first. With URL: list the backups below a directory, complete or not.\n\n" + backupPlace,
		RunE: func(c *cobra.Command, a []string) error {
			if len(a) == 0 {
				return f.with(c, func(ctx context.Context, e *cli.Env) error {
					return cli.ClusterBackups{Env: e}.List(ctx, table, policy)
				})
			}
			if table != "" || policy != "" {
				return errors.New("--table and --policy are for the backups of the cluster: leave them out, or the URL")
			}
			return f.place(c, func(ctx context.Context, b *cli.Backups) error { return b.List(ctx, a[0]) })
		}}
	f.add(c)
	c.Flags().StringVarP(&table, "table", "t", "", "only backups with this table")
	c.Flags().StringVar(&policy, "policy", "", "only backups of this policy")
	return c
}

// backupID reads the id of a backup of the cluster.
func backupID(arg string) (int64, error) {
	id, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || id <= 0 {
		return 0, fmt.Errorf("%q is no id of a backup: `pegasus backup ls` lists them", arg)
	}
	return id, nil
}

func backupShowCmd() *cobra.Command {
	f := &eitherFlags{}
	var table string
	c := &cobra.Command{Use: "show ID|URL", Short: "Show a backup of the cluster with its progress, or what a backup says of itself", Args: wantArgs(1, 1),
		Long: "With ID: show a backup of the cluster: how far it is, what it waits for, why it failed. With URL: show what a backup says of itself:\n" +
			"tables, partitions, decrees, sizes, numbers of rows. Nothing is compared: see verify.\n\n" + backupPlace,
		RunE: func(c *cobra.Command, a []string) error {
			if cli.IsPlace(a[0]) {
				return f.place(c, func(ctx context.Context, b *cli.Backups) error { return b.Show(ctx, a[0], table) })
			}
			id, err := backupID(a[0])
			if err != nil {
				return err
			}
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return cli.ClusterBackups{Env: e}.Show(ctx, id) })
		}}
	f.add(c)
	c.Flags().StringVarP(&table, "table", "t", "", "with URL: the table, if the backup has several")
	return c
}

// endBackup ends or removes a backup.
type endBackup func(e cli.ClusterBackups, ctx context.Context, id int64, wait time.Duration, progress io.Writer) error

func backupCancelCmd() *cobra.Command {
	return endBackupCmd("cancel ID", "Cancel a backup that runs, and remove its files", cli.ClusterBackups.Cancel)
}

func backupDeleteCmd() *cobra.Command {
	return endBackupCmd("delete ID", "Delete a backup of the cluster, with its files", cli.ClusterBackups.Delete)
}

func endBackupCmd(use, short string, do endBackup) *cobra.Command {
	f := &clientFlags{}
	var wait time.Duration
	c := &cobra.Command{Use: use, Short: short, Args: wantArgs(1, 1),
		RunE: func(c *cobra.Command, a []string) error {
			id, err := backupID(a[0])
			if err != nil {
				return err
			}
			return f.with(c, func(ctx context.Context, e *cli.Env) error {
				return do(cli.ClusterBackups{Env: e}, ctx, id, wait, f.progress(c))
			})
		}}
	f.add(c)
	durationVar(c.Flags(), &wait, "wait", longWait, 0, "how long to wait until its files are removed; 0 doesn't wait")
	return c
}

func backupPolicyCmd() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Regular backups of tables", RunE: wantSubcommand}
	policy := func(use, short string, args int, do func(context.Context, cli.ClusterBackups, []string) error) *cobra.Command {
		f := &clientFlags{}
		c := &cobra.Command{Use: use, Short: short, Args: wantArgs(args, args),
			RunE: func(c *cobra.Command, a []string) error {
				return f.with(c, func(ctx context.Context, e *cli.Env) error { return do(ctx, cli.ClusterBackups{Env: e}, a) })
			}}
		f.add(c)
		return c
	}
	var fresh, change cli.BackupPolicy
	add := policy("add NAME", "Add a policy: back up tables regularly, and keep some backups", 1, func(ctx context.Context, e cli.ClusterBackups, a []string) error {
		if fresh.Name = a[0]; len(fresh.Tables) == 0 {
			return errors.New("--tables is missing: name the tables, separated by commas")
		}
		return e.PolicyAdd(ctx, fresh)
	})
	add.Flags().StringVarP(&fresh.Provider, "provider", "p", "local_service", "name of the blob store, [blob.NAME] of the servers' configuration")
	add.Flags().StringSliceVar(&fresh.Tables, "tables", nil, "the tables, separated by commas")
	durationVar(add.Flags(), &fresh.Every, "every", 24*time.Hour, time.Second, "time from one backup to the next, at least a day")
	add.Flags().StringVar(&fresh.At, "at", "24:00", "time of day, hour:minute, by the clock of the meta servers; a backup begins within an hour after it. 24:00 is any time")
	numberVar(add.Flags(), &fresh.Keep, "keep", "", 7, base.Range{Min: 1, Max: 1 << 20}, "number of complete backups that are kept")

	set := policy("set NAME", "Change a policy", 1, func(ctx context.Context, e cli.ClusterBackups, a []string) error {
		change.Name = a[0]
		if change.Every == 0 && change.At == "" && change.Keep == 0 && len(change.Add) == 0 && len(change.Remove) == 0 {
			return errors.New("nothing is to be changed: give at least one of --every, --at, --keep, --add-tables, --remove-tables")
		}
		return e.PolicySet(ctx, change)
	})
	set.Flags().StringSliceVar(&change.Add, "add-tables", nil, "tables to add, separated by commas")
	set.Flags().StringSliceVar(&change.Remove, "remove-tables", nil, "tables to remove, separated by commas; the id of one that was dropped")
	durationVar(set.Flags(), &change.Every, "every", 0, time.Second, "time from one backup to the next, at least a day")
	set.Flags().StringVar(&change.At, "at", "", "time of day, hour:minute; 24:00 is any time")
	numberVar(set.Flags(), &change.Keep, "keep", "", 0, base.Range{Min: 1, Max: 1 << 20}, "number of complete backups that are kept")

	var force bool
	disable := policy("disable NAME", "Begin no more backups of a policy", 1, func(ctx context.Context, e cli.ClusterBackups, a []string) error {
		return e.PolicyEnable(ctx, a[0], false, force)
	})
	disable.Flags().BoolVar(&force, "force", false, "also while a backup of it runs, which goes on")
	c.AddCommand(add, set, disable,
		policy("enable NAME", "Begin backups of a policy again", 1, func(ctx context.Context, e cli.ClusterBackups, a []string) error {
			return e.PolicyEnable(ctx, a[0], true, false)
		}),
		policy("ls", "List the policies", 0, func(ctx context.Context, e cli.ClusterBackups, _ []string) error { return e.PolicyList(ctx) }),
		policy("show NAME", "Show a policy with its backups", 1, func(ctx context.Context, e cli.ClusterBackups, a []string) error { return e.PolicyShow(ctx, a[0]) }),
		policy("remove NAME", "Remove a policy; its backups stay", 1, func(ctx context.Context, e cli.ClusterBackups, a []string) error { return e.PolicyRemove(ctx, a[0]) }))
	return c
}
