package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/logging"
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
		online("status", "Show the meta servers, their leader and their log positions", 0, 10*time.Second,
			func(ctx context.Context, e *cli.Env, f *clientFlags, _ []string) error {
				return e.MetaStatus(ctx, f.metas)
			}),
		online("add ADDRESS", "Add a meta server that was started with --join to the quorum", 1, 90*time.Second,
			func(ctx context.Context, e *cli.Env, _ *clientFlags, a []string) error { return e.MetaAdd(ctx, a[0]) }),
		online("remove ADDRESS", "Remove a meta server, dead or alive, from the quorum", 1, 30*time.Second,
			func(ctx context.Context, e *cli.Env, _ *clientFlags, a []string) error {
				return e.MetaRemove(ctx, a[0])
			}),
		online("backup FILE", "Write a backup of the meta servers' state to a file", 1, 30*time.Second,
			func(ctx context.Context, e *cli.Env, _ *clientFlags, a []string) error {
				return e.MetaBackup(ctx, a[0])
			}),
		transferMetaCmd(), levelCmd(), upgradeVersionCmd(), restoreCmd(), recoverQuorumCmd(),
	}
}

func transferMetaCmd() *cobra.Command {
	f := &clientFlags{}
	to, dry := "", false
	c := f.sub("transfer", "Have another meta server lead", 0, 0, func(ctx context.Context, e *cli.Env, _ []string) error {
		return e.MetaTransfer(ctx, to, dry)
	})
	c.Long = "Have another meta server lead: the one at --to, or the one that has most of the log. One that doesn't answer, or lacks much of the\n" +
		"log, is refused, and nothing changes. A leader that is stopped (the signal TERM) hands over by itself."
	f.add(c)
	c.Flags().StringVar(&to, "to", "", "address of the meta server that is to lead")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say who leads and who would")
	return c
}

func upgradeVersionCmd() *cobra.Command {
	f := &clientFlags{}
	var to int32
	var dry bool
	c := &cobra.Command{Use: "upgrade-version", Short: "Raise the cluster version, after all servers run a newer program", Args: wantArgs(0, 0),
		Long: "Raise the cluster version, after all servers run a newer program.\n\n" +
			"Until then the servers write and send only what the older program understands, so that each server can go back to it.\n" +
			"The command asks every meta server and every live replica server first. If one doesn't understand the version, the\ncommand names it and changes nothing.\n" +
			"Afterwards a server with the older program is refused, but loses nothing: upgrade it, and it is accepted again.",
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.UpgradeVersion(ctx, to, dry) })
		}}
	f.add(c)
	numberVar(c.Flags(), &to, "to", "", 0, base.Counts, "the version (default: the newest one that the leading meta server understands)")
	c.Flags().BoolVar(&dry, "dry-run", false, "only show which version each server understands")
	return c
}

// offlineFlags name the data directory of a meta server that doesn't run.
type offlineFlags struct{ config, listen, dir string }

func (f *offlineFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.config, "config", "", "configuration file of the meta server (default: every key has its default)")
	c.Flags().StringVar(&f.dir, "data-dir", "", "its data directory; overrides the file")
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
	c := &cobra.Command{Use: "restore FILE", Short: "Initialise an empty data directory from a backup", Args: wantArgs(1, 1),
		Long: "Initialise the empty data directory of a meta server from a backup. The server becomes the only member of a new quorum.\n\n" +
			"Then start the server and run `pegasus recover`, which asks the replica servers for the newest data. Until then no\n" +
			"configuration changes. Start the other meta servers with empty directories and --join, and run `pegasus meta add`.",
		RunE: func(c *cobra.Command, a []string) error {
			cfg, err := f.load()
			if err != nil {
				return err
			}
			file, err := os.ReadFile(a[0])
			if err != nil {
				return fmt.Errorf("read the backup: %w", err)
			}
			r, err := meta.RestoreBackup(cfg, file, logging.New(cfg.Log, c.ErrOrStderr()))
			if err != nil {
				return fmt.Errorf("restore %s: %w", a[0], err)
			}
			cli.MetaRevived(c.OutOrStdout(), "as of "+r.Taken.UTC().Format(time.RFC3339), r.Cluster, r.Server, r.Tables, r.Index, r.Term,
				"start it and all replica servers, then run `pegasus recover`")
			return nil
		}}
	f.add(c)
	c.Flags().StringVar(&f.listen, "listen", "", "the server's address; overrides the file")
	return c
}

func recoverQuorumCmd() *cobra.Command {
	var f offlineFlags
	c := &cobra.Command{Use: "recover-quorum", Short: "Make one meta server the only member, after the quorum lost its majority forever", Args: wantArgs(0, 0),
		Long: "Make the meta server of a data directory the only member of a new quorum, with the state in its log.\n\n" +
			"Use it if the quorum lost its majority forever. Stop all meta servers. Choose the remaining one with the highest last\n" +
			"entry (`pegasus meta status` shows it while they run). Changes that only the lost servers had are gone, so\n" +
			"`pegasus recover` must ask the replica servers before any configuration changes. The other meta servers must not come\nback with their data: empty their directories, start them with --join, and run `pegasus meta add`.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.load()
			if err != nil {
				return err
			}
			r, err := meta.RecoverQuorum(cfg.Meta.DataDir, has(c, dryRun), logging.New(cfg.Log, c.ErrOrStderr()))
			if err != nil {
				return err
			}
			if has(c, dryRun) {
				_, err := fmt.Fprintf(c.OutOrStdout(), "%s would be the only member of the quorum of cluster %s, which was [%s], with what its log has up to entry %d of term %d\n",
					r.Server, r.Cluster, strings.Join(r.Former, " "), r.Index, r.Term)
				return err
			}
			sayFormer(c.OutOrStdout(), r)
			return nil
		}}
	f.add(c)
	return c
}

func sayFormer(w io.Writer, r *meta.Recovered) {
	cli.MetaRevived(w, "from its log", r.Cluster, r.Server, r.Tables, r.Index, r.Term,
		"the quorum was ["+strings.Join(r.Former, " ")+"]; start this server and run `pegasus recover`: the replica servers know the latest changes; then empty the directories of the other meta servers, start them with --join, and run `pegasus meta add`")
}
