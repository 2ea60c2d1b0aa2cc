package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base/config"
	"pegasus/cli"
	"pegasus/meta"
)

// quorumCmds are the subcommands of meta.
func quorumCmds() []*cobra.Command {
	online := func(use, short string, args int, timeout time.Duration, do func(context.Context, *cli.Env, *clientFlags, []string) error) *cobra.Command {
		f := &clientFlags{}
		c := &cobra.Command{Use: use, Short: short, Args: wantArgs(args, args),
			RunE: func(c *cobra.Command, a []string) error {
				if !c.Flags().Changed("timeout") {
					f.timeout = timeout
				}
				return f.with(c, func(ctx context.Context, e *cli.Env) error { return do(ctx, e, f, a) })
			}}
		f.add(c)
		return c
	}
	return []*cobra.Command{
		online("status", "Show the meta servers: who leads, how far each is", 0, 10*time.Second,
			func(ctx context.Context, e *cli.Env, f *clientFlags, _ []string) error {
				return e.MetaStatus(ctx, f.metas)
			}),
		online("add ADDRESS", "Take a meta server that was started with --join into the quorum", 1, 90*time.Second,
			func(ctx context.Context, e *cli.Env, _ *clientFlags, a []string) error { return e.MetaAdd(ctx, a[0]) }),
		online("remove ADDRESS", "Take a meta server, dead or alive, out of the quorum", 1, 30*time.Second,
			func(ctx context.Context, e *cli.Env, _ *clientFlags, a []string) error {
				return e.MetaRemove(ctx, a[0])
			}),
		online("backup FILE", "Write the state of the meta servers into a file", 1, 30*time.Second,
			func(ctx context.Context, e *cli.Env, _ *clientFlags, a []string) error {
				return e.MetaBackup(ctx, a[0])
			}),
		restoreCmd(), recoverQuorumCmd(),
	}
}

// offlineFlags name the data directory of a meta server that doesn't run.
type offlineFlags struct{ config, listen, dir string }

func (f *offlineFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.config, "config", "", "configuration file of the meta server; without it every key has its default")
	c.Flags().StringVar(&f.dir, "data-dir", "", "its data directory, in place of the file's")
}

func (f *offlineFlags) load() (config.Config, error) {
	cfg := config.Default()
	if f.config != "" {
		var err error
		if cfg, err = config.Load(f.config); err != nil {
			return cfg, err
		}
	}
	override(&cfg.Meta.Listen, f.listen)
	override(&cfg.Meta.DataDir, f.dir)
	return cfg, cfg.Validate()
}

func restoreCmd() *cobra.Command {
	var f offlineFlags
	c := &cobra.Command{Use: "restore FILE", Short: "Make an empty data directory that of a meta server with the state of a backup", Args: wantArgs(1, 1),
		Long: "Make the empty data directory of a meta server that of the only member of a new quorum, with the state of a backup.\n\n" +
			"Then start that server, and run `pegasus recover`: until it has asked the replica servers where the newest data is, no\n" +
			"configuration changes. Other meta servers are started with empty directories and --join, and taken in by `pegasus meta add`.",
		RunE: func(c *cobra.Command, a []string) error {
			cfg, err := f.load()
			if err != nil {
				return err
			}
			file, err := os.ReadFile(a[0])
			if err != nil {
				return fmt.Errorf("read the backup: %w", err)
			}
			r, err := meta.RestoreBackup(cfg, file, newLog(cfg.Log, c.ErrOrStderr()))
			if err != nil {
				return fmt.Errorf("restore %s: %w", a[0], err)
			}
			cli.MetaRevived(c.OutOrStdout(), "as they were at "+r.Taken.UTC().Format(time.RFC3339), r.Cluster, r.Server, r.Tables, r.Index, r.Term,
				"start it, and all replica servers, then run `pegasus recover`")
			return nil
		}}
	f.add(c)
	c.Flags().StringVar(&f.listen, "listen", "", "the server's address, in place of the file's")
	return c
}

func recoverQuorumCmd() *cobra.Command {
	var f offlineFlags
	var yes bool
	c := &cobra.Command{Use: "recover-quorum", Short: "Make one meta server the only member, when a majority of the quorum is lost for good", Args: wantArgs(0, 0),
		Long: "Make the meta server of a data directory the only member of a new quorum, with all that its log has.\n\n" +
			"It is for a quorum that lost its majority for good. Stop all meta servers; of those that are left take the one whose last\n" +
			"entry is the highest (`pegasus meta status` shows it while they run). What only the lost ones had is gone, so that\n" +
			"`pegasus recover` has to ask the replica servers before any configuration changes. The others may not come back with their data: empty their directories, start them with --join, and run `pegasus meta add`.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.load()
			if err != nil {
				return err
			}
			if !yes {
				return errors.New("this gives up whatever only the lost meta servers had: add --yes if a majority is lost for good, and all meta servers are stopped")
			}
			r, err := meta.RecoverQuorum(cfg.Meta.DataDir, newLog(cfg.Log, c.ErrOrStderr()))
			if err != nil {
				return err
			}
			sayFormer(c.OutOrStdout(), r)
			return nil
		}}
	f.add(c)
	c.Flags().BoolVar(&yes, "yes", false, "a majority is lost for good")
	return c
}

func sayFormer(w io.Writer, r *meta.Revived) {
	cli.MetaRevived(w, "as its log has them", r.Cluster, r.Server, r.Tables, r.Index, r.Term,
		"the quorum was ["+strings.Join(r.Former, " ")+"]; start this server, and run `pegasus recover`: the replica servers know what changed last; then empty the directories of the others, start them with --join, and run `pegasus meta add`")
}
