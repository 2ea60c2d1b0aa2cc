package main

import (
	"context"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/cli"
)

// serverCmd is the group of commands about servers as such, meta and replica.
func serverCmd() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{Use: "server", Short: "Start servers; show and change what one has, or all of them", RunE: wantSubcommand}
	// Servers have flags of their own, so those of a client are given to each command.
	sub := func(use, short string, least, most int, do func(context.Context, cli.Servers, []string) error) *cobra.Command {
		s := f.sub(use, short, least, most, func(ctx context.Context, e *cli.Env, a []string) error { return do(ctx, cli.Servers{Env: e}, a) })
		f.add(s)
		return s
	}
	which := func(c *cobra.Command, w *cli.Which) {
		c.Flags().BoolVar(&w.All, "all", false, "all servers of the cluster")
		c.Flags().BoolVar(&w.Metas, "metas", false, "all meta servers")
		c.Flags().BoolVar(&w.Replicas, "replicas", false, "all replica servers")
		c.MarkFlagsMutuallyExclusive("all", "metas", "replicas")
	}
	// split takes the address off the arguments, which is there unless a flag names the servers.
	split := func(w cli.Which, a []string) (cli.Which, []string) {
		if w.Addrs = nil; !w.All && !w.Metas && !w.Replicas && len(a) > 0 {
			w.Addrs, a = a[:1], a[1:]
		}
		return w, a
	}

	ls := sub("ls", "List all servers, meta and replica, and what runs there", 0, 0, func(ctx context.Context, s cli.Servers, _ []string) error { return s.List(ctx) })

	command := func(use, short, name string) *cobra.Command {
		var w cli.Which
		c := sub(use, short, 0, -1, func(ctx context.Context, s cli.Servers, a []string) error {
			w := w
			w.Addrs = a
			return s.Command(ctx, w, name, nil)
		})
		which(c, &w)
		return c
	}
	info := command("info [HOST:PORT]...", "Show program, revision and start of servers", "server-info")

	var sw cli.Which
	prefix := ""
	stats := sub("stats [HOST:PORT]...", "Show the metrics of servers", 0, -1, func(ctx context.Context, s cli.Servers, a []string) error {
		w := sw
		w.Addrs = a
		return s.ServerStats(ctx, w, prefix)
	})
	stats.Long = "Show the metrics of servers, without those of their replicas. docs/metrics.md explains them; `pegasus table stats` shows what\nclients ask of tables."
	which(stats, &sw)
	stats.Flags().StringVar(&prefix, "name", "", "only metrics whose names begin with this")

	var cw cli.Which
	run := sub("command [HOST:PORT] NAME [ARGUMENT]...", "Have servers carry out a remote command, as upstream's shell does", 1, -1, func(ctx context.Context, s cli.Servers, a []string) error {
		w, rest := split(cw, a)
		if len(rest) == 0 {
			rest = []string{"help"}
		}
		return s.Command(ctx, w, rest[0], rest[1:])
	})
	run.Long = "Have servers carry out a remote command, as upstream's shell does. `pegasus server command HOST:PORT help` lists those that a\nserver has."
	which(run, &cw)

	var vw cli.Which
	level := sub("log-level [HOST:PORT] [LEVEL | PACKAGE=LEVEL | PACKAGE=]...", "Show and change what servers log while they run", 0, -1, func(ctx context.Context, s cli.Servers, a []string) error {
		w, changes := split(vw, a)
		return s.LogLevel(ctx, w, changes)
	})
	level.Long = "Show which lines servers log, or change that first: a level (debug, info, warn, error) is that of all packages of the program that have none of their\n" +
		"own, PACKAGE=LEVEL that of a package and of those below it, for example replica/wal=debug, and PACKAGE= takes that back. The field at of a line\n" +
		"says which package it is from. A server that restarts has what its file says again (logging.level, logging.packages)."
	which(level, &vw)

	var tw cli.Which
	var traced cli.Traced
	traces := sub("traces [HOST:PORT]...", "Show when requests that replica servers traced reached their stages", 0, -1, func(ctx context.Context, s cli.Servers, a []string) error {
		w := tw
		w.Addrs = a
		return s.Traces(ctx, w, traced)
	})
	traces.Long = "Show when requests that replica servers traced reached their stages, those of all replica servers unless some are named. A server traces\n" +
		"one write of so many (replica.trace_every), what a client asks for (`pegasus set --trace`, `pegasus bench --trace-slow`), and the write after one that was\n" +
		"slow (replica.slow_write_threshold). It keeps the last 512 and the 512 slowest ones since its start. What secondaries did stands under the same id."
	traces.Flags().StringVar(&traced.ID, "id", "", "only the request with this id, the primary first")
	traces.Flags().BoolVar(&traced.Slowest, "slowest", false, "the slowest ones, in place of the last ones")
	numberVar(traces.Flags(), &traced.Count, "count", "", 10, base.Range{Min: 1, Max: 512}, "how many are shown")
	traces.MarkFlagsMutuallyExclusive("id", "slowest")

	conf := &cobra.Command{Use: "config", Short: "Show and change the configuration of servers while they run", RunE: wantSubcommand}
	var lw, gw, ew cli.Which
	mutable, dry := false, false
	list := sub("ls [HOST:PORT]...", "Show the configuration of servers", 0, -1, func(ctx context.Context, s cli.Servers, a []string) error {
		w := lw
		w.Addrs = a
		return s.ConfigList(ctx, w, "", mutable)
	})
	list.Flags().BoolVar(&mutable, "mutable", false, "only keys that can be changed while a server runs")
	which(list, &lw)
	get := sub("get [HOST:PORT] NAME", "Show a configuration key, or those whose names begin with NAME", 1, 2, func(ctx context.Context, s cli.Servers, a []string) error {
		w, rest := split(gw, a)
		return s.ConfigList(ctx, w, append(rest, "")[0], false)
	})
	which(get, &gw)
	var set *cobra.Command
	set = sub("set [HOST:PORT] NAME VALUE", "Change a configuration key while the servers run", 2, 3, func(ctx context.Context, s cli.Servers, a []string) error {
		w, rest := split(ew, a)
		if err := wantArgs(2, 2)(set, rest); err != nil {
			return err
		}
		return s.ConfigSet(ctx, w, rest[0], rest[1], dry)
	})
	set.Long = "Change a configuration key of a server while it runs, or of all of them with --all, --metas or --replicas. If one of them hasn't\n" +
		"the key, or doesn't answer, none is changed. A server that restarts has what its file says again."
	set.Flags().BoolVar(&dry, "dry-run", false, "only show what would be changed")
	which(set, &ew)
	conf.AddCommand(list, get, set)

	start := func(s *cobra.Command, name, short string) *cobra.Command {
		s.Use, s.Short, s.Hidden = name, short, false
		return s
	}
	c.AddCommand(start(runMetaCmd(), "meta", "Run a meta server"), start(replicaCmd(), "replica", "Run a replica server"), ls, info, stats, level, traces, run, conf)
	return c
}
